//! Bytes on their way in or out: a run of storage with what is not yet consumed between two marks.
//!
//! The storage is initialised once and used again, so nothing is zeroed per read, and it can be lent and taken back:
//! an idle session holds none. Storage comes from whoever drives the connection ([`Buffer::lend`]); a buffer that
//! was lent none makes a small one of its own.

use std::io::IoSliceMut;
use std::ops::Range;

/// What a buffer without lent storage begins with: a version line and a key exchange fit.
const OWN_STORAGE: usize = 4 * 1024;

/// A queue of bytes in one piece of storage.
#[derive(Default)]
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

/// Where a payload lies in the [`Buffer`] it was received in. Good until that buffer is next filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(pub(crate) Range<usize>);

impl Payload {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Buffer {
    /// A buffer that holds no storage yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes waiting to be consumed.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes of storage held, used or not.
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// The bytes waiting.
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The bytes of a payload received in this buffer.
    pub fn payload(&self, payload: &Payload) -> &[u8] {
        &self.storage[payload.0.clone()]
    }

    /// Marks the first `len` waiting bytes as dealt with. Their storage stays readable until the next fill.
    pub fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }

    /// Free space behind the waiting bytes, at least `wanted` bytes of it: what waits moves to the front, and only where that
    /// is not enough does the storage grow. Payloads given out before are void.
    pub fn spare(&mut self, wanted: usize) -> &mut [u8] {
        self.make_room(wanted);
        &mut self.storage[self.end..]
    }

    /// Takes in `len` bytes that were written to [`Self::spare`].
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.storage.len());
    }

    /// Appends a copy of `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Replaces the storage by a larger, initialised one; what waits is carried over. A smaller one comes straight back.
    pub fn lend(&mut self, mut storage: Vec<u8>) -> Vec<u8> {
        if storage.len() <= self.storage.len() || storage.len() < self.len() {
            return storage;
        }
        let waiting = self.len();
        storage[..waiting].copy_from_slice(self.bytes());
        (self.start, self.end) = (0, waiting);
        std::mem::replace(&mut self.storage, storage)
    }

    /// Gives the storage back when nothing, or only a small rest (which is then kept in storage of its own size), waits.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        if self.storage.is_empty() || self.len() > self.storage.len() / 4 {
            return None;
        }
        let rest = self.bytes().to_vec();
        (self.start, self.end) = (0, rest.len());
        Some(std::mem::replace(&mut self.storage, rest))
    }

    fn make_room(&mut self, wanted: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.storage.len() - self.end >= wanted {
            return;
        }
        let waiting = self.len();
        self.storage.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, waiting);
        if self.storage.len() - waiting < wanted {
            let grown = (waiting + wanted).next_power_of_two().max(OWN_STORAGE);
            self.storage.resize(grown, 0);
        }
    }

    /// The waiting bytes, to decrypt in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Where the first waiting byte lies in the storage.
    pub(crate) fn position(&self) -> usize {
        self.start
    }

    /// Cuts the free space into places for `sizes` payloads, each with `head` bytes before and `tail` bytes behind it.
    /// Room must have been made for them. Returns how many places there are.
    pub(crate) fn slots<'a>(
        &'a mut self,
        head: usize,
        tails: impl Fn(usize) -> usize,
        sizes: impl Iterator<Item = usize>,
        slots: &mut [IoSliceMut<'a>],
    ) -> usize {
        let mut free = &mut self.storage[self.end..];
        let mut count = 0;
        for (slot, size) in slots.iter_mut().zip(sizes) {
            let tail = tails(size);
            let Some((place, rest)) = free.split_at_mut_checked(head + size + tail) else { break };
            *slot = IoSliceMut::new(&mut place[head..head + size]);
            free = rest;
            count += 1;
        }
        count
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("waiting", &self.len()).field("capacity", &self.capacity()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_survives_growing_lending_and_giving_back() {
        let mut buffer = Buffer::new();
        buffer.extend(b"hello world");
        buffer.consume(6);
        assert_eq!(buffer.bytes(), b"world");
        buffer.spare(OWN_STORAGE);
        assert_eq!(buffer.bytes(), b"world");
        buffer.lend(vec![7; 64 * 1024]);
        assert_eq!((buffer.bytes(), buffer.capacity()), (&b"world"[..], 64 * 1024));
        assert_eq!(buffer.reclaim().map(|storage| storage.len()), Some(64 * 1024));
        assert_eq!((buffer.bytes(), buffer.capacity()), (&b"world"[..], 5));
    }

    #[test]
    fn an_empty_buffer_gives_all_its_storage_back() {
        let mut buffer = Buffer::new();
        buffer.extend(b"x");
        buffer.consume(1);
        assert!(buffer.reclaim().is_some());
        assert_eq!(buffer.capacity(), 0);
        assert!(buffer.reclaim().is_none());
    }

    #[test]
    fn a_smaller_storage_is_not_taken() {
        let mut buffer = Buffer::new();
        buffer.extend(&[1; 8000]);
        assert_eq!(buffer.lend(vec![0; 4096]).len(), 4096);
        assert_eq!(buffer.len(), 8000);
    }
}
