//! Bytes that a socket did not take at once, in pieces: taking some off the front moves nothing, and what is taken is given
//! back to the allocator piece by piece.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Small enough for an allocator to reuse and to give back, large enough for few pieces in one write.
const PIECE: usize = 64 * 1024;
/// A few bytes that wait do not take a whole piece.
const SMALLEST_PIECE: usize = 1024;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pieces: VecDeque<Vec<u8>>,
    /// How much of the first piece is gone already.
    gone: usize,
    len: usize,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let last = match self.pieces.back_mut().filter(|piece| piece.len() < piece.capacity()) {
                Some(piece) => piece,
                None => {
                    let size = bytes.len().clamp(SMALLEST_PIECE, PIECE);
                    self.pieces.push_back(Vec::with_capacity(size));
                    continue;
                }
            };
            let (fits, rest) = bytes.split_at(bytes.len().min(last.capacity() - last.len()));
            last.extend_from_slice(fits);
            bytes = rest;
        }
    }

    /// The first `most` bytes of what waits, as far as they go into `slices`; how many were set.
    pub(crate) fn slices<'a>(&'a self, mut most: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            let rest = &piece[if count == 0 { self.gone } else { 0 }..];
            let rest = &rest[..rest.len().min(most)];
            if rest.is_empty() {
                break;
            }
            *slice = IoSlice::new(rest);
            most -= rest.len();
            count += 1;
        }
        count
    }

    /// Takes `len` bytes off the front.
    pub(crate) fn consume(&mut self, len: usize) {
        self.len -= len.min(self.len);
        self.gone += len;
        while let Some(first) = self.pieces.front().filter(|first| self.gone >= first.len()) {
            self.gone -= first.len();
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_whatever_the_steps() {
        let mut backlog = Backlog::default();
        let (mut sent, mut taken, mut seed) = (Vec::new(), Vec::new(), 7usize);
        for round in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bytes = vec![round as u8; (seed >> 33) % 3_000 * (round % 40)];
            backlog.push(&bytes);
            sent.extend_from_slice(&bytes);
            let mut slices = [IoSlice::new(&[]); 3];
            let most = (seed >> 40) % 200_000;
            let count = backlog.slices(most, &mut slices);
            let waiting: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            assert!(waiting.len() <= most);
            let take = waiting.len().min((seed >> 45) % 200_000);
            taken.extend_from_slice(&waiting[..take]);
            backlog.consume(take);
            assert_eq!(backlog.len(), sent.len() - taken.len());
        }
        while !backlog.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = backlog.slices(usize::MAX, &mut slices);
            let waiting: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            taken.extend_from_slice(&waiting);
            backlog.consume(waiting.len());
        }
        assert!(taken == sent);
        assert!(backlog.pieces.capacity() == 0, "an empty backlog holds nothing");
    }
}
