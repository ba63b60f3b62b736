//! Listeners: where clients connect or send to, and how each connection finds its way to an endpoint.

mod open;
mod udp;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_core::mesh::{AgentId, Listener, Protocol, ResumeId, RoutingKey};
use adit_net::listen::{self, Exhaustion, Ipv6, is_exhausted};
use socket2::SockRef;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Forward, ListenAddress, ListenerConfig};
use crate::counters::Active;
use crate::hub::Hub;
use crate::pump::{Carried, Circuit, Ending};

pub(crate) use open::{Opened, probe};

/// A listener cannot be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for the key “{key}”; {}", if *has_it_itself { ITSELF } else { ANOTHER })]
pub struct ListenError {
    address: ListenAddress,
    key: RoutingKey,
    source: io::Error,
    /// A listener of this agent that goes with the same change.
    has_it_itself: bool,
}

impl ListenError {
    /// Does somebody else have the port?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

const ANOTHER: &str = "choose another port, or stop what has it";
const ITSELF: &str =
    "this agent has the port for a listener that is to go: restart it, or reload once without this listener";

/// A listener that is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// What it is for.
    pub key: RoutingKey,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it is, with the port that the system gave.
    pub address: SocketAddr,
}

/// The listeners of an agent. One that is dropped closes its port, and the connections that came through it go on.
#[derive(Default)]
pub(crate) struct Listeners {
    bound: BTreeMap<Place, Bound>,
}

/// Which listener: its protocol, its address, and where the system gives the port, its key as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(Protocol, ListenAddress, Option<RoutingKey>);

struct Bound {
    number: u64,
    address: SocketAddr,
    settings: Arc<Settings>,
    _task: AbortOnDropHandle<()>,
}

/// What a listener does with who comes; may change while it listens.
struct Settings {
    key: watch::Sender<RoutingKey>,
    max_connections: AtomicUsize,
    connections: AtomicUsize,
}

impl Place {
    fn of(listener: &ListenerConfig) -> Place {
        Place(listener.protocol, listener.address, (listener.address.port() == 0).then(|| listener.key.clone()))
    }
}

/// A listener that was bound and does not serve yet.
struct New {
    place: Place,
    socket: Socket,
    address: SocketAddr,
    settings: Arc<Settings>,
}

enum Socket {
    Tcp(TcpListener),
    Udp(udp::Socket),
}

impl Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Socket::Tcp(socket) => socket.local_addr(),
            Socket::Udp(socket) => socket.local_addr(),
        }
    }
}

impl Listeners {
    /// Where each is bound.
    pub(crate) fn addresses(&self) -> Vec<Listening> {
        let bound = self.bound.iter();
        bound
            .map(|(place, bound)| Listening { key: bound.settings.key(), protocol: place.0, address: bound.address })
            .collect()
    }

    /// From now on this is configured, and its listeners and no others listen. What is in both stays as it is.
    ///
    /// # Errors
    /// One cannot be bound. Nothing has changed then.
    pub(crate) fn apply(&mut self, hub: &Arc<Hub>, forward: &Forward) -> Result<(), ListenError> {
        let (wanted, mut new) = (&forward.listeners, Vec::new());
        for listener in wanted.iter().filter(|listener| !self.bound.contains_key(&Place::of(listener))) {
            let failed = |source: io::Error| {
                let goes = |place: &Place| wanted.iter().all(|other| Place::of(other) != *place);
                let is_ours = |(place, bound): (&Place, &Bound)| {
                    place.0 == listener.protocol && bound.address.port() == listener.address.port() && goes(place)
                };
                let has_it_itself = source.kind() == io::ErrorKind::AddrInUse && self.bound.iter().any(is_ours);
                ListenError { address: listener.address, key: listener.key.clone(), source, has_it_itself }
            };
            let socket = bind(listener).map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            new.push(New { place: Place::of(listener), socket, address, settings: Arc::new(Settings::new(listener)) });
        }
        let stays: BTreeMap<Place, &ListenerConfig> =
            wanted.iter().map(|listener| (Place::of(listener), listener)).collect();
        hub.change(|state| {
            state.catalogue.handle_forward(forward.clone());
            self.bound.retain(|place, bound| match stays.get(place) {
                Some(listener) => {
                    bound.settings.change(listener);
                    state.catalogue.handle_listener(bound.number, Some(bound.told(listener)));
                    true
                }
                None => {
                    state.catalogue.handle_listener(bound.number, None);
                    false
                }
            });
            for New { place, socket, address, settings } in new {
                static NUMBER: AtomicU64 = AtomicU64::new(0);
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let (hub, of_task) = (Arc::clone(hub), Arc::clone(&settings));
                let task = match socket {
                    Socket::Tcp(socket) => tokio::spawn(accept(hub, socket, of_task)),
                    Socket::Udp(socket) => tokio::spawn(udp::take(hub, socket, of_task)),
                };
                let bound = Bound { number, address, settings, _task: AbortOnDropHandle::new(task) };
                if let Some(listener) = stays.get(&place) {
                    state.catalogue.handle_listener(number, Some(bound.told(listener)));
                }
                self.bound.insert(place, bound);
            }
            state.tell_services(Instant::now());
        });
        Ok(())
    }
}

impl Bound {
    /// As the mesh hears of it: the address as it was typed, with the port that the system gave.
    fn told(&self, listener: &ListenerConfig) -> Listener {
        let address = match listener.address {
            ListenAddress::Everywhere(_) => ListenAddress::Everywhere(self.address.port()),
            ListenAddress::At(_) => ListenAddress::At(self.address),
        };
        Listener { key: listener.key.clone(), protocol: listener.protocol, address: address.to_string() }
    }
}

impl Settings {
    fn new(listener: &ListenerConfig) -> Settings {
        Settings {
            key: watch::Sender::new(listener.key.clone()),
            max_connections: AtomicUsize::new(listener.max_connections),
            connections: AtomicUsize::new(0),
        }
    }

    fn change(&self, listener: &ListenerConfig) {
        self.key.send_if_modified(|key| {
            *key != listener.key && {
                key.clone_from(&listener.key);
                true
            }
        });
        self.max_connections.store(listener.max_connections, Ordering::Relaxed);
    }

    fn key(&self) -> RoutingKey {
        self.key.borrow().clone()
    }

    /// One place among the connections, if there is one: exact, however many come at once.
    fn take_place(self: &Arc<Settings>) -> Option<PlaceTaken> {
        let most = self.max_connections.load(Ordering::Relaxed);
        let one_more = |taken: usize| (most == 0 || taken < most).then_some(taken + 1);
        let taken = self.connections.try_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.is_ok().then(|| PlaceTaken(Arc::clone(self)))
    }
}

struct PlaceTaken(Arc<Settings>);

impl Drop for PlaceTaken {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn bind(listener: &ListenerConfig) -> io::Result<Socket> {
    match listener.protocol {
        Protocol::Tcp => bind_at(listener.address, listen::bind).map(Socket::Tcp),
        Protocol::Udp => bind_at(listener.address, udp::Socket::bind).map(Socket::Udp),
    }
}

fn bind_at<S>(address: ListenAddress, bind: impl Fn(SocketAddr, Ipv6) -> io::Result<S>) -> io::Result<S> {
    match address {
        ListenAddress::At(address) => bind(address, Ipv6::Only),
        // A machine without IPv6 has the other half.
        ListenAddress::Everywhere(port) => {
            bind((Ipv6Addr::UNSPECIFIED, port).into(), Ipv6::AsSystem).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Err(error),
                _ => bind((Ipv4Addr::UNSPECIFIED, port).into(), Ipv6::Only),
            })
        }
    }
}

async fn accept(hub: Arc<Hub>, socket: TcpListener, settings: Arc<Settings>) {
    let mut exhaustion = Exhaustion::default();
    loop {
        let client = match socket.accept().await {
            Ok((client, _)) => client,
            Err(error) if is_exhausted(&error) => {
                tokio::time::sleep(exhaustion.pause("connections of a listener", &error, Instant::now())).await;
                continue;
            }
            // Of that one connection.
            Err(_) => continue,
        };
        let key = settings.key();
        let Some(place) = settings.take_place() else {
            hub.counters.of(&key).over_limit.add(1);
            turn_away(client);
            continue;
        };
        hub.tasks.spawn(serve(Arc::clone(&hub), key, client, place));
    }
}

/// Resets a connection: its client sees at once that nobody serves it.
fn turn_away(client: TcpStream) {
    // A socket that does not take the setting is dead already.
    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
}

/// Carries a connection over its circuit, and over another one where that broke and the connection can go on.
async fn carry(
    hub: &Arc<Hub>,
    key: &RoutingKey,
    exit: AgentId,
    resume: Option<ResumeId>,
    carried: &mut Carried,
    circuit: &mut Circuit,
) -> Ending {
    loop {
        let ending = carried.run(circuit).await;
        let (Ending::Broken, Some(connection), Some(taken)) = (&ending, resume, carried.taken()) else { return ending };
        tracing::info!(%key, %exit, "a connection's circuit broke; it goes on over another way if there is one");
        match open::go_on(hub, key, exit, connection, taken).await {
            Ok(Opened { circuit: next, kept: Some((_, position)), .. }) => {
                *circuit = next;
                if let Err(ending) = carried.go_on(position) {
                    return ending;
                }
                hub.counters.resumed.add(1);
            }
            _ => return ending,
        }
    }
}

/// Carries a client's connection to an endpoint, until it ends.
async fn serve(hub: Arc<Hub>, key: RoutingKey, client: TcpStream, taken: PlaceTaken) {
    let counters = hub.counters.of(&key);
    let opened = match open::connect(&hub, (&key, Protocol::Tcp)).await {
        Ok(opened) => opened,
        Err(why) => {
            tracing::warn!(%key, %why, "a connection reaches no endpoint");
            counters.fail(&why);
            return turn_away(client);
        }
    };
    let Opened { mut circuit, exit, place, kept, .. } = opened;
    counters.opened.add(1);
    let counted = Active::new(&counters.active);
    let resume = kept.map(|(name, _)| name);
    let mut carried = Carried::new(client, Arc::clone(&counters), hub.stalls.add(&place.cut), resume.is_some());
    let ending = tokio::select! {
        ending = carry(&hub, &key, exit, resume, &mut carried, &mut circuit) => ending,
        () = place.cut.cancelled() => Ending::Cut,
    };
    carried.end(&ending, &mut circuit).await;
    drop((counted, taken));
    match ending {
        Ending::Tampered => {
            hub.counters.tampered.add(1);
            tracing::warn!(%key, %exit, "what came back was not what the endpoint has sealed; the client was reset");
        }
        ref ending => tracing::debug!(%key, %exit, %ending, "connection ended"),
    }
    if matches!(ending, Ending::Complete) {
        place.cut.run_until_cancelled(circuit.arrived()).await;
    }
}
