//! A session that is logged in: the forwards it asked for, their listeners and visitors, and what can end it from outside.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use adit_core::{
    BandwidthRules, BindRequest, ByteRate, ForwardRequest, Port, Printable, RequestId, Visit, VisitorRules,
};
use adit_net::listen::{self, Ipv6};
use adit_net::relay::{Relay, Tally};
use adit_net::socket;
use adit_ssh::{Arrival, Connection, Disconnect, OUTPUT_LOW, ReplyId};
use tokio::net::{TcpListener, TcpStream};

use crate::audit::{Fact, Subject};
use crate::directory::Identity;
use crate::metrics::{RefusedForward, RefusedVisitor};
use crate::ports::{HeldLease, PortClient, PortOrder};
use crate::refusals::{self, Refusal};
use crate::registry::{CutReason, CutSignal, ForwardPresence, Login, Presence, VisitorPresence};
use crate::shared::Shared;

/// Visitors accepted in one round of the session's loop; the rest come with the next.
const VISITORS_PER_ROUND: usize = 16;
/// For so long after a visitor was accepted free descriptors are looked for often, and more rarely by so much afterwards: sessions are
/// many, and all of them look.
const FRUITFUL: Duration = Duration::from_secs(1);
const FRUITLESS_LOOK: u32 = 20;
/// Refusals of one session told to the log and the audit log in [`REFUSAL_PERIOD`]; the counters have them all. More would let one
/// member push out what others did.
const REFUSALS_TOLD: u32 = 20;
const REFUSAL_PERIOD: Duration = Duration::from_secs(60);

/// A logged-in session.
pub(super) struct Member {
    /// As of the directory's last change that was seen here; `followed` is which.
    identity: Arc<Identity>,
    followed: Option<u64>,
    cut: CutSignal,
    /// Requests the port table has not answered.
    asked: HashMap<RequestId, AskedForward>,
    listening: Vec<Listening>,
    ports: PortClient,
    /// When the port table asked for a sign of life that has not come.
    probed: Option<Instant>,
    without_forward_since: Option<Instant>,
    /// When to accept again after descriptors ran out.
    accept_again: Option<Instant>,
    /// The last visitor.
    accepted_at: Option<Instant>,
    /// The jump host stops: no new forwards, no new visitors.
    stopping: bool,
    /// Since when refusals are counted, and how many there were.
    refusals: (Instant, u32),
    presence: Presence,
    shared: Arc<Shared>,
}

struct AskedForward {
    reply: ReplyId,
    bind: BindRequest,
}

/// An open forward. Its fields go in this order: the port is free only once its listener is closed.
struct Listening {
    /// None once the jump host stops: who connects then is refused, while the port stays held.
    listener: Option<TcpListener>,
    port: Port,
    bind: BindRequest,
    presence: ForwardPresence,
    _lease: HeldLease,
}

/// A visitor's place in every count it is part of.
pub(super) struct Visitor {
    presence: VisitorPresence,
    visit: Option<Visit>,
    shared: Arc<Shared>,
}

impl Tally for Visitor {
    fn count_in(&self, bytes: usize) {
        self.presence.count_in(bytes);
    }

    fn count_out(&self, bytes: usize) {
        self.presence.count_out(bytes);
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if let Some(visit) = self.visit.take() {
            self.shared.visitors.lock().unwrap_or_else(PoisonError::into_inner).handle_left(visit);
        }
    }
}

impl Member {
    /// Takes the place of somebody who has just proved who they are.
    pub(super) fn enter(
        identity: Arc<Identity>,
        client: SocketAddr,
        connection: &mut Connection,
        shared: Arc<Shared>,
        now: Instant,
    ) -> Self {
        let client_version = String::from_utf8_lossy(connection.peer_version()).into_owned();
        connection.set_greeting(&format!("Tunnel-only access for {}.", identity.account));
        tracing::info!(
            account = %identity.account, %client, key = %identity.fingerprint,
            version = %Printable(client_version.as_bytes()).at_most(100), "session logged in"
        );
        let fact = Fact::LoggedIn { key: identity.fingerprint, client_version: client_version.clone() };
        let login = Login { identity: identity.clone(), client, client_version, since: SystemTime::now() };
        let (presence, cut) = shared.enter(login);
        shared.audit.record(Subject::session(&presence), &fact);
        Self {
            identity,
            followed: None,
            cut,
            asked: HashMap::new(),
            listening: Vec::new(),
            ports: shared.ports.enter(presence.id()),
            probed: None,
            without_forward_since: Some(now),
            accept_again: None,
            accepted_at: None,
            stopping: false,
            refusals: (now, 0),
            presence,
            shared,
        }
    }

    /// Ready when the session must end, with the reason.
    pub(super) fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<CutReason> {
        std::pin::Pin::new(&mut self.cut).poll(context)
    }

    /// Lets limits that were changed act on this session: on its traffic at once, on what it asks for and on visitors from now on.
    pub(super) fn follow_directory(&mut self, relay: &mut Relay<Visitor>, now: Instant) {
        let changes = self.shared.directory.changes();
        if self.followed == Some(changes) {
            return;
        }
        let first = self.followed.replace(changes).is_none();
        // Whose key is gone is being cut.
        let Some(current) = self.shared.directory.current(&self.identity) else { return };
        let before = std::mem::replace(&mut self.identity, current);
        if first || before.limits != self.identity.limits {
            relay.set_limits(self.shared.bandwidth.share(self.identity.account_id, self.bandwidth(), now));
        }
    }

    fn bandwidth(&self) -> BandwidthRules {
        let (tier, default) = (&self.identity.limits, self.shared.config.bandwidth);
        BandwidthRules {
            to_owner: tier.bytes_per_second_to_owner.map_or(default.to_owner, ByteRate::new),
            to_visitors: tier.bytes_per_second_to_visitors.map_or(default.to_visitors, ByteRate::new),
        }
    }

    // ── forwards ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn handle_forward_request(
        &mut self,
        reply: ReplyId,
        address: &[u8],
        port: u32,
        connection: &mut Connection,
    ) -> Result<(), Disconnect> {
        let bind = match BindRequest::parse(address, port, self.shared.ports.mesh()) {
            Ok(bind) => bind,
            Err(refused) => {
                self.note_refused(port, RefusedForward::from(&refused), || format!("Port {port}: {refused}."));
                return connection.answer_forward(reply, Err(&format!("port {port}: {refused}")));
            }
        };
        let identity = &self.identity;
        let request = self.ports.request(|session, request| ForwardRequest {
            request,
            session,
            account: identity.account_id,
            port: bind.port(),
            allowed: identity.allowed,
            limit: identity.limits.forwards_per_account,
        });
        self.asked.insert(request, AskedForward { reply, bind });
        Ok(())
    }

    /// The port names the forward: one port has one owner, and clients spell the address in more ways than one.
    pub(super) fn handle_forward_cancel(
        &mut self,
        reply: ReplyId,
        port: u32,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), Disconnect> {
        let Some(index) = self.listening.iter().position(|forward| u32::from(forward.port.get()) == port) else {
            return self.cancel_asked(reply, port, connection);
        };
        let closed = self.listening.swap_remove(index);
        self.note_closed(&closed);
        drop(closed);
        if self.listening.is_empty() {
            self.without_forward_since = Some(now);
        }
        connection.answer_forward(reply, Ok(None))
    }

    /// A forward that still waits for its port is taken back: its request is refused, and a port that comes later is let go.
    fn cancel_asked(&mut self, reply: ReplyId, port: u32, connection: &mut Connection) -> Result<(), Disconnect> {
        let names_it = |asked: &AskedForward| asked.bind.port().is_some_and(|asked| u32::from(asked.get()) == port);
        let request = self.asked.iter().find(|(_, asked)| names_it(asked)).map(|(request, _)| *request);
        match request.and_then(|request| self.asked.remove(&request)) {
            Some(asked) => {
                connection.answer_forward(asked.reply, Err(&format!("port {port}: taken back")))?;
                connection.answer_forward(reply, Ok(None))
            }
            None => connection.answer_forward(reply, Err(&format!("port {port}: this session has no such forward"))),
        }
    }

    /// The jump host stops: visitors that are here may finish, nobody else comes.
    pub(super) fn handle_stop(&mut self) {
        self.stopping = true;
        self.listening.iter_mut().for_each(|forward| forward.listener = None);
    }

    /// Carries out what the port table wants.
    pub(super) fn poll_orders(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<bool, Disconnect> {
        let mut progress = false;
        while let Poll::Ready(Some(order)) = self.ports.orders.poll_recv(context) {
            progress = true;
            match order {
                PortOrder::Listen { request, lease } => self.listen(request, lease, connection)?,
                PortOrder::Refuse { request, reason } => {
                    let Some(asked) = self.asked.remove(&request) else { continue };
                    let port = asked.bind.port().map_or(0, Port::get);
                    let advice = || refusals::advice(port, reason, now);
                    self.note_refused(u32::from(port), RefusedForward::from(reason), advice);
                    connection.answer_forward(asked.reply, Err(&format!("port {port}: {reason}")))?;
                }
                PortOrder::Probe => {
                    self.probed = Some(now);
                    connection.probe()?;
                }
                PortOrder::Evict { port } => {
                    self.shared.metrics.takeover();
                    self.record(&Fact::PortTakenOver { port, from: self.presence.id() });
                    self.shared.registry.cut_session(self.presence.id(), CutReason::PortTakenOver);
                }
            }
        }
        Ok(progress)
    }

    fn listen(&mut self, request: RequestId, lease: HeldLease, connection: &mut Connection) -> Result<(), Disconnect> {
        let Some(port) = lease.get().map(|lease| lease.port()) else { return Ok(()) };
        let Some(asked) = self.asked.remove(&request) else { return Ok(()) };
        if self.stopping {
            return connection.answer_forward(asked.reply, Err(&format!("port {port}: the jump host is stopping")));
        }
        let address = SocketAddr::new(self.shared.config.forward_address, port.get());
        match listen::bind(address, Ipv6::Only) {
            Ok(listener) => {
                let spelled = String::from_utf8_lossy(asked.bind.address()).into_owned();
                let presence = self.presence.open_forward(port, asked.bind.address(), address.ip());
                let allocated = asked.bind.port().is_none().then_some(port.get());
                self.ports.listening(request);
                self.listening.push(Listening {
                    listener: Some(listener),
                    port,
                    bind: asked.bind,
                    presence,
                    _lease: lease,
                });
                self.without_forward_since = None;
                tracing::info!(account = %self.identity.account, session = %self.presence.id(), %port, "remote forward opened");
                self.record(&Fact::ForwardOpened { port, asked: spelled });
                connection.answer_forward(asked.reply, Ok(allocated))
            }
            // Another port would fare no better, and nobody else holds this one.
            Err(error) if listen::is_exhausted(&error) => {
                tracing::warn!(%address, %error, "cannot listen for a remote forward");
                self.note_refused(u32::from(port.get()), RefusedForward::Exhausted, || {
                    "The jump host has no room for another socket. Try again later.".to_owned()
                });
                let reason = format!("port {port}: the jump host has no room for another socket; try again later");
                connection.answer_forward(asked.reply, Err(&reason))
            }
            Err(error) => {
                tracing::warn!(%address, %error, "cannot listen for a remote forward");
                self.asked.insert(request, asked);
                self.ports.listen_failed(lease);
                Ok(())
            }
        }
    }

    // ── visitors ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Accepts visitors, while the client can be told of them.
    pub(super) fn poll_visitors(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        relay: &mut Relay<Visitor>,
        now: Instant,
    ) -> Result<bool, Disconnect> {
        let mut progress = false;
        if self.accept_again.is_some() || connection.is_holding_data() || connection.output().len() >= OUTPUT_LOW / 2 {
            return Ok(false);
        }
        // Every listener is asked in every round: one that is not would not wake us.
        let share = (VISITORS_PER_ROUND / self.listening.len().max(1)).max(1);
        for forward in &self.listening {
            let Some(listener) = &forward.listener else { continue };
            for _ in 0..share {
                match listener.poll_accept(context) {
                    Poll::Pending => break,
                    Poll::Ready(Ok((stream, from))) => {
                        progress = true;
                        self.accepted_at = Some(now);
                        admit(stream, from, forward, &self.shared, &self.identity, connection, relay, now)?;
                    }
                    Poll::Ready(Err(error)) if listen::is_exhausted(&error) => {
                        let pause = self.shared.exhausted("visitors", &error);
                        let is_fruitful = self.accepted_at.is_some_and(|at| now < at + FRUITFUL);
                        self.accept_again = Some(now + if is_fruitful { pause } else { FRUITLESS_LOOK * pause });
                        return Ok(progress);
                    }
                    // About the one visitor only, which is gone.
                    Poll::Ready(Err(_)) => progress = true,
                }
            }
        }
        Ok(progress)
    }

    // ── time and signs of life ──────────────────────────────────────────────────────────────────────────────────

    /// The client was last heard at this time.
    pub(super) fn handle_heard(&mut self, at: Instant) {
        if self.probed.is_some_and(|probed| at > probed) {
            self.probed = None;
            self.ports.heard();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.accept_again.into_iter().chain(self.must_have_forward_by()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|at| now >= at) {
            self.accept_again = None;
        }
        if self.must_have_forward_by().is_some_and(|at| now >= at) {
            // Visitors of a forward that was cancelled may finish (RFC 4254 §7.1).
            if self.presence.traffic().visitors_now() > 0 {
                self.without_forward_since = Some(now);
                return;
            }
            self.without_forward_since = None;
            self.shared.registry.cut_session(self.presence.id(), CutReason::NoForward);
        }
    }

    fn must_have_forward_by(&self) -> Option<Instant> {
        Some(self.without_forward_since? + self.shared.config.idle_without_forward?)
    }

    // ── what is told ────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn handle_refused(&mut self, what: &[u8]) {
        let request = String::from_utf8_lossy(&what[..what.len().min(64)]).into_owned();
        if what == b"streamlocal-forward@openssh.com" {
            self.note_refused(0, RefusedForward::Kind, || {
                "This jump host forwards ports, not Unix sockets. Ask for a port, as in -R 10080:localhost:80."
                    .to_owned()
            });
        }
        if self.may_tell_refusal() {
            self.record(&Fact::RequestRefused { request });
        }
    }

    fn may_tell_refusal(&mut self) -> bool {
        let now = Instant::now();
        let (since, count) = &mut self.refusals;
        if now.saturating_duration_since(*since) >= REFUSAL_PERIOD {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        if *count == REFUSALS_TOLD + 1 {
            tracing::warn!(account = %self.identity.account, session = %self.presence.id(), "further refusals are not told for now");
        }
        *count <= REFUSALS_TOLD
    }

    fn note_refused(&mut self, port: u32, reason: RefusedForward, advice: impl FnOnce() -> String) {
        self.shared.metrics.forward_refused(reason);
        if !self.may_tell_refusal() {
            return;
        }
        tracing::info!(account = %self.identity.account, session = %self.presence.id(), port, reason = reason.name(), "remote forward refused");
        self.record(&Fact::ForwardRefused { port, reason });
        let refusal = Refusal {
            at: SystemTime::now(),
            port,
            reason,
            message: advice(),
            session: self.presence.id(),
            fingerprint: self.identity.fingerprint,
            label: self.identity.label.clone(),
        };
        self.shared.refusals.note(self.identity.account_id, refusal);
        self.shared.registry.changes().note_live(self.identity.account_id);
    }

    fn note_closed(&self, forward: &Listening) {
        let traffic = forward.presence.traffic();
        self.record(&Fact::ForwardClosed {
            port: forward.port,
            visitors: traffic.visitors_total(),
            bytes_in: traffic.bytes_in(),
            bytes_out: traffic.bytes_out(),
        });
    }

    fn record(&self, fact: &Fact) {
        self.shared.audit.record(Subject::session(&self.presence), fact);
    }

    /// Says goodbye in the log; everything held goes with `self`.
    pub(super) fn leave(mut self, reason: String) {
        for forward in std::mem::take(&mut self.listening) {
            self.note_closed(&forward);
        }
        let traffic = self.presence.traffic();
        tracing::info!(
            account = %self.identity.account, session = %self.presence.id(), %reason,
            bytes_in = traffic.bytes_in(), bytes_out = traffic.bytes_out(), "session ended"
        );
        self.record(&Fact::SessionEnded { reason, bytes_in: traffic.bytes_in(), bytes_out: traffic.bytes_out() });
    }
}

/// Lets a visitor in, or turns it away with a reset.
#[expect(clippy::too_many_arguments, reason = "one place of call; the parts are borrowed separately from the member")]
fn admit(
    stream: TcpStream,
    from: SocketAddr,
    forward: &Listening,
    shared: &Arc<Shared>,
    identity: &Identity,
    connection: &mut Connection,
    relay: &mut Relay<Visitor>,
    now: Instant,
) -> Result<(), Disconnect> {
    let (tier, default) = (&identity.limits, &shared.config.visitors);
    let rules = VisitorRules {
        per_port: tier.visitors_per_port.unwrap_or(default.per_port),
        per_account: tier.visitors_per_account.unwrap_or(default.per_account),
    };
    let admitted = if shared.config.allow_networks.permits(from.ip()) {
        let mut visitors = shared.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        visitors.handle_visitor(forward.port, identity.account_id, rules).map_err(RefusedVisitor::from)
    } else {
        Err(RefusedVisitor::Network)
    };
    let visit = match admitted {
        Ok(visit) => visit,
        Err(reason) => {
            shared.metrics.visitor_refused(reason);
            socket::reset(stream);
            return Ok(());
        }
    };
    let visitor = Visitor { presence: forward.presence.admit(), visit: Some(visit), shared: shared.clone() };
    let arrival = Arrival { address: forward.bind.address(), port: forward.port.get(), originator: from };
    match connection.open_forwarded(arrival, now)? {
        Some(channel) => {
            socket::set_nodelay(&stream);
            socket::set_keepalive(&stream);
            relay.insert(channel, stream, visitor);
        }
        None => socket::reset(stream),
    }
    Ok(())
}
