//! What is told of a tunnel: five statuses, each with what is true in it.

use std::error::Error;
use std::fmt;
use std::time::Instant;

use super::Setback;
use crate::Port;

/// How a tunnel stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunnelStatus {
    /// It is not running.
    Disconnected,
    /// It is coming up for the first time since somebody wanted it to.
    Connecting,
    /// Its listener accepts, and its connection is there.
    Connected {
        /// Since when: its uptime.
        since: Instant,
        /// The port the far end listens on, for a remote forward.
        remote_port: Option<Port>,
    },
    /// Something was lost or refused, and is tried again.
    Reconnecting {
        /// Which retry is waited for or under way: 1 or more.
        retry_count: u32,
        /// What happened.
        last_error: Setback,
        /// When it is tried; `None` while it is.
        next_try: Option<Instant>,
    },
    /// It is not running, because of this.
    Failed {
        /// What happened.
        last_error: Setback,
    },
}

impl TunnelStatus {
    /// Its name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            TunnelStatus::Disconnected => "disconnected",
            TunnelStatus::Connecting => "connecting",
            TunnelStatus::Connected { .. } => "connected",
            TunnelStatus::Reconnecting { .. } => "reconnecting",
            TunnelStatus::Failed { .. } => "failed",
        }
    }

    /// Is there something to stop?
    pub fn is_running(&self) -> bool {
        !matches!(self, TunnelStatus::Disconnected | TunnelStatus::Failed { .. })
    }

    /// What went wrong, as long as it matters.
    pub fn last_error(&self) -> Option<&Setback> {
        match self {
            TunnelStatus::Reconnecting { last_error, .. } | TunnelStatus::Failed { last_error } => Some(last_error),
            TunnelStatus::Disconnected | TunnelStatus::Connecting | TunnelStatus::Connected { .. } => None,
        }
    }
}

/// A start of what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyRunning;

impl fmt::Display for AlreadyRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel is already running")
    }
}

impl Error for AlreadyRunning {}
