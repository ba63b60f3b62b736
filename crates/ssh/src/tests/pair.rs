//! Two connections joined back to back, on virtual time.
//!
//! Nothing here waits: time goes on only when a test says so, or as far as bytes need to cross the link. Everything that
//! looks random comes from a seed, so a test is the same story each time; only the keys differ.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::Message;
use crate::crypto::{HostKey, PublicKey};
use crate::{
    Algorithms, Arrival, AuthOutcome, AuthRequest, Buffer, ChannelId, ClientConfig, Connection, Disconnect, Event,
    Limits, ServerConfig,
};

/// Numbers that look random (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// How much one read of a socket gives at most.
const READ: usize = 64 * 1024;

/// How a link cuts what it carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pieces {
    /// As a socket does that always has more.
    Large,
    /// Of one byte up to this many.
    UpTo(usize),
}

/// The way from one end to the other.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) delay: Duration,
    pub(super) pieces: Pieces,
    /// Takes nothing, like a socket whose peer does not read.
    pub(super) is_blocked: bool,
    /// Takes everything and delivers nothing, like a network that is gone.
    pub(super) is_cut: bool,
    flying: VecDeque<(Instant, Vec<u8>)>,
    random: Random,
}

/// One end: a connection and what its driver saw.
#[derive(Debug)]
pub(super) struct End {
    pub(super) connection: Connection,
    /// To the other end.
    pub(super) link: Link,
    /// What it told, bytes and logins excepted.
    pub(super) events: Vec<Event>,
    /// What arrived on each channel.
    pub(super) data: BTreeMap<ChannelId, Vec<u8>>,
    /// Whether what arrives is written on at once.
    pub(super) writes_on: bool,
    pub(super) ended: Option<Disconnect>,
    /// What was said to this end since it became deaf: it acts on nothing any more.
    pub(super) overheard: Option<Vec<Message>>,
    /// Server: who may log in.
    pub(super) accounts: Vec<PublicKey>,
    /// Server: what was asked about logins and what came of it.
    pub(super) logins: Vec<(AuthRequest, AuthOutcome)>,
    input: Buffer,
}

/// A server and a client, joined.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) server: End,
    pub(super) client: End,
    pub(super) now: Instant,
}

/// What a pair is made of.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) server: ServerConfig,
    pub(super) client: ClientConfig,
    /// Who may log in.
    pub(super) accounts: Vec<PublicKey>,
    pub(super) seed: u64,
    pub(super) delay: Duration,
    pub(super) pieces: Pieces,
}

impl Default for Setup {
    fn default() -> Self {
        let host_key = HostKey::generate_ed25519().unwrap();
        let identity = HostKey::generate_ed25519().unwrap();
        // The quick ones; `login` goes through all of them.
        let algorithms =
            Algorithms { kex: vec![crate::crypto::KexAlgorithm::Curve25519Sha256], ..Algorithms::default() };
        Self {
            accounts: vec![identity.public_key().clone()],
            client: ClientConfig {
                user: "tunnel".into(),
                identity,
                host_key: host_key.public_key().clone(),
                algorithms: algorithms.clone(),
                limits: Limits::default(),
            },
            server: ServerConfig { host_keys: vec![host_key], algorithms, limits: Limits::default() },
            seed: 1,
            delay: Duration::ZERO,
            pieces: Pieces::Large,
        }
    }
}

impl Setup {
    /// Both ends exist; nothing has crossed the link.
    pub(super) fn join(self) -> Pair {
        let now = Instant::now();
        let end = |connection, seed, accounts| End {
            connection,
            link: Link {
                delay: self.delay,
                pieces: self.pieces,
                is_blocked: false,
                is_cut: false,
                flying: VecDeque::new(),
                random: Random(seed),
            },
            events: Vec::new(),
            data: BTreeMap::new(),
            writes_on: true,
            ended: None,
            overheard: None,
            accounts,
            logins: Vec::new(),
            input: Buffer::new(),
        };
        let mut pair = Pair {
            server: end(Connection::server(&Arc::new(self.server), now), self.seed, self.accounts),
            client: end(Connection::client(&Arc::new(self.client), now), !self.seed, Vec::new()),
            now,
        };
        pair.client.connection.assume_forward("localhost", 10_080);
        pair
    }

    /// Both ends are logged in.
    pub(super) fn log_in(self) -> Pair {
        let mut pair = self.join();
        pair.settle();
        assert!(pair.is_open(), "{:?} {:?}", pair.server.ended, pair.client.ended);
        assert_eq!(pair.client.take_events(), [Event::LoggedIn]);
        pair
    }

    /// Both ends have keys and the server waits for a login; the client is deaf.
    pub(super) fn join_until_keys(self) -> Pair {
        let mut pair = self.join();
        while pair.client.connection.session_id().is_none() {
            assert!(pair.exchange(), "{:?} {:?}", pair.server.ended, pair.client.ended);
        }
        pair.client.go_deaf();
        pair.settle();
        assert_eq!(pair.client.heard(), [Message::new(6).string("ssh-userauth")]);
        pair
    }

    /// Both ends have keys, and the server's consent to a login is on its way; the server is deaf.
    pub(super) fn join_until_service(self) -> Pair {
        let mut pair = self.join();
        while pair.client.connection.session_id().is_none() {
            assert!(pair.exchange(), "{:?} {:?}", pair.server.ended, pair.client.ended);
        }
        let request = pair.client.take_output();
        pair.server.feed(&request, pair.now);
        pair.server.go_deaf();
        pair
    }

    pub(super) fn limits(mut self, change: impl Fn(&mut Limits)) -> Self {
        change(&mut self.server.limits);
        change(&mut self.client.limits);
        self
    }
}

impl End {
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The one event that was told.
    pub(super) fn event(&mut self) -> Event {
        let mut events = self.take_events();
        assert_eq!(events.len(), 1, "{events:?}, {:?}", self.ended);
        events.remove(0)
    }

    /// Takes everything that waits to be sent, so that the link does not.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        let output = self.connection.output().to_vec();
        self.connection.sent(output.len());
        output
    }

    /// Sends a payload no honest peer would.
    pub(super) fn send_raw(&mut self, message: Message) {
        self.connection.send_raw(&message.0).unwrap();
    }

    /// From now on this end acts on nothing it hears, and says only what the test says.
    pub(super) fn go_deaf(&mut self) {
        self.overheard = Some(Vec::new());
    }

    /// What was said to a deaf end since the last call.
    pub(super) fn heard(&mut self) -> Vec<Message> {
        self.overheard.replace(Vec::new()).expect("this end went deaf before")
    }

    /// Bytes arrive.
    pub(super) fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.input.extend(bytes);
        if let Some(overheard) = &mut self.overheard {
            while let Some(payload) = self.connection.receive_raw(&mut self.input).unwrap() {
                overheard.push(Message(self.input.payload(&payload).to_vec()));
            }
            return;
        }
        while self.ended.is_none() {
            match self.connection.receive(&mut self.input, now) {
                Ok(Some(event)) => self.handle(event),
                Ok(None) => break,
                Err(end) => self.ended = Some(end),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::AuthRequest(request) => {
                let accept = request.user == b"tunnel" && self.accounts.contains(&request.key);
                match self.connection.answer_auth(accept) {
                    Ok(outcome) => self.logins.push((*request, outcome)),
                    Err(end) => self.ended = Some(end),
                }
            }
            Event::Data { channel, payload } => {
                let bytes = self.input.payload(&payload);
                self.data.entry(channel).or_default().extend_from_slice(bytes);
                if self.writes_on {
                    self.connection.credit(channel, bytes.len()).unwrap();
                }
            }
            event => self.events.push(event),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.ended.is_none() {
            self.ended = self.connection.handle_timeout(now).err();
            self.feed(&[], now);
        }
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        self.connection.poll_timeout().filter(|_| self.ended.is_none())
    }

    /// The bytes of storage held for input and output.
    pub(super) fn storage(&mut self) -> usize {
        self.input.capacity() + self.connection.output_buffer().capacity()
    }

    /// Lets timers fire and tells what the connection has to say.
    pub(super) fn wake(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    /// Hands what was sent to the link, and what has crossed `from` to this end. Whether anything moved.
    fn exchange(&mut self, from: &mut Link, now: Instant) -> bool {
        let mut moved = false;
        if !self.link.is_blocked && !self.connection.output().is_empty() {
            let bytes = self.take_output();
            if !self.link.is_cut {
                self.link.flying.push_back((now + self.link.delay, bytes));
            }
            moved = true;
        }
        while from.flying.front().is_some_and(|(arrives, _)| *arrives <= now) {
            let bytes = from.flying.pop_front().map(|(_, bytes)| bytes).unwrap_or_default();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let len = match from.pieces {
                    Pieces::Large => rest.len().min(READ),
                    Pieces::UpTo(most) => 1 + from.random.below(most.min(rest.len())),
                };
                self.feed(&rest[..len], now);
                rest = &rest[len..];
            }
            moved = true;
        }
        moved
    }
}

impl Pair {
    /// A pair that is logged in, with everything as usual.
    pub(super) fn new() -> Self {
        Setup::default().log_in()
    }

    pub(super) fn is_open(&self) -> bool {
        self.server.connection.is_open() && self.client.connection.is_open()
    }

    /// What is on its way arrives, and what follows from it, until nothing moves. No timer fires.
    pub(super) fn settle(&mut self) {
        loop {
            while self.exchange() {}
            let Some(arrival) = self.next_arrival() else { return };
            self.now = self.now.max(arrival);
        }
    }

    /// Moves what can move without any time going by. Whether anything did.
    pub(super) fn exchange(&mut self) -> bool {
        let server = self.server.exchange(&mut self.client.link, self.now);
        let client = self.client.exchange(&mut self.server.link, self.now);
        server || client
    }

    /// Time goes by: bytes arrive and timers fire in their order.
    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        loop {
            while self.exchange() {}
            let timeout = [self.server.next_timeout(), self.client.next_timeout()].into_iter().flatten().min();
            let Some(next) = [self.next_arrival(), timeout].into_iter().flatten().min().filter(|next| *next <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            self.server.handle_timeout(self.now);
            self.client.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn next_arrival(&self) -> Option<Instant> {
        [&self.server, &self.client].into_iter().filter_map(|end| Some(end.link.flying.front()?.0)).min()
    }

    /// A visitor arrives at the server; the client has not heard of it.
    pub(super) fn knock(&mut self) -> ChannelId {
        let originator = SocketAddr::from(([192, 0, 2, 7], 50_123));
        let arrival = Arrival { address: b"localhost", port: 10_080, originator };
        self.server.connection.open_forwarded(arrival, self.now).unwrap().expect("there is room")
    }

    /// A visitor arrives and the client takes it: the channel's number at the server and at the client.
    pub(super) fn visit(&mut self) -> (ChannelId, ChannelId) {
        let at_server = self.knock();
        self.settle();
        let Event::ForwardedConnection { channel: at_client, .. } = self.client.event() else {
            panic!("no visitor arrived")
        };
        self.client.connection.accept(at_client).unwrap();
        self.settle();
        assert_eq!(self.server.event(), Event::Opened(at_server));
        (at_server, at_client)
    }

    /// The client sends a payload no honest client would, and the server hears it.
    pub(super) fn client_sends(&mut self, message: Message) {
        self.client.send_raw(message);
        self.settle();
    }

    /// Why the server ended the connection.
    pub(super) fn server_end(&self) -> &str {
        &self.server.ended.as_ref().expect("the server ended the connection").message
    }
}
