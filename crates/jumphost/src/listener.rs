//! The door: accepts connections, turns away whom the allow-list or the login gate does not admit, and starts a session for
//! the rest. Nothing is awaited here but the next connection.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adit_core::{Admission, AdmissionId, LoginGate, LoginRules, Outcome, Source};
use adit_net::{listen, socket};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::TurnedAway;
use crate::server::Shared;
use crate::session;

/// When descriptors run out there is no event to wait for; this is how soon we look again.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// Accepts until `stop`.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, client)) => admit(stream, client, &shared, &tasks, &stop),
            Err(error) if listen::is_exhausted(&error) => {
                tracing::warn!(%error, "cannot accept connections for now");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            // About the one connection only, which is gone.
            Err(error) => tracing::debug!(%error, "a connection ended before it was accepted"),
        }
    }
}

fn admit(stream: TcpStream, client: SocketAddr, shared: &Arc<Shared>, tasks: &TaskTracker, stop: &CancellationToken) {
    match AtTheGate::enter(client, shared) {
        Ok(gate) => {
            socket::set_nodelay(&stream);
            tasks.spawn(session::run(stream, client, gate, shared.clone(), stop.clone()));
        }
        Err(reason) => {
            shared.metrics.turned_away(reason);
            tracing::debug!(%client, reason = reason.name(), "connection turned away");
            socket::reset(stream);
        }
    }
}

/// The login gate, with a way to tell those who must leave it.
pub(crate) struct Gate {
    decides: LoginGate,
    /// Dropped to tell a connection that its place is needed.
    places: HashMap<AdmissionId, oneshot::Sender<()>>,
}

impl Gate {
    pub(crate) fn new(rules: LoginRules) -> Self {
        Self { decides: LoginGate::new(rules), places: HashMap::new() }
    }
}

/// A connection that has not logged in, counted as one until it is dropped.
pub(crate) struct AtTheGate {
    admission: Option<Admission>,
    place: oneshot::Receiver<()>,
    /// How the login ends if nothing else is said.
    pub(crate) outcome: Outcome,
    shared: Arc<Shared>,
}

impl AtTheGate {
    fn enter(client: SocketAddr, shared: &Arc<Shared>) -> Result<Self, TurnedAway> {
        let ip = client.ip();
        if !shared.config.allow_networks.permits(ip) {
            return Err(TurnedAway::Network);
        }
        let exempt = shared.config.penalty_exempt.contain(ip);
        let mut gate = shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let admission =
            gate.decides.handle_connection(Source::from(ip), exempt, Instant::now()).map_err(TurnedAway::from)?;
        while let Some(pushed_out) = gate.decides.poll_pushed_out() {
            gate.places.remove(&pushed_out);
        }
        let (sender, place) = oneshot::channel();
        gate.places.insert(admission.id(), sender);
        Ok(Self { admission: Some(admission), place, outcome: Outcome::GaveUp, shared: shared.clone() })
    }

    /// Ready when the place is needed for somebody else; not to be asked again then.
    pub(crate) fn poll_pushed_out(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.place).poll(context).map(drop)
    }
}

impl Drop for AtTheGate {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.shared.metrics.login(self.outcome);
            let mut gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.places.remove(&admission.id());
            gate.decides.handle_done(admission, self.outcome, Instant::now());
        }
    }
}
