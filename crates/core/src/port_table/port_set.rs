//! A set of ports as a map of bits, so that a free one is found among 50,000 taken ones in under a microsecond.

use std::fmt;

use crate::{Port, PortRange};

/// One bit per port: 8 KiB.
pub(super) struct PortSet {
    words: Box<[u64]>,
}

impl PortSet {
    pub(super) fn new() -> PortSet {
        PortSet { words: vec![0; 1 << 10].into_boxed_slice() }
    }

    pub(super) fn insert(&mut self, port: Port) {
        let (word, bit) = place(port);
        self.words[word] |= bit;
    }

    pub(super) fn remove(&mut self, port: Port) {
        let (word, bit) = place(port);
        self.words[word] &= !bit;
    }

    /// The first port of `range` that is not in the set, searching upwards from `start` and then from the bottom.
    pub(super) fn first_absent(&self, range: PortRange, start: Port) -> Option<Port> {
        let upper = PortRange::new(start.max(range.first()), range.last());
        upper.and_then(|upper| self.lowest_absent(upper)).or_else(|| self.lowest_absent(range))
    }

    fn lowest_absent(&self, range: PortRange) -> Option<Port> {
        let (first_word, first_bit) = place(range.first());
        let (last_word, _) = place(range.last());
        // Bits below the first port of the first word are none of ours.
        let mut mask = !(first_bit - 1);
        for word in first_word..=last_word {
            let absent = !self.words[word] & mask;
            mask = u64::MAX;
            if absent != 0 {
                let number = u16::try_from(word * 64).ok()? + u16::try_from(absent.trailing_zeros()).ok()?;
                return Port::new(number).filter(|&port| range.contains(port));
            }
        }
        None
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({} ports)", self.words.iter().map(|word| word.count_ones()).sum::<u32>())
    }
}

fn place(port: Port) -> (usize, u64) {
    let number = usize::from(port.get());
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    #[test]
    fn the_whole_range_can_be_filled_and_no_more() {
        let range = PortRange::FORWARDS;
        let mut set = PortSet::new();
        for expected in range.iter() {
            assert_eq!(set.first_absent(range, range.first()), Some(expected));
            set.insert(expected);
        }
        assert_eq!(set.first_absent(range, port(30_000)), None);
        set.remove(port(10_000));
        assert_eq!(set.first_absent(range, port(30_000)), Some(port(10_000)));
        assert_eq!(set.first_absent(PortRange::new(Port::MIN, Port::MAX).unwrap(), Port::MAX), Some(Port::MAX));
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            taken in prop::collection::btree_set(1_u16..300, 0..300),
            ends in (1_u16..300, 1_u16..300),
            start in 1_u16..400,
        ) {
            let taken: BTreeSet<Port> = taken.into_iter().map(port).collect();
            let range = PortRange::new(port(ends.0.min(ends.1)), port(ends.0.max(ends.1))).unwrap();
            let mut set = PortSet::new();
            taken.iter().for_each(|&port| set.insert(port));
            let free: Vec<Port> = range.iter().filter(|port| !taken.contains(port)).collect();
            let expected = free.iter().find(|&&free| free >= port(start)).or(free.first()).copied();
            prop_assert_eq!(set.first_absent(range, port(start)), expected);
        }
    }
}
