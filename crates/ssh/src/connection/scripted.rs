//! A client that knows its server and its key: it answers by itself what the driver of a [`Client`](super::Client) is asked.

use std::sync::Arc;
use std::time::Instant;

use super::{Connection, Told};
use crate::buffer::Buffer;
use crate::client::{ClientEvent, ClientSettings, Credential};
use crate::config::{ClientConfig, Event};
use crate::disconnect::{Disconnect, DisconnectCode};
use crate::handshake::Party;

pub(super) fn client(config: &Arc<ClientConfig>, now: Instant) -> Connection {
    let ClientConfig { user, algorithms, limits, .. } = &**config;
    let settings = ClientSettings { user: user.clone(), algorithms: algorithms.clone(), limits: limits.clone() };
    let limits = Arc::new(limits.clone());
    let mut connection = Connection::new(Party::Client(Arc::new(settings)), limits, now);
    connection.script = Some(config.clone());
    connection
}

impl Connection {
    /// Receives as [`Connection::receive`] does, and answers what only a client is asked.
    pub(super) fn receive_scripted(&mut self, input: &mut Buffer, now: Instant) -> Result<Option<Event>, Disconnect> {
        loop {
            match self.receive_packets(input, now)? {
                None => return Ok(None),
                Some(Told::Both(event)) => return Ok(Some(event)),
                Some(Told::Client(event)) => {
                    let Some(script) = self.script.clone() else {
                        // Nothing is lost: it is `Client::receive` that tells it.
                        self.events.push_front(Told::Client(event));
                        return Ok(None);
                    };
                    self.answer(*event, &script, now)?;
                }
            }
        }
    }

    fn answer(&mut self, event: ClientEvent, script: &ClientConfig, now: Instant) -> Result<(), Disconnect> {
        match event {
            ClientEvent::HostKey(key) if key == script.host_key => self.say(now, |auth, _, _| auth.accept_host_key()),
            ClientEvent::HostKey(_) => Err(Disconnect::new(
                DisconnectCode::HostKeyNotVerifiable,
                "the server's host key is not the one expected",
            )),
            ClientEvent::AuthReady => {
                let credential = Credential::Key { key: script.identity.clone(), probe: false };
                self.say(now, |auth, user, session_id| auth.authenticate(credential, user, session_id))
            }
            ClientEvent::AuthFailed(failure) => Err(Disconnect::new(
                DisconnectCode::NoMoreAuthMethods,
                format!("permission denied ({})", failure.methods_left.join(",")),
            )),
            _ => Ok(()),
        }
    }
}
