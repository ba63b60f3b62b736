//! What makes two connections the same.

use std::fmt;
use std::sync::Arc;

use crate::Port;

/// The id of a saved record, as the store gave it: a profile, a jump host, a session. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(Arc<str>);

impl RecordId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RecordId {
    fn from(id: &str) -> RecordId {
        RecordId(id.into())
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The host a connection is made through, which has its own login.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Jump {
    /// A saved jump host.
    Host(RecordId),
    /// A saved session, whose host serves as one.
    Session(RecordId),
}

/// Which server, whose login, over which way. Who agrees in all of it shares a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    host: Box<str>,
    port: Port,
    profile: RecordId,
    jump: Option<Jump>,
}

impl ConnectionKey {
    /// The key for `host`. The jump that takes effect is the one `chosen`, else the one `inherited` from the profile; so a choice
    /// of what would be inherited anyway makes no second connection. Names of hosts are the same in capitals (RFC 4343).
    pub fn new(
        host: &str,
        port: Port,
        profile: RecordId,
        chosen: Option<Jump>,
        inherited: Option<Jump>,
    ) -> ConnectionKey {
        ConnectionKey { host: host.to_ascii_lowercase().into(), port, profile, jump: chosen.or(inherited) }
    }

    /// The server's name or address, in small letters.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The server's port.
    pub fn port(&self) -> Port {
        self.port
    }

    /// The credential profile.
    pub fn profile(&self) -> &RecordId {
        &self.profile
    }

    /// The jump that takes effect.
    pub fn jump(&self) -> Option<&Jump> {
        self.jump.as_ref()
    }
}
