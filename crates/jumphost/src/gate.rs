//! The login gate of the jump host: counts a connection in until it has logged in or is gone, and hears when its place is needed.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use adit_core::{Admission, Outcome, Source};
use adit_net::gate::Needed;

use crate::metrics::TurnedAway;
use crate::shared::Shared;

/// A connection that has not logged in, counted as one until it is dropped.
pub(crate) struct AtTheGate {
    admission: Option<Admission>,
    needed: Needed,
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
        let (admission, needed) = gate.enter(Source::from(ip), exempt, Instant::now()).map_err(TurnedAway::from)?;
        Ok(Self { admission: Some(admission), needed, outcome: Outcome::GaveUp, shared: shared.clone() })
    }

    /// Ready when the place is needed for somebody else; not to be asked again then.
    pub(crate) fn poll_pushed_out(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.needed).poll(context).map(drop)
    }
}

impl Drop for AtTheGate {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            self.shared.metrics.login(self.outcome);
            let mut gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.leave(admission, self.outcome, Instant::now());
        }
    }
}
