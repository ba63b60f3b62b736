//! Carries bytes between the channels of one SSH connection and their TCP sockets, inside the task that owns both.
//!
//! From a socket, bytes are read straight into the packets they leave in; to a socket, they are written straight from where they
//! were decrypted. Only what a socket does not take at once is copied aside, at most a channel's window of it, and only
//! what a socket took is credited to the peer: a visitor that stops reading stops its own channel and nothing else.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use adit_core::{HalfClose, RelayWish};
use adit_ssh::{Buffer, ChannelId, Connection, Disconnect, MAX_DATA_SLOTS, OUTPUT_LOW, Payload};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::backlog::Backlog;
use crate::socket::ShortRead;
use crate::wake::WakeSet;
use crate::{socket, storage};

/// The most that one turn takes from one socket, so that others get theirs: all slots of one read.
const TURN: usize = MAX_DATA_SLOTS * 32 * 1024;
/// How long a socket may take nothing of what is left for it once the peer has closed the channel.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces given to one write; what is more goes with the next.
const MAX_SLICES: usize = 32;

/// Counts what goes through a connection; told as it happens, dropped when the connection is over.
pub trait Tally {
    /// Bytes read from the socket, on their way into the channel.
    fn count_in(&self, bytes: usize);
    /// Bytes written to the socket.
    fn count_out(&self, bytes: usize);
}

/// The relayed connections of one SSH connection.
pub struct Relay<T> {
    /// By channel number.
    links: Vec<Option<Link<T>>>,
    wakes: WakeSet,
    /// Links that may have something to do.
    ready: VecDeque<u32>,
    /// Links that have bytes to bring but must wait until the output is shorter, or new keys are there.
    waiting: Vec<u32>,
    /// What arrived and is not yet written on: where it lies in the input.
    arrived: Vec<(ChannelId, Payload)>,
    /// Links that their peer has closed and whose socket has not taken all, by when it is looked at again.
    closing: VecDeque<(Instant, ChannelId)>,
}

struct Link<T> {
    /// None once it was dropped, while the peer's CLOSE is still to come.
    stream: Option<TcpStream>,
    ends: HalfClose,
    /// The peer has confirmed the channel.
    open: bool,
    /// Taken over from the channel, not yet taken by the socket.
    pending: Backlog,
    /// Once the peer has closed while bytes were pending: by when the socket must have taken some, and how many were.
    patience: Option<(Instant, usize)>,
    /// Stands in [`Relay::waiting`].
    waits: bool,
    waker: Waker,
    tally: T,
}

impl<T> Default for Relay<T> {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            wakes: WakeSet::default(),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            arrived: Vec::new(),
            closing: VecDeque::new(),
        }
    }
}

impl<T: Tally> Relay<T> {
    /// Takes a socket whose channel was asked for, or offered.
    pub fn insert(&mut self, channel: ChannelId, stream: TcpStream, tally: T) {
        let index = channel.0 as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        let (ends, waker) = (HalfClose::new(), self.wakes.waker(channel.0));
        self.links[index] = Some(Link {
            stream: Some(stream),
            ends,
            open: false,
            pending: Backlog::default(),
            patience: None,
            waits: false,
            waker,
            tally,
        });
    }

    /// The channel is open: bytes may flow.
    pub fn handle_opened(&mut self, channel: ChannelId) {
        if let Some(link) = self.link(channel) {
            link.open = true;
            self.ready.push_back(channel.0);
        }
    }

    /// The channel did not come about: its socket is closed.
    pub fn handle_open_failed(&mut self, channel: ChannelId) {
        self.remove(channel);
    }

    /// A channel's window has opened.
    pub fn handle_sendable(&mut self, channel: ChannelId) {
        self.ready.push_back(channel.0);
    }

    /// Takes bytes that arrived. They are written on by [`Self::flush`], which must come before the input is filled again.
    pub fn handle_data(&mut self, channel: ChannelId, payload: Payload) {
        self.arrived.push((channel, payload));
    }

    /// The peer sends no more on a channel. What arrived before must have been flushed.
    ///
    /// # Errors
    /// The SSH connection is over.
    pub fn handle_eof(&mut self, channel: ChannelId, connection: &mut Connection) -> Result<(), Disconnect> {
        if let Some(link) = self.link(channel) {
            link.ends.handle_peer_eof();
        }
        self.settle(channel, connection)
    }

    /// The peer has closed a channel. What arrived before must have been flushed.
    ///
    /// # Errors
    /// The SSH connection is over.
    pub fn handle_closed(
        &mut self,
        channel: ChannelId,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), Disconnect> {
        match self.link(channel) {
            Some(link) => {
                link.ends.handle_peer_close();
                self.be_patient(channel, now);
            }
            None => connection.release(channel)?,
        }
        self.settle(channel, connection)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.closing.front().map(|(until, _)| *until)
    }

    /// Drops visitors whose service is done with them and who take nothing of what is left: nobody but them could end it.
    ///
    /// # Errors
    /// The SSH connection is over.
    pub fn handle_timeout(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Disconnect> {
        while let Some((until, channel)) = self.closing.front().copied().filter(|(until, _)| *until <= now) {
            self.closing.pop_front();
            let Some(link) = self.link(channel) else { continue };
            // The number may be another link's by now.
            let Some((_, before)) = link.patience.filter(|(mine, _)| *mine == until) else { continue };
            if link.pending.len() < before {
                self.be_patient(channel, now);
            } else {
                link.ends.handle_socket_error();
                self.settle(channel, connection)?;
            }
        }
        Ok(())
    }

    fn be_patient(&mut self, channel: ChannelId, now: Instant) {
        let until = now + PATIENCE;
        if let Some(link) = self.link(channel).filter(|link| !link.pending.is_empty()) {
            link.patience = Some((until, link.pending.len()));
            self.closing.push_back((until, channel));
        }
    }

    /// Writes on what arrived, several packets in one system call.
    ///
    /// # Errors
    /// The SSH connection is over.
    pub fn flush(&mut self, input: &Buffer, connection: &mut Connection) -> Result<(), Disconnect> {
        let mut arrived = std::mem::take(&mut self.arrived);
        // Stable: each channel's bytes keep their order.
        arrived.sort_by_key(|(channel, _)| *channel);
        for run in arrived.chunk_by(|one, next| one.0 == next.0) {
            let channel = run[0].0;
            for pieces in run.chunks(MAX_SLICES) {
                self.write_on(channel, pieces, input, connection)?;
            }
            self.settle(channel, connection)?;
        }
        arrived.clear();
        self.arrived = arrived;
        Ok(())
    }

    fn write_on(
        &mut self,
        channel: ChannelId,
        pieces: &[(ChannelId, Payload)],
        input: &Buffer,
        connection: &mut Connection,
    ) -> Result<(), Disconnect> {
        let total = pieces.iter().map(|(_, payload)| payload.len()).sum::<usize>();
        let Some(link) = self.link(channel) else { return connection.credit(channel, total) };
        let Some(stream) = link.stream.as_ref().filter(|_| link.ends.wants_peer_data()) else {
            return connection.credit(channel, total);
        };
        let mut taken = 0;
        if link.pending.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            for (slice, (_, payload)) in slices.iter_mut().zip(pieces) {
                *slice = IoSlice::new(input.payload(payload));
            }
            let mut context = Context::from_waker(&link.waker);
            match socket::poll_write(stream, &mut context, &slices[..pieces.len()]) {
                Poll::Ready(Ok(count)) => {
                    link.tally.count_out(count);
                    taken = count;
                }
                Poll::Ready(Err(_)) => {
                    link.ends.handle_socket_error();
                    taken = total;
                }
                Poll::Pending => {}
            }
        }
        let mut skip = taken;
        for (_, payload) in pieces {
            let bytes = input.payload(payload);
            let kept = &bytes[skip.min(bytes.len())..];
            skip -= bytes.len() - kept.len();
            if !kept.is_empty() {
                link.pending.push(kept);
            }
        }
        if !link.pending.is_empty() && taken > 0 {
            // A short write leaves nobody waiting for the socket yet.
            self.ready.push_back(channel.0);
        }
        let drained = self.link(channel).is_none_or(|link| link.pending.is_empty());
        if let Some(link) = self.link(channel) {
            link.ends.handle_to_socket_drained(drained);
        }
        connection.credit(channel, taken)
    }

    /// Lets links that waited for a shorter output, or for new keys, go on.
    pub fn resume(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(link) = self.link(ChannelId(key)) {
                link.waits = false;
                self.ready.push_back(key);
            }
        }
    }

    fn wait(&mut self, channel: ChannelId) {
        if let Some(link) = self.link(channel).filter(|link| !link.waits) {
            link.waits = true;
            self.waiting.push(channel.0);
        }
    }

    /// Gives every link that is ready one turn. What waits for a socket is written whatever else waits; what a socket brings is
    /// taken only while little waits to be sent. True if any link still is ready.
    ///
    /// # Errors
    /// The SSH connection is over.
    pub fn poll_turns(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<bool, Disconnect> {
        let Self { wakes, ready, .. } = self;
        wakes.drain(context, |key| ready.push_back(key));
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            let channel = ChannelId(key);
            self.write_pending(channel, connection)?;
            if connection.output().len() < OUTPUT_LOW / 2 {
                self.read_turn(channel, connection, now)?;
            } else {
                self.wait(channel);
            }
            self.settle(channel, connection)?;
        }
        Ok(!self.ready.is_empty())
    }

    fn write_pending(&mut self, channel: ChannelId, connection: &mut Connection) -> Result<(), Disconnect> {
        let Some(link) = self.link(channel) else { return Ok(()) };
        let mut credit = 0;
        while let Some(stream) = link.stream.as_ref().filter(|_| !link.pending.is_empty()) {
            let mut context = Context::from_waker(&link.waker);
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = link.pending.slices(&mut slices);
            match socket::poll_write(stream, &mut context, &slices[..count]) {
                Poll::Ready(Ok(count)) => {
                    link.pending.consume(count);
                    link.tally.count_out(count);
                    credit += count;
                }
                Poll::Ready(Err(_)) => {
                    credit += link.pending.len();
                    link.pending = Backlog::default();
                    link.ends.handle_socket_error();
                }
                Poll::Pending => break,
            }
        }
        if link.pending.is_empty() {
            link.ends.handle_to_socket_drained(true);
        }
        if credit > 0 { connection.credit(channel, credit) } else { Ok(()) }
    }

    /// Reads once from a socket into packets.
    fn read_turn(&mut self, channel: ChannelId, connection: &mut Connection, now: Instant) -> Result<(), Disconnect> {
        let Some(link) = self.links.get_mut(channel.0 as usize).and_then(Option::as_mut) else { return Ok(()) };
        let Some(stream) = link.stream.as_ref().filter(|_| link.open && link.ends.wants_socket_data()) else {
            return Ok(());
        };
        let output = connection.output_buffer();
        if output.capacity() < storage::OUTPUT_SIZE {
            storage::give_back(output.lend(storage::lend_output()));
        }
        let mut slots = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let count = connection.data_slots(channel, TURN, &mut slots);
        if count == 0 {
            if connection.is_holding_data() {
                self.wait(channel);
            }
            return Ok(());
        }
        let mut context = Context::from_waker(&link.waker);
        match socket::poll_read(stream, &mut context, &mut slots[..count], ShortRead::ProvesNothing) {
            Poll::Ready(Ok(0)) => link.ends.handle_socket_eof(),
            Poll::Ready(Ok(len)) => {
                link.tally.count_in(len);
                connection.commit_data(channel, len, now)?;
                self.ready.push_back(channel.0);
            }
            Poll::Ready(Err(_)) => link.ends.handle_socket_error(),
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Does what follows from how far a link's two directions have ended.
    fn settle(&mut self, channel: ChannelId, connection: &mut Connection) -> Result<(), Disconnect> {
        let Some(link) = self.link(channel) else { return Ok(()) };
        while let Some(wish) = link.ends.poll_output() {
            match wish {
                RelayWish::SendEof => connection.send_eof(channel)?,
                RelayWish::SendClose => connection.close(channel)?,
                RelayWish::ShutdownSocketWrite => {
                    if let Some(stream) = &link.stream {
                        // A socket that is gone needs no end; reading it will tell.
                        drop(SockRef::from(stream).shutdown(std::net::Shutdown::Write));
                    }
                }
                RelayWish::DropSocket => {
                    link.stream = None;
                    link.pending = Backlog::default();
                }
            }
        }
        if link.ends.is_over() {
            self.remove(channel);
            connection.release(channel)?;
        }
        Ok(())
    }

    /// Gives back what a burst made grow.
    pub fn shrink(&mut self) {
        if self.arrived.capacity() > MAX_SLICES {
            self.arrived = Vec::new();
        }
    }

    fn link(&mut self, channel: ChannelId) -> Option<&mut Link<T>> {
        self.links.get_mut(channel.0 as usize)?.as_mut()
    }

    fn remove(&mut self, channel: ChannelId) {
        if let Some(link) = self.links.get_mut(channel.0 as usize) {
            *link = None;
        }
        if self.links.iter().rev().take(1).any(Option::is_none) {
            while self.links.last().is_some_and(Option::is_none) {
                self.links.pop();
            }
            self.links.shrink_to(2 * self.links.len());
        }
    }
}

impl<T> std::fmt::Debug for Relay<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("links", &self.links.iter().flatten().count()).finish_non_exhaustive()
    }
}
