//! Datagrams: which were here before, when they have come to their end, and when they make room for connections.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use adit_core::mesh::{Flow, IDLE, IDLE_UNANSWERED, LONGEST_TURN, Sending, TURN, Turns, UNPROVEN, WINDOW, Window};
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

#[test]
fn a_flow_that_goes_both_ways_keeps_its_place_and_another_one_for_a_moment() {
    let start = Instant::now();
    let (soon, late) = (start + UNPROVEN - Duration::from_nanos(1), start + 10 * UNPROVEN);
    let mut flow = Flow::new(start);
    flow.handle_sent(late);
    assert!(flow.keeps_its_place(soon) && !flow.keeps_its_place(late), "as often as it is sent");
    flow.handle_answered(late);
    assert!(!flow.keeps_its_place(late), "nobody has shown that they get the answer");
    flow.handle_sent(late);
    assert!(flow.keeps_its_place(late + 100 * UNPROVEN));
}

/// A link that sends so many pieces each millisecond, its datagrams first, as QUIC does.
struct Sender {
    turns: Turns,
    now: Instant,
    rate: u64,
    waiting: u64,
    streams_wait: u64,
    sent: [u64; 2],
    refused: u64,
}

/// Datagrams beyond these find no room in the transport.
const ROOM: u64 = 400;

impl Sender {
    fn new(rate: u64) -> Sender {
        Sender {
            turns: Turns::default(),
            now: Instant::now(),
            rate,
            waiting: 0,
            streams_wait: 0,
            sent: [0; 2],
            refused: 0,
        }
    }

    fn write(&mut self, pieces: u64) {
        self.streams_wait += pieces;
        self.turns.handle_written(self.now);
    }

    fn datagrams(&mut self, count: u64) {
        for _ in 0..count {
            let link = Sending { some_wait: self.waiting > 0, stream_frames: self.sent[1] };
            if !self.turns.admit(link, self.now) {
                self.refused += 1;
            } else if self.waiting < ROOM {
                self.waiting += 1;
            }
        }
    }

    fn millisecond(&mut self) {
        let datagrams = self.waiting.min(self.rate);
        let pieces = self.streams_wait.min(self.rate - datagrams);
        self.waiting -= datagrams;
        self.streams_wait -= pieces;
        self.sent = [self.sent[0] + datagrams, self.sent[1] + pieces];
        self.now += Duration::from_millis(1);
    }
}

#[test]
fn a_flood_of_datagrams_and_streams_without_end_have_half_of_a_link_each() {
    for rate in [1, 7, 100] {
        let mut link = Sender::new(rate);
        link.write(u64::MAX / 2);
        for at in 0..20_000 {
            // Whoever waits for room is heard of again only when some was made, and not each time.
            if link.sent[1].is_multiple_of(500) || at % 900 == 0 {
                link.write(0);
            }
            link.datagrams(3 * rate);
            link.millisecond();
        }
        let [datagrams, pieces] = link.sent;
        assert_eq!(datagrams + pieces, 20_000 * rate, "nothing of the link is wasted");
        assert!(pieces.abs_diff(datagrams) <= link.sent[0] / 5, "{datagrams} and {pieces} at {rate}");
    }
}

#[test]
fn what_is_written_beside_a_flood_leaves_soon() {
    let mut link = Sender::new(10);
    for round in 0..50 {
        for _ in 0..100 + round {
            link.datagrams(30);
            link.millisecond();
        }
        link.write(1);
        let written = link.now;
        while link.streams_wait > 0 {
            link.datagrams(30);
            link.millisecond();
        }
        let waited = link.now - written;
        // Their turn and what waits in the transport.
        assert!(waited <= TURN + Duration::from_millis(ROOM / 10 + 2), "{waited:?}");
    }
}

#[test]
fn datagrams_that_the_link_keeps_up_with_are_never_held_back() {
    let mut link = Sender::new(10);
    for at in 0..10_000 {
        link.write(20);
        // Nine tenths of the link, and bursts of as much as it sends in a turn.
        link.datagrams(if at % 60 == 0 { 400 } else { 0 });
        link.millisecond();
    }
    assert_eq!(link.refused, 0);
    assert!(link.sent[0] >= 60_000, "{:?}", link.sent);
}

#[test]
fn without_streams_datagrams_have_the_link() {
    let mut link = Sender::new(10);
    link.write(1);
    for _ in 0..10_000 {
        link.datagrams(30);
        link.millisecond();
    }
    // A second of turns, of which streams use nothing; then all of it.
    assert!(link.sent[0] >= 10_000 * 10 - 1_000 * 10 / 2, "{:?}", link.sent);
}

#[test]
fn a_link_that_stands_still_for_long_costs_datagrams_no_longer_than_a_turn() {
    let (mut turns, start) = (Turns::default(), Instant::now());
    let at = |after| start + after;
    let mut frames = 0;
    let mut admit = |some_wait, now| {
        frames += 1;
        turns.handle_written(now);
        turns.admit(Sending { some_wait, stream_frames: frames }, now)
    };
    assert!(admit(true, start) && admit(true, at(TURN / 2)));
    assert!(!admit(true, at(TURN)) && !admit(true, at(TURN * 1000)) && !admit(false, at(TURN * 1000)));
    let over = TURN * 1000 + LONGEST_TURN;
    assert!(!admit(false, at(over - Duration::from_millis(1))) && admit(false, at(over)));
}
