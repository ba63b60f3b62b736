//! What all records of the agent have in common.

use std::fmt;
use std::future::Future;

use super::error::BothJumps;
use super::names::{self, named};
use crate::db::{Row, Tx, Value};
use crate::error::StoreError;
use crate::time::UnixMillis;

/// A record as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved<R> {
    /// Random, and never given twice; begins with the kind: `prof_`, `jump_`, `sess_`, `tun_`.
    pub id: String,
    /// When it was added.
    pub created_at: UnixMillis,
    /// When it was last changed, or added.
    pub updated_at: UnixMillis,
    /// What people set.
    pub record: R,
}

impl<R: Record> Saved<R> {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            record: R::read(row)?,
        })
    }
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A [`Profile`](super::Profile).
    Profile,
    /// A [`JumpHost`](super::JumpHost).
    JumpHost,
    /// A [`Session`](super::Session).
    Session,
    /// A [`Tunnel`](super::Tunnel).
    Tunnel,
}

impl RecordKind {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Profile => "prof",
            Self::JumpHost => "jump",
            Self::Session => "sess",
            Self::Tunnel => "tun",
        }
    }

    pub(super) fn exists_sql(self) -> &'static str {
        match self {
            Self::Profile => "SELECT 1 AS found FROM profiles WHERE id = $1",
            Self::JumpHost => "SELECT 1 AS found FROM jump_hosts WHERE id = $1",
            Self::Session => "SELECT 1 AS found FROM sessions WHERE id = $1",
            Self::Tunnel => "SELECT 1 AS found FROM tunnels WHERE id = $1",
        }
    }

    /// Nothing refers to a tunnel.
    pub(super) fn users_sql(self) -> Option<&'static str> {
        match self {
            Self::Profile => Some(
                "SELECT 'jump host' AS kind, id, name FROM jump_hosts WHERE profile_id = $1
                 UNION ALL SELECT 'session', id, name FROM sessions WHERE profile_id = $1
                 UNION ALL SELECT 'tunnel', id, name FROM tunnels WHERE profile_id = $1
                 ORDER BY kind, name, id",
            ),
            Self::JumpHost => Some(
                "SELECT 'profile' AS kind, id, name FROM profiles WHERE jump_host_id = $1
                 UNION ALL SELECT 'session', id, name FROM sessions WHERE jump_host_id = $1
                 UNION ALL SELECT 'tunnel', id, name FROM tunnels WHERE jump_host_id = $1
                 ORDER BY kind, name, id",
            ),
            Self::Session => Some(
                "SELECT 'profile' AS kind, id, name FROM profiles WHERE jump_session_id = $1
                 UNION ALL SELECT 'session', id, name FROM sessions WHERE jump_session_id = $1
                 UNION ALL SELECT 'tunnel', id, name FROM tunnels WHERE jump_session_id = $1
                 ORDER BY kind, name, id",
            ),
            Self::Tunnel => None,
        }
    }
}

named!(RecordKind, { Profile => "profile", JumpHost => "jump host", Session => "session", Tunnel => "tunnel" });

/// A record as others speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// What it is.
    pub kind: RecordKind,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
}

impl RecordRef {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { kind: names::read(row, "kind")?, id: row.get("id")?, name: row.get("name")? })
    }
}

impl fmt::Display for RecordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind, self.name)
    }
}

/// A kind of record. There are four, and no more outside this room.
pub trait Record: Table {
    /// Which fields to change, and to what. A field that is `None` stays as it is; of one that may be missing, `Some(None)`
    /// takes the value away.
    type Change: Send;

    /// Changes the fields that `change` names.
    ///
    /// # Errors
    ///
    /// [`BothJumps`], when it would then have two.
    fn merge(&mut self, change: Self::Change) -> Result<(), BothJumps>;
}

/// How a kind of record lies in its table. The statements begin with `id, created_at, updated_at`; behind them stand the
/// [`values`](Table::values).
pub trait Table: Clone + Send + Sync + Sized {
    const KIND: RecordKind;
    const SELECT_ONE: &'static str;
    const SELECT_ALL: &'static str;
    const SAVE: &'static str;
    const DELETE: &'static str;

    /// What people call it.
    fn title(&self) -> &str;

    /// The records without which it cannot be.
    fn references(&self) -> Vec<(RecordKind, &str)>;

    fn read(row: &Row) -> Result<Self, StoreError>;

    fn values(&self) -> Vec<Value>;

    /// Writes what does not fit into its row.
    fn save_parts(&self, _tx: &mut Tx, _id: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }

    /// Reads what does not fit into its row, for all of these.
    fn load_parts(_tx: &mut Tx, _all: &mut [Saved<Self>]) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }
}
