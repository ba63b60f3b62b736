//! What the tasks of an agent share: the node that `core` decides with, the links, and what is counted.
//!
//! Everything behind the lock is a short step of memory; nobody waits while holding it. Whoever changes something takes the wishes that
//! follow from it in the same step, so none is forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_core::Target;
use adit_core::mesh::{
    AgentId, Experience, Failed, Frame, InvitationId, LinkRefused, Member, NoRoute, Node, Plan, Protocol, Refusal,
    ResumeId, Routes, RoutingKey, TRY_TIME, Tries, Wish,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::Counters;
use crate::enrolment::{unix_millis, unix_time};
use crate::keys::{AgentKeys, random};
use crate::lane::Lanes;
use crate::pump::Circuit;
use crate::replay::{Mark, ReplayWindow};
use crate::services::Catalogue;
use crate::stall::{Found, Stalls};
use crate::transport::Transport;

/// The most links of an agent.
const MAX_LINKS: usize = adit_core::mesh::MAX_LINKS;

/// What the tasks of an agent share.
pub(crate) struct Hub {
    pub(crate) me: Member,
    pub(crate) keys: AgentKeys,
    /// Connections go on over another way where the other end does so too.
    pub(crate) keeps_connections: bool,
    state: Mutex<State>,
    /// The node's own alarm may be an earlier one now.
    pub(crate) alarm: Notify,
    /// Something is to be written to the disk.
    pub(crate) keep: Notify,
    revision: watch::Sender<u64>,
    pub(crate) counters: Counters,
    pub(crate) stalls: Stalls,
    /// Links and circuits; waited for at the end.
    pub(crate) tasks: TaskTracker,
    /// The agent leaves: what has no end of its own ends.
    pub(crate) leaving: CancellationToken,
    /// The agent ends: nothing new begins.
    pub(crate) ending: CancellationToken,
}

pub(crate) struct State {
    pub(crate) node: Node<AgentKeys>,
    pub(crate) experience: Experience,
    /// The ways that have brought an answer lately, and when.
    answered: BTreeMap<Vec<AgentId>, Instant>,
    pub(crate) links: BTreeMap<AgentId, Arc<Link>>,
    pub(crate) catalogue: Catalogue,
    /// Connections that end here, by the agent at their other end.
    pub(crate) circuits: BTreeMap<(AgentId, u64), EndsHere>,
    /// Connections that can go on, and where another circuit for one is to be sent.
    pub(crate) resumable: BTreeMap<(AgentId, ResumeId), mpsc::Sender<NextCircuit>>,
    last_circuit: u64,
    last_link: u64,
    replay: ReplayWindow,
    /// The agents that this one is to connect to, and why there is no link to one.
    pub(crate) wanted: BTreeMap<Target, Option<String>>,
    /// This agent is no member any more, and why.
    pub(crate) expelled: Option<Refusal>,
}

/// A link that counts.
pub(crate) struct Link {
    pub(crate) peer: Member,
    pub(crate) transport: Transport,
    pub(crate) number: u64,
    pub(crate) since: Instant,
    /// There is something for its writer.
    pub(crate) wake: Notify,
    /// Where datagrams go that come over it.
    pub(crate) lanes: Lanes,
    cut: Mutex<Option<LinkRefused>>,
    pub(crate) over: CancellationToken,
}

impl Link {
    /// Ends it, and tells the other side why.
    pub(crate) fn cut(&self, why: LinkRefused) {
        lock(&self.cut).get_or_insert(why);
        self.over.cancel();
    }

    /// Why it was cut.
    pub(crate) fn why_cut(&self) -> LinkRefused {
        lock(&self.cut).unwrap_or(LinkRefused::Leaving)
    }
}

impl State {
    /// The ways that connections of this agent take now.
    pub(crate) fn routes(&mut self) -> Routes {
        self.experience.routes(&mut self.node, Instant::now())
    }
}

/// A connection that ends here.
pub(crate) struct EndsHere {
    /// With which a listener's agent has shown that it is a member: it may not be one that all others know.
    invitation: Option<InvitationId>,
    cut: CancellationToken,
}

/// A circuit for a connection whose own broke, and the position before which its listener's agent has everything.
pub(crate) type NextCircuit = (Circuit, u64);

/// A place among the connections that end here; given up when it is dropped.
pub(crate) struct CircuitPlace {
    hub: Arc<Hub>,
    name: (AgentId, u64),
    counts_as_load: bool,
    /// The connection is to end.
    pub(crate) cut: CancellationToken,
}

impl Drop for CircuitPlace {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.circuits.remove(&self.name);
        if self.counts_as_load {
            state.experience.handle_closed(self.name.0);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of ours while it was held has left whole values: each step is one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub(crate) fn new(node: Node<AgentKeys>, keys: AgentKeys, keeps_connections: bool) -> Hub {
        let revision = watch::Sender::new(node.revision());
        // Numbers of links rise over restarts as well: the clock does.
        let last_link = unix_millis() << 16;
        Hub {
            me: node.me().clone(),
            keys,
            keeps_connections,
            state: Mutex::new(State {
                node,
                experience: Experience::default(),
                answered: BTreeMap::new(),
                links: BTreeMap::new(),
                catalogue: Catalogue::default(),
                circuits: BTreeMap::new(),
                resumable: BTreeMap::new(),
                last_circuit: 0,
                last_link,
                replay: ReplayWindow::default(),
                wanted: BTreeMap::new(),
                expelled: None,
            }),
            alarm: Notify::new(),
            keep: Notify::new(),
            revision,
            counters: Counters::default(),
            stalls: Stalls::new(Instant::now()),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            ending: CancellationToken::new(),
        }
    }

    /// For a look, or a change from which nothing follows.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes something and does what follows from it.
    pub(crate) fn change<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let outcome = step(&mut state);
        self.settle(&mut state);
        outcome
    }

    fn settle(&self, state: &mut State) {
        while let Some(wish) = state.node.poll_output() {
            match wish {
                Wish::Send(peer) => {
                    if let Some(link) = state.links.get(&peer) {
                        link.wake.notify_one();
                    }
                }
                Wish::Cut(agent, why) if agent == self.me.id() => {
                    tracing::error!(%why, "this agent is no member of the mesh any more");
                    state.expelled = Some(why);
                    state.links.values().for_each(|link| link.cut(why.into()));
                    state.circuits.values().for_each(|circuit| circuit.cut.cancel());
                }
                Wish::Cut(agent, why) => {
                    tracing::warn!(%agent, %why, "an agent is no member any more");
                    if let Some(link) = state.links.get(&agent) {
                        link.cut(why.into());
                    }
                    let of_agent = state.circuits.range((agent, 0)..=(agent, u64::MAX));
                    of_agent.for_each(|(_, circuit)| circuit.cut.cancel());
                }
                Wish::Keep => self.keep.notify_one(),
            }
        }
        let revision = state.node.revision();
        self.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        self.alarm.notify_one();
    }

    /// Rises whenever ways or services may have changed.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Why this agent is no member any more, if it is none.
    pub(crate) fn expelled(&self) -> Option<Refusal> {
        self.state().expelled
    }

    /// The number of the next link; the greatest one counts.
    pub(crate) fn next_link_number(&self) -> u64 {
        let mut state = self.state();
        state.last_link += 1;
        state.last_link
    }

    /// Takes a link up, in the place of an older one with the same agent.
    ///
    /// # Errors
    /// There is a newer one, or there are too many.
    pub(crate) fn adopt(&self, peer: Member, transport: Transport, number: u64) -> Result<Arc<Link>, LinkRefused> {
        let id = peer.id();
        let (now, cost) = (Instant::now(), cost(&transport));
        let rtt = transport.rtt();
        let link = Arc::new(Link {
            peer,
            transport,
            number,
            since: now,
            wake: Notify::new(),
            lanes: Lanes::default(),
            cut: Mutex::new(None),
            over: CancellationToken::new(),
        });
        self.change(|state| {
            if self.ending.is_cancelled() {
                return Err(LinkRefused::Leaving);
            }
            // It may have been revoked since it was looked at.
            if state.node.membership().get(id).is_none() {
                return Err(LinkRefused::NoMember);
            }
            match state.links.get(&id) {
                Some(known) if known.number > number => return Err(LinkRefused::Replaced),
                Some(known) => known.cut(LinkRefused::Replaced),
                None if state.links.len() >= MAX_LINKS => return Err(LinkRefused::Full),
                None => {}
            }
            state.links.insert(id, Arc::clone(&link));
            state.node.handle_link_up(id, cost, rtt, now);
            Ok(link)
        })
    }

    /// A link has ended. Where a newer one stands in its place, that one stays.
    pub(crate) fn forget(&self, link: &Link) {
        self.change(|state| {
            let id = link.peer.id();
            if state.links.get(&id).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), link)) {
                state.links.remove(&id);
                state.node.handle_link_down(id, Instant::now());
            }
        });
    }

    /// The link to an agent.
    pub(crate) fn link(&self, agent: AgentId) -> Option<Arc<Link>> {
        self.state().links.get(&agent).cloned()
    }

    /// What the writer of a link sends next.
    pub(crate) fn next_frame(&self, link: &Link) -> Option<Frame> {
        let message = {
            let mut state = self.state();
            let counts = state.links.get(&link.peer.id()).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), link));
            counts.then(|| state.node.poll_send(link.peer.id())).flatten()
        };
        message.as_ref().map(Frame::from)
    }

    /// Takes a message of a link's control stream; answers what is to be answered at once.
    pub(crate) fn handle_frame(&self, link: &Link, frame: Frame) -> Option<Frame> {
        let peer = link.peer.id();
        match frame {
            Frame::Digest(digest) => self.change(|state| state.node.handle_digest(peer, &digest)),
            Frame::Record(record) => {
                let taken =
                    self.change(|state| state.node.handle_record(Some(peer), &record, Instant::now(), unix_time()));
                if let Err(why) = taken {
                    self.counters.records_rejected.add(1);
                    tracing::debug!(from = %link.peer.name(), %why, "a record is not believed");
                }
            }
            Frame::Ping(number) => return Some(Frame::Pong(number)),
            Frame::Pong(number) => link.transport.handle_pong(number),
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Refused(_) => {}
        }
        None
    }

    /// There is a link to an agent that was named, or why there is none.
    pub(crate) fn tell_peer(&self, peer: &Target, why_not: Option<String>) {
        self.state().wanted.insert(peer.clone(), why_not);
    }

    /// Where a connection for this key goes next.
    pub(crate) fn next_try(&self, service: (&RoutingKey, Protocol), tries: &mut Tries) -> Result<Plan, NoRoute> {
        // Without randomness all go to the first of equals, which is no failure.
        let random = random().map(u64::from_be_bytes).unwrap_or_default();
        let State { node, experience, .. } = &mut *self.state();
        experience.next_try(node, service, tries, random, Instant::now())
    }

    /// A try has failed.
    pub(crate) fn handle_failed(&self, tries: &mut Tries, failed: Failed) {
        self.state().experience.handle_failed(tries, failed, Instant::now());
    }

    /// A way has brought an answer.
    pub(crate) fn handle_answered(&self, plan: &Plan) {
        let mut state = self.state();
        state.experience.handle_answered(&plan.path);
        state.answered.retain(|_, at| at.elapsed() < TRY_TIME);
        state.answered.insert(plan.path.clone(), Instant::now());
    }

    /// Has a way brought an answer since then?
    pub(crate) fn was_answered_since(&self, plan: &Plan, since: Instant) -> bool {
        self.state().answered.get(&plan.path).is_some_and(|at| *at > since)
    }

    /// Was this handshake of a listener's agent not here before?
    pub(crate) fn is_new(&self, listener: AgentId, mark: Mark, made_at: u64) -> bool {
        self.state().replay.admit(listener, mark, made_at, unix_millis())
    }

    /// A place for a connection that ends here, with this agent at its other end. `None` once the agent ends.
    /// `invitation` is that of a listener's agent; connections to an endpoint's count as load.
    pub(crate) fn take_place(
        self: &Arc<Hub>,
        other: AgentId,
        invitation: Option<InvitationId>,
    ) -> Option<CircuitPlace> {
        let mut state = self.state();
        if self.ending.is_cancelled() || state.expelled.is_some() {
            return None;
        }
        state.last_circuit += 1;
        let (name, cut, counts_as_load) = ((other, state.last_circuit), CancellationToken::new(), invitation.is_none());
        state.circuits.insert(name, EndsHere { invitation, cut: cut.clone() });
        if counts_as_load {
            state.experience.handle_opened(other);
        }
        Some(CircuitPlace { hub: Arc::clone(self), name, counts_as_load, cut })
    }

    /// Ends every connection that ends here.
    pub(crate) fn cut_circuits(&self) -> usize {
        let state = self.state();
        state.circuits.values().for_each(|circuit| circuit.cut.cancel());
        state.circuits.len()
    }

    /// Connections that end here now.
    pub(crate) fn circuits(&self) -> usize {
        self.state().circuits.len()
    }

    /// Ends the connections of agents that were revoked, also of those that are known here by their connection alone. `known` is the
    /// number of the list that was looked at last.
    fn cut_revoked(&self, known: &mut u64) {
        let state = self.state();
        let revocations = state.node.membership().revocations();
        if std::mem::replace(known, revocations.number) != revocations.number {
            let is_over = |circuit: &&EndsHere| circuit.invitation.is_some_and(|id| revocations.contain(id));
            state.circuits.values().filter(is_over).for_each(|circuit| circuit.cut.cancel());
        }
    }

    fn look_at_stalls(&self) {
        let Found { standing, cut } = self.stalls.look(Instant::now());
        self.counters.stalled.set(standing as u64);
        if cut > 0 {
            tracing::warn!(cut, standing, "too many connections stand still; those that do for longest were cut");
        }
    }

    /// Keeps the node's alarms and looks at the wall clock once a second, until the agent ends.
    pub(crate) async fn run(&self) {
        const LOOK: Duration = Duration::from_secs(1);
        let mut look = tokio::time::interval(LOOK);
        let mut revocations = self.state().node.membership().revocations().number;
        loop {
            let alarm = self.state().node.poll_timeout().map(tokio::time::Instant::from_std);
            let rings = async {
                match alarm {
                    Some(alarm) => tokio::time::sleep_until(alarm).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.alarm.notified() => {
                    // Settling is what notified; only another alarm matters.
                }
                () = rings => {
                    let now = Instant::now();
                    self.change(|state| state.node.handle_timeout(now));
                }
                _ = look.tick() => {
                    let unix = unix_time();
                    self.change(|state| state.node.handle_time(unix));
                    self.cut_revoked(&mut revocations);
                    self.look_at_stalls();
                }
            }
        }
    }
}

/// A link costs the same for everybody, so that the way with the fewest is taken; over TCP it is worth a detour of one more.
fn cost(transport: &Transport) -> u16 {
    match transport {
        Transport::Quic(_) => 10,
        Transport::Tcp(_) => 25,
    }
}
