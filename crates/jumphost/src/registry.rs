//! Who is logged in now, what they hold open, and how each of them can be cut.
//! A session, a forward and a visitor are each present while their guard lives, so nothing stays listed that has ended.
//! Deciding who may enter is the [directory](crate::directory)'s; which port is granted is the port table's.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use adit_core::{AccountId, Port, SessionId};
use adit_store::Carried;
use tokio::sync::{Notify, oneshot};

use crate::changes::Changes;
use crate::directory::Identity;
use crate::metrics::{Metrics, reasons};
use crate::traffic::{self, ByPort};

reasons! {
    /// Why the server ends a session. Its `Display` is the sentence of SSH_MSG_DISCONNECT (RFC 4253 §11.1).
    pub enum CutReason {
        /// Its key was removed from the account.
        KeyRemoved = "key_removed",
        /// Its account was removed.
        AccountRemoved = "account_removed",
        /// Its key's time is over.
        KeyExpired = "key_expired",
        /// An administrator ended it.
        Kicked = "kicked",
        /// A newer session of the account took its port while it gave no sign of life.
        PortTakenOver = "port_taken_over",
        /// It had no forward for too long.
        NoForward = "no_forward",
        /// The server stops.
        ShuttingDown = "shutting_down",
    }
}

impl fmt::Display for CutReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::KeyRemoved => "This key was removed from its account.",
            Self::AccountRemoved => "This account was removed.",
            Self::KeyExpired => "This key has expired.",
            Self::Kicked => "An administrator ended this session.",
            Self::PortTakenOver => "A newer session of this account took over the port.",
            Self::NoForward => "No remote forward was open for too long.",
            Self::ShuttingDown => "The jump host is stopping.",
        })
    }
}

/// A session's way to hear that it has to end. It fires at most once, and the first reason wins.
#[derive(Debug)]
pub struct CutSignal(oneshot::Receiver<CutReason>);

impl Future for CutSignal {
    type Output = CutReason;

    /// Pending until the session is cut; a caller stops polling after it was.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CutReason> {
        // The sender lives in the session, so a lost one means that the session is already being torn down.
        Pin::new(&mut self.0).poll(context).map(|reason| reason.unwrap_or(CutReason::ShuttingDown))
    }
}

/// Somebody who just proved to hold a key.
#[derive(Debug)]
pub struct Login {
    /// Whose key it is.
    pub identity: Arc<Identity>,
    /// Where the connection comes from.
    pub client: SocketAddr,
    /// The client's version line, as raw as it came; whoever shows it escapes it.
    pub client_version: String,
    /// When authentication succeeded.
    pub since: SystemTime,
}

/// All live sessions.
#[derive(Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metrics: Arc<Metrics>,
    next_id: AtomicU64,
    sessions: Mutex<HashMap<SessionId, Arc<LiveSession>>>,
    visitors: AtomicU64,
    /// Told when the last visitor leaves.
    quiet: Notify,
    changes: Changes,
    /// What forwards carried that are gone, and nobody has taken account of yet.
    carried: Mutex<ByPort>,
}

impl Registry {
    /// Nobody is here yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            inner: Arc::new(Inner {
                metrics,
                next_id: AtomicU64::new(1),
                sessions: Mutex::default(),
                visitors: AtomicU64::new(0),
                quiet: Notify::new(),
                changes: Changes::new(),
                carried: Mutex::default(),
            }),
        }
    }

    /// Lists a session until the returned guard is dropped.
    pub(crate) fn enter(&self, login: Login) -> (Presence, CutSignal) {
        let (cut, signal) = oneshot::channel();
        let session = Arc::new(LiveSession {
            id: SessionId(self.inner.next_id.fetch_add(1, Relaxed)),
            login,
            cut: Mutex::new(Some(cut)),
            traffic: Traffic::default(),
            forwards: Mutex::default(),
            registry: Arc::clone(&self.inner),
        });
        self.inner.sessions().insert(session.id, Arc::clone(&session));
        self.inner.metrics.sessions.inc();
        self.inner.changes.note_live(session.account());
        (Presence(session), CutSignal(signal))
    }

    /// Every live session, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<LiveSession>> {
        let mut sessions: Vec<_> = self.inner.sessions().values().cloned().collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// The live sessions of an account, the oldest first.
    #[must_use]
    pub fn of_account(&self, account: AccountId) -> Vec<Arc<LiveSession>> {
        let is_its = |session: &&Arc<LiveSession>| session.account() == account;
        let mut sessions: Vec<_> = self.inner.sessions().values().filter(is_its).cloned().collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// Where pages hear that they should look again.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.inner.changes
    }

    /// Adds what every forward, also one that is gone, has carried since the last time.
    pub(crate) fn take_carried(&self, carried: &mut ByPort) {
        for (port, of_port) in std::mem::take(&mut *lock(&self.inner.carried)) {
            traffic::add(carried, port, of_port);
        }
        for session in self.list() {
            for forward in session.forwards() {
                traffic::add(carried, (session.account(), forward.port), forward.traffic.take_carried());
            }
        }
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.sessions().is_empty()
    }

    /// Cuts one session. False where it is not live, or was cut before.
    pub fn cut_session(&self, id: SessionId, reason: CutReason) -> bool {
        let session = self.inner.sessions().get(&id).cloned();
        session.is_some_and(|session| session.cut(reason))
    }

    /// Cuts the sessions that logged in with this key, by its number in the store, and says how many there were. Whoever has added
    /// the same key since has it under another number.
    pub fn cut_key(&self, key_id: i64, reason: CutReason) -> usize {
        self.cut_where(reason, |session| session.login.identity.key_id == key_id)
    }

    /// Cuts the sessions of an account, and says how many there were.
    pub fn cut_account(&self, account: AccountId, reason: CutReason) -> usize {
        self.cut_where(reason, |session| session.login.identity.account_id == account)
    }

    /// Cuts everybody, and says how many there were.
    pub fn cut_all(&self, reason: CutReason) -> usize {
        self.cut_where(reason, |_| true)
    }

    fn cut_where(&self, reason: CutReason, chosen: impl Fn(&LiveSession) -> bool) -> usize {
        self.cut_each(|session| chosen(session).then_some(reason))
    }

    /// Cuts every session for which `judge` has a reason, and says how many those were.
    pub(crate) fn cut_each(&self, judge: impl Fn(&LiveSession) -> Option<CutReason>) -> usize {
        let cut = |session: &Arc<LiveSession>| judge(session).is_some_and(|reason| session.cut(reason));
        let sessions: Vec<_> = self.inner.sessions().values().cloned().collect();
        sessions.iter().filter(|session| cut(session)).count()
    }

    /// Visitors of all forwards, now.
    #[must_use]
    pub fn visitors_now(&self) -> u64 {
        self.inner.visitors.load(Relaxed)
    }

    /// Returns when no visitor is connected. Cancel safe.
    pub async fn visitors_gone(&self) {
        loop {
            let quiet = self.inner.quiet.notified();
            if self.visitors_now() == 0 {
                return;
            }
            quiet.await;
        }
    }
}

impl Inner {
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<LiveSession>>> {
        lock(&self.sessions)
    }
}

/// No code panics while it holds one of these locks; a poisoned one would still hold a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes and visitors, of a session or of one forward.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    visitors_now: AtomicU64,
    visitors_total: AtomicU64,
    /// How much of the above has been taken account of.
    taken: Taken,
}

#[derive(Debug, Default)]
struct Taken {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    visitors: AtomicU64,
}

impl Traffic {
    /// From visitors to the service.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    /// From the service to visitors.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    /// Connected now.
    #[must_use]
    pub fn visitors_now(&self) -> u64 {
        self.visitors_now.load(Relaxed)
    }

    /// Connected since the beginning.
    #[must_use]
    pub fn visitors_total(&self) -> u64 {
        self.visitors_total.load(Relaxed)
    }

    /// What was carried since the last call.
    fn take_carried(&self) -> Carried {
        let since = |now: u64, taken: &AtomicU64| now.saturating_sub(taken.swap(now, Relaxed));
        Carried {
            bytes_in: since(self.bytes_in(), &self.taken.bytes_in),
            bytes_out: since(self.bytes_out(), &self.taken.bytes_out),
            visitors: since(self.visitors_total(), &self.taken.visitors),
        }
    }
}

/// One session that is logged in.
#[derive(Debug)]
pub struct LiveSession {
    id: SessionId,
    login: Login,
    cut: Mutex<Option<oneshot::Sender<CutReason>>>,
    traffic: Traffic,
    forwards: Mutex<Vec<Arc<LiveForward>>>,
    registry: Arc<Inner>,
}

impl LiveSession {
    /// Its number, unique in this run of the server.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Who logged in, from where, since when.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.login
    }

    fn account(&self) -> AccountId {
        self.login.identity.account_id
    }

    /// All its forwards together, the closed ones too.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Its open forwards, in the order of their opening.
    #[must_use]
    pub fn forwards(&self) -> Vec<Arc<LiveForward>> {
        lock(&self.forwards).clone()
    }

    /// Lists a forward until the returned guard is dropped. `asked` is the address of the `tcpip-forward` request, `listen` the
    /// one where visitors connect.
    pub(crate) fn open_forward(self: &Arc<Self>, port: Port, asked: &[u8], listen: IpAddr) -> ForwardPresence {
        let forward = Arc::new(LiveForward {
            port,
            asked: asked.into(),
            listen,
            since: SystemTime::now(),
            traffic: Traffic::default(),
            session: Arc::clone(self),
        });
        lock(&self.forwards).push(Arc::clone(&forward));
        self.registry.metrics.forwards.inc();
        self.registry.changes.note_forward(self.account());
        ForwardPresence(forward)
    }

    fn cut(&self, reason: CutReason) -> bool {
        let Some(sender) = lock(&self.cut).take() else { return false };
        let told = sender.send(reason).is_ok();
        if told {
            self.registry.metrics.cut(reason);
        }
        told
    }
}

/// One remote forward that is open (RFC 4254 §7.1).
#[derive(Debug)]
pub struct LiveForward {
    port: Port,
    asked: Box<[u8]>,
    listen: IpAddr,
    since: SystemTime,
    traffic: Traffic,
    session: Arc<LiveSession>,
}

impl LiveForward {
    /// The port where visitors connect.
    #[must_use]
    pub fn port(&self) -> Port {
        self.port
    }

    /// The address as the client asked for it, raw.
    #[must_use]
    pub fn asked(&self) -> &[u8] {
        &self.asked
    }

    /// The address it really listens at.
    #[must_use]
    pub fn listen(&self) -> IpAddr {
        self.listen
    }

    /// When it was opened.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// What it carried.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Counts a visitor until the returned guard is dropped.
    pub(crate) fn admit(self: &Arc<Self>) -> VisitorPresence {
        let registry = &self.session.registry;
        for traffic in [&self.traffic, &self.session.traffic] {
            traffic.visitors_now.fetch_add(1, Relaxed);
            traffic.visitors_total.fetch_add(1, Relaxed);
        }
        registry.visitors.fetch_add(1, Relaxed);
        registry.metrics.visitors.inc();
        registry.metrics.visitors_total.inc();
        VisitorPresence(Arc::clone(self))
    }
}

/// The last who had to do with a forward is gone: also the visitors that stayed when it was closed.
impl Drop for LiveForward {
    fn drop(&mut self) {
        let (session, carried) = (&self.session, self.traffic.take_carried());
        traffic::add(&mut lock(&session.registry.carried), (session.account(), self.port), carried);
    }
}

/// A session's place in the registry.
#[derive(Debug)]
pub(crate) struct Presence(Arc<LiveSession>);

impl Deref for Presence {
    type Target = Arc<LiveSession>;

    fn deref(&self) -> &Arc<LiveSession> {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.registry.sessions().remove(&self.0.id);
        self.0.registry.metrics.sessions.dec();
        self.0.registry.changes.note_live(self.0.account());
    }
}

/// A forward's place in its session's list.
#[derive(Debug)]
pub(crate) struct ForwardPresence(Arc<LiveForward>);

impl Deref for ForwardPresence {
    type Target = Arc<LiveForward>;

    fn deref(&self) -> &Arc<LiveForward> {
        &self.0
    }
}

impl Drop for ForwardPresence {
    fn drop(&mut self) {
        lock(&self.0.session.forwards).retain(|forward| !Arc::ptr_eq(forward, &self.0));
        self.0.session.registry.metrics.forwards.dec();
        self.0.session.registry.changes.note_forward(self.0.session.account());
    }
}

/// A visitor's place in the counts of its forward.
#[derive(Debug)]
pub(crate) struct VisitorPresence(Arc<LiveForward>);

impl VisitorPresence {
    /// Counts bytes written to the service.
    pub(crate) fn count_in(&self, bytes: usize) {
        self.0.traffic.bytes_in.fetch_add(bytes as u64, Relaxed);
        self.0.session.traffic.bytes_in.fetch_add(bytes as u64, Relaxed);
        self.0.session.registry.metrics.bytes_in.inc_by(bytes as u64);
    }

    /// Counts bytes written to the visitor.
    pub(crate) fn count_out(&self, bytes: usize) {
        self.0.traffic.bytes_out.fetch_add(bytes as u64, Relaxed);
        self.0.session.traffic.bytes_out.fetch_add(bytes as u64, Relaxed);
        self.0.session.registry.metrics.bytes_out.inc_by(bytes as u64);
    }
}

impl Drop for VisitorPresence {
    fn drop(&mut self) {
        let registry = &self.0.session.registry;
        for traffic in [&self.0.traffic, &self.0.session.traffic] {
            traffic.visitors_now.fetch_sub(1, Relaxed);
        }
        registry.metrics.visitors.dec();
        if registry.visitors.fetch_sub(1, Relaxed) == 1 {
            registry.quiet.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    use adit_ssh::crypto::HostKey;
    use adit_store::TierLimits;
    use tokio::time::timeout;

    fn login(account: i64) -> Login {
        let identity = Identity {
            account_id: AccountId(account),
            account: format!("member{account}").parse().unwrap(),
            limits: TierLimits::default(),
            key_id: account,
            fingerprint: HostKey::generate_ed25519().unwrap().public_key().fingerprint(),
            label: String::new(),
            allowed: None,
            expires: None,
        };
        Login {
            identity: Arc::new(identity),
            client: "192.0.2.1:5000".parse().unwrap(),
            client_version: "SSH-2.0-test".to_owned(),
            since: UNIX_EPOCH,
        }
    }

    fn registry() -> (Registry, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        (Registry::new(Arc::clone(&metrics)), metrics)
    }

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn everything_is_listed_while_its_guard_lives() {
        let (registry, metrics) = registry();
        let (session, _cut) = registry.enter(login(1));
        let forward = session.open_forward(port(10_080), b"localhost", LOOPBACK);
        let visitor = forward.admit();
        visitor.count_in(10);
        visitor.count_out(200);
        let listed = registry.list();
        assert_eq!(listed[0].id(), session.id());
        assert_eq!(listed[0].forwards()[0].port(), port(10_080));
        assert_eq!((listed[0].traffic().bytes_in(), forward.traffic().bytes_out()), (10, 200));
        assert_eq!((metrics.sessions.get(), metrics.forwards.get(), metrics.visitors.get()), (1, 1, 1));

        drop(visitor);
        assert_eq!((forward.traffic().visitors_now(), forward.traffic().visitors_total()), (0, 1));
        drop(forward);
        assert!(session.forwards().is_empty());
        drop(session);
        assert!(registry.is_empty());
        assert_eq!((metrics.sessions.get(), metrics.forwards.get(), metrics.visitors.get()), (0, 0, 0));
        assert_eq!((metrics.bytes_in.get(), metrics.bytes_out.get()), (10, 200), "what was carried stays counted");
    }

    #[tokio::test]
    async fn a_cut_reaches_those_it_is_meant_for_once() {
        let (registry, metrics) = registry();
        let (alice, alice_cut) = registry.enter(login(1));
        let (_bob, bob_cut) = registry.enter(login(2));
        assert!(registry.cut_session(alice.id(), CutReason::Kicked));
        assert!(!registry.cut_session(alice.id(), CutReason::ShuttingDown), "the first reason wins");
        assert_eq!(alice_cut.await, CutReason::Kicked);
        assert_eq!(registry.cut_account(AccountId(1), CutReason::AccountRemoved), 0);
        assert_eq!(registry.cut_all(CutReason::ShuttingDown), 1);
        assert_eq!(bob_cut.await, CutReason::ShuttingDown);
        assert!(metrics.to_text().contains("adit_jumphost_cuts_total{reason=\"kicked\"} 1"));
    }

    #[test]
    fn a_session_that_is_gone_cannot_be_cut() {
        let (registry, _) = registry();
        let (session, _cut) = registry.enter(login(1));
        let id = session.id();
        drop(session);
        assert!(!registry.cut_session(id, CutReason::Kicked));
    }

    #[tokio::test]
    async fn a_drain_waits_for_the_last_visitor() {
        let (registry, _) = registry();
        let (session, _cut) = registry.enter(login(1));
        let forward = session.open_forward(port(10_080), b"", LOOPBACK);
        let (first, second) = (forward.admit(), forward.admit());
        drop(first);
        assert!(timeout(Duration::ZERO, registry.visitors_gone()).await.is_err());
        let left = async { drop(second) };
        let waited = timeout(Duration::from_secs(5), registry.visitors_gone());
        let (waited, ()) = tokio::join!(waited, left);
        assert!(waited.is_ok());
    }
}
