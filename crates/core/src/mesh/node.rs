//! One agent's part in what all agents know: the newest record of each, and which neighbour has yet to hear of which.
//!
//! The receive path only stores what is newer and marks it for the other neighbours. What is sent is asked for by the writer of each
//! link when that link has room, and is the newest version then. So a slow link costs one mark for each record, however often that
//! record has changed meanwhile, and no two agents can wait on each other.
//!
//! The calling contract is the one of this crate: `handle_` a fact, then take [`Wish`]es from [`poll_output`](Node::poll_output); a
//! writer takes [`Message`]s for its neighbour from [`poll_send`](Node::poll_send). An alarm is set for
//! [`poll_timeout`](Node::poll_timeout).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::certificate::{Certificate, Judge, Member, Refusal, Revocations, Root, UnixTime, agent_id};
use super::id::{AgentId, InvitationId, RoutingKey, Signature};
use super::membership::{Membership, Shown};
use super::pace::Pace;
use super::record::{Body, Endpoint, Kind, LinkClaim, Protocol, Record, RecordName, Services, Version};
use super::routes::{Graph, Routes};
use super::wire::Malformed;

/// The most agents of a mesh.
pub const MAX_AGENTS: usize = 4096;

/// An agent whose links or services change again and again tells so at this pace. A first change after a quiet time is told at once.
const PACE: Duration = Duration::from_millis(500);
/// How long messages take is told again at this pace: on a busy machine it goes up and down all the time, and each time is a signature to
/// be looked at for every agent. Until then what was told is good enough for what it is used for, how long to wait for an answer.
const RTT_PACE: Duration = Duration::from_secs(5);
/// What is new of others is passed on at twice that pace, and so much of it ahead: links keep some back and bring it at once. An agent
/// that changes faster than any does that is ours makes work for its neighbours alone.
const PASSING_PACE: Duration = Duration::from_millis(250);
const PASSED_AHEAD: Duration = Duration::from_secs(1);

/// The keys of this agent at work.
pub trait Keys: Judge {
    /// With the agent's Ed25519 key.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// There is something for the writer of the link to this neighbour.
    Send(AgentId),
    /// This agent is no member any more: end its link and every connection to or from it.
    Cut(AgentId, Refusal),
    /// What must outlive a restart has changed: pins, revocations or the epoch.
    Keep,
}

/// What goes to a neighbour.
#[derive(Debug, Clone)]
pub enum Message {
    /// Which records we have, and how new: sent first on every link.
    Digest(Vec<(RecordName, Version)>),
    /// A record that the neighbour has not, or an older version of it.
    Record(Arc<Record>),
}

/// A record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// It is no record.
    Malformed(Malformed),
    /// Its signature is not its origin's.
    Forged,
    /// Its origin is no member, or not known to be one.
    Stranger,
    /// Its origin's certificate is worth nothing.
    Refused(Refusal),
    /// There are too many agents.
    Full,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Malformed(problem) => problem.fmt(f),
            Rejected::Forged => f.write_str("its signature is not its origin's"),
            Rejected::Stranger => f.write_str("its origin is not known to be a member"),
            Rejected::Refused(refusal) => refusal.fmt(f),
            Rejected::Full => write!(f, "{MAX_AGENTS} agents are known already"),
        }
    }
}

/// What an earlier run of an agent left for the next.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The epoch of that run; the next one has a greater one.
    pub epoch: u64,
    /// Which agent was the first with which invitation.
    pub pins: Vec<(InvitationId, AgentId)>,
    /// The record with the root's list of revocations, as it travels.
    pub revocations: Option<Vec<u8>>,
}

/// One agent's part in what all agents know.
pub struct Node<K> {
    keys: K,
    me: Member,
    membership: Membership,
    records: BTreeMap<RecordName, Arc<Record>>,
    /// Of the records of others.
    paces: BTreeMap<RecordName, Pace>,
    /// Those that are passed on later, when, and who has them already.
    late: BTreeMap<RecordName, (Instant, Option<AgentId>)>,
    neighbours: BTreeMap<AgentId, Neighbour>,
    /// What this agent says of itself.
    own: Own,
    wishes: VecDeque<Wish>,
    /// Rises whenever ways or services may have changed.
    revision: u64,
    graph: Option<Arc<Graph>>,
}

/// An agent at the other end of a link.
#[derive(Debug)]
struct Neighbour {
    cost: u16,
    /// As it was measured last.
    rtt: Duration,
    /// As others were told, or are about to be of a new link.
    told_rtt: Duration,
    /// It has not been told yet what we have.
    owes_digest: bool,
    /// It has told us what it has, so that we know what it lacks.
    is_known: bool,
    /// What it has yet to hear, in the order in which it can be understood.
    unsent: BTreeSet<RecordName>,
}

impl Neighbour {
    /// Does a message take a time of another order of magnitude than what others were told?
    fn has_other_pace(&self) -> bool {
        let (told, now) = (self.told_rtt.as_millis().max(1), self.rtt.as_millis().max(1));
        now > 4 * told || told > 4 * now
    }
}

/// What this agent says of itself, and when it said so last.
#[derive(Debug)]
struct Own {
    version: Version,
    services: Services,
    /// Each kind that is to be told anew, and when.
    due: BTreeMap<Kind, Instant>,
    told: BTreeMap<Kind, Instant>,
    /// When it is looked whether links take what others were told.
    rtts_due: Option<Instant>,
    is_leaving: bool,
}

impl<K: Keys> Node<K> {
    /// An agent without neighbours. Its first records are due at once: call [`handle_timeout`](Self::handle_timeout).
    ///
    /// # Errors
    /// Its own certificate is worth nothing.
    pub fn new(
        keys: K,
        root: Root,
        certificate: &Certificate,
        kept: Kept,
        now: Instant,
        unix: UnixTime,
    ) -> Result<Node<K>, Refusal> {
        let mut membership = Membership::new(root);
        membership.restore_pins(kept.pins);
        // What this agent has joined with is good however late it is: others pinned it when it joined.
        let me = membership.admit(&keys, certificate, Shown::ByAMember, unix)?.clone();
        // Where the disk forgot, the clock helps: a record of an earlier run must not look newer, nor as new. So two
        // runs that find no disk may not begin in the same second.
        let version = Version { epoch: kept.epoch.saturating_add(1).max(unix), sequence: 0 };
        let due = [Kind::Presence, Kind::Links, Kind::Services].map(|kind| (kind, now));
        let mut node = Node {
            keys,
            me,
            membership,
            records: BTreeMap::new(),
            paces: BTreeMap::new(),
            late: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            own: Own {
                version,
                services: Services::default(),
                due: BTreeMap::from(due),
                told: BTreeMap::new(),
                rtts_due: None,
                is_leaving: false,
            },
            wishes: VecDeque::from([Wish::Keep]),
            revision: 0,
            graph: None,
        };
        if let Some(list) = kept.revocations {
            // A file that somebody spoiled is worth no more than none; the neighbours have the list as well.
            let _ = node.handle_record(None, &list, now, unix);
        }
        if node.membership.get(node.me.id()).is_none() {
            return Err(Refusal::Revoked);
        }
        Ok(node)
    }

    /// This agent.
    pub fn me(&self) -> &Member {
        &self.me
    }

    /// The members that are known.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The keys at work.
    pub fn keys(&self) -> &K {
        &self.keys
    }

    /// What must outlive a restart.
    pub fn kept(&self) -> Kept {
        let list = self.records.get(&self.revocations_name());
        Kept {
            epoch: self.own.version.epoch,
            pins: self.membership.pins().iter().map(|(invitation, agent)| (*invitation, *agent)).collect(),
            revocations: list.map(|record| record.encode()),
        }
    }

    /// Judges who knocks: the certificate that was shown at the other end of a new link.
    ///
    /// # Errors
    /// Why it is no member.
    pub fn handle_certificate(&mut self, certificate: &Certificate, unix: UnixTime) -> Result<Member, Refusal> {
        let pins = self.membership.pins().len();
        let member = self.membership.admit(&self.keys, certificate, Shown::InPerson, unix)?.clone();
        self.keep_if(self.membership.pins().len() > pins);
        Ok(member)
    }

    /// A link is there; where there was one to the same agent, this is the one that counts.
    pub fn handle_link_up(&mut self, peer: AgentId, cost: u16, rtt: Duration, now: Instant) {
        let cost = cost.max(1);
        let before = self.neighbours.get(&peer).filter(|before| before.cost == cost).map(|before| before.told_rtt);
        let told_rtt = before.unwrap_or(rtt);
        let neighbour = Neighbour { cost, rtt, told_rtt, owes_digest: true, is_known: false, unsent: BTreeSet::new() };
        let is_told = before.is_some() && !neighbour.has_other_pace();
        self.neighbours.insert(peer, neighbour);
        self.wishes.push_back(Wish::Send(peer));
        if !is_told {
            self.change(Kind::Links, now);
        }
    }

    /// The link to an agent is gone.
    pub fn handle_link_down(&mut self, peer: AgentId, now: Instant) {
        if self.neighbours.remove(&peer).is_some() {
            self.change(Kind::Links, now);
        }
    }

    /// How long a message to a neighbour takes there and back. Told to others when it is another order of magnitude, 5 s after they were
    /// told of the links before at the earliest.
    pub fn handle_rtt(&mut self, peer: AgentId, rtt: Duration, now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.rtt = rtt;
        if neighbour.has_other_pace() && !self.own.is_leaving {
            let at = self.own.told.get(&Kind::Links).map_or(now, |told| now.max(*told + RTT_PACE));
            self.own.rtts_due.get_or_insert(at);
            self.handle_timeout(now);
        }
    }

    /// What this agent publishes and where it listens, from now on.
    pub fn handle_services(&mut self, services: Services, now: Instant) {
        if self.own.services != services {
            self.own.services = services;
            self.change(Kind::Services, now);
        }
    }

    /// This agent ends: everybody is told at once that it has neither links nor services.
    pub fn handle_leave(&mut self, now: Instant) {
        self.own.is_leaving = true;
        self.own.services = Services::default();
        self.own.due = BTreeMap::from([(Kind::Links, now), (Kind::Services, now)]);
        self.handle_timeout(now);
    }

    /// What a neighbour says that it has. What it lacks, or has older, is sent; what it has newer, it sends.
    pub fn handle_digest(&mut self, peer: AgentId, digest: &[(RecordName, Version)]) {
        let theirs: BTreeMap<&RecordName, &Version> = digest.iter().map(|(name, version)| (name, version)).collect();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.is_known = true;
        let lacks = |(name, record): &(&RecordName, &Arc<Record>)| {
            theirs.get(name).is_none_or(|version| **version < record.version)
        };
        neighbour.unsent = self.records.iter().filter(lacks).map(|(name, _)| *name).collect();
        self.wishes.push_back(Wish::Send(peer));
    }

    /// A record has come, from a neighbour or (with `None`) from this machine. `true`: it was news.
    ///
    /// # Errors
    /// Why it is not believed. Nothing has changed then.
    pub fn handle_record(
        &mut self,
        from: Option<AgentId>,
        bytes: &[u8],
        now: Instant,
        unix: UnixTime,
    ) -> Result<bool, Rejected> {
        let record = Record::decode(bytes).map_err(Rejected::Malformed)?;
        let (name, version) = (record.name, record.version);
        if let Some(known) = self.records.get(&name).filter(|known| known.version >= version) {
            // No news; and the neighbour either has it, or has to hear of the newer one.
            let is_older = known.version > version;
            if let Some(neighbour) = from.and_then(|peer| self.neighbours.get_mut(&peer)) {
                let _ = if is_older { neighbour.unsent.insert(name) } else { neighbour.unsent.remove(&name) };
            }
            self.wishes.extend(from.filter(|_| is_older).map(Wish::Send));
            return Ok(false);
        }
        if name.origin == self.me.id() {
            return self.overtake(&record, now);
        }
        self.believe(&record, unix)?;
        let gone = match &record.body {
            Body::Revocations(invitations) => {
                let list = Revocations { number: version.sequence, invitations: invitations.clone() };
                self.wishes.push_back(Wish::Keep);
                self.membership.handle_revocations(list).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        self.keep(record, from);
        // One that is late already goes in its newest version.
        if let Some((_, has_it)) = self.late.get_mut(&name) {
            *has_it = from;
        } else {
            let pace = self.paces.entry(name).or_insert_with(|| Pace::new(now));
            let wait = pace.take(PASSING_PACE, PASSED_AHEAD, now);
            if wait.is_zero() {
                self.pass_on(name, from);
            } else {
                self.late.insert(name, (now + wait, from));
            }
        }
        self.cut(gone, Refusal::Revoked);
        Ok(true)
    }

    /// A newer record of this agent is of an earlier run, whose epoch the disk has not kept. What it says is over, also
    /// while we leave.
    fn overtake(&mut self, record: &Record, now: Instant) -> Result<bool, Rejected> {
        if !record.is_signed_by(&self.keys, self.membership.root().mesh(), self.me.identity()) {
            return Err(Rejected::Forged);
        }
        self.own.version.epoch = self.own.version.epoch.max(record.version.epoch.saturating_add(1));
        self.wishes.push_back(Wish::Keep);
        for kind in [Kind::Presence, Kind::Links, Kind::Services] {
            self.tell_anew(kind, now);
        }
        Ok(true)
    }

    fn believe(&mut self, record: &Record, unix: UnixTime) -> Result<(), Rejected> {
        let RecordName { kind, origin } = record.name;
        let mesh = self.membership.root().mesh();
        let signer = match &record.body {
            Body::Revocations(_) if record.name == self.revocations_name() => *self.membership.root().key(),
            Body::Revocations(_) => return Err(Rejected::Stranger),
            Body::Presence(certificate) => certificate.identity,
            Body::Links(_) | Body::Services(_) => *self.membership.get(origin).ok_or(Rejected::Stranger)?.identity(),
        };
        if !record.is_signed_by(&self.keys, mesh, &signer) {
            return Err(Rejected::Forged);
        }
        let Body::Presence(certificate) = &record.body else { return Ok(()) };
        let is_new = !self.records.contains_key(&RecordName { kind, origin });
        if is_new && self.membership.iter().count() >= MAX_AGENTS {
            return Err(Rejected::Full);
        }
        if agent_id(&self.keys, &certificate.identity) != origin {
            return Err(Rejected::Forged);
        }
        let pins = self.membership.pins().len();
        self.membership.admit(&self.keys, certificate, Shown::ByAMember, unix).map_err(Rejected::Refused)?;
        self.keep_if(self.membership.pins().len() > pins);
        Ok(())
    }

    fn keep_if(&mut self, has_changed: bool) {
        self.wishes.extend(has_changed.then_some(Wish::Keep));
    }

    fn revocations_name(&self) -> RecordName {
        RecordName { kind: Kind::Revocations, origin: AgentId(self.membership.root().mesh().0) }
    }

    /// Keeps a record; the neighbour that it came from has it.
    fn keep(&mut self, record: Record, from: Option<AgentId>) {
        let name = record.name;
        self.records.insert(name, Arc::new(record));
        self.touch();
        if let Some(neighbour) = from.and_then(|peer| self.neighbours.get_mut(&peer)) {
            neighbour.unsent.remove(&name);
        }
    }

    /// Marks a record for every neighbour but the one that it came from.
    fn pass_on(&mut self, name: RecordName, from: Option<AgentId>) {
        for (peer, neighbour) in &mut self.neighbours {
            if Some(*peer) != from && neighbour.is_known {
                neighbour.unsent.insert(name);
                self.wishes.push_back(Wish::Send(*peer));
            }
        }
    }

    fn touch(&mut self) {
        self.revision += 1;
        self.graph = None;
    }

    /// Ends what agents had that are no members any more.
    fn cut(&mut self, gone: Vec<AgentId>, why: Refusal) {
        if gone.is_empty() {
            return;
        }
        self.records.retain(|name, _| !gone.contains(&name.origin));
        self.paces.retain(|name, _| !gone.contains(&name.origin));
        self.late.retain(|name, _| !gone.contains(&name.origin));
        for neighbour in self.neighbours.values_mut() {
            neighbour.unsent.retain(|name| !gone.contains(&name.origin));
        }
        self.wishes.extend(gone.into_iter().map(|agent| Wish::Cut(agent, why)));
        self.touch();
    }

    /// Looks at the wall clock: a membership may have expired. Once a second is often enough.
    pub fn handle_time(&mut self, unix: UnixTime) {
        let gone = self.membership.handle_time(unix);
        self.cut(gone, Refusal::Expired);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let late = self.late.values().map(|(at, _)| at);
        self.own.due.values().chain(&self.own.rtts_due).chain(late).min().copied()
    }

    /// Tells what is due of this agent, and passes on what was held back.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |(name, (at, from)): (&RecordName, &(Instant, _))| (*at <= now).then_some((*name, *from));
        let late: Vec<(RecordName, Option<AgentId>)> = self.late.iter().filter_map(is_due).collect();
        for (name, from) in late {
            self.late.remove(&name);
            self.pass_on(name, from);
        }
        if self.own.rtts_due.take_if(|at| *at <= now).is_some()
            && self.neighbours.values().any(Neighbour::has_other_pace)
        {
            self.own.due.insert(Kind::Links, now);
        }
        let due: Vec<Kind> = self.own.due.iter().filter(|(_, at)| **at <= now).map(|(kind, _)| *kind).collect();
        for kind in due {
            self.own.due.remove(&kind);
            self.own.told.insert(kind, now);
            if kind == Kind::Links {
                self.own.rtts_due = None;
                self.neighbours.values_mut().for_each(|neighbour| neighbour.told_rtt = neighbour.rtt);
            }
            let body = self.tell(kind);
            self.own.version.sequence += 1;
            let (mesh, version) = (self.membership.root().mesh(), self.own.version);
            let record = Record::create(mesh, self.me.id(), version, body, |message| self.keys.sign(message));
            let name = record.name;
            self.keep(record, None);
            self.pass_on(name, None);
        }
    }

    fn tell(&self, kind: Kind) -> Body {
        match kind {
            Kind::Links if self.own.is_leaving => Body::Links(Vec::new()),
            Kind::Links => {
                let claim = |(peer, neighbour): (&AgentId, &Neighbour)| LinkClaim {
                    peer: *peer,
                    cost: neighbour.cost,
                    rtt_ms: u16::try_from(neighbour.told_rtt.as_millis()).unwrap_or(u16::MAX),
                };
                Body::Links(self.neighbours.iter().map(claim).collect())
            }
            Kind::Services => Body::Services(self.own.services.clone()),
            Kind::Presence | Kind::Revocations => Body::Presence(Box::new(self.me.certificate().clone())),
        }
    }

    /// Something of this agent has changed. Who leaves has said what there is to say.
    fn change(&mut self, kind: Kind, now: Instant) {
        if !self.own.is_leaving {
            self.tell_anew(kind, now);
        }
    }

    /// Tells at once after a quiet time, and at a bounded pace otherwise.
    fn tell_anew(&mut self, kind: Kind, now: Instant) {
        let at = self.own.told.get(&kind).map_or(now, |told| now.max(*told + PACE));
        self.own.due.entry(kind).or_insert(at);
        self.handle_timeout(now);
    }

    /// What the shell is to do next.
    pub fn poll_output(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// What the writer of the link to this neighbour is to send next; it asks again when that is sent.
    pub fn poll_send(&mut self, peer: AgentId) -> Option<Message> {
        let neighbour = self.neighbours.get_mut(&peer)?;
        if std::mem::take(&mut neighbour.owes_digest) {
            let digest = self.records.iter().map(|(name, record)| (*name, record.version));
            return Some(Message::Digest(digest.collect()));
        }
        loop {
            let name = neighbour.unsent.pop_first()?;
            if let Some(record) = self.records.get(&name) {
                return Some(Message::Record(Arc::clone(record)));
            }
        }
    }

    /// Rises whenever ways or services may have changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The agents with a link to this one.
    pub fn neighbours(&self) -> impl Iterator<Item = AgentId> {
        self.neighbours.keys().copied()
    }

    /// What an agent says that it publishes and where it listens, less what it has no right to. Nothing of somebody who is no member.
    pub fn services(&self, agent: AgentId) -> Services {
        let Some(member) = self.membership.get(agent) else { return Services::default() };
        let name = RecordName { kind: Kind::Services, origin: agent };
        let Some(Body::Services(services)) = self.records.get(&name).map(|record| &record.body) else {
            return Services::default();
        };
        let rights = member.rights();
        let endpoints = services.endpoints.iter().filter(|endpoint| rights.may_publish(&endpoint.key));
        let listeners = services.listeners.iter().filter(|listener| rights.may_listen(&listener.key));
        Services { endpoints: endpoints.cloned().collect(), listeners: listeners.cloned().collect() }
    }

    /// Every endpoint for a key, of agents that may publish it.
    pub fn endpoints(&self, key: &RoutingKey, protocol: Protocol) -> Vec<(AgentId, &Endpoint)> {
        let first = RecordName { kind: Kind::Services, origin: AgentId([0; 16]) };
        let published = self.records.range(first..).filter_map(|(name, record)| {
            let Body::Services(services) = &record.body else { return None };
            let start = services.endpoints.partition_point(|endpoint| endpoint.key < *key);
            let of_key = services.endpoints.get(start..)?.iter().take_while(move |endpoint| endpoint.key == *key);
            let of_key = of_key.filter(move |endpoint| endpoint.protocol == protocol);
            let may = self.membership.get(name.origin)?.rights().may_publish(key);
            may.then_some(of_key.map(|endpoint| (name.origin, endpoint)))
        });
        published.flatten().collect()
    }

    /// The links that an agent claims.
    pub fn claims(&self, agent: AgentId) -> &[LinkClaim] {
        match self.records.get(&RecordName { kind: Kind::Links, origin: agent }).map(|record| &record.body) {
            Some(Body::Links(claims)) => claims,
            _ => &[],
        }
    }

    /// The mesh as it is known now. Made when it is asked for, and once for each change.
    pub fn graph(&mut self) -> Arc<Graph> {
        if let Some(graph) = &self.graph {
            return Arc::clone(graph);
        }
        let agents = self.membership.iter().map(|member| {
            let claims = self.claims(member.id()).iter().map(|claim| (claim.peer, claim.cost));
            (member.id(), member.rights().transit, claims)
        });
        let graph = Arc::new(Graph::new(agents));
        self.graph = Some(Arc::clone(&graph));
        graph
    }

    /// The shortest ways from this agent, whatever has failed lately.
    pub fn routes(&mut self) -> Routes {
        self.graph().routes(self.me.id(), |_, _| false)
    }
}
