//! Random lives of a jump host, played to the port table and to a model of it that is too simple to be wrong: two plain
//! lists, searched from end to end. Listeners take their time to bind and to close, and some cannot be bound.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use adit_core::{
    AccountId, ForwardRequest, Port, PortLease, PortRange, PortRules, PortTable, PortWish, RefuseReason, RequestId,
    SessionId, Takeover,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::host::{port, range};

/// Few ports and few accounts, so that they meet.
const RANGE: &str = "10000-10005";
const LIMIT: u32 = 3;

#[derive(Debug, Clone)]
enum Event {
    Connect { account: i64 },
    Ask { session: Index, port: u16, allowed: Option<(u16, u16)> },
    Bind { opening: Index, works: bool },
    Release { lease: Index },
    Hear { session: Index },
    End { session: Index },
    Wait { milliseconds: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let key_range = (9_998_u16..10_008, 0_u16..4).prop_map(|(first, more)| (first, first + more));
    prop_oneof![
        2 => (1_i64..=2).prop_map(|account| Event::Connect { account }),
        8 => (any::<Index>(), prop_oneof![1 => Just(0), 3 => 9_999_u16..=10_006], prop::option::weighted(0.2, key_range))
            .prop_map(|(session, port, allowed)| Event::Ask { session, port, allowed }),
        6 => (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(opening, works)| Event::Bind { opening, works }),
        3 => any::<Index>().prop_map(|lease| Event::Release { lease }),
        2 => any::<Index>().prop_map(|session| Event::Hear { session }),
        1 => any::<Index>().prop_map(|session| Event::End { session }),
        3 => (0_u64..4_000).prop_map(|milliseconds| Event::Wait { milliseconds }),
    ]
}

fn takeover() -> impl Strategy<Value = Takeover> {
    prop_oneof![4 => Just(Takeover::Probe), 2 => Just(Takeover::Always), 1 => Just(Takeover::Never)]
}

/// A wish without the right in it, so that the model can name it too.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Listen(RequestId, SessionId, Port),
    Refuse(RequestId, SessionId, RefuseReason),
    Probe(SessionId, Port),
    Evict(SessionId, Port),
}

#[derive(Debug, Clone)]
struct Held {
    request: ForwardRequest,
    port: Port,
    since: Instant,
    tries: u32,
    bound: bool,
    leaving: bool,
    probed_until: Option<Instant>,
}

/// The rules of the port table, said as plainly as possible.
struct Model {
    rules: PortRules,
    held: Vec<Held>,
    /// In the order of arrival; each names its port.
    waiting: Vec<ForwardRequest>,
    moved: Vec<(Port, Instant)>,
    /// The port the table chose where the choice is its own.
    chosen: Option<Port>,
    expected: Vec<Seen>,
}

impl Model {
    fn ask(&mut self, request: ForwardRequest, now: Instant) {
        match self.judge(&request, now) {
            Err(reason) => self.expected.push(Seen::Refuse(request.request, request.session, reason)),
            Ok(None) => {
                let port = request.port.or(self.chosen).expect("the table granted no port");
                self.grant(request, port, 1, now);
            }
            Ok(Some(at)) => {
                self.waiting.push(request);
                let held = &mut self.held[at];
                if held.leaving || held.probed_until.is_some() {
                    return;
                }
                if self.rules.takeover == Takeover::Always {
                    self.evict(at, now);
                } else {
                    held.probed_until = Some(now + self.rules.probe_silence);
                    self.expected.push(Seen::Probe(held.request.session, held.port));
                }
            }
        }
    }

    /// Grant (`None`), or wait for the holder at this place of the list.
    fn judge(&self, request: &ForwardRequest, now: Instant) -> Result<Option<usize>, RefuseReason> {
        let Some(port) = request.port else {
            let candidates = self.candidates(request)?;
            self.limit(request, 1)?;
            if candidates.is_empty() {
                return Err(RefuseReason::RangeFull);
            }
            assert!(candidates.contains(&self.chosen.expect("the table granted no port")));
            return Ok(None);
        };
        if !self.rules.range.contains(port) {
            return Err(RefuseReason::OutOfRange { range: self.rules.range });
        }
        if let Some(range) = request.allowed.filter(|range| !range.contains(port)) {
            return Err(RefuseReason::OutsideKeyRange { range });
        }
        let Some(at) = self.held.iter().position(|held| held.port == port) else {
            return self.limit(request, 1).map(|()| None);
        };
        let held = &self.held[at];
        let session = held.request.session;
        if held.request.account != request.account {
            return Err(RefuseReason::HeldByOtherAccount);
        }
        let waits = |other: &ForwardRequest| other.session == request.session && other.port == Some(port);
        if session == request.session || self.waiting.iter().any(waits) {
            return Err(RefuseReason::AlreadyYours);
        }
        self.limit(request, 0)?;
        if held.leaving || held.probed_until.is_some() {
            return Ok(Some(at));
        }
        if self.rules.takeover == Takeover::Never {
            return Err(RefuseReason::HeldByYourSession { session, since: held.since });
        }
        let moved = self.moved.iter().rev().find(|(moved, _)| *moved == port);
        match moved.map(|(_, at)| (*at + self.rules.takeover_pause).saturating_duration_since(now)) {
            Some(remaining) if !remaining.is_zero() => Err(RefuseReason::TakeoverPause { remaining }),
            _ => Ok(Some(at)),
        }
    }

    /// The free ports this request may have.
    fn candidates(&self, request: &ForwardRequest) -> Result<Vec<Port>, RefuseReason> {
        let allowed = request.allowed.unwrap_or(self.rules.range);
        let both: Vec<Port> = self.rules.range.iter().filter(|&port| allowed.contains(port)).collect();
        if both.is_empty() {
            return Err(RefuseReason::OutsideKeyRange { range: allowed });
        }
        Ok(both.into_iter().filter(|&port| self.held.iter().all(|held| held.port != port)).collect())
    }

    fn limit(&self, request: &ForwardRequest, more: usize) -> Result<(), RefuseReason> {
        let held = self.held.iter().filter(|held| held.request.account == request.account).count();
        if held + more > LIMIT as usize { Err(RefuseReason::TooManyForwards { limit: LIMIT }) } else { Ok(()) }
    }

    fn grant(&mut self, request: ForwardRequest, port: Port, tries: u32, now: Instant) {
        let (bound, leaving, probed_until) = (false, false, None);
        self.held.push(Held { request, port, since: now, tries, bound, leaving, probed_until });
        self.expected.push(Seen::Listen(request.request, request.session, port));
    }

    fn evict(&mut self, at: usize, now: Instant) {
        let held = &mut self.held[at];
        held.leaving = true;
        held.probed_until = None;
        self.moved.push((held.port, now));
        self.expected.push(Seen::Evict(held.request.session, held.port));
    }

    fn listening(&mut self, request: RequestId) {
        self.held.iter_mut().filter(|held| held.request.request == request).for_each(|held| held.bound = true);
    }

    fn listen_failed(&mut self, port: Port, session_lives: bool, now: Instant) {
        let Held { request, tries, .. } = self.release(port, now);
        if !session_lives {
            return;
        }
        let refuse = |reason| Seen::Refuse(request.request, request.session, reason);
        let again = match self.candidates(&request) {
            _ if request.port.is_some() || tries == 16 => Err(RefuseReason::InUseBySystem),
            Ok(candidates) => self.limit(&request, 1).map(|()| candidates),
            Err(reason) => Err(reason),
        };
        match again {
            Err(reason) => self.expected.push(refuse(reason)),
            Ok(candidates) if candidates.is_empty() => self.expected.push(refuse(RefuseReason::RangeFull)),
            Ok(candidates) => {
                let chosen = self.chosen.expect("the table did not try another port");
                assert!(candidates.contains(&chosen));
                self.grant(request, chosen, tries + 1, now);
            }
        }
    }

    fn release(&mut self, port: Port, now: Instant) -> Held {
        let at = self.held.iter().position(|held| held.port == port).expect("a lease for a port that nobody holds");
        let held = self.held.remove(at);
        let next = self.waiting.iter().position(|request| request.port == Some(port));
        if let Some(next) = next {
            let first = self.waiting.remove(next);
            self.grant(first, port, 1, now);
            self.refuse_waiting(port, first.session, now);
        }
        held
    }

    fn refuse_waiting(&mut self, port: Port, session: SessionId, since: Instant) {
        let reason = RefuseReason::HeldByYourSession { session, since };
        for request in self.waiting.extract_if(.., |request| request.port == Some(port)) {
            self.expected.push(Seen::Refuse(request.request, request.session, reason));
        }
    }

    fn heard(&mut self, session: SessionId) {
        for at in 0..self.held.len() {
            let held = &mut self.held[at];
            if held.request.session == session && held.probed_until.take().is_some() {
                let (port, since) = (held.port, held.since);
                self.refuse_waiting(port, session, since);
            }
        }
    }

    fn ended(&mut self, session: SessionId) {
        self.waiting.retain(|request| request.session != session);
        for held in &mut self.held {
            held.leaving |= held.request.session == session;
            let wanted = self.waiting.iter().any(|request| request.port == Some(held.port));
            if held.leaving || !wanted {
                held.probed_until = None;
            }
        }
    }

    fn timeout(&mut self, now: Instant) {
        for at in 0..self.held.len() {
            if self.held[at].probed_until.is_some_and(|until| until <= now) {
                self.evict(at, now);
            }
        }
    }
}

/// A shell that is slow to act, with the table and its model beneath.
struct Play {
    table: PortTable,
    model: Model,
    now: Instant,
    sessions: Vec<(SessionId, AccountId)>,
    asked: BTreeMap<RequestId, ForwardRequest>,
    answered: BTreeSet<RequestId>,
    opening: Vec<(RequestId, PortLease)>,
    listening: Vec<PortLease>,
    last_fence: u64,
    ids: u64,
}

impl Play {
    fn new(takeover: Takeover) -> Play {
        let range = range(RANGE);
        let rules = PortRules { range, forwards_per_account: LIMIT, takeover, ..PortRules::default() };
        let (held, waiting, moved, expected) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Play {
            table: PortTable::new(rules),
            model: Model { rules, held, waiting, moved, chosen: None, expected },
            now: Instant::now(),
            sessions: Vec::new(),
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
            opening: Vec::new(),
            listening: Vec::new(),
            last_fence: 0,
            ids: 0,
        }
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::Connect { account } => {
                self.ids += 1;
                self.sessions.push((SessionId(self.ids), AccountId(*account)));
            }
            Event::Ask { session, port, allowed } if !self.sessions.is_empty() => {
                let (session, account) = *session.get(&self.sessions);
                let allowed = allowed.map(|(first, last)| PortRange::new(self::port(first), self::port(last)).unwrap());
                self.ask(session, account, Port::new(*port), allowed);
            }
            Event::Bind { opening, works } if !self.opening.is_empty() => {
                let (request, lease) = self.opening.remove(opening.index(self.opening.len()));
                self.bind(request, lease, *works);
            }
            Event::Release { lease } if !self.listening.is_empty() => {
                let lease = self.listening.remove(lease.index(self.listening.len()));
                self.release(lease);
            }
            Event::Hear { session } if !self.sessions.is_empty() => {
                let (session, _) = *session.get(&self.sessions);
                self.table.handle_heard(session);
                self.compare(|model, _| model.heard(session));
            }
            Event::End { session } if !self.sessions.is_empty() => {
                let (session, _) = *session.get(&self.sessions);
                self.end(session);
            }
            Event::Wait { milliseconds } => self.wait(Duration::from_millis(*milliseconds)),
            _ => (),
        }
    }

    fn ask(&mut self, session: SessionId, account: AccountId, port: Option<Port>, allowed: Option<PortRange>) {
        self.ids += 1;
        let request = RequestId(self.ids);
        let forward = ForwardRequest { request, session, account, port, allowed, limit: None };
        self.asked.insert(request, forward);
        self.table.handle_forward_request(forward, self.now);
        self.compare(|model, now| model.ask(forward, now));
    }

    fn bind(&mut self, request: RequestId, lease: PortLease, works: bool) {
        let session_lives = self.lives(lease.session());
        let port = lease.port();
        match works {
            true if session_lives => {
                self.answers(request);
                self.listening.push(lease);
                self.table.handle_listening(request);
                self.compare(|model, _| model.listening(request));
            }
            true => self.release(lease),
            false => {
                self.table.handle_listen_failed(lease, self.now);
                self.compare(|model, now| model.listen_failed(port, session_lives, now));
            }
        }
    }

    fn release(&mut self, lease: PortLease) {
        let port = lease.port();
        self.table.handle_released(lease, self.now);
        self.compare(|model, now| {
            model.release(port, now);
        });
    }

    fn end(&mut self, session: SessionId) {
        self.sessions.retain(|(other, _)| *other != session);
        self.table.handle_session_ended(session);
        self.compare(|model, _| model.ended(session));
    }

    fn wait(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(alarm) = self.table.poll_timeout().filter(|&alarm| alarm <= until) {
            self.now = alarm;
            self.table.handle_timeout(alarm);
            self.compare(|model, now| model.timeout(now));
        }
        self.now = until;
    }

    /// Lets the model live through what the table has just lived through, and sees that both wish the same.
    fn compare(&mut self, live: impl FnOnce(&mut Model, Instant)) {
        let wishes: Vec<PortWish> = std::iter::from_fn(|| self.table.poll_output()).collect();
        let free_choice = |request: &RequestId| self.asked[request].port.is_none();
        self.model.chosen = wishes.iter().find_map(|wish| match wish {
            PortWish::Listen { request, lease } if free_choice(request) => Some(lease.port()),
            _ => None,
        });
        live(&mut self.model, self.now);
        let mut evicted = Vec::new();
        let mut seen: Vec<Seen> = Vec::new();
        for wish in wishes {
            seen.push(match wish {
                PortWish::Listen { request, lease } => {
                    let seen = Seen::Listen(request, lease.session(), lease.port());
                    assert!(lease.fence() > self.last_fence, "fences only grow");
                    self.last_fence = lease.fence();
                    self.opening.push((request, lease));
                    seen
                }
                PortWish::Refuse { request, session, reason } => {
                    self.answers(request);
                    Seen::Refuse(request, session, reason)
                }
                PortWish::Probe { session, port } => Seen::Probe(session, port),
                PortWish::Evict { session, port } => {
                    evicted.push(session);
                    Seen::Evict(session, port)
                }
            });
        }
        let mut expected = std::mem::take(&mut self.model.expected);
        // Between ports the order is nobody's business.
        seen.sort_by_key(|seen| format!("{seen:?}"));
        expected.sort_by_key(|seen| format!("{seen:?}"));
        assert_eq!(seen, expected);
        self.check();
        // The shell cuts an evicted session; its listeners close later.
        evicted.into_iter().for_each(|session| {
            if self.lives(session) {
                self.end(session);
            }
        });
    }

    /// What holds at all times, whatever the model says.
    fn check(&self) {
        let leases = || self.opening.iter().map(|(_, lease)| lease).chain(&self.listening);
        let ports: BTreeSet<Port> = leases().map(PortLease::port).collect();
        assert_eq!(ports.len(), leases().count(), "two leases for one port");
        assert!(ports.iter().all(|&port| self.model.rules.range.contains(port)));
        for lease in leases() {
            let holding = self.table.holder(lease.port()).expect("a lease the table knows nothing of");
            assert_eq!((holding.session, holding.fence), (lease.session(), lease.fence()));
            let of_account = leases().filter(|other| other.account() == lease.account()).count();
            assert!(of_account <= LIMIT as usize, "account {} has {of_account} forwards", lease.account());
        }
        assert_eq!(self.table.holdings().count(), ports.len());
        assert_eq!(self.table.poll_timeout(), self.model.held.iter().filter_map(|held| held.probed_until).min());
    }

    fn answers(&mut self, request: RequestId) {
        assert!(self.answered.insert(request), "{request:?} was answered twice");
    }

    fn lives(&self, session: SessionId) -> bool {
        self.sessions.iter().any(|(other, _)| *other == session)
    }

    /// Binds and waits until nothing is open: every request of a living session has its answer then.
    fn settle(&mut self) {
        loop {
            while let Some((request, lease)) = self.opening.pop() {
                self.bind(request, lease, true);
            }
            while let Some(gone) = self.listening.iter().position(|lease| !self.lives(lease.session())) {
                let lease = self.listening.remove(gone);
                self.release(lease);
            }
            if self.opening.is_empty() && self.table.poll_timeout().is_none() {
                break;
            }
            self.wait(Duration::from_secs(3));
        }
        for (request, forward) in &self.asked {
            assert!(
                self.answered.contains(request) || !self.lives(forward.session),
                "{request:?} of a living session has no answer"
            );
        }
    }

    fn end_all(&mut self) {
        while let Some(&(session, _)) = self.sessions.first() {
            self.end(session);
        }
        self.settle();
        assert!(self.listening.is_empty() && self.opening.is_empty());
        assert!(self.table.is_empty(), "something was left behind: {:?}", self.table);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_the_model_does(takeover in takeover(), events in prop::collection::vec(event(), 1..120)) {
        let mut play = Play::new(takeover);
        events.iter().for_each(|event| play.play(event));
        play.settle();
        play.end_all();
    }
}
