//! A jump host without sockets: does what the port table wishes, on a clock that the story moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use adit_core::{
    AccountId, ForwardRequest, Port, PortLease, PortRange, PortRules, PortTable, PortWish, RefuseReason, RequestId,
    SessionId, Takeover,
};

pub(crate) const ALICE: AccountId = AccountId(1);
pub(crate) const BOB: AccountId = AccountId(2);

pub(crate) fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

pub(crate) fn range(text: &str) -> PortRange {
    text.parse().unwrap()
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How a session behaves when it is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Answers at once.
    Alive,
    /// Never answers: its network is gone.
    Silent,
}

struct TestSession {
    account: AccountId,
    peer: Peer,
}

pub(crate) struct TestHost {
    pub(crate) table: PortTable,
    start: Instant,
    now: Instant,
    next_request: u64,
    next_session: u64,
    sessions: BTreeMap<SessionId, TestSession>,
    /// What is bound, by the lease that allows it.
    listeners: BTreeMap<Port, PortLease>,
    /// Ports that programs outside the jump host hold.
    pub(crate) held_by_system: BTreeSet<Port>,
    answers: BTreeMap<RequestId, Result<Port, RefuseReason>>,
    pub(crate) probes: Vec<(SessionId, Port)>,
    pub(crate) evictions: Vec<(SessionId, Port)>,
    /// How many listeners the table asked for, bound or not.
    pub(crate) binds_tried: u32,
}

impl TestHost {
    pub(crate) fn new() -> TestHost {
        TestHost::with_rules(PortRules::default())
    }

    pub(crate) fn with_takeover(takeover: Takeover) -> TestHost {
        TestHost::with_rules(PortRules { takeover, ..PortRules::default() })
    }

    pub(crate) fn with_ports(ports: &str) -> TestHost {
        TestHost::with_rules(PortRules { range: range(ports), ..PortRules::default() })
    }

    pub(crate) fn with_rules(rules: PortRules) -> TestHost {
        let start = Instant::now();
        TestHost {
            table: PortTable::new(rules),
            start,
            now: start,
            next_request: 0,
            next_session: 0,
            sessions: BTreeMap::new(),
            listeners: BTreeMap::new(),
            held_by_system: BTreeSet::new(),
            answers: BTreeMap::new(),
            probes: Vec::new(),
            evictions: Vec::new(),
            binds_tried: 0,
        }
    }

    pub(crate) fn connect(&mut self, account: AccountId) -> SessionId {
        self.connect_peer(account, Peer::Alive)
    }

    pub(crate) fn connect_peer(&mut self, account: AccountId, peer: Peer) -> SessionId {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        self.sessions.insert(session, TestSession { account, peer });
        session
    }

    /// A byte comes from the session.
    pub(crate) fn hear(&mut self, session: SessionId) {
        self.table.handle_heard(session);
        self.drain();
    }

    /// Asks for a port (0: any) and expects the answer at once.
    pub(crate) fn forward(&mut self, session: SessionId, number: u16) -> Result<Port, RefuseReason> {
        let request = self.ask(session, number);
        self.answer(request).expect("the request is still waiting")
    }

    /// Asks for a port (0: any); the answer may come later.
    pub(crate) fn ask(&mut self, session: SessionId, number: u16) -> RequestId {
        self.ask_with(session, number, |_| ())
    }

    /// Asks with what the session's key or tier says.
    pub(crate) fn ask_with(
        &mut self,
        session: SessionId,
        number: u16,
        adjust: impl FnOnce(&mut ForwardRequest),
    ) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let account = self.sessions[&session].account;
        let port = Port::new(number);
        let mut forward = ForwardRequest { request, session, account, port, allowed: None, limit: None };
        adjust(&mut forward);
        self.table.handle_forward_request(forward, self.now);
        self.drain();
        request
    }

    pub(crate) fn answer(&self, request: RequestId) -> Option<Result<Port, RefuseReason>> {
        self.answers.get(&request).copied()
    }

    /// The client cancels a forward; the shell closes the listener.
    pub(crate) fn cancel(&mut self, number: u16) {
        let lease = self.take_lease(number);
        self.give_back(lease);
    }

    pub(crate) fn take_lease(&mut self, number: u16) -> PortLease {
        self.listeners.remove(&port(number)).unwrap()
    }

    pub(crate) fn give_back(&mut self, lease: PortLease) {
        self.table.handle_released(lease, self.now);
        self.drain();
    }

    /// The session ends; the shell closes its listeners.
    pub(crate) fn cut(&mut self, session: SessionId) {
        self.end_but_keep_listeners(session);
        self.close_listeners(session);
    }

    /// The session ends, and its listeners take their time.
    pub(crate) fn end_but_keep_listeners(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.table.handle_session_ended(session);
        self.drain();
    }

    pub(crate) fn close_listeners(&mut self, session: SessionId) {
        let ports: Vec<Port> =
            self.listeners.values().filter(|lease| lease.session() == session).map(PortLease::port).collect();
        for port in ports {
            self.cancel(port.get());
        }
    }

    /// Moves the clock, stopping wherever the table asked to be woken.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(alarm) = self.table.poll_timeout().filter(|&alarm| alarm <= until) {
            self.now = self.now.max(alarm);
            self.table.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    pub(crate) fn since_start(&self, instant: Instant) -> Duration {
        instant - self.start
    }

    pub(crate) fn holder(&self, number: u16) -> Option<SessionId> {
        self.table.holder(port(number)).map(|holding| holding.session)
    }

    pub(crate) fn is_listening(&self, number: u16) -> bool {
        self.listeners.contains_key(&port(number))
    }

    fn drain(&mut self) {
        while let Some(wish) = self.table.poll_output() {
            self.apply(wish);
        }
    }

    fn apply(&mut self, wish: PortWish) {
        match wish {
            PortWish::Listen { request, lease } => {
                self.binds_tried += 1;
                let port = lease.port();
                assert!(!self.listeners.contains_key(&port), "two leases for port {port}");
                if self.held_by_system.contains(&port) {
                    return self.table.handle_listen_failed(lease, self.now);
                }
                self.listeners.insert(port, lease);
                self.table.handle_listening(request);
                self.record(request, Ok(port));
            }
            PortWish::Refuse { request, reason, .. } => self.record(request, Err(reason)),
            PortWish::Probe { session, port } => {
                self.probes.push((session, port));
                if self.sessions[&session].peer == Peer::Alive {
                    self.table.handle_heard(session);
                }
            }
            PortWish::Evict { session, port } => {
                self.evictions.push((session, port));
                // A wish earlier in the queue may have cut it already.
                if self.sessions.contains_key(&session) {
                    self.cut(session);
                }
            }
        }
    }

    fn record(&mut self, request: RequestId, answer: Result<Port, RefuseReason>) {
        assert_eq!(self.answers.insert(request, answer), None, "{request:?} was answered twice");
    }
}
