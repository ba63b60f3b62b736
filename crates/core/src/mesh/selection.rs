//! Which endpoint a new connection goes to, on which way, and where it goes next when that failed.
//!
//! The order: targets that answered last time, on ways that did, before the others; then by priority, then by what the way costs; among
//! equals two are drawn and the one with fewer connections of ours is taken. A way that left a connection without an answer is avoided for a
//! while, by all connections; what one connection has tried it does not try again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use super::certificate::Judge;
use super::id::{AgentId, RoutingKey, SessionKey};
use super::node::{Keys, Node};
use super::record::Protocol;
use super::routes::{Routes, SUSPICION};

/// A connection is tried so often.
pub const MAX_TRIES: usize = 3;
/// And for so long, all tries together.
pub const TRY_TIME: Duration = Duration::from_secs(5);

/// As long as the mesh itself takes to notice a dead link, and then some.
const SUSPICION_TIME: Duration = Duration::from_secs(12);
/// More suspects than a mesh has links in use at once are not remembered.
const MAX_SUSPECTS: usize = 8192;

/// Where a try goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The agents on the way, from this one to the endpoint's.
    pub path: Vec<AgentId>,
    /// The endpoint's agent.
    pub exit: AgentId,
    /// To which the connection is encrypted.
    pub session_key: SessionKey,
    /// How long an answer may take over this way.
    pub patience: Duration,
}

/// How a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// Nobody answered, or the link broke, or what was answered makes no sense: something on the way is not as it should be.
    Silent,
    /// This agent of the way said that it cannot pass the connection on to the next. Anybody before it may have said so.
    NoWayBehind(AgentId),
    /// In the name of the endpoint's agent the connection was refused, by itself or by anybody on the way.
    ExitRefused,
    /// The endpoint's agent has proved who it is, and its target cannot be reached.
    Target,
}

/// The tries of one connection.
#[derive(Debug, Clone)]
pub struct Tries {
    started: Instant,
    /// No other endpoint will do.
    only: Option<AgentId>,
    made: Vec<(Vec<AgentId>, Option<Failed>)>,
}

impl Tries {
    /// None yet.
    pub fn new(now: Instant) -> Tries {
        Tries { started: now, only: None, made: Vec::new() }
    }

    /// None yet, and none to another agent's endpoint: a connection that goes on has begun at this one.
    pub fn to(exit: AgentId, now: Instant) -> Tries {
        Tries { only: Some(exit), ..Tries::new(now) }
    }

    /// How many were made.
    pub fn count(&self) -> usize {
        self.made.len()
    }

    /// No other way to it is worth a try: it has said so itself, or over a link of our own, or over two ways.
    fn target_failed(&self, agent: AgentId) -> bool {
        let failed = |why| self.made.iter().filter(move |(path, f)| path.last() == Some(&agent) && *f == Some(why));
        failed(Failed::Target).next().is_some()
            || failed(Failed::ExitRefused).any(|(path, _)| path.len() <= 2)
            || failed(Failed::ExitRefused).count() >= 2
    }

    fn was_tried(&self, path: &[AgentId]) -> bool {
        self.made.iter().any(|(tried, _)| tried == path)
    }
}

/// Why there is no (other) try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoRoute {
    /// Nobody in the mesh has an endpoint for this key and protocol.
    NoEndpoint,
    /// Somebody has, and there is no way there.
    Unreachable,
    /// This agent has no right to listen on the key.
    NoRight,
    /// All ways were tried, or as many as may be.
    Exhausted,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoRoute::NoEndpoint => "no agent has an endpoint for this key",
            NoRoute::Unreachable => "there is no way to an agent with an endpoint for this key",
            NoRoute::NoRight => "this agent has no right to listen on this key",
            NoRoute::Exhausted => "every endpoint that can be reached was tried",
        })
    }
}

impl std::error::Error for NoRoute {}

/// What has failed lately, and how many connections go where.
#[derive(Debug, Default)]
pub struct Experience {
    suspects: BTreeMap<(AgentId, AgentId), Instant>,
    loads: BTreeMap<AgentId, usize>,
}

impl Experience {
    /// A try has failed; `tries` is the connection's.
    pub fn handle_failed(&mut self, tries: &mut Tries, failed: Failed, now: Instant) {
        let Some((path, outcome)) = tries.made.last_mut() else { return };
        *outcome = Some(failed);
        self.suspects.retain(|_, until| *until > now);
        let links = path.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
        // Who speaks in the name of an agent that is not on the way has no part of it to blame.
        let failed = match failed {
            Failed::NoWayBehind(agent) if !path.iter().rev().skip(1).any(|on_it| *on_it == agent) => Failed::Silent,
            failed => failed,
        };
        let has_transit = path.len() > 2;
        let blamed = links.filter(|(from, _)| match failed {
            Failed::Silent => true,
            Failed::NoWayBehind(agent) => agent == *from,
            Failed::ExitRefused => has_transit,
            Failed::Target => false,
        });
        for link in blamed {
            if self.suspects.len() < MAX_SUSPECTS {
                self.suspects.insert(link, now + SUSPICION_TIME);
            }
        }
    }

    /// A way has brought an answer: none of its links is suspect.
    pub fn handle_answered(&mut self, path: &[AgentId]) {
        if self.suspects.is_empty() {
            return;
        }
        for pair in path.windows(2) {
            if let [from, to] = *pair {
                self.suspects.remove(&(from, to));
            }
        }
    }

    /// A connection to an agent's endpoint is there.
    pub fn handle_opened(&mut self, exit: AgentId) {
        *self.loads.entry(exit).or_default() += 1;
    }

    /// And gone again.
    pub fn handle_closed(&mut self, exit: AgentId) {
        if let Some(load) = self.loads.get_mut(&exit) {
            *load = load.saturating_sub(1);
            if *load == 0 {
                self.loads.remove(&exit);
            }
        }
    }

    fn is_suspect(&self, from: AgentId, to: AgentId, now: Instant) -> bool {
        self.suspects.get(&(from, to)).is_some_and(|until| *until > now)
    }

    /// The ways from this agent that a connection takes now: around what has failed lately, where that can be.
    pub fn routes<K: Keys>(&self, node: &mut Node<K>, now: Instant) -> Routes {
        node.graph().routes(node.me().id(), |from, to| self.is_suspect(from, to, now))
    }

    /// Where a connection for this key goes next. `random` draws among equals.
    ///
    /// # Errors
    /// Nowhere, and why.
    pub fn next_try<K: Keys>(
        &self,
        node: &mut Node<K>,
        (key, protocol): (&RoutingKey, Protocol),
        tries: &mut Tries,
        random: u64,
        now: Instant,
    ) -> Result<Plan, NoRoute> {
        if !node.me().rights().may_listen(key) {
            return Err(NoRoute::NoRight);
        }
        if tries.count() >= MAX_TRIES || now.saturating_duration_since(tries.started) >= TRY_TIME {
            return Err(NoRoute::Exhausted);
        }
        let routes = self.routes(node, now);
        let (mut exists, mut candidates) = (false, Vec::new());
        for (agent, endpoint) in node.endpoints(key, protocol) {
            exists = true;
            if tries.target_failed(agent) || tries.only.is_some_and(|only| only != agent) {
                continue;
            }
            if let Some(cost) = routes.cost(agent) {
                let is_doubtful = !endpoint.is_up || cost >= SUSPICION;
                candidates.push((is_doubtful, endpoint.priority, cost, agent));
            }
        }
        let was_tried = |agent: AgentId| routes.to(agent).is_none_or(|route| tries.was_tried(&route.path));
        candidates.retain(|(.., agent)| tries.count() == 0 || !was_tried(*agent));
        candidates.sort_unstable();
        // An agent with several targets counts with its best one; which it takes is its own affair.
        let mut seen = BTreeSet::new();
        candidates.retain(|(.., agent)| seen.insert(*agent));
        let exit = self.draw(&candidates, random).ok_or(match (exists, tries.count()) {
            (false, 0) => NoRoute::NoEndpoint,
            (true, 0) => NoRoute::Unreachable,
            _ => NoRoute::Exhausted,
        })?;
        let path = routes.to(exit).ok_or(NoRoute::Unreachable)?.path;
        let session_key = *node.membership().get(exit).ok_or(NoRoute::Unreachable)?.session_key();
        tries.made.push((path.clone(), None));
        // Who has nowhere else to go waits: on a busy machine an answer takes its time. Who has must come to a second try, however long
        // others say that a way takes.
        let has_other = candidates.len() > 1 || node.neighbours().nth(1).is_some();
        let patience = if has_other { patience(node, &path).min(TRY_TIME / 2) } else { LONGEST_PATIENCE };
        let patience = patience.min(TRY_TIME.saturating_sub(now.saturating_duration_since(tries.started)));
        Ok(Plan { path, exit, session_key, patience })
    }

    /// Two are drawn among those that are as good as the best, and the one with fewer connections is taken.
    fn draw(&self, candidates: &[(bool, u8, u32, AgentId)], random: u64) -> Option<AgentId> {
        let best = candidates.first()?;
        let equals = candidates.partition_point(|other| (other.0, other.1, other.2) == (best.0, best.1, best.2));
        let (one, other) = (random as u32 as usize % equals, (random >> 32) as usize % equals);
        let load = |index: usize| candidates.get(index).map(|(.., agent)| (self.loads.get(agent).copied(), *agent));
        let (one, other) = (load(one)?, load(other)?);
        Some(if other.0 < one.0 { other.1 } else { one.1 })
    }
}

/// An answer takes one way there and back; the rest is for machines that are busy.
const LEAST_PATIENCE: Duration = Duration::from_millis(900);
/// Where there is but one way, and another try would take the same.
const LONGEST_PATIENCE: Duration = Duration::from_secs(4);

fn patience<K: Keys + Judge>(node: &Node<K>, path: &[AgentId]) -> Duration {
    let rtt = path.windows(2).map(|pair| {
        let [from, to] = *pair else { return 0 };
        let claim = node.claims(from).iter().find(|claim| claim.peer == to);
        claim.map_or(0, |claim| u64::from(claim.rtt_ms))
    });
    LEAST_PATIENCE + 2 * Duration::from_millis(rtt.sum())
}
