//! Remembers which handshakes were seen, within bounds: a first message that somebody recorded and sends again must not reach a target.
//!
//! A message carries when it was made. One that is older than the window, or than the oldest of its agent that had to be forgotten, is
//! taken for a repeated one; of the others each is known. Where there are too many, it is the agent with the most that is forgotten of.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use adit_core::mesh::AgentId;

/// Clocks of two agents may differ by so much.
pub(crate) const WINDOW: Duration = Duration::from_secs(300);
/// Handshakes remembered; beyond, the oldest go first, and the window gets smaller: 2,000 a second still leave 30 s.
const REMEMBERED: usize = 65_536;

/// The first message's ephemeral key, which is drawn anew for each (Noise §7.5).
pub(crate) type Mark = [u8; 32];

/// What was seen, by who made it.
#[derive(Debug, Default)]
pub(crate) struct ReplayWindow {
    agents: BTreeMap<AgentId, Seen>,
    count: usize,
}

#[derive(Debug, Default)]
struct Seen {
    marks: HashSet<Mark>,
    by_age: BTreeSet<(u64, Mark)>,
    /// What was made then or before has been forgotten.
    floor: u64,
}

impl ReplayWindow {
    /// Is this message of a member new? Both times are milliseconds since 1970.
    pub(crate) fn admit(&mut self, agent: AgentId, mark: Mark, made_at: u64, now: u64) -> bool {
        let window = WINDOW.as_millis() as u64;
        let is_near = made_at <= now.saturating_add(window) && made_at.saturating_add(window) >= now;
        let seen = self.agents.entry(agent).or_default();
        if !is_near || made_at <= seen.floor || !seen.marks.insert(mark) {
            return false;
        }
        seen.by_age.insert((made_at, mark));
        self.count += 1;
        while seen.by_age.first().is_some_and(|(oldest, _)| oldest.saturating_add(window) < now) {
            self.count -= seen.forget_oldest();
        }
        while self.count > REMEMBERED {
            let most = self.agents.values_mut().max_by_key(|seen| seen.by_age.len());
            self.count -= most.map_or(self.count, Seen::forget_oldest);
        }
        true
    }
}

impl Seen {
    /// How many that were.
    fn forget_oldest(&mut self) -> usize {
        let Some((made_at, mark)) = self.by_age.pop_first() else { return 0 };
        self.marks.remove(&mark);
        self.floor = self.floor.max(made_at);
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const ONE: AgentId = AgentId([1; 16]);
    const OTHER: AgentId = AgentId([2; 16]);

    fn mark(number: u64) -> Mark {
        let mut mark = [0; 32];
        mark[..8].copy_from_slice(&number.to_be_bytes());
        mark
    }

    #[test]
    fn what_was_seen_is_not_new() {
        let mut window = ReplayWindow::default();
        assert!(window.admit(ONE, mark(1), NOW, NOW));
        assert!(!window.admit(ONE, mark(1), NOW, NOW));
        assert!(!window.admit(ONE, mark(1), NOW + 5, NOW + 5), "the key is what tells");
        assert!(window.admit(ONE, mark(2), NOW, NOW));
    }

    #[test]
    fn clocks_may_differ_and_not_too_much() {
        let mut window = ReplayWindow::default();
        assert!(window.admit(ONE, mark(1), NOW - 299_000, NOW) && window.admit(ONE, mark(2), NOW + 299_000, NOW));
        assert!(!window.admit(ONE, mark(3), NOW - 301_000, NOW) && !window.admit(ONE, mark(4), NOW + 301_000, NOW));
    }

    #[test]
    fn what_had_to_be_forgotten_is_not_new_again() {
        let mut window = ReplayWindow::default();
        let made = |number: u64| NOW + number / 100;
        for number in 0..REMEMBERED as u64 + 1000 {
            assert!(window.admit(ONE, mark(number), made(number), made(number)), "{number}");
        }
        assert_eq!((window.count, window.agents[&ONE].marks.len()), (REMEMBERED, REMEMBERED));
        for number in (0..REMEMBERED as u64 + 1000).step_by(97) {
            assert!(!window.admit(ONE, mark(number), made(number), made(REMEMBERED as u64)), "{number}");
        }
    }

    #[test]
    fn memory_is_given_back_with_time() {
        let mut window = ReplayWindow::default();
        for number in 0..1000 {
            assert!(window.admit(ONE, mark(number), NOW, NOW));
        }
        assert!(window.admit(ONE, mark(5000), NOW + 400_000, NOW + 400_000));
        assert_eq!((window.count, window.agents[&ONE].marks.len()), (1, 1));
        assert!(!window.admit(ONE, mark(3), NOW, NOW + 200_000));
    }

    #[test]
    fn who_floods_is_forgotten_of_and_nobody_else() {
        let mut window = ReplayWindow::default();
        assert!(window.admit(OTHER, mark(0), NOW, NOW));
        // As if they were made later than anybody else's.
        for number in 1..2 * REMEMBERED as u64 {
            assert!(window.admit(ONE, mark(number), NOW + 100_000 + number, NOW), "{number}");
        }
        assert_eq!(window.count, REMEMBERED);
        assert!(!window.admit(OTHER, mark(0), NOW, NOW), "remembered");
        assert!(window.admit(OTHER, mark(u64::MAX), NOW, NOW), "and others are new");
    }
}
