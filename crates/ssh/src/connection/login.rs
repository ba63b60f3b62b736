//! Keys and login: the key exchange as it runs, and who is let in afterwards.

use std::time::Instant;

use super::global_requests::announce_host_keys;
use super::{Connection, Phase, REKEY_PACKETS, Told};
use crate::auth::{self, AuthOutcome, AuthStep};
use crate::config::Event;
use crate::disconnect::Disconnect;
use crate::handshake::Step;
use crate::messages;
use crate::negotiation::Side;

impl Connection {
    pub(super) fn handle_kex(&mut self, payload: &[u8], now: Instant) -> Result<(), Disconnect> {
        if !self.handshake.is_running() {
            self.clock.kex_began = now;
        }
        self.out.hold();
        let first = self.handshake.session_id().is_none();
        let step = self.handshake.handle(payload, &mut self.reader, &mut self.out.writer)?;
        if step == Step::SendingResumes && first && self.handshake.peer_wants_ext_info {
            // RFC 8308 §2.4: the first packet after NEWKEYS.
            self.out.writer.send(&auth::server_ext_info())?;
        }
        if !self.handshake.holds_sending() {
            self.out.resume()?;
        }
        if step == Step::Finished {
            self.clock.kex_ended = now;
            if self.is_open() {
                self.events.push_back(Told::Both(Event::Rekeyed));
            } else {
                self.begin_login();
            }
        }
        Ok(())
    }

    fn begin_login(&mut self) {
        match self.handshake.side() {
            Side::Server => self.phase = Phase::ServerLogin(Box::default()),
            Side::Client => self.begin_client_login(),
        }
    }

    /// Asks for new keys when enough went through under the old ones. One exchange runs at a time, whoever began it.
    pub(super) fn rekey_if_due(&mut self, now: Instant) -> Result<(), Disconnect> {
        let writer = &self.out.writer;
        let due = self.reader.bytes.max(writer.bytes) >= self.limits.rekey_bytes
            || self.reader.packets.max(writer.packets) >= REKEY_PACKETS
            || now >= self.clock.kex_ended + self.limits.rekey_time;
        if due && self.is_open() && !self.handshake.is_running() {
            self.rekey(now)?;
        }
        Ok(())
    }

    /// Asks for new keys now.
    ///
    /// # Errors
    /// The connection is over.
    pub fn rekey(&mut self, now: Instant) -> Result<(), Disconnect> {
        if !self.is_open() || self.over || self.handshake.is_running() {
            return Ok(());
        }
        self.out.hold();
        self.clock.kex_began = now;
        let started = self.handshake.start(&mut self.out.writer);
        self.or_end(started)
    }

    pub(super) fn handle_auth(&mut self, payload: &[u8]) -> Result<Option<Told>, Disconnect> {
        let session_id = self.handshake.session_id().unwrap_or_default();
        match &mut self.phase {
            Phase::ServerLogin(auth) => match auth.handle(payload, session_id)? {
                AuthStep::Send(message) => self.out.send(&message).map(|()| None),
                AuthStep::Ask(request) => Ok(Some(Told::Both(Event::AuthRequest(Box::new(request))))),
            },
            Phase::ClientLogin(auth) => {
                let step = auth.handle(payload, self.handshake.user(), session_id)?;
                self.take_step(step)
            }
            // RFC 4252 §5.1: requests after success are silently ignored.
            Phase::Open if self.handshake.side() == Side::Server && payload[0] == messages::USERAUTH_REQUEST => {
                Ok(None)
            }
            _ => Err(Disconnect::protocol("an authentication message out of turn")),
        }
    }

    /// Answers an [`Event::AuthRequest`]: may this key log in under this name? A signature is checked here, after the caller
    /// said yes; only [`AuthOutcome::LoggedIn`] means that somebody is in.
    ///
    /// # Errors
    /// The connection is over: too many wrong signatures.
    pub fn answer_auth(&mut self, accept: bool) -> Result<AuthOutcome, Disconnect> {
        let outcome = self.answer_login(accept);
        self.or_end(outcome)
    }

    fn answer_login(&mut self, accept: bool) -> Result<AuthOutcome, Disconnect> {
        let Phase::ServerLogin(auth) = &mut self.phase else { return Ok(AuthOutcome::Refused) };
        let Some((message, outcome)) = auth.answer(accept)? else { return Ok(AuthOutcome::Refused) };
        self.out.send(&message)?;
        if outcome == AuthOutcome::LoggedIn {
            self.phase = Phase::Open;
            self.out.send(&announce_host_keys(self.handshake.own_host_keys()))?;
        }
        Ok(outcome)
    }

    /// Whether login is done.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// The peer's identification line, raw; empty until it came.
    pub fn peer_version(&self) -> &[u8] {
        self.handshake.peer_version()
    }

    /// Sets the line that a session's shell greets with. It must hold no control characters.
    pub fn set_greeting(&mut self, line: &str) {
        self.channels.greeting = Some(line.into());
    }
}
