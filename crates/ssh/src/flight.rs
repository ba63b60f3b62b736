//! How much of a channel's window is used. A peer grants 2 MiB at once; what it cannot write on yet stands in buffers along the way, and
//! what any other channel sends stands behind it. So a channel that carries bulk has no more in flight than its peer writes on within
//! the time that a byte takes at best, and half as long again: the delivery rate times the least round trip, as BBR does it for TCP
//! (Cardwell and others, ACM Queue 14(5), 2016). Here a round trip ends when the peer has *written on* what it got, and says so by
//! opening its window.
//!
//! A ping beside bulk to OpenSSH's client takes 0.5 ms so, and 2.8 without; over a line of 20 Mbit/s and 40 ms, 149 ms and 838. Where all
//! ends share a few cores it costs a quarter of the rate, since nobody can run ahead: a channel that nobody has shared its connection with
//! for a while has 10 ms more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::channel::MAX_DATA;

/// A channel that has sent no more than this is not looked at: what it has in flight is nobody's burden.
pub(crate) const BULK: u32 = 512 * 1024;
/// So much is always allowed. OpenSSH and Go's library say that they have written something on when more than three packets are gone from
/// their window, however little it was: four, and one on its way.
const LEAST: u64 = 160 * 1024;
/// Credits that are seen before anything is concluded from them.
const LEARNED_AFTER: u32 = 8;
/// The least round trip is forgotten after one to two of these, since ways change.
const MEMORY: Duration = Duration::from_secs(5);
/// A way whose round trips have all been longer for one to two of these has become longer for now: what others put on it is no reason to
/// send less and less.
const RECENTLY: Duration = Duration::from_secs(1);
/// Round trips over which the highest delivery rate counts.
const TURNS: usize = 8;
/// What nobody minds who comes to a connection where one channel alone was at work.
const SLACK_ALONE: Duration = Duration::from_millis(10);
/// A way of such round trips leads through a network that others use.
const LONG: Duration = SLACK_ALONE.saturating_mul(2);
/// A peer that writes nothing on for so long, and for four round trips, may be one that opens its window only when more has come, or its
/// reader pauses; either way more helps it or does no harm.
const PATIENCE: Duration = Duration::from_millis(200);
/// However long round trips seemed.
const MOST_PATIENCE: Duration = Duration::from_secs(2);
/// No less than this is told apart, nor less than a small part of what is in flight, so that it is no long list.
const BATCH: u64 = 16 * 1024;
const MOST_BATCHES: u64 = 128;
/// Less room than for a packet is none: a credit for each small read is no reason for small packets.
const PACKET: u64 = MAX_DATA as u64;

/// What one channel has sent and its peer has written on.
#[derive(Debug)]
pub(crate) struct Flight {
    sent: u64,
    credited: u64,
    /// What is in flight, in the order it left.
    batches: VecDeque<Batch>,
    last_credit: Instant,
    credits: u32,
    /// The least that the peer credits at once. It may wait for so much, so twice as much is always allowed.
    step: u64,
    /// What is allowed at least: more than the peer was once given up with.
    floor: u64,
    round_trip: Least,
    recently: Least,
    rate: Highest,
    /// All that was sent when the turn began has been credited: the next turn begins.
    turn_ends: u64,
    /// What left before counts for no round trip.
    seen_from: u64,
    /// Until so much is credited, less is allowed, so that the least round trip is seen again.
    drains_until: u64,
    /// Others send on the same connection.
    shared: bool,
    allowed: u64,
    /// How long nothing may be credited; of the last round trip known, where one is looked for.
    patience: Duration,
    /// When to allow everything, should nothing be credited until then.
    gives_up_at: Option<Instant>,
}

/// What left at one time, or soon after.
#[derive(Debug)]
struct Batch {
    /// Bytes sent before it, from the first one on, and with it.
    begin: u64,
    end: u64,
    left: Instant,
    /// What had been credited by then, and when.
    credited: u64,
    last_credit: Instant,
}

impl Flight {
    /// A channel that has begun to send much, and has so much in flight.
    pub(crate) fn new(in_flight: u32, now: Instant) -> Self {
        Self {
            sent: u64::from(in_flight),
            credited: 0,
            batches: VecDeque::new(),
            last_credit: now,
            credits: 0,
            step: u64::MAX,
            floor: LEAST,
            round_trip: Least::new(MEMORY, now),
            recently: Least::new(RECENTLY, now),
            rate: Highest::default(),
            turn_ends: 0,
            seen_from: 0,
            drains_until: 0,
            shared: false,
            allowed: u64::MAX,
            patience: PATIENCE,
            gives_up_at: None,
        }
    }

    /// How much more may be in flight.
    pub(crate) fn room(&self) -> usize {
        let room = self.allowed.saturating_sub(self.in_flight());
        let is_useful = room >= PACKET.min(self.allowed / 4) || self.in_flight() == 0;
        if is_useful { usize::try_from(room).unwrap_or(usize::MAX) } else { 0 }
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.credited
    }

    /// When [`Self::give_up`] wants to be called.
    pub(crate) fn gives_up_at(&self) -> Option<Instant> {
        self.gives_up_at
    }

    /// Others send on the same connection, or do so no more.
    pub(crate) fn share(&mut self, shared: bool, now: Instant) {
        if std::mem::replace(&mut self.shared, shared) == shared {
            return;
        }
        if shared {
            self.look_anew(now);
        }
        self.conclude(now);
    }

    /// What stands on the way hides the least round trip. It is seen by what leaves when little stands there any more. Not on a long way:
    /// there the slack is the same for who is alone, and looking would cost a round trip.
    fn look_anew(&mut self, now: Instant) {
        if self.round_trip.get().is_some_and(|least| least < LONG) {
            (self.round_trip, self.recently) = (Least::new(MEMORY, now), Least::new(RECENTLY, now));
            self.seen_from = self.sent;
        }
    }

    /// So many bytes leave.
    pub(crate) fn handle_sent(&mut self, len: usize, now: Instant) {
        let begin = self.sent;
        self.sent += len as u64;
        let enough = BATCH.max(self.in_flight() / MOST_BATCHES);
        match self.batches.back_mut().filter(|last| last.end - last.begin < enough) {
            Some(last) => last.end = self.sent,
            None => {
                let (credited, last_credit) = (self.credited, self.last_credit);
                self.batches.push_back(Batch { begin, end: self.sent, left: now, credited, last_credit });
            }
        }
        self.hold(now);
    }

    /// Sets a bound to what is held back from now on.
    fn hold(&mut self, now: Instant) {
        if self.room() == 0 {
            self.gives_up_at = Some(now + self.patience);
        }
    }

    /// The peer has written so many bytes on.
    pub(crate) fn handle_credit(&mut self, len: u32, now: Instant) {
        let by = u64::from(len);
        if by > self.in_flight() {
            // A wider window than before: how much of what was sent it is for, nobody says. The books begin anew with what leaves now.
            self.batches = VecDeque::new();
            (self.credited, self.seen_from, self.last_credit) = (self.sent, self.sent, now);
            return self.conclude(now);
        }
        self.credited += by;
        let mut last = None;
        while let Some(batch) = self.batches.front().filter(|batch| batch.end <= self.credited) {
            if batch.begin >= self.seen_from {
                let took = now.saturating_duration_since(batch.left);
                self.round_trip.take(took);
                self.recently.take(took);
            }
            last = self.batches.pop_front();
        }
        if self.batches.len() < 8 {
            // At rest it takes little storage.
            self.batches.shrink_to(8);
        }
        self.last_credit = now;
        let Some(batch) = last else { return self.conclude(now) };
        self.step = self.step.min(by);
        self.credits = self.credits.saturating_add(1);
        let time = now.saturating_duration_since(batch.last_credit);
        self.rate.take((self.credited - batch.credited) as f64 / time.as_secs_f64().max(f64::EPSILON));
        if self.credited >= self.turn_ends {
            self.turn_ends = self.sent;
            // Somebody who has little to send tells nothing about the way's rate, and hides nothing from who looks at its length.
            // What was in flight before this credit counts: no less is ever allowed, and less room than for a packet is not used.
            let was_full = self.in_flight() + by + PACKET >= self.step.saturating_mul(2);
            if was_full {
                self.rate.turn();
            }
            self.recently.turn(now);
            if self.round_trip.turn(now) && was_full {
                self.drains_until = self.sent;
            }
        }
        if self.credits == LEARNED_AFTER {
            self.look_anew(now);
        }
        self.conclude(now);
    }

    fn conclude(&mut self, now: Instant) {
        let has_learned = self.credits >= LEARNED_AFTER;
        self.allowed = if has_learned { self.worth() } else { u64::MAX };
        if let Some(least) = self.round_trip.get() {
            self.patience = least.saturating_mul(4).clamp(PATIENCE, MOST_PATIENCE);
        }
        self.gives_up_at = None;
        self.hold(now);
    }

    /// Nothing was credited for long although much is in flight: everything is allowed, and learned anew, but for how much the peer may
    /// wait for.
    pub(crate) fn give_up(&mut self, now: Instant) {
        let Self { sent, credited, shared, .. } = *self;
        let floor = self.floor.max(2 * self.in_flight());
        *self = Self { sent, credited, shared, floor, turn_ends: sent, ..Self::new(0, now) };
    }

    /// The delivery rate times the least round trip, with some slack.
    fn worth(&self) -> u64 {
        let least_slack = if self.shared { Duration::ZERO } else { SLACK_ALONE };
        let time = match self.round_trip.get() {
            None => Duration::ZERO,
            Some(least) if self.credited < self.drains_until => least / 2,
            Some(least) => {
                // On a short way what makes round trips longer is our own.
                let recently = self.recently.get().filter(|_| least >= LONG).unwrap_or(least);
                (least + (least / 2).max(least_slack)).max(recently)
            }
        };
        ((self.rate.get() * time.as_secs_f64()) as u64).max(self.step.saturating_mul(2)).max(self.floor)
    }
}

/// The least of what was seen within some time and the one before.
#[derive(Debug)]
struct Least {
    memory: Duration,
    recent: Option<Duration>,
    before: Option<Duration>,
    since: Instant,
}

impl Least {
    fn new(memory: Duration, now: Instant) -> Self {
        Self { memory, recent: None, before: None, since: now }
    }

    fn take(&mut self, seen: Duration) {
        self.recent = Some(self.recent.map_or(seen, |least| least.min(seen)));
    }

    fn get(&self) -> Option<Duration> {
        self.recent.into_iter().chain(self.before).min()
    }

    /// Forgets what is old; true when it did.
    fn turn(&mut self, now: Instant) -> bool {
        let over = now.saturating_duration_since(self.since) >= self.memory;
        if over {
            *self = Self { recent: None, before: self.recent, since: now, ..*self };
        }
        over
    }
}

/// The highest rate of the last [`TURNS`] turns, in bytes per second.
#[derive(Debug, Default)]
struct Highest {
    turns: [f64; TURNS],
    at: usize,
}

impl Highest {
    fn take(&mut self, rate: f64) {
        self.turns[self.at] = self.turns[self.at].max(rate);
    }

    fn turn(&mut self) {
        self.at = (self.at + 1) % TURNS;
        self.turns[self.at] = 0.0;
    }

    fn get(&self) -> f64 {
        self.turns.iter().copied().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
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
    }

    /// What was seen.
    #[derive(Debug)]
    struct Seen {
        /// Bytes per second that arrived.
        rate: f64,
        /// The most bytes that were in flight after the first tenth of the time.
        most: u64,
        given_up: u32,
    }

    impl Way {
        /// One that stays as it is.
        fn steady(rate: f64, round_trip: Duration, step: u64) -> Self {
            Self { rate, round_trip, step, jitter: 0.0, longer: Duration::ZERO }
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
            let (mut window, mut uncredited, mut arrived, mut most, mut given_up) = (WINDOW, 0, 0, 0, 0);
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
                        free_at = free_at.max(now) + Duration::from_secs_f64(packet as f64 / self.rate);
                        uncredited += packet;
                        if uncredited >= self.step {
                            noise =
                                noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
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
                window += len;
                flight.handle_credit(len as u32, now);
            }
            let rate = arrived as f64 / (time * 9 / 10).as_secs_f64();
            Seen { rate, most, given_up }
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
            let way = Way {
                rate,
                round_trip: Duration::from_millis(milliseconds),
                step: 128 * 1024,
                jitter: 1.0,
                longer: Duration::ZERO,
            };
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
            let way = Way { rate: 8e6, round_trip, step: 128 * 1024, jitter: 0.0, longer };
            let seen = way.send_for(Duration::from_secs(60));
            assert!(seen.rate > 0.75 * way.rate, "{way:?} {seen:?}");
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
            rate in 5.5f64..9.3, round_trip in -4.2f64..-0.7, step in prop::sample::select(vec![32u64 << 10, 128 << 10, 256 << 10]),
        ) {
            let way = Way { rate: 10f64.powf(rate), round_trip: Duration::from_secs_f64(10f64.powf(round_trip)), step, jitter: 0.0, longer: Duration::ZERO };
            let turn = way.round_trip.as_secs_f64() + WINDOW as f64 / way.rate;
            let seen = way.send_for(Duration::from_secs_f64((400.0 * turn).clamp(12.0, 600.0)));
            // A part of the window is always with a peer that credits in steps.
            let fastest = way.rate.min((WINDOW - step) as f64 / way.round_trip.as_secs_f64());
            prop_assert!(seen.rate > 0.85 * fastest, "{way:?} {seen:?}");
            let bound = 1.55 * (way.holds() + READ.max(2 * step) as f64) + 2.0 * step as f64;
            prop_assert!((seen.most as f64) <= bound, "{way:?} {seen:?}");
            prop_assert_eq!(seen.given_up, 0);
        }
    }
}
