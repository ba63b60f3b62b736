//! Which numbered datagrams have come already: each is taken once, in whatever order they come (as IPsec does it, RFC 4303 §3.4.3).

/// How far behind the greatest number one may come and still be taken: as many as a fast link has under way when one is overtaken.
pub const WINDOW: u64 = 4096;

const BITS: u64 = u64::BITS as u64;
/// One word more than the window has, so that the words that are cleared are never among those that are looked at (RFC 6479).
const WORDS: u64 = WINDOW / BITS + 1;

/// The numbers that have come. It takes as much memory as it has at the start.
#[derive(Debug, Clone)]
pub struct Window {
    /// Everything from here on is new.
    next: u64,
    /// One bit for each number, in a ring.
    seen: [u64; WORDS as usize],
}

impl Window {
    /// Everything before this number has come.
    pub fn new(next: u64) -> Window {
        let mut window = Window { next, seen: [u64::MAX; WORDS as usize] };
        // The word in which it begins holds numbers before it as well; those behind are cleared when they are reached.
        if let Some(word) = window.word(next) {
            *word = (1 << (next % BITS)) - 1;
        }
        window
    }

    /// Takes a number, if it did not come before and is not too old. To be asked once it is known that the datagram is genuine.
    pub fn admit(&mut self, number: u64) -> bool {
        if number >= self.next {
            let Some(next) = number.checked_add(1) else { return false };
            self.advance(next);
        } else if self.next - number > WINDOW {
            return false;
        }
        let bit = 1 << (number % BITS);
        let Some(word) = self.word(number) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Clears the words that come into the window. `next` is greater than 0.
    fn advance(&mut self, next: u64) {
        let (first, last) = (self.next.div_ceil(BITS), (next - 1) / BITS);
        for index in first.max(last.saturating_sub(WORDS - 1))..=last {
            if let Some(word) = self.seen.get_mut((index % WORDS) as usize) {
                *word = 0;
            }
        }
        self.next = next;
    }

    fn word(&mut self, number: u64) -> Option<&mut u64> {
        self.seen.get_mut((number / BITS % WORDS) as usize)
    }
}
