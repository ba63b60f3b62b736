//! A client whose driver is the test, joined to a server on virtual time. The server is the engine's own until the test makes it
//! deaf and speaks in its place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::Message;
use super::pair::{End, Setup};
use crate::crypto::PrivateKey;
use crate::{Buffer, ChannelId, Client, ClientEvent, ClientSettings, Credential, Disconnect, Event};

/// Both ends and the clock.
pub(super) struct Driven {
    pub(super) server: End,
    pub(super) client: Client,
    /// A key the server lets in.
    pub(super) identity: PrivateKey,
    pub(super) now: Instant,
    pub(super) ended: Option<Disconnect>,
    /// What arrived on each channel.
    pub(super) data: BTreeMap<ChannelId, Vec<u8>>,
    events: Vec<ClientEvent>,
    input: Buffer,
}

impl Driven {
    pub(super) fn new() -> Self {
        Self::with(Setup::default(), |_| {})
    }

    /// Both ends exist; nothing has been said.
    pub(super) fn with(setup: Setup, change: impl FnOnce(&mut ClientSettings)) -> Self {
        let config = &setup.client;
        let mut settings = ClientSettings {
            user: config.user.clone(),
            algorithms: config.algorithms.clone(),
            limits: config.limits.clone(),
        };
        change(&mut settings);
        let identity = config.identity.clone();
        let pair = setup.join();
        let client = Client::new(&Arc::new(settings), pair.now);
        Self {
            server: pair.server,
            client,
            identity,
            now: pair.now,
            ended: None,
            data: BTreeMap::new(),
            events: Vec::new(),
            input: Buffer::new(),
        }
    }

    /// The host key is told, and not judged yet.
    pub(super) fn with_keys(mut self) -> Self {
        self.settle();
        assert!(matches!(self.event(), ClientEvent::HostKey(_)));
        self
    }

    /// The client may try a method; the server is deaf.
    pub(super) fn ready(self) -> Self {
        let mut driven = self.with_keys();
        driven.client.accept_host_key(driven.now).unwrap();
        driven.settle();
        assert_eq!(driven.event(), ClientEvent::AuthReady);
        driven.server.go_deaf();
        driven
    }

    /// Logged in by a key; the server is the engine's own.
    pub(super) fn logged_in(self) -> Self {
        let mut driven = self.with_keys();
        driven.client.accept_host_key(driven.now).unwrap();
        driven.settle();
        assert_eq!(driven.event(), ClientEvent::AuthReady);
        let key = Credential::Key { key: driven.identity.clone(), probe: false };
        driven.authenticate(key);
        assert_eq!(driven.events.remove(0), ClientEvent::Connection(Event::LoggedIn));
        driven.events.clear();
        driven
    }

    /// Logged in; from now on the test is the server.
    pub(super) fn with_deaf_server(self) -> Self {
        let mut driven = self.logged_in();
        driven.server.go_deaf();
        driven
    }

    pub(super) fn authenticate(&mut self, credential: Credential) {
        self.client.authenticate(credential, self.now).unwrap();
        self.settle();
    }

    /// What was said is heard, and what follows from it, until nobody says more.
    pub(super) fn settle(&mut self) {
        loop {
            let (to_client, to_server) = (self.server.take_output(), self.take_output());
            self.hear(&to_client);
            self.server.feed(&to_server, self.now);
            if to_client.is_empty() && to_server.is_empty() {
                return;
            }
        }
    }

    /// The test speaks as the server.
    pub(super) fn server_says(&mut self, message: Message) {
        self.server.send_raw(message);
        self.settle();
    }

    /// What a deaf server heard since the last call.
    pub(super) fn server_heard(&mut self) -> Vec<Message> {
        self.settle();
        self.server.heard()
    }

    /// Time goes by, and what is due is done.
    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(next) = self.client.connection().poll_timeout().filter(|next| *next <= until) {
            if self.ended.is_some() {
                break;
            }
            self.now = self.now.max(next);
            self.ended = self.client.connection().handle_timeout(self.now).err();
            if self.server.overheard.is_none() {
                self.server.wake(self.now);
            }
            self.settle();
        }
        self.now = until;
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        let connection = self.client.connection();
        let output = connection.output().to_vec();
        connection.sent(output.len());
        output
    }

    pub(super) fn take_events(&mut self) -> Vec<ClientEvent> {
        std::mem::take(&mut self.events)
    }

    /// The one event that was told.
    pub(super) fn event(&mut self) -> ClientEvent {
        let mut events = self.take_events();
        assert_eq!(events.len(), 1, "{events:?}, {:?}", self.ended);
        events.remove(0)
    }

    /// Why the client ended the connection.
    pub(super) fn end(&self) -> &str {
        &self.ended.as_ref().expect("the client ended the connection").message
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        while self.ended.is_none() {
            match self.client.receive(&mut self.input, self.now) {
                Ok(Some(ClientEvent::Connection(Event::Data { channel, payload }))) => {
                    let bytes = self.input.payload(&payload).to_vec();
                    self.client.connection().credit(channel, bytes.len()).unwrap();
                    self.data.entry(channel).or_default().extend(bytes);
                }
                Ok(Some(event)) => self.events.push(event),
                Ok(None) => break,
                Err(end) => self.ended = Some(end),
            }
        }
    }
}
