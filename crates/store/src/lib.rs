//! Remembers what must outlive the process: accounts, tiers, keys, registered ports, port leases, who is signed in at the
//! dashboard and with what right, traffic by the minute, and audit events.
//!
//! The only room that speaks SQL. It decides nothing about SSH and checks no key: what a name may look like, whether
//! a key is strong enough, and which port a session may ask for is settled before a call arrives here.
//!
//! The local agent has a store of its own, in a file of its own: [`agent`].
//!
//! # One interface, one suite, several databases
//!
//! [`Store`] hides which database it stands on. Today that is SQLite in WAL mode, one file for one node. The
//! statements are written once, in the subset SQLite and PostgreSQL share; `db` is the seam that carries them to a
//! database, and `sqlite` is the only file that knows one. A second adapter is a second variant in `db`, a folder of
//! migrations, and a second factory for the tests, which already take one.
//!
//! # What holds for every call
//!
//! - **Time** is the database's clock, in milliseconds ([`UnixMillis`]), read after the right to write is held. Nodes
//!   whose clocks differ therefore agree on who holds a lease. Only an audit event brings its own time.
//! - **Cancellation**: each call is one transaction (a call that is several says so). A future that is dropped has
//!   done all of it or nothing; which of the two is not known. The store stays usable.
//! - **Errors**: an outcome the caller acts on is a variant of that operation's own enum; a database that fails is a
//!   [`StoreError`] everywhere, with its cause beneath it.

mod accounts;
pub mod agent;
mod api_tokens;
mod audit;
mod authority;
mod credentials;
mod db;
mod directory;
mod error;
mod invitations;
mod keys;
mod leases;
mod ports;
mod sqlite;
mod tiers;
mod time;
mod token;
mod traffic;
mod web_sessions;

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub use accounts::{
    Account, AccountChange, AccountPage, AccountQuery, AccountSummary, AddAccountError, ChangeAccountError, NewAccount,
    RemoveAccountError, RemovedAccount,
};
pub use api_tokens::{AddApiTokenError, ApiToken, NewApiToken};
pub use audit::{AuditAccount, AuditEvent, AuditQuery, NewAuditEvent};
pub use authority::Authority;
pub use credentials::{Credential, SetPasswordError};
pub use directory::Directory;
pub use error::{OpenError, StoreError};
pub use invitations::{
    AcceptInvitationError, AcceptedInvitation, AddInvitationError, Invitation, InvitationKind, Maker, NewInvitation,
};
pub use keys::{AddKeyError, ClaimKeyError, ClaimedKey, KEYS_PER_ACCOUNT, Key, NewKey, RemoveKeyError};
pub use leases::{AcquireError, Fence, Lease, LeaseRequest, RenewError};
pub use ports::{
    AddPortError, ChangePortError, ChangedPort, NewPort, PortChange, PortQuery, RegisteredPort, RegisteredPortPage,
    RemovePortError, SharedPort, SharedPortPage,
};
pub use tiers::{RemoveTierError, Tier, TierLimits};
pub use time::UnixMillis;
pub use token::TokenHash;
pub use traffic::{Carried, PortTraffic, TrafficMinute};
pub use web_sessions::{AddWebSessionError, NewWebSession, WebSession};

/// How long a write, or opening, waits for another process that holds the database, unless told otherwise. The
/// longest such wait in ordinary work is an administrator's command beside a running server: milliseconds.
const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(5);

/// A handle to the store; clones share it. Its operations stand with what they handle: accounts, tiers, keys, ports,
/// leases, audit events.
///
/// Several handles on one file, also from several processes, are safe: the database orders the writes.
#[derive(Clone)]
pub struct Store {
    db: db::Db,
}

impl Store {
    /// Opens the store in the file `path`, and creates it (mode 0600) if there is none. The folder must exist.
    ///
    /// Brings an older schema up to date, in one transaction. Nothing that is already there is ever overwritten: the
    /// file is first looked at read-only, and a damaged, foreign or newer one is left byte for byte as it was.
    /// Looking reads the whole file once, so the time grows with its size.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; each says what to do next.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with_lock_wait(path, DEFAULT_LOCK_WAIT).await
    }

    /// As [`Store::open`], but waits about `lock_wait` for another process that holds the file; later writes of this
    /// handle wait as long.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub async fn open_with_lock_wait(path: impl AsRef<Path>, lock_wait: Duration) -> Result<Self, OpenError> {
        Ok(Self { db: db::Db::sqlite(sqlite::open(path.as_ref(), lock_wait, &sqlite::JUMP_HOST).await?) })
    }

    /// An empty store that lives in memory and ends with its last clone: for tests and trials.
    ///
    /// # Errors
    ///
    /// [`OpenError::Database`] if SQLite itself fails.
    pub async fn open_in_memory() -> Result<Self, OpenError> {
        Ok(Self { db: db::Db::sqlite(sqlite::open_in_memory(&sqlite::JUMP_HOST).await?) })
    }

    /// A number that every change to accounts, keys and tiers raises, so that a cache sees cheaply whether it must
    /// load its [`Directory`] again. It never goes back. A key's last use does not raise it; neither does a key's
    /// expiry, which is nobody's change.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn generation(&self) -> Result<i64, StoreError> {
        self.db.read("read the generation").await?.generation().await
    }

    /// The database's clock.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn now(&self) -> Result<UnixMillis, StoreError> {
        self.db.read("read the clock").await?.now().await
    }

    /// Lets running operations end, folds the write-ahead log into the file and closes it. Every later call, on any
    /// clone, fails with an error whose [`StoreError::is_closed`] is true. A store that is only dropped loses
    /// nothing; its log is folded in when it is next opened.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("at", &self.db.place()).finish()
    }
}
