//! The login gate at work: counts a connection in until it has logged in or is gone, and tells it when its place is needed.
//! Who is admitted is decided in `core`.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use adit_core::{Admission, AdmissionId, LoginGate, LoginRules, Outcome, Source};
use tokio::sync::oneshot;

use crate::metrics::TurnedAway;
use crate::shared::Shared;

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

    /// Connections that have not logged in.
    pub(crate) fn waiting(&self) -> usize {
        self.places.len()
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
    pub(crate) fn enter(client: SocketAddr, shared: &Arc<Shared>) -> Result<Self, TurnedAway> {
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
