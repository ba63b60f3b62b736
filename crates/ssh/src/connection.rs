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

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::{self, AuthOutcome, AuthStep, ServerAuth};
use crate::buffer::Buffer;
#[cfg(any(test, feature = "hostile"))]
use crate::buffer::Payload;
use crate::channel::ChannelId;
use crate::channels::{Arrival, Channels};
use crate::config::{ClientConfig, Event, ForwardDenied, Limits, ServerConfig};
use crate::crypto::HostKey;
use crate::disconnect::{Disconnect, DisconnectCode, EndedBy};
use crate::handshake::{Handshake, Party, Step};
use crate::messages;
use crate::negotiation::Side;
use crate::outlet::Outlet;
use crate::packet::{MAX_DATA_SLOTS, PacketReader};
use crate::replies::{self, Replies, ReplyId};
use crate::wire::{Reader, put_bool, put_string, put_u32};

/// What we call ourselves (RFC 4253 §4.2). A name that begins with "OpenSSH" would make clients expect OpenSSH's extensions.
pub(crate) const VERSION: &str = concat!("SSH-2.0-adit_", env!("CARGO_PKG_VERSION"));
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
    events: VecDeque<Event>,
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
    ClientLogin { signed: bool },
    /// Logged in.
    Open,
}

/// Times that matter.
struct Clock {
    started: Instant,
    last_heard: Instant,
    /// When the peer was last heard, or asked by a keepalive since.
    last_tried: Instant,
    /// Keepalives sent since the peer was last heard.
    keepalives: u32,
    kex_began: Instant,
    kex_ended: Instant,
}

impl Clock {
    fn starting_at(now: Instant) -> Self {
        Self { started: now, last_heard: now, last_tried: now, keepalives: 0, kex_began: now, kex_ended: now }
    }

    fn heard(&mut self, now: Instant) {
        (self.last_heard, self.last_tried, self.keepalives) = (now, now, 0);
    }
}

/// What we asked the peer.
enum Asked {
    Keepalive,
    Forward { any_port: bool },
}

impl Connection {
    /// The server's side of a connection just accepted. Its version and offer lie in the output at once.
    pub fn server(config: &Arc<ServerConfig>, now: Instant) -> Self {
        Self::new(Party::Server(config.clone()), Arc::new(config.limits.clone()), now)
    }

    /// The client's side of a connection just made.
    pub fn client(config: &Arc<ClientConfig>, now: Instant) -> Self {
        Self::new(Party::Client(config.clone()), Arc::new(config.limits.clone()), now)
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
    /// [`Self::answer_auth`].
    ///
    /// # Errors
    /// The connection is over, for the reason given. Call nothing but [`Self::output`] and [`Self::sent`] from then on.
    pub fn receive(&mut self, input: &mut Buffer, now: Instant) -> Result<Option<Event>, Disconnect> {
        let received = self.receive_packets(input, now);
        self.or_end(received)
    }

    /// How many bytes must be in the input before [`Self::receive`] can go on.
    pub fn wanted(&self) -> usize {
        self.reader.wanted()
    }

    fn receive_packets(&mut self, input: &mut Buffer, now: Instant) -> Result<Option<Event>, Disconnect> {
        loop {
            if self.over {
                return Err(Disconnect::timeout("the connection is over"));
            }
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if matches!(&self.phase, Phase::ServerLogin(auth) if auth.is_waiting()) {
                return Ok(None);
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
            if let Some(event) = self.handle_packet(input.payload(&payload), payload.0.start, now)? {
                self.events.push_back(event);
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

    fn handle_packet(&mut self, payload: &[u8], at: usize, now: Instant) -> Result<Option<Event>, Disconnect> {
        let first_exchange = matches!(self.phase, Phase::FirstKeys);
        if self.handshake.peer_must_hold() && !matches!(payload[0], messages::DISCONNECT..=messages::DEBUG | 20..=49) {
            return Err(Disconnect::protocol("a message that has no place in a key exchange"));
        }
        match payload[0] {
            messages::DISCONNECT => Err(read_disconnect(payload)?),
            _ if first_exchange && !matches!(payload[0], 20..=49) => {
                Err(Disconnect::protocol("a message other than the key exchange before the keys are new"))
            }
            messages::IGNORE | messages::UNIMPLEMENTED | messages::DEBUG | messages::EXT_INFO => Ok(None),
            messages::KEXINIT if !first_exchange && !self.is_open() => {
                Err(Disconnect::protocol("a second key exchange before login"))
            }
            20..=49 => self.handle_kex(payload, now).map(|()| None),
            messages::SERVICE_REQUEST | messages::SERVICE_ACCEPT | 50..=79 => self.handle_auth(payload),
            80..=127 if !self.is_open() => Err(Disconnect::protocol("a connection message before login")),
            messages::GLOBAL_REQUEST => self.handle_global_request(payload),
            messages::REQUEST_SUCCESS | messages::REQUEST_FAILURE => self.handle_reply(payload),
            messages::CHANNEL_OPEN..=messages::CHANNEL_FAILURE => self.channels.handle(payload, at, &mut self.out),
            _ => {
                let mut reply = vec![messages::UNIMPLEMENTED];
                put_u32(&mut reply, self.reader.last_sequence());
                self.out.send(&reply).map(|()| None)
            }
        }
    }

    // ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn handle_kex(&mut self, payload: &[u8], now: Instant) -> Result<(), Disconnect> {
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
                self.events.push_back(Event::Rekeyed);
            } else {
                self.begin_login()?;
            }
        }
        Ok(())
    }

    fn begin_login(&mut self) -> Result<(), Disconnect> {
        match self.handshake.side() {
            Side::Server => self.phase = Phase::ServerLogin(Box::default()),
            Side::Client => {
                self.phase = Phase::ClientLogin { signed: false };
                let mut message = vec![messages::SERVICE_REQUEST];
                put_string(&mut message, b"ssh-userauth");
                self.out.send(&message)?;
            }
        }
        Ok(())
    }

    /// Asks for new keys when enough went through under the old ones. One exchange runs at a time, whoever began it.
    fn rekey_if_due(&mut self, now: Instant) -> Result<(), Disconnect> {
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

    // ── login ───────────────────────────────────────────────────────────────────────────────────────────────────

    fn handle_auth(&mut self, payload: &[u8]) -> Result<Option<Event>, Disconnect> {
        let session_id = self.handshake.session_id().unwrap_or_default();
        match &mut self.phase {
            Phase::ServerLogin(auth) => match auth.handle(payload, session_id)? {
                AuthStep::Send(message) => self.out.send(&message).map(|()| None),
                AuthStep::Ask(request) => Ok(Some(Event::AuthRequest(Box::new(request)))),
            },
            Phase::ClientLogin { signed } => {
                let signed = std::mem::replace(signed, true);
                self.handle_login_answer(payload, signed)
            }
            // RFC 4252 §5.1: requests after success are silently ignored.
            Phase::Open if self.handshake.side() == Side::Server && payload[0] == messages::USERAUTH_REQUEST => {
                Ok(None)
            }
            _ => Err(Disconnect::protocol("an authentication message out of turn")),
        }
    }

    fn handle_login_answer(&mut self, payload: &[u8], signed: bool) -> Result<Option<Event>, Disconnect> {
        match payload[0] {
            messages::SERVICE_ACCEPT if !signed => {
                let message = self.handshake.login_message()?;
                self.out.send(&message).map(|()| None)
            }
            messages::USERAUTH_SUCCESS if signed => {
                self.phase = Phase::Open;
                Ok(Some(Event::LoggedIn))
            }
            messages::USERAUTH_BANNER if signed => Ok(None),
            messages::USERAUTH_FAILURE if signed => Err(Disconnect::new(
                DisconnectCode::NoMoreAuthMethods,
                format!("permission denied ({})", auth::methods_left(payload)?),
            )),
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

    // ── global requests ─────────────────────────────────────────────────────────────────────────────────────────

    fn handle_global_request(&mut self, payload: &[u8]) -> Result<Option<Event>, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        let (name, wants_reply) = (fields.string()?, fields.boolean()?);
        let is_forward = matches!(name, b"tcpip-forward" | b"cancel-tcpip-forward");
        if is_forward && self.handshake.side() == Side::Server {
            let (address, port) = (fields.string()?.to_vec(), fields.u32()?);
            fields.end()?;
            let reply = self.replies.expect(wants_reply)?;
            return Ok(Some(match name {
                b"tcpip-forward" => Event::ForwardRequest { reply, address, port },
                _ => Event::ForwardCancel { reply, address, port },
            }));
        }
        let reply = self.replies.expect(wants_reply)?;
        let answer = match name {
            b"hostkeys-prove-00@openssh.com" => self.prove_host_keys(fields)?,
            _ => None,
        };
        self.replies.fill(reply, answer.unwrap_or_else(replies::failure));
        self.send_replies()?;
        let is_harmless = matches!(
            name,
            b"keepalive@openssh.com"
                | b"no-more-sessions@openssh.com"
                | b"hostkeys-prove-00@openssh.com"
                | b"hostkeys-00@openssh.com"
        );
        Ok((!is_harmless).then(|| Event::Refused { what: name.to_vec() }))
    }

    /// Proves that we hold the host keys the client asks about (OpenSSH PROTOCOL §2.5).
    fn prove_host_keys(&self, mut blobs: Reader<'_>) -> Result<Option<Vec<u8>>, Disconnect> {
        const NAME: &[u8] = b"hostkeys-prove-00@openssh.com";
        let own = self.handshake.own_host_keys();
        let mut answer = vec![messages::REQUEST_SUCCESS];
        // A client asks about each key we announced at most once.
        for _ in 0..own.len() {
            if blobs.end().is_ok() {
                break;
            }
            let blob = blobs.string()?;
            let Some(key) = own.iter().find(|key| key.public_key().blob() == blob) else { return Ok(None) };
            let mut message = Vec::new();
            put_string(&mut message, NAME);
            put_string(&mut message, self.handshake.session_id().unwrap_or_default());
            put_string(&mut message, blob);
            let Some(Ok(signature)) = key.algorithms().first().map(|algorithm| key.sign(algorithm, &message)) else {
                return Ok(None);
            };
            put_string(&mut answer, &signature);
        }
        Ok(blobs.end().is_ok().then_some(answer))
    }

    /// Answers an [`Event::ForwardRequest`] or [`Event::ForwardCancel`]. `Ok(Some(port))` where any port was asked for: only
    /// then may the reply name one (RFC 4254 §7.1). A refusal's reason goes out before it as a debug message, which `ssh -v`
    /// shows; plain SSH has no other place for it.
    ///
    /// # Errors
    /// The connection is over.
    pub fn answer_forward(&mut self, reply: ReplyId, answer: Result<Option<u16>, &str>) -> Result<(), Disconnect> {
        let payload = match answer {
            Ok(allocated) => {
                let mut payload = vec![messages::REQUEST_SUCCESS];
                allocated.into_iter().for_each(|port| put_u32(&mut payload, u32::from(port)));
                payload
            }
            Err(reason) => {
                let mut debug = vec![messages::DEBUG];
                put_bool(&mut debug, false);
                put_string(&mut debug, reason.as_bytes());
                put_string(&mut debug, b"");
                let explained = self.out.send(&debug);
                self.or_end(explained)?;
                replies::failure()
            }
        };
        self.replies.fill(reply, payload);
        let sent = self.send_replies();
        self.or_end(sent)
    }

    fn send_replies(&mut self) -> Result<(), Disconnect> {
        while let Some(reply) = self.replies.next() {
            self.out.send(&reply)?;
        }
        Ok(())
    }

    fn handle_reply(&mut self, payload: &[u8]) -> Result<Option<Event>, Disconnect> {
        let accepted = payload[0] == messages::REQUEST_SUCCESS;
        Ok(match self.asked.pop_front() {
            Some(Asked::Forward { any_port }) if accepted => {
                let port = if any_port { Some(Reader::new(&payload[1..]).u32()?) } else { None };
                Some(Event::ForwardAnswered(Ok(port)))
            }
            Some(Asked::Forward { .. }) => Some(Event::ForwardAnswered(Err(ForwardDenied))),
            // Some clients answer requests that want no reply.
            Some(Asked::Keepalive) | None => None,
        })
    }

    /// Client: asks for a remote forward; the answer comes as [`Event::ForwardAnswered`].
    ///
    /// # Errors
    /// The connection is over.
    pub fn request_forward(&mut self, address: &str, port: u16) -> Result<(), Disconnect> {
        self.asked.push_back(Asked::Forward { any_port: port == 0 });
        let sent = self.out.send(&forward_request("tcpip-forward", address, port, true));
        self.or_end(sent)
    }

    /// Client: takes a remote forward back, without asking for a reply.
    ///
    /// # Errors
    /// The connection is over.
    pub fn cancel_forward(&mut self, address: &str, port: u16) -> Result<(), Disconnect> {
        let sent = self.out.send(&forward_request("cancel-tcpip-forward", address, port, false));
        self.or_end(sent)
    }

    // ── channels ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Announces a connection that arrived at a remote forward. `None`: no more channels, or too much waits to be sent already;
    /// turn the visitor away. Visitors alone can therefore never end a connection whose peer does not read for a while.
    ///
    /// # Errors
    /// The connection is over.
    pub fn open_forwarded(&mut self, arrival: Arrival<'_>, now: Instant) -> Result<Option<ChannelId>, Disconnect> {
        if !self.is_open() || self.over || !self.channels.has_room() || self.out.is_crowded() {
            return Ok(None);
        }
        let opened = self.channels.open_forwarded(arrival, &mut self.out, now).map(Some);
        self.or_end(opened)
    }

    /// Client: takes a connection that arrived.
    ///
    /// # Errors
    /// The connection is over.
    pub fn accept(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let accepted = self.channels.accept(channel, &mut self.out);
        self.or_end(accepted)
    }

    /// Client: turns a connection that arrived away. The id is free again.
    ///
    /// # Errors
    /// The connection is over.
    pub fn refuse(&mut self, channel: ChannelId, reason: &str) -> Result<(), Disconnect> {
        let refused = self.channels.refuse(channel, reason, &mut self.out);
        self.or_end(refused)
    }

    /// How many bytes may be sent on `channel` now: bounded by its window, and nothing while keys are exchanged or much
    /// waits to go out. Where the window is what forbids, [`Event::Sendable`] tells when it opens.
    pub fn sendable(&mut self, channel: ChannelId) -> usize {
        if self.over || self.is_holding_data() {
            return 0;
        }
        let Some(channel) = self.channels.get(channel) else { return 0 };
        let sendable = channel.sendable();
        channel.wants_window = sendable == 0;
        sendable
    }

    /// Whether data is held up on every channel: much waits to go out, or keys are exchanged ([`Event::Rekeyed`] tells the end).
    pub fn is_holding_data(&self) -> bool {
        self.out.is_holding() || self.out.writer.out.len() >= OUTPUT_LOW
    }

    /// Room for up to `max` bytes of channel data at the end of the output, in pieces of a packet each: fill them in order and call
    /// [`Self::commit_data`] next. Returns how many pieces there are; 0 where [`Self::sendable`] is.
    pub fn data_slots<'a>(
        &'a mut self,
        channel: ChannelId,
        max: usize,
        slots: &mut [IoSliceMut<'a>; MAX_DATA_SLOTS],
    ) -> usize {
        let total = self.sendable(channel).min(max);
        let Some(max_data) = self.channels.get(channel).map(|channel| channel.max_data()).filter(|_| total > 0) else {
            return 0;
        };
        self.out.writer.data_slots(max_data, total, slots)
    }

    /// Sends the first `len` bytes that were put in the pieces of [`Self::data_slots`].
    ///
    /// # Errors
    /// The connection is over.
    pub fn commit_data(&mut self, channel: ChannelId, len: usize, now: Instant) -> Result<(), Disconnect> {
        let Some(open) = self.channels.get(channel) else { return Ok(()) };
        let len = len.min(open.sendable());
        open.sent(len);
        let (peer, max_data) = (open.peer, open.max_data());
        let sent = self.out.writer.commit_data(peer, max_data, len);
        self.or_end(sent)?;
        self.rekey_if_due(now)
    }

    /// Sends as much of `bytes` as may be sent now; returns how much that was.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send_data(&mut self, channel: ChannelId, bytes: &[u8], now: Instant) -> Result<usize, Disconnect> {
        let mut sent = 0;
        while sent < bytes.len() {
            let mut slots = std::array::from_fn(|_| IoSliceMut::new(&mut []));
            let count = self.data_slots(channel, bytes.len() - sent, &mut slots);
            if count == 0 {
                break;
            }
            let mut len = 0;
            for slot in &mut slots[..count] {
                let piece = &bytes[sent + len..][..slot.len()];
                slot.copy_from_slice(piece);
                len += piece.len();
            }
            self.commit_data(channel, len, now)?;
            sent += len;
        }
        Ok(sent)
    }

    /// Opens the peer's window again by `len` bytes that were *written on*.
    ///
    /// # Errors
    /// The connection is over.
    pub fn credit(&mut self, channel: ChannelId, len: usize) -> Result<(), Disconnect> {
        let credited = self.channels.credit(channel, len, &mut self.out);
        self.or_end(credited)
    }

    /// Says that no more data comes on a channel (RFC 4254 §5.3). Said once.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send_eof(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let sent = self.channels.send_eof(channel, &mut self.out);
        self.or_end(sent)
    }

    /// Closes a channel. The id stays taken until it is released.
    ///
    /// # Errors
    /// The connection is over.
    pub fn close(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let closed = self.channels.close(channel, &mut self.out);
        self.or_end(closed)
    }

    /// Lets go of a channel, whatever its state: no event names the id any more until it is used again.
    ///
    /// # Errors
    /// The connection is over.
    pub fn release(&mut self, channel: ChannelId) -> Result<(), Disconnect> {
        let released = self.channels.release(channel, &mut self.out);
        self.or_end(released)
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
            return Some(self.clock.started + self.limits.login_grace);
        }
        let kex = match self.handshake.is_running() {
            true => self.clock.kex_began + self.limits.kex_time,
            false => self.clock.kex_ended + self.limits.rekey_time,
        };
        let next = kex.min(self.next_sign_of_life());
        Some(self.channels.next_deadline().map_or(next, |deadline| next.min(deadline)))
    }

    /// Does what is due: keepalives, opens given up, rekey by time. Events, if any, come with the next [`Self::receive`].
    ///
    /// # Errors
    /// The connection is over: login grace, a stalled key exchange, or a peer that is silent for three keepalive intervals,
    /// whether or not anything could be written to it meanwhile.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Disconnect> {
        if self.over {
            return Ok(());
        }
        if !self.is_open() {
            let grace_over = now >= self.clock.started + self.limits.login_grace;
            return if grace_over { Err(self.end(Disconnect::timeout("nobody logged in in time"))) } else { Ok(()) };
        }
        if self.handshake.is_running() && now >= self.clock.kex_began + self.limits.kex_time {
            return Err(self.end(Disconnect::timeout("the key exchange stalled")));
        }
        // At most one step per call: where the caller itself was held up, what the peer said meanwhile still waits to be read.
        if now >= self.next_sign_of_life() {
            if self.clock.keepalives + 1 >= SILENT_INTERVALS {
                return Err(self.end(Disconnect::timeout("the peer is silent")));
            }
            self.clock.keepalives += 1;
            self.clock.last_tried = now;
            self.probe()?;
        }
        while let Some(event) = self.channels.expire(now) {
            self.events.push_back(event);
        }
        self.rekey_if_due(now)
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

    /// How long the peer has been silent.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.clock.last_heard)
    }

    /// Sends a payload as it is, whatever it means: how tests and fuzzers play a hostile peer.
    #[cfg(any(test, feature = "hostile"))]
    pub fn send_raw(&mut self, payload: &[u8]) -> Result<(), Disconnect> {
        self.out.writer.send(payload)
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

fn forward_request(name: &str, address: &str, port: u16, wants_reply: bool) -> Vec<u8> {
    let mut message = vec![messages::GLOBAL_REQUEST];
    put_string(&mut message, name.as_bytes());
    put_bool(&mut message, wants_reply);
    put_string(&mut message, address.as_bytes());
    put_u32(&mut message, u32::from(port));
    message
}

/// Tells a client all our host keys, so that it can learn of a new one before the old one goes (OpenSSH PROTOCOL §2.5).
fn announce_host_keys(keys: &[HostKey]) -> Vec<u8> {
    let mut message = vec![messages::GLOBAL_REQUEST];
    put_string(&mut message, b"hostkeys-00@openssh.com");
    put_bool(&mut message, false);
    keys.iter().for_each(|key| put_string(&mut message, key.public_key().blob()));
    message
}

fn read_disconnect(payload: &[u8]) -> Result<Disconnect, Disconnect> {
    let mut fields = Reader::new(&payload[1..]);
    let code = fields.u32()?;
    Ok(Disconnect::by_peer(code, String::from_utf8_lossy(fields.string()?).into_owned()))
}
