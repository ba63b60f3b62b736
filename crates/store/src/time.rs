//! Time as the store keeps it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 00:00 UTC; negative before it. An integer, because it is the one form of time that
/// SQLite and PostgreSQL store, compare and index alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This moment and `later` more; a time past the end of the scale is its end.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment less `earlier`; a time before the start of the scale is its start.
    #[must_use]
    pub fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Cuts off what is finer than a millisecond; a time off the scale is the scale's end.
impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(0).after(since),
            Err(before) => Self(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_time_keeps_its_milliseconds() {
        let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        assert_eq!(UnixMillis::from(time), UnixMillis(1_700_000_000_123));
        assert_eq!(UnixMillis::from(UNIX_EPOCH - Duration::from_secs(2)), UnixMillis(-2_000));
    }

    #[test]
    fn no_duration_wraps_around() {
        assert_eq!(UnixMillis(5).after(Duration::MAX), UnixMillis(i64::MAX));
    }
}
