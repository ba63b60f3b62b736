//! What one direction of a connection has sent and the other side has not yet acknowledged, so that a connection can go on over another
//! way when its circuit broke.
//!
//! Positions count the bytes of the connection from its beginning; the end of a direction counts as one more, so that also an end is
//! acknowledged. What is kept is bounded: who acknowledges nothing is sent nothing more.

use std::collections::VecDeque;

/// Bytes that may be on their way without an acknowledgement: 100 ms at 300 Mbit/s.
pub const RETAINED: usize = 4 * 1024 * 1024;
/// The other side acknowledges when it has taken so much since it did last.
pub(super) const ACKNOWLEDGE_EACH: u64 = 256 * 1024;

/// One direction's bytes, from the last acknowledgement on.
#[derive(Debug, Default)]
pub struct Retained {
    kept: VecDeque<u8>,
    /// The position of the first byte that is kept.
    acknowledged: u64,
    /// The position of what is sent next.
    next: u64,
    has_ended: bool,
    /// The other side has the end as well.
    is_done: bool,
}

/// An acknowledgement of something that was never sent, or the other side lacks what is not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfStep;

/// What is to be sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextSent {
    /// So many bytes, which were copied.
    Bytes(usize),
    /// The end.
    End,
}

impl Retained {
    /// How many more bytes may be taken.
    pub fn room(&self) -> usize {
        RETAINED.saturating_sub(self.kept.len())
    }

    /// Keeps bytes that are to be sent, of which there are no more than there is room for.
    pub fn push(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
    }

    /// There will be no more of them.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// The end was said.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Copies what is sent next into `buffer`, as much as fits; `None` while there is nothing.
    pub fn take_next(&mut self, buffer: &mut [u8]) -> Option<NextSent> {
        let from = usize::try_from(self.next - self.acknowledged).unwrap_or(usize::MAX);
        if from < self.kept.len() {
            let count = buffer.len().min(self.kept.len() - from);
            for (place, byte) in buffer.iter_mut().zip(self.kept.range(from..from + count)) {
                *place = *byte;
            }
            self.next += count as u64;
            return Some(NextSent::Bytes(count));
        }
        if self.has_ended && self.next == self.end_of_bytes() {
            self.next += 1;
            return Some(NextSent::End);
        }
        None
    }

    fn end_of_bytes(&self) -> u64 {
        self.acknowledged + self.kept.len() as u64
    }

    /// The other side has everything before this position.
    ///
    /// # Errors
    /// It cannot have.
    pub fn handle_acknowledged(&mut self, position: u64) -> Result<(), OutOfStep> {
        if position > self.next || position < self.acknowledged {
            return Err(OutOfStep);
        }
        self.is_done = self.has_ended && position > self.end_of_bytes();
        let bytes = position.min(self.end_of_bytes()) - self.acknowledged;
        self.kept.drain(..usize::try_from(bytes).unwrap_or(usize::MAX).min(self.kept.len()));
        self.acknowledged += bytes;
        if self.kept.is_empty() {
            // An idle connection holds no storage.
            self.kept = VecDeque::new();
        }
        Ok(())
    }

    /// The connection goes on over another way, and the other side has everything before this position: what is behind it is sent anew.
    ///
    /// # Errors
    /// What it lacks is not kept any more, or was never sent.
    pub fn resume_at(&mut self, position: u64) -> Result<(), OutOfStep> {
        self.handle_acknowledged(position)?;
        self.next = position;
        Ok(())
    }

    /// The other side has all of it, the end included.
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

/// What the other side of a direction has taken, and whether it has said so.
#[derive(Debug, Default)]
pub struct Taken {
    position: u64,
    said: u64,
}

impl Taken {
    /// So many bytes more; the end counts as one.
    pub fn take(&mut self, count: u64) {
        self.position += count;
    }

    /// Everything before this position was taken.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What is to be acknowledged now, if it is time: `at_once` where the other side waits for it.
    pub fn poll_acknowledgement(&mut self, at_once: bool) -> Option<u64> {
        let owed = self.position - self.said;
        if owed < ACKNOWLEDGE_EACH && !(at_once && owed > 0) {
            return None;
        }
        self.said = self.position;
        Some(self.position)
    }

    /// The other side was told by other means.
    pub fn handle_said(&mut self) {
        self.said = self.position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(retained: &mut Retained, most: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; most];
        match retained.take_next(&mut buffer)? {
            NextSent::Bytes(count) => Some(buffer[..count].to_vec()),
            NextSent::End => Some(b"END".to_vec()),
        }
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_anew_with_the_end() {
        let mut retained = Retained::default();
        retained.push(b"abcdef");
        assert_eq!(next(&mut retained, 4), Some(b"abcd".to_vec()));
        retained.handle_acknowledged(2).unwrap();
        retained.end();
        assert_eq!(next(&mut retained, 4), Some(b"ef".to_vec()));
        assert_eq!((next(&mut retained, 4), next(&mut retained, 4)), (Some(b"END".to_vec()), None));
        retained.resume_at(3).unwrap();
        assert_eq!(next(&mut retained, 9), Some(b"def".to_vec()));
        assert_eq!(next(&mut retained, 9), Some(b"END".to_vec()));
        assert!(!retained.is_done());
        retained.handle_acknowledged(6).unwrap();
        assert!(!retained.is_done(), "the end is not among it");
        retained.resume_at(6).unwrap();
        assert_eq!(next(&mut retained, 9), Some(b"END".to_vec()));
        retained.handle_acknowledged(7).unwrap();
        assert!(retained.is_done());
        retained.resume_at(7).unwrap();
        assert_eq!(next(&mut retained, 9), None);
    }

    #[test]
    fn nobody_acknowledges_what_was_not_sent() {
        let mut retained = Retained::default();
        retained.push(b"abc");
        assert_eq!(retained.handle_acknowledged(1), Err(OutOfStep));
        assert_eq!(next(&mut retained, 2), Some(b"ab".to_vec()));
        retained.handle_acknowledged(2).unwrap();
        assert_eq!(retained.handle_acknowledged(3), Err(OutOfStep));
        assert_eq!(retained.resume_at(1), Err(OutOfStep), "it is not kept any more");
        assert_eq!(retained.room(), RETAINED - 1);
    }

    #[test]
    fn an_acknowledgement_waits_until_it_is_worth_its_message() {
        let mut taken = Taken::default();
        assert_eq!(taken.poll_acknowledgement(true), None);
        taken.take(10);
        assert_eq!((taken.poll_acknowledgement(false), taken.poll_acknowledgement(true)), (None, Some(10)));
        taken.take(ACKNOWLEDGE_EACH);
        assert_eq!(taken.poll_acknowledgement(false), Some(10 + ACKNOWLEDGE_EACH));
        assert_eq!(taken.poll_acknowledgement(true), None);
    }
}
