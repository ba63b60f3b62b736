//! A local agent without sockets: does what its tunnels and their pool wish, on a clock that the story moves. Every wish is
//! checked against what was wished before, so each story also proves that nothing is bound, claimed or logged in twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use adit_core::{
    Attempt, BindFailure, ConnectionId, ConnectionKey, ForwardKind, LoginFailure, LossReason, Pool, PoolWish,
    ReconnectPolicy, Tunnel, TunnelStatus, TunnelWish,
};

use crate::host::port;

/// One tunnel of a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u32);

/// How the world answers a question of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    Yes,
    No,
    /// The story answers, later.
    Later,
}

pub(crate) struct TestAgent {
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) tunnels: BTreeMap<Id, (Tunnel, ForwardKind, ConnectionKey)>,
    pub(crate) pool: Pool<Id>,
    /// Are local ports free?
    pub(crate) ports: World,
    /// Do servers let us in?
    pub(crate) logins: World,
    /// Do servers listen for us?
    pub(crate) forwards: World,
    /// Do servers answer probes?
    pub(crate) probes: World,
    pub(crate) binding: BTreeMap<Id, Attempt>,
    pub(crate) bound: BTreeSet<Id>,
    pub(crate) claims: BTreeSet<Id>,
    pub(crate) logging_in: BTreeMap<ConnectionId, ConnectionKey>,
    pub(crate) live: BTreeMap<ConnectionId, ConnectionKey>,
    pub(crate) asked_forwards: BTreeMap<Id, (Attempt, ConnectionId)>,
    pub(crate) open_forwards: BTreeMap<Id, ConnectionId>,
    pub(crate) probed: BTreeSet<ConnectionId>,
    /// When each login was begun, since the start.
    pub(crate) login_times: Vec<Duration>,
    pub(crate) probe_times: Vec<Duration>,
    /// How many claims were made, and how many ended.
    acquired: u32,
    ended: u32,
    draining: bool,
    /// Every status each tunnel had, by name.
    pub(crate) told: BTreeMap<Id, Vec<&'static str>>,
}

pub(crate) fn bind_failure() -> BindFailure {
    BindFailure::PortHeld { address: ([127, 0, 0, 1], 8080).into(), holder: None, next_free: None }
}

pub(crate) fn no_route() -> LoginFailure {
    LoginFailure::Passing("no route to host".into())
}

pub(crate) fn reset() -> LossReason {
    LossReason::Ended("connection reset".into())
}

pub(crate) fn key(host: &str) -> ConnectionKey {
    ConnectionKey::new(host, port(22), "prof_1".into(), None, None)
}

impl TestAgent {
    pub(crate) fn new() -> TestAgent {
        let now = Instant::now();
        TestAgent {
            now,
            start: now,
            tunnels: BTreeMap::new(),
            pool: Pool::new(),
            ports: World::Yes,
            logins: World::Yes,
            forwards: World::Yes,
            probes: World::Yes,
            binding: BTreeMap::new(),
            bound: BTreeSet::new(),
            claims: BTreeSet::new(),
            logging_in: BTreeMap::new(),
            live: BTreeMap::new(),
            asked_forwards: BTreeMap::new(),
            open_forwards: BTreeMap::new(),
            probed: BTreeSet::new(),
            login_times: Vec::new(),
            probe_times: Vec::new(),
            acquired: 0,
            ended: 0,
            draining: false,
            told: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, kind: ForwardKind, policy: ReconnectPolicy, key: ConnectionKey) -> Id {
        let id = Id(self.tunnels.len() as u32);
        self.tunnels.insert(id, (Tunnel::new(kind, policy), kind, key));
        self.told.insert(id, Vec::new());
        id
    }

    /// A local forward to the bastion, with the defaults of a new tunnel.
    pub(crate) fn add_local(&mut self) -> Id {
        self.add(ForwardKind::Local, ReconnectPolicy::new(true, 5), key("bastion"))
    }

    /// Lets a tunnel live through something, and does what it then wishes.
    pub(crate) fn tell<R>(&mut self, id: Id, what: impl FnOnce(&mut Tunnel, Instant) -> R) -> R {
        let now = self.now;
        let told = what(&mut self.tunnels.get_mut(&id).unwrap().0, now);
        self.drain();
        told
    }

    pub(crate) fn start(&mut self, id: Id) {
        self.tell(id, |tunnel, _| tunnel.handle_start()).expect("it is not running");
    }

    pub(crate) fn stop(&mut self, id: Id) {
        self.tell(id, |tunnel, _| tunnel.handle_stop());
    }

    pub(crate) fn reconnect(&mut self, id: Id) {
        self.tell(id, |tunnel, _| tunnel.handle_reconnect());
    }

    pub(crate) fn set_policy(&mut self, id: Id, policy: ReconnectPolicy) {
        self.tell(id, |tunnel, _| tunnel.set_policy(policy));
    }

    pub(crate) fn status(&self, id: Id) -> TunnelStatus {
        self.tunnels[&id].0.status()
    }

    pub(crate) fn name(&self, id: Id) -> &'static str {
        self.status(id).name()
    }

    pub(crate) fn error(&self, id: Id) -> String {
        self.status(id).last_error().expect("nothing went wrong").to_string()
    }

    pub(crate) fn retry_count(&self, id: Id) -> u32 {
        match self.status(id) {
            TunnelStatus::Reconnecting { retry_count, .. } => retry_count,
            other => panic!("{} and not reconnecting", other.name()),
        }
    }

    /// The one connection there is.
    pub(crate) fn connection(&self) -> ConnectionId {
        assert_eq!(self.live.len(), 1);
        *self.live.keys().next().unwrap()
    }

    pub(crate) fn finish_bind(&mut self, id: Id, works: bool) {
        let attempt = self.binding.remove(&id).unwrap();
        if works {
            self.bound.insert(id);
            self.tell(id, |tunnel, _| tunnel.handle_bound(attempt));
        } else {
            self.tell(id, |tunnel, _| tunnel.handle_bind_failed(attempt, bind_failure()));
        }
    }

    pub(crate) fn finish_login(&mut self, connection: ConnectionId, result: Result<(), LoginFailure>) {
        let key = self.logging_in.remove(&connection).unwrap();
        match result {
            Ok(()) => {
                self.live.insert(connection, key);
                self.pool.handle_logged_in(connection, self.now);
            }
            Err(why) => self.pool.handle_login_failed(connection, &why),
        }
        self.drain();
    }

    pub(crate) fn finish_forward(&mut self, id: Id, works: bool) {
        let (attempt, connection) = self.asked_forwards.remove(&id).unwrap();
        if works {
            self.open_forwards.insert(id, connection);
            self.tell(id, |tunnel, now| tunnel.handle_forward_granted(attempt, port(8080), now));
        } else {
            let why = "the SSH server does not listen on port 8080";
            self.tell(id, |tunnel, now| tunnel.handle_forward_refused(attempt, why, now));
        }
    }

    pub(crate) fn hear(&mut self, connection: ConnectionId) {
        self.probed.remove(&connection);
        self.pool.handle_heard(connection, self.now);
        self.drain();
    }

    pub(crate) fn lose(&mut self, connection: ConnectionId) {
        assert!(self.live.remove(&connection).is_some());
        self.probed.remove(&connection);
        self.pool.handle_lost(connection, &reset());
        self.drain();
    }

    pub(crate) fn disturb(&mut self) {
        self.pool.handle_disturbance(self.now);
        self.drain();
        self.tunnels.values_mut().for_each(|(tunnel, ..)| tunnel.handle_disturbance());
        self.drain();
    }

    /// Moves the clock, stopping wherever somebody asked to be woken.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(alarm) = self.next_alarm().filter(|&alarm| alarm <= until) {
            self.now = self.now.max(alarm);
            self.ring();
        }
        self.now = until;
    }

    /// The clock goes on while nobody is woken; then all that is due is done.
    pub(crate) fn sleep(&mut self, by: Duration) {
        self.now += by;
        self.ring();
    }

    fn ring(&mut self) {
        self.pool.handle_timeout(self.now);
        self.drain();
        let now = self.now;
        self.tunnels.values_mut().for_each(|(tunnel, ..)| tunnel.handle_timeout(now));
        self.drain();
    }

    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.tunnels.values().filter_map(|(tunnel, ..)| tunnel.poll_timeout()).chain(self.pool.poll_timeout()).min()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Does all that is wished, and all that is wished because of it; then looks at the whole.
    fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        loop {
            if let Some(wish) = self.pool.poll_output() {
                self.apply_pool(wish);
                continue;
            }
            let next = self.tunnels.iter_mut().find_map(|(id, (tunnel, ..))| Some((*id, tunnel.poll_output()?)));
            match next {
                Some((id, wish)) => self.apply(id, wish),
                None => break,
            }
        }
        self.draining = false;
        self.check();
    }

    fn apply(&mut self, id: Id, wish: TunnelWish) {
        match wish {
            TunnelWish::Bind(attempt) => {
                assert!(!self.bound.contains(&id), "bound twice");
                assert_eq!(self.binding.insert(id, attempt), None, "bound twice");
                self.answer(self.ports, |agent, works| agent.finish_bind(id, works));
            }
            TunnelWish::Unbind => {
                let (bound, binding) = (self.bound.remove(&id), self.binding.remove(&id));
                assert!(bound || binding.is_some(), "there is no listener to close");
            }
            TunnelWish::Acquire => {
                assert!(self.claims.insert(id), "claimed twice");
                self.acquired += 1;
                let key = self.tunnels[&id].2.clone();
                self.pool.handle_acquire(id, key, self.now);
            }
            TunnelWish::Release => {
                self.end_claim(id);
                self.pool.handle_release(&id);
            }
            TunnelWish::OpenRemoteForward { attempt, connection } => {
                assert!(self.live.contains_key(&connection), "a forward on a connection that is not there");
                assert_eq!(self.asked_forwards.insert(id, (attempt, connection)), None, "asked twice");
                assert!(!self.open_forwards.contains_key(&id), "asked for what is open");
                self.answer(self.forwards, |agent, works| agent.finish_forward(id, works));
            }
            TunnelWish::CancelRemoteForward { connection } => {
                let asked = self.asked_forwards.remove(&id).map(|(_, on)| on);
                assert_eq!(asked.or(self.open_forwards.remove(&id)), Some(connection), "there is no forward to cancel");
            }
            TunnelWish::StatusChanged(status) => self.told.get_mut(&id).unwrap().push(status.name()),
        }
    }

    fn apply_pool(&mut self, wish: PoolWish<Id>) {
        match wish {
            PoolWish::LogIn { connection, key } => {
                let same = |other: &&ConnectionKey| **other == key;
                assert_eq!(self.logging_in.values().chain(self.live.values()).find(same), None, "a second login");
                self.logging_in.insert(connection, key);
                self.login_times.push(self.elapsed());
                self.answer(self.logins, |agent, works| {
                    agent.finish_login(connection, if works { Ok(()) } else { Err(no_route()) });
                });
            }
            PoolWish::Close { connection } => {
                self.probed.remove(&connection);
                let gone = (self.logging_in.remove(&connection), self.live.remove(&connection));
                assert!(gone != (None, None), "there is no connection to close");
            }
            PoolWish::Probe { connection } => {
                assert!(self.live.contains_key(&connection), "a probe on a connection that is not there");
                assert!(self.probed.insert(connection), "asked twice");
                self.probe_times.push(self.elapsed());
                self.answer(self.probes, |agent, works| {
                    if works {
                        agent.hear(connection);
                    }
                });
            }
            PoolWish::Up { member, connection } => {
                self.tell(member, |tunnel, now| tunnel.handle_connection_up(connection, now))
            }
            PoolWish::LoginFailed { member, why } => {
                self.end_claim(member);
                self.tell(member, |tunnel, now| tunnel.handle_login_failed(why, now));
            }
            PoolWish::Lost { member, connection, why } => {
                self.end_claim(member);
                // What was forwarded on it is gone with it.
                self.asked_forwards.remove(&member);
                self.open_forwards.remove(&member);
                self.tell(member, |tunnel, now| tunnel.handle_connection_lost(connection, why, now));
            }
        }
    }

    fn answer(&mut self, world: World, with: impl FnOnce(&mut TestAgent, bool)) {
        match world {
            World::Yes => with(self, true),
            World::No => with(self, false),
            World::Later => {}
        }
    }

    fn end_claim(&mut self, id: Id) {
        assert!(self.claims.remove(&id), "a claim ended twice");
        self.ended += 1;
    }

    /// What holds whenever nothing is left to do.
    fn check(&self) {
        assert_eq!(self.acquired - self.ended, self.claims.len() as u32);
        for (id, (tunnel, kind, key)) in &self.tunnels {
            let status = tunnel.status();
            if matches!(status, TunnelStatus::Connected { .. }) {
                assert!(self.live.values().any(|live| live == key), "connected without a connection");
                assert!(!kind.listens_here() || self.bound.contains(id), "connected without a listener");
                assert!(kind.listens_here() || self.open_forwards.contains_key(id), "connected without a forward");
            }
            if !status.is_running() {
                assert_eq!(tunnel.poll_timeout(), None, "an alarm of a tunnel that does not run");
                assert!(!self.claims.contains(id) && !self.bound.contains(id) && !self.binding.contains_key(id));
                assert!(!self.asked_forwards.contains_key(id) && !self.open_forwards.contains_key(id));
            }
        }
        for key in self.logging_in.values().chain(self.live.values()) {
            assert!(self.claims.iter().any(|id| self.tunnels[id].2 == *key), "a connection that nobody claims");
        }
        if self.claims.is_empty() {
            assert!(self.pool.is_empty(), "something was left behind: {:?}", self.pool);
        }
    }
}
