//! Who may log in: every account, tier and key, in memory, as of the store's last generation.
//! A login looks its key up here without waiting for a disk. When the store changes, a new snapshot replaces the old one whole,
//! and the sessions whose right went with it are cut. An administrator's change is followed at once; a change that somebody
//! else made in the store is noticed by a poll, which is how several nodes on one store will hear of each other.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use adit_core::{AccountId, AccountName, Port, PortRange};
use adit_ssh::crypto::Fingerprint;
use adit_store::{Key, Store, StoreError, TierLimits, UnixMillis};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::changes::Changes;
use crate::registry::{CutReason, Registry};

/// Twice in the second within which a change made elsewhere must act. One poll reads one row.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What a key says about its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account's number.
    pub account_id: AccountId,
    /// The account's name.
    pub account: AccountName,
    /// What the account's tier says about limits, where it says something.
    pub limits: TierLimits,
    /// The key's number in the store.
    pub key_id: i64,
    /// The key's SHA-256.
    pub fingerprint: Fingerprint,
    /// What its owner calls the key, raw.
    pub label: String,
    /// The ports that this key is confined to.
    pub allowed: Option<PortRange>,
    /// From then on the key is as good as removed.
    pub expires: Option<UnixMillis>,
}

impl Identity {
    fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Who may log in.
#[derive(Debug)]
pub struct Directory {
    store: Store,
    snapshot: RwLock<Arc<Snapshot>>,
    /// How often the snapshot was replaced.
    changes: AtomicU64,
    /// One reload at a time, so that an older snapshot never replaces a newer one.
    reloading: tokio::sync::Mutex<()>,
    /// Keys that logged in since the last batch, with whose they are and their last time.
    used: Mutex<HashMap<i64, (AccountId, UnixMillis)>>,
}

#[derive(Debug)]
struct Snapshot {
    generation: i64,
    /// Whether time alone can change anything.
    any_expires: bool,
    accounts: HashMap<AccountId, Entry>,
    by_blob: HashMap<Box<[u8]>, Arc<Identity>>,
    /// The same by number, to judge live sessions.
    by_id: HashMap<i64, Arc<Identity>>,
}

/// What can change of an account: where this is another, there is something new for those who look at it.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: AccountName,
    tier: String,
    is_admin: bool,
    limits: TierLimits,
    /// By number, expired ones too. A key never changes, but for its last use, which the directory does not know.
    keys: Vec<i64>,
}

impl Directory {
    /// Loads the first snapshot.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub async fn load(store: Store) -> Result<Self, StoreError> {
        let first = Snapshot::from_store(store.load_directory().await?);
        Ok(Self {
            store,
            snapshot: RwLock::new(Arc::new(first)),
            changes: AtomicU64::new(0),
            reloading: tokio::sync::Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// Whose key this is (the blob of RFC 4253 §6.6), if its holder may log in now.
    #[must_use]
    pub fn find(&self, key_blob: &[u8]) -> Option<Arc<Identity>> {
        let identity = self.snapshot().by_blob.get(key_blob).cloned()?;
        (!identity.is_expired(SystemTime::now().into())).then_some(identity)
    }

    /// A number that is another one after every change, so that a session sees in each of its rounds, at the price of one load,
    /// whether it must look itself up again.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What the key of a live session says about its holder by now; `None` where it is gone.
    pub(crate) fn current(&self, identity: &Identity) -> Option<Arc<Identity>> {
        self.snapshot().by_id.get(&identity.key_id).cloned()
    }

    /// Why a session of this identity may not go on, if so.
    pub(crate) fn revoked(&self, identity: &Identity) -> Option<CutReason> {
        self.snapshot().revoked(identity, SystemTime::now().into())
    }

    /// Notes that a key logged in just now; written with the next batch, off the session's way.
    pub(crate) fn note_used(&self, identity: &Identity) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(identity.key_id, (identity.account_id, SystemTime::now().into()));
    }

    /// Loads a new snapshot if the store has changed, cuts the sessions whose right is gone, and tells those whom the change concerns: how
    /// many sessions were cut.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the old snapshot stays.
    pub async fn refresh(&self, registry: &Registry) -> Result<usize, StoreError> {
        let turn = self.reloading.lock().await;
        let current = self.snapshot();
        let mut fresh = None;
        if current.generation != self.store.generation().await? {
            let loaded = Arc::new(Snapshot::from_store(self.store.load_directory().await?));
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&loaded);
            self.changes.fetch_add(1, Ordering::Release);
            fresh = Some(loaded);
        } else if !current.any_expires {
            return Ok(0);
        }
        drop(turn);
        // First: no page is told of a right that is gone before that right has ended.
        let cut = self.cut_revoked(registry);
        if let Some(fresh) = fresh {
            self.tell_what_changed(&current, &fresh, registry.changes()).await;
        }
        Ok(cut)
    }

    /// Tells those who look at an account that is another than it was, or who look at what it shares. A change that somebody else made in
    /// the store looks no different from one of ours here.
    async fn tell_what_changed(&self, before: &Snapshot, now: &Snapshot, changes: &Changes) {
        let (mut came, mut any_went) = (Vec::new(), false);
        for account in now.differing(before) {
            changes.note_account(account);
            if !before.accounts.contains_key(&account) {
                came.push((account.0, None));
            }
        }
        for account in before.differing(now).filter(|account| !now.accounts.contains_key(account)) {
            changes.note_account(account);
            any_went = true;
        }
        // What an account shares goes with it, and comes back with one that was locked out. A page that looks once too often is better
        // than one that shows what is not so.
        if any_went || self.store.is_any_shared(&came).await.unwrap_or(true) {
            changes.note_shared_ports();
        }
    }

    fn cut_revoked(&self, registry: &Registry) -> usize {
        let (snapshot, now) = (self.snapshot(), SystemTime::now().into());
        registry.cut_each(|session| snapshot.revoked(&session.login().identity, now))
    }

    /// Follows the store until `stop`. An error is logged once per outage; logins go on with the last snapshot.
    pub(crate) async fn run(&self, registry: &Registry, stop: CancellationToken) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.follow(registry).await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::error!(error = crate::error_chain(&error), "cannot follow the store");
                }
                Err(_) => {}
            }
        }
        if let Err(error) = self.write_used(registry).await {
            tracing::warn!(error = crate::error_chain(&error), "the last use of some keys is lost");
        }
    }

    async fn follow(&self, registry: &Registry) -> Result<(), StoreError> {
        let cut = self.refresh(registry).await?;
        if cut > 0 {
            tracing::info!(sessions = cut, "sessions cut, their key or account is gone");
        }
        self.write_used(registry).await
    }

    async fn write_used(&self, registry: &Registry) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let times: Vec<_> = used.iter().map(|(key, (_, at))| (*key, *at)).collect();
        self.store.touch_keys(&times).await?;
        for account in used.into_values().map(|(account, _)| account).collect::<HashSet<_>>() {
            registry.changes().note_account(account);
        }
        Ok(())
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Snapshot {
    fn from_store(directory: adit_store::Directory) -> Self {
        let limits: HashMap<_, _> = directory.tiers.into_iter().map(|tier| (tier.name, tier.limits)).collect();
        let mut accounts = HashMap::new();
        for account in directory.accounts {
            let limits = limits.get(&account.tier).copied().unwrap_or_default();
            match account.name.parse() {
                Ok(name) => {
                    let (tier, is_admin) = (account.tier, account.is_admin);
                    accounts.insert(AccountId(account.id), Entry { name, tier, is_admin, limits, keys: Vec::new() });
                }
                // Only a hand on the file can have done this; the other accounts are none the worse.
                Err(error) => tracing::error!(id = account.id, %error, "an account of the store cannot log in"),
            }
        }
        let now = SystemTime::now().into();
        let (mut by_blob, mut by_id, mut any_expires) = (HashMap::new(), HashMap::new(), false);
        for key in directory.keys {
            let Some(entry) = accounts.get_mut(&AccountId(key.account)) else { continue };
            entry.keys.push(key.id);
            let Some(identity) = identity(&key, entry).map(Arc::new) else { continue };
            any_expires |= identity.expires.is_some() && !identity.is_expired(now);
            by_id.insert(identity.key_id, Arc::clone(&identity));
            by_blob.insert(key.blob.into_boxed_slice(), identity);
        }
        Self { generation: directory.generation, any_expires, accounts, by_blob, by_id }
    }

    /// The accounts of which the other says something else, or nothing.
    fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = AccountId> + 'a {
        self.accounts.iter().filter(|(account, entry)| other.accounts.get(account) != Some(entry)).map(|(id, _)| *id)
    }

    fn revoked(&self, identity: &Identity, now: UnixMillis) -> Option<CutReason> {
        if !self.accounts.contains_key(&identity.account_id) {
            return Some(CutReason::AccountRemoved);
        }
        match self.by_id.get(&identity.key_id) {
            Some(current) if current.is_expired(now) => Some(CutReason::KeyExpired),
            Some(_) => None,
            None => Some(CutReason::KeyRemoved),
        }
    }
}

fn identity(key: &Key, entry: &Entry) -> Option<Identity> {
    let fingerprint = key.fingerprint.parse();
    // A range that cannot be read must not become "any port".
    let allowed = key.ports.clone().map(|ports| {
        let (first, last) = (Port::new(*ports.start())?, Port::new(*ports.end())?);
        PortRange::new(first, last)
    });
    let (Ok(fingerprint), false) = (fingerprint, allowed == Some(None)) else {
        tracing::error!(key = key.id, "a key of the store has a broken fingerprint or port range and cannot log in");
        return None;
    };
    Some(Identity {
        account_id: AccountId(key.account),
        account: entry.name.clone(),
        limits: entry.limits,
        key_id: key.id,
        fingerprint,
        label: key.label.clone(),
        allowed: allowed.flatten(),
        expires: key.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    use adit_ssh::crypto::{HostKey, PublicKey};
    use adit_store::{AccountChange, NewAccount, NewKey, NewPort, Tier};
    use tokio::time::timeout;

    use crate::metrics::Metrics;
    use crate::registry::{CutSignal, Login, Presence};

    struct World {
        store: Store,
        directory: Directory,
        registry: Registry,
    }

    impl World {
        async fn new() -> Self {
            let store = Store::open_in_memory().await.unwrap();
            let directory = Directory::load(store.clone()).await.unwrap();
            Self { store, directory, registry: Registry::new(Arc::new(Metrics::new())) }
        }

        /// Adds an account with one key, as another node would: in the store only.
        async fn member(&self, name: &str, expires_at: Option<UnixMillis>) -> PublicKey {
            let new = NewAccount { name: name.to_owned(), tier: "plus".to_owned(), is_admin: false };
            self.store.add_account(new).await.unwrap();
            self.give_key(name, expires_at).await
        }

        async fn give_key(&self, name: &str, expires_at: Option<UnixMillis>) -> PublicKey {
            let account = self.store.account(name).await.unwrap().unwrap();
            let public = HostKey::generate_ed25519().unwrap().public_key().clone();
            let key = NewKey {
                blob: public.blob().to_vec(),
                fingerprint: public.fingerprint().to_string(),
                key_type: public.key_type().to_owned(),
                label: String::new(),
                expires_at,
                ports: Some(10_000..=10_009),
            };
            self.store.add_key(account.id, key).await.unwrap();
            public
        }

        async fn refresh(&self) -> usize {
            self.directory.refresh(&self.registry).await.unwrap()
        }

        fn log_in(&self, key: &PublicKey) -> (Presence, CutSignal) {
            self.registry.enter(Login {
                identity: self.directory.find(key.blob()).unwrap(),
                client: "192.0.2.1:5000".parse().unwrap(),
                client_version: "SSH-2.0-test".to_owned(),
                since: UNIX_EPOCH,
            })
        }
    }

    fn soon(millis: u64) -> UnixMillis {
        UnixMillis::from(SystemTime::now()).after(Duration::from_millis(millis))
    }

    #[tokio::test]
    async fn a_key_is_known_from_the_next_refresh_on() {
        let world = World::new().await;
        let key = world.member("alice", None).await;
        assert_eq!(world.directory.find(key.blob()), None);
        assert_eq!(world.refresh().await, 0);
        let identity = world.directory.find(key.blob()).unwrap();
        assert_eq!(identity.account.as_str(), "alice");
        assert_eq!(identity.fingerprint, key.fingerprint());
        assert_eq!(identity.allowed.unwrap().to_string(), "10000-10009");
    }

    #[tokio::test]
    async fn a_removed_key_cuts_its_sessions_and_no_others() {
        let world = World::new().await;
        let (alice, bob) = (world.member("alice", None).await, world.member("bob", None).await);
        world.refresh().await;
        let (session, cut) = world.log_in(&alice);
        let (_other, other_cut) = world.log_in(&bob);
        let account = session.login().identity.account_id.0;
        world.store.remove_key(account, &alice.fingerprint().to_string()).await.unwrap();
        assert_eq!(world.refresh().await, 1);
        assert_eq!(cut.await, CutReason::KeyRemoved);
        assert_eq!(world.directory.find(alice.blob()), None);
        assert!(timeout(Duration::ZERO, other_cut).await.is_err(), "bob stays");
        assert_eq!(world.refresh().await, 0, "nobody is cut twice");
    }

    #[tokio::test]
    async fn a_removed_or_disabled_account_cuts_its_sessions() {
        let world = World::new().await;
        let (alice, bob) = (world.member("alice", None).await, world.member("bob", None).await);
        world.refresh().await;
        let ((_alice, alice_cut), (_bob, bob_cut)) = (world.log_in(&alice), world.log_in(&bob));
        world.store.remove_account("alice").await.unwrap();
        let locked_out = AccountChange { disabled: Some(true), ..AccountChange::default() };
        world.store.change_account("bob", locked_out).await.unwrap();
        assert_eq!(world.refresh().await, 2);
        assert_eq!((alice_cut.await, bob_cut.await), (CutReason::AccountRemoved, CutReason::AccountRemoved));
    }

    #[tokio::test]
    async fn a_key_ends_with_its_time() {
        let world = World::new().await;
        let over = world.member("alice", Some(UnixMillis(1))).await;
        let good = world.member("bob", Some(soon(60_000))).await;
        world.refresh().await;
        assert_eq!(world.directory.find(over.blob()), None);
        let (session, _cut) = world.log_in(&good);
        let snapshot = world.directory.snapshot();
        assert_eq!(snapshot.revoked(&session.login().identity, soon(0)), None);
        assert_eq!(snapshot.revoked(&session.login().identity, soon(61_000)), Some(CutReason::KeyExpired));
    }

    #[tokio::test]
    async fn a_change_in_the_store_is_followed_without_being_told() {
        let world = World::new().await;
        let key = world.member("alice", None).await;
        world.refresh().await;
        let (session, cut) = world.log_in(&key);
        let stop = CancellationToken::new();
        world.directory.note_used(&session.login().identity);
        world.store.remove_account("alice").await.unwrap();
        let reason = tokio::select! {
            () = world.directory.run(&world.registry, stop.clone()) => panic!("not stopped yet"),
            reason = timeout(Duration::from_secs(1), cut) => reason,
        };
        assert_eq!(reason.expect("within the promised second"), CutReason::AccountRemoved);
    }

    #[tokio::test]
    async fn only_those_hear_of_a_change_whom_it_concerns() {
        let world = World::new().await;
        for name in ["alice", "bob"] {
            world.member(name, None).await;
        }
        world.refresh().await;
        let id = async |name| world.store.account(name).await.unwrap().unwrap().id;
        let (alice, bob) = (id("alice").await, id("bob").await);
        let changes = world.registry.changes();
        let mut versions = [changes.account(AccountId(alice)), changes.account(AccountId(bob)), changes.shared_ports()];
        let mut heard = async || {
            world.refresh().await;
            versions.each_mut().map(|version| {
                let has_changed = version.has_changed().unwrap();
                version.mark_unchanged();
                has_changed
            })
        };
        world.member("carol", None).await;
        assert_eq!(heard().await, [false, false, false], "who is new shares nothing yet");
        world.give_key("alice", Some(UnixMillis(1))).await;
        assert_eq!(heard().await, [true, false, false], "a key that is over already is shown too");
        let over = world.store.list_keys(Some(alice)).await.unwrap()[1].fingerprint.clone();
        world.store.remove_key(alice, &over).await.unwrap();
        assert_eq!(heard().await, [true, false, false]);

        let on_tier = |tier: &str| AccountChange { tier: Some(tier.to_owned()), ..AccountChange::default() };
        world.store.change_account("bob", on_tier("pro")).await.unwrap();
        assert_eq!(heard().await, [false, true, false]);
        let limits = TierLimits { forwards_per_account: Some(1), ..TierLimits::default() };
        world.store.upsert_tier(&Tier { name: "pro".to_owned(), limits }).await.unwrap();
        assert_eq!(heard().await, [false, true, false], "a tier's limits are those of who is on it");

        let locked = |disabled| AccountChange { disabled: Some(disabled), ..AccountChange::default() };
        world.store.change_account("bob", locked(true)).await.unwrap();
        assert_eq!(heard().await, [false, true, true], "what bob may share is listed no longer");
        let page = NewPort { port: 10_080, description: String::new(), shared: true };
        world.store.add_port(bob, page, 1).await.unwrap();
        world.store.change_account("bob", locked(false)).await.unwrap();
        assert_eq!(heard().await, [false, true, true], "and again");
        world.store.remove_account("alice").await.unwrap();
        assert_eq!(heard().await, [true, false, true]);
        assert_eq!(heard().await, [false, false, false]);
    }

    #[tokio::test]
    async fn the_last_use_of_a_key_is_written_in_the_end() {
        let world = World::new().await;
        let key = world.member("alice", None).await;
        world.refresh().await;
        world.directory.note_used(&world.directory.find(key.blob()).unwrap());
        let stop = CancellationToken::new();
        stop.cancel();
        let account = world.directory.find(key.blob()).unwrap().account_id;
        let shown = world.registry.changes().account(account);
        world.directory.run(&world.registry, stop).await;
        assert!(shown.has_changed().unwrap(), "it stands beside the key");
        assert!(world.store.list_keys(None).await.unwrap()[0].last_used_at.is_some());
        assert_eq!(world.refresh().await, 0, "a use is no change of the directory");
    }
}
