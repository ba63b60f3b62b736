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
    /// Keys that logged in since the last batch, with their last time.
    used: Mutex<HashMap<i64, UnixMillis>>,
}

#[derive(Debug)]
struct Snapshot {
    generation: i64,
    /// Whether time alone can change anything.
    any_expires: bool,
    accounts: HashSet<AccountId>,
    by_blob: HashMap<Box<[u8]>, Arc<Identity>>,
    /// The same by number, to judge live sessions.
    by_id: HashMap<i64, Arc<Identity>>,
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
        used.insert(identity.key_id, SystemTime::now().into());
    }

    /// Loads a new snapshot if the store has changed, and cuts the sessions whose right is gone: how many those were.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the old snapshot stays.
    pub async fn refresh(&self, registry: &Registry) -> Result<usize, StoreError> {
        let turn = self.reloading.lock().await;
        let current = self.snapshot();
        if current.generation != self.store.generation().await? {
            let fresh = Snapshot::from_store(self.store.load_directory().await?);
            *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
            self.changes.fetch_add(1, Ordering::Release);
            registry.changes().note_directory();
        } else if !current.any_expires {
            return Ok(0);
        }
        drop(turn);
        Ok(self.cut_revoked(registry))
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
        if let Err(error) = self.write_used().await {
            tracing::warn!(error = crate::error_chain(&error), "the last use of some keys is lost");
        }
    }

    async fn follow(&self, registry: &Registry) -> Result<(), StoreError> {
        let cut = self.refresh(registry).await?;
        if cut > 0 {
            tracing::info!(sessions = cut, "sessions cut, their key or account is gone");
        }
        self.write_used().await
    }

    async fn write_used(&self) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        self.store.touch_keys(&used.into_iter().collect::<Vec<_>>()).await
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
            match account.name.parse::<AccountName>() {
                Ok(name) => {
                    accounts.insert(account.id, (name, limits));
                }
                // Only a hand on the file can have done this; the other accounts are none the worse.
                Err(error) => tracing::error!(id = account.id, %error, "an account of the store cannot log in"),
            }
        }
        let identities = directory.keys.into_iter().filter_map(|key| {
            let (name, limits) = accounts.get(&key.account)?;
            let blob = key.blob.clone().into_boxed_slice();
            identity(key, name.clone(), *limits).map(|identity| (blob, Arc::new(identity)))
        });
        let by_blob: HashMap<_, _> = identities.collect();
        Self {
            generation: directory.generation,
            any_expires: by_blob.values().any(|identity| identity.expires.is_some()),
            accounts: accounts.into_keys().map(AccountId).collect(),
            by_id: by_blob.values().map(|identity| (identity.key_id, Arc::clone(identity))).collect(),
            by_blob,
        }
    }

    fn revoked(&self, identity: &Identity, now: UnixMillis) -> Option<CutReason> {
        if !self.accounts.contains(&identity.account_id) {
            return Some(CutReason::AccountRemoved);
        }
        match self.by_id.get(&identity.key_id) {
            Some(current) if current.is_expired(now) => Some(CutReason::KeyExpired),
            Some(_) => None,
            // A snapshot leaves expired keys out, so a key that is missing may be either.
            None if identity.is_expired(now) => Some(CutReason::KeyExpired),
            None => Some(CutReason::KeyRemoved),
        }
    }
}

fn identity(key: Key, account: AccountName, limits: TierLimits) -> Option<Identity> {
    let fingerprint = key.fingerprint.parse();
    // A range that cannot be read must not become "any port".
    let allowed = key.ports.map(|ports| {
        let (first, last) = (Port::new(*ports.start())?, Port::new(*ports.end())?);
        PortRange::new(first, last)
    });
    let (Ok(fingerprint), false) = (fingerprint, allowed == Some(None)) else {
        tracing::error!(key = key.id, "a key of the store has a broken fingerprint or port range and cannot log in");
        return None;
    };
    Some(Identity {
        account_id: AccountId(key.account),
        account,
        limits,
        key_id: key.id,
        fingerprint,
        label: key.label,
        allowed: allowed.flatten(),
        expires: key.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    use adit_ssh::crypto::{HostKey, PublicKey};
    use adit_store::{AccountChange, NewAccount, NewKey};
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
            let account = self.store.add_account(new).await.unwrap();
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
    async fn the_last_use_of_a_key_is_written_in_the_end() {
        let world = World::new().await;
        let key = world.member("alice", None).await;
        world.refresh().await;
        world.directory.note_used(&world.directory.find(key.blob()).unwrap());
        let stop = CancellationToken::new();
        stop.cancel();
        world.directory.run(&world.registry, stop).await;
        assert!(world.store.list_keys(None).await.unwrap()[0].last_used_at.is_some());
        assert_eq!(world.refresh().await, 0, "a use is no change of the directory");
    }
}
