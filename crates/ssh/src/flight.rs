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
/// reader pauses. More helps the one; to the other it is a queue, which is taken back.
const PATIENCE: Duration = Duration::from_millis(200);
/// However long round trips seemed.
const MOST_PATIENCE: Duration = Duration::from_secs(2);
/// Where the way is so slow that one credit takes longer, however slow it seemed.
const MOST_PATIENCE_WITH_SLOW: Duration = Duration::from_secs(10);
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
    /// What is allowed at least: more than the peer was given up with, and half of that with each time that round trips are forgotten. Who
    /// opens its window in large steps is known by its `step` by then, and who had paused is to hold little again.
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
            let was_full = self.in_flight() + by + PACKET >= self.least_of_all();
            if was_full {
                self.rate.turn();
            }
            self.recently.turn(now);
            if self.round_trip.turn(now) {
                self.floor = LEAST.max(self.floor / 2);
                if was_full {
                    self.drains_until = self.sent;
                }
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
            let of_a_credit = self.step.saturating_mul(2) as f64 / self.rate.get();
            let of_a_credit =
                Duration::try_from_secs_f64(of_a_credit).map_or(PATIENCE, |time| time.min(MOST_PATIENCE_WITH_SLOW));
            self.patience = least.saturating_mul(4).clamp(PATIENCE, MOST_PATIENCE).max(of_a_credit);
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
        let (time, floor) = match self.round_trip.get() {
            None => (Duration::ZERO, self.floor),
            // The queue that a floor makes is one of those that hide how long the way is.
            Some(least) if self.credited < self.drains_until => (least / 2, 0),
            Some(least) => {
                // On a short way what makes round trips longer is our own.
                let recently = self.recently.get().filter(|_| least >= LONG).unwrap_or(least);
                ((least + (least / 2).max(least_slack)).max(recently), self.floor)
            }
        };
        ((self.rate.get() * time.as_secs_f64()) as u64).max(self.least_of_all()).max(floor)
    }

    /// What is allowed whatever the way is like.
    fn least_of_all(&self) -> u64 {
        self.step.saturating_mul(2).max(LEAST)
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
mod tests;
