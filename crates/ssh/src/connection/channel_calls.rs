//! What a driver does with channels: open, send, credit, close.

use std::io::IoSliceMut;
use std::time::{Duration, Instant};

use super::{Connection, OUTPUT_LOW};
use crate::channel::ChannelId;
use crate::channels::{Arrival, Target};
use crate::client::OpenFailureCode;
use crate::disconnect::Disconnect;
use crate::packet::MAX_DATA_SLOTS;

impl Connection {
    /// Announces a connection that arrived at a remote forward. `None`: no more channels, or too much waits to be sent already;
    /// turn the visitor away. Visitors alone can therefore never end a connection whose peer does not read for a while.
    ///
    /// # Errors
    /// The connection is over.
    pub fn open_forwarded(&mut self, arrival: Arrival<'_>, now: Instant) -> Result<Option<ChannelId>, Disconnect> {
        if !self.may_open() {
            return Ok(None);
        }
        let opened = self.channels.open_forwarded(arrival, &mut self.out, now).map(Some);
        self.or_end(opened)
    }

    /// How many more channels there may be at this moment.
    pub fn room(&self) -> usize {
        self.channels.room()
    }

    /// Client: asks the server for a connection to a target (RFC 4254 §7.2). [`Event::Opened`](crate::Event::Opened) tells when
    /// it is there, [`ClientEvent::OpenFailed`](crate::ClientEvent::OpenFailed) why it is not, within `time_out` of the asking
    /// (a crowded way lengthens it, at most fourfold). Any number may be asked for at once; [`Self::release`] gives one up.
    /// `None`: no more channels, or too much waits to be sent already.
    ///
    /// # Errors
    /// The connection is over.
    pub fn open_direct(
        &mut self,
        target: Target<'_>,
        time_out: Duration,
        now: Instant,
    ) -> Result<Option<ChannelId>, Disconnect> {
        if !self.may_open() {
            return Ok(None);
        }
        let opened = self.channels.open_direct(target, time_out, &mut self.out, now).map(Some);
        self.or_end(opened)
    }

    /// Client: sees whether anybody is there, by asking for a session channel that is closed at once if it is granted; nothing
    /// is ever run in it. [`ClientEvent::SessionProbed`](crate::ClientEvent::SessionProbed) tells. A refusal is an answer; as
    /// long as anything else comes from the server the question stays open, and `time_out` of silence is
    /// [`ProbeAnswer::Silent`](crate::ProbeAnswer::Silent). `None`: no more channels, or too much waits to be sent already.
    ///
    /// # Errors
    /// The connection is over.
    pub fn probe_session(&mut self, time_out: Duration, now: Instant) -> Result<Option<ChannelId>, Disconnect> {
        if !self.may_open() {
            return Ok(None);
        }
        let opened = self.channels.probe_session(time_out, &mut self.out, now).map(Some);
        self.or_end(opened)
    }

    fn may_open(&self) -> bool {
        self.is_open() && !self.over && self.channels.has_room() && !self.out.is_crowded()
    }

    /// Client: takes a connection that arrived.
    ///
    /// # Errors
    /// The connection is over.
    pub fn accept(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let accepted = self.channels.accept(channel, &mut self.out);
        self.or_end(accepted)
    }

    /// Client: turns a connection that arrived away. The id is free again.
    ///
    /// # Errors
    /// The connection is over.
    pub fn refuse(&mut self, channel: ChannelId, code: OpenFailureCode, reason: &str) -> Result<(), Disconnect> {
        let refused = self.channels.refuse(channel, code, reason, &mut self.out);
        self.or_end(refused)
    }

    /// How many bytes may be sent on `channel` now: bounded by its window and by what of it is worth using, and nothing while keys are
    /// exchanged or much waits to go out. Where one of the first two forbids, [`Event::Sendable`](crate::Event::Sendable) tells when it
    /// does no more.
    pub fn sendable(&mut self, channel: ChannelId) -> usize {
        if self.over || self.is_holding_data() {
            return 0;
        }
        let Some(channel) = self.channels.get(channel) else { return 0 };
        let sendable = channel.sendable();
        channel.wants_window = sendable == 0;
        sendable
    }

    /// What is left of a peer's window, whatever of it is worth using.
    #[cfg(test)]
    pub(crate) fn send_window(&mut self, channel: ChannelId) -> usize {
        self.channels.get(channel).map_or(0, |channel| channel.send_window())
    }

    /// Whether data is held up on every channel: much waits to go out, or keys are exchanged ([`Event::Rekeyed`](crate::Event::Rekeyed) tells the end).
    pub fn is_holding_data(&self) -> bool {
        self.out.is_holding() || self.out.writer.out.len() >= OUTPUT_LOW
    }

    /// Room for up to `max` bytes of channel data at the end of the output, in pieces of a packet each: fill them in order and call
    /// [`Self::commit_data`] next. Returns how many pieces there are; 0 where [`Self::sendable`] is.
    pub fn data_slots<'a>(
        &'a mut self,
        channel: ChannelId,
        max: usize,
        slots: &mut [IoSliceMut<'a>; MAX_DATA_SLOTS],
    ) -> usize {
        let total = self.sendable(channel).min(max);
        let Some(max_data) = self.channels.get(channel).map(|channel| channel.max_data()).filter(|_| total > 0) else {
            return 0;
        };
        self.out.writer.data_slots(max_data, total, slots)
    }

    /// Sends the first `len` bytes that were put in the pieces of [`Self::data_slots`].
    ///
    /// # Errors
    /// The connection is over.
    pub fn commit_data(&mut self, channel: ChannelId, len: usize, now: Instant) -> Result<(), Disconnect> {
        let Some(open) = self.channels.get(channel) else { return Ok(()) };
        let len = len.min(open.sendable());
        let (peer, max_data) = (open.peer, open.max_data());
        self.channels.sent(channel, len, now);
        let sent = self.out.writer.commit_data(peer, max_data, len);
        self.or_end(sent)?;
        self.rekey_if_due(now)
    }

    /// Sends as much of `bytes` as may be sent now; returns how much that was.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send_data(&mut self, channel: ChannelId, bytes: &[u8], now: Instant) -> Result<usize, Disconnect> {
        let mut sent = 0;
        while sent < bytes.len() {
            let mut slots = std::array::from_fn(|_| IoSliceMut::new(&mut []));
            let count = self.data_slots(channel, bytes.len() - sent, &mut slots);
            if count == 0 {
                break;
            }
            let mut len = 0;
            for slot in &mut slots[..count] {
                let piece = &bytes[sent + len..][..slot.len()];
                slot.copy_from_slice(piece);
                len += piece.len();
            }
            self.commit_data(channel, len, now)?;
            sent += len;
        }
        Ok(sent)
    }

    /// Opens the peer's window again by `len` bytes that were *written on*.
    ///
    /// # Errors
    /// The connection is over.
    pub fn credit(&mut self, channel: ChannelId, len: usize) -> Result<(), Disconnect> {
        let credited = self.channels.credit(channel, len, &mut self.out);
        self.or_end(credited)
    }

    /// Says that no more data comes on a channel (RFC 4254 §5.3). Said once.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send_eof(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let sent = self.channels.send_eof(channel, &mut self.out);
        self.or_end(sent)
    }

    /// Closes a channel. The id stays taken until it is released.
    ///
    /// # Errors
    /// The connection is over.
    pub fn close(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let closed = self.channels.close(channel, &mut self.out);
        self.or_end(closed)
    }

    /// Lets go of a channel, whatever its state: no event names the id any more until it is used again.
    ///
    /// # Errors
    /// The connection is over.
    pub fn release(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let released = self.channels.release(channel, &mut self.out);
        self.or_end(released)
    }
}
