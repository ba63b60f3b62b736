//! Whose turn it is on a link that sends datagrams before everything else, as senders of QUIC do: a flood of them would leave nothing for
//! connections, nor for the records of the mesh.

use std::time::{Duration, Instant};

/// Datagrams may have a link for so long without a break: a burst passes whole.
pub const TURN: Duration = Duration::from_millis(50);
/// Streams have it for as long as datagrams had, but no longer than this.
pub const LONGEST_TURN: Duration = Duration::from_secs(1);
/// Streams that use their turn for nothing in so long have no more to send.
pub const UNUSED: Duration = Duration::from_millis(10);
/// Streams that were written to within so long may have something to send.
pub const STREAMS_BUSY: Duration = Duration::from_secs(1);

/// Shares a link between its datagrams and its streams once it is too slow for both: equal times, in turns.
///
/// Before that nothing is held back. What counts is not how much is sent but whether the link keeps up: as long as all datagrams have
/// left from time to time, streams have had what they needed, or at least the rest.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    turn: Turn,
    /// When a stream was written to.
    written: Option<Instant>,
}

/// A link as it stands when a datagram is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Of the datagrams before, not all have left.
    pub some_wait: bool,
    /// How many pieces of streams have left since it is there.
    pub stream_frames: u64,
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    /// Datagrams are taken. Some have been waiting since then, without a break.
    Datagrams(Option<Instant>),
    /// Those that wait leave, and no more are taken; they have had the link since then.
    Last(Instant),
    /// Streams have the link alone until then; so many pieces had left, and then.
    Streams { until: Instant, frames: u64, used: Instant },
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { turn: Turn::Datagrams(None), written: None }
    }
}

impl Turns {
    /// A stream of the link has been written to.
    pub fn handle_written(&mut self, now: Instant) {
        self.written = Some(now);
    }

    /// May a datagram be sent now?
    pub fn admit(&mut self, link: Sending, now: Instant) -> bool {
        if let Turn::Streams { until, frames, used } = &mut self.turn {
            if *frames != link.stream_frames {
                (*frames, *used) = (link.stream_frames, now);
            }
            if now < *until && now.saturating_duration_since(*used) < UNUSED {
                return false;
            }
            self.turn = Turn::Datagrams(None);
        }
        match self.turn {
            Turn::Datagrams(Some(since)) if link.some_wait => {
                if now.saturating_duration_since(since) < TURN || !self.streams_are_busy(now) {
                    return true;
                }
                self.turn = Turn::Last(since);
                false
            }
            Turn::Last(since) => {
                if !link.some_wait {
                    let until = now + now.saturating_duration_since(since).min(LONGEST_TURN);
                    self.turn = Turn::Streams { until, frames: link.stream_frames, used: now };
                }
                false
            }
            Turn::Datagrams(_) | Turn::Streams { .. } => {
                self.turn = Turn::Datagrams(link.some_wait.then_some(now));
                true
            }
        }
    }

    fn streams_are_busy(&self, now: Instant) -> bool {
        self.written.is_some_and(|at| now.saturating_duration_since(at) < STREAMS_BUSY)
    }
}
