//! How many bytes an account may move in one direction now: a token bucket that several sessions share by turns.
//!
//! The bucket fills at the rate and holds a burst at most. Who finds too little in it stands in line, and whoever stands
//! behind others leaves them their turns: nobody starves beside one who always asks first, and nobody has to wait for
//! one who is late.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// What a bucket may hold, as time at its rate. Long enough that a timer's millisecond and a busy machine's late wake-up lose
/// nothing of the rate, short enough that no visitor feels it.
const BURST_PARTS_OF_A_SECOND: u64 = 8;
/// ... or this, where it is more: one large read.
const LEAST_BURST: u64 = LARGEST_TURN;
/// A turn is a quarter of the burst: one is taken while the next ones gather.
const TURN_PARTS_OF_A_SECOND: u64 = 4 * BURST_PARTS_OF_A_SECOND;
/// One read. More would make the others wait longer, and saves little.
const LARGEST_TURN: u64 = 64 * 1024;
/// Below this a packet's own bytes would be more than what it carries.
const SMALLEST_TURN: u64 = 1024;

/// The clocks of runtimes count in milliseconds; to ask more often is to ask in vain.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// Whoever waits asks once a second at least, so that a rate that was raised is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The level is counted in these parts of a byte, so that a rate times nanoseconds is a whole number: nothing is ever rounded away.
const PARTS: u128 = 1_000_000_000;

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRate(NonZeroU64);

impl ByteRate {
    /// A rate; 0 means that there is none.
    pub const fn new(bytes_per_second: u64) -> Option<ByteRate> {
        match NonZeroU64::new(bytes_per_second) {
            Some(rate) => Some(ByteRate(rate)),
            None => None,
        }
    }

    /// Bytes per second.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The most that ever passes beyond rate × time.
    pub fn burst(self) -> u64 {
        (self.get() / BURST_PARTS_OF_A_SECOND).max(LEAST_BURST)
    }

    /// The most that one sharer takes at a time.
    fn turn(self) -> u64 {
        (self.get() / TURN_PARTS_OF_A_SECOND).clamp(SMALLEST_TURN, LARGEST_TURN)
    }
}

/// The rates of an account, all its sessions and visitors together; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BandwidthRules {
    /// What visitors send to the account's services.
    pub to_owner: Option<ByteRate>,
    /// What the account's services send to visitors.
    pub to_visitors: Option<ByteRate>,
}

/// One of those that share an allowance. Only [`Allowance`] makes one, and it cannot be copied: nobody stands in line twice.
#[derive(Debug, PartialEq, Eq)]
pub struct Sharer(u64);

/// What [`Allowance::handle_ask`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "bytes that were taken and not moved must be given back"]
pub enum Turn {
    /// So many bytes may be moved now. They are gone from the bucket; what is not moved is given back.
    Take(usize),
    /// Nothing yet; the sharer's place in line is kept. It asks again then, or withdraws.
    AskAgain(Instant),
}

/// A rate in bytes per second, shared by turns.
///
/// Over any time, no more is taken than rate × time and one [burst](ByteRate::burst). It begins empty, so that whoever comes
/// anew again and again gains nothing by it.
#[derive(Debug)]
pub struct Allowance {
    rate: ByteRate,
    /// What may be taken, in [`PARTS`] of a byte, as of `at`.
    level: u128,
    at: Instant,
    /// Who was told to ask again, in that order.
    line: VecDeque<u64>,
    sharers: u64,
}

impl Allowance {
    /// An empty bucket.
    pub fn new(rate: ByteRate, now: Instant) -> Allowance {
        Allowance { rate, level: 0, at: now, line: VecDeque::new(), sharers: 0 }
    }

    /// One more who shares it.
    pub fn enter(&mut self) -> Sharer {
        self.sharers += 1;
        Sharer(self.sharers)
    }

    /// Changes the rate from now on.
    pub fn set_rate(&mut self, rate: ByteRate, now: Instant) {
        self.refill(now);
        self.rate = rate;
        self.level = self.level.min(self.capacity());
    }

    /// How many of `wanted` bytes may be moved now. A wish beyond one turn is cut to it, never to less: few large reads are
    /// cheaper than many small ones.
    pub fn handle_ask(&mut self, sharer: &Sharer, wanted: usize, now: Instant) -> Turn {
        self.refill(now);
        let turn = self.rate.turn();
        let granted = turn.min(wanted as u64);
        let place = self.place(sharer);
        let before = place.unwrap_or(self.line.len()) as u64;
        let needed = u128::from(before.saturating_mul(turn).saturating_add(granted)) * PARTS;
        if self.level < needed {
            if place.is_none() {
                self.line.push_back(sharer.0);
            }
            return Turn::AskAgain(now + self.time_for(needed - self.level));
        }
        if let Some(place) = place {
            self.line.remove(place);
        }
        self.level -= u128::from(granted) * PARTS;
        Turn::Take(granted as usize)
    }

    /// Takes back what was taken and not moved.
    pub fn give_back(&mut self, unused: usize) {
        self.level = (self.level + unused as u128 * PARTS).min(self.capacity());
    }

    /// The sharer wants nothing for now; its place in line is for those behind it.
    pub fn withdraw(&mut self, sharer: &Sharer) {
        if let Some(place) = self.place(sharer) {
            self.line.remove(place);
        }
    }

    fn place(&self, sharer: &Sharer) -> Option<usize> {
        self.line.iter().position(|waiting| *waiting == sharer.0)
    }

    fn refill(&mut self, now: Instant) {
        // Sharers look at the clock before they come here, so one may bring a time that is over already.
        let passed = now.saturating_duration_since(self.at);
        self.at += passed;
        let more = passed.as_nanos().saturating_mul(u128::from(self.rate.get()));
        self.level = self.level.saturating_add(more).min(self.capacity());
    }

    fn capacity(&self) -> u128 {
        u128::from(self.rate.burst()) * PARTS
    }

    fn time_for(&self, missing: u128) -> Duration {
        let nanos = missing.div_ceil(u128::from(self.rate.get()));
        u64::try_from(nanos).map_or(LONGEST_WAIT, Duration::from_nanos).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }
}
