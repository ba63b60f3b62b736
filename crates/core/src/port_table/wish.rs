//! What a port table wants done, and the reasons it refuses with.

use std::fmt;
use std::time::{Duration, Instant};

use super::{PortLease, RequestId};
use crate::{Port, PortRange, SessionId};

/// What the shell shall do next.
#[derive(Debug, PartialEq, Eq)]
pub enum PortWish {
    /// Bind a listener for this lease, then report `handle_listening` or `handle_listen_failed`. If the session is gone
    /// meanwhile, give the lease back with `handle_released`.
    Listen {
        /// The request that is granted.
        request: RequestId,
        /// The right to listen.
        lease: PortLease,
    },
    /// Answer the request with a failure.
    Refuse {
        /// The request that is refused.
        request: RequestId,
        /// The session that asked.
        session: SessionId,
        /// What to tell it.
        reason: RefuseReason,
    },
    /// Send this session something it must answer, and report its next byte with `handle_heard`. One
    /// sign of life serves all its ports, so one probe under way is enough for a session.
    Probe {
        /// The session that holds the port.
        session: SessionId,
        /// The port another session of its account asks for.
        port: Port,
    },
    /// Cut this session; its leases come back through `handle_released`. May come more than once for one session.
    Evict {
        /// The session that lost its port.
        session: SessionId,
        /// The port it lost.
        port: Port,
    },
}

/// Why a forward was refused. Its `Display` is a sentence for the member, to stand behind "port N: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefuseReason {
    /// The jump host has no such port to give.
    OutOfRange {
        /// Those it has.
        range: PortRange,
    },
    /// The key may not use this port, or none of the jump host's.
    OutsideKeyRange {
        /// Those the key may use.
        range: PortRange,
    },
    /// Another account was first.
    HeldByOtherAccount,
    /// Another session of the same account has it and keeps it.
    HeldByYourSession {
        /// The session that holds it.
        session: SessionId,
        /// Since when.
        since: Instant,
    },
    /// This session has the port already, or has already asked for it.
    AlreadyYours,
    /// The account has as many forwards as it may.
    TooManyForwards {
        /// How many that is.
        limit: u32,
    },
    /// The choice was left to the table, and no port is free.
    RangeFull,
    /// A program outside the jump host holds the port.
    InUseBySystem,
    /// The port has just moved from one session of the account to another.
    TakeoverPause {
        /// How long it will not move again.
        remaining: Duration,
    },
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefuseReason::OutOfRange { range } => write!(f, "this jump host gives out ports {range}"),
            RefuseReason::OutsideKeyRange { range } => write!(f, "your key may only use ports {range}"),
            RefuseReason::HeldByOtherAccount => f.write_str("another account holds it; choose another port"),
            RefuseReason::HeldByYourSession { session, .. } => {
                write!(f, "your other session {session} holds it; end that session or choose another port")
            }
            RefuseReason::AlreadyYours => f.write_str("this session has already asked for it"),
            RefuseReason::TooManyForwards { limit } => {
                write!(f, "your account has its {limit} forwards in use; close one first")
            }
            RefuseReason::RangeFull => f.write_str("no port is free"),
            RefuseReason::InUseBySystem => f.write_str("another program on the jump host uses it; choose another port"),
            RefuseReason::TakeoverPause { remaining } => {
                let seconds = remaining.as_millis().div_ceil(1_000);
                write!(f, "it has just moved to another of your sessions; try again in {seconds} s")
            }
        }
    }
}
