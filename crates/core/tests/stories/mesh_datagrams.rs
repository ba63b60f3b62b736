//! Datagrams: which were here before, and when they have come to their end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use adit_core::mesh::{Flow, IDLE, IDLE_UNANSWERED, WINDOW, Window};
use proptest::prelude::*;

proptest! {
    /// Beside one that remembers every number for ever.
    #[test]
    fn a_number_is_taken_once(
        start in prop_oneof![0..200_u64, u64::MAX - 3 * WINDOW..u64::MAX - 2 * WINDOW],
        steps in prop::collection::vec(prop_oneof![-200..200_i64, -5000..5000_i64, -64..=64_i64], 0..400),
    ) {
        let mut window = Window::new(start);
        let (mut seen, mut next, mut at) = (BTreeSet::new(), start, start);
        for step in steps {
            at = at.saturating_add_signed(step).min(u64::MAX - 1);
            let is_new = at >= start && next.saturating_sub(at) <= WINDOW && seen.insert(at);
            prop_assert_eq!(window.admit(at), is_new, "{} when the next is {}", at, next);
            next = next.max(at + 1);
        }
    }
}

#[test]
fn a_window_reaches_as_far_back_as_it_says() {
    let mut window = Window::new(0);
    assert!(window.admit(WINDOW));
    assert!(!window.admit(0), "too old by one");
    assert!(window.admit(1) && !window.admit(1));
    assert!(window.admit(u64::MAX - 1) && !window.admit(u64::MAX - 1));
    assert!(!window.admit(u64::MAX), "behind it there is no number");
}

#[test]
fn a_question_and_its_answer_end_sooner_than_a_conversation() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut flow = Flow::new(start);
    assert_eq!(flow.ends_at(), start + IDLE_UNANSWERED);
    flow.handle_sent(at(1));
    assert_eq!(flow.ends_at(), at(1) + IDLE_UNANSWERED, "nobody has answered");
    flow.handle_answered(at(2));
    flow.handle_answered(at(3));
    assert_eq!(flow.ends_at(), at(3) + IDLE_UNANSWERED, "an answer of several datagrams");
    flow.handle_sent(at(4));
    assert_eq!(flow.ends_at(), at(4) + IDLE);
    flow.handle_answered(at(100));
    assert_eq!(flow.ends_at(), at(100) + IDLE);
}
