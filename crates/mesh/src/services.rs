//! What this agent publishes and where it listens, as it stands: what is configured, which targets answer, which listeners are bound.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use adit_core::Target;
use adit_core::mesh::{Listener, RoutingKey, Services};
use tokio::task::JoinSet;

use crate::config::{EndpointConfig, Forward};
use crate::hub::{Hub, State};

/// A target that took no connection is asked again at this pace.
const RECHECK: Duration = Duration::from_secs(5);

/// What is configured, with what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    forward: Forward,
    down: BTreeSet<(RoutingKey, String)>,
    listeners: BTreeMap<u64, Listener>,
}

impl Catalogue {
    /// From now on this is configured.
    pub(crate) fn handle_forward(&mut self, forward: Forward) {
        let keeps = |(key, target): &(RoutingKey, String)| {
            forward.endpoints.iter().any(|endpoint| endpoint.key == *key && endpoint.target.to_string() == *target)
        };
        self.down.retain(keeps);
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
    pub(crate) fn handle_dialled(&mut self, key: &RoutingKey, target: &Target, took_it: bool) -> bool {
        let name = (key.clone(), target.to_string());
        let is_configured =
            self.forward.endpoints.iter().any(|endpoint| endpoint.key == *key && endpoint.target == *target);
        if took_it { self.down.remove(&name) } else { is_configured && self.down.insert(name) }
    }

    /// Where connections for a key go, in the order in which they are tried; nowhere for one that is not configured.
    pub(crate) fn targets(&self, key: &RoutingKey) -> Vec<Target> {
        let of_key = self.forward.endpoints.iter().filter(|endpoint| endpoint.key == *key);
        let mut targets: Vec<&EndpointConfig> = of_key.collect();
        targets.sort_by_key(|endpoint| (!self.is_up(endpoint), endpoint.priority));
        targets.into_iter().map(|endpoint| endpoint.target.clone()).collect()
    }

    fn is_up(&self, endpoint: &EndpointConfig) -> bool {
        !self.down.contains(&(endpoint.key.clone(), endpoint.target.to_string()))
    }

    fn services(&self) -> Services {
        let mut listeners: Vec<Listener> = self.listeners.values().cloned().collect();
        listeners.sort_by_key(|listener| (listener.key.clone(), listener.address.clone()));
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
        for (key, shown) in down {
            let endpoint = hub.state().catalogue.targets(&key).into_iter().find(|target| target.to_string() == shown);
            let Some(target) = endpoint else { continue };
            asked.spawn(async move {
                let takes_it = crate::circuit::connect_to(&target).await.is_ok();
                (key, target, takes_it)
            });
        }
        while let Some(Ok((key, target, takes_it))) = asked.join_next().await {
            hub.change(|state| {
                if state.catalogue.handle_dialled(&key, &target, takes_it) {
                    tracing::info!(%key, %target, "the target takes connections again");
                    state.tell_services(Instant::now());
                }
            });
        }
    }
}
