//! Jump hosts: through which others are reached. Each logs in with a profile of its own.

use super::error::BothJumps;
use super::record::{Record, RecordKind, Table};
use crate::db::{Row, Value, args};
use crate::error::StoreError;

/// A jump host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JumpHost {
    /// What people call it.
    pub name: String,
    /// Its name or address.
    pub host: String,
    /// The port of its SSH server.
    pub port: u16,
    /// The [`Profile`](super::Profile) that logs in there. The jump of that profile is the way there.
    pub profile_id: String,
    /// May be used.
    pub enabled: bool,
}

/// What to change of a jump host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JumpHostChange {
    /// See [`JumpHost::name`].
    pub name: Option<String>,
    /// See [`JumpHost::host`].
    pub host: Option<String>,
    /// See [`JumpHost::port`].
    pub port: Option<u16>,
    /// See [`JumpHost::profile_id`].
    pub profile_id: Option<String>,
    /// See [`JumpHost::enabled`].
    pub enabled: Option<bool>,
}

impl Record for JumpHost {
    type Change = JumpHostChange;

    fn merge(&mut self, change: JumpHostChange) -> Result<(), BothJumps> {
        set!(self, change: name, host, port, profile_id, enabled);
        Ok(())
    }
}

impl Table for JumpHost {
    const KIND: RecordKind = RecordKind::JumpHost;
    const SELECT_ONE: &'static str = "SELECT * FROM jump_hosts WHERE id = $1";
    const SELECT_ALL: &'static str = "SELECT * FROM jump_hosts ORDER BY name, created_at, id";
    const SAVE: &'static str =
        "INSERT INTO jump_hosts (id, created_at, updated_at, name, host, port, profile_id, enabled)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, name = excluded.name, host = excluded.host,
             port = excluded.port, profile_id = excluded.profile_id, enabled = excluded.enabled";
    const DELETE: &'static str = "DELETE FROM jump_hosts WHERE id = $1";

    fn title(&self) -> &str {
        &self.name
    }

    fn references(&self) -> Vec<(RecordKind, &str)> {
        vec![(RecordKind::Profile, &self.profile_id)]
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.get("name")?,
            host: row.get("host")?,
            port: row.get("port")?,
            profile_id: row.get("profile_id")?,
            enabled: row.get("enabled")?,
        })
    }

    fn values(&self) -> Vec<Value> {
        args![self.name.as_str(), self.host.as_str(), self.port, self.profile_id.as_str(), self.enabled]
    }
}
