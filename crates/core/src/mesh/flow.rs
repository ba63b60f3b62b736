//! When datagrams that belong together have come to their end: nobody says so, they just stop.

use std::time::{Duration, Instant};

/// A flow that has shown to go both ways ends after so much silence (RFC 4787 §4.3: no less than two minutes).
pub const IDLE: Duration = Duration::from_secs(120);
/// One of a question and its answers, or of no answer at all, ends sooner: there are many of these and nobody comes back to them
/// (RFC 4787 §4.3 leaves that to what is known of the service).
pub const IDLE_UNANSWERED: Duration = Duration::from_secs(30);

/// For so long a flow is left to prove that it goes both ways: longer than a way over the whole mesh and back.
pub const UNPROVEN: Duration = Duration::from_secs(2);

/// A flow that has proved itself keeps its place for so long after its last datagram, where there are too many.
pub const SILENT: Duration = Duration::from_secs(10);

/// The datagrams between one client and a service.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    began: Instant,
    last: Instant,
    was_answered: bool,
    goes_both_ways: bool,
}

impl Flow {
    /// Its first datagram has come from the client.
    pub fn new(now: Instant) -> Flow {
        Flow { began: now, last: now, was_answered: false, goes_both_ways: false }
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

    /// Has it shown to go both ways: was the service heard, and did the client go on?
    pub fn is_proven(&self) -> bool {
        self.goes_both_ways
    }

    /// Nothing has come for so long that it goes where room is needed, although it has not come to its end.
    pub fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= SILENT
    }

    /// Does it keep its place before another one that has none? Who sends under false names never hears an answer, and cannot send again
    /// because of it.
    pub fn keeps_its_place(&self, now: Instant) -> bool {
        self.goes_both_ways || now.saturating_duration_since(self.began) < UNPROVEN
    }

    /// When it is over if nothing more comes.
    pub fn ends_at(&self) -> Instant {
        self.last + if self.goes_both_ways { IDLE } else { IDLE_UNANSWERED }
    }
}
