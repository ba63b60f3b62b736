//! One SSH connection, either side, without sockets, tasks or a clock.
//!
//! The contract, which a driver keeps by calling from one place:
//!
//! 1. Put what was read into a [`Buffer`] and call [`Connection::receive`] until it returns `None`. Then the buffer may be
//!    filled again.
//! 2. Send [`Connection::output`] and report with [`Connection::sent`] how much went out.
//! 3. Call [`Connection::handle_timeout`] when [`Connection::poll_timeout`] is reached.
//! 4. After an `Err(Disconnect)` only the output is left to be sent, as far as it goes without waiting.
//!
//! Every method may produce output. Nothing blocks and nothing is awaited: a method that cannot go on says so.

mod channel_calls;
mod client;
mod global_requests;
mod login;
mod scripted;

pub use client::Client;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::{ClientAuth, ServerAuth};
use crate::buffer::Buffer;
#[cfg(any(test, feature = "hostile"))]
use crate::buffer::Payload;
use crate::channels::Channels;
use crate::client::ClientEvent;
use crate::config::{ClientConfig, Event, Limits, ServerConfig};
use crate::crypto::PublicKey;
use crate::disconnect::{Disconnect, DisconnectCode, EndedBy};
use crate::handshake::{Handshake, Party, VERSION};
use crate::messages;
use crate::negotiation::Side;
use crate::outlet::Outlet;
use crate::packet::PacketReader;
use crate::replies::Replies;
use crate::wire::{Reader, put_bool, put_string, put_u32};

/// RFC 4253 §4.2: 255 characters with the line end.
const MAX_VERSION_LINE: usize = 255;
/// A server may send lines before its version; a client takes this many.
const MAX_GREETING_LINES: u32 = 32;
/// Application bytes are taken only while less than this waits to be sent: more would only be a queue that adds delay.
pub const OUTPUT_LOW: usize = 512 * 1024;
/// Packets that a peer may send before it is logged in. An honest login with twenty keys takes about 60.
const MAX_PACKETS_BEFORE_LOGIN: u32 = 256;
/// RFC 4344 §3.1 asks for a rekey before 2^31 packets; sequence numbers must not repeat under one key.
const REKEY_PACKETS: u32 = 1 << 30;
/// After this many intervals of silence, all but the last of which asked for a sign of life, a peer counts as dead.
const SILENT_INTERVALS: u32 = 3;

/// One SSH connection.
pub struct Connection {
    reader: PacketReader,
    out: Outlet,
    handshake: Handshake,
    limits: Arc<Limits>,
    phase: Phase,
    channels: Channels,
    replies: Replies,
    /// Our own global requests that await replies, in order.
    asked: VecDeque<Asked>,
    events: VecDeque<Told>,
    /// Client: the answers that are known beforehand, if they are.
    script: Option<Arc<ClientConfig>>,
    /// Client: whether the server's announcement of its host keys was acted on.
    host_keys_heard: bool,
    clock: Clock,
    /// How much of the input was left over: whatever is more has come since.
    unread: usize,
    over: bool,
}

/// How far the connection has come, with what only matters there.
enum Phase {
    /// The peer's version line is to come.
    Version { other_lines: u32 },
    /// Keys are exchanged for the first time.
    FirstKeys,
    /// Server: somebody is to log in.
    ServerLogin(Box<ServerAuth>),
    /// Client: we are to be let in.
    ClientLogin(Box<ClientAuth>),
    /// Logged in.
    Open,
}

/// What the driver is to hear: of either side's events, or of a client's own.
#[derive(Debug)]
pub(crate) enum Told {
    Both(Event),
    Client(Box<ClientEvent>),
}

impl Told {
    pub(crate) fn client(event: ClientEvent) -> Self {
        Self::Client(Box::new(event))
    }
}

/// Times that matter.
struct Clock {
    /// When the connection began; in a client's login, when it was last the server's turn to say something.
    started: Instant,
    last_heard: Instant,
    /// When the peer was last heard, or asked by a keepalive since.
    last_tried: Instant,
    /// Keepalives sent since the peer was last heard.
    keepalives: u32,
    kex_began: Instant,
    kex_ended: Instant,
    /// When it was last looked whether the peer takes what we send, how much had left by then, and in how many looks
    /// nothing had moved.
    write_looked: Instant,
    write_left: u64,
    write_stuck: u32,
}

impl Clock {
    fn starting_at(now: Instant) -> Self {
        Self {
            started: now,
            last_heard: now,
            last_tried: now,
            keepalives: 0,
            kex_began: now,
            kex_ended: now,
            write_looked: now,
            write_left: 0,
            write_stuck: 0,
        }
    }

    fn heard(&mut self, now: Instant) {
        (self.last_heard, self.last_tried, self.keepalives) = (now, now, 0);
    }
}

/// What we asked the peer.
enum Asked {
    Keepalive,
    Forward {
        address: String,
        port: u16,
    },
    CancelForward {
        address: String,
        port: u16,
    },
    /// Proof that the server holds these keys beside its own of this connection, if it announced that one too.
    HostKeys {
        own: Vec<PublicKey>,
        unproven: Vec<PublicKey>,
    },
}

impl Connection {
    /// The server's side of a connection just accepted. Its version and offer lie in the output at once.
    pub fn server(config: &Arc<ServerConfig>, now: Instant) -> Self {
        Self::new(Party::Server(config.clone()), Arc::new(config.limits.clone()), now)
    }

    /// The client's side of a connection just made, to a server and with a key that are both known: it logs in by itself. One
    /// that asks its driver is a [`Client`].
    pub fn client(config: &Arc<ClientConfig>, now: Instant) -> Self {
        scripted::client(config, now)
    }

    fn new(party: Party, limits: Arc<Limits>, now: Instant) -> Self {
        let mut out = Outlet::new();
        out.writer.out.extend(VERSION.as_bytes());
        out.writer.out.extend(b"\r\n");
        let channels = Channels::new(party.side(), limits.clone());
        let mut connection = Self {
            reader: PacketReader::new(),
            out,
            handshake: Handshake::new(party),
            limits,
            phase: Phase::Version { other_lines: 0 },
            channels,
            replies: Replies::default(),
            asked: VecDeque::new(),
            events: VecDeque::new(),
            script: None,
            host_keys_heard: false,
            clock: Clock::starting_at(now),
            unread: 0,
            over: false,
        };
        // Only the random generator can fail here; the first receive then finds no offer and says so.
        connection.over = connection.handshake.start(&mut connection.out.writer).is_err();
        connection
    }

    // ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes packets off `input` until one has something to tell; `None` when no whole packet is left, or the caller owes
    /// [`Self::answer_auth`]. The driver of a [`Client`] calls [`Client::receive`] instead: what only a client hears waits there.
    ///
    /// # Errors
    /// The connection is over, for the reason given. Call nothing but [`Self::output`] and [`Self::sent`] from then on.
    pub fn receive(&mut self, input: &mut Buffer, now: Instant) -> Result<Option<Event>, Disconnect> {
        let received = self.receive_scripted(input, now);
        self.or_end(received)
    }

    /// How many bytes must be in the input before [`Self::receive`] can go on.
    pub fn wanted(&self) -> usize {
        self.reader.wanted()
    }

    fn receive_packets(&mut self, input: &mut Buffer, now: Instant) -> Result<Option<Told>, Disconnect> {
        loop {
            if self.over {
                return Err(Disconnect::timeout("the connection is over"));
            }
            if let Some(told) = self.events.pop_front() {
                return Ok(Some(told));
            }
            match &self.phase {
                Phase::ServerLogin(auth) if auth.is_waiting() => return Ok(None),
                Phase::ClientLogin(auth) if auth.awaits_verdict() => return Ok(None),
                _ => {}
            }
            if matches!(self.phase, Phase::Version { .. }) {
                if !self.receive_version(input)? {
                    return Ok(None);
                }
                continue;
            }
            // On a slow line a packet may take longer than a silence is borne, so that each of its bytes is a sign of life.
            let came = input.len() > self.unread;
            let packet = self.reader.next_packet(input)?;
            self.unread = input.len();
            if came || packet.is_some() {
                self.clock.heard(now);
            }
            let Some(payload) = packet else { return Ok(None) };
            if !self.is_open() && self.reader.packets > MAX_PACKETS_BEFORE_LOGIN {
                return Err(Disconnect::protocol("too many packets before login"));
            }
            if let Some(told) = self.handle_packet(input.payload(&payload), payload.0.start, now)? {
                self.events.push_back(told);
            }
            self.rekey_if_due(now)?;
        }
    }

    /// Takes the identification line (RFC 4253 §4.2). True once it is there.
    fn receive_version(&mut self, input: &mut Buffer) -> Result<bool, Disconnect> {
        let bytes = input.bytes();
        let Some(end) = bytes.iter().take(MAX_VERSION_LINE).position(|byte| *byte == b'\n') else {
            if bytes.len() >= MAX_VERSION_LINE {
                return Err(Disconnect::new(DisconnectCode::VersionNotSupported, "the version line does not end"));
            }
            return Ok(false);
        };
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        let speaks_ssh2 = line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-");
        let Phase::Version { other_lines } = &mut self.phase else { return Ok(true) };
        if !speaks_ssh2 {
            *other_lines += 1;
            // Only a server may say something else first.
            if self.handshake.side() == Side::Server || line.starts_with(b"SSH-") || *other_lines > MAX_GREETING_LINES {
                return Err(Disconnect::new(DisconnectCode::VersionNotSupported, "the peer does not speak SSH 2.0"));
            }
        } else {
            self.handshake.set_peer_version(line);
            self.phase = Phase::FirstKeys;
        }
        input.consume(end + 1);
        Ok(true)
    }

    fn handle_packet(&mut self, payload: &[u8], at: usize, now: Instant) -> Result<Option<Told>, Disconnect> {
        let first_exchange = matches!(self.phase, Phase::FirstKeys);
        if self.handshake.peer_must_hold() && !matches!(payload[0], messages::DISCONNECT..=messages::DEBUG | 20..=49) {
            return Err(Disconnect::protocol("a message that has no place in a key exchange"));
        }
        match payload[0] {
            messages::DISCONNECT => Err(read_disconnect(payload)?),
            _ if first_exchange && !matches!(payload[0], 20..=49) => {
                Err(Disconnect::protocol("a message other than the key exchange before the keys are new"))
            }
            messages::EXT_INFO => self.handle_ext_info(payload).map(|()| None),
            messages::IGNORE | messages::UNIMPLEMENTED | messages::DEBUG => Ok(None),
            messages::KEXINIT if !first_exchange && !self.is_open() => {
                Err(Disconnect::protocol("a second key exchange before login"))
            }
            20..=49 => self.handle_kex(payload, now).map(|()| None),
            messages::SERVICE_REQUEST | messages::SERVICE_ACCEPT | 50..=79 => self.handle_auth(payload),
            80..=127 if !self.is_open() => Err(Disconnect::protocol("a connection message before login")),
            messages::GLOBAL_REQUEST => self.handle_global_request(payload),
            messages::REQUEST_SUCCESS | messages::REQUEST_FAILURE => self.handle_reply(payload),
            messages::CHANNEL_OPEN..=messages::CHANNEL_FAILURE => self.channels.handle(payload, at, &mut self.out, now),
            _ => {
                let mut reply = vec![messages::UNIMPLEMENTED];
                put_u32(&mut reply, self.reader.last_sequence());
                self.out.send(&reply).map(|()| None)
            }
        }
    }

    // ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// What waits to be sent.
    pub fn output(&self) -> &[u8] {
        self.out.writer.out.bytes()
    }

    /// Reports that the first `len` bytes of [`Self::output`] went out.
    pub fn sent(&mut self, len: usize) {
        self.out.writer.out.consume(len);
    }

    /// The buffer the output lies in, to lend it storage and to take it back.
    pub fn output_buffer(&mut self) -> &mut Buffer {
        &mut self.out.writer.out
    }

    /// Ends the connection: the peer is told why, nothing more is received or produced.
    pub fn disconnect(&mut self, code: DisconnectCode, message: &str) {
        self.end(Disconnect::new(code, message.to_owned()));
    }

    /// An error is the end, whichever call came upon it.
    fn or_end<T>(&mut self, outcome: Result<T, Disconnect>) -> Result<T, Disconnect> {
        outcome.map_err(|end| self.end(end))
    }

    fn end(&mut self, end: Disconnect) -> Disconnect {
        let told = end.by == EndedBy::Us && !self.over && !matches!(self.phase, Phase::Version { .. });
        self.over = true;
        if told {
            let mut message = vec![messages::DISCONNECT];
            put_u32(&mut message, end.code.number());
            put_string(&mut message, end.message.as_bytes());
            put_string(&mut message, b"");
            // Past everything held back. If even this cannot be sealed, the peer sees the transport end instead.
            drop(self.out.writer.send(&message));
        }
        end
    }

    // ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// When [`Self::handle_timeout`] wants to be called next. It may move later without notice; calling early does no harm.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        if self.over {
            return None;
        }
        if !self.is_open() {
            return (!self.awaits_caller()).then(|| self.clock.started + self.limits.login_grace);
        }
        let kex = match self.handshake.is_running() {
            true => self.clock.kex_began + self.limits.kex_time,
            false => self.clock.kex_ended + self.limits.rekey_time,
        };
        let mut next = kex.min(self.next_sign_of_life());
        if !self.output().is_empty() {
            next = next.min(self.clock.write_looked + self.limits.keepalive_interval);
        }
        Some(self.channels.next_deadline().map_or(next, |deadline| next.min(deadline)))
    }

    /// Does what is due: keepalives, opens and windows given up, rekey by time. Events, if any, come with the next [`Self::receive`].
    ///
    /// # Errors
    /// The connection is over: login grace, a stalled key exchange, a peer that is silent for three keepalive intervals
    /// (whether or not anything could be written to it meanwhile), or one that takes nothing for as long while it talks.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Disconnect> {
        if self.over {
            return Ok(());
        }
        if !self.is_open() {
            let grace_over = !self.awaits_caller() && now >= self.clock.started + self.limits.login_grace;
            return if grace_over { Err(self.end(Disconnect::timeout("nobody logged in in time"))) } else { Ok(()) };
        }
        if self.handshake.is_running() && now >= self.clock.kex_began + self.limits.kex_time {
            if self.output().is_empty() {
                return Err(self.end(Disconnect::timeout("the key exchange stalled")));
            }
            // Our part of it has not even left.
            self.clock.kex_began = now;
        }
        self.look_at_writes(now)?;
        // At most one step per call: where the caller itself was held up, what the peer said meanwhile still waits to be read.
        if now >= self.next_sign_of_life() {
            if self.clock.keepalives + 1 >= SILENT_INTERVALS {
                return Err(self.end(Disconnect::timeout("the peer is silent")));
            }
            self.clock.keepalives += 1;
            self.clock.last_tried = now;
            self.probe()?;
        }
        while let Some(told) = self.channels.expire(now, self.clock.last_heard, &self.out) {
            self.events.push_back(told);
        }
        self.rekey_if_due(now)
    }

    /// A peer that talks and never reads holds its visitors up for ever; it is ended like a silent one.
    fn look_at_writes(&mut self, now: Instant) -> Result<(), Disconnect> {
        if now < self.clock.write_looked + self.limits.keepalive_interval {
            return Ok(());
        }
        let left = self.out.left();
        let stuck = !self.output().is_empty() && left == self.clock.write_left;
        self.clock.write_stuck = if stuck { self.clock.write_stuck + 1 } else { 0 };
        (self.clock.write_looked, self.clock.write_left) = (now, left);
        if self.clock.write_stuck >= SILENT_INTERVALS {
            return Err(self.end(Disconnect::timeout("the peer takes nothing")));
        }
        Ok(())
    }

    fn next_sign_of_life(&self) -> Instant {
        self.clock.last_tried + self.limits.keepalive_interval
    }

    /// Asks the peer for a sign of life; any packet is one. [`Self::last_heard`] tells.
    ///
    /// # Errors
    /// The connection is over.
    pub fn probe(&mut self) -> Result<(), Disconnect> {
        let mut message = vec![messages::GLOBAL_REQUEST];
        put_string(&mut message, b"keepalive@openssh.com");
        put_bool(&mut message, true);
        self.asked.push_back(Asked::Keepalive);
        let sent = self.out.send(&message);
        self.or_end(sent)
    }

    /// When the last byte came, as far as [`Self::receive`] has seen.
    pub fn last_heard(&self) -> Instant {
        self.clock.last_heard
    }

    /// Sends a payload as it is, whatever it means: how tests and fuzzers play a hostile peer.
    #[cfg(any(test, feature = "hostile"))]
    pub fn send_raw(&mut self, payload: &[u8]) -> Result<(), Disconnect> {
        self.out.writer.send(payload)
    }

    /// Server: goes on as another server, which no honest one does.
    #[cfg(test)]
    pub(crate) fn pose_as(&mut self, config: ServerConfig) {
        self.handshake.pose_as(Arc::new(config));
    }

    /// Takes the next packet off `input` and does nothing about it: how tests and fuzzers hear what a peer says.
    #[cfg(any(test, feature = "hostile"))]
    pub fn receive_raw(&mut self, input: &mut Buffer) -> Result<Option<Payload>, Disconnect> {
        self.reader.next_packet(input)
    }

    /// What a login's signature is made over, once keys were exchanged: lets tests and fuzzers sign what no honest client would.
    #[cfg(any(test, feature = "hostile"))]
    pub fn session_id(&self) -> Option<&[u8]> {
        self.handshake.session_id()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("open", &self.is_open()).field("over", &self.over).finish_non_exhaustive()
    }
}

fn read_disconnect(payload: &[u8]) -> Result<Disconnect, Disconnect> {
    let mut fields = Reader::new(&payload[1..]);
    let code = fields.u32()?;
    Ok(Disconnect::by_peer(code, String::from_utf8_lossy(fields.string()?).into_owned()))
}
