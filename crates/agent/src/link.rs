//! A link: one SSH connection, logged in, with everything it carries.
//!
//! One task owns it from its login to its end: the engine, the byte stream, the sockets of all connections. [`Link`] is how others
//! speak to that task; none of its calls waits for another tunnel, and a target that does not answer or a program that does not
//! read holds up itself alone. [`LinkEvents`] owns the task.
//!
//! Each tunnel has a [`Lane`] of its own on the link. What a tunnel holds there ends with its lane; the link goes on for the others.

mod end;
mod remote;
mod socks;
mod task;
mod traffic;
mod transport;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use adit_core::{ConnectFailure, Port, RemoteListen, Target};
use adit_net::stream::Stream;
use adit_ssh::crypto::PublicKey;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

pub use end::{ConnectError, ForwardError, LinkEnd};
pub use socks::SocksError;
use task::Task;
use traffic::Passenger;
pub use traffic::{ConnectionNumber, LiveConnection, Traffic};
pub(crate) use transport::Transport;

/// Accepted sockets that stand before the link. More wait in the kernel, where their tunnels' listeners leave them.
const ARRIVALS: usize = 64;
/// Events that wait for whoever listens; of more, only the end of the link is told.
const EVENTS: usize = 256;
/// How long a server may take to answer about a remote forward: a jump host asks an older session first.
const FORWARD_TIME: Duration = Duration::from_secs(20);

/// Speaks to a link. Cloning is cheap; when the last clone and the last [`Lane`] are gone, the link ends.
#[derive(Clone)]
pub struct Link {
    orders: mpsc::UnboundedSender<Order>,
    arrivals: mpsc::Sender<Arrival>,
    peer: Arc<Peer>,
    last_lane: Arc<AtomicU64>,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The login, as `user@host:port`.
    pub name: Arc<str>,
    /// The key it proved to hold.
    pub host_key: PublicKey,
}

/// What a link bears and how long it waits.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// How long the server may take to connect to a target.
    pub open_time: Duration,
    /// How long a local target of a remote forward may take to answer.
    pub local_connect_time: Duration,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self { open_time: Duration::from_secs(15), local_connect_time: Duration::from_secs(5) }
    }
}

/// Names one tunnel's lane on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u64);

/// Something happened on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The answer to a [`Link::probe`]: somebody is there.
    Heard,
    /// A connection did not reach its target: one beyond the server, or for a remote forward the one here.
    Refused {
        /// Whose it was.
        lane: LaneId,
        /// Where it should have gone.
        target: Target,
        /// Why it did not, for people.
        why: String,
    },
    /// The link is over. Told once, as the last.
    Ended(LinkEnd),
}

/// Owns a link's task: dropping it cuts the link.
#[derive(Debug)]
pub struct LinkEvents {
    events: mpsc::Receiver<LinkEvent>,
    task: Option<AbortOnDropHandle<LinkEnd>>,
}

impl LinkEvents {
    /// The next event; `None` behind [`LinkEvent::Ended`]. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        if let Some(event) = self.events.recv().await {
            return Some(event);
        }
        let end = self.task.as_mut()?.await.unwrap_or(LinkEnd::Fault);
        self.task = None;
        Some(LinkEvent::Ended(end))
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> LinkEnd {
        loop {
            match self.next().await {
                Some(LinkEvent::Ended(end)) => return end,
                Some(_) => {}
                None => return LinkEnd::Stopped,
            }
        }
    }
}

/// What a link stands on, if that is another link.
pub(crate) struct Carrier {
    pub(crate) link: Link,
    /// Here where the carrier serves this link alone, and goes with it.
    pub(crate) events: Option<LinkEvents>,
}

/// Called once, with host keys the server proved to hold beside the one it showed; may read and write files.
pub(crate) type HostKeyKeeper = Box<dyn FnOnce(Vec<PublicKey>) + Send>;

/// What the task of a link is asked to do, whatever else it does.
enum Order {
    Probe,
    Stop,
    RequestForward(remote::Wanted),
    CancelForwards { lane: LaneId, answer: Option<remote::Answer<()>> },
    CloseConnection { lane: LaneId, number: ConnectionNumber },
    EndLane(LaneId),
}

/// A connection that wants to be carried, once there is room.
enum Arrival {
    Visitor(Box<Visitor>),
    /// The transport of another link, or a test.
    Pipe {
        target: Target,
        answer: oneshot::Sender<Result<Stream, ConnectError>>,
    },
}

/// A program that came in at a local port.
struct Visitor {
    stream: TcpStream,
    from: SocketAddr,
    target: Target,
    /// A SOCKS client wants to hear how it went.
    waiting: Option<socks::Waiting>,
    lane: LaneId,
    passenger: Passenger,
}

/// What a lane and those it carries share.
#[derive(Debug)]
struct LaneState {
    id: LaneId,
    traffic: Arc<Traffic>,
    is_over: AtomicBool,
}

impl LaneState {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl Link {
    /// Starts the task of a link that has just been logged in.
    pub(crate) fn start(
        transport: Transport,
        peer: Peer,
        settings: LinkSettings,
        carrier: Option<Carrier>,
        keeper: Option<HostKeyKeeper>,
    ) -> (Link, LinkEvents) {
        let (orders, orders_to_take) = mpsc::unbounded_channel();
        let (arrivals, arrivals_to_take) = mpsc::channel(ARRIVALS);
        let (told, events) = mpsc::channel(EVENTS);
        let task = Task::new(transport, settings, orders_to_take, arrivals_to_take, told, keeper);
        let task = AbortOnDropHandle::new(tokio::spawn(task.run(carrier)));
        let link = Link { orders, arrivals, peer: Arc::new(peer), last_lane: Arc::default() };
        (link, LinkEvents { events, task: Some(task) })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the link has ended.
    pub fn is_over(&self) -> bool {
        self.orders.is_closed()
    }

    /// Asks the server for a sign of life, by opening a session channel and closing it; no more is ever done with it. Whatever
    /// comes, be it the refusal, is told as [`LinkEvent::Heard`]. Whoever asks sets the time-out.
    pub fn probe(&self) {
        self.order(Order::Probe);
    }

    /// Ends the link, with all it carries.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// A lane for one tunnel, which counts into `traffic`.
    pub fn lane(&self, traffic: &Arc<Traffic>) -> Lane {
        let id = LaneId(self.last_lane.fetch_add(1, Ordering::Relaxed) + 1);
        let state = LaneState { id, traffic: traffic.clone(), is_over: AtomicBool::new(false) };
        Lane { link: self.clone(), state: Arc::new(state) }
    }

    /// Connects to a target beyond the server, for this process: the transport of a link further on, or a test of the way.
    /// Dropping the stream, or the call, ends the connection.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, target: &Target) -> Result<Stream, ConnectError> {
        let (answer, answered) = oneshot::channel();
        let arrival = Arrival::Pipe { target: target.clone(), answer };
        self.arrivals.send(arrival).await.map_err(|_| ConnectError::LinkOver)?;
        answered.await.unwrap_or(Err(ConnectError::LinkOver))
    }

    fn order(&self, order: Order) {
        // A link that is over does as it is told: its end has been reported.
        drop(self.orders.send(order));
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer.name).field("over", &self.is_over()).finish_non_exhaustive()
    }
}

/// One tunnel's part of a link. Dropping it ends what the tunnel holds there, and nothing else.
#[derive(Debug)]
pub struct Lane {
    link: Link,
    state: Arc<LaneState>,
}

impl Lane {
    /// Its name in events.
    pub fn id(&self) -> LaneId {
        self.state.id
    }

    /// The link it is on.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Carries a program that came in at a local port to a target. Waits while the link has no room, which is when nothing should
    /// be accepted; not for the target. A target that is not reached closes the socket, and [`LinkEvent::Refused`] says why.
    ///
    /// # Errors
    /// The link or the lane is over; the socket is closed.
    pub async fn carry(&self, stream: TcpStream, from: SocketAddr, target: &Target) -> Result<(), ConnectError> {
        self.admit(stream, from, target.clone(), None).await.map_err(|_| ConnectError::LinkOver)
    }

    /// Serves a SOCKS 5 client: hears where it wants to go, carries it there, and tells it how that went. Takes as long as the
    /// client takes to say what it wants, ten seconds at most.
    ///
    /// # Errors
    /// Why the client was not carried; it has been told, as far as SOCKS can tell, and its socket is closed.
    pub async fn serve_socks(&self, mut stream: TcpStream, from: SocketAddr) -> Result<(), SocksError> {
        let (waiting, target) = socks::hear(&mut stream).await?;
        match self.admit(stream, from, target, Some(waiting)).await {
            Ok(()) => Ok(()),
            Err(turned_away) => {
                let Visitor { mut stream, waiting, .. } = *turned_away;
                if let Some(waiting) = waiting {
                    waiting.tell_failed(ConnectFailure::Other, &stream);
                    socks::listen_on(&mut stream).await;
                }
                Err(SocksError::LinkOver)
            }
        }
    }

    /// Asks the server to listen, and to send its visitors here, where they are connected to `target`. Gives the port: the one
    /// asked for, or the one the server chose. Cancelling takes the request back.
    ///
    /// # Errors
    /// [`ForwardError`]; then nothing is forwarded.
    pub async fn request_forward(&self, listen: &RemoteListen, target: &Target) -> Result<Port, ForwardError> {
        let (answer, answered) = oneshot::channel();
        self.link.order(Order::RequestForward(remote::Wanted {
            lane: self.state.clone(),
            listen: listen.clone(),
            target: target.clone(),
            answer,
        }));
        await_answer(answered).await
    }

    /// Takes the tunnel's remote forwards back, granted or asked for. Visitors that are connected stay.
    ///
    /// # Errors
    /// [`ForwardError`]; no visitors are let in any more all the same.
    pub async fn cancel_forwards(&self) -> Result<(), ForwardError> {
        let (answer, answered) = oneshot::channel();
        self.link.order(Order::CancelForwards { lane: self.state.id, answer: Some(answer) });
        await_answer(answered).await
    }

    /// Cuts one of the tunnel's connections.
    pub fn close_connection(&self, number: ConnectionNumber) {
        self.link.order(Order::CloseConnection { lane: self.state.id, number });
    }

    /// Ends what the tunnel holds on the link: its connections are cut, its remote forwards taken back.
    pub fn end(&self) {
        if !self.state.is_over.swap(true, Ordering::AcqRel) {
            self.link.order(Order::EndLane(self.state.id));
        }
    }

    /// Hands a visitor over; gives it back where the link or the lane is over.
    async fn admit(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        target: Target,
        waiting: Option<socks::Waiting>,
    ) -> Result<(), Box<Visitor>> {
        let passenger = Passenger::enter(&self.state, target.clone(), Some(from));
        let visitor = Box::new(Visitor { stream, from, target, waiting, lane: self.state.id, passenger });
        if self.state.is_over() {
            return Err(visitor);
        }
        match self.link.arrivals.reserve().await {
            Ok(place) => {
                place.send(Arrival::Visitor(visitor));
                Ok(())
            }
            Err(_) => Err(visitor),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.end();
    }
}

async fn await_answer<T>(answered: oneshot::Receiver<Result<T, ForwardError>>) -> Result<T, ForwardError> {
    match tokio::time::timeout(FORWARD_TIME, answered).await {
        Ok(answer) => answer.unwrap_or(Err(ForwardError::LinkOver)),
        Err(_) => Err(ForwardError::Unanswered),
    }
}
