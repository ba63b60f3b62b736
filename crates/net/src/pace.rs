//! Holds one direction of a session's relay to an allowance that it shares with other sessions.
//!
//! Most sessions have no limit. Theirs costs one look at an `Option` per turn of a socket: no lock, no atomic, no clock. Where there
//! is one, the allowance's lock is taken once or twice for each turn, which moves up to 64 KiB.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adit_core::{Allowance, Sharer, Turn};

/// A session's part in an allowance. Its place in line goes with it.
#[derive(Debug)]
pub struct Share {
    allowance: Arc<Mutex<Allowance>>,
    sharer: Sharer,
}

impl Share {
    /// One more who shares `allowance`.
    pub fn of(allowance: &Arc<Mutex<Allowance>>) -> Self {
        let sharer = lock(allowance).enter();
        Self { allowance: Arc::clone(allowance), sharer }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.allowance).withdraw(&self.sharer);
    }
}

/// Nothing panics under this lock.
fn lock(allowance: &Mutex<Allowance>) -> MutexGuard<'_, Allowance> {
    allowance.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a session may move, by direction; `None` is no limit.
#[derive(Debug, Default)]
pub struct Limits {
    /// What is read from its sockets. While it is spent they are not read, so that TCP holds their senders back.
    pub from_sockets: Option<Share>,
    /// What is written to its sockets. While it is spent the bytes stay where they are, uncredited: a window bounds them, and the
    /// peer's other channels and its signs of life are as before.
    pub to_sockets: Option<Share>,
}

/// One direction of one session: its share, and the links that wait for a turn.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    share: Option<Share>,
    /// Links that have something to move, each once, in the order of their turns.
    pub(crate) line: VecDeque<u32>,
    /// Until when the allowance is spent, as it last said.
    spent_until: Option<Instant>,
}

impl Pace {
    pub(crate) fn is_limited(&self) -> bool {
        self.share.is_some()
    }

    /// Who stands in line keeps its place there.
    pub(crate) fn set_share(&mut self, share: Option<Share>) {
        self.share = share;
        self.spent_until = None;
    }

    /// When the line is to be served again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.spent_until
    }

    /// The link that is next in line, unless the allowance is known to be spent.
    pub(crate) fn next(&self, now: Instant) -> Option<u32> {
        self.line.front().copied().filter(|_| self.spent_until.is_none_or(|until| until <= now))
    }

    /// How many of `wanted` bytes may be moved now; `None` where the allowance is spent.
    pub(crate) fn take(&mut self, wanted: usize, now: Instant) -> Option<usize> {
        let Some(share) = &self.share else { return Some(wanted) };
        match lock(&share.allowance).handle_ask(&share.sharer, wanted, now) {
            Turn::Take(granted) => {
                self.spent_until = None;
                Some(granted)
            }
            Turn::AskAgain(at) => {
                self.spent_until = Some(at);
                None
            }
        }
    }

    pub(crate) fn give_back(&self, unused: usize) {
        if let Some(share) = self.share.as_ref().filter(|_| unused > 0) {
            lock(&share.allowance).give_back(unused);
        }
    }

    /// Lets other sessions go first where nobody stands in line here.
    pub(crate) fn withdraw_if_idle(&mut self) {
        if self.line.is_empty()
            && self.spent_until.take().is_some()
            && let Some(share) = &self.share
        {
            lock(&share.allowance).withdraw(&share.sharer);
        }
    }
}
