//! Connections whose reader takes nothing. Each may hold a stream's window of memory here, and delays nobody; but many of them are too much
//! memory. So beyond a bound those are cut that have stood still for longest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Who takes nothing for so long stands still: a player that is paused, a disk that is slow, or somebody who means harm.
const STANDSTILL: Duration = Duration::from_secs(10);
/// Directions that may stand still at one agent: with a window of 4 MiB each, 1 GiB.
const MOST: usize = 256;

/// The connections of an agent, as they flow.
pub(crate) struct Stalls {
    began: Instant,
    all: Mutex<Vec<Weak<Stall>>>,
}

/// One direction of one of them.
pub(crate) struct Stall {
    began: Instant,
    /// Milliseconds after `began` and one more, or 0 while it flows.
    since: AtomicU64,
    cut: CancellationToken,
}

impl Stall {
    /// Its reader takes no more for now.
    pub(crate) fn handle_full(&self) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(millis(self.began.elapsed()) + 1, Ordering::Relaxed);
        }
    }

    /// It has taken something.
    pub(crate) fn handle_taken(&self) {
        if self.since.load(Ordering::Relaxed) != 0 {
            self.since.store(0, Ordering::Relaxed);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

/// What a look at all of them has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Those that stand still.
    pub(crate) standing: usize,
    /// Of these, those that were cut.
    pub(crate) cut: usize,
}

impl Stalls {
    pub(crate) fn new(now: Instant) -> Stalls {
        Stalls { began: now, all: Mutex::default() }
    }

    /// One direction of a connection, which `cut` ends.
    pub(crate) fn add(&self, cut: &CancellationToken) -> Arc<Stall> {
        let stall = Arc::new(Stall { began: self.began, since: AtomicU64::new(0), cut: cut.clone() });
        self.lock().push(Arc::downgrade(&stall));
        stall
    }

    /// Counts those that stand still, and cuts those that do for longest where they are too many. To be called once a second.
    pub(crate) fn look(&self, now: Instant) -> Found {
        let until = millis(now.saturating_duration_since(self.began).saturating_sub(STANDSTILL)) + 1;
        let mut standing = Vec::new();
        self.lock().retain(|stall| {
            let Some(stall) = stall.upgrade() else { return false };
            let since = stall.since.load(Ordering::Relaxed);
            if (1..until).contains(&since) {
                standing.push((since, stall.cut.clone()));
            }
            true
        });
        let too_many = standing.len().saturating_sub(MOST);
        standing.sort_unstable_by_key(|(since, _)| *since);
        standing.iter().take(too_many).for_each(|(_, cut)| cut.cancel());
        Found { standing: standing.len(), cut: too_many }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Stall>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_stand_still_longest_go_where_there_are_too_many() {
        let began = Instant::now();
        let stalls = Stalls::new(began);
        let all: Vec<_> = (0..MOST as u64 + 2)
            .map(|at| {
                let cut = CancellationToken::new();
                let stall = stalls.add(&cut);
                stall.since.store(at + 1, Ordering::Relaxed);
                (stall, cut)
            })
            .collect();
        let later = began + STANDSTILL + Duration::from_secs(1);
        assert_eq!(stalls.look(began + STANDSTILL), Found { standing: 0, cut: 0 });
        assert_eq!(stalls.look(later), Found { standing: MOST + 2, cut: 2 });
        assert_eq!(all.iter().position(|(_, cut)| !cut.is_cancelled()), Some(2));
        all[5].0.handle_taken();
        all[5].0.handle_taken();
        drop(all.into_iter().take(2).collect::<Vec<_>>());
        assert_eq!(stalls.look(later), Found { standing: 0, cut: 0 }, "those that are gone do not count");
    }

    #[test]
    fn it_stands_still_from_the_first_time_that_nothing_was_taken() {
        let stalls = Stalls::new(Instant::now());
        let stall = stalls.add(&CancellationToken::new());
        stall.handle_full();
        let since = stall.since.load(Ordering::Relaxed);
        stall.handle_full();
        assert!(since > 0 && stall.since.load(Ordering::Relaxed) == since);
        let later = Instant::now() + STANDSTILL + Duration::from_secs(1);
        assert_eq!(stalls.look(later).standing, 1);
        stall.handle_taken();
        assert_eq!(stalls.look(later).standing, 0);
    }
}
