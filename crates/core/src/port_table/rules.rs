//! What a port table is told: its rules, and the requests it judges.

use std::time::Duration;

use crate::{AccountId, Port, PortRange, SessionId};

/// The rules of one jump host for its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRules {
    /// The ports there are.
    pub range: PortRange,
    /// How many forwards one account may have where its tier does not say; 0 means no bound.
    pub forwards_per_account: u32,
    /// What happens when an account asks for a port that another session of its own holds.
    pub takeover: Takeover,
    /// How long a probed session may stay silent before it loses the port.
    pub probe_silence: Duration,
    /// A port changes hands at most once in this time, so that two machines with one key and one port do not throw each
    /// other out for ever.
    pub takeover_pause: Duration,
}

impl Default for PortRules {
    /// Ports 10000 to 60000, 20 forwards per account; a probe of 3 s lets a port move within the promised 4 s.
    fn default() -> PortRules {
        PortRules {
            range: PortRange::FORWARDS,
            forwards_per_account: 20,
            takeover: Takeover::Probe,
            probe_silence: Duration::from_secs(3),
            takeover_pause: Duration::from_secs(10),
        }
    }
}

/// What happens when an account asks for a port that another session of its own holds. Usually that session is the
/// remains of a connection that was lost, and the member has just come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Takeover {
    /// Ask the holder for a sign of life; it loses the port if it stays silent.
    Probe,
    /// The newcomer gets the port.
    Always,
    /// The holder keeps the port until its session ends.
    Never,
}

/// Names one `tcpip-forward`. The caller makes it, and never the same one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A session asks for a remote forward (`tcpip-forward`, RFC 4254 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardRequest {
    /// The name under which the answer will come.
    pub request: RequestId,
    /// The session that asks.
    pub session: SessionId,
    /// The account it belongs to.
    pub account: AccountId,
    /// The port asked for; `None` leaves the choice to the table.
    pub port: Option<Port>,
    /// The ports this session's key is confined to, if it is.
    pub allowed: Option<PortRange>,
    /// How many forwards the account's tier allows, if it says; 0 means no bound.
    pub limit: Option<u32>,
}
