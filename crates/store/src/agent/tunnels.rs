//! Tunnels: forwards that people keep, each with its own way to its server.

use super::error::BothJumps;
use super::forward::{Forward, ForwardType};
use super::jump::{self, JumpRef};
use super::record::{Record, RecordKind, Table};
use crate::db::{Row, Value, args};
use crate::error::StoreError;

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// What people call it.
    pub name: String,
    /// The name or address of its SSH server.
    pub host: String,
    /// The port of its SSH server.
    pub port: u16,
    /// The [`Profile`](super::Profile) that logs in there.
    pub profile_id: String,
    /// The jump, where it is not the profile's.
    pub jump: Option<JumpRef>,
    /// What is forwarded.
    pub forward: Forward,
    /// Starts with the agent.
    pub auto_start: bool,
    /// Is made again when it is lost.
    pub auto_reconnect: bool,
    /// How often in a row; 0 is without end.
    pub max_retries: u32,
    /// May be used.
    pub enabled: bool,
}

/// What to change of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelChange {
    /// See [`Tunnel::name`].
    pub name: Option<String>,
    /// See [`Tunnel::host`].
    pub host: Option<String>,
    /// See [`Tunnel::port`].
    pub port: Option<u16>,
    /// See [`Tunnel::profile_id`].
    pub profile_id: Option<String>,
    /// See [`Tunnel::jump`].
    pub jump_host_id: Option<Option<String>>,
    /// See [`Tunnel::jump`].
    pub jump_session_id: Option<Option<String>>,
    /// See [`Forward::forward_type`].
    pub forward_type: Option<ForwardType>,
    /// See [`Forward::local_port`].
    pub local_port: Option<u16>,
    /// See [`Forward::bind_address`].
    pub bind_address: Option<String>,
    /// See [`Forward::remote_host`].
    pub remote_host: Option<Option<String>>,
    /// See [`Forward::remote_port`].
    pub remote_port: Option<Option<u16>>,
    /// See [`Tunnel::auto_start`].
    pub auto_start: Option<bool>,
    /// See [`Tunnel::auto_reconnect`].
    pub auto_reconnect: Option<bool>,
    /// See [`Tunnel::max_retries`].
    pub max_retries: Option<u32>,
    /// See [`Tunnel::enabled`].
    pub enabled: Option<bool>,
}

impl Record for Tunnel {
    type Change = TunnelChange;

    fn merge(&mut self, change: TunnelChange) -> Result<(), BothJumps> {
        jump::merge(&mut self.jump, change.jump_host_id, change.jump_session_id)?;
        set!(self, change: name, host, port, profile_id, auto_start, auto_reconnect, max_retries, enabled);
        set!(self.forward, change: forward_type, local_port, bind_address, remote_host, remote_port);
        Ok(())
    }
}

impl Table for Tunnel {
    const KIND: RecordKind = RecordKind::Tunnel;
    const SELECT_ONE: &'static str = "SELECT * FROM tunnels WHERE id = $1";
    const SELECT_ALL: &'static str = "SELECT * FROM tunnels ORDER BY name, created_at, id";
    const SAVE: &'static str =
        "INSERT INTO tunnels (id, created_at, updated_at, name, host, port, profile_id, auto_start,
             auto_reconnect, max_retries, enabled, forward_type, local_port, bind_address, remote_host, remote_port,
             jump_host_id, jump_session_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
         ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at, name = excluded.name, host = excluded.host,
             port = excluded.port, profile_id = excluded.profile_id, auto_start = excluded.auto_start,
             auto_reconnect = excluded.auto_reconnect, max_retries = excluded.max_retries, enabled = excluded.enabled,
             forward_type = excluded.forward_type, local_port = excluded.local_port,
             bind_address = excluded.bind_address, remote_host = excluded.remote_host,
             remote_port = excluded.remote_port, jump_host_id = excluded.jump_host_id,
             jump_session_id = excluded.jump_session_id";
    const DELETE: &'static str = "DELETE FROM tunnels WHERE id = $1";

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
            forward: Forward::read(row)?,
            auto_start: row.get("auto_start")?,
            auto_reconnect: row.get("auto_reconnect")?,
            max_retries: row.get("max_retries")?,
            enabled: row.get("enabled")?,
        })
    }

    fn values(&self) -> Vec<Value> {
        let mut values = args![
            self.name.as_str(),
            self.host.as_str(),
            self.port,
            self.profile_id.as_str(),
            self.auto_start,
            self.auto_reconnect,
            self.max_retries,
            self.enabled,
        ];
        values.extend(self.forward.values());
        values.extend(jump::values(self.jump.as_ref()));
        values
    }
}
