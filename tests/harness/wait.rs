//! Waiting for a condition, with a bound. The one place of this crate that pauses a thread.

use std::time::{Duration, Instant};

/// How long a waiter pauses between two looks: short beside the smallest promise we check (100 ms).
const PAUSE: Duration = Duration::from_millis(4);

/// Waits until `look` finds something and returns it; fails the test after `bound`, naming `what` it waited for.
pub fn within<T>(bound: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < bound, "within {bound:?} this did not come true: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `condition` holds and says how long that took; fails the test after `bound`.
pub fn eventually(bound: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    within(bound, what, || condition().then_some(()));
    start.elapsed()
}

/// Looks for the whole of `span` and fails the test as soon as `condition` does not hold.
pub fn remains(span: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < span {
        assert!(condition(), "after {:?} this was no longer true: {what}", start.elapsed());
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `condition` holds or `patience` is over, and says which; for what is only hoped for.
pub(crate) fn settles(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}

/// Pauses until `moment`, for what has a queue on the clock.
pub(crate) fn until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}
