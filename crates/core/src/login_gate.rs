//! Which connection may try to log in, and which is dropped at the door.
//!
//! Before a login we know nothing of a peer but where it comes from, and each one costs memory and a key exchange. So
//! connections that have not logged in are bounded per source and in all; and a source whose connections keep ending
//! badly earns penalties, as with the `PerSourcePenalties` of OpenSSH: they add up, melt away with time, and above a
//! threshold new connections from there are dropped at once. A session that has logged in is never counted here.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Who counts as one peer: an IPv4 address, or the /64 of an IPv6 address (one subscriber owns at least that much, and
/// can change the rest with every connection).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One address.
    V4(Ipv4Addr),
    /// The first 64 bits of an address; the others are 0.
    V6Network(Ipv6Addr),
}

impl From<IpAddr> for Source {
    /// An IPv4 address that came through an IPv6 socket (`::ffff:192.0.2.1`) is that IPv4 address.
    fn from(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(v4) => Source::V4(v4),
            IpAddr::V6(v6) => Source::V6Network(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4(address) => address.fmt(f),
            Source::V6Network(network) => write!(f, "{network}/64"),
        }
    }
}

/// The bounds for connections that have not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRules {
    /// From one source at a time; 0 means no bound.
    pub per_source: u32,
    /// From everywhere at a time; 0 means no bound.
    pub total: u32,
    /// How many sources' penalties are remembered. Above it the mildest is forgotten, so that a flood from many
    /// addresses costs it nothing to be forgotten and us no memory. 65,536 take under 10 MB.
    pub remembered_sources: usize,
    /// What a bad end costs.
    pub penalties: Penalties,
}

impl Default for LoginRules {
    fn default() -> LoginRules {
        LoginRules { per_source: 20, total: 2_000, remembered_sources: 65_536, penalties: Penalties::default() }
    }
}

/// What a bad end of a connection adds to its source's penalty, which melts by one second per second.
///
/// The defaults are OpenSSH's, with the one for broken protocols made the equal of silence: a fourth failed login in a
/// row closes the door for a while, the first three do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Penalties {
    /// The peer left without trying to log in, as scanners do.
    pub gave_up: Duration,
    /// Every key it offered was unknown, or a signature was wrong.
    pub failed_login: Duration,
    /// It did not log in within the login grace time.
    pub grace_exceeded: Duration,
    /// It broke the protocol.
    pub violation: Duration,
    /// While a source's penalty is above this, its connections are dropped.
    pub threshold: Duration,
    /// No penalty grows beyond this.
    pub max: Duration,
}

impl Default for Penalties {
    fn default() -> Penalties {
        Penalties {
            gave_up: Duration::from_secs(1),
            failed_login: Duration::from_secs(5),
            grace_exceeded: Duration::from_secs(10),
            violation: Duration::from_secs(10),
            threshold: Duration::from_secs(15),
            max: Duration::from_secs(600),
        }
    }
}

/// How a connection stopped being one that has not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It logged in, and is a session now.
    LoggedIn,
    /// It left without trying.
    GaveUp,
    /// It tried and failed.
    FailedLogin,
    /// Its login grace time ran out.
    GraceExceeded,
    /// It broke the protocol.
    Violation,
}

/// A connection that may try to log in. Only [`LoginGate`] makes one, it cannot be copied, and it is given back once,
/// with [`LoginGate::handle_done`].
#[derive(Debug)]
#[must_use = "an admission that is not given back is counted for ever"]
pub struct Admission {
    id: AdmissionId,
    source: Source,
    exempt: bool,
}

/// Names one admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdmissionId(u64);

impl Admission {
    /// Where the connection comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Its name, by which [`LoginGate::poll_pushed_out`] speaks of it.
    pub fn id(&self) -> AdmissionId {
        self.id
    }
}

/// Admits connections that have not logged in. It needs no timer: a penalty that has melted is forgotten by the next
/// call.
#[derive(Debug)]
pub struct LoginGate {
    rules: LoginRules,
    next_id: u64,
    admitted: u32,
    /// The connections of each source that is not exempt, the oldest first.
    admitted_by_source: HashMap<Source, VecDeque<AdmissionId>>,
    /// Connections that must go, not yet told.
    pushed_out: VecDeque<AdmissionId>,
    /// When each source's penalty will have melted. The penalty is the time until then.
    melted_at: HashMap<Source, Instant>,
    /// The same, the mildest first.
    by_mildness: BTreeSet<(Instant, Source)>,
}

impl LoginGate {
    /// A gate nobody stands at.
    pub fn new(rules: LoginRules) -> LoginGate {
        LoginGate {
            rules,
            next_id: 0,
            admitted: 0,
            admitted_by_source: HashMap::new(),
            pushed_out: VecDeque::new(),
            melted_at: HashMap::new(),
            by_mildness: BTreeSet::new(),
        }
    }

    /// A connection came in: admits it, or says why it shall be dropped without a byte.
    ///
    /// `exempt` is for the operator's own networks: no penalty and no bound per source. The bound in all holds for them
    /// too, because it guards our memory.
    ///
    /// Where all places are taken, the source that has most of them gives up its oldest, unless the newcomer's source has as
    /// many: a flood from many addresses must not lock out somebody who comes alone. Ask
    /// [`poll_pushed_out`](Self::poll_pushed_out) after each call.
    pub fn handle_connection(&mut self, source: Source, exempt: bool, now: Instant) -> Result<Admission, Turned> {
        self.forget_melted(now);
        let here = self.admitted_from(source);
        if !exempt {
            let penalty = self.penalty(source, now);
            if penalty > self.rules.penalties.threshold {
                return Err(Turned::Penalised { penalty });
            }
            if is_full(here, self.rules.per_source) {
                return Err(Turned::SourceFull { limit: self.rules.per_source });
            }
        }
        if is_full(self.admitted, self.rules.total) && !self.push_out_for(here) {
            return Err(Turned::Full { limit: self.rules.total });
        }
        self.admitted += 1;
        let id = AdmissionId(self.next_id);
        self.next_id += 1;
        if !exempt {
            self.admitted_by_source.entry(source).or_default().push_back(id);
        }
        Ok(Admission { id, source, exempt })
    }

    /// A connection that has to go at once. Its place is counted free already; give its admission back as ever.
    pub fn poll_pushed_out(&mut self) -> Option<AdmissionId> {
        self.pushed_out.pop_front()
    }

    /// Frees a place for a source that has `here` of them.
    fn push_out_for(&mut self, here: u32) -> bool {
        // Of equal ones, who came first: another rule would give some of a crowd of sources a place to keep, and others none.
        let rank = |admitted: &VecDeque<AdmissionId>| (admitted.len(), Reverse(admitted.front().copied()));
        let most = self.admitted_by_source.iter().max_by_key(|(_, admitted)| rank(admitted));
        let Some(source) = most.filter(|(_, admitted)| admitted.len() > here as usize).map(|(source, _)| *source)
        else {
            return false;
        };
        let oldest = self.admitted_by_source.get(&source).and_then(|admitted| admitted.front().copied());
        let Some(oldest) = oldest else { return false };
        self.forget_admission(source, oldest);
        self.pushed_out.push_back(oldest);
        true
    }

    /// Counts a connection out, if it still is counted in.
    fn forget_admission(&mut self, source: Source, id: AdmissionId) {
        let Some(admitted) = self.admitted_by_source.get_mut(&source) else { return };
        if let Some(place) = admitted.iter().position(|admitted| *admitted == id) {
            admitted.remove(place);
            self.admitted -= 1;
        }
        if admitted.is_empty() {
            self.admitted_by_source.remove(&source);
        }
    }

    fn admitted_from(&self, source: Source) -> u32 {
        self.admitted_by_source.get(&source).map_or(0, |admitted| admitted.len() as u32)
    }

    /// The connection has logged in or is gone.
    pub fn handle_done(&mut self, admission: Admission, outcome: Outcome, now: Instant) {
        if admission.exempt {
            self.admitted -= 1;
            return;
        }
        self.forget_admission(admission.source, admission.id);
        self.forget_melted(now);
        self.penalise(admission.source, self.rules.penalties.for_outcome(outcome), now);
    }

    /// The penalty of a source: zero for one that behaved, or was forgiven by time.
    pub fn penalty(&self, source: Source, now: Instant) -> Duration {
        self.melted_at.get(&source).map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// How many connections are admitted and have not logged in.
    pub fn admitted(&self) -> u32 {
        self.admitted
    }

    /// How many sources have a penalty that is remembered, whether or not it closes the door to them.
    pub fn penalised_sources(&self) -> usize {
        self.melted_at.len()
    }

    fn penalise(&mut self, source: Source, added: Duration, now: Instant) {
        if added.is_zero() {
            return;
        }
        let penalty = self.penalty(source, now).saturating_add(added).min(self.rules.penalties.max);
        // A time no clock reaches is a mistake in the rules; the penalty is then not noted rather than a panic.
        let Some(melted_at) = now.checked_add(penalty) else { return };
        if let Some(before) = self.melted_at.insert(source, melted_at) {
            self.by_mildness.remove(&(before, source));
        }
        self.by_mildness.insert((melted_at, source));
        if self.melted_at.len() > self.rules.remembered_sources {
            self.forget_mildest();
        }
    }

    fn forget_melted(&mut self, now: Instant) {
        while self.by_mildness.first().is_some_and(|&(melted_at, _)| melted_at <= now) {
            self.forget_mildest();
        }
    }

    fn forget_mildest(&mut self) {
        if let Some((_, source)) = self.by_mildness.pop_first() {
            self.melted_at.remove(&source);
        }
    }
}

impl Penalties {
    fn for_outcome(&self, outcome: Outcome) -> Duration {
        match outcome {
            Outcome::LoggedIn => Duration::ZERO,
            Outcome::GaveUp => self.gave_up,
            Outcome::FailedLogin => self.failed_login,
            Outcome::GraceExceeded => self.grace_exceeded,
            Outcome::Violation => self.violation,
        }
    }
}

fn is_full(count: u32, limit: u32) -> bool {
    limit != 0 && count >= limit
}

/// Why a connection was dropped at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Its source has as many connections without a login as it may.
    SourceFull {
        /// The bound that was met.
        limit: u32,
    },
    /// All sources together have as many as they may.
    Full {
        /// The bound that was met.
        limit: u32,
    },
    /// Connections from its source have ended badly too often of late.
    Penalised {
        /// What is left of the penalty.
        penalty: Duration,
    },
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Turned::SourceFull { limit } => write!(f, "{limit} connections from there have not logged in yet"),
            Turned::Full { limit } => write!(f, "{limit} connections have not logged in yet"),
            Turned::Penalised { penalty } => {
                write!(f, "its earlier connections ended badly; {} s of penalty are left", penalty.as_secs())
            }
        }
    }
}

impl Error for Turned {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_behaved_leaves_no_trace() {
        let mut gate = LoginGate::new(LoginRules::default());
        let now = Instant::now();
        for host in 0..=255 {
            let source = Source::V4(Ipv4Addr::new(192, 0, 2, host));
            let admission = gate.handle_connection(source, false, now).unwrap();
            gate.handle_done(admission, Outcome::LoggedIn, now);
        }
        assert!(gate.admitted_by_source.is_empty());
        assert!(gate.melted_at.is_empty() && gate.by_mildness.is_empty());
    }

    fn source(host: u8) -> Source {
        Source::V4(Ipv4Addr::new(192, 0, 2, host))
    }

    #[test]
    fn of_a_crowd_of_sources_who_came_first_goes_first() {
        let mut gate = LoginGate::new(LoginRules { total: 64, ..LoginRules::default() });
        let now = Instant::now();
        let crowd: Vec<_> =
            (0..255).map(|last| gate.handle_connection(source(last), false, now).unwrap().id()).collect();
        let pushed_out: Vec<_> = std::iter::from_fn(|| gate.poll_pushed_out()).collect();
        assert_eq!(pushed_out, crowd[..255 - 64]);
    }

    #[test]
    fn a_newcomer_takes_the_oldest_place_of_the_source_that_has_most() {
        let mut gate = LoginGate::new(LoginRules { total: 5, per_source: 4, ..LoginRules::default() });
        let now = Instant::now();
        let crowd: Vec<_> = (0..4).map(|_| gate.handle_connection(source(1), false, now).unwrap()).collect();
        let other = gate.handle_connection(source(2), false, now).unwrap();
        let alone = gate.handle_connection(source(3), false, now).unwrap();
        assert_eq!((gate.poll_pushed_out(), gate.poll_pushed_out()), (Some(crowd[0].id()), None));
        assert_eq!(gate.admitted(), 5);
        // A source that has as many as any is not preferred to it.
        let second = gate.handle_connection(source(3), false, now).unwrap();
        assert_eq!(gate.poll_pushed_out(), Some(crowd[1].id()));
        assert!(matches!(gate.handle_connection(source(3), false, now), Err(Turned::Full { .. })));
        crowd.into_iter().for_each(|admission| gate.handle_done(admission, Outcome::LoggedIn, now));
        assert_eq!(gate.admitted(), 3, "those pushed out were counted out once");
        for admission in [other, alone, second] {
            gate.handle_done(admission, Outcome::LoggedIn, now);
        }
        assert_eq!(gate.admitted(), 0);
    }
}
