//! Remembers which handshakes were seen, within bounds: a first message that somebody recorded and sends again must not reach a target.
//!
//! A message carries when it was made. One that is older than the window, or than the oldest that had to be forgotten, is taken for a
//! repeated one; of the others each is known.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// Clocks of two agents may differ by so much.
pub(crate) const WINDOW: Duration = Duration::from_secs(300);
/// Handshakes remembered; beyond, the oldest go first, and the window gets smaller: 2,000 a second still leave 30 s.
const REMEMBERED: usize = 65_536;

/// The first message's ephemeral key, which is drawn anew for each (Noise §7.5).
pub(crate) type Mark = [u8; 32];

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct ReplayWindow {
    seen: HashSet<Mark>,
    by_age: BTreeSet<(u64, Mark)>,
    /// What was made then or before has been forgotten.
    floor: u64,
}

impl ReplayWindow {
    /// Is this message new? Both times are milliseconds since 1970.
    pub(crate) fn admit(&mut self, mark: Mark, made_at: u64, now: u64) -> bool {
        let window = WINDOW.as_millis() as u64;
        let is_near = made_at <= now.saturating_add(window) && made_at.saturating_add(window) >= now;
        if !is_near || made_at <= self.floor || !self.seen.insert(mark) {
            return false;
        }
        self.by_age.insert((made_at, mark));
        while self.by_age.len() > REMEMBERED
            || self.by_age.first().is_some_and(|(oldest, _)| oldest.saturating_add(window) < now)
        {
            let Some((made_at, mark)) = self.by_age.pop_first() else { break };
            self.seen.remove(&mark);
            self.floor = self.floor.max(made_at);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn mark(number: u64) -> Mark {
        let mut mark = [0; 32];
        mark[..8].copy_from_slice(&number.to_be_bytes());
        mark
    }

    #[test]
    fn what_was_seen_is_not_new() {
        let mut window = ReplayWindow::default();
        assert!(window.admit(mark(1), NOW, NOW));
        assert!(!window.admit(mark(1), NOW, NOW));
        assert!(!window.admit(mark(1), NOW + 5, NOW + 5), "the key is what tells");
        assert!(window.admit(mark(2), NOW, NOW));
    }

    #[test]
    fn clocks_may_differ_and_not_too_much() {
        let mut window = ReplayWindow::default();
        assert!(window.admit(mark(1), NOW - 299_000, NOW) && window.admit(mark(2), NOW + 299_000, NOW));
        assert!(!window.admit(mark(3), NOW - 301_000, NOW) && !window.admit(mark(4), NOW + 301_000, NOW));
    }

    #[test]
    fn what_had_to_be_forgotten_is_not_new_again() {
        let mut window = ReplayWindow::default();
        let made = |number: u64| NOW + number / 100;
        for number in 0..REMEMBERED as u64 + 1000 {
            assert!(window.admit(mark(number), made(number), made(number)), "{number}");
        }
        assert_eq!(window.seen.len(), REMEMBERED);
        for number in (0..REMEMBERED as u64 + 1000).step_by(97) {
            assert!(!window.admit(mark(number), made(number), made(REMEMBERED as u64)), "{number}");
        }
    }

    #[test]
    fn memory_is_given_back_with_time() {
        let mut window = ReplayWindow::default();
        for number in 0..1000 {
            assert!(window.admit(mark(number), NOW, NOW));
        }
        assert!(window.admit(mark(5000), NOW + 400_000, NOW + 400_000));
        assert_eq!(window.seen.len(), 1);
        assert!(!window.admit(mark(3), NOW, NOW + 200_000));
    }
}
