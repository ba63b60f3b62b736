//! Carries bytes between the channels of one SSH connection and their sockets, inside the task that owns both.
//!
//! From a socket, bytes are read straight into the packets they leave in; to a socket, they are written straight from where they
//! were decrypted. Only what a socket does not take at once is copied aside, at most a channel's window of it, and only
//! what a socket took is credited to the peer: a visitor that stops reading stops its own channel and nothing else.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::backlog::Backlog;
use crate::pace::{Limits, Pace};
use crate::socket::ShortRead;
use crate::storage;
use crate::stream::Stream;
use crate::wake::WakeSet;
use adit_core::{HalfClose, RelayWish};
use adit_ssh::{Buffer, ChannelId, Connection, Disconnect, MAX_DATA_SLOTS, OUTPUT_LOW, Payload};

/// The most that one turn takes from one socket, so that others get theirs: all slots of one read.
const TURN: usize = MAX_DATA_SLOTS * 32 * 1024;
/// How long a socket may take nothing of what is left for it once the peer has closed the channel.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces given to one write; what is more goes with the next.
const MAX_SLICES: usize = 32;

/// Counts what goes through a connection; told as it happens, dropped with the connection's socket.
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
    /// What is read from sockets, and which links wait for their turn to read.
    reads: Pace,
    /// What is written to sockets, and which links wait for their turn to write.
    writes: Pace,
    /// Links that their peer has closed and whose socket has not taken all, by when it is looked at again.
    closing: VecDeque<(Instant, ChannelId)>,
}

struct Link<T> {
    /// None once it was dropped, while the peer's CLOSE is still to come.
    socket: Option<Socket<T>>,
    ends: HalfClose,
    /// The peer has confirmed the channel.
    open: bool,
    /// Taken over from the channel, not yet taken by the socket.
    pending: Backlog,
    /// Once the peer has closed while bytes were pending: by when the socket must have taken some, and how many were.
    patience: Option<(Instant, usize)>,
    /// Stands in [`Relay::waiting`].
    waits: bool,
    /// Stands in the line of [`Relay::reads`].
    reads_in_turn: bool,
    /// Stands in the line of [`Relay::writes`].
    writes_in_turn: bool,
    waker: Waker,
}

/// A socket with what counts its bytes, and goes when it does.
struct Socket<T> {
    stream: Stream,
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
            reads: Pace::default(),
            writes: Pace::default(),
            closing: VecDeque::new(),
        }
    }
}

impl<T: Tally> Relay<T> {
    /// From now on, moves no more than these shares give; called again when they change.
    pub fn set_limits(&mut self, limits: Limits) {
        self.reads.set_share(limits.from_sockets);
        self.writes.set_share(limits.to_sockets);
    }

    /// Takes a socket whose channel was asked for, or offered.
    pub fn insert(&mut self, channel: ChannelId, stream: impl Into<Stream>, tally: T) {
        let index = channel.0 as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        let (ends, waker) = (HalfClose::new(), self.wakes.waker(channel.0));
        self.links[index] = Some(Link {
            socket: Some(Socket { stream: stream.into(), tally }),
            ends,
            open: false,
            pending: Backlog::default(),
            patience: None,
            waits: false,
            reads_in_turn: false,
            writes_in_turn: false,
            waker,
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

    /// Cuts a connection off: its socket is dropped now, and its channel closed.
    ///
    /// # Errors
    /// The SSH connection is over.
    pub fn cut(&mut self, channel: ChannelId, connection: &mut Connection) -> Result<(), Disconnect> {
        if let Some(link) = self.link(channel) {
            link.ends.handle_socket_error();
        }
        self.settle(channel, connection)
    }

    /// The channels whose sockets are counted by what `wanted` picks.
    pub fn channels_where(&self, wanted: impl Fn(&T) -> bool) -> Vec<ChannelId> {
        let is_wanted = |link: &Link<T>| link.socket.as_ref().is_some_and(|socket| wanted(&socket.tally));
        let picked = self.links.iter().enumerate().filter(|(_, link)| link.as_ref().is_some_and(is_wanted));
        picked.map(|(index, _)| ChannelId(index as u32)).collect()
    }

    /// When [`Self::handle_timeout`], and then [`Self::poll_turns`], want to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.closing.front().map(|(until, _)| *until);
        [patience, self.reads.poll_timeout(), self.writes.poll_timeout()].into_iter().flatten().min()
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
            // Who waits for a turn is not to blame.
            if link.pending.len() < before || link.writes_in_turn {
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
        let limited = self.writes.is_limited();
        let Some(link) = self.link(channel) else { return connection.credit(channel, total) };
        let Some(Socket { stream, tally }) = link.socket.as_mut().filter(|_| link.ends.wants_peer_data()) else {
            return connection.credit(channel, total);
        };
        let mut taken = 0;
        // Under a limit all goes by turns, so that one place counts it.
        if link.pending.is_empty() && !limited {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            for (slice, (_, payload)) in slices.iter_mut().zip(pieces) {
                *slice = IoSlice::new(input.payload(payload));
            }
            let mut context = Context::from_waker(&link.waker);
            match stream.poll_write(&mut context, &slices[..pieces.len()]) {
                Poll::Ready(Ok(count)) => {
                    tally.count_out(count);
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
        if !link.pending.is_empty() && (taken > 0 || limited) {
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
            if self.writes.is_limited() {
                self.queue_write(channel);
            } else {
                self.write_pending(channel, usize::MAX, connection)?;
            }
            if connection.output().len() >= OUTPUT_LOW / 2 {
                self.wait(channel);
            } else if self.reads.is_limited() {
                self.queue_read(channel);
            } else {
                self.read_turn(channel, TURN, connection, now)?;
            }
            self.settle(channel, connection)?;
        }
        self.serve_writes(connection, now)?;
        self.serve_reads(connection, now)?;
        Ok(!self.ready.is_empty())
    }

    fn queue_write(&mut self, channel: ChannelId) {
        if let Some(link) = self.link(channel).filter(|link| !link.pending.is_empty() && !link.writes_in_turn) {
            link.writes_in_turn = true;
            self.writes.line.push_back(channel.0);
        }
    }

    fn queue_read(&mut self, channel: ChannelId) {
        if let Some(link) = self.link(channel).filter(|link| !link.reads_in_turn) {
            link.reads_in_turn = true;
            self.reads.line.push_back(channel.0);
        }
    }

    /// Writes by turns until the allowance is spent or nobody stands in line. That ends: nothing is added to what is pending.
    fn serve_writes(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Disconnect> {
        while let Some(key) = self.writes.next(now) {
            let channel = ChannelId(key);
            // Nothing is taken for a socket that takes nothing.
            let wanted = self.link(channel).filter(|link| link.is_writable()).map_or(0, |link| link.pending.len());
            let granted = match wanted {
                0 => 0,
                _ => match self.writes.take(wanted, now) {
                    Some(granted) => granted,
                    None => break,
                },
            };
            self.writes.line.pop_front();
            if let Some(link) = self.link(channel) {
                link.writes_in_turn = false;
            }
            let written = self.write_pending(channel, granted, connection)?;
            self.writes.give_back(granted - written);
            if granted > 0 && written == granted {
                self.queue_write(channel);
            }
            self.settle(channel, connection)?;
        }
        self.writes.withdraw_if_idle();
        Ok(())
    }

    /// Reads by turns until the allowance is spent or nobody stands in line; who has more comes by way of those that are ready.
    fn serve_reads(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Disconnect> {
        while let Some(key) = self.reads.next(now) {
            let channel = ChannelId(key);
            let crowded = connection.output().len() >= OUTPUT_LOW / 2;
            let wanted = match self.link(channel) {
                Some(link) if !crowded && link.is_readable() => connection.sendable(channel).min(TURN),
                _ => 0,
            };
            let granted = match wanted {
                0 => 0,
                _ => match self.reads.take(wanted, now) {
                    Some(granted) => granted,
                    None => break,
                },
            };
            self.reads.line.pop_front();
            if let Some(link) = self.link(channel) {
                link.reads_in_turn = false;
            }
            let read = match granted {
                0 => 0,
                _ => self.read_turn(channel, granted, connection, now)?,
            };
            self.reads.give_back(granted - read);
            if crowded || connection.is_holding_data() {
                self.wait(channel);
            }
            self.settle(channel, connection)?;
        }
        self.reads.withdraw_if_idle();
        Ok(())
    }

    /// Writes at most `most` of what a socket has not taken yet; how much that was.
    fn write_pending(
        &mut self,
        channel: ChannelId,
        most: usize,
        connection: &mut Connection,
    ) -> Result<usize, Disconnect> {
        let Some(link) = self.link(channel) else { return Ok(0) };
        let (mut written, mut credit) = (0, 0);
        while let Some(Socket { stream, tally }) =
            link.socket.as_mut().filter(|_| !link.pending.is_empty() && written < most)
        {
            let mut context = Context::from_waker(&link.waker);
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = link.pending.slices(most - written, &mut slices);
            match stream.poll_write(&mut context, &slices[..count]) {
                Poll::Ready(Ok(count)) => {
                    link.pending.consume(count);
                    tally.count_out(count);
                    written += count;
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
        if credit > 0 {
            connection.credit(channel, credit)?;
        }
        Ok(written)
    }

    /// Reads once from a socket into packets, at most `most` bytes; how many that was.
    fn read_turn(
        &mut self,
        channel: ChannelId,
        most: usize,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<usize, Disconnect> {
        let Some(link) = self.links.get_mut(channel.0 as usize).and_then(Option::as_mut) else { return Ok(0) };
        let reads = link.open && link.ends.wants_socket_data();
        let Some(Socket { stream, tally }) = link.socket.as_mut().filter(|_| reads) else { return Ok(0) };
        let output = connection.output_buffer();
        if output.capacity() < storage::OUTPUT_SIZE {
            storage::give_back(output.lend(storage::lend_output()));
        }
        let mut slots = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let count = connection.data_slots(channel, most, &mut slots);
        if count == 0 {
            if connection.is_holding_data() {
                self.wait(channel);
            }
            return Ok(0);
        }
        let mut context = Context::from_waker(&link.waker);
        match stream.poll_read(&mut context, &mut slots[..count], ShortRead::ProvesNothing) {
            Poll::Ready(Ok(0)) => link.ends.handle_socket_eof(),
            Poll::Ready(Ok(len)) => {
                tally.count_in(len);
                connection.commit_data(channel, len, now)?;
                self.ready.push_back(channel.0);
                return Ok(len);
            }
            Poll::Ready(Err(_)) => link.ends.handle_socket_error(),
            Poll::Pending => {}
        }
        Ok(0)
    }

    /// Does what follows from how far a link's two directions have ended.
    fn settle(&mut self, channel: ChannelId, connection: &mut Connection) -> Result<(), Disconnect> {
        let Some(link) = self.link(channel) else { return Ok(()) };
        while let Some(wish) = link.ends.poll_output() {
            match wish {
                RelayWish::SendEof => connection.send_eof(channel)?,
                RelayWish::SendClose => connection.close(channel)?,
                RelayWish::ShutdownSocketWrite => {
                    if let Some(socket) = &mut link.socket {
                        socket.stream.shut_down_write();
                    }
                }
                RelayWish::DropSocket => {
                    link.socket = None;
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
        if let Some(link) = self.links.get_mut(channel.0 as usize).and_then(Option::take) {
            // The number may soon be another link's, which has its own place.
            if link.reads_in_turn {
                self.reads.line.retain(|key| *key != channel.0);
            }
            if link.writes_in_turn {
                self.writes.line.retain(|key| *key != channel.0);
            }
        }
        if self.links.iter().rev().take(1).any(Option::is_none) {
            while self.links.last().is_some_and(Option::is_none) {
                self.links.pop();
            }
            self.links.shrink_to(2 * self.links.len());
        }
    }
}

impl<T> Link<T> {
    /// Whether the socket may take something. If not, the link is woken when it does.
    fn is_writable(&self) -> bool {
        let mut context = Context::from_waker(&self.waker);
        self.socket.as_ref().is_some_and(|socket| socket.stream.poll_write_ready(&mut context).is_ready())
    }

    /// Whether the socket may have something that the channel takes. If not, the link is woken when it does.
    fn is_readable(&self) -> bool {
        let mut context = Context::from_waker(&self.waker);
        let socket = self.socket.as_ref().filter(|_| self.open && self.ends.wants_socket_data());
        socket.is_some_and(|socket| socket.stream.poll_read_ready(&mut context).is_ready())
    }
}

impl<T> std::fmt::Debug for Relay<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("links", &self.links.iter().flatten().count()).finish_non_exhaustive()
    }
}
