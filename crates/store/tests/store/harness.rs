//! The factory of stores, and the few people and things the stories are about.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use adit_store::{Account, LeaseRequest, NewAccount, NewKey, Store, UnixMillis};

/// No story takes longer, also on a loaded machine; one that does hangs.
const BOUND: Duration = Duration::from_secs(60);

/// Far in the future of any story: a lease of this length does not run out.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A database that a story may open more than once. The second adapter adds a variant and a line to
/// `on_every_database`.
pub(crate) enum Database {
    SqliteFile(tempfile::TempDir),
    SqliteMemory(Store),
}

impl Database {
    pub(crate) fn sqlite_file() -> Self {
        Self::SqliteFile(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) async fn sqlite_memory() -> Self {
        Self::SqliteMemory(Store::open_in_memory().await.expect("a store in memory"))
    }

    /// A handle of its own where the database allows it, as another process would have.
    pub(crate) async fn open(&self) -> Store {
        match self {
            Self::SqliteFile(folder) => Store::open(folder.path().join("adit.db")).await.expect("the store opens"),
            Self::SqliteMemory(store) => store.clone(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::SqliteFile(folder) => folder.path().join("adit.db"),
            Self::SqliteMemory(_) => panic!("a store in memory has no path"),
        }
    }
}

/// Runs each story, an `async fn(Database)` of the same file, once per database. A story that is not named here is
/// dead code, which the lints report.
macro_rules! on_every_database {
    ($($story:ident),+ $(,)?) => {
        mod on_sqlite_file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                $crate::harness::bounded(super::$story($crate::harness::Database::sqlite_file())).await;
            })+
        }
        mod on_sqlite_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                let database = $crate::harness::Database::sqlite_memory().await;
                $crate::harness::bounded(super::$story(database)).await;
            })+
        }
    };
}
pub(crate) use on_every_database;

pub(crate) async fn bounded(story: impl Future<Output = ()>) {
    tokio::time::timeout(BOUND, story).await.expect("the story ends in time");
}

pub(crate) async fn join(store: &Store, name: &str) -> Account {
    let new = NewAccount { name: name.to_owned(), tier: "community".to_owned(), is_admin: false };
    store.add_account(new).await.expect("the account is added")
}

/// A key whose bytes and fingerprint follow from `seed`.
pub(crate) fn key(seed: &str) -> NewKey {
    NewKey {
        blob: format!("blob of {seed}").into_bytes(),
        fingerprint: format!("SHA256:{seed}"),
        key_type: "ssh-ed25519".to_owned(),
        label: format!("{seed}'s laptop"),
        expires_at: None,
        ports: None,
    }
}

pub(crate) fn ask(account: &Account, port: u16, ttl: Duration) -> LeaseRequest {
    LeaseRequest { port, account: account.id, node: "node-a".to_owned(), session: 7, ttl, replacing: None }
}

pub(crate) async fn an_hour_ago(store: &Store) -> UnixMillis {
    UnixMillis(store.now().await.expect("the clock").0 - 3_600_000)
}

pub(crate) async fn in_an_hour(store: &Store) -> UnixMillis {
    store.now().await.expect("the clock").after(LONG)
}
