//! One channel's books (RFC 4254 §5): windows both ways, who has said EOF and CLOSE, and nothing of the bytes themselves.
//!
//! The receive window is credited by [`Channel::credit`], which is called for bytes that were *written on*. A channel whose
//! reader stops is therefore stopped by its own window and takes no other channel's.

use std::time::Instant;

use crate::disconnect::Disconnect;
use crate::flight::{BULK, Flight};
use crate::holding::Holding;

/// How many bytes a peer may send on a channel before some were written on. It bounds what a stalled visitor costs.
pub const RECEIVE_WINDOW: u32 = 2 * 1024 * 1024;
/// The largest payload we invite in one CHANNEL_DATA; every implementation must manage 32,768 (RFC 4253 §6.1).
pub(crate) const MAX_DATA: u32 = 32 * 1024;
/// A window is announced again when this much was written on: seldom enough to cost nothing, often enough that a peer that looks how
/// long its bytes take to be written on ([`crate::flight`]) sees it.
const ANNOUNCE_AT: u32 = RECEIVE_WINDOW / 16;

/// Names one channel of one connection, for as long as it is held. Numbers are used again after
/// [`Connection::release`](crate::Connection::release).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u32);

impl std::fmt::Display for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a channel carries.
#[derive(Debug)]
pub(crate) enum Kind {
    /// One TCP connection (RFC 4254 §7.2).
    Tcp,
    /// A session asked for only to see whether anybody answers.
    Probe,
    /// A session that is held open and does nothing.
    Session(Holding),
}

/// How far the opening has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// We asked; the peer has not answered, and has until then to do so.
    Asked {
        /// When we give up.
        until: Instant,
    },
    /// The peer asked; our caller has not answered.
    Offered,
    /// Both agreed.
    Done,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) kind: Kind,
    pub(crate) opening: Opening,
    pub(crate) peer: u32,
    send_window: u32,
    /// What the peer granted at first.
    first_window: u32,
    /// Bytes sent so far, as long as they are few.
    carried: u32,
    /// Once they are many: how much of the window is used.
    flight: Option<Box<Flight>>,
    max_data: u32,
    receive_window: u32,
    /// Written on, not yet announced.
    credit: u32,
    /// The caller found the send window shut and waits to hear that it opened.
    pub(crate) wants_window: bool,
    pub(crate) eof_sent: bool,
    pub(crate) eof_received: bool,
    pub(crate) close_sent: bool,
    pub(crate) close_received: bool,
    /// The caller has let go of it: no event names it, a late confirmation is answered by CLOSE.
    pub(crate) orphaned: bool,
}

impl Channel {
    pub(crate) fn new(kind: Kind, opening: Opening) -> Self {
        Self {
            kind,
            opening,
            peer: 0,
            send_window: 0,
            first_window: 0,
            carried: 0,
            flight: None,
            max_data: 0,
            receive_window: RECEIVE_WINDOW,
            credit: 0,
            wants_window: false,
            eof_sent: false,
            eof_received: false,
            close_sent: false,
            close_received: false,
            orphaned: false,
        }
    }

    /// Takes the peer's number, window and packet size from its open or confirmation.
    pub(crate) fn meet_peer(&mut self, peer: u32, window: u32, max_packet: u32) -> Result<(), Disconnect> {
        if max_packet == 0 {
            return Err(Disconnect::protocol("a channel's maximum packet size is zero"));
        }
        self.peer = peer;
        (self.send_window, self.first_window) = (window, window);
        self.max_data = max_packet.min(MAX_DATA);
        Ok(())
    }

    /// How many bytes may be sent now.
    pub(crate) fn sendable(&self) -> usize {
        if self.opening != Opening::Done || self.eof_sent || self.close_sent || self.close_received {
            return 0;
        }
        let useful = self.flight.as_ref().map_or(usize::MAX, |flight| flight.room());
        useful.min(self.send_window as usize)
    }

    /// What is left of the peer's window.
    #[cfg(test)]
    pub(crate) fn send_window(&self) -> usize {
        self.send_window as usize
    }

    /// The most that one packet to the peer may carry.
    pub(crate) fn max_data(&self) -> usize {
        self.max_data as usize
    }

    /// Accounts for data that leaves. True when the channel carries bulk from now on, and [`Self::gives_up_at`] is to be asked.
    pub(crate) fn sent(&mut self, len: usize, now: Instant) -> bool {
        let len = self.spend(len);
        if let Some(flight) = &mut self.flight {
            flight.handle_sent(len as usize, now);
            return false;
        }
        self.carried = self.carried.saturating_add(len);
        let is_bulk = self.carried > BULK;
        if is_bulk {
            self.flight = Some(Box::new(Flight::new(self.first_window.saturating_sub(self.send_window), now)));
        }
        is_bulk
    }

    /// Takes so much from the peer's window; how much there was of it.
    pub(crate) fn spend(&mut self, len: usize) -> u32 {
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(self.send_window);
        self.send_window -= len;
        len
    }

    /// What it is once [`Self::sent`] has said that it carries bulk.
    pub(crate) fn flight(&mut self) -> Option<&mut Flight> {
        self.flight.as_deref_mut()
    }

    /// Takes a window adjustment; true when somebody waits for it.
    pub(crate) fn widen(&mut self, by: u32, now: Instant) -> Result<bool, Disconnect> {
        self.send_window = self
            .send_window
            .checked_add(by)
            .ok_or(Disconnect::protocol("a channel's window grew beyond 2^32 - 1 bytes"))?;
        if let Some(flight) = &mut self.flight {
            flight.handle_credit(by, now);
        }
        Ok(self.is_awaited())
    }

    /// Whether somebody waits for a window that is open now; told once.
    fn is_awaited(&mut self) -> bool {
        self.sendable() > 0 && std::mem::take(&mut self.wants_window)
    }

    /// When [`Self::give_up`] wants to be called.
    pub(crate) fn gives_up_at(&self) -> Option<Instant> {
        self.flight.as_ref()?.gives_up_at()
    }

    /// The peer has written nothing on for long: its window alone bounds what is sent. True when somebody waits for that.
    pub(crate) fn give_up(&mut self, now: Instant) -> bool {
        if let Some(flight) = &mut self.flight {
            flight.give_up(now);
        }
        self.is_awaited()
    }

    /// Accounts for data that arrived. False: it came after our CLOSE and is to be dropped.
    pub(crate) fn received(&mut self, len: usize) -> Result<bool, Disconnect> {
        if self.opening != Opening::Done || self.eof_received || self.close_received {
            return Err(Disconnect::protocol("data on a channel that is not open for it"));
        }
        if len > MAX_DATA as usize {
            return Err(Disconnect::protocol("more data in a packet than the channel allows"));
        }
        self.receive_window = self
            .receive_window
            .checked_sub(len as u32)
            .ok_or(Disconnect::protocol("data beyond the channel's window"))?;
        Ok(!self.close_sent)
    }

    /// Accounts for bytes that were written on. Gives the adjustment to announce, when one is due.
    pub(crate) fn credit(&mut self, len: usize) -> Option<u32> {
        let outstanding = RECEIVE_WINDOW - self.receive_window;
        self.credit = self.credit.saturating_add(u32::try_from(len).unwrap_or(u32::MAX)).min(outstanding);
        if self.credit < ANNOUNCE_AT || self.eof_received || self.close_received || self.close_sent {
            return None;
        }
        let adjustment = std::mem::take(&mut self.credit);
        self.receive_window += adjustment;
        Some(adjustment)
    }

    /// Whether both sides have closed, so that the peer may not name the channel any more.
    pub(crate) fn is_over(&self) -> bool {
        self.close_sent && self.close_received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open_channel() -> Channel {
        let mut channel = Channel::new(Kind::Tcp, Opening::Done);
        channel.meet_peer(0, 100, 50).unwrap();
        channel
    }

    #[test]
    fn a_byte_beyond_the_window_ends_the_connection() {
        let mut channel = open_channel();
        for _ in 0..RECEIVE_WINDOW / MAX_DATA {
            assert_eq!(channel.received(MAX_DATA as usize), Ok(true));
        }
        assert!(channel.received(1).is_err());
    }

    #[test]
    fn nothing_is_announced_for_bytes_that_never_came() {
        let mut channel = open_channel();
        assert_eq!(channel.credit(usize::MAX), None);
        channel.received(10).unwrap();
        assert_eq!(channel.credit(ANNOUNCE_AT as usize), None);
    }

    #[test]
    fn a_window_cannot_overflow() {
        let (mut channel, now) = (open_channel(), Instant::now());
        assert!(channel.widen(u32::MAX, now).is_err());
        assert!(channel.widen(u32::MAX - 100, now).is_ok());
    }

    proptest! {
        /// Whatever comes and is written on in whatever steps: window + unannounced credit + bytes still held = the whole.
        #[test]
        fn no_window_is_lost(steps in proptest::collection::vec((1usize..=MAX_DATA as usize, 0usize..100_000), 0..500)) {
            let mut channel = open_channel();
            let mut held = 0usize;
            for (arrives, written) in steps {
                if channel.receive_window as usize >= arrives {
                    channel.received(arrives).unwrap();
                    held += arrives;
                }
                let written = written.min(held);
                held -= written;
                channel.credit(written);
                prop_assert_eq!(channel.receive_window as usize + channel.credit as usize + held, RECEIVE_WINDOW as usize);
                prop_assert!(channel.credit < ANNOUNCE_AT);
            }
        }
    }
}
