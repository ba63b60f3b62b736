//! A mesh without sockets: agents, links with a delay, a rate and a bounded buffer, and what is under way, all on a
//! clock that the story moves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use adit_core::mesh::{
    AgentId, Certificate, Endpoint, Frame, Hello, Kept, Listener, MAX_FRAME, Message, Node, Protocol, Record,
    RecordName, Refusal, Rejected, Rights, Root, RoutingKey, Services, UnixTime, Wish, agent_id,
};

use crate::mesh_keys::{DAWN, ToyKeys, all_rights, invite, join};

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn routing_key(name: &str) -> RoutingKey {
    name.parse().unwrap()
}

/// Chance that comes out the same each time.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> Duration {
        millis(range.start + self.roll() % (range.end - range.start))
    }
}

pub(crate) fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// An endpoint that is up, with priority 0.
pub(crate) fn endpoint(key: &str) -> Endpoint {
    Endpoint {
        key: routing_key(key),
        protocol: Protocol::Tcp,
        target: "127.0.0.1:80".to_owned(),
        priority: 0,
        is_up: true,
    }
}

/// Endpoints for these keys, and a listener for the first.
pub(crate) fn services(keys: &[&str]) -> Services {
    let mut endpoints: Vec<_> = keys.iter().map(|key| endpoint(key)).collect();
    endpoints.sort_by(|one, other| one.key.cmp(&other.key));
    let listener =
        |key: &&str| Listener { key: routing_key(key), protocol: Protocol::Tcp, address: ":8080".to_owned() };
    Services { endpoints, listeners: keys.first().map(listener).into_iter().collect() }
}

/// What a link is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    /// One way.
    pub(crate) delay: Duration,
    /// In bytes per second.
    pub(crate) rate: u64,
    pub(crate) cost: u16,
}

/// 10 MB/s, 10 ms.
pub(crate) const WIRE: Wire = Wire { delay: Duration::from_millis(10), rate: 10_000_000, cost: 10 };

/// How many bytes a link's writer may hand over before they are on the wire.
const ROOM: usize = 64 * 1024;

/// The agents of a link, the lower number first.
pub(crate) type Pair = (usize, usize);

fn pair(one: usize, other: usize) -> Pair {
    (one.min(other), one.max(other))
}

struct Link {
    wire: Wire,
    /// Its agents dial each other whenever both run.
    is_wanted: bool,
    /// Counts the connections; what is under way on an earlier one is lost.
    generation: u64,
    /// The connection that each end believes in.
    ends: [Option<u64>; 2],
    lanes: [Lane; 2],
}

/// One direction of a link.
#[derive(Clone, Copy)]
struct Lane {
    waiting: usize,
    free_at: Instant,
    /// Who should read it does not.
    is_stalled: bool,
}

pub(crate) struct TestAgent {
    pub(crate) id: AgentId,
    pub(crate) keys: ToyKeys,
    pub(crate) certificate: Certificate,
    pub(crate) node: Option<Node<ToyKeys>>,
    /// The disk.
    pub(crate) kept: Kept,
    pub(crate) services: Services,
    /// Its wall clock is so many seconds late.
    pub(crate) clock_behind: u64,
    pub(crate) is_leaving: bool,
    pub(crate) cuts: Vec<(AgentId, Refusal)>,
    pub(crate) rejected: Vec<Rejected>,
    alarm: Option<Instant>,
}

#[derive(Debug)]
enum Event {
    Start { agent: usize },
    Up { agent: usize, peer: usize, generation: u64 },
    Down { agent: usize, peer: usize, generation: u64 },
    Written { from: usize, to: usize, generation: u64, length: usize },
    Arrived { from: usize, to: usize, generation: u64, frame: Vec<u8> },
    Alarm { agent: usize },
    Second,
}

pub(crate) struct TestMesh {
    pub(crate) root: ToyKeys,
    pub(crate) agents: Vec<TestAgent>,
    pub(crate) now: Instant,
    /// Everything that went over any link.
    pub(crate) bytes: u64,
    pub(crate) frames: u64,
    /// When a record was news to somebody for the last time.
    pub(crate) last_news: Instant,
    start: Instant,
    links: BTreeMap<Pair, Link>,
    queue: BTreeMap<(Instant, u64), Event>,
    queued: u64,
}

impl TestMesh {
    /// Agents with all rights, none of which runs yet.
    pub(crate) fn new(agents: usize) -> TestMesh {
        let start = Instant::now();
        let mut mesh = TestMesh {
            root: ToyKeys::of("root"),
            agents: Vec::new(),
            now: start,
            bytes: 0,
            frames: 0,
            last_news: start,
            start,
            links: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
        };
        for _ in 0..agents {
            mesh.add(all_rights());
        }
        mesh.push(Duration::from_secs(1), Event::Second);
        mesh
    }

    /// Agents that run, with these links, all settled.
    pub(crate) fn of(agents: usize, links: &[Pair]) -> TestMesh {
        let mut mesh = TestMesh::new(agents);
        links.iter().for_each(|(one, other)| mesh.link(*one, *other, WIRE));
        (0..agents).for_each(|agent| mesh.start(agent));
        mesh.run_for(Duration::from_secs(3));
        mesh
    }

    /// Agents in a row.
    pub(crate) fn line(agents: usize) -> TestMesh {
        TestMesh::of(agents, &(1..agents).map(|agent| (agent - 1, agent)).collect::<Vec<_>>())
    }

    pub(crate) fn add(&mut self, rights: Rights) -> usize {
        let number = self.agents.len();
        let (keys, invited) = (ToyKeys::of(&format!("agent {number}")), ToyKeys::of(&format!("invitation {number}")));
        let certificate = join(invite(&self.root, &invited, rights), &invited, &keys);
        self.agents.push(TestAgent {
            id: agent_id(&keys, &keys.public),
            keys,
            certificate,
            node: None,
            kept: Kept::default(),
            services: services(&[&format!("key of {number}"), "everybody's"]),
            clock_behind: 0,
            is_leaving: false,
            cuts: Vec::new(),
            rejected: Vec::new(),
            alarm: None,
        });
        number
    }

    pub(crate) fn id(&self, agent: usize) -> AgentId {
        self.agents[agent].id
    }

    pub(crate) fn node(&mut self, agent: usize) -> &mut Node<ToyKeys> {
        self.agents[agent].node.as_mut().unwrap()
    }

    pub(crate) fn unix(&self, agent: usize) -> UnixTime {
        DAWN + (self.now - self.start).as_secs() - self.agents[agent].clock_behind
    }

    pub(crate) fn trusted_root(&self) -> Root {
        Root::new(&self.root, self.root.public)
    }

    /// The agents of the way from one to another, as the first knows it.
    pub(crate) fn way(&mut self, from: usize, to: usize) -> Option<Vec<usize>> {
        let id = self.id(to);
        let path = self.node(from).routes().to(id)?.path;
        Some(path.iter().map(|id| self.number(*id)).collect())
    }

    pub(crate) fn number(&self, id: AgentId) -> usize {
        self.agents.iter().position(|agent| agent.id == id).unwrap()
    }

    /// How many endpoints for a key an agent can reach.
    pub(crate) fn reachable(&mut self, from: usize, key: &str) -> usize {
        let node = self.node(from);
        let routes = node.routes();
        node.endpoints(&routing_key(key), Protocol::Tcp)
            .iter()
            .filter(|(agent, _)| routes.cost(*agent).is_some())
            .count()
    }

    /// The records that an agent has, as it would tell a new neighbour.
    pub(crate) fn records(&mut self, agent: usize) -> Vec<RecordName> {
        let (newcomer, now) = (AgentId([0xff; 16]), self.now);
        let node = self.node(agent);
        node.handle_link_up(newcomer, 10, millis(1), now);
        let Some(Message::Digest(digest)) = node.poll_send(newcomer) else { panic!("a digest comes first") };
        node.handle_link_down(newcomer, now);
        digest.into_iter().map(|(name, _)| name).collect()
    }

    // What happens to agents.

    pub(crate) fn start(&mut self, agent: usize) {
        let unix = self.unix(agent);
        let (root, now) = (self.trusted_root(), self.now);
        let it = &mut self.agents[agent];
        assert!(it.node.is_none(), "agent {agent} runs");
        let node = Node::new(it.keys, root, &it.certificate, it.kept.clone(), now, unix);
        let node = it.node.insert(node.unwrap());
        node.handle_services(it.services.clone(), now);
        node.handle_timeout(now);
        (it.is_leaving, it.alarm) = (false, None);
        self.follow(agent);
        for (one, other) in self.links_of(agent) {
            self.dial(one, other);
        }
    }

    pub(crate) fn start_in(&mut self, agent: usize, pause: Duration) {
        self.push(pause, Event::Start { agent });
    }

    /// An agent ends without a word; its neighbours notice after a while.
    pub(crate) fn kill(&mut self, agent: usize, noticed_after: Duration) {
        self.agents[agent].node = None;
        for (one, other) in self.links_of(agent) {
            let peer = one + other - agent;
            let link = self.link_of(agent, peer);
            link.generation += 1;
            link.ends[usize::from(agent > peer)] = None;
            if let Some(generation) = link.ends[usize::from(peer > agent)] {
                self.push(noticed_after, Event::Down { agent: peer, peer: agent, generation });
            }
        }
    }

    pub(crate) fn leave(&mut self, agent: usize) {
        let now = self.now;
        self.node(agent).handle_leave(now);
        self.agents[agent].is_leaving = true;
        self.follow(agent);
    }

    pub(crate) fn serve(&mut self, agent: usize, services: Services) {
        let now = self.now;
        self.agents[agent].services = services.clone();
        if let Some(node) = &mut self.agents[agent].node {
            node.handle_services(services, now);
            self.follow(agent);
        }
    }

    /// A record comes to an agent from a neighbour or from its own machine.
    pub(crate) fn hand(&mut self, agent: usize, from: Option<usize>, record: &Record) -> Result<bool, Rejected> {
        self.receive(agent, from, &record.encode())
    }

    fn receive(&mut self, agent: usize, from: Option<usize>, record: &[u8]) -> Result<bool, Rejected> {
        let (from, now, unix) = (from.map(|peer| self.id(peer)), self.now, self.unix(agent));
        let told = self.node(agent).handle_record(from, record, now, unix);
        match told {
            Ok(true) => self.last_news = now,
            Ok(false) => {}
            Err(rejected) => self.agents[agent].rejected.push(rejected),
        }
        self.follow(agent);
        told
    }

    // What happens to links.

    /// Two agents are to have a link from now on.
    pub(crate) fn link(&mut self, one: usize, other: usize, wire: Wire) {
        let lane = Lane { waiting: 0, free_at: self.now, is_stalled: false };
        let link = Link { wire, is_wanted: true, generation: 0, ends: [None; 2], lanes: [lane; 2] };
        let link = self.links.entry(pair(one, other)).or_insert(link);
        (link.wire, link.is_wanted) = (wire, true);
        self.dial(one, other);
    }

    /// Two agents connect anew, if both run; what was between them before is replaced.
    pub(crate) fn dial(&mut self, one: usize, other: usize) {
        if self.agents[one].node.is_none() || self.agents[other].node.is_none() {
            return;
        }
        let now = self.now;
        let link = self.link_of(one, other);
        if !link.is_wanted {
            return;
        }
        link.generation += 1;
        for lane in &mut link.lanes {
            (lane.waiting, lane.free_at) = (0, now);
        }
        let (generation, delay) = (link.generation, link.wire.delay);
        self.push(delay, Event::Up { agent: one, peer: other, generation });
        self.push(2 * delay, Event::Up { agent: other, peer: one, generation });
    }

    /// There is no link any more, as both ends know.
    pub(crate) fn unlink(&mut self, one: usize, other: usize) {
        self.link_of(one, other).is_wanted = false;
        self.cut(one, other);
    }

    fn cut(&mut self, one: usize, other: usize) {
        self.link_of(one, other).generation += 1;
        for (agent, peer) in [(one, other), (other, one)] {
            if let Some(generation) = self.link_of(one, other).ends[usize::from(agent > peer)] {
                self.handle(Event::Down { agent, peer, generation });
            }
        }
    }

    /// `to` reads nothing of what `from` sends, until it is told otherwise.
    pub(crate) fn stall(&mut self, from: usize, to: usize, is_stalled: bool) {
        self.link_of(from, to).lanes[usize::from(from > to)].is_stalled = is_stalled;
        self.pump(from, to);
    }

    pub(crate) fn is_linked(&self, one: usize, other: usize) -> bool {
        let link = self.links.get(&pair(one, other));
        link.is_some_and(|link| link.ends.iter().all(|end| *end == Some(link.generation)))
    }

    /// Everybody reads.
    pub(crate) fn read_again(&mut self) {
        for (one, other) in self.links.keys().copied().collect::<Vec<_>>() {
            self.stall(one, other, false);
            self.stall(other, one, false);
        }
    }

    pub(crate) fn is_wanted(&self, one: usize, other: usize) -> bool {
        self.links.get(&pair(one, other)).is_some_and(|link| link.is_wanted)
    }

    /// Every link that there is, with its cost.
    pub(crate) fn true_links(&self) -> Vec<(Pair, u16)> {
        let is_there = |agent: usize| self.agents[agent].node.is_some() && !self.agents[agent].is_leaving;
        let there = self
            .links
            .iter()
            .filter(|((one, other), _)| self.is_linked(*one, *other) && is_there(*one) && is_there(*other));
        there.map(|(pair, link)| (*pair, link.wire.cost)).collect()
    }

    fn link_of(&mut self, one: usize, other: usize) -> &mut Link {
        self.links.get_mut(&pair(one, other)).unwrap()
    }

    fn links_of(&self, agent: usize) -> Vec<Pair> {
        self.links.keys().filter(|(one, other)| *one == agent || *other == agent).copied().collect()
    }

    // Time.

    fn push(&mut self, after: Duration, event: Event) {
        self.push_at(self.now + after, event);
    }

    fn push_at(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), event) = next.remove_entry();
            self.now = at;
            self.handle(event);
        }
        self.now = end;
    }

    /// Answers how long it took.
    pub(crate) fn run_until(
        &mut self,
        bound: Duration,
        mut is_so: impl FnMut(&mut TestMesh) -> bool,
    ) -> Option<Duration> {
        let begin = self.now;
        while self.now - begin <= bound {
            if is_so(self) {
                return Some(self.now - begin);
            }
            self.run_for(millis(5));
        }
        None
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start { agent } => self.start(agent),
            Event::Up { agent, peer, generation } => self.handle_up(agent, peer, generation),
            Event::Down { agent, peer, generation } => {
                let now = self.now;
                let id = self.id(peer);
                let end = &mut self.link_of(agent, peer).ends[usize::from(agent > peer)];
                if *end == Some(generation) {
                    *end = None;
                    if let Some(node) = &mut self.agents[agent].node {
                        node.handle_link_down(id, now);
                        self.follow(agent);
                    }
                }
            }
            Event::Written { from, to, generation, length } => {
                let link = self.link_of(from, to);
                if link.generation == generation {
                    link.lanes[usize::from(from > to)].waiting -= length;
                    self.pump(from, to);
                }
            }
            Event::Arrived { from, to, generation, frame } => {
                let link = self.link_of(from, to);
                if link.generation == generation && link.ends[usize::from(to > from)] == Some(generation) {
                    self.handle_frame(from, to, &frame);
                }
            }
            Event::Alarm { agent } => {
                let now = self.now;
                self.agents[agent].alarm = None;
                if let Some(node) = &mut self.agents[agent].node {
                    node.handle_timeout(now);
                    self.follow(agent);
                }
            }
            Event::Second => {
                for agent in 0..self.agents.len() {
                    let unix = self.unix(agent);
                    if let Some(node) = &mut self.agents[agent].node {
                        node.handle_time(unix);
                        self.follow(agent);
                    }
                }
                self.push(Duration::from_secs(1), Event::Second);
            }
        }
    }

    fn handle_up(&mut self, agent: usize, peer: usize, generation: u64) {
        let (now, unix) = (self.now, self.unix(agent));
        let link = self.link_of(agent, peer);
        let wire = link.wire;
        if link.generation != generation {
            return;
        }
        let (id, certificate) = (self.agents[peer].id, self.agents[peer].certificate.clone());
        if let Err(refusal) = self.node(agent).handle_certificate(&certificate, unix) {
            self.agents[agent].rejected.push(Rejected::Refused(refusal));
            self.cut(agent, peer);
            return;
        }
        let mesh = self.trusted_root().mesh();
        self.count(
            Frame::Hello(Box::new(Hello { mesh, certificate })).encode().len() + Frame::Welcome(1).encode().len(),
        );
        self.link_of(agent, peer).ends[usize::from(agent > peer)] = Some(generation);
        self.node(agent).handle_link_up(id, wire.cost, 2 * wire.delay, now);
        self.follow(agent);
    }

    fn handle_frame(&mut self, from: usize, to: usize, frame: &[u8]) {
        match Frame::decode(&frame[4..]).unwrap() {
            Frame::Digest(digest) => {
                let from = self.id(from);
                self.node(to).handle_digest(from, &digest);
                self.follow(to);
            }
            Frame::Record(record) => {
                let _ = self.receive(to, Some(from), &record);
            }
            other => panic!("{other:?} is not for the node"),
        }
    }

    /// Does what an agent wishes.
    pub(crate) fn follow(&mut self, agent: usize) {
        while let Some(wish) = self.agents[agent].node.as_mut().and_then(Node::poll_output) {
            match wish {
                Wish::Send(peer) => {
                    if let Some(peer) = self.agents.iter().position(|agent| agent.id == peer) {
                        self.pump(agent, peer);
                    }
                }
                Wish::Keep => self.agents[agent].kept = self.node(agent).kept(),
                Wish::Cut(who, why) => {
                    self.agents[agent].cuts.push((who, why));
                    let who = self.agents.iter().position(|agent| agent.id == who);
                    if let Some(peer) = who.filter(|peer| self.links.contains_key(&pair(agent, *peer))) {
                        self.cut(agent, peer);
                    }
                }
            }
        }
        let it = &mut self.agents[agent];
        let due = it.node.as_ref().and_then(Node::poll_timeout);
        if let Some(at) = due.filter(|at| it.alarm.is_none_or(|alarm| *at < alarm)) {
            it.alarm = Some(at);
            self.push_at(at, Event::Alarm { agent });
        }
    }

    /// A link's writer writes while there is room.
    fn pump(&mut self, from: usize, to: usize) {
        let Some(link) = self.links.get_mut(&pair(from, to)) else { return };
        let (generation, end) = (link.generation, usize::from(from > to));
        if link.ends[end] != Some(generation) || self.agents[from].node.is_none() {
            return;
        }
        let to_id = self.id(to);
        loop {
            let now = self.now;
            let lane = self.link_of(from, to).lanes[end];
            if lane.is_stalled || lane.waiting >= ROOM {
                return;
            }
            let Some(message) = self.node(from).poll_send(to_id) else { return };
            let frame = Frame::from(&message).encode();
            assert!(frame.len() <= MAX_FRAME + 4);
            self.count(frame.len());
            let wire = self.link_of(from, to).wire;
            let length = frame.len();
            let written = lane.free_at.max(now) + Duration::from_nanos(length as u64 * 1_000_000_000 / wire.rate);
            let lane = &mut self.link_of(from, to).lanes[end];
            (lane.waiting, lane.free_at) = (lane.waiting + length, written);
            self.push_at(written, Event::Written { from, to, generation, length });
            self.push_at(written + wire.delay, Event::Arrived { from, to, generation, frame });
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.frames += 1;
    }
}

/// Everything that a writer would send to a neighbour now.
pub(crate) fn drain(node: &mut Node<ToyKeys>, peer: AgentId) -> Vec<Message> {
    std::iter::from_fn(|| node.poll_send(peer)).collect()
}

/// The name of the record in a message.
pub(crate) fn record_name(message: &Message) -> Option<RecordName> {
    match message {
        Message::Record(record) => Some(record.name),
        Message::Digest(_) => None,
    }
}
