//! The heart of the agent: one task that owns all tunnels, their pool of connections, and the sessions.
//!
//! What happens next is decided by `core`; this task hands in what happened and does what is wished. Whatever takes time is a job
//! beside the loop (a login, a remote forward, closing a port), and its outcome comes back as a [`Fact`], so that no tunnel
//! ever waits for another. Each thing that happened is handed in alone, and all wishes that follow are done before the next.

mod board;
mod connections;
mod journal;
mod orders;
mod refresh;
mod sessions;
mod tunnels;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use adit_core::{Attempt, BindFailure, Clocks, ConnectionId, Pool, Port, RecordId};
use adit_store::StoreError;
use adit_store::agent::{AgentStore, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::dial::{Desk, DialError};
use crate::link::{ForwardError, Link, LinkEvent, LinkEvents};
use crate::records::{Places, Records};
pub use board::{Board, Carried, SessionStatus, StrangeHost, TunnelView};
use connections::Connection;
pub(crate) use journal::Journal;
pub use journal::JournalEntry;
use orders::Started;
pub(crate) use orders::{Begin, Done, Order, Which};
pub use orders::{StartError, StopError};
use refresh::{Refreshed, Refreshing};
use sessions::Session;
use tunnels::Tunnel;

/// How often we look whether the machine was asleep. Whoever opens a lid waits no longer for what must be made anew.
const LOOK_PACE: Duration = Duration::from_secs(5);

/// Who has a claim on a pooled connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Tunnel(RecordId),
    Session(RecordId),
    /// A connection that goes through the claimed one.
    Carried(ConnectionId),
}

/// What came of a job.
enum Fact {
    LoggedIn {
        connection: ConnectionId,
        outcome: Box<Result<(Link, LinkEvents), DialError>>,
    },
    Link {
        connection: ConnectionId,
        event: Option<LinkEvent>,
        events: LinkEvents,
    },
    NotBound {
        tunnel: RecordId,
        run: Run,
        attempt: Attempt,
        why: BindFailure,
    },
    /// A port of ours is free again.
    Closed(SocketAddr),
    Forward {
        tunnel: RecordId,
        run: Run,
        attempt: Attempt,
        outcome: Result<Port, ForwardError>,
    },
    Loaded {
        outcome: Result<Snapshot, StoreError>,
        asked_by: Vec<Refreshed>,
    },
}

/// Tells what was begun for a tunnel from what was begun for it before its plan changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run(u64);

/// What the supervisor works with.
pub(crate) struct Means {
    pub(crate) store: AgentStore,
    pub(crate) desk: Desk,
    pub(crate) places: Places,
    /// What it writes down.
    pub(crate) journal: Journal,
}

pub(crate) struct Supervisor {
    means: Means,
    records: Records,
    refreshing: Refreshing,
    pool: Pool<Member>,
    tunnels: BTreeMap<RecordId, Tunnel>,
    sessions: BTreeMap<RecordId, Session>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Ports on their way to being free, and who waits for that.
    closing: BTreeMap<SocketAddr, Vec<Done>>,
    /// Who is to hear that a port is bound.
    bound: Vec<Started>,
    jobs: JoinSet<Fact>,
    orders: mpsc::UnboundedReceiver<Order>,
    board: watch::Sender<Board>,
    last_run: u64,
    /// Nothing is begun any more; what was begun comes to its end.
    is_ending: bool,
}

impl Supervisor {
    /// A supervisor with its first records, and the board it writes.
    pub(crate) fn new(
        means: Means,
        records: Snapshot,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> (Self, watch::Receiver<Board>) {
        let (board, seen) = watch::channel(Board::new());
        let records = Records::new(records);
        let mut supervisor = Self {
            means,
            records: records.clone(),
            refreshing: Refreshing::default(),
            pool: Pool::new(),
            tunnels: BTreeMap::new(),
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            closing: BTreeMap::new(),
            bound: Vec::new(),
            jobs: JoinSet::new(),
            orders,
            board,
            last_run: 0,
            is_ending: false,
        };
        supervisor.follow(records);
        (supervisor, seen)
    }

    /// Runs until it is told to end and everything has ended, or until nobody can give an order any more.
    pub(crate) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_PACE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = clocks();
        while !(self.is_ending && self.jobs.is_empty()) {
            let alarm = self.next_alarm();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.handle_order(order),
                    None => return,
                },
                Some(outcome) = self.jobs.join_next() => self.handle_job(outcome),
                () = until(alarm) => self.ring(),
                _ = look.tick() => {
                    let now = clocks();
                    if let Some(gap) = now.gap_since(seen, LOOK_PACE) {
                        tracing::info!(?gap, "the machine was asleep");
                        self.handle_disturbance();
                    }
                    seen = now;
                }
            }
        }
    }

    fn next_alarm(&self) -> Option<Instant> {
        let tunnels = self.tunnels.values().filter_map(|tunnel| tunnel.machine.poll_timeout());
        tunnels.chain(self.pool.poll_timeout()).min()
    }

    fn ring(&mut self) {
        let now = Instant::now();
        self.pool.handle_timeout(now);
        self.settle();
        self.tell_each(|machine| machine.handle_timeout(now));
    }

    /// What was tried in vain may work now, and what seems alive may be dead.
    fn handle_disturbance(&mut self) {
        self.pool.handle_disturbance(Instant::now());
        self.settle();
        self.tell_each(adit_core::Tunnel::handle_disturbance);
    }

    fn tell_each(&mut self, what: impl Fn(&mut adit_core::Tunnel)) {
        let ids: Vec<RecordId> = self.tunnels.keys().cloned().collect();
        for id in ids {
            self.tell(&id, &what);
        }
    }

    fn handle_job(&mut self, outcome: Result<Fact, JoinError>) {
        let fact = match outcome {
            Ok(fact) => fact,
            // Given up by us.
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "a job of the agent failed");
                return self.handle_fault(error.id());
            }
        };
        match fact {
            Fact::LoggedIn { connection, outcome } => self.handle_logged_in(connection, *outcome),
            Fact::Link { connection, event, events } => self.handle_link_event(connection, event, events),
            Fact::NotBound { tunnel, run, attempt, why } => self.handle_not_bound(&tunnel, run, attempt, why),
            Fact::Closed(address) => self.handle_closed(address),
            Fact::Forward { tunnel, run, attempt, outcome } => {
                self.handle_forward_answer(&tunnel, run, attempt, outcome);
            }
            Fact::Loaded { outcome, asked_by } => self.handle_loaded(outcome, asked_by),
        }
    }

    /// Does all that is wished, and all that is wished because of it.
    fn settle(&mut self) {
        loop {
            if let Some(wish) = self.pool.poll_output() {
                self.perform_for_pool(wish);
                continue;
            }
            let mut tunnels = self.tunnels.iter_mut();
            let next = tunnels.find_map(|(id, tunnel)| tunnel.machine.poll_output().map(|wish| (id.clone(), wish)));
            match next {
                Some((id, wish)) => self.perform(&id, wish),
                None => return self.answer_bound(),
            }
        }
    }
}

fn clocks() -> Clocks {
    Clocks { monotonic: Instant::now(), wall: SystemTime::now() }
}

async fn until(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => tokio::time::sleep_until(alarm.into()).await,
        None => std::future::pending().await,
    }
}
