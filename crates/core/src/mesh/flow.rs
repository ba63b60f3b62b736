//! When datagrams that belong together have come to their end: nobody says so, they just stop.

use std::time::{Duration, Instant};

/// A flow that has shown to go both ways ends after so much silence (RFC 4787 §4.3: no less than two minutes).
pub const IDLE: Duration = Duration::from_secs(120);
/// One of a question and its answers, or of no answer at all, ends sooner: there are many of these and nobody comes back to them
/// (RFC 4787 §4.3 leaves that to what is known of the service).
pub const IDLE_UNANSWERED: Duration = Duration::from_secs(30);

/// The datagrams between one client and a service.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    last: Instant,
    was_answered: bool,
    goes_both_ways: bool,
}

impl Flow {
    /// Its first datagram has come from the client.
    pub fn new(now: Instant) -> Flow {
        Flow { last: now, was_answered: false, goes_both_ways: false }
    }

    /// The client has sent another one.
    pub fn handle_sent(&mut self, now: Instant) {
        self.last = now;
        self.goes_both_ways |= self.was_answered;
    }

    /// The service has sent one.
    pub fn handle_answered(&mut self, now: Instant) {
        self.last = now;
        self.was_answered = true;
    }

    /// When it is over if nothing more comes.
    pub fn ends_at(&self) -> Instant {
        self.last + if self.goes_both_ways { IDLE } else { IDLE_UNANSWERED }
    }
}
