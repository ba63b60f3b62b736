//! How fast others may make an agent work (the generic cell rate algorithm, ITU-T I.371).

use std::time::{Duration, Instant};

/// A pace that somebody keeps, or is made to keep: each step costs time, and some may be taken ahead.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time up to which is paid.
    paid: Instant,
}

impl Pace {
    /// Nothing was taken yet.
    pub fn new(now: Instant) -> Pace {
        Pace { paid: now }
    }

    /// Takes a step; answers how long it has to wait, where more than `ahead` is taken already.
    pub fn take(&mut self, cost: Duration, ahead: Duration, now: Instant) -> Duration {
        self.paid = self.paid.max(now) + cost;
        self.paid.saturating_duration_since(now).saturating_sub(ahead)
    }
}
