//! What a tunnel or a session forwards.

use super::names::{self, named};
use crate::db::{Row, Value, args};
use crate::error::StoreError;

/// Which way a forward goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardType {
    /// `-L`
    Local,
    /// `-D`
    Dynamic,
    /// `-R`
    Remote,
}

named!(ForwardType, { Local => "local", Dynamic => "dynamic", Remote => "remote" });

/// A forward as people filled it in. Which of the fields go together the agent checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Which way it goes.
    pub forward_type: ForwardType,
    /// Where it listens on this machine; for a remote forward, what it leads to.
    pub local_port: u16,
    /// The address that goes with `local_port`. Nothing here makes sure that it is loopback: whoever binds it does.
    pub bind_address: String,
    /// What a local forward leads to.
    pub remote_host: Option<String>,
    /// What a local forward leads to; for a remote forward, where the server listens, 0 where it chooses.
    pub remote_port: Option<u16>,
}

impl Forward {
    pub(super) fn values(&self) -> Vec<Value> {
        args![
            self.forward_type.name(),
            self.local_port,
            self.bind_address.as_str(),
            self.remote_host.clone(),
            self.remote_port,
        ]
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            forward_type: names::read(row, "forward_type")?,
            local_port: row.get("local_port")?,
            bind_address: row.get("bind_address")?,
            remote_host: row.get("remote_host")?,
            remote_port: row.get("remote_port")?,
        })
    }
}
