//! The port table at work: hands each session what the table wishes of it, and sees to the table's clock.
//! What is granted is decided in `core`; the sockets are bound and owned by the sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adit_core::{ForwardRequest, Port, PortLease, PortRules, PortTable, PortWish, RefuseReason, RequestId, SessionId};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// What the table wants of a session.
#[derive(Debug)]
pub(crate) enum PortOrder {
    /// Bind a listener for a request of this session.
    Listen { request: RequestId, lease: HeldLease },
    /// Tell the client that its request is refused.
    Refuse { request: RequestId, reason: RefuseReason },
    /// Show that the client lives.
    Probe,
    /// A newer session of the account gets the port; this one ends.
    Evict { port: Port },
}

/// The ports of this jump host.
pub(crate) struct Ports {
    mesh: Vec<IpAddr>,
    state: Arc<Mutex<State>>,
    /// Told when the table's next timeout may have moved.
    changed: Notify,
}

struct State {
    table: PortTable,
    sessions: HashMap<SessionId, mpsc::UnboundedSender<PortOrder>>,
    next_request: u64,
}

/// A lease that goes back to the table when it is dropped, whatever ended its holder.
#[derive(Debug)]
pub(crate) struct HeldLease {
    lease: Option<PortLease>,
    ports: Arc<Ports>,
}

/// A session's place among those that may hold ports. Its requests and orders end when it is dropped.
#[derive(Debug)]
pub(crate) struct PortClient {
    session: SessionId,
    ports: Arc<Ports>,
    pub(crate) orders: mpsc::UnboundedReceiver<PortOrder>,
}

impl Ports {
    pub(crate) fn new(rules: PortRules, mesh: Vec<IpAddr>) -> Arc<Self> {
        let state = State { table: PortTable::new(rules), sessions: HashMap::new(), next_request: 0 };
        Arc::new(Self { mesh, state: Arc::new(Mutex::new(state)), changed: Notify::new() })
    }

    /// The addresses that forwards listen at.
    pub(crate) fn mesh(&self) -> &[IpAddr] {
        &self.mesh
    }

    /// Lets a session ask for ports.
    pub(crate) fn enter(self: &Arc<Self>, session: SessionId) -> PortClient {
        // Unbounded, but filled only by answers to what the session asked, which the engine bounds.
        let (sender, orders) = mpsc::unbounded_channel();
        self.lock().sessions.insert(session, sender);
        PortClient { session, ports: self.clone(), orders }
    }

    /// Follows the table's clock until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let changed = self.changed.notified();
            let timeout = self.lock().table.poll_timeout();
            let due = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.tell(|table| table.handle_timeout(Instant::now())),
                () = changed => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Tells the table something and hands out what it wishes then.
    fn tell(self: &Arc<Self>, tell: impl FnOnce(&mut PortTable)) {
        let mut state = self.lock();
        tell(&mut state.table);
        while let Some(wish) = state.table.poll_output() {
            let (session, order) = match wish {
                PortWish::Listen { request, lease } => {
                    let session = lease.session();
                    (
                        session,
                        PortOrder::Listen { request, lease: HeldLease { lease: Some(lease), ports: self.clone() } },
                    )
                }
                PortWish::Refuse { request, session, reason } => (session, PortOrder::Refuse { request, reason }),
                PortWish::Probe { session, .. } => (session, PortOrder::Probe),
                PortWish::Evict { session, port } => (session, PortOrder::Evict { port }),
            };
            let returned = match state.sessions.get(&session) {
                Some(sender) => sender.send(order).err().map(|refused| refused.0),
                None => Some(order),
            };
            // A session that is gone gives its lease back here, without a second lock.
            if let Some(PortOrder::Listen { mut lease, .. }) = returned
                && let Some(lease) = lease.lease.take()
            {
                state.table.handle_released(lease, Instant::now());
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The table is whole between calls; a panic inside one would be a bug that must not take the other sessions along.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").field("mesh", &self.mesh).finish_non_exhaustive()
    }
}

impl PortClient {
    /// Asks for a forward. The answer comes as an order that names the returned request.
    pub(crate) fn request(&self, ask: impl FnOnce(SessionId, RequestId) -> ForwardRequest) -> RequestId {
        let request = {
            let mut state = self.ports.lock();
            state.next_request += 1;
            RequestId(state.next_request)
        };
        let ask = ask(self.session, request);
        self.ports.tell(|table| table.handle_forward_request(ask, Instant::now()));
        request
    }

    /// The listener of a request is bound.
    pub(crate) fn listening(&self, request: RequestId) {
        self.ports.tell(|table| table.handle_listening(request));
    }

    /// The listener could not be bound; the table tries another port or refuses.
    pub(crate) fn listen_failed(&self, mut lease: HeldLease) {
        if let Some(lease) = lease.lease.take() {
            self.ports.tell(|table| table.handle_listen_failed(lease, Instant::now()));
        }
    }

    /// The session's client gave a sign of life.
    pub(crate) fn heard(&self) {
        self.ports.tell(|table| table.handle_heard(self.session));
    }
}

impl Drop for PortClient {
    fn drop(&mut self) {
        self.ports.lock().sessions.remove(&self.session);
        self.ports.tell(|table| table.handle_session_ended(self.session));
    }
}

impl HeldLease {
    /// What the lease grants; `None` once it was given back.
    pub(crate) fn get(&self) -> Option<&PortLease> {
        self.lease.as_ref()
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.ports.tell(|table| table.handle_released(lease, Instant::now()));
        }
    }
}
