//! The connection protocol's channels (RFC 4254 §5): which numbers are taken, what each message does to its channel, and
//! what is refused. A server's peer may open sessions and nothing else; a client's peer may open connections that arrived
//! at a remote forward the client asked for and nothing else.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::buffer::Payload;
use crate::bulk::Bulk;
use crate::channel::{Channel, ChannelId, Kind, MAX_DATA, Opening, RECEIVE_WINDOW};
use crate::client::{ClientEvent, OpenFailureCode, OpenRefusal, ProbeAnswer};
use crate::config::{Event, Limits, OpenFailure};
use crate::connection::Told;
use crate::disconnect::Disconnect;
use crate::forwards::Forwards;
use crate::holding::{EXIT_INTERRUPTED, EXIT_REFUSED, Holding, Verdict};
use crate::messages;
use crate::negotiation::Side;
use crate::outlet::{Mark, Outlet};
use crate::wire::{Reader, put_bool, put_string, put_u32};

/// On a crowded way an open waits three times longer: for what the kernel holds before it, a few megabytes at most.
const MOST_PUT_OFF: u32 = 3;

/// What is kept of a reason given in words: a line of a terminal or two.
const MOST_WORDS: usize = 256;

/// All channels of one connection.
pub(crate) struct Channels {
    side: Side,
    limits: Arc<Limits>,
    slots: Vec<Option<Channel>>,
    free: Vec<u32>,
    sessions: u32,
    /// When an unanswered open is given up, earliest first.
    deadlines: VecDeque<Deadline>,
    bulk: Bulk,
    /// What a session's shell says, once per channel.
    pub(crate) greeting: Option<Box<str>>,
    /// Client: where the peer may announce connections from.
    pub(crate) forwards: Forwards,
}

/// When to ask again about an open that was not answered.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    until: Instant,
    /// How long it waits each time.
    time_out: Duration,
    /// When it was asked.
    asked: Instant,
    channel: ChannelId,
    /// Behind the open in what is sent: before it has left, nobody can have answered.
    mark: Mark,
    /// How many times it was put off although the open had left, because the way was crowded.
    put_off: u32,
}

/// A TCP connection to announce to the peer (RFC 4254 §7.2).
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The address of the remote forward, exactly as the peer asked for it.
    pub address: &'a [u8],
    /// The port connected to.
    pub port: u16,
    /// Where the connection comes from.
    pub originator: SocketAddr,
}

/// A target to be reached from the server (RFC 4254 §7.2).
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// A name, which the server resolves, or an address.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Where the connection comes from, as the server's log shall name it.
    pub originator: SocketAddr,
}

impl Channels {
    pub(crate) fn new(side: Side, limits: Arc<Limits>) -> Self {
        Self {
            side,
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            sessions: 0,
            deadlines: VecDeque::new(),
            bulk: Bulk::default(),
            greeting: None,
            forwards: Forwards::default(),
        }
    }

    pub(crate) fn get(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// Whether another channel may be opened.
    pub(crate) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// How many more channels may be opened.
    pub(crate) fn room(&self) -> usize {
        self.limits.channels.saturating_sub(self.slots.len() - self.free.len())
    }

    /// Announces a connection that arrived at a remote forward.
    pub(crate) fn open_forwarded(
        &mut self,
        arrival: Arrival<'_>,
        out: &mut Outlet,
        now: Instant,
    ) -> Result<ChannelId, Disconnect> {
        let mut fields = Vec::new();
        put_string(&mut fields, arrival.address);
        put_u32(&mut fields, u32::from(arrival.port));
        put_originator(&mut fields, arrival.originator);
        self.ask("forwarded-tcpip", &fields, Kind::Tcp, self.limits.open_time, out, now)
    }

    /// Client: asks for a connection from the server to a target.
    pub(crate) fn open_direct(
        &mut self,
        target: Target<'_>,
        time_out: Duration,
        out: &mut Outlet,
        now: Instant,
    ) -> Result<ChannelId, Disconnect> {
        let mut fields = Vec::new();
        put_string(&mut fields, target.host.as_bytes());
        put_u32(&mut fields, u32::from(target.port));
        put_originator(&mut fields, target.originator);
        self.ask("direct-tcpip", &fields, Kind::Tcp, time_out, out, now)
    }

    /// Client: asks for a session, to see whether anybody answers.
    pub(crate) fn probe_session(
        &mut self,
        time_out: Duration,
        out: &mut Outlet,
        now: Instant,
    ) -> Result<ChannelId, Disconnect> {
        self.ask("session", &[], Kind::Probe, time_out, out, now)
    }

    fn ask(
        &mut self,
        channel_type: &str,
        fields: &[u8],
        kind: Kind,
        time_out: Duration,
        out: &mut Outlet,
        now: Instant,
    ) -> Result<ChannelId, Disconnect> {
        let until = now + time_out;
        let is_tcp = matches!(kind, Kind::Tcp);
        let id = self.insert(Channel::new(kind, Opening::Asked { until }));
        if is_tcp {
            self.bulk.note_active(id, now);
        }
        let mut message = vec![messages::CHANNEL_OPEN];
        put_string(&mut message, channel_type.as_bytes());
        put_u32(&mut message, id.0);
        put_u32(&mut message, RECEIVE_WINDOW);
        put_u32(&mut message, MAX_DATA);
        message.extend_from_slice(fields);
        out.send(&message)?;
        self.await_until(Deadline { until, time_out, asked: now, channel: id, mark: out.mark(), put_off: 0 });
        Ok(id)
    }

    /// Puts a deadline in its place: the last one, where all wait equally long.
    fn await_until(&mut self, deadline: Deadline) {
        let place = match self.deadlines.back() {
            Some(last) if last.until > deadline.until => {
                self.deadlines.partition_point(|earlier| earlier.until <= deadline.until)
            }
            _ => self.deadlines.len(),
        };
        self.deadlines.insert(place, deadline);
    }

    /// Client: takes a connection the peer announced.
    pub(crate) fn accept(&mut self, id: ChannelId, out: &mut Outlet) -> Result<(), Disconnect> {
        let Some(channel @ Channel { opening: Opening::Offered, .. }) = self.get(id) else { return Ok(()) };
        channel.opening = Opening::Done;
        let peer = channel.peer;
        out.send(&confirmation(peer, id))
    }

    /// Client: turns such a connection away. The id is free again.
    pub(crate) fn refuse(
        &mut self,
        id: ChannelId,
        code: OpenFailureCode,
        reason: &str,
        out: &mut Outlet,
    ) -> Result<(), Disconnect> {
        let Some(Channel { opening: Opening::Offered, peer, .. }) = self.get(id) else { return Ok(()) };
        let peer = *peer;
        self.remove(id);
        out.send(&open_failure(peer, code, reason))
    }

    /// Accounts for bytes that leave.
    pub(crate) fn sent(&mut self, id: ChannelId, len: usize, now: Instant) {
        self.bulk.note_active(id, now);
        if self.get(id).is_some_and(|channel| channel.sent(len, now)) {
            self.bulk.insert(id);
        }
        self.share(id, now);
        self.gives_up_before(id);
    }

    /// Tells a channel that carries bulk whether others use the connection too.
    fn share(&mut self, id: ChannelId, now: Instant) {
        let shared = self.bulk.is_shared(id, now);
        if let Some(flight) = self.get(id).and_then(Channel::flight) {
            flight.share(shared, now);
        }
    }

    fn gives_up_before(&mut self, id: ChannelId) {
        let at = self.get(id).and_then(|channel| channel.gives_up_at());
        self.bulk.gives_up_before(at);
    }

    /// Accounts for bytes that were written on.
    pub(crate) fn credit(&mut self, id: ChannelId, len: usize, out: &mut Outlet) -> Result<(), Disconnect> {
        let Some(channel) = self.get(id) else { return Ok(()) };
        let peer = channel.peer;
        match channel.credit(len) {
            Some(adjustment) => out.send(&numbers(messages::CHANNEL_WINDOW_ADJUST, &[peer, adjustment])),
            None => Ok(()),
        }
    }

    /// Says that we send no more data.
    pub(crate) fn send_eof(&mut self, id: ChannelId, out: &mut Outlet) -> Result<(), Disconnect> {
        let Some(channel @ Channel { opening: Opening::Done, eof_sent: false, close_sent: false, .. }) = self.get(id)
        else {
            return Ok(());
        };
        channel.eof_sent = true;
        out.send(&numbers(messages::CHANNEL_EOF, &[channel.peer]))
    }

    /// Closes a channel from our side, once.
    pub(crate) fn close(&mut self, id: ChannelId, out: &mut Outlet) -> Result<(), Disconnect> {
        let Some(channel @ Channel { opening: Opening::Done, close_sent: false, .. }) = self.get(id) else {
            return Ok(());
        };
        channel.close_sent = true;
        out.send(&numbers(messages::CHANNEL_CLOSE, &[channel.peer]))
    }

    /// Gives an id back: no event names it any more. What is still open is closed; the number is used again once the peer
    /// has closed too.
    pub(crate) fn release(&mut self, id: ChannelId, out: &mut Outlet) -> Result<(), Disconnect> {
        self.refuse(id, OpenFailureCode::ConnectFailed, "nobody takes it", out)?;
        self.close(id, out)?;
        let Some(channel) = self.get(id) else { return Ok(()) };
        channel.orphaned = true;
        if channel.is_over() {
            self.remove(id);
        }
        Ok(())
    }

    /// When [`Self::expire`] wants to be called.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        self.next_open_deadline().into_iter().chain(self.bulk.next_deadline()).min()
    }

    /// When the next unanswered open is given up.
    fn next_open_deadline(&mut self) -> Option<Instant> {
        while let Some(Deadline { until: deadline, channel, .. }) = self.deadlines.front().copied() {
            match self.get(channel) {
                // A number is used again before its deadline is reached: another open has another deadline.
                Some(Channel { opening: Opening::Asked { until }, orphaned: false, .. }) if *until == deadline => {
                    return Some(deadline);
                }
                _ => drop(self.deadlines.pop_front()),
            }
        }
        self.deadlines = VecDeque::new();
        None
    }

    /// Does one thing that is due: an open, or a peer's window, is no longer waited for.
    pub(crate) fn expire(&mut self, now: Instant, last_heard: Instant, out: &Outlet) -> Option<Told> {
        if let Some(told) = self.expire_open(now, last_heard, out) {
            return Some(told);
        }
        self.bulk.expire(&mut self.slots, now).map(|id| Told::Both(Event::Sendable(id)))
    }

    /// Gives up one open that waited too long. Time counts from when the open has left, and while more waits behind it the
    /// way is crowded (a slow link with an upload on it), so that the peer gets more of it. A probe asks whether anybody is
    /// there: whatever was heard since is an answer to that, and only silence gives it up.
    fn expire_open(&mut self, now: Instant, last_heard: Instant, out: &Outlet) -> Option<Told> {
        while now >= self.next_open_deadline()? {
            let deadline = self.deadlines.pop_front()?;
            let Deadline { time_out, asked, channel, mark, put_off, .. } = deadline;
            let side = self.side;
            let has_left = out.has_left(mark);
            let crowded = has_left && !out.writer.out.is_empty() && put_off < MOST_PUT_OFF;
            let open = self.get(channel)?;
            let is_probe = matches!(open.kind, Kind::Probe);
            let gives_up = if is_probe { last_heard <= asked } else { has_left && !crowded };
            if gives_up {
                open.orphaned = true;
                return Some(match (is_probe, side) {
                    (true, _) => Told::client(ClientEvent::SessionProbed { channel, answer: ProbeAnswer::Silent }),
                    (_, Side::Client) => {
                        Told::client(ClientEvent::OpenFailed { channel, why: OpenRefusal::Unanswered })
                    }
                    (_, Side::Server) => Told::Both(Event::OpenFailed { channel, why: OpenFailure::Unanswered }),
                });
            }
            // A probe waits for as long a silence.
            let asked = if is_probe { last_heard } else { now };
            let until = asked + time_out;
            open.opening = Opening::Asked { until };
            self.await_until(Deadline { until, asked, put_off: put_off + u32::from(crowded), ..deadline });
        }
        None
    }

    /// Takes a channel message (90–127). `at` says where `payload` begins in the buffer it lies in.
    pub(crate) fn handle(
        &mut self,
        payload: &[u8],
        at: usize,
        out: &mut Outlet,
        now: Instant,
    ) -> Result<Option<Told>, Disconnect> {
        let mut fields = Reader::new(&payload[1..]);
        if payload[0] == messages::CHANNEL_OPEN {
            return self.handle_open(fields, out);
        }
        let id = ChannelId(fields.u32()?);
        if payload[0] == messages::CHANNEL_WINDOW_ADJUST {
            return self.handle_adjustment(id, fields, now);
        }
        let channel = self.get(id).ok_or(Disconnect::protocol("a message to a channel that does not exist"))?;
        match payload[0] {
            messages::CHANNEL_OPEN_CONFIRMATION => self.handle_confirmation(id, fields, out),
            messages::CHANNEL_OPEN_FAILURE => self.handle_open_failure(id, fields),
            messages::CHANNEL_DATA => {
                let data = fields.string()?;
                fields.end()?;
                // Behind the message number, the channel and the length.
                let start = at + 9;
                self.handle_data(id, data, Payload(start..start + data.len()), out)
            }
            messages::CHANNEL_EXTENDED_DATA => {
                fields.u32()?;
                let len = fields.string()?.len();
                channel.received(len)?;
                self.credit(id, len, out)?;
                Ok(None)
            }
            messages::CHANNEL_EOF => {
                fields.end()?;
                if channel.opening != Opening::Done || channel.close_received {
                    return Err(Disconnect::protocol("EOF on a channel that is not open"));
                }
                let first = !std::mem::replace(&mut channel.eof_received, true);
                let told = first && matches!(channel.kind, Kind::Tcp) && !channel.orphaned;
                Ok(told.then_some(Told::Both(Event::Eof(id))))
            }
            messages::CHANNEL_CLOSE => {
                fields.end()?;
                self.handle_close(id, out)
            }
            messages::CHANNEL_REQUEST => self.handle_request(id, fields, out),
            // We ask nothing of channels that would be answered.
            messages::CHANNEL_SUCCESS | messages::CHANNEL_FAILURE => Ok(None),
            _ => Err(Disconnect::protocol("an unknown channel message")),
        }
    }

    fn handle_open(&mut self, mut fields: Reader<'_>, out: &mut Outlet) -> Result<Option<Told>, Disconnect> {
        let (kind, peer, window, max_packet) = (fields.string()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let sessions_full = self.limits.session_channels != 0 && self.sessions >= self.limits.session_channels;
        match (self.side, kind) {
            (Side::Server, b"session") if sessions_full || !self.has_room() => {
                out.send(&open_failure(peer, OpenFailureCode::ResourceShortage, "too many channels are open"))?;
                Ok(Some(Told::Both(Event::Refused { what: b"session beyond the limit".to_vec() })))
            }
            (Side::Server, b"session") => {
                let mut channel = Channel::new(Kind::Session(Holding::default()), Opening::Done);
                channel.meet_peer(peer, window, max_packet)?;
                self.sessions += 1;
                let id = self.insert(channel);
                out.send(&confirmation(peer, id))?;
                Ok(None)
            }
            (Side::Client, b"forwarded-tcpip") => {
                let (address, port) = (fields.string()?, fields.u32()?);
                let originator = originator(fields.string()?, fields.u32()?);
                fields.end()?;
                let Some((address, port)) = self.forwards.find(address, port) else {
                    let code = OpenFailureCode::AdministrativelyProhibited;
                    out.send(&open_failure(peer, code, "this forward was not asked for"))?;
                    return Ok(Some(Told::Both(Event::Refused { what: b"forwarded-tcpip never asked for".to_vec() })));
                };
                let address = address.to_owned();
                if !self.has_room() {
                    out.send(&open_failure(peer, OpenFailureCode::ResourceShortage, "too many channels are open"))?;
                    return Ok(Some(Told::Both(Event::Refused { what: b"forwarded-tcpip beyond the limit".to_vec() })));
                }
                let mut channel = Channel::new(Kind::Tcp, Opening::Offered);
                channel.meet_peer(peer, window, max_packet)?;
                let channel = self.insert(channel);
                Ok(Some(Told::Both(Event::ForwardedConnection { channel, address, port, originator })))
            }
            (_, kind) => {
                let code = OpenFailureCode::AdministrativelyProhibited;
                out.send(&open_failure(peer, code, "only remote forwards are done here"))?;
                Ok(Some(Told::Both(Event::Refused { what: kind.to_vec() })))
            }
        }
    }

    fn handle_confirmation(
        &mut self,
        id: ChannelId,
        mut fields: Reader<'_>,
        out: &mut Outlet,
    ) -> Result<Option<Told>, Disconnect> {
        let (peer, window, max_packet) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let Some(channel @ Channel { opening: Opening::Asked { .. }, .. }) = self.get(id) else {
            return Err(Disconnect::protocol("a confirmation of a channel nobody asked for"));
        };
        channel.meet_peer(peer, window, max_packet)?;
        channel.opening = Opening::Done;
        let is_new_probe = matches!(channel.kind, Kind::Probe) && !channel.orphaned;
        if channel.orphaned || is_new_probe {
            self.release(id, out)?;
            let answer = ProbeAnswer::Opened;
            return Ok(is_new_probe.then(|| Told::client(ClientEvent::SessionProbed { channel: id, answer })));
        }
        Ok(Some(Told::Both(Event::Opened(id))))
    }

    /// A client whose reader and closer are two threads may announce a window behind its CLOSE, as paramiko can. Such an
    /// adjustment means nothing, so it is dropped, as OpenSSH does; any other message to such a channel ends the connection.
    fn handle_adjustment(
        &mut self,
        id: ChannelId,
        mut fields: Reader<'_>,
        now: Instant,
    ) -> Result<Option<Told>, Disconnect> {
        let by = fields.u32()?;
        fields.end()?;
        self.share(id, now);
        let Some(channel @ Channel { opening: Opening::Done, close_received: false, .. }) = self.get(id) else {
            return Ok(None);
        };
        let is_awaited = channel.widen(by, now)? && !channel.orphaned;
        self.gives_up_before(id);
        Ok(is_awaited.then_some(Told::Both(Event::Sendable(id))))
    }

    fn handle_open_failure(&mut self, id: ChannelId, mut fields: Reader<'_>) -> Result<Option<Told>, Disconnect> {
        let (code, words) = (OpenFailureCode::from_number(fields.u32()?), fields.string()?);
        let Some(Channel { opening: Opening::Asked { .. }, orphaned, kind, .. }) = self.get(id) else {
            return Err(Disconnect::protocol("a refusal of a channel nobody asked for"));
        };
        let (orphaned, is_probe) = (*orphaned, matches!(kind, Kind::Probe));
        self.remove(id);
        Ok((!orphaned).then(|| match (is_probe, self.side) {
            (true, _) => Told::client(ClientEvent::SessionProbed { channel: id, answer: ProbeAnswer::Refused }),
            (_, Side::Client) => {
                let why = OpenRefusal::Refused { code, text: escaped(words) };
                Told::client(ClientEvent::OpenFailed { channel: id, why })
            }
            (_, Side::Server) => {
                let why = OpenFailure::Refused(String::from_utf8_lossy(words).into_owned());
                Told::Both(Event::OpenFailed { channel: id, why })
            }
        }))
    }

    fn handle_data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        payload: Payload,
        out: &mut Outlet,
    ) -> Result<Option<Told>, Disconnect> {
        let Some(channel) = self.get(id) else { return Ok(None) };
        let wanted = channel.received(data.len())?;
        match channel.kind {
            Kind::Tcp if wanted && !channel.orphaned => Ok(Some(Told::Both(Event::Data { channel: id, payload }))),
            Kind::Tcp | Kind::Probe => Ok(None),
            Kind::Session(holding) => {
                self.credit(id, data.len(), out)?;
                if wanted && holding.is_interrupt(data) {
                    self.end_session(id, EXIT_INTERRUPTED, out)?;
                }
                Ok(None)
            }
        }
    }

    fn handle_close(&mut self, id: ChannelId, out: &mut Outlet) -> Result<Option<Told>, Disconnect> {
        let Some(channel @ Channel { opening: Opening::Done, close_received: false, .. }) = self.get(id) else {
            return Err(Disconnect::protocol("CLOSE on a channel that is not open"));
        };
        channel.close_received = true;
        let told = matches!(channel.kind, Kind::Tcp) && !channel.orphaned;
        self.close(id, out)?;
        if !told {
            self.remove(id);
        }
        Ok(told.then_some(Told::Both(Event::Closed(id))))
    }

    fn handle_request(
        &mut self,
        id: ChannelId,
        mut fields: Reader<'_>,
        out: &mut Outlet,
    ) -> Result<Option<Told>, Disconnect> {
        let (name, wants_reply) = (fields.string()?, fields.boolean()?);
        let Some(channel @ Channel { opening: Opening::Done, close_received: false, .. }) = self.get(id) else {
            return Err(Disconnect::protocol("a request on a channel that is not open"));
        };
        if channel.close_sent {
            return Ok(None);
        }
        let peer = channel.peer;
        let verdict = match &mut channel.kind {
            Kind::Session(holding) => holding.handle_request(name, &mut fields)?,
            Kind::Tcp | Kind::Probe => Verdict::Refuse,
        };
        if wants_reply {
            let granted = matches!(verdict, Verdict::Grant | Verdict::GrantAndGreet { .. });
            let number = if granted { messages::CHANNEL_SUCCESS } else { messages::CHANNEL_FAILURE };
            out.send(&numbers(number, &[peer]))?;
        }
        match verdict {
            Verdict::Grant => Ok(None),
            Verdict::GrantAndGreet { on_terminal } => self.greet(id, on_terminal, out).map(|()| None),
            Verdict::Refuse => Ok(wants_reply.then(|| Told::Both(Event::Refused { what: name.to_vec() }))),
            Verdict::RefuseAndClose(what) => {
                // dropbear takes a close without a status for success.
                self.end_session(id, EXIT_REFUSED, out)?;
                Ok(Some(Told::Both(Event::Refused { what: what.into() })))
            }
        }
    }

    fn greet(&mut self, id: ChannelId, on_terminal: bool, out: &mut Outlet) -> Result<(), Disconnect> {
        let Some(greeting) = &self.greeting else { return Ok(()) };
        let line = format!("{greeting}{}", if on_terminal { "\r\n" } else { "\n" });
        let Some(channel) = self.get(id) else { return Ok(()) };
        if channel.sendable() < line.len() || channel.max_data() < line.len() {
            return Ok(());
        }
        channel.spend(line.len());
        let mut message = numbers(messages::CHANNEL_DATA, &[channel.peer]);
        put_string(&mut message, line.as_bytes());
        out.send(&message)
    }

    /// Ends a session channel as if a program had exited with `status` (RFC 4254 §6.10).
    fn end_session(&mut self, id: ChannelId, status: u32, out: &mut Outlet) -> Result<(), Disconnect> {
        let Some(channel) = self.get(id) else { return Ok(()) };
        let mut message = numbers(messages::CHANNEL_REQUEST, &[channel.peer]);
        put_string(&mut message, b"exit-status");
        put_bool(&mut message, false);
        put_u32(&mut message, status);
        out.send(&message)?;
        self.send_eof(id, out)?;
        self.close(id, out)
    }

    fn insert(&mut self, channel: Channel) -> ChannelId {
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(channel);
                ChannelId(index)
            }
            None => {
                self.slots.push(Some(channel));
                ChannelId(self.slots.len() as u32 - 1)
            }
        }
    }

    fn remove(&mut self, id: ChannelId) {
        if let Some(mut channel) = self.slots.get_mut(id.0 as usize).and_then(Option::take) {
            self.free.push(id.0);
            self.sessions -= u32::from(matches!(channel.kind, Kind::Session(_)));
            if channel.flight().is_some() {
                self.bulk.remove(id);
            }
        }
        if self.free.len() == self.slots.len() {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }
}

/// A message of nothing but a number and 32-bit fields.
fn numbers(message: u8, fields: &[u32]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + 4 * fields.len());
    payload.push(message);
    fields.iter().for_each(|field| put_u32(&mut payload, *field));
    payload
}

fn confirmation(peer: u32, id: ChannelId) -> Vec<u8> {
    numbers(messages::CHANNEL_OPEN_CONFIRMATION, &[peer, id.0, RECEIVE_WINDOW, MAX_DATA])
}

fn open_failure(peer: u32, code: OpenFailureCode, reason: &str) -> Vec<u8> {
    let mut message = numbers(messages::CHANNEL_OPEN_FAILURE, &[peer, code.number()]);
    put_string(&mut message, reason.as_bytes());
    put_string(&mut message, b"");
    message
}

fn put_originator(out: &mut Vec<u8>, originator: SocketAddr) {
    put_string(out, originator.ip().to_canonical().to_string().as_bytes());
    put_u32(out, u32::from(originator.port()));
}

/// Where a connection comes from, if a server says so in a way that means anything.
fn originator(address: &[u8], port: u32) -> Option<SocketAddr> {
    let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    Some(SocketAddr::new(address, u16::try_from(port).ok()?))
}

/// A peer's words as they may be shown: on one line, with nothing in them that a terminal would act on.
fn escaped(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(&words[..words.len().min(MOST_WORDS)]);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}
