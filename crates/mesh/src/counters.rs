//! What is counted: of each key at this agent, and of the agent as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_core::mesh::{CircuitRefused, RoutingKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A number that only rises, or one of what there is now.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of those that are there now, for as long as it is.
pub(crate) struct Active<'a>(&'a Counter);

impl Active<'_> {
    pub(crate) fn new(counter: &Counter) -> Active<'_> {
        counter.add(1);
        Active(counter)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

/// Of one key.
#[derive(Debug, Default)]
pub(crate) struct KeyCounters {
    /// Connections that are there now, at a listener or an endpoint.
    pub(crate) active: Counter,
    pub(crate) opened: Counter,
    failed: Counter,
    /// Turned away because there were `max_connections`.
    pub(crate) over_limit: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    last_failure: Mutex<Option<String>>,
}

impl KeyCounters {
    /// A connection reached no target.
    pub(crate) fn fail(&self, why: &str) {
        self.failed.add(1);
        *lock(&self.last_failure) = Some(why.to_owned());
    }
}

/// Of one agent.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    keys: Mutex<BTreeMap<RoutingKey, Arc<KeyCounters>>>,
    refused: Mutex<BTreeMap<CircuitRefused, u64>>,
    /// Circuits that go through here now.
    pub(crate) transits: Counter,
    /// Directions of connections whose reader takes nothing.
    pub(crate) stalled: Counter,
    pub(crate) transit_bytes: Counter,
    /// Datagrams that found no room here, or no circuit.
    pub(crate) datagrams_lost: Counter,
    /// Datagrams that came once more than they were sent, or too late to tell.
    pub(crate) datagrams_repeated: Counter,
    /// Sessions in which something did not open: changed, repeated, left out, or ended without its end.
    pub(crate) tampered: Counter,
    /// Connections that went on over another circuit when their own broke.
    pub(crate) resumed: Counter,
    /// Records that were not believed.
    pub(crate) records_rejected: Counter,
    /// Agents that knocked and are no members.
    pub(crate) links_refused: Counter,
    pub(crate) control_in: Counter,
    pub(crate) control_out: Counter,
}

/// The most keys that are counted apart: those that others ask for in vain are none of ours.
const MAX_KEYS: usize = 4096;

impl Counters {
    /// Those of a key, which is configured here.
    pub(crate) fn of(&self, key: &RoutingKey) -> Arc<KeyCounters> {
        let mut keys = lock(&self.keys);
        if let Some(counters) = keys.get(key) {
            return Arc::clone(counters);
        }
        let counters = Arc::new(KeyCounters::default());
        if keys.len() < MAX_KEYS {
            keys.insert(key.clone(), Arc::clone(&counters));
        }
        counters
    }

    pub(crate) fn refuse(&self, why: CircuitRefused) {
        *lock(&self.refused).entry(why).or_default() += 1;
    }

    /// All of it as it stands.
    pub(crate) fn view(&self) -> Stats {
        let keys = lock(&self.keys);
        let keys = keys.iter().map(|(key, counters)| KeyStats {
            key: key.to_string(),
            active: counters.active.get(),
            opened: counters.opened.get(),
            failed: counters.failed.get(),
            over_limit: counters.over_limit.get(),
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            last_failure: lock(&counters.last_failure).clone(),
        });
        let refused = lock(&self.refused);
        let refused = refused.iter().map(|(why, count)| Refusals { reason: why.label().into(), count: *count });
        Stats {
            keys: keys.collect(),
            refused: refused.collect(),
            transits: self.transits.get(),
            stalled: self.stalled.get(),
            transit_bytes: self.transit_bytes.get(),
            datagrams_lost: self.datagrams_lost.get(),
            datagrams_repeated: self.datagrams_repeated.get(),
            tampered: self.tampered.get(),
            resumed: self.resumed.get(),
            records_rejected: self.records_rejected.get(),
            links_refused: self.links_refused.get(),
            control_bytes_in: self.control_in.get(),
            control_bytes_out: self.control_out.get(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked held plain numbers, which are right after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an agent has counted since it was started.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Of each key that is configured here.
    pub keys: Vec<KeyStats>,
    /// Circuits that were refused here, by reason.
    pub refused: Vec<Refusals>,
    /// Connections of others that go through here now.
    pub transits: u64,
    /// Connections that end here or go through here and whose reader has taken nothing for 10 s, counted by direction.
    pub stalled: u64,
    /// Bytes of others' connections that go through here, in both directions.
    pub transit_bytes: u64,
    /// Datagrams that were lost here: too many waited, or their circuit was gone.
    pub datagrams_lost: u64,
    /// Datagrams that came to an end here once more than they were sent, or too late to tell; nobody got them twice.
    pub datagrams_repeated: u64,
    /// Sessions that were ended because something in them was not what its sender had sealed, and datagrams that were not.
    pub tampered: u64,
    /// Connections of listeners here that went on over another way when their own broke.
    pub resumed: u64,
    /// Records that were not believed.
    pub records_rejected: u64,
    /// Agents that knocked and are no members.
    pub links_refused: u64,
    /// Bytes of control streams that came.
    pub control_bytes_in: u64,
    /// And went.
    pub control_bytes_out: u64,
}

/// What was counted of one key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyStats {
    /// Which.
    pub key: String,
    /// Connections that are there now.
    pub active: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that reached no target.
    pub failed: u64,
    /// Connections turned away at `max_connections`.
    pub over_limit: u64,
    /// Bytes from clients of a listener, or from the target of an endpoint.
    pub bytes_in: u64,
    /// Bytes to them.
    pub bytes_out: u64,
    /// Why the last connection that reached no target did not.
    pub last_failure: Option<String>,
}

/// How often circuits were refused for one reason.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Refusals {
    /// Why.
    pub reason: Cow<'static, str>,
    /// How often.
    pub count: u64,
}
