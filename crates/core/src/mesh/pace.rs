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

    /// Takes a step if it need not wait; one that is not taken costs nothing.
    pub fn try_take(&mut self, cost: Duration, ahead: Duration, now: Instant) -> bool {
        let paid = self.paid.max(now) + cost;
        let is_due = paid.saturating_duration_since(now) <= ahead;
        if is_due {
            self.paid = paid;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_waits_pays_and_who_is_turned_away_does_not() {
        let now = Instant::now();
        let (mut waits, mut leaves) = (Pace::new(now), Pace::new(now));
        for taken in 1..=100 {
            assert_eq!(waits.take(SECOND, SECOND * 10, now), SECOND * 10_u32.max(taken) - SECOND * 10);
            assert_eq!(leaves.try_take(SECOND, SECOND * 10, now), taken <= 10);
        }
        let later = now + SECOND;
        assert_eq!(waits.take(SECOND, SECOND * 10, later), SECOND * 90);
        assert!(leaves.try_take(SECOND, SECOND * 10, later) && !leaves.try_take(SECOND, SECOND * 10, later));
    }
}
