//! Notices that the machine was asleep, so that connections which died meanwhile are asked at once.

use std::time::{Duration, Instant, SystemTime};

/// Time that may go missing between two looks without meaning anything: a busy machine runs its tasks late by less, and clocks
/// are corrected by less. A gap that means nothing after all costs one probe per connection.
const TOLERANCE: Duration = Duration::from_secs(5);

/// One look at both clocks of the machine.
///
/// The monotonic clock stands still in suspend on Linux and macOS and runs on under Windows; the wall clock always runs on, but may
/// be set. Whichever went further than the time between two looks says that nobody was looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// The clock that is never set.
    pub monotonic: Instant,
    /// The clock that knows the date.
    pub wall: SystemTime,
}

impl Clocks {
    /// How long nobody looked, beyond the `pace` at which we meant to look; `None` when that is next to nothing.
    pub fn gap_since(self, earlier: Clocks, pace: Duration) -> Option<Duration> {
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        // A clock that was set back tells nothing.
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        Some(monotonic.max(wall).saturating_sub(pace)).filter(|gap| *gap > TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Duration = Duration::from_secs(5);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn look() -> Clocks {
        Clocks { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH + 400_000 * HOUR }
    }

    fn gap(monotonic: Duration, wall: Duration) -> Option<Duration> {
        let earlier = look();
        Clocks { monotonic: earlier.monotonic + monotonic, wall: earlier.wall + wall }.gap_since(earlier, PACE)
    }

    #[test]
    fn sleep_is_noticed_by_whichever_clock_ran_on() {
        assert_eq!(gap(PACE, PACE + HOUR), Some(HOUR));
        assert_eq!(gap(PACE + HOUR, PACE + HOUR), Some(HOUR));
        assert_eq!(gap(PACE + HOUR, PACE), Some(HOUR), "the wall clock was set back while the process was stopped");
    }

    #[test]
    fn ordinary_delays_are_not() {
        assert_eq!(gap(PACE, PACE), None);
        assert_eq!(gap(PACE + TOLERANCE, PACE + TOLERANCE), None);
        assert_eq!(gap(Duration::ZERO, Duration::ZERO), None);
    }

    #[test]
    fn a_clock_that_was_set_back_is_no_sleep() {
        let earlier = look();
        let later = Clocks { monotonic: earlier.monotonic + PACE, wall: earlier.wall - HOUR };
        assert_eq!(later.gap_since(earlier, PACE), None);
        assert_eq!(earlier.gap_since(later, PACE), Some(HOUR - PACE), "it was set forward: one probe too many");
    }
}
