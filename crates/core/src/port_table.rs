//! Decides which session holds which port, and when a port moves from one to another.
//!
//! One port number has one holder. A port is leased to a session, not to an account: it is free again when the session's
//! listener is closed. The one case that is not first come, first served is a member who comes back while the jump host
//! still believes in the session that was lost: then the old session is asked for a sign of life, and a silent one
//! loses the port (see [`Takeover`]).
//!
//! Sockets, replies and the sessions themselves belong to the shell, which acts on [`PortWish`]es.

mod port_set;
mod rules;
mod slot;
mod takeover_pauses;
mod wish;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::{AccountId, Port, PortRange, SessionId};

use port_set::PortSet;
pub use rules::{ForwardRequest, PortRules, RequestId, Takeover};
pub use slot::{Holding, PortLease};
use slot::{Opening, Slot, Tenure};
use takeover_pauses::TakeoverPauses;
pub use wish::{PortWish, RefuseReason};

/// How many ports are tried for a request that left the choice to us, when other programs hold those we picked. Sixteen
/// in a row are no accident: the range is then one that the machine uses for something else.
const MAX_TRIES: u32 = 16;
/// How many of those are next to each other.
const LINEAR_TRIES: u32 = 3;

/// The ports of one jump host.
///
/// Hand in facts and the time, then take wishes from [`poll_output`](Self::poll_output) until there are none; wake up at
/// [`poll_timeout`](Self::poll_timeout) for [`handle_timeout`](Self::handle_timeout).
///
/// Every request is answered once: with a [`PortWish::Refuse`], or with a [`PortWish::Listen`] whose listener could be
/// bound. Only a request whose session ends first gets no answer. Every lease that was given out must come back, through
/// [`handle_released`](Self::handle_released) or [`handle_listen_failed`](Self::handle_listen_failed).
#[derive(Debug)]
pub struct PortTable {
    rules: PortRules,
    slots: HashMap<Port, Slot>,
    /// The ports in `slots`, once more, for the search for a free one.
    taken: PortSet,
    /// Where each session holds a port or waits for one.
    by_session: BTreeSet<(SessionId, Port)>,
    held_by_account: HashMap<AccountId, u32>,
    opening: HashMap<RequestId, Port>,
    probes: BTreeSet<(Instant, Port)>,
    pauses: TakeoverPauses,
    last_fence: u64,
    wishes: VecDeque<PortWish>,
}

/// What becomes of a request that is not refused at once.
enum Verdict {
    Grant(Port),
    Wait(Port),
}

impl PortTable {
    /// A table with every port free.
    pub fn new(rules: PortRules) -> PortTable {
        PortTable {
            rules,
            slots: HashMap::new(),
            taken: PortSet::new(),
            by_session: BTreeSet::new(),
            held_by_account: HashMap::new(),
            opening: HashMap::new(),
            probes: BTreeSet::new(),
            pauses: TakeoverPauses::new(rules.takeover_pause),
            last_fence: 0,
            wishes: VecDeque::new(),
        }
    }

    /// A session asks for a remote forward.
    pub fn handle_forward_request(&mut self, request: ForwardRequest, now: Instant) {
        match self.judge(&request, now) {
            Ok(Verdict::Grant(port)) => self.grant(Opening { request, tries: 1 }, port, now),
            Ok(Verdict::Wait(port)) => self.wait(request, port, now),
            Err(reason) => self.refuse(&request, reason),
        }
    }

    /// The listener of a granted request is bound, and the request is answered.
    pub fn handle_listening(&mut self, request: RequestId) {
        if let Some(slot) = self.opening.remove(&request).and_then(|port| self.slots.get_mut(&port)) {
            slot.opening = None;
        }
    }

    /// The listener could not be bound: another program has the port. A request for this very port is refused; one that
    /// left the choice to us gets another port.
    pub fn handle_listen_failed(&mut self, lease: PortLease, now: Instant) {
        let Some(slot) = self.slot_of(&lease) else { return };
        let opening = slot.opening.take();
        self.free(lease.port(), now);
        // None: the session ended meanwhile, and nobody waits for an answer.
        let Some(Opening { request, tries }) = opening else { return };
        self.opening.remove(&request.request);
        if request.port.is_some() || tries >= MAX_TRIES {
            return self.refuse(&request, RefuseReason::InUseBySystem);
        }
        match self.pick_free(&request, Some((lease.port(), tries))) {
            Ok(port) => self.grant(Opening { request, tries: tries + 1 }, port, now),
            Err(reason) => self.refuse(&request, reason),
        }
    }

    /// A probed session gave a sign of life: any byte that came after the probe. It keeps its ports. Costs next to nothing
    /// while no session is probed, so it may be called for whatever comes in.
    pub fn handle_heard(&mut self, session: SessionId) {
        if self.probes.is_empty() {
            return;
        }
        for port in self.ports_of(session) {
            let Some(slot) = self.slots.get_mut(&port).filter(|slot| slot.holding.session == session) else { continue };
            let Some((until, waiting)) = slot.settle() else { continue };
            let since = slot.holding.since;
            self.probes.remove(&(until, port));
            self.refuse_waiting(waiting, port, RefuseReason::HeldByYourSession { session, since });
        }
    }

    /// The listener of this lease is closed: the forward was cancelled, or its session ended or was evicted. The port is
    /// free from now on, and goes to the first who waits for it.
    pub fn handle_released(&mut self, lease: PortLease, now: Instant) {
        let Some(slot) = self.slot_of(&lease) else { return };
        if let Some(opening) = slot.opening.take() {
            self.opening.remove(&opening.request.request);
        }
        self.free(lease.port(), now);
    }

    /// The session is gone. Its requests need no answer any more; its leases are expected back, and who waits for one
    /// of its ports gets it then.
    pub fn handle_session_ended(&mut self, session: SessionId) {
        for port in self.ports_of(session) {
            let Some(slot) = self.slots.get_mut(&port) else { continue };
            let probe_over = if slot.holding.session == session {
                if let Some(opening) = slot.opening.take() {
                    self.opening.remove(&opening.request.request);
                }
                slot.leave()
            } else {
                self.by_session.remove(&(session, port));
                slot.stop_waiting(session)
            };
            if let Some(until) = probe_over {
                self.probes.remove(&(until, port));
            }
        }
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named: sessions that stayed silent lose the ports
    /// they were probed for.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(until, port)) = self.probes.first()
            && until <= now
        {
            self.probes.pop_first();
            self.evict(port, now);
        }
    }

    /// The next thing to do; `None` until something else happens.
    pub fn poll_output(&mut self) -> Option<PortWish> {
        self.wishes.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.probes.first().map(|&(until, _)| until)
    }

    /// Who holds this port.
    pub fn holder(&self, port: Port) -> Option<&Holding> {
        self.slots.get(&port).map(|slot| &slot.holding)
    }

    /// All ports that are held, in no order.
    pub fn holdings(&self) -> impl Iterator<Item = &Holding> {
        self.slots.values().map(|slot| &slot.holding)
    }

    /// Nothing is held, nobody waits, and there is no wish left: the table is as good as new.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.by_session.is_empty()
            && self.held_by_account.is_empty()
            && self.opening.is_empty()
            && self.probes.is_empty()
            && self.wishes.is_empty()
    }

    fn judge(&self, request: &ForwardRequest, now: Instant) -> Result<Verdict, RefuseReason> {
        let Some(port) = request.port else {
            return self.pick_free(request, None).map(Verdict::Grant);
        };
        if !self.rules.range.contains(port) {
            return Err(RefuseReason::OutOfRange { range: self.rules.range });
        }
        if let Some(range) = request.allowed.filter(|range| !range.contains(port)) {
            return Err(RefuseReason::OutsideKeyRange { range });
        }
        let Some(slot) = self.slots.get(&port) else {
            self.check_limit(request, 1)?;
            return Ok(Verdict::Grant(port));
        };
        self.judge_taken(request, slot, now)?;
        Ok(Verdict::Wait(port))
    }

    /// May this request wait for a port that somebody has?
    fn judge_taken(&self, request: &ForwardRequest, slot: &Slot, now: Instant) -> Result<(), RefuseReason> {
        if slot.holding.account != request.account {
            return Err(RefuseReason::HeldByOtherAccount);
        }
        if slot.concerns(request.session) {
            return Err(RefuseReason::AlreadyYours);
        }
        // It adds no port: the one it waits for is counted for its account already.
        self.check_limit(request, 0)?;
        if let Tenure::Settled = slot.tenure {
            if self.rules.takeover == Takeover::Never {
                let Holding { session, since, .. } = slot.holding;
                return Err(RefuseReason::HeldByYourSession { session, since });
            }
            if let Some(remaining) = self.pauses.remaining(slot.holding.port, now) {
                return Err(RefuseReason::TakeoverPause { remaining });
            }
        }
        Ok(())
    }

    fn check_limit(&self, request: &ForwardRequest, more: u32) -> Result<(), RefuseReason> {
        let limit = request.limit.unwrap_or(self.rules.forwards_per_account);
        let held = self.held_by_account.get(&request.account).copied().unwrap_or(0);
        if limit != 0 && held + more > limit { Err(RefuseReason::TooManyForwards { limit }) } else { Ok(()) }
    }

    /// Chooses a port for a request that leaves the choice to us, after `failed` was tried as the so-manieth. The search goes on
    /// behind it, and from the fourth failure on somewhere else: other programs' ports lie in runs, too.
    ///
    /// It starts at a place that belongs to the account. So a member who comes back usually finds the port of last time,
    /// also after a restart, and a port just given up is rarely handed to a stranger whose visitors would be wrong there.
    fn pick_free(&self, request: &ForwardRequest, failed: Option<(Port, u32)>) -> Result<Port, RefuseReason> {
        let range = match request.allowed {
            None => self.rules.range,
            Some(range) => self.rules.range.intersection(range).ok_or(RefuseReason::OutsideKeyRange { range })?,
        };
        self.check_limit(request, 1)?;
        let start = match failed {
            None => home_of(request.account, range, 0),
            Some((_, tries)) if tries > LINEAR_TRIES && range.size() > MAX_TRIES => {
                home_of(request.account, range, tries)
            }
            Some((failed, _)) => Port::new(failed.get().wrapping_add(1)).unwrap_or(Port::MIN),
        };
        self.taken.first_absent(range, start).ok_or(RefuseReason::RangeFull)
    }

    /// Leases a free port.
    fn grant(&mut self, opening: Opening, port: Port, now: Instant) {
        let ForwardRequest { request, session, account, .. } = opening.request;
        self.last_fence += 1;
        let holding = Holding { port, session, account, since: now, fence: self.last_fence };
        self.slots.insert(port, Slot { holding, opening: Some(opening), tenure: Tenure::Settled });
        self.taken.insert(port);
        self.by_session.insert((session, port));
        *self.held_by_account.entry(account).or_default() += 1;
        self.opening.insert(request, port);
        self.wishes.push_back(PortWish::Listen { request, lease: PortLease::of(&holding) });
    }

    /// Undoes [`grant`](Self::grant), and grants the port to the first who waits for it.
    fn free(&mut self, port: Port, now: Instant) {
        let Some(Slot { holding, tenure, .. }) = self.slots.remove(&port) else { return };
        self.taken.remove(port);
        self.by_session.remove(&(holding.session, port));
        if let Some(held) = self.held_by_account.get_mut(&holding.account) {
            *held -= 1;
            if *held == 0 {
                self.held_by_account.remove(&holding.account);
            }
        }
        if let Some(until) = tenure.deadline() {
            self.probes.remove(&(until, port));
        }
        let mut waiting = tenure.into_waiting();
        if let Some(request) = waiting.pop_front() {
            self.grant(Opening { request, tries: 1 }, port, now);
            let session = request.session;
            self.refuse_waiting(waiting, port, RefuseReason::HeldByYourSession { session, since: now });
        }
    }

    /// Lets a request wait for a taken port, and sees to it that the wait ends.
    fn wait(&mut self, request: ForwardRequest, port: Port, now: Instant) {
        let Some(slot) = self.slots.get_mut(&port) else { return };
        self.by_session.insert((request.session, port));
        match (&mut slot.tenure, self.rules.takeover) {
            (Tenure::Contested { waiting, .. } | Tenure::Leaving { waiting }, _) => waiting.push_back(request),
            (settled, Takeover::Probe) => {
                let until = now + self.rules.probe_silence;
                *settled = Tenure::Contested { until, waiting: VecDeque::from([request]) };
                self.probes.insert((until, port));
                self.wishes.push_back(PortWish::Probe { session: slot.holding.session, port });
            }
            // Never does not come here: `judge_taken` has refused.
            (settled, Takeover::Always | Takeover::Never) => {
                *settled = Tenure::Leaving { waiting: VecDeque::from([request]) };
                self.evict(port, now);
            }
        }
    }

    fn evict(&mut self, port: Port, now: Instant) {
        let Some(slot) = self.slots.get_mut(&port) else { return };
        slot.leave();
        self.pauses.handle_takeover(port, now);
        self.wishes.push_back(PortWish::Evict { session: slot.holding.session, port });
    }

    fn refuse(&mut self, request: &ForwardRequest, reason: RefuseReason) {
        let &ForwardRequest { request, session, .. } = request;
        self.wishes.push_back(PortWish::Refuse { request, session, reason });
    }

    fn refuse_waiting(&mut self, waiting: VecDeque<ForwardRequest>, port: Port, reason: RefuseReason) {
        for request in waiting {
            self.by_session.remove(&(request.session, port));
            self.refuse(&request, reason);
        }
    }

    /// The slot this lease was given for. None for the lease of another table: ours come back once.
    fn slot_of(&mut self, lease: &PortLease) -> Option<&mut Slot> {
        self.slots.get_mut(&lease.port()).filter(|slot| slot.holding.fence == lease.fence())
    }

    /// The ports this session holds or waits for; a copy, since the callers change the table on the way.
    fn ports_of(&self, session: SessionId) -> Vec<Port> {
        self.by_session.range((session, Port::MIN)..=(session, Port::MAX)).map(|&(_, port)| port).collect()
    }
}

/// Where in the range the search for a port of this account starts: always the same place. The golden ratio spreads the
/// accounts over the range, so that neighbours in number do not begin next to each other; and an account's `tries`, so that a
/// search begun anew begins elsewhere.
fn home_of(account: AccountId, range: PortRange, tries: u32) -> Port {
    let place = account.0.cast_unsigned().wrapping_add(u64::from(tries) << 32);
    let spread = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let offset = (u128::from(spread) * u128::from(range.size())) >> 64;
    let number = u128::from(range.first().get()) + offset;
    u16::try_from(number).ok().and_then(Port::new).unwrap_or(range.first())
}
