//! Replies to global requests go out in the order the requests came (RFC 4254 §4), although some answers take longer to
//! find than others: a place is kept for each request that wants a reply, and places empty from the front.

use std::collections::VecDeque;

use crate::disconnect::Disconnect;
use crate::messages;

/// A peer that asks more than this without waiting for an answer is not asking.
const MAX_OPEN: usize = 1024;

/// The place of one global request's reply. It may stand for a request that wants none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyId(Option<u64>);

/// The places of replies not yet sent.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// The number of the place at the front.
    first: u64,
    places: VecDeque<Option<Vec<u8>>>,
}

impl Replies {
    /// Keeps a place, if a reply is wanted.
    pub(crate) fn expect(&mut self, wanted: bool) -> Result<ReplyId, Disconnect> {
        if !wanted {
            return Ok(ReplyId(None));
        }
        if self.places.len() >= MAX_OPEN {
            return Err(Disconnect::protocol("too many global requests await their replies"));
        }
        self.places.push_back(None);
        Ok(ReplyId(Some(self.first + self.places.len() as u64 - 1)))
    }

    /// Fills a place with the reply's payload. A place is filled once; what comes later is dropped.
    pub(crate) fn fill(&mut self, id: ReplyId, payload: Vec<u8>) {
        let place =
            id.0.and_then(|number| number.checked_sub(self.first)).and_then(|index| usize::try_from(index).ok());
        if let Some(place @ None) = place.and_then(|index| self.places.get_mut(index)) {
            *place = Some(payload);
        }
    }

    /// The next reply that may go out.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let payload = self.places.front_mut()?.take()?;
        self.places.pop_front();
        self.first += 1;
        if self.places.is_empty() {
            self.places = VecDeque::new();
        }
        Some(payload)
    }
}

/// SSH_MSG_REQUEST_FAILURE.
pub(crate) fn failure() -> Vec<u8> {
    vec![messages::REQUEST_FAILURE]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Answers found in any order leave in the order of their requests, one each, and only where wanted.
        #[test]
        fn replies_keep_the_order_of_requests(wanted in proptest::collection::vec(any::<bool>(), 0..200), seed in any::<u64>()) {
            let mut replies = Replies::default();
            let mut open: Vec<(u8, ReplyId)> = Vec::new();
            let mut expected = Vec::new();
            for (number, wanted) in wanted.iter().enumerate() {
                open.push((number as u8, replies.expect(*wanted).unwrap()));
                if *wanted {
                    expected.push(vec![number as u8]);
                }
            }
            let mut sent = Vec::new();
            let mut seed = seed;
            while !open.is_empty() {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let (number, id) = open.swap_remove((seed >> 33) as usize % open.len());
                replies.fill(id, vec![number]);
                replies.fill(id, vec![255, 255]);
                sent.extend(std::iter::from_fn(|| replies.next()));
            }
            prop_assert_eq!(sent, expected);
        }
    }

    #[test]
    fn a_flood_of_requests_is_refused() {
        let mut replies = Replies::default();
        for _ in 0..MAX_OPEN {
            replies.expect(true).unwrap();
        }
        assert!(replies.expect(true).is_err());
        assert!(replies.expect(false).is_ok());
    }
}
