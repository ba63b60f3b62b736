//! How long what is made now may last: links, API tokens, keys. Each ends by itself one day, because people forget what they gave out.

use std::time::Duration;

use thiserror::Error;

/// The longest that things of one kind may last.
#[derive(Debug)]
pub(crate) struct LongestLife {
    /// What one of them is called.
    of: &'static str,
    time: Duration,
    /// The same for people.
    told: &'static str,
}

impl LongestLife {
    /// A link that lies in a mailbox for longer is found by others than the one it was for.
    pub(crate) const LINK: Self = Self { of: "a link", time: days(30), told: "30 days" };

    /// A year and a day, leap or not: whoever renews tokens each year is not late for being punctual.
    pub(crate) const API_TOKEN: Self = Self { of: "an API token", time: days(366), told: "366 days" };

    /// Longer than machines live. It is for numbers that were meant to be something else; a key may also have no end.
    pub(crate) const KEY: Self = Self { of: "a key", time: days(3_653), told: "10 years" };

    /// Takes over what somebody typed.
    pub(crate) fn check(&self, typed_ms: u64) -> Result<Duration, LifetimeError> {
        let (of, longest) = (self.of, self.told);
        match Duration::from_millis(typed_ms) {
            Duration::ZERO => Err(LifetimeError::None { of }),
            typed if typed > self.time => Err(LifetimeError::TooLong { of, longest }),
            typed => Ok(typed),
        }
    }
}

/// Why something cannot last as long as somebody typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LifetimeError {
    /// It would be over at once.
    #[error("{of} has to last for a while; leave its end out, or name a later one")]
    None {
        /// What it is.
        of: &'static str,
    },
    /// It would last too long.
    #[error("{of} lasts {longest} at most; name an earlier end")]
    TooLong {
        /// What it is.
        of: &'static str,
        /// How long it may last.
        longest: &'static str,
    },
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_longer_than_nothing_and_has_a_bound() {
        let day = 86_400_000;
        let check = |typed| LongestLife::LINK.check(typed).map_err(|refused| refused.to_string());
        assert_eq!(check(1), Ok(Duration::from_millis(1)));
        assert_eq!(check(30 * day), Ok(days(30)));
        assert_eq!(check(30 * day + 1), Err("a link lasts 30 days at most; name an earlier end".to_owned()));
        assert!(check(u64::MAX).is_err() && check(0).is_err());
        assert!(LongestLife::API_TOKEN.check(366 * day).is_ok() && LongestLife::API_TOKEN.check(367 * day).is_err());
        assert!(LongestLife::KEY.check(10 * 365 * day).is_ok() && LongestLife::KEY.check(11 * 365 * day).is_err());
    }
}
