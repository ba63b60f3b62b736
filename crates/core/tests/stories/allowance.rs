//! Stories about a rate that several share.

use std::time::{Duration, Instant};

use adit_core::{Allowance, ByteRate, Sharer, Turn};
use proptest::prelude::*;

const MILLI: Duration = Duration::from_millis(1);

fn rate(bytes_per_second: u64) -> ByteRate {
    ByteRate::new(bytes_per_second).unwrap()
}

/// An allowance with a clock of its own.
struct TestAllowance {
    allowance: Allowance,
    now: Instant,
}

impl TestAllowance {
    fn new(bytes_per_second: u64) -> TestAllowance {
        let now = Instant::now();
        TestAllowance { allowance: Allowance::new(rate(bytes_per_second), now), now }
    }

    /// One that has been left alone for long.
    fn full(bytes_per_second: u64) -> TestAllowance {
        let mut full = TestAllowance::new(bytes_per_second);
        full.now += Duration::from_secs(3_600);
        full
    }

    fn ask(&mut self, sharer: &Sharer, wanted: usize) -> Turn {
        self.allowance.handle_ask(sharer, wanted, self.now)
    }

    /// Takes all there is, and says how much that was.
    fn drain(&mut self, sharer: &Sharer) -> u64 {
        let mut taken = 0;
        while let Turn::Take(bytes) = self.ask(sharer, usize::MAX) {
            taken += bytes as u64;
        }
        taken
    }

    /// All of `sharers` want all they can get, and each comes when it was told to, `late` later.
    fn run(&mut self, sharers: &[Sharer], time: Duration, late: Duration) -> Vec<Moved> {
        let end = self.now + time;
        let mut moved = vec![Moved { bytes: 0, last: self.now, longest_wait: Duration::ZERO }; sharers.len()];
        let mut due = vec![self.now; sharers.len()];
        loop {
            // Of several that are due, always the same one comes first: the worst that a scheduler can do.
            let (next, at) = due.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
            if at >= end {
                return moved;
            }
            self.now = self.now.max(at);
            due[next] = match self.ask(&sharers[next], usize::MAX) {
                Turn::Take(bytes) => {
                    let Moved { bytes: sum, last, longest_wait } = &mut moved[next];
                    *sum += bytes as u64;
                    *longest_wait = (*longest_wait).max(self.now - *last);
                    *last = self.now;
                    self.now
                }
                Turn::AskAgain(at) => at + late,
            };
        }
    }
}

/// What one sharer had.
#[derive(Debug, Clone)]
struct Moved {
    bytes: u64,
    last: Instant,
    longest_wait: Duration,
}

#[test]
fn no_rate_is_no_allowance() {
    assert_eq!(ByteRate::new(0), None);
}

#[test]
fn it_begins_empty_and_fills_to_one_burst() {
    let mut host = TestAllowance::new(1_000_000);
    let alice = host.allowance.enter();
    assert_eq!(host.drain(&alice), 0);
    let mut host = TestAllowance::full(1_000_000);
    // An eighth of a second.
    assert_eq!(host.drain(&alice), 125_000);
    // One large read.
    assert_eq!(TestAllowance::full(1_000).drain(&alice), 65_536);
}

#[test]
fn who_must_wait_is_told_until_when() {
    let mut host = TestAllowance::new(1_000_000);
    let alice = host.allowance.enter();
    // One turn is a thirty-second part of a second.
    assert_eq!(host.ask(&alice, usize::MAX), Turn::AskAgain(host.now + Duration::from_micros(31_250)));
    host.now += Duration::from_micros(31_250);
    assert_eq!(host.ask(&alice, usize::MAX), Turn::Take(31_250));
    // Little is there earlier.
    assert_eq!(host.ask(&alice, 5_000), Turn::AskAgain(host.now + 5 * MILLI));
}

#[test]
fn nobody_is_told_to_wait_for_nothing_or_for_ever() {
    let mut host = TestAllowance::new(1);
    let alice = host.allowance.enter();
    assert_eq!(host.ask(&alice, usize::MAX), Turn::AskAgain(host.now + Duration::from_secs(1)));
    let mut host = TestAllowance::new(u64::MAX);
    assert_eq!(host.ask(&alice, 1), Turn::AskAgain(host.now + MILLI));
    host.now += Duration::MAX / 4_000_000_000;
    assert_eq!(host.ask(&alice, usize::MAX), Turn::Take(65_536));
}

#[test]
fn what_was_not_moved_goes_back() {
    let mut host = TestAllowance::full(1_000);
    let alice = host.allowance.enter();
    assert_eq!(host.drain(&alice), 65_536);
    host.allowance.give_back(300);
    host.allowance.withdraw(&alice);
    assert_eq!(host.ask(&alice, 300), Turn::Take(300));
    assert!(matches!(host.ask(&alice, 1), Turn::AskAgain(_)));
    host.allowance.give_back(usize::MAX);
    assert_eq!(host.drain(&alice), 65_536, "never more than a burst");
}

#[test]
fn who_came_first_goes_first() {
    let mut host = TestAllowance::new(1_000_000);
    let (alice, bob) = (host.allowance.enter(), host.allowance.enter());
    let Turn::AskAgain(first) = host.ask(&alice, usize::MAX) else { panic!("it began empty") };
    let Turn::AskAgain(second) = host.ask(&bob, usize::MAX) else { panic!("it began empty") };
    assert!(second > first);
    host.now = first;
    assert!(matches!(host.ask(&bob, 1), Turn::AskAgain(_)), "this turn is alice's");
    assert_eq!(host.ask(&alice, usize::MAX), Turn::Take(31_250));
    // Alice is late for her next turn, and bob does not wait for her.
    assert!(matches!(host.ask(&alice, usize::MAX), Turn::AskAgain(_)));
    host.now += Duration::from_micros(31_250);
    assert_eq!(host.ask(&bob, usize::MAX), Turn::Take(31_250));
}

#[test]
fn a_place_in_line_can_be_left() {
    let mut host = TestAllowance::new(1_000_000);
    let (alice, bob) = (host.allowance.enter(), host.allowance.enter());
    let Turn::AskAgain(first) = host.ask(&alice, usize::MAX) else { panic!("it began empty") };
    assert!(matches!(host.ask(&bob, usize::MAX), Turn::AskAgain(_)));
    host.allowance.withdraw(&alice);
    host.now = first;
    assert_eq!(host.ask(&bob, usize::MAX), Turn::Take(31_250));
}

#[test]
fn a_rate_changes_from_now_on() {
    let mut host = TestAllowance::full(8_000_000);
    let alice = host.allowance.enter();
    host.allowance.set_rate(rate(800_000), host.now);
    assert_eq!(host.drain(&alice), 100_000, "a burst of the new rate");
    host.allowance.set_rate(rate(8_000_000), host.now);
    host.now += 100 * MILLI;
    assert_eq!(host.drain(&alice), 800_000 / 65_536 * 65_536);
}

fn rates() -> impl Strategy<Value = u64> {
    prop_oneof![1..10_000u64, 10_000..10_000_000u64, 10_000_000..u64::MAX]
}

proptest! {
    /// Whatever is asked, given back and changed, and whenever.
    #[test]
    fn no_time_sees_more_than_its_rate_and_one_burst(
        bytes_per_second in rates(),
        steps in prop::collection::vec((0..4usize, 0..200_000usize, 0..100_000_000u64, 0..4usize), 1..200),
    ) {
        let mut host = TestAllowance::new(bytes_per_second);
        let sharers: Vec<Sharer> = (0..4).map(|_| host.allowance.enter()).collect();
        let mut moved = vec![(host.now, 0u128)];
        for (who, wanted, pause, unused) in steps {
            host.now += Duration::from_nanos(pause);
            if let Turn::Take(bytes) = host.ask(&sharers[who], wanted) {
                prop_assert!(bytes <= wanted);
                let back = bytes / 4 * unused;
                host.allowance.give_back(back);
                moved.push((host.now, (bytes - back) as u128));
            }
        }
        let burst = u128::from(rate(bytes_per_second).burst());
        for (first, (from, _)) in moved.iter().enumerate() {
            let mut sum = 0;
            for (at, bytes) in &moved[first..] {
                sum += bytes;
                let allowed = (*at - *from).as_nanos() * u128::from(bytes_per_second) / 1_000_000_000;
                prop_assert!(sum <= allowed + burst + 1, "{sum} in {:?}", *at - *from);
            }
        }
    }

    /// However many share it, and though each comes some milliseconds late: the whole rate is used, and nobody waits longer than
    /// for one turn of each of the others.
    #[test]
    fn the_whole_rate_is_reached_and_nobody_starves(
        bytes_per_second in 1_000..100_000_000u64,
        count in 1..12usize,
        late in (0..20u64).prop_map(Duration::from_millis),
    ) {
        let mut host = TestAllowance::new(bytes_per_second);
        let sharers: Vec<Sharer> = (0..count).map(|_| host.allowance.enter()).collect();
        let moved = host.run(&sharers, Duration::from_secs(60), late);
        let (sum, all) = (moved.iter().map(|one| one.bytes).sum::<u64>(), 60 * bytes_per_second);
        prop_assert!(sum <= all && sum >= all * 95 / 100, "{sum} of {all}");
        let turn = Duration::from_secs_f64((bytes_per_second as f64 / 32.0).clamp(1_024.0, 65_536.0) / bytes_per_second as f64);
        let bound = (turn + MILLI) * count as u32 + 3 * late;
        for one in &moved {
            prop_assert!(one.longest_wait <= bound, "{one:?}, and not {bound:?}");
        }
    }
}
