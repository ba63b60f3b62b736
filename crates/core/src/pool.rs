//! Decides which SSH connections there are, who shares them, and which of them are dead.
//!
//! One connection serves all that want the same login at the same server over the same way ([`ConnectionKey`]). It is made for
//! the first who asks and closed when the last one leaves. Each is asked for a sign of life at a steady pace; silence is
//! death, and any byte is life.
//!
//! Logging in, sockets, and what the members do with a connection belong to the shell; when to try again is each member's own
//! affair ([`Tunnel`](crate::Tunnel)).

mod key;
mod wish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

pub use key::{ConnectionKey, Jump, RecordId};
pub use wish::{ConnectionId, LoginFailure, LossReason, Obstacle, PoolWish};

/// How long after a sign of life a connection is asked for the next. With [`PROBE_TIMEOUT`] behind it, a peer that falls silent
/// is noticed after 40 s at most; 45 s are promised, and the rest is for the way there.
const PROBE_PACE: Duration = Duration::from_secs(30);

/// How long a connection may leave a probe without any answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// An alarm that rings this much too late says that we were stopped or asleep, and tells nothing of the peer.
const LATE_ALARM: Duration = Duration::from_secs(5);

/// The connections of one agent, shared by members of type `M`.
///
/// Hand in facts and the time, then take wishes from [`poll_output`](Self::poll_output) until there are none; wake up at
/// [`poll_timeout`](Self::poll_timeout) for [`handle_timeout`](Self::handle_timeout).
///
/// A claim is made with [`handle_acquire`](Self::handle_acquire) and ends once: with [`handle_release`](Self::handle_release),
/// or when its member is told [`PoolWish::LoginFailed`] or [`PoolWish::Lost`]. A member that has released hears nothing more.
#[derive(Debug)]
pub struct Pool<M> {
    slots: BTreeMap<ConnectionKey, Slot<M>>,
    keys: BTreeMap<ConnectionId, ConnectionKey>,
    claims: BTreeMap<M, ConnectionId>,
    alarms: BTreeSet<(Instant, ConnectionId)>,
    last_id: u64,
    wishes: VecDeque<PoolWish<M>>,
}

/// A connection with those who share it, in the order of their coming; never without one.
#[derive(Debug)]
struct Slot<M> {
    connection: ConnectionId,
    members: Vec<M>,
    health: Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    LoggingIn,
    /// It gave a sign of life; ask for the next one then.
    Alive {
        ask_at: Instant,
    },
    /// It was asked, and is dead then.
    Asked {
        until: Instant,
    },
}

impl Health {
    fn alarm(self) -> Option<Instant> {
        match self {
            Health::LoggingIn => None,
            Health::Alive { ask_at } => Some(ask_at),
            Health::Asked { until } => Some(until),
        }
    }
}

impl<M: Clone + Ord> Default for Pool<M> {
    fn default() -> Pool<M> {
        Pool::new()
    }
}

impl<M: Clone + Ord> Pool<M> {
    /// A pool without connections.
    pub fn new() -> Pool<M> {
        Pool {
            slots: BTreeMap::new(),
            keys: BTreeMap::new(),
            claims: BTreeMap::new(),
            alarms: BTreeSet::new(),
            last_id: 0,
            wishes: VecDeque::new(),
        }
    }

    /// A member wants a connection. It is told [`PoolWish::Up`] at once where there is one, else when the login is through.
    ///
    /// A connection that is there is also asked for a sign of life: should it be dead, the newcomer waits ten seconds for that
    /// news and not forty. A member has one claim at a time; another one beside it is not heard.
    pub fn handle_acquire(&mut self, member: M, key: ConnectionKey, now: Instant) {
        if self.claims.contains_key(&member) {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&key) {
            let connection = slot.connection;
            slot.members.push(member.clone());
            self.claims.insert(member.clone(), connection);
            if slot.health != Health::LoggingIn {
                self.wishes.push_back(PoolWish::Up { member, connection });
                self.ask(connection, now);
            }
            return;
        }
        self.last_id += 1;
        let connection = ConnectionId(self.last_id);
        self.claims.insert(member.clone(), connection);
        self.keys.insert(connection, key.clone());
        self.slots.insert(key.clone(), Slot { connection, members: vec![member], health: Health::LoggingIn });
        self.wishes.push_back(PoolWish::LogIn { connection, key });
    }

    /// A member wants its connection no more. The last one to leave closes it.
    pub fn handle_release(&mut self, member: &M) {
        let Some(connection) = self.claims.remove(member) else { return };
        // What it has not been told yet would be told to somebody who left.
        self.wishes.retain(|wish| wish.member() != Some(member));
        let Some(slot) = self.slot_mut(connection) else { return };
        slot.members.retain(|other| other != member);
        if slot.members.is_empty() {
            self.forget(connection);
            self.wishes.push_back(PoolWish::Close { connection });
        }
    }

    /// The login is through.
    pub fn handle_logged_in(&mut self, connection: ConnectionId, now: Instant) {
        let Some(slot) = self.slot_mut(connection).filter(|slot| slot.health == Health::LoggingIn) else { return };
        let members = slot.members.clone();
        self.set_health(connection, Health::Alive { ask_at: now + PROBE_PACE });
        self.wishes.extend(members.into_iter().map(|member| PoolWish::Up { member, connection }));
    }

    /// The login failed: each member hears why, and its claim is over.
    pub fn handle_login_failed(&mut self, connection: ConnectionId, why: &LoginFailure) {
        let members = self.forget(connection);
        self.wishes.extend(members.into_iter().map(|member| PoolWish::LoginFailed { member, why: why.clone() }));
    }

    /// The connection ended by itself: each member hears why, and its claim is over.
    pub fn handle_lost(&mut self, connection: ConnectionId, why: &LossReason) {
        if self.slot_mut(connection).is_some_and(|slot| slot.health == Health::LoggingIn) {
            return self.handle_login_failed(connection, &LoginFailure::Passing(why.to_string().into()));
        }
        let members = self.forget(connection);
        let lost = |member| PoolWish::Lost { member, connection, why: why.clone() };
        self.wishes.extend(members.into_iter().map(lost));
    }

    /// Something came from the peer. Whatever it is, it is a sign of life; also the refusal of a probe. Needs to be told only
    /// while a probe is under way, and costs little otherwise.
    pub fn handle_heard(&mut self, connection: ConnectionId, now: Instant) {
        if self.slot_mut(connection).is_some_and(|slot| matches!(slot.health, Health::Asked { .. })) {
            self.set_health(connection, Health::Alive { ask_at: now + PROBE_PACE });
        }
    }

    /// The machine woke up, or its network changed: every connection is asked for a sign of life now. What was asked before
    /// keeps its time, so that a network that changes all the time keeps nothing dead in the pool.
    pub fn handle_disturbance(&mut self, now: Instant) {
        let connections: Vec<ConnectionId> = self.keys.keys().copied().collect();
        for connection in connections {
            self.ask(connection, now);
        }
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, connection)) = self.alarms.first()
            && at <= now
        {
            if self.ask(connection, now) {
                continue;
            }
            if now.saturating_duration_since(at) > LATE_ALARM {
                self.set_health(connection, Health::Asked { until: now + PROBE_TIMEOUT });
                continue;
            }
            self.wishes.push_back(PoolWish::Close { connection });
            self.handle_lost(connection, &LossReason::NoAnswer);
        }
    }

    /// The next thing to do; `None` until something else happens.
    pub fn poll_output(&mut self) -> Option<PoolWish<M>> {
        self.wishes.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.alarms.first().map(|&(at, _)| at)
    }

    /// The connection that serves this key, or will once its login is through; and who shares it.
    pub fn connection(&self, key: &ConnectionKey) -> Option<(ConnectionId, &[M])> {
        self.slots.get(key).map(|slot| (slot.connection, &slot.members[..]))
    }

    /// Nobody claims anything, and there is no wish left.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.keys.is_empty()
            && self.claims.is_empty()
            && self.alarms.is_empty()
            && self.wishes.is_empty()
    }

    /// Asks for a sign of life, unless that is being done or there is no connection yet; says whether it did.
    fn ask(&mut self, connection: ConnectionId, now: Instant) -> bool {
        let resting = self.slot_mut(connection).is_some_and(|slot| matches!(slot.health, Health::Alive { .. }));
        if resting {
            self.set_health(connection, Health::Asked { until: now + PROBE_TIMEOUT });
            self.wishes.push_back(PoolWish::Probe { connection });
        }
        resting
    }

    fn slot_mut(&mut self, connection: ConnectionId) -> Option<&mut Slot<M>> {
        self.keys.get(&connection).and_then(|key| self.slots.get_mut(key))
    }

    /// Keeps the alarms true.
    fn set_health(&mut self, connection: ConnectionId, health: Health) {
        let Some(slot) = self.slot_mut(connection) else { return };
        let before = std::mem::replace(&mut slot.health, health);
        if let Some(at) = before.alarm() {
            self.alarms.remove(&(at, connection));
        }
        if let Some(at) = health.alarm() {
            self.alarms.insert((at, connection));
        }
    }

    /// The connection is no more; those who shared it have no claim any longer.
    fn forget(&mut self, connection: ConnectionId) -> Vec<M> {
        let Some(slot) = self.keys.remove(&connection).and_then(|key| self.slots.remove(&key)) else {
            return Vec::new();
        };
        if let Some(at) = slot.health.alarm() {
            self.alarms.remove(&(at, connection));
        }
        for member in &slot.members {
            self.claims.remove(member);
        }
        slot.members
    }
}
