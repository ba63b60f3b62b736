//! What the fuzzers run: each body takes bytes as a stranger would send them, and asserts what must hold whatever they are.
//! Nothing panics, storage stays in proportion, how the bytes were cut makes no difference, and nobody is in without a login.
//!
//! Included by the fuzz crate and by the engine's own tests; `super::engine` is the engine in both.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::engine::crypto::{HostKey, KexAlgorithm, PublicKey};
use super::engine::{
    Algorithms, Arrival, Buffer, ChannelId, Client, ClientConfig, ClientEvent, ClientSettings, Connection, Credential,
    Disconnect, Event, Limits, OpenFailureCode, ReplyId, ServerConfig, Target as Destination,
};

/// A target: its name, which is also its folder in the corpus, and its body.
type Target = (&'static str, fn(&[u8]));

pub(super) const ALL: [Target; 8] = [
    ("before_login", before_login),
    ("key_exchange", key_exchange),
    ("during_login", during_login),
    ("after_login", after_login),
    ("client", client),
    ("client_login", client_login),
    ("keys", keys),
    ("sshsig", sshsig),
];

/// What a connection may hold for input and output together. A body reads all output at once, so little ever waits.
const MOST_STORAGE: usize = 1 << 20;

/// To a server: bytes, from the first one on.
pub(super) fn before_login(data: &[u8]) {
    let mut host = Driver::host();
    host.hear(data);
    let mut slow_host = Driver::host();
    data.chunks(7).for_each(|piece| slow_host.hear(piece));
    assert_eq!(host.ended, slow_host.ended);
    assert!(!host.connection.is_open() && !slow_host.connection.is_open());
}

/// To a server: a version line, then payloads in well-formed packets.
pub(super) fn key_exchange(data: &[u8]) {
    let mut host = Driver::host();
    let mut payloads = payloads(data);
    host.hear(b"SSH-2.0-");
    host.hear(payloads.next().unwrap_or_default());
    host.hear(b"\r\n");
    payloads.for_each(|payload| host.hear(&plain_packet(payload)));
    assert!(!host.connection.is_open());
}

/// To a server: payloads from a client that has keys and is to log in. None of them is a signature.
pub(super) fn during_login(data: &[u8]) {
    let mut pair = Pair::new();
    pair.exchange_keys();
    for payload in payloads(data) {
        pair.guest_says(payload);
    }
    assert!(!pair.host.connection.is_open());
}

/// To a server: payloads from a client that logged in, which also acts on what it hears. An empty payload makes the server
/// do something of its own.
pub(super) fn after_login(data: &[u8]) {
    let mut pair = Pair::new();
    pair.log_in();
    for payload in payloads(data) {
        match payload.is_empty() {
            true => pair.host.act(),
            false => pair.guest_says(payload),
        }
        pair.settle();
    }
}

/// To a client: a server's payloads before the keys, before the login or after it.
pub(super) fn client(data: &[u8]) {
    let Some((stage, data)) = data.split_first() else { return };
    let mut pair = Pair::new();
    match stage % 4 {
        0 => return pair.guest.hear(data),
        1 => {
            pair.guest.hear(b"SSH-2.0-fuzz\r\n");
            return payloads(data).for_each(|payload| pair.guest.hear(&plain_packet(payload)));
        }
        2 => pair.exchange_keys(),
        _ => pair.log_in(),
    }
    for payload in payloads(data) {
        match payload.is_empty() {
            true => pair.guest.act(),
            false => pair.host_says(payload),
        }
        pair.settle();
    }
}

/// To a client whose driver answers what it is asked: a server's payloads once there are keys. The first byte chooses how it
/// tries to log in. The server hears nothing; whatever it says must be borne, and only a success it was asked for lets in.
pub(super) fn client_login(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let mut host = Driver::host();
    let mut caller = Caller::new(usize::from(*choice));
    while !caller.knows_host {
        let from_host = host.take_output();
        caller.hear(&from_host);
        let from_caller = caller.take_output();
        host.hear(&from_caller);
    }
    let mut success_was_said = false;
    for payload in payloads(data) {
        success_was_said |= payload.first() == Some(&52);
        // Fails only once the keys are used up.
        drop(host.connection.send_raw(payload));
        let said = host.take_output();
        caller.hear(&said);
        assert!(success_was_said || !caller.client.connection().is_open());
        caller.take_output();
    }
}

/// Keys as people paste them, as they stand in a request, and in files; and signatures.
pub(super) fn keys(data: &[u8]) {
    if let Ok(key) = PublicKey::from_blob(data) {
        assert_eq!(key.blob(), data);
        let text = key.to_text("a comment");
        assert_eq!(PublicKey::from_text(&text), Ok((key, Some("a comment".into()))));
    }
    let text = String::from_utf8_lossy(data);
    if let Ok((key, comment)) = PublicKey::from_text(&text) {
        let again = key.to_text(&comment.unwrap_or_default());
        assert_eq!(PublicKey::from_text(&again).map(|(key, _)| key), Ok(key));
    }
    // The file of a private key may be read, its numbers never printed.
    drop(HostKey::from_openssh(&text));
    let member = &world().member_key;
    for algorithm in member.algorithms() {
        assert!(member.verify(algorithm.as_bytes(), b"message", data).is_err());
    }
}

/// Signatures in armor, as `ssh-keygen -Y sign` writes them: the text behind the first byte, which chooses the key. The corpus
/// has good ones; whatever is good is so for one key, one namespace and one message.
pub(super) fn sshsig(data: &[u8]) {
    const KEYS: [&str; 3] = [
        include_str!("../../crates/ssh/src/crypto/testdata/ed25519.pub"),
        include_str!("../../crates/ssh/src/crypto/testdata/ecdsa521.pub"),
        include_str!("../../crates/ssh/src/crypto/testdata/rsa2048_pem.pub"),
    ];
    let Some((choice, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    let (key, _) = PublicKey::from_text(KEYS[usize::from(*choice) % KEYS.len()]).expect("a key of the tests");
    if key.verify_sshsig("test", b"what was signed", &text).is_ok() {
        assert!(key.verify_sshsig("test", b"what was not signed", &text).is_err());
        assert!(key.verify_sshsig("another", b"what was signed", &text).is_err());
        assert!(world().member_key.verify_sshsig("test", b"what was signed", &text).is_err());
    }
}

/// A host and the one member it knows. Made once: keys are no fuzzer's business.
struct World {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    member_key: PublicKey,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let host_key = HostKey::generate_ed25519().expect("randomness");
        let identity = HostKey::generate_ed25519().expect("randomness");
        // Small limits are reached by short inputs.
        let limits = Limits { rekey_bytes: 64 * 1024, session_channels: 3, channels: 20, ..Limits::default() };
        // The quickest, so that there is time for more inputs.
        let algorithms = Algorithms { kex: vec![KexAlgorithm::Curve25519Sha256], ..Algorithms::default() };
        World {
            member_key: identity.public_key().clone(),
            client: Arc::new(ClientConfig {
                user: "tunnel".into(),
                identity,
                host_key: host_key.public_key().clone(),
                algorithms,
                limits: limits.clone(),
            }),
            server: Arc::new(ServerConfig { host_keys: vec![host_key], algorithms: Algorithms::default(), limits }),
        }
    })
}

/// A connection and the simplest driver that uses all of it.
pub(super) struct Driver {
    pub(super) connection: Connection,
    pub(super) ended: Option<Disconnect>,
    input: Buffer,
    now: Instant,
    /// Forwards asked for and not answered yet.
    open_questions: Vec<ReplyId>,
    channels: Vec<ChannelId>,
    acts: usize,
}

impl Driver {
    fn host() -> Self {
        let now = Instant::now();
        Self::new(Connection::server(&world().server, now), now)
    }

    fn guest() -> Self {
        let now = Instant::now();
        Self::new(Connection::client(&world().client, now), now)
    }

    fn new(connection: Connection, now: Instant) -> Self {
        let (open_questions, channels) = (Vec::new(), Vec::new());
        Self { connection, ended: None, input: Buffer::new(), now, open_questions, channels, acts: 0 }
    }

    /// Bytes arrive; everything that follows from them is done.
    fn hear(&mut self, bytes: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        self.input.extend(bytes);
        let ended = loop {
            match self.connection.receive(&mut self.input, self.now) {
                Ok(None) => break None,
                Ok(Some(event)) => {
                    if let Err(end) = self.handle(event) {
                        break Some(end);
                    }
                }
                Err(end) => break Some(end),
            }
        };
        self.ended = ended;
        let storage = self.input.capacity() + self.connection.output_buffer().capacity();
        assert!(storage <= MOST_STORAGE, "{storage} bytes of storage");
    }

    fn handle(&mut self, event: Event) -> Result<(), Disconnect> {
        let Self { connection, now, .. } = self;
        match event {
            Event::AuthRequest(request) => {
                let accept = request.user == b"tunnel" && request.key == world().member_key;
                connection.answer_auth(accept)?;
            }
            Event::ForwardRequest { reply, address, port } => {
                match port % 3 {
                    0 => connection.answer_forward(reply, Ok((port == 0).then_some(10_000)))?,
                    1 => connection.answer_forward(reply, Err("not this one"))?,
                    _ => self.open_questions.push(reply),
                }
                let originator = ([192, 0, 2, 1], 4711).into();
                let arrival = Arrival { address: &address, port: port as u16, originator };
                connection.open_forwarded(arrival, *now)?;
            }
            Event::ForwardCancel { reply, .. } => {
                connection.answer_forward(reply, Ok(None))?;
                for reply in self.open_questions.drain(..).rev() {
                    connection.answer_forward(reply, Ok(None))?;
                }
            }
            Event::ForwardedConnection { channel, port, .. } => match port % 5 {
                0 => connection.refuse(channel, OpenFailureCode::ConnectFailed, "not this one")?,
                1 => connection.release(channel)?,
                _ => {
                    connection.accept(channel)?;
                    self.channels.push(channel);
                }
            },
            Event::Opened(channel) => {
                self.channels.push(channel);
                connection.send_data(channel, &[7; 1000], *now)?;
            }
            Event::Sendable(channel) => {
                connection.send_data(channel, &[8; 1000], *now)?;
            }
            Event::Data { channel, payload } => {
                assert_eq!(self.input.payload(&payload).len(), payload.len());
                connection.credit(channel, payload.len())?;
            }
            Event::Eof(channel) => connection.send_eof(channel)?,
            Event::Closed(channel) => {
                self.channels.retain(|open| *open != channel);
                connection.release(channel)?;
            }
            Event::LoggedIn
            | Event::Refused { .. }
            | Event::OpenFailed { .. }
            | Event::ForwardAnswered(_)
            | Event::Rekeyed => {}
        }
        Ok(())
    }

    /// Does something of its own, one thing after the other.
    fn act(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.acts += 1;
        let Self { connection, now, .. } = self;
        let channel = self.channels.last().copied().unwrap_or(ChannelId(0));
        let done = match self.acts % 7 {
            0 => connection.rekey(*now),
            1 => {
                *now += Duration::from_secs(5);
                connection.handle_timeout(*now)
            }
            2 => connection.send_data(channel, &[9; 40_000], *now).map(drop),
            3 => connection.send_eof(channel),
            4 => connection.probe(),
            5 => connection.request_forward("localhost", 0),
            _ => {
                self.channels.pop();
                connection.release(channel)
            }
        };
        self.ended = done.err();
        self.hear(&[]);
    }

    fn take_output(&mut self) -> Vec<u8> {
        let output = self.connection.output().to_vec();
        self.connection.sent(output.len());
        output
    }
}

/// A client that asks its driver, and the simplest driver that answers everything.
struct Caller {
    client: Client,
    knows_host: bool,
    ended: Option<Disconnect>,
    input: Buffer,
    now: Instant,
    choice: usize,
    tries: usize,
}

impl Caller {
    fn new(choice: usize) -> Self {
        let world = world();
        let settings = ClientSettings {
            user: world.client.user.clone(),
            algorithms: world.client.algorithms.clone(),
            limits: world.client.limits.clone(),
        };
        let now = Instant::now();
        let client = Client::new(&Arc::new(settings), now);
        Self { client, knows_host: false, ended: None, input: Buffer::new(), now, choice, tries: 0 }
    }

    fn hear(&mut self, bytes: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        self.input.extend(bytes);
        let ended = loop {
            match self.client.receive(&mut self.input, self.now) {
                Ok(None) => break None,
                Ok(Some(event)) => {
                    if let Err(end) = self.handle(event) {
                        break Some(end);
                    }
                }
                Err(end) => break Some(end),
            }
        };
        self.ended = ended;
        let storage = self.input.capacity() + self.client.connection().output_buffer().capacity();
        assert!(storage <= MOST_STORAGE, "{storage} bytes of storage");
    }

    fn handle(&mut self, event: ClientEvent) -> Result<(), Disconnect> {
        let Self { client, now, .. } = self;
        match event {
            ClientEvent::HostKey(_) => {
                self.knows_host = true;
                client.accept_host_key(*now)
            }
            ClientEvent::AuthReady | ClientEvent::AuthFailed(_) => {
                self.tries += 1;
                client.authenticate(credential(self.choice + self.tries), *now)
            }
            ClientEvent::SignatureWanted(wanted) => {
                assert!(wanted.message.ends_with(wanted.key.blob()));
                let signature = world().client.identity.sign(wanted.algorithm, &wanted.message).ok();
                client.answer_signature(signature.as_deref(), *now)
            }
            ClientEvent::Prompts(asked) => {
                assert!(asked.prompts.len() <= 32);
                client.answer_prompts(&[String::from("an answer").into()], *now)
            }
            ClientEvent::HostKeysProven(keys) => {
                assert!(!keys.is_empty());
                Ok(())
            }
            ClientEvent::Connection(Event::LoggedIn) => {
                let target = Destination { host: "example.org", port: 80, originator: ([127, 0, 0, 1], 4711).into() };
                let connection = client.connection();
                connection.open_direct(target, Duration::from_secs(5), *now)?;
                connection.probe_session(Duration::from_secs(5), *now)?;
                connection.request_forward("localhost", 80)?;
                connection.request_forward("", 0)?;
                connection.cancel_forward("localhost", 80)
            }
            ClientEvent::Connection(Event::Opened(channel)) => {
                client.connection().send_data(channel, &[7; 1000], *now).map(drop)
            }
            ClientEvent::Connection(Event::Data { channel, payload }) => {
                client.connection().credit(channel, payload.len())
            }
            ClientEvent::Connection(Event::ForwardedConnection { channel, .. }) => client.connection().accept(channel),
            ClientEvent::Connection(Event::Closed(channel)) => client.connection().release(channel),
            ClientEvent::Connection(_)
            | ClientEvent::Banner(_)
            | ClientEvent::OpenFailed { .. }
            | ClientEvent::SessionProbed { .. }
            | ClientEvent::ForwardCancelled(_) => Ok(()),
        }
    }

    fn take_output(&mut self) -> Vec<u8> {
        let connection = self.client.connection();
        let output = connection.output().to_vec();
        connection.sent(output.len());
        output
    }
}

/// One way to log in after the other.
fn credential(number: usize) -> Credential {
    let key = || world().client.identity.clone();
    match number % 6 {
        0 => Credential::None,
        1 => Credential::Key { key: key(), probe: true },
        2 => Credential::Signer { key: key().public_key().clone(), probe: number.is_multiple_of(4) },
        3 => Credential::Password(String::from("secret").into()),
        4 => Credential::KeyboardInteractive,
        _ => Credential::Key { key: key(), probe: false },
    }
}

/// A host and a guest, joined.
pub(super) struct Pair {
    pub(super) host: Driver,
    pub(super) guest: Driver,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self { host: Driver::host(), guest: Driver::guest() }
    }

    /// Until both have keys; the guest has not said who it is.
    pub(super) fn exchange_keys(&mut self) {
        while self.guest.connection.session_id().is_none() {
            assert!(self.exchange(), "{:?} {:?}", self.host.ended, self.guest.ended);
        }
        let request = self.guest.take_output();
        self.host.hear(&request);
    }

    pub(super) fn log_in(&mut self) {
        self.settle();
        assert!(self.host.connection.is_open() && self.guest.connection.is_open());
    }

    pub(super) fn guest_says(&mut self, payload: &[u8]) {
        // Fails only once the keys are used up.
        drop(self.guest.connection.send_raw(payload));
        let said = self.guest.take_output();
        self.host.hear(&said);
    }

    pub(super) fn host_says(&mut self, payload: &[u8]) {
        drop(self.host.connection.send_raw(payload));
        let said = self.host.take_output();
        self.guest.hear(&said);
    }

    /// What was said is heard, and what follows, within reason: two who only echo each other would never be done.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            if !self.exchange() {
                break;
            }
        }
    }

    fn exchange(&mut self) -> bool {
        let from_host = self.host.take_output();
        self.guest.hear(&from_host);
        let from_guest = self.guest.take_output();
        self.host.hear(&from_guest);
        !from_host.is_empty() || !from_guest.is_empty()
    }
}

/// Payloads as an input holds them: each behind its length in two bytes. The last may be cut short.
pub(super) fn payloads(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let (payload, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        data = rest;
        Some(payload)
    })
}

/// A payload as a packet before the first keys (RFC 4253 §6).
fn plain_packet(payload: &[u8]) -> Vec<u8> {
    let padding = 4 + (8 - (4 + 1 + payload.len() + 4) % 8) % 8;
    let mut packet = ((1 + payload.len() + padding) as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}
