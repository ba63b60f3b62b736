//! What a tunnel carries: bytes both ways, and its live connections. It belongs to the tunnel and outlives its links.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use adit_core::Target;
use adit_net::relay::Tally;

use super::{LaneId, LaneState};

/// Names one connection of a tunnel; never used twice by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionNumber(pub u64);

/// The counters and the live connections of one tunnel.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    total: AtomicU64,
    live: Mutex<BTreeMap<ConnectionNumber, Arc<Live>>>,
}

/// A connection as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveConnection {
    /// Its name, to close it by.
    pub number: ConnectionNumber,
    /// Where it goes.
    pub target: Target,
    /// Who opened it: a program here, or a visitor of a remote forward, where the server says which.
    pub from: Option<SocketAddr>,
    /// When it came.
    pub since: SystemTime,
    /// Whether its target has answered; bytes flow from then on.
    pub is_open: bool,
    /// Bytes into the SSH connection.
    pub bytes_tx: u64,
    /// Bytes out of the SSH connection.
    pub bytes_rx: u64,
}

#[derive(Debug)]
struct Live {
    target: Target,
    from: Option<SocketAddr>,
    since: SystemTime,
    is_open: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Nothing carried yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Bytes into SSH connections, in all.
    pub fn bytes_tx(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes out of SSH connections, in all.
    pub fn bytes_rx(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Connections that were ever carried, or tried to be.
    pub fn connections_total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Connections of this moment.
    pub fn connections_now(&self) -> usize {
        self.lock().len()
    }

    /// The connections of this moment, the oldest first.
    pub fn connections(&self) -> Vec<LiveConnection> {
        let live = self.lock();
        live.iter()
            .map(|(number, live)| LiveConnection {
                number: *number,
                target: live.target.clone(),
                from: live.from,
                since: live.since,
                is_open: live.is_open.load(Ordering::Relaxed),
                bytes_tx: live.sent.load(Ordering::Relaxed),
                bytes_rx: live.received.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Nothing panics under this lock.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionNumber, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in its tunnel's books; leaves them when it is dropped.
#[derive(Debug)]
pub(super) struct Passenger {
    /// None for what no tunnel carries: the transport of another link.
    listed: Option<Listed>,
}

#[derive(Debug)]
struct Listed {
    lane: Arc<LaneState>,
    number: ConnectionNumber,
    live: Arc<Live>,
}

impl Passenger {
    /// Whether its lane holds more than what is left for the others. As long as none goes beyond that, however many lanes there are,
    /// something is always left: one lane gets half of a link, two a third each.
    pub(super) fn is_beyond(&self, room: usize) -> bool {
        self.listed.as_ref().is_some_and(|listed| listed.lane.traffic.connections_now() > room)
    }

    pub(super) fn enter(lane: &Arc<LaneState>, target: Target, from: Option<SocketAddr>) -> Self {
        let number = ConnectionNumber(lane.traffic.total.fetch_add(1, Ordering::Relaxed));
        let live = Arc::new(Live {
            target,
            from,
            since: SystemTime::now(),
            is_open: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        });
        lane.traffic.lock().insert(number, live.clone());
        Self { listed: Some(Listed { lane: lane.clone(), number, live }) }
    }

    pub(super) fn unlisted() -> Self {
        Self { listed: None }
    }

    pub(super) fn is_of(&self, lane: LaneId) -> bool {
        self.listed.as_ref().is_some_and(|listed| listed.lane.id == lane)
    }

    pub(super) fn is(&self, lane: LaneId, number: ConnectionNumber) -> bool {
        self.listed.as_ref().is_some_and(|listed| (listed.lane.id, listed.number) == (lane, number))
    }

    /// Whether its tunnel has ended while it was on its way.
    pub(super) fn is_too_late(&self) -> bool {
        self.listed.as_ref().is_some_and(|listed| listed.lane.is_over())
    }

    pub(super) fn handle_opened(&self) {
        if let Some(listed) = &self.listed {
            listed.live.is_open.store(true, Ordering::Relaxed);
        }
    }
}

impl Tally for Passenger {
    fn count_in(&self, bytes: usize) {
        if let Some(Listed { live, lane, .. }) = &self.listed {
            live.sent.fetch_add(bytes as u64, Ordering::Relaxed);
            lane.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    fn count_out(&self, bytes: usize) {
        if let Some(Listed { live, lane, .. }) = &self.listed {
            live.received.fetch_add(bytes as u64, Ordering::Relaxed);
            lane.traffic.received.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Passenger {
    fn drop(&mut self) {
        if let Some(listed) = &self.listed {
            listed.lane.traffic.lock().remove(&listed.number);
        }
    }
}
