//! How long to pause before trying again, and how often.

use std::num::NonZeroU32;
use std::time::Duration;

/// The first pause: what was cut by accident is back at once.
const FIRST: Duration = Duration::from_secs(1);
/// No pause is longer: a service that comes back is not left waiting for more than a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// Pauses of 1, 2, 4, 8, 16, 32, 60, 60, … seconds, or up to another bound. Without chance in it: whoever waits may be told when it goes
/// on, and the pool makes one login of many retries that fall together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backoff {
    retries: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new()
    }
}

impl Backoff {
    /// Before the first retry.
    pub const fn new() -> Backoff {
        Backoff::up_to(LONGEST)
    }

    /// Before the first retry; no pause is longer than this.
    pub const fn up_to(longest: Duration) -> Backoff {
        Backoff { retries: 0, longest }
    }

    /// Counts one more retry; the pause before it.
    pub fn next_pause(&mut self) -> Duration {
        let doublings = self.retries;
        self.retries = self.retries.saturating_add(1);
        2_u32.checked_pow(doublings).map_or(self.longest, |times| FIRST.saturating_mul(times).min(self.longest))
    }

    /// How many retries were counted.
    pub fn retries(self) -> u32 {
        self.retries
    }
}

/// Whether and how often what was lost is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReconnectPolicy {
    /// Not at all.
    Never,
    /// So many times in a row.
    UpTo(NonZeroU32),
    /// Without end.
    Always,
}

impl ReconnectPolicy {
    /// From the two fields of a tunnel: a `max_retries` of 0 is no bound.
    pub const fn new(auto_reconnect: bool, max_retries: u32) -> ReconnectPolicy {
        match (auto_reconnect, NonZeroU32::new(max_retries)) {
            (false, _) => ReconnectPolicy::Never,
            (true, Some(most)) => ReconnectPolicy::UpTo(most),
            (true, None) => ReconnectPolicy::Always,
        }
    }

    /// May there be another retry after those that were counted?
    pub fn allows_after(self, backoff: Backoff) -> bool {
        match self {
            ReconnectPolicy::Never => false,
            ReconnectPolicy::UpTo(most) => backoff.retries < most.get(),
            ReconnectPolicy::Always => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u64> = (0..9).map(|_| backoff.next_pause().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.retries(), 9);
        let mut worn_out = Backoff { retries: u32::MAX, longest: LONGEST };
        assert_eq!((worn_out.next_pause(), worn_out.retries()), (LONGEST, u32::MAX));
        let mut bounded = Backoff::up_to(Duration::from_secs(2));
        assert_eq!([(); 4].map(|()| bounded.next_pause().as_secs()), [1, 2, 2, 2]);
    }

    #[test]
    fn retries_end_where_the_policy_says() {
        let retries = |policy: ReconnectPolicy| {
            let mut backoff = Backoff::new();
            while policy.allows_after(backoff) && backoff.retries() < 100 {
                backoff.next_pause();
            }
            backoff.retries()
        };
        assert_eq!(retries(ReconnectPolicy::new(true, 5)), 5);
        assert_eq!(retries(ReconnectPolicy::new(true, 1)), 1);
        assert_eq!(retries(ReconnectPolicy::new(true, 0)), 100);
        assert_eq!(retries(ReconnectPolicy::new(false, 5)), 0);
        assert_eq!(retries(ReconnectPolicy::new(false, 0)), 0);
    }
}
