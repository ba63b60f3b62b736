//! A circuit that ends here: who asks is looked at before anything else happens, then the target is dialled.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::Target;
use adit_core::mesh::{AgentId, Answer, CircuitRefused, Member, Open, Protocol, Purpose, Request, ResumeId, Shown};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::sync::mpsc;

use super::refuse;
use crate::config::EndpointPlace;
use crate::counters::{Active, KeyCounters};
use crate::enrolment::unix_time;
use crate::flow::{self, Local};
use crate::hub::{CircuitPlace, Hub, NextCircuit};
use crate::lane::Lane;
use crate::noise::{Kind, Responder, Session};
use crate::pump::{Carried, Circuit, Ending, RESUME_TIME};
use crate::stream::{Receiver, Sender};

/// A target that says nothing for so long is taken for one that is not there: another endpoint may have one, and all tries of a
/// connection together have 5 s.
const DIAL_TIME: Duration = Duration::from_secs(2);

/// Serves a circuit until it ends.
pub(crate) async fn serve(hub: &Arc<Hub>, open: Open, (mut send, recv): (Sender, Receiver), lane: Option<Lane>) {
    let (listener, purpose, session, answer) = match admit(hub, &open) {
        Ok(admitted) => admitted,
        Err(why) => {
            if why == CircuitRefused::BadHandshake {
                hub.counters.tampered.add(1);
            }
            return refuse(hub, &open, send, why).await;
        }
    };
    let Some(place) = hub.take_place(listener.id(), Some(listener.invitation())) else { return };
    // Since it was looked at, it may have been revoked; whoever is from now on loses this place.
    if hub.state().node.membership().revocations().contain(listener.invitation()) {
        return;
    }
    if send.write_all(&Answer::Accepted(answer).encode()).await.is_err() {
        return;
    }
    let circuit = Circuit { send, recv, session, lane };
    match purpose {
        Purpose::Connect if open.protocol == Protocol::Udp => datagrams(hub, &open, &listener, circuit, place).await,
        Purpose::Connect => connect(hub, &open, &listener, circuit, place, None).await,
        Purpose::Begin(connection) => connect(hub, &open, &listener, circuit, place, Some(connection)).await,
        Purpose::Resume { connection, taken } => go_on(hub, (listener.id(), connection), circuit, taken).await,
        Purpose::Probe => probe(hub, &open, circuit).await,
    }
}

/// Hands a circuit to the connection that it is for.
async fn go_on(hub: &Hub, connection: (AgentId, ResumeId), mut circuit: Circuit, taken: u64) {
    let waiting = hub.state().resumable.get(&connection).cloned();
    // One that waits already is as good.
    if let Some(waiting) = waiting {
        return drop(waiting.try_send((circuit, taken)));
    }
    if circuit.say(Kind::Failed, b"there is no such connection here any more").await.is_ok() {
        let _ = circuit.send.finish().await;
    }
}

/// Who asks, what for, and the session with them.
fn admit(hub: &Hub, open: &Open) -> Result<(Member, Purpose, Session, Vec<u8>), CircuitRefused> {
    if hub.state().catalogue.endpoints(&open.key, open.protocol).is_empty() {
        return Err(CircuitRefused::UnknownKey);
    }
    let mesh = hub.state().node.membership().root().mesh();
    let responder = Responder::read(&hub.keys.session, &open.prologue(mesh), &open.handshake)
        .map_err(|_| CircuitRefused::BadHandshake)?;
    let request = Request::decode(&responder.request).map_err(|_| CircuitRefused::BadHandshake)?;
    let mark = open.handshake.first_chunk().ok_or(CircuitRefused::BadHandshake)?;
    let listener = {
        let state = hub.state();
        let judged =
            state.node.membership().look_at(state.node.keys(), &request.certificate, Shown::ByAMember, unix_time());
        judged.map_err(|_| CircuitRefused::NoRight)?
    };
    let is_who_it_says = listener.id() == open.origin && *listener.session_key() == responder.listener;
    if !is_who_it_says {
        return Err(CircuitRefused::BadHandshake);
    }
    if open.protocol == Protocol::Udp && !matches!(request.purpose, Purpose::Connect | Purpose::Probe) {
        return Err(CircuitRefused::BadHandshake);
    }
    if !listener.rights().may_listen(&open.key) || !hub.me.rights().may_publish(&open.key) {
        return Err(CircuitRefused::NoRight);
    }
    // Last, so that nobody who may not ask can fill the memory that this takes.
    if !hub.is_new(listener.id(), *mark, request.made_at) {
        return Err(CircuitRefused::Replayed);
    }
    let (session, answer) = responder.finish(Instant::now()).map_err(|_| CircuitRefused::BadHandshake)?;
    Ok((listener, request.purpose, session, answer))
}

async fn connect(
    hub: &Arc<Hub>,
    open: &Open,
    listener: &Member,
    mut circuit: Circuit,
    place: CircuitPlace,
    resume: Option<ResumeId>,
) {
    let counters = hub.counters.of(&open.key);
    let socket = match dial(hub, open, connect_to).await {
        Ok((socket, _)) => socket,
        Err(why) => return fail(&counters, open, listener, circuit, &why).await,
    };
    let mut kept = resume.filter(|_| hub.keeps_connections).map(|id| Kept::new(hub, (listener.id(), id)));
    let mut carried = Carried::new(socket, Arc::clone(&counters), hub.stalls.add(&place.cut), kept.is_some());
    if say_opened(&mut circuit, carried.taken()).await.is_err() {
        return;
    }
    counters.opened.add(1);
    let counted = Active::new(&counters.active);
    let ending = tokio::select! {
        ending = carry(&mut carried, &mut circuit, kept.as_mut()) => ending,
        () = place.cut.cancelled() => Ending::Cut,
    };
    carried.end(&ending, &mut circuit).await;
    drop((counted, kept));
    tracing::debug!(key = %open.key, from = %listener.name(), %ending, "connection ended");
    match ending {
        Ending::Tampered => hub.counters.tampered.add(1),
        Ending::Complete => drop(place.cut.run_until_cancelled(circuit.arrived()).await),
        _ => {}
    }
}

/// Tells the listener's agent that no target took its connection.
async fn fail(counters: &KeyCounters, open: &Open, listener: &Member, mut circuit: Circuit, why: &str) {
    counters.fail(why);
    tracing::info!(key = %open.key, from = %listener.name(), %why, "the target takes no connection");
    if circuit.say(Kind::Failed, why.as_bytes()).await.is_ok() {
        let _ = circuit.send.finish().await;
    }
}

/// Carries datagrams between a circuit and a target.
async fn datagrams(hub: &Arc<Hub>, open: &Open, listener: &Member, mut circuit: Circuit, place: CircuitPlace) {
    let counters = hub.counters.of(&open.key);
    let (socket, target) = match dial(hub, open, socket_towards).await {
        Ok(found) => found,
        Err(why) => return fail(&counters, open, listener, circuit, &why).await,
    };
    let removed = hub.state().catalogue.removed(target);
    let Some(removed) = removed else {
        return fail(&counters, open, listener, circuit, "it is configured no more").await;
    };
    if say_opened(&mut circuit, None).await.is_err() {
        return;
    }
    counters.opened.add(1);
    let _counted = Active::new(&counters.active);
    tokio::select! {
        () = flow::carry(circuit, &socket, (&counters, &hub.counters), None) => {}
        () = place.cut.cancelled() => {}
        // Datagrams have no end of their own; they find another endpoint at once.
        () = removed.cancelled() => {}
        () = hub.leaving.cancelled() => {}
    }
}

impl Local for UdpSocket {
    /// A target that is not there says so through ICMP; as on any network it may be there for the next datagram.
    async fn ready(&self) -> io::Result<()> {
        self.readable().await
    }

    fn take(&self, buffer: &mut [u8]) -> Option<usize> {
        self.try_recv(buffer).ok()
    }

    async fn put(&self, datagram: &[u8]) {
        // The first attempt may be told of one before, that its target was not there; then this one was not sent.
        if self.send(datagram).await.is_err() {
            let _ = self.send(datagram).await;
        }
    }
}

/// A connection that can go on, known to the hub for as long as this lives.
struct Kept<'a> {
    hub: &'a Hub,
    name: (AgentId, ResumeId),
    circuits: mpsc::Receiver<NextCircuit>,
}

impl<'a> Kept<'a> {
    fn new(hub: &'a Hub, name: (AgentId, ResumeId)) -> Kept<'a> {
        let (sender, circuits) = mpsc::channel(1);
        hub.state().resumable.insert(name, sender);
        Kept { hub, name, circuits }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.hub.state().resumable.remove(&self.name);
    }
}

/// The target has the connection; of one that can go on, how much of it we have.
async fn say_opened(circuit: &mut Circuit, taken: Option<u64>) -> std::io::Result<()> {
    let taken = taken.map(u64::to_be_bytes);
    circuit.say(Kind::Opened, taken.as_ref().map_or(&[], |taken| &taken[..])).await
}

/// Carries a connection over its circuit, and over the next one that its listener's agent sends: also before this end has noticed that
/// its own broke.
async fn carry(carried: &mut Carried, circuit: &mut Circuit, kept: Option<&mut Kept<'_>>) -> Ending {
    let Some(kept) = kept else { return carried.run(circuit).await };
    loop {
        let next = tokio::select! {
            ending = carried.run(circuit) => match ending {
                Ending::Broken => tokio::time::timeout(RESUME_TIME, kept.circuits.recv()).await.ok().flatten(),
                ending => return ending,
            },
            next = kept.circuits.recv() => next,
        };
        let Some((next, position)) = next else { return Ending::Broken };
        *circuit = next;
        if let Err(ending) = carried.go_on(position) {
            return ending;
        }
        if say_opened(circuit, carried.taken()).await.is_err() {
            tracing::debug!("the next circuit of a connection broke as well");
        }
    }
}

/// Says whether the target takes a connection, and ends it.
async fn probe(hub: &Arc<Hub>, open: &Open, mut circuit: Circuit) {
    let dialled = match open.protocol {
        Protocol::Tcp => dial(hub, open, connect_to).await.map(drop),
        Protocol::Udp => dial(hub, open, socket_towards).await.map(drop),
    };
    let said = match dialled {
        Ok(()) => circuit.say(Kind::Opened, &[]).await,
        Err(why) => circuit.say(Kind::Failed, why.as_bytes()).await,
    };
    if said.is_ok() {
        let _ = circuit.send.finish().await;
    }
}

/// Connects to the first target of the key that takes a connection: those that did last time first, then by priority.
async fn dial<S, F>(hub: &Arc<Hub>, open: &Open, connect: impl Fn(Target) -> F) -> Result<(S, EndpointPlace), String>
where
    F: Future<Output = Result<S, String>>,
{
    let endpoints = hub.state().catalogue.endpoints(&open.key, open.protocol);
    let mut failures = Vec::new();
    for endpoint in endpoints {
        let dialled = connect(endpoint.target.clone()).await;
        hub.change(|state| {
            if state.catalogue.handle_dialled(&endpoint, dialled.is_ok()) {
                state.tell_services(Instant::now());
            }
        });
        match dialled {
            Ok(socket) => return Ok((socket, endpoint.place())),
            Err(why) => failures.push(format!("{}: {why}", endpoint.target)),
        }
    }
    Err(failures.join("; "))
}

/// One connection to a target, whose name is looked up now.
pub(crate) async fn connect_to(target: Target) -> Result<TcpStream, String> {
    in_time(TcpStream::connect((target.host(), target.port().get()))).await
}

/// A socket for datagrams to a target, whose name is looked up now, and from it alone. Whether somebody is there shows later, if at all; so
/// of this machine's own two addresses the one is taken that most services have.
pub(crate) async fn socket_towards(target: Target) -> Result<UdpSocket, String> {
    in_time(async {
        let mut addresses: Vec<SocketAddr> = lookup_host((target.host(), target.port().get())).await?.collect();
        addresses.sort_by_key(|address| address.is_ipv6() && address.ip().is_loopback());
        let mut failed = io::ErrorKind::NotFound.into();
        for address in addresses {
            let own: IpAddr =
                if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            let connected = async {
                let socket = UdpSocket::bind((own, 0)).await?;
                socket.connect(address).await?;
                Ok(socket)
            };
            match connected.await {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    })
    .await
}

async fn in_time<S>(dialling: impl Future<Output = io::Result<S>>) -> Result<S, String> {
    match tokio::time::timeout(DIAL_TIME, dialling).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", DIAL_TIME.as_secs())),
    }
}
