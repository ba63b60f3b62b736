//! The task of a link: one loop over what can be ready, as a jump host's session is. Orders, the server's bytes, programs' bytes,
//! room to write, arrivals, errands, the time: no step waits for another.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use adit_core::{ConnectFailure, Printable};
use adit_net::relay::Relay;
use adit_net::{socket, stream};
use adit_ssh::{ChannelId, ClientEvent, DisconnectCode, Event, OUTPUT_LOW, OpenFailureCode};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::task::coop::unconstrained;
use tokio::time::Sleep;

use super::remote::RemoteForwards;
use super::traffic::Passenger;
use super::transport::Transport;
use super::{
    Arrival, Carrier, ConnectError, HostKeyKeeper, LaneId, LinkEnd, LinkEvent, LinkSettings, Order, Visitor, socks,
};
use crate::dial::{self, ReachError};

/// Rounds of the loop before other tasks get their turn.
const ROUNDS: u32 = 16;
/// Arrivals taken in one round; a crowd at one port must not delay what the others carry.
const ARRIVALS_PER_ROUND: usize = 16;
/// Visitors that one remote forward may have here at a time: the server decides how many come, and each costs a descriptor.
const MAX_VISITORS: usize = 1024;
/// Events that are kept for signs of life: a lost one would be the death of the link.
const PLACES_FOR_LIFE: usize = 8;
/// Local targets being connected to at a time.
const MAX_CONNECTING: usize = 128;

pub(super) struct Task {
    transport: Transport,
    relay: Relay<Passenger>,
    orders: mpsc::UnboundedReceiver<Order>,
    arrivals: mpsc::Receiver<Arrival>,
    /// What waits for the server to connect it.
    opening: HashMap<ChannelId, Arrival>,
    forwards: RemoteForwards,
    /// What takes its time beside the loop, and goes with it.
    errands: JoinSet<Errand>,
    connecting: usize,
    /// When somebody asked for a sign of life that has not come.
    probed: Option<Instant>,
    keeper: Option<HostKeyKeeper>,
    events: mpsc::Sender<LinkEvent>,
    /// Rings no later than the engine or the relay wants it.
    alarm: Pin<Box<Sleep>>,
    settings: LinkSettings,
}

/// What came of an errand.
enum Errand {
    /// Connecting a visitor of a remote forward to its target here.
    Reached { channel: ChannelId, passenger: Passenger, reached: Box<Result<TcpStream, LocalFailure>> },
    /// Nothing follows.
    Done,
}

/// A local target was not reached.
struct LocalFailure {
    lane: LaneId,
    target: adit_core::Target,
    why: ReachError,
}

/// Whether a step of the loop did anything; if none did, the task waits.
type Progress = Result<bool, LinkEnd>;

impl Task {
    pub(super) fn new(
        mut transport: Transport,
        settings: LinkSettings,
        orders: mpsc::UnboundedReceiver<Order>,
        arrivals: mpsc::Receiver<Arrival>,
        events: mpsc::Sender<LinkEvent>,
        keeper: Option<HostKeyKeeper>,
    ) -> Self {
        let rings_at = transport.connection().poll_timeout().unwrap_or_else(Instant::now);
        Self {
            transport,
            relay: Relay::default(),
            orders,
            arrivals,
            opening: HashMap::new(),
            forwards: RemoteForwards::default(),
            errands: JoinSet::new(),
            connecting: 0,
            probed: None,
            keeper,
            events,
            alarm: Box::pin(tokio::time::sleep_until(rings_at.into())),
            settings,
        }
    }

    /// Runs to the end; then what carried this link alone is ended too.
    pub(super) async fn run(mut self, carrier: Option<Carrier>) -> LinkEnd {
        // What came behind the login is in the input already.
        let end = match self.handle_events(Instant::now()) {
            // The loop yields by itself; tokio's budget would be used up by many sockets before their bytes are written.
            Ok(()) => unconstrained(poll_fn(|context| self.poll(context))).await,
            Err(end) => end,
        };
        self.finish(&end);
        match carrier {
            None => end,
            Some(Carrier { link, events: None }) => explain(end, &link, link.is_over().then_some(LinkEnd::Closed)),
            Some(Carrier { link, events: Some(mut events) }) => {
                let name = link.clone();
                link.stop();
                explain(end, &name, Some(events.ended().await))
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<LinkEnd> {
        for _ in 0..ROUNDS {
            match self.round(context) {
                Ok(true) => {}
                Ok(false) => {
                    self.relay.shrink();
                    self.transport.give_storage_back();
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
        let mut progress = self.poll_orders(context, now)?;
        progress |= self.poll_input(context, now)?;
        progress |= self.poll_errands(context)?;
        let connection = self.transport.client.connection();
        let more = self.relay.poll_turns(context, connection, now)?;
        progress |= more && connection.output().len() < OUTPUT_LOW / 2;
        progress |= self.poll_output(context)?;
        progress |= self.poll_arrivals(context, now)?;
        progress |= self.poll_alarm(context, now)?;
        Ok(progress)
    }

    // ── what is asked of the link ───────────────────────────────────────────────────────────────────────────────

    fn poll_orders(&mut self, context: &mut Context<'_>, now: Instant) -> Progress {
        let mut progress = false;
        while let Poll::Ready(order) = self.orders.poll_recv(context) {
            progress = true;
            let connection = self.transport.client.connection();
            match order {
                None | Some(Order::Stop) => return Err(LinkEnd::Stopped),
                Some(Order::Probe) => self.probe(now)?,
                Some(Order::RequestForward(wanted)) => self.forwards.request(wanted, connection)?,
                Some(Order::CancelForwards { lane, answer }) => self.forwards.cancel(lane, answer, connection)?,
                Some(Order::CloseConnection { lane, number }) => self.cut(|passenger| passenger.is(lane, number))?,
                Some(Order::EndLane(lane)) => {
                    self.forwards.cancel(lane, None, connection)?;
                    self.cut(|passenger| passenger.is_of(lane))?;
                }
            }
        }
        Ok(progress)
    }

    fn probe(&mut self, now: Instant) -> Result<(), LinkEnd> {
        let connection = self.transport.client.connection();
        if connection.probe_session(self.settings.open_time, now)?.is_none() {
            // No room for another channel; this needs none.
            connection.probe()?;
        }
        self.probed = Some(now);
        Ok(())
    }

    /// Ends connections, whatever they wait for.
    fn cut(&mut self, wanted: impl Fn(&Passenger) -> bool) -> Result<(), LinkEnd> {
        let connection = self.transport.client.connection();
        for channel in self.relay.channels_where(&wanted) {
            self.relay.cut(channel, connection)?;
        }
        let is_wanted = |arrival: &Arrival| matches!(arrival, Arrival::Visitor(visitor) if wanted(&visitor.passenger));
        let given_up: Vec<ChannelId> =
            self.opening.iter().filter(|(_, arrival)| is_wanted(arrival)).map(|(channel, _)| *channel).collect();
        for channel in given_up {
            self.opening.remove(&channel);
            connection.release(channel)?;
        }
        Ok(())
    }

    // ── connections to the far side ─────────────────────────────────────────────────────────────────────────────

    /// Takes arrivals, while the server can be told of them.
    fn poll_arrivals(&mut self, context: &mut Context<'_>, now: Instant) -> Progress {
        let mut progress = false;
        for _ in 0..ARRIVALS_PER_ROUND {
            let connection = self.transport.client.connection();
            if connection.is_holding_data() || connection.output().len() >= OUTPUT_LOW / 2 {
                break;
            }
            // That nobody is left to send any is for the orders to notice.
            let Poll::Ready(Some(arrival)) = self.arrivals.poll_recv(context) else { break };
            progress = true;
            self.open(arrival, now)?;
        }
        Ok(progress)
    }

    fn open(&mut self, arrival: Arrival, now: Instant) -> Result<(), LinkEnd> {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (target, originator) = match &arrival {
            Arrival::Visitor(visitor) if visitor.passenger.is_too_late() => {
                self.turn_away(arrival, ConnectError::LinkOver);
                return Ok(());
            }
            Arrival::Visitor(visitor) => (&visitor.target, visitor.from),
            Arrival::Pipe { answer, .. } if answer.is_closed() => return Ok(()),
            Arrival::Pipe { target, .. } => (target, nowhere),
        };
        if let Arrival::Visitor(visitor) = &arrival
            && visitor.passenger.is_beyond(self.transport.connection().room())
        {
            self.turn_away(arrival, ConnectError::Full);
            return Ok(());
        }
        let wire_target = adit_ssh::Target { host: target.host(), port: target.port().get(), originator };
        match self.transport.client.connection().open_direct(wire_target, self.settings.open_time, now)? {
            Some(channel) => drop(self.opening.insert(channel, arrival)),
            None => self.turn_away(arrival, ConnectError::Full),
        }
        Ok(())
    }

    fn handle_opened(&mut self, channel: ChannelId) -> Result<(), LinkEnd> {
        let connection = self.transport.client.connection();
        match self.opening.remove(&channel) {
            Some(Arrival::Visitor(visitor)) => {
                let Visitor { stream, waiting, passenger, .. } = *visitor;
                if waiting.is_some_and(|waiting| !waiting.tell_connected(&stream)) {
                    return Ok(connection.release(channel)?);
                }
                socket::set_nodelay(&stream);
                passenger.handle_opened();
                self.relay.insert(channel, stream, passenger);
                self.relay.handle_opened(channel);
            }
            Some(Arrival::Pipe { answer, .. }) => {
                let (ours, theirs) = stream::pipe();
                if answer.send(Ok(theirs)).is_err() {
                    return Ok(connection.release(channel)?);
                }
                self.relay.insert(channel, ours, Passenger::unlisted());
                self.relay.handle_opened(channel);
            }
            None => connection.release(channel)?,
        }
        Ok(())
    }

    /// There will be no connection for this one.
    fn turn_away(&mut self, arrival: Arrival, why: ConnectError) {
        match arrival {
            Arrival::Visitor(visitor) => {
                let Visitor { mut stream, target, waiting, lane, .. } = *visitor;
                self.tell_refusal(lane, target, why.to_string());
                match waiting {
                    Some(waiting) => {
                        waiting.tell_failed(ConnectFailure::from(&why), &stream);
                        self.errands.spawn(async move {
                            socks::listen_on(&mut stream).await;
                            Errand::Done
                        });
                    }
                    None => socket::reset(stream),
                }
            }
            // Who does not wait any more need not know.
            Arrival::Pipe { answer, .. } => drop(answer.send(Err(why))),
        }
    }

    // ── connections from the far side ───────────────────────────────────────────────────────────────────────────

    fn handle_visitor(
        &mut self,
        channel: ChannelId,
        address: &str,
        port: u16,
        originator: Option<SocketAddr>,
    ) -> Result<(), LinkEnd> {
        let connection = self.transport.client.connection();
        let Some(forward) = self.forwards.find(address, port) else {
            connection.refuse(channel, OpenFailureCode::AdministrativelyProhibited, "this forward was taken back")?;
            return Ok(());
        };
        let visitors = forward.lane.traffic.connections_now();
        // The new one has its channel already.
        if visitors >= MAX_VISITORS.min(connection.room() + 1) || self.connecting >= MAX_CONNECTING {
            connection.refuse(channel, OpenFailureCode::ResourceShortage, "too many visitors at once")?;
            return Ok(());
        }
        self.connecting += 1;
        let (lane, target, time_out) = (forward.lane.id, forward.target.clone(), self.settings.local_connect_time);
        let passenger = Passenger::enter(&forward.lane, target.clone(), originator);
        self.errands.spawn(async move {
            let reached = dial::reach(&target, time_out).await.map_err(|why| LocalFailure { lane, target, why });
            Errand::Reached { channel, passenger, reached: Box::new(reached) }
        });
        Ok(())
    }

    fn poll_errands(&mut self, context: &mut Context<'_>) -> Progress {
        let mut progress = false;
        while let Poll::Ready(Some(errand)) = self.errands.poll_join_next(context) {
            progress = true;
            match errand {
                Ok(Errand::Reached { channel, passenger, reached }) => {
                    self.connecting -= 1;
                    self.handle_reached(channel, passenger, *reached)?;
                }
                Ok(Errand::Done) => {}
                Err(error) => {
                    tracing::error!(%error, "an errand of a link failed");
                    return Err(LinkEnd::Fault);
                }
            }
        }
        Ok(progress)
    }

    fn handle_reached(
        &mut self,
        channel: ChannelId,
        passenger: Passenger,
        reached: Result<TcpStream, LocalFailure>,
    ) -> Result<(), LinkEnd> {
        let connection = self.transport.client.connection();
        match reached {
            _ if passenger.is_too_late() => {
                connection.refuse(channel, OpenFailureCode::ConnectFailed, "this forward was taken back")?;
            }
            Ok(stream) => {
                socket::set_nodelay(&stream);
                passenger.handle_opened();
                connection.accept(channel)?;
                self.relay.insert(channel, stream, passenger);
                self.relay.handle_opened(channel);
            }
            Err(LocalFailure { lane, target, why }) => {
                connection.refuse(channel, OpenFailureCode::ConnectFailed, &why.to_string())?;
                self.tell_refusal(lane, target, why.to_string());
            }
        }
        Ok(())
    }

    // ── the server ──────────────────────────────────────────────────────────────────────────────────────────────

    fn poll_input(&mut self, context: &mut Context<'_>, now: Instant) -> Progress {
        if !self.transport.poll_read(context)? {
            return Ok(false);
        }
        self.handle_events(now)?;
        let heard = self.transport.connection().last_heard();
        if self.probed.is_some_and(|asked| heard > asked) {
            self.probed = None;
            drop(self.events.try_send(LinkEvent::Heard));
        }
        Ok(true)
    }

    fn handle_events(&mut self, now: Instant) -> Result<(), LinkEnd> {
        let handled = self.take_events(now);
        // What was sent before the end still goes to whom it is for.
        let Transport { client, input, .. } = &mut self.transport;
        self.relay.flush(input, client.connection())?;
        handled
    }

    fn take_events(&mut self, now: Instant) -> Result<(), LinkEnd> {
        loop {
            let Transport { client, input, .. } = &mut self.transport;
            let Some(event) = client.receive(input, now)? else { return Ok(()) };
            match event {
                ClientEvent::Connection(event) => self.handle_event(event, now)?,
                ClientEvent::OpenFailed { channel, why } => {
                    if let Some(arrival) = self.opening.remove(&channel) {
                        self.turn_away(arrival, why.into());
                    }
                }
                ClientEvent::ForwardCancelled(outcome) => self.forwards.handle_cancelled(outcome),
                ClientEvent::HostKeysProven(keys) => {
                    if let Some(keep) = self.keeper.take() {
                        self.errands.spawn_blocking(move || {
                            keep(keys);
                            Errand::Done
                        });
                    }
                }
                // Whatever the answer to a probe is, hearing it is what counts; the login is over.
                ClientEvent::SessionProbed { .. }
                | ClientEvent::HostKey(_)
                | ClientEvent::AuthReady
                | ClientEvent::AuthFailed(_)
                | ClientEvent::Banner(_)
                | ClientEvent::SignatureWanted(_)
                | ClientEvent::Prompts(_) => {}
            }
        }
    }

    fn handle_event(&mut self, event: Event, now: Instant) -> Result<(), LinkEnd> {
        let Self { transport: Transport { client, input, .. }, relay, .. } = self;
        let connection = client.connection();
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
            Event::Opened(channel) => self.handle_opened(channel)?,
            Event::Sendable(channel) => relay.handle_sendable(channel),
            Event::Rekeyed => relay.resume(),
            Event::ForwardAnswered(answer) => self.forwards.handle_answer(answer, connection)?,
            Event::ForwardedConnection { channel, address, port, originator } => {
                self.handle_visitor(channel, &address, port, originator)?;
            }
            Event::Refused { what } => {
                tracing::debug!(what = %Printable(&what).at_most(64), "the SSH server asked for what is not done here");
            }
            // A client's driver hears of these as events of its own, or not at all.
            Event::LoggedIn
            | Event::OpenFailed { .. }
            | Event::AuthRequest(_)
            | Event::ForwardRequest { .. }
            | Event::ForwardCancel { .. } => {}
        }
        Ok(())
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> Progress {
        let wrote = self.transport.poll_write(context)?;
        let connection = self.transport.client.connection();
        if wrote && connection.output().len() < OUTPUT_LOW / 2 && !connection.is_holding_data() {
            self.relay.resume();
        }
        Ok(wrote)
    }

    /// Does what is due, and sets the alarm anew when it rang or must ring earlier. One that rings too early because a deadline
    /// moved away does no harm, and saves setting it with every packet.
    fn poll_alarm(&mut self, context: &mut Context<'_>, now: Instant) -> Progress {
        let rang = self.alarm.as_mut().poll(context).is_ready();
        if rang {
            self.transport.connection().handle_timeout(now)?;
            self.handle_events(now)?;
            self.relay.handle_timeout(self.transport.client.connection(), now)?;
        }
        let next = self.transport.connection().poll_timeout().into_iter().chain(self.relay.poll_timeout()).min();
        if let Some(next) = next
            && (rang || next < self.alarm.deadline().into_std())
        {
            self.alarm.as_mut().reset(next.into());
            return Ok(true);
        }
        Ok(rang)
    }

    // ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Tells the server, and clients that wait for an answer. Sockets go with `self`.
    fn finish(mut self, end: &LinkEnd) {
        if *end == LinkEnd::Stopped {
            self.transport.connection().disconnect(DisconnectCode::ByApplication, "closed by the user");
        }
        self.transport.flush_now();
        for (_, arrival) in self.opening.drain() {
            if let Arrival::Visitor(visitor) = arrival
                && let Visitor { stream, waiting: Some(waiting), .. } = *visitor
            {
                waiting.tell_failed(ConnectFailure::Other, &stream);
            }
        }
    }

    /// Refusals beyond what their reader takes are dropped: a server must not be able to fill the memory with them. The last places
    /// are for signs of life, which nobody asks for twice before the first is taken.
    fn tell_refusal(&self, lane: LaneId, target: adit_core::Target, why: String) {
        if self.events.capacity() > PLACES_FOR_LIFE {
            drop(self.events.try_send(LinkEvent::Refused { lane, target, why }));
        }
    }
}

/// Where only the transport ended, what carried it knows why.
fn explain(end: LinkEnd, via: &super::Link, carrier: Option<LinkEnd>) -> LinkEnd {
    match carrier {
        Some(why) if end.is_of_transport() && why != LinkEnd::Stopped => {
            LinkEnd::Carrier { via: via.peer().name.clone(), why: Box::new(why) }
        }
        _ => end,
    }
}
