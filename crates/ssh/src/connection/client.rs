//! A client whose driver decides: about the host key, about each way to log in, about each question.

use std::sync::Arc;
use std::time::Instant;

use zeroize::Zeroizing;

use super::{Connection, Phase, Told};
use crate::auth::{ClientAuth, ClientStep};
use crate::buffer::Buffer;
use crate::client::{ClientEvent, ClientSettings, Credential};
use crate::config::Event;
use crate::crypto::PublicKey;
use crate::disconnect::{Disconnect, DisconnectCode};
use crate::handshake::Party;

/// The client's side of one connection, driven as [`Connection`] is, with these calls beside.
///
/// A login goes so: [`ClientEvent::HostKey`] → [`accept_host_key`](Self::accept_host_key) → [`ClientEvent::AuthReady`] →
/// [`authenticate`](Self::authenticate), again after each [`ClientEvent::AuthFailed`] → [`Event::LoggedIn`]. From then on
/// everything is done through [`connection`](Self::connection).
///
/// Nothing about the user is sent before the host key was accepted, and so no secret before the connection is encrypted.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// The client's side of a connection just made: over TCP, or in a channel of another connection.
    pub fn new(settings: &Arc<ClientSettings>, now: Instant) -> Self {
        let limits = Arc::new(settings.limits.clone());
        Self { connection: Connection::new(Party::Client(settings.clone()), limits, now) }
    }

    /// What both sides have in common: output, time, channels, forwards. Its own `receive` is not for a client.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Takes packets off `input` until one has something to tell; `None` when no whole packet is left, or the host key is
    /// still to be judged. Then nothing need be read from the socket either.
    ///
    /// # Errors
    /// The connection is over, for the reason given. Call nothing but [`Connection::output`] and [`Connection::sent`] from
    /// then on.
    pub fn receive(&mut self, input: &mut Buffer, now: Instant) -> Result<Option<ClientEvent>, Disconnect> {
        let received = self.connection.receive_packets(input, now);
        Ok(self.connection.or_end(received)?.map(|told| match told {
            Told::Both(event) => ClientEvent::Connection(event),
            Told::Client(event) => *event,
        }))
    }

    /// The server's key is the right one: goes on to the login. Only after [`ClientEvent::HostKey`]; else it does nothing.
    ///
    /// # Errors
    /// The connection is over.
    pub fn accept_host_key(&mut self, now: Instant) -> Result<(), Disconnect> {
        self.connection.say(now, |auth, _, _| auth.accept_host_key())
    }

    /// The server's key is not the right one: tells it so (SSH_DISCONNECT_HOST_KEY_NOT_VERIFIABLE) and ends the connection.
    pub fn reject_host_key(&mut self) {
        self.connection.disconnect(DisconnectCode::HostKeyNotVerifiable, "the host key is not accepted");
    }

    /// Tries to log in by one method. What comes of it is told: [`Event::LoggedIn`], [`ClientEvent::AuthFailed`], or a question
    /// of the method's own, in which case another method may as well be tried instead of an answer.
    ///
    /// Only while it is the driver's turn (after [`ClientEvent::AuthReady`], [`ClientEvent::AuthFailed`],
    /// [`ClientEvent::SignatureWanted`] or [`ClientEvent::Prompts`]); else it does nothing.
    ///
    /// # Errors
    /// The connection is over.
    pub fn authenticate(&mut self, credential: Credential, now: Instant) -> Result<(), Disconnect> {
        self.connection.say(now, |auth, user, session_id| auth.authenticate(credential, user, session_id))
    }

    /// Answers a [`ClientEvent::SignatureWanted`]: the signature in wire form (RFC 4253 §6.6), as an agent gives it, or `None`
    /// where there is none to be had. Without a request it does nothing.
    ///
    /// # Errors
    /// The connection is over.
    pub fn answer_signature(&mut self, signature: Option<&[u8]>, now: Instant) -> Result<(), Disconnect> {
        self.connection.say(now, |auth, user, _| auth.answer_signature(signature, user))
    }

    /// Answers a [`ClientEvent::Prompts`], in the order of its questions. Missing answers are sent empty, surplus ones dropped.
    /// Without a question it does nothing.
    ///
    /// # Errors
    /// The connection is over.
    pub fn answer_prompts(&mut self, answers: &[Zeroizing<String>], now: Instant) -> Result<(), Disconnect> {
        self.connection.say(now, |auth, _, _| auth.answer_prompts(answers))
    }

    /// The key the server proved that it holds; `None` before it did.
    pub fn host_key(&self) -> Option<&PublicKey> {
        self.connection.handshake.host_key()
    }
}

impl Connection {
    /// Keys are there: the driver is asked about the host key.
    pub(super) fn begin_client_login(&mut self) {
        self.phase = Phase::ClientLogin(Box::new(ClientAuth::new(self.handshake.allows_sha1_logins())));
        if let Some(key) = self.handshake.host_key() {
            self.events.push_back(Told::client(ClientEvent::HostKey(key.clone())));
        }
    }

    /// Whether it is a client's driver that is to say something, so that no time runs out.
    pub(super) fn awaits_caller(&self) -> bool {
        matches!(&self.phase, Phase::ClientLogin(auth) if auth.awaits_caller())
    }

    /// The driver says something in a login.
    pub(super) fn say(
        &mut self,
        now: Instant,
        what: impl FnOnce(&mut ClientAuth, &str, &[u8]) -> ClientStep,
    ) -> Result<(), Disconnect> {
        let Phase::ClientLogin(auth) = &mut self.phase else { return Ok(()) };
        if self.over {
            return Ok(());
        }
        let step = what(auth, self.handshake.user(), self.handshake.session_id().unwrap_or_default());
        self.clock.started = now;
        let taken = self.take_step(step);
        let told = self.or_end(taken)?;
        self.events.extend(told);
        Ok(())
    }

    pub(super) fn take_step(&mut self, step: ClientStep) -> Result<Option<Told>, Disconnect> {
        match step {
            ClientStep::Rest => Ok(None),
            ClientStep::Send(message) => self.out.send(&message).map(|()| None),
            ClientStep::Tell(event) => Ok(Some(Told::client(event))),
            ClientStep::LoggedIn => {
                self.phase = Phase::Open;
                Ok(Some(Told::Both(Event::LoggedIn)))
            }
        }
    }

    /// RFC 8308. After a login nothing in it would change anything; a server needs none of it.
    pub(super) fn handle_ext_info(&mut self, payload: &[u8]) -> Result<(), Disconnect> {
        match &mut self.phase {
            Phase::ClientLogin(auth) => auth.handle_ext_info(payload),
            _ => Ok(()),
        }
    }
}
