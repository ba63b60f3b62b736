//! Ways of all kinds, and peers that credit in all manners.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// What a peer grants.
const WINDOW: u64 = 2 << 20;
/// What a socket gives at once.
const READ: u64 = 256 * 1024;

/// A way to a peer that writes on what comes as fast as it comes.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Bytes per second.
    rate: f64,
    round_trip: Duration,
    /// What the peer lets come before it opens its window again.
    step: u64,
    /// What a round trip takes longer at most, as a share of it.
    jitter: f64,
    /// What a round trip takes longer in the middle third of the time: somebody else uses the way.
    longer: Duration,
    /// For how long nothing is written on when the first third of the time is over.
    pause: Duration,
    /// Bytes per second from then on.
    rate_then: f64,
}

/// What was seen.
#[derive(Debug)]
struct Seen {
    /// Bytes per second that arrived.
    rate: f64,
    /// The most bytes that were in flight after the first tenth of the time, and in the last tenth.
    most: u64,
    most_at_last: u64,
    given_up: u32,
}

impl Way {
    /// One that stays as it is.
    fn steady(rate: f64, round_trip: Duration, step: u64) -> Self {
        let (longer, pause) = (Duration::ZERO, Duration::ZERO);
        Self { rate, round_trip, step, jitter: 0.0, longer, pause, rate_then: rate }
    }

    /// What is in flight when the way is full and nothing stands on it.
    fn holds(self) -> f64 {
        self.rate * self.round_trip.as_secs_f64()
    }

    /// Sends all that may be sent for so long.
    fn send_for(self, time: Duration) -> Seen {
        let began = Instant::now();
        let mut now = began;
        let mut flight = Flight::new(0, now);
        flight.share(true, now);
        let (mut window, mut uncredited, mut arrived, mut given_up) = (WINDOW, 0, 0, 0);
        let (mut most, mut most_at_last) = (0, 0);
        let pauses_at = began + time / 3;
        let (mut free_at, mut last_credit, mut noise) = (now, now, 0_u64);
        let mut credits: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
        while now < began + time {
            while let len @ 1.. = window.min(flight.room() as u64).min(READ) {
                window -= len;
                flight.handle_sent(len as usize, now);
                // A packet after the other leaves the bottleneck, and is written on half a round trip later.
                let mut left = len;
                while left > 0 {
                    let packet = left.min(32 * 1024);
                    left -= packet;
                    free_at = free_at.max(now);
                    if (pauses_at..pauses_at + self.pause).contains(&free_at) {
                        free_at = pauses_at + self.pause;
                    }
                    let rate = if free_at < pauses_at { self.rate } else { self.rate_then };
                    free_at += Duration::from_secs_f64(packet as f64 / rate);
                    uncredited += packet;
                    if uncredited >= self.step {
                        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let longer = self.jitter * (noise >> 40) as f64 / (1_u64 << 24) as f64;
                        let third = (free_at - began).as_secs_f64() * 3.0 / time.as_secs_f64();
                        let others = if (1.0..2.0).contains(&third) { self.longer } else { Duration::ZERO };
                        last_credit = last_credit.max(free_at + self.round_trip.mul_f64(1.0 + longer) + others);
                        credits.push(Reverse((last_credit, uncredited)));
                        uncredited = 0;
                    }
                }
            }
            let next_credit = credits.peek().map(|Reverse((at, _))| *at);
            if let Some(at) = flight.gives_up_at().filter(|at| next_credit.is_none_or(|credit| *at < credit)) {
                now = at;
                flight.give_up(now);
                given_up += 1;
                continue;
            }
            let Some(Reverse((at, len))) = credits.pop() else { break };
            now = at;
            if now > began + time / 10 {
                arrived += len;
                most = most.max(flight.sent - flight.credited);
            }
            if now > began + time * 9 / 10 {
                most_at_last = most_at_last.max(flight.sent - flight.credited);
            }
            window += len;
            flight.handle_credit(len as u32, now);
        }
        let rate = arrived as f64 / (time * 9 / 10).as_secs_f64();
        Seen { rate, most, most_at_last, given_up }
    }
}

#[test]
fn a_fast_short_way_is_full_and_holds_little() {
    let way = Way::steady(1.5e9, Duration::from_micros(100), 128 * 1024);
    let seen = way.send_for(Duration::from_secs(2));
    assert!(seen.rate > 0.9 * way.rate, "{seen:?}");
    assert!(seen.most < 800 * 1024, "{seen:?}");
}

/// Half as much again as two credits is in flight here, less a part of a byte: once the peer has credited one, not quite two are left.
#[test]
fn a_way_that_is_full_but_for_a_byte_is_full() {
    let way = Way::steady(19_916_017.759_837_244, Duration::from_nanos(781_996), 128 * 1024);
    let seen = way.send_for(Duration::from_secs(30));
    assert!(seen.most <= 393_216, "{seen:?}");
}

#[test]
fn a_slow_way_holds_little() {
    // 10 Mbit/s: the whole window would take 1.7 s.
    let way = Way::steady(1.25e6, Duration::from_millis(30), 128 * 1024);
    let seen = way.send_for(Duration::from_secs(60));
    assert!(seen.rate > 0.9 * way.rate, "{seen:?}");
    assert!(seen.most <= WINDOW / 3, "{seen:?}");
}

/// As over a radio: round trips differ by as much as they take.
#[test]
fn round_trips_that_differ_cost_little() {
    for (rate, milliseconds) in [(2e6, 10), (12e6, 20), (12e6, 60), (5e6, 200), (100e6, 5)] {
        let way = Way { jitter: 1.0, ..Way::steady(rate, Duration::from_millis(milliseconds), 128 * 1024) };
        let seen = way.send_for(Duration::from_secs(60));
        let fastest = way.rate.min(WINDOW as f64 / way.round_trip.mul_f64(1.75).as_secs_f64());
        assert!(seen.rate > 0.8 * fastest, "{way:?} {seen:?}");
    }
}

/// Others put as much again on the way for 20 s: less is sent for a moment, and not less and less.
#[test]
fn a_way_that_becomes_longer_stays_full() {
    for (milliseconds, more) in [(60, 100), (20, 20), (150, 100)] {
        let (round_trip, longer) = (Duration::from_millis(milliseconds), Duration::from_millis(more));
        let way = Way { longer, ..Way::steady(8e6, round_trip, 128 * 1024) };
        let seen = way.send_for(Duration::from_secs(60));
        assert!(seen.rate > 0.75 * way.rate, "{way:?} {seen:?}");
    }
}

/// Its reader looks away for a moment, or a laptop leaves its cable for a radio.
#[test]
fn a_way_that_was_given_up_holds_little_again() {
    let (cable, step) = (Duration::from_millis(1), 128 * 1024);
    let looks_away = Way { pause: Duration::from_millis(300), ..Way::steady(10e6, cable, step) };
    let to_a_radio = Way { rate_then: 300e3, ..Way::steady(10e6, Duration::from_millis(20), step) };
    for way in [looks_away, to_a_radio] {
        let seen = way.send_for(Duration::from_secs(300));
        assert!(seen.given_up >= 1 && seen.most > WINDOW * 3 / 4, "it was tried: {way:?} {seen:?}");
        assert!(seen.most_at_last <= 3 * step, "{way:?} {seen:?}");
    }
}

/// One credit of many a peer takes seconds here.
#[test]
fn a_very_slow_way_is_not_given_up() {
    for (rate, step) in [(100e3, 128), (60e3, 128), (40e3, 96), (40e3, 128), (30e3, 128)] {
        let way = Way::steady(rate, Duration::from_millis(60), step * 1024);
        let seen = way.send_for(Duration::from_secs(900));
        assert!(seen.given_up == 0 && seen.most_at_last <= 4 * way.step, "{way:?} {seen:?}");
    }
}

/// OpenSSH and Go's library credit what they have written on, however little, once more than three packets are gone from their window.
/// With a slow reader behind them that is one packet each time, and they wait for four all the same.
#[test]
fn a_peer_with_a_slow_reader_is_never_given_up() {
    const PIECE: u64 = 32 * 1024;
    let (mut now, mut flight) = (Instant::now(), Flight::new(0, Instant::now()));
    let (mut received, mut credited, mut written, mut taken) = (0, 0, 0, 0);
    const TURNS: u64 = 20_000;
    for turn in 0..TURNS {
        if turn % 1_000 == 0 {
            flight.share(turn % 2_000 == 0, now);
        }
        while let len @ 1.. = (WINDOW + credited - received).min(flight.room() as u64).min(READ) {
            flight.handle_sent(len as usize, now);
            received += len;
        }
        // 50 MB/s.
        now += Duration::from_micros(655);
        assert!(flight.gives_up_at().is_none_or(|at| at > now), "turn {turn}: {flight:?}");
        let piece = PIECE.min(received - written);
        written += piece;
        taken += piece;
        if received - credited > 3 * PIECE && taken > 0 {
            credited += taken;
            flight.handle_credit(taken as u32, now);
            taken = 0;
        }
    }
    assert!(written > TURNS * PIECE * 9 / 10, "{written}");
}

/// Little was sent for long; then there is much.
#[test]
fn who_had_little_to_send_is_fast_soon() {
    let (mut now, mut flight) = (Instant::now(), Flight::new(0, Instant::now()));
    let round_trip = Duration::from_millis(300);
    for _ in 0..200 {
        flight.handle_sent(140_000, now);
        now += round_trip;
        flight.handle_credit(140_000, now);
    }
    let mut turns = 0;
    while flight.room() < WINDOW as usize / 2 {
        let mut in_flight = flight.room();
        flight.handle_sent(in_flight, now);
        now += round_trip;
        while in_flight > 0 {
            let step = in_flight.min(128 * 1024);
            in_flight -= step;
            now += Duration::from_millis(1);
            flight.handle_credit(step as u32, now);
        }
        turns += 1;
        assert!(turns < 10, "{flight:?}");
    }
}

/// However small the pieces are in which its peer credits.
#[test]
fn who_has_little_to_send_for_a_while_forgets_no_rate() {
    const PIECE: usize = 8 * 1024;
    let (mut now, mut flight) = (Instant::now(), Flight::new(0, Instant::now()));
    flight.share(true, now);
    let mut turn = |flight: &mut Flight, most: usize| {
        let len = flight.room().min(most);
        flight.handle_sent(len, now);
        now += Duration::from_millis(10);
        (0..len / PIECE).for_each(|_| flight.handle_credit(PIECE as u32, now));
    };
    (0..50).for_each(|_| turn(&mut flight, 1 << 20));
    let was_worth = flight.room();
    (0..50).for_each(|_| turn(&mut flight, 2 * PIECE));
    assert!(was_worth > 1 << 20 && flight.room() == was_worth, "{was_worth}, and then {flight:?}");
}

#[test]
fn a_peer_that_waits_for_half_its_window_is_given_all_of_it() {
    let way = Way::steady(1e8, Duration::from_millis(5), WINDOW / 2);
    let seen = way.send_for(Duration::from_secs(20));
    assert_eq!((seen.most, seen.given_up), (WINDOW, 0), "{seen:?}");
}

/// The least it credits was small once; then it waits for more.
#[test]
fn a_peer_that_begins_to_wait_for_more_gets_more() {
    let mut now = Instant::now();
    let mut flight = Flight::new(0, now);
    flight.share(true, now);
    for _ in 0..100 {
        flight.handle_sent(64 * 1024, now);
        now += Duration::from_millis(1);
        flight.handle_credit(64 * 1024, now);
    }
    let room = flight.room();
    assert!((128 * 1024..512 * 1024).contains(&room), "{room}");
    flight.handle_sent(room, now);
    assert_eq!(flight.room(), 0);
    let at = flight.gives_up_at().unwrap();
    assert_eq!(at - now, PATIENCE);
    flight.give_up(at);
    assert!(flight.room() > WINDOW as usize);
    assert_eq!(flight.gives_up_at(), None);
}

#[test]
fn a_channel_alone_uses_more_and_shares_soon() {
    let mut now = Instant::now();
    let mut flight = Flight::new(0, now);
    // A window takes 20 ms.
    let mut in_flight = VecDeque::new();
    let mut go = |flight: &mut Flight, turns: usize| {
        for _ in 0..turns {
            while flight.sent - flight.credited < WINDOW && flight.room() > 0 {
                flight.handle_sent(100_000.min(flight.room()), now);
                in_flight.push_back(100_000);
            }
            now += Duration::from_millis(1);
            if in_flight.pop_front().is_some() {
                flight.handle_credit(100_000, now);
            }
        }
        now
    };
    let then = go(&mut flight, 1_000);
    assert!(flight.sent - flight.credited > 1_000_000, "{}", flight.sent - flight.credited);
    flight.share(true, then);
    let then = go(&mut flight, 200);
    assert!(flight.sent - flight.credited <= 400_000, "{}", flight.sent - flight.credited);
    flight.share(false, then);
    go(&mut flight, 100);
    assert!(flight.sent - flight.credited > 1_000_000, "{}", flight.sent - flight.credited);
}

#[test]
fn at_rest_it_keeps_no_list_and_waits_for_nothing() {
    let mut now = Instant::now();
    let mut flight = Flight::new(100_000, now);
    for _ in 0..50 {
        flight.handle_sent(100_000, now);
        now += Duration::from_millis(1);
        flight.handle_credit(100_000, now);
    }
    assert_eq!(flight.gives_up_at(), None);
    flight.handle_credit(u32::MAX, now);
    assert!(flight.batches.capacity() <= 8, "{}", flight.batches.capacity());
    assert_eq!(flight.sent, flight.credited);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Over whatever way: nearly as fast as the whole window makes it, with no more in flight than half again what the way holds beside
    /// one read of a socket or twice what the peer credits at once, and as much as that again; and nobody gives up.
    #[test]
    fn any_way_is_full_and_little_stands_on_it(
        rate in 4.5f64..9.3, round_trip in -4.2f64..-0.7, step in prop::sample::select(vec![32u64 << 10, 128 << 10, 256 << 10]),
    ) {
        let way = Way::steady(10f64.powf(rate), Duration::from_secs_f64(10f64.powf(round_trip)), step);
        let turn = way.round_trip.as_secs_f64() + WINDOW as f64 / way.rate;
        let seen = way.send_for(Duration::from_secs_f64((400.0 * turn).clamp(12.0, 3_000.0)));
        // A part of the window is always with a peer that credits in steps.
        let fastest = way.rate.min((WINDOW - step) as f64 / way.round_trip.as_secs_f64());
        prop_assert!(seen.rate > 0.85 * fastest, "{way:?} {seen:?}");
        let bound = 1.55 * (way.holds() + READ.max(2 * step) as f64) + 2.0 * step as f64;
        prop_assert!((seen.most as f64) <= bound, "{way:?} {seen:?}");
        prop_assert_eq!(seen.given_up, 0);
    }
}
