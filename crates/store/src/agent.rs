//! What the local agent remembers: profiles, jump hosts, sessions with their forwards, tunnels, and a few settings.
//!
//! The agent has a file of its own ([`AgentStore`]): it belongs to a person on a workstation, where a jump host's belongs to a
//! service. What holds for every call of the other store holds here too.
//!
//! All kinds of records are kept alike ([`Record`]): added with an id of ours, changed in parts, and removed only when nothing
//! refers to them. Which addresses may be bound and which fields a forward needs is the agent's to decide, and it does so
//! inside the change ([`AgentStore::change`]), on the record as it would be. No secret is ever given to this store.

/// Sets the fields that a change names.
macro_rules! set {
    ($record:expr, $change:ident: $($field:ident),+) => {
        $(if let Some(value) = $change.$field {
            $record.$field = value;
        })+
    };
}

mod error;
mod forward;
mod jump;
mod jump_hosts;
mod names;
mod profiles;
mod record;
mod sessions;
mod settings;
mod tunnels;

use std::fmt;
use std::path::Path;

use crate::db::{Db, Durability, Tx, args};
use crate::error::{OpenError, StoreError};
use crate::time::UnixMillis;
use crate::token::random_id;
use crate::{DEFAULT_LOCK_WAIT, sqlite};

pub use error::{AddRecordError, BothJumps, ChangeRecordError, RemoveRecordError};
pub use forward::{Forward, ForwardType};
pub use jump::JumpRef;
pub use jump_hosts::{JumpHost, JumpHostChange};
pub use names::UnknownName;
pub use profiles::{AuthMethod, Profile, ProfileChange, SecretRef};
pub use record::{Record, RecordKind, RecordRef, Saved};
pub use sessions::{Session, SessionChange, SessionForward};
pub use settings::{HostKeyPolicy, Settings, SettingsChange};
pub use tunnels::{Tunnel, TunnelChange};

/// A handle to the agent's store; clones share it.
#[derive(Clone)]
pub struct AgentStore {
    db: Db,
}

impl AgentStore {
    /// Opens the agent's store in the file `path`, and creates it (mode 0600) if there is none, with the same care as
    /// [`Store::open`](crate::Store::open). A jump host's file is another program's here.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; each says what to do next.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self { db: Db::sqlite(sqlite::open(path.as_ref(), DEFAULT_LOCK_WAIT, &sqlite::AGENT).await?) })
    }

    /// An empty store that lives in memory and ends with its last clone: for tests, and for use without a folder.
    ///
    /// # Errors
    ///
    /// [`OpenError::Database`] if SQLite itself fails.
    pub async fn open_in_memory() -> Result<Self, OpenError> {
        Ok(Self { db: Db::sqlite(sqlite::open_in_memory(&sqlite::AGENT).await?) })
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`AddRecordError`]; nothing was added.
    pub async fn add<R: Record>(&self, record: R) -> Result<Saved<R>, AddRecordError> {
        let random = random_id().ok_or(AddRecordError::NoRandomness)?;
        let mut tx = self.db.write(Durability::Synced, "add a record of the agent").await?;
        if let Some(unknown) = first_unknown(&mut tx, &record).await? {
            return Err(AddRecordError::Unknown(unknown));
        }
        let now = tx.now().await?;
        // Nothing refers to a new record, so none can close a loop of jumps.
        let saved = Saved { id: format!("{}_{random}", R::KIND.prefix()), created_at: now, updated_at: now, record };
        save(&mut tx, &saved).await?;
        tx.commit().await?;
        Ok(saved)
    }

    /// The record with this id, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn get<R: Record>(&self, id: &str) -> Result<Option<Saved<R>>, StoreError> {
        let mut tx = self.db.read("look up a record of the agent").await?;
        load(&mut tx, id).await
    }

    /// All records of a kind, by name, the older first where names are the same.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list<R: Record>(&self) -> Result<Vec<Saved<R>>, StoreError> {
        let mut tx = self.db.read("list the records of the agent").await?;
        list(&mut tx).await
    }

    /// All records and the settings, as they were at one moment.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut tx = self.db.read("read the agent's records").await?;
        Ok(Snapshot {
            profiles: list(&mut tx).await?,
            jump_hosts: list(&mut tx).await?,
            sessions: list(&mut tx).await?,
            tunnels: list(&mut tx).await?,
            settings: settings::load(&mut tx).await?,
        })
    }

    /// Changes the fields of a record that `change` names, and leaves the others as they are; returns the record as it now
    /// is. `check` sees it before it is written, and may refuse.
    ///
    /// # Errors
    ///
    /// [`ChangeRecordError`]; nothing was changed.
    pub async fn change<R: Record, E: Send>(
        &self,
        id: &str,
        change: R::Change,
        check: impl FnOnce(&R) -> Result<(), E> + Send,
    ) -> Result<Saved<R>, ChangeRecordError<E>> {
        let mut tx = self.db.write(Durability::Synced, "change a record of the agent").await?;
        let Some(mut saved) = load::<R>(&mut tx, id).await? else {
            return Err(ChangeRecordError::NotFound { kind: R::KIND, id: id.to_owned() });
        };
        saved.record.merge(change)?;
        check(&saved.record).map_err(ChangeRecordError::Refused)?;
        if let Some(unknown) = first_unknown(&mut tx, &saved.record).await? {
            return Err(ChangeRecordError::Unknown(unknown));
        }
        saved.updated_at = tx.now().await?;
        save(&mut tx, &saved).await?;
        if let Some(through) = jump::find_loop(&mut tx).await? {
            return Err(ChangeRecordError::JumpLoop { through });
        }
        tx.commit().await?;
        Ok(saved)
    }

    /// Removes a record that nothing refers to; returns it as it last was.
    ///
    /// # Errors
    ///
    /// [`RemoveRecordError`]; nothing was removed.
    pub async fn remove<R: Record>(&self, id: &str) -> Result<Saved<R>, RemoveRecordError> {
        let mut tx = self.db.write(Durability::Synced, "remove a record of the agent").await?;
        let Some(saved) = load::<R>(&mut tx, id).await? else {
            return Err(RemoveRecordError::NotFound { kind: R::KIND, id: id.to_owned() });
        };
        let users = users(&mut tx, R::KIND, id).await?;
        if !users.is_empty() {
            return Err(RemoveRecordError::InUse { kind: R::KIND, name: saved.record.title().to_owned(), users });
        }
        tx.execute(R::DELETE, args![id]).await?;
        tx.commit().await?;
        Ok(saved)
    }

    /// What is set for the agent as a whole.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn settings(&self) -> Result<Settings, StoreError> {
        settings::load(&mut self.db.read("read the agent's settings").await?).await
    }

    /// Changes settings; returns them as they now are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn change_settings(&self, change: SettingsChange) -> Result<Settings, StoreError> {
        let mut tx = self.db.write(Durability::Synced, "change the agent's settings").await?;
        let settings = settings::change(&mut tx, change).await?;
        tx.commit().await?;
        Ok(settings)
    }

    /// The database's clock.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn now(&self) -> Result<UnixMillis, StoreError> {
        self.db.read("read the clock").await?.now().await
    }

    /// As [`Store::close`](crate::Store::close).
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// Everything the store holds, at one moment: what refers to another finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// All profiles, by name.
    pub profiles: Vec<Saved<Profile>>,
    /// All jump hosts, by name.
    pub jump_hosts: Vec<Saved<JumpHost>>,
    /// All sessions, by name.
    pub sessions: Vec<Saved<Session>>,
    /// All tunnels, by name.
    pub tunnels: Vec<Saved<Tunnel>>,
    /// The settings.
    pub settings: Settings,
}

impl fmt::Debug for AgentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentStore").field("at", &self.db.place()).finish()
    }
}

async fn load<R: Record>(tx: &mut Tx, id: &str) -> Result<Option<Saved<R>>, StoreError> {
    let Some(row) = tx.fetch_optional(R::SELECT_ONE, args![id]).await? else { return Ok(None) };
    let mut saved = Saved::read(&row)?;
    R::load_parts(tx, std::slice::from_mut(&mut saved)).await?;
    Ok(Some(saved))
}

async fn list<R: Record>(tx: &mut Tx) -> Result<Vec<Saved<R>>, StoreError> {
    let mut all = tx.fetch_all(R::SELECT_ALL, args![], Saved::read).await?;
    R::load_parts(tx, &mut all).await?;
    Ok(all)
}

/// Writes a record, new or not.
async fn save<R: Record>(tx: &mut Tx, saved: &Saved<R>) -> Result<(), StoreError> {
    let mut values = args![saved.id.as_str(), saved.created_at, saved.updated_at];
    values.extend(saved.record.values());
    tx.execute(R::SAVE, values).await?;
    saved.record.save_parts(tx, &saved.id).await
}

/// The first of the records that this one refers to which is not there.
async fn first_unknown<R: Record>(tx: &mut Tx, record: &R) -> Result<Option<(RecordKind, String)>, StoreError> {
    for (kind, id) in record.references() {
        if tx.fetch_optional(kind.exists_sql(), args![id]).await?.is_none() {
            return Ok(Some((kind, id.to_owned())));
        }
    }
    Ok(None)
}

/// Who refers to this record, by kind and name.
async fn users(tx: &mut Tx, kind: RecordKind, id: &str) -> Result<Vec<RecordRef>, StoreError> {
    let Some(sql) = kind.users_sql() else { return Ok(Vec::new()) };
    tx.fetch_all(sql, args![id], RecordRef::read).await
}
