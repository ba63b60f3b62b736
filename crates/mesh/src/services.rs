//! What this agent publishes and where it listens, as it stands: what is configured, which targets answer, which listeners are bound.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use adit_core::mesh::{Listener, Protocol, RoutingKey, Services};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::circuit;
use crate::config::{EndpointConfig, EndpointPlace, Forward};
use crate::hub::{Hub, State};

/// A target that took no connection is asked again at this pace.
const RECHECK: Duration = Duration::from_secs(5);

/// What is configured, with what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    forward: Forward,
    down: BTreeSet<EndpointPlace>,
    /// What datagrams flow to; cancelled once it is configured no more.
    used: BTreeMap<EndpointPlace, CancellationToken>,
    listeners: BTreeMap<u64, Listener>,
}

impl Catalogue {
    /// From now on this is configured.
    pub(crate) fn handle_forward(&mut self, forward: Forward) {
        self.down.retain(|place| forward.has(place));
        let removed = self.used.extract_if(.., |place, _| !forward.has(place));
        removed.for_each(|(_, removed)| removed.cancel());
        self.forward = forward;
    }

    /// A listener is bound, or (with `None`) is no more.
    pub(crate) fn handle_listener(&mut self, number: u64, listener: Option<Listener>) {
        match listener {
            Some(listener) => drop(self.listeners.insert(number, listener)),
            None => drop(self.listeners.remove(&number)),
        }
    }

    /// A target took a connection, or did not. `true`: that is news.
    pub(crate) fn handle_dialled(&mut self, endpoint: &EndpointConfig, took_it: bool) -> bool {
        let place = endpoint.place();
        if took_it { self.down.remove(&place) } else { self.forward.has(&place) && self.down.insert(place) }
    }

    /// Cancelled once an endpoint is configured no more. `None`: it is not.
    pub(crate) fn removed(&mut self, place: EndpointPlace) -> Option<CancellationToken> {
        self.forward.has(&place).then(|| self.used.entry(place).or_default().clone())
    }

    /// Where connections for a key go, in the order in which they are tried; nowhere for one that is not configured.
    pub(crate) fn endpoints(&self, key: &RoutingKey, protocol: Protocol) -> Vec<EndpointConfig> {
        let of_key = |endpoint: &&EndpointConfig| endpoint.key == *key && endpoint.protocol == protocol;
        let mut endpoints: Vec<EndpointConfig> = self.forward.endpoints.iter().filter(of_key).cloned().collect();
        endpoints.sort_by_key(|endpoint| (!self.is_up(endpoint), endpoint.priority));
        endpoints
    }

    fn is_up(&self, endpoint: &EndpointConfig) -> bool {
        !self.down.contains(&endpoint.place())
    }

    fn services(&self) -> Services {
        let mut listeners: Vec<Listener> = self.listeners.values().cloned().collect();
        listeners.sort_by_key(|listener| (listener.key.clone(), listener.protocol, listener.address.clone()));
        Services { endpoints: self.forward.endpoints(|endpoint| self.is_up(endpoint)), listeners }
    }
}

impl State {
    /// Tells the mesh what has changed of the services.
    pub(crate) fn tell_services(&mut self, now: Instant) {
        let services = self.catalogue.services();
        self.node.handle_services(services, now);
    }
}

/// Asks targets that took no connection whether they do now, until the agent ends.
pub(crate) async fn recheck(hub: &Hub) {
    loop {
        tokio::time::sleep(RECHECK).await;
        let down = hub.state().catalogue.down.clone();
        // All at once: those that do not answer must not keep one waiting that is back.
        let mut asked = JoinSet::new();
        for place in down {
            let endpoints = hub.state().catalogue.endpoints(&place.0, place.1);
            let Some(endpoint) = endpoints.into_iter().find(|endpoint| endpoint.place() == place) else { continue };
            asked.spawn(async move {
                let takes_it = match endpoint.protocol {
                    Protocol::Tcp => circuit::connect_to(endpoint.target.clone()).await.is_ok(),
                    Protocol::Udp => circuit::socket_towards(endpoint.target.clone()).await.is_ok(),
                };
                (endpoint, takes_it)
            });
        }
        while let Some(Ok((endpoint, takes_it))) = asked.join_next().await {
            hub.change(|state| {
                if state.catalogue.handle_dialled(&endpoint, takes_it) {
                    let EndpointConfig { key, target, .. } = endpoint;
                    tracing::info!(%key, %target, "the target takes connections again");
                    state.tell_services(Instant::now());
                }
            });
        }
    }
}
