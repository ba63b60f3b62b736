//! One SSH session, in one task that owns its socket, its channels' sockets and its listeners: from the first byte to the
//! last, nothing of it is touched by another task, and all of it is gone when the task ends.
//!
//! The task is one loop over what can be ready: orders from the port table, visitors, the client's bytes, visitors' bytes,
//! room to write, the time. No step waits for another, so a client that stops reading or a visitor that stops reading
//! holds up itself. What a session may do once it is logged in is [`member`]'s.

mod member;

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use adit_core::{Outcome, Printable};
use adit_net::relay::Relay;
use adit_net::socket::ShortRead;
use adit_net::{socket, storage};
use adit_ssh::crypto::Fingerprint;
use adit_ssh::{
    AuthOutcome, AuthRequest, Buffer, Connection, Disconnect, DisconnectCode, EndedBy, Event, OUTPUT_LOW, OpenFailure,
};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use self::member::{Member, Visitor};
use crate::audit::{Fact, Subject};
use crate::gate::AtTheGate;
use crate::metrics::RefusedVisitor;
use crate::registry::CutReason;
use crate::shared::Shared;

/// The only login name: the key says who somebody is.
const LOGIN_NAME: &[u8] = b"tunnel";
/// Rounds of the loop before other tasks get their turn.
const ROUNDS: u32 = 16;

/// Serves one connection to its end. When `stop` comes, whoever has not logged in is not waited for, and members' ports take
/// no more visitors; members are cut through the registry.
pub(crate) async fn run(
    stream: TcpStream,
    client: SocketAddr,
    gate: AtTheGate,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let mut session = Session::new(stream, client, gate, shared);
    let mut stopping = pin!(stop.cancelled());
    let mut stopped = false;
    let served = poll_fn(|context| {
        if !stopped && stopping.as_mut().poll(context).is_ready() {
            stopped = true;
            if let Poll::Ready(end) = session.handle_stop() {
                return Poll::Ready(end);
            }
        }
        session.poll(context)
    });
    // The loop yields by itself; tokio's budget would be used up by many visitors before their bytes are written.
    let end = unconstrained(served).await;
    session.finish(end);
}

struct Session {
    stream: TcpStream,
    client: SocketAddr,
    connection: Connection,
    input: Buffer,
    relay: Relay<Visitor>,
    stage: Stage,
    /// Rings no later than the engine or the member want it.
    alarm: Pin<Box<Sleep>>,
    shared: Arc<Shared>,
}

/// Whether somebody has logged in, with what is true then.
enum Stage {
    Stranger { gate: AtTheGate, last_tried: Option<(Vec<u8>, Fingerprint)> },
    Member(Box<Member>),
}

/// Why a session is over.
enum End {
    /// The protocol came to its end.
    Disconnected(Disconnect),
    /// The transport did: closed by the client, or broken.
    Transport(Option<io::Error>),
    /// The server cuts it.
    Cut(CutReason),
    /// It had not logged in, and its place was needed.
    PushedOut,
}

impl From<Disconnect> for End {
    fn from(disconnect: Disconnect) -> Self {
        Self::Disconnected(disconnect)
    }
}

/// Whether a step of the loop did anything; if none did, the task waits.
type Progress = Result<bool, End>;

impl Session {
    fn new(stream: TcpStream, client: SocketAddr, gate: AtTheGate, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let mut connection = Connection::server(&shared.ssh, now);
        let rings_at = connection.poll_timeout().unwrap_or(now);
        Self {
            stream,
            client,
            connection,
            input: Buffer::new(),
            relay: Relay::default(),
            stage: Stage::Stranger { gate, last_tried: None },
            alarm: Box::pin(tokio::time::sleep_until(rings_at.into())),
            shared,
        }
    }

    fn handle_stop(&mut self) -> Poll<End> {
        match &mut self.stage {
            Stage::Stranger { .. } => Poll::Ready(End::Cut(CutReason::ShuttingDown)),
            Stage::Member(member) => {
                member.handle_stop();
                Poll::Pending
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS {
            match self.round(context) {
                Ok(true) => {}
                Ok(false) => {
                    self.give_storage_back();
                    return Poll::Pending;
                }
                Err(end) => return Poll::Ready(end),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, context: &mut Context<'_>) -> Progress {
        let now = Instant::now();
        let mut progress = false;
        if let Stage::Member(member) = &mut self.stage {
            if let Poll::Ready(reason) = member.poll_cut(context) {
                return Err(End::Cut(reason));
            }
            member.follow_directory(&mut self.relay, now);
            progress |= member.poll_orders(context, &mut self.connection, now)?;
        }
        if let Stage::Stranger { gate, .. } = &mut self.stage
            && gate.poll_pushed_out(context).is_ready()
        {
            return Err(End::PushedOut);
        }
        progress |= self.poll_input(context, now)?;
        let more = self.relay.poll_turns(context, &mut self.connection, now)?;
        progress |= more && self.connection.output().len() < OUTPUT_LOW / 2;
        progress |= self.poll_output(context)?;
        // Last, and few at a time: a crowd at one port must not delay what the others carry.
        if let Stage::Member(member) = &mut self.stage {
            progress |= member.poll_visitors(context, &mut self.connection, &mut self.relay, now)?;
        }
        progress |= self.poll_alarm(context, now)?;
        Ok(progress)
    }

    /// Reads once, as much as there is, and handles what that completes.
    fn poll_input(&mut self, context: &mut Context<'_>, now: Instant) -> Progress {
        if self.stream.poll_read_ready(context).is_pending() {
            return Ok(false);
        }
        if self.input.capacity() < storage::INPUT_SIZE {
            storage::give_back(self.input.lend(storage::lend_input()));
        }
        let missing = self.connection.wanted().saturating_sub(self.input.len()).max(1);
        let mut slot = [IoSliceMut::new(self.input.spare(missing))];
        match socket::poll_read(&self.stream, context, &mut slot, ShortRead::IsEmpty) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err(End::Transport(None)),
            Poll::Ready(Ok(count)) => self.input.filled(count),
            Poll::Ready(Err(error)) => return Err(End::Transport(Some(error))),
        }
        let handled = self.handle_events(now);
        // What visitors were sent before the end still goes to them.
        self.relay.flush(&self.input, &mut self.connection)?;
        handled?;
        match &mut self.stage {
            Stage::Member(member) => member.handle_heard(self.connection.last_heard()),
            // OpenSSH's client leaves Nagle's algorithm on while it logs in. What has no answer, as its end of the key exchange, goes before
            // something that waits for an acknowledgement: `ssh -R` has its port after 10 ms, and after 54 to 102 without this.
            Stage::Stranger { .. } if self.connection.output().is_empty() => socket::acknowledge_now(&self.stream),
            Stage::Stranger { .. } => {}
        }
        Ok(true)
    }

    fn handle_events(&mut self, now: Instant) -> Result<(), End> {
        while let Some(event) = self.connection.receive(&mut self.input, now)? {
            self.handle_event(event, now)?;
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event, now: Instant) -> Result<(), End> {
        let Self { connection, relay, input, .. } = self;
        match event {
            Event::Data { channel, payload } => relay.handle_data(channel, payload),
            Event::Eof(channel) => {
                relay.flush(input, connection)?;
                relay.handle_eof(channel, connection)?;
            }
            Event::Closed(channel) => {
                relay.flush(input, connection)?;
                relay.handle_closed(channel, connection, now)?;
            }
            Event::Opened(channel) => relay.handle_opened(channel),
            Event::OpenFailed { channel, why } => {
                relay.handle_open_failed(channel);
                let reason = match why {
                    OpenFailure::Refused(words) => {
                        tracing::debug!(%channel, words = %Printable::from(&*words).at_most(200), "the client refused a visitor");
                        RefusedVisitor::Service
                    }
                    OpenFailure::Unanswered => RefusedVisitor::Unanswered,
                };
                self.shared.metrics.visitor_refused(reason);
            }
            Event::Sendable(channel) => relay.handle_sendable(channel),
            Event::Rekeyed => relay.resume(),
            Event::AuthRequest(request) => self.handle_auth(&request, now)?,
            Event::ForwardRequest { reply, address, port } => {
                if let Stage::Member(member) = &mut self.stage {
                    member.handle_forward_request(reply, &address, port, connection)?;
                }
            }
            Event::ForwardCancel { reply, address: _, port } => {
                if let Stage::Member(member) = &mut self.stage {
                    member.handle_forward_cancel(reply, port, connection, now)?;
                }
            }
            Event::Refused { what } => {
                if let Stage::Member(member) = &mut self.stage {
                    member.handle_refused(&what);
                }
            }
            // A server's engine has no such events.
            Event::LoggedIn | Event::ForwardAnswered(_) | Event::ForwardedConnection { .. } => {}
        }
        Ok(())
    }

    /// The same answer and the same work for an unknown name and an unknown key.
    fn handle_auth(&mut self, request: &AuthRequest, now: Instant) -> Result<(), End> {
        let Stage::Stranger { gate, last_tried } = &mut self.stage else { return Ok(()) };
        let known = self.shared.directory.find(request.key.blob());
        let identity = known.filter(|_| request.user == LOGIN_NAME);
        match self.connection.answer_auth(identity.is_some())? {
            AuthOutcome::MaySign => {}
            AuthOutcome::Refused => {
                gate.outcome = Outcome::FailedLogin;
                *last_tried = Some((request.user.clone(), request.key.fingerprint()));
            }
            AuthOutcome::LoggedIn => {
                let Some(identity) = identity else { return Ok(()) };
                gate.outcome = Outcome::LoggedIn;
                let member = Member::enter(identity, self.client, &mut self.connection, self.shared.clone(), now);
                self.stage = Stage::Member(Box::new(member));
            }
        }
        Ok(())
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> Progress {
        if self.connection.output().is_empty() {
            return Ok(false);
        }
        match socket::poll_write(&self.stream, context, &[IoSlice::new(self.connection.output())]) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(count)) => {
                self.connection.sent(count);
                if self.connection.output().len() < OUTPUT_LOW / 2 && !self.connection.is_holding_data() {
                    self.relay.resume();
                }
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(End::Transport(Some(error))),
        }
    }

    /// Does what is due, and sets the alarm anew when it rang or must ring earlier. An alarm that rings too early because a
    /// deadline moved away does no harm, and saves setting it with every packet.
    fn poll_alarm(&mut self, context: &mut Context<'_>, now: Instant) -> Progress {
        let rang = self.alarm.as_mut().poll(context).is_ready();
        if rang {
            self.connection.handle_timeout(now)?;
            self.handle_events(now)?;
            self.relay.handle_timeout(&mut self.connection, now)?;
            if let Stage::Member(member) = &mut self.stage {
                member.handle_timeout(now);
            }
        }
        let engine = self.connection.poll_timeout();
        let member = match &self.stage {
            Stage::Member(member) => member.poll_timeout(),
            Stage::Stranger { .. } => None,
        };
        let next = engine.into_iter().chain(member).chain(self.relay.poll_timeout()).min();
        if let Some(next) = next
            && (rang || next < self.alarm.deadline().into_std())
        {
            self.alarm.as_mut().reset(next.into());
            return Ok(true);
        }
        Ok(rang)
    }

    /// An idle session holds no large buffers.
    fn give_storage_back(&mut self) {
        self.relay.shrink();
        if let Some(storage) = self.input.reclaim() {
            storage::give_back(storage);
        }
        if self.connection.output().is_empty()
            && let Some(storage) = self.connection.output_buffer().reclaim()
        {
            storage::give_back(storage);
        }
    }

    /// Tells the client, as far as that goes without waiting, and the log. Sockets, listeners and leases go with `self`.
    fn finish(mut self, end: End) {
        if let End::Cut(reason) = &end {
            self.connection.disconnect(DisconnectCode::ByApplication, &reason.to_string());
        }
        let mut nobody = Context::from_waker(Waker::noop());
        let output = [IoSlice::new(self.connection.output())];
        // A client that does not take it now sees the transport end.
        let _ = socket::poll_write(&self.stream, &mut nobody, &output);
        let told = end.to_string();
        match self.stage {
            Stage::Member(member) => (*member).leave(told),
            Stage::Stranger { mut gate, last_tried } => {
                if let End::Disconnected(disconnect) = &end
                    && gate.outcome == Outcome::GaveUp
                {
                    gate.outcome = match disconnect.by {
                        EndedBy::Us => Outcome::Violation,
                        EndedBy::Timeout => Outcome::GraceExceeded,
                        EndedBy::Peer => Outcome::GaveUp,
                    };
                }
                if let Some((user, key)) = last_tried {
                    let user = String::from_utf8_lossy(&user).into_owned();
                    self.shared.audit.record(Subject::source(self.client), &Fact::LoginFailed { user, key: Some(key) });
                }
                tracing::debug!(client = %self.client, reason = %told, outcome = ?gate.outcome, "nobody logged in");
            }
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disconnected(disconnect) => match disconnect.by {
                EndedBy::Peer => {
                    write!(f, "the client left: {}", Printable(disconnect.message.as_bytes()).at_most(200))
                }
                EndedBy::Us | EndedBy::Timeout => write!(f, "{disconnect}"),
            },
            Self::Transport(None) => f.write_str("the client closed the connection"),
            Self::Transport(Some(error)) => write!(f, "the connection broke: {error}"),
            Self::Cut(reason) => write!(f, "cut: {reason}"),
            Self::PushedOut => f.write_str("its place was needed for another"),
        }
    }
}
