//! The login gate of the jump host: whom the allow-list lets through comes to it, and how each login ends is counted.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use adit_core::Source;
use adit_net::gate;

use crate::metrics::TurnedAway;
use crate::shared::Shared;

/// A connection that has not logged in. Dropped, its login has ended.
pub(crate) struct AtTheGate {
    place: gate::AtTheGate,
    shared: Arc<Shared>,
}

impl AtTheGate {
    pub(crate) fn enter(client: SocketAddr, shared: &Arc<Shared>) -> Result<Self, TurnedAway> {
        let ip = client.ip();
        if !shared.config.allow_networks.permits(ip) {
            return Err(TurnedAway::Network);
        }
        let exempt = shared.config.penalty_exempt.contain(ip);
        let place = shared.gate.enter(Source::from(ip), exempt).map_err(TurnedAway::from)?;
        Ok(Self { place, shared: shared.clone() })
    }
}

impl Deref for AtTheGate {
    type Target = gate::AtTheGate;

    fn deref(&self) -> &gate::AtTheGate {
        &self.place
    }
}

impl DerefMut for AtTheGate {
    fn deref_mut(&mut self) -> &mut gate::AtTheGate {
        &mut self.place
    }
}

impl Drop for AtTheGate {
    fn drop(&mut self) {
        self.shared.metrics.login(self.place.outcome);
    }
}
