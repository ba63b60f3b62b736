//! Sessions: hosts that people connect to, with the forwards that come and go with the connection.

use super::error::BothJumps;
use super::forward::Forward;
use super::jump::{self, JumpRef};
use super::record::{Record, RecordKind, Saved, Table};
use crate::db::{Row, Tx, Value, args};
use crate::error::StoreError;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What people call it.
    pub name: String,
    /// Its host's name or address.
    pub host: String,
    /// The port of its SSH server.
    pub port: u16,
    /// The [`Profile`](super::Profile) that logs in there.
    pub profile_id: String,
    /// The jump, where it is not the profile's.
    pub jump: Option<JumpRef>,
    /// What is forwarded while it is connected, in the order people gave.
    pub forwards: Vec<SessionForward>,
    /// May be used.
    pub enabled: bool,
}

/// A forward of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionForward {
    /// What is forwarded.
    pub forward: Forward,
    /// Starts with the session.
    pub enabled: bool,
}

/// What to change of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChange {
    /// See [`Session::name`].
    pub name: Option<String>,
    /// See [`Session::host`].
    pub host: Option<String>,
    /// See [`Session::port`].
    pub port: Option<u16>,
    /// See [`Session::profile_id`].
    pub profile_id: Option<String>,
    /// See [`Session::jump`].
    pub jump_host_id: Option<Option<String>>,
    /// See [`Session::jump`].
    pub jump_session_id: Option<Option<String>>,
    /// All of [`Session::forwards`].
    pub forwards: Option<Vec<SessionForward>>,
    /// See [`Session::enabled`].
    pub enabled: Option<bool>,
}

impl Record for Session {
    type Change = SessionChange;

    fn merge(&mut self, change: SessionChange) -> Result<(), BothJumps> {
        jump::merge(&mut self.jump, change.jump_host_id, change.jump_session_id)?;
        set!(self, change: name, host, port, profile_id, forwards, enabled);
        Ok(())
    }
}

impl Table for Session {
    const KIND: RecordKind = RecordKind::Session;
    const SELECT_ONE: &'static str = "SELECT * FROM sessions WHERE id = $1";
    const SELECT_ALL: &'static str = "SELECT * FROM sessions ORDER BY name, created_at, id";
    const SAVE: &'static str =
        "INSERT INTO sessions (id, created_at, updated_at, name, host, port, profile_id, enabled,
             jump_host_id, jump_session_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, name = excluded.name, host = excluded.host,
             port = excluded.port, profile_id = excluded.profile_id, enabled = excluded.enabled,
             jump_host_id = excluded.jump_host_id, jump_session_id = excluded.jump_session_id";
    /// Its forwards go with it.
    const DELETE: &'static str = "DELETE FROM sessions WHERE id = $1";

    fn title(&self) -> &str {
        &self.name
    }

    fn references(&self) -> Vec<(RecordKind, &str)> {
        let profile = (RecordKind::Profile, self.profile_id.as_str());
        std::iter::once(profile).chain(self.jump.iter().map(JumpRef::reference)).collect()
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.get("name")?,
            host: row.get("host")?,
            port: row.get("port")?,
            profile_id: row.get("profile_id")?,
            jump: jump::read(row)?,
            forwards: Vec::new(),
            enabled: row.get("enabled")?,
        })
    }

    fn values(&self) -> Vec<Value> {
        let mut values =
            args![self.name.as_str(), self.host.as_str(), self.port, self.profile_id.as_str(), self.enabled];
        values.extend(jump::values(self.jump.as_ref()));
        values
    }

    async fn save_parts(&self, tx: &mut Tx, id: &str) -> Result<(), StoreError> {
        tx.execute("DELETE FROM session_forwards WHERE session_id = $1", args![id]).await?;
        for (position, SessionForward { forward, enabled }) in (0_u32..).zip(&self.forwards) {
            let mut values = args![id, position, *enabled];
            values.extend(forward.values());
            tx.execute(
                "INSERT INTO session_forwards (session_id, position, enabled, forward_type, local_port, bind_address,
                                               remote_host, remote_port)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                values,
            )
            .await?;
        }
        Ok(())
    }

    async fn load_parts(tx: &mut Tx, all: &mut [Saved<Self>]) -> Result<(), StoreError> {
        let read = |row: &Row| Ok(SessionForward { forward: Forward::read(row)?, enabled: row.get("enabled")? });
        for session in all {
            let sql = "SELECT * FROM session_forwards WHERE session_id = $1 ORDER BY position";
            session.record.forwards = tx.fetch_all(sql, args![session.id.as_str()], read).await?;
        }
        Ok(())
    }
}
