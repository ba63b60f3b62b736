//! What the pool asks of the shell, and what it tells its members.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::ConnectionKey;

/// Names one connection, from its login to its end; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the pool wants done, or told to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolWish<M> {
    /// Log in, with the time-outs of the engine; answer with [`handle_logged_in`](super::Pool::handle_logged_in) or
    /// [`handle_login_failed`](super::Pool::handle_login_failed).
    LogIn {
        /// How it is called from now on.
        connection: ConnectionId,
        /// Where to, as whom, and which way.
        key: ConnectionKey,
    },
    /// End this connection, or give up its login. News of it are not heard any more.
    Close {
        /// The connection.
        connection: ConnectionId,
    },
    /// Ask for a sign of life by opening a session channel, and close the channel should it be opened. Nothing else is asked
    /// for, so accounts that may only forward, or that have a forced command, answer too: with a refusal.
    Probe {
        /// The connection.
        connection: ConnectionId,
    },
    /// Tell a member that its connection is there.
    Up {
        /// Whom to tell.
        member: M,
        /// The connection.
        connection: ConnectionId,
    },
    /// Tell a member that there will be no connection; its claim is over.
    LoginFailed {
        /// Whom to tell.
        member: M,
        /// Why.
        why: LoginFailure,
    },
    /// Tell a member that its connection is gone; its claim is over.
    Lost {
        /// Whom to tell.
        member: M,
        /// The connection.
        connection: ConnectionId,
        /// Why.
        why: LossReason,
    },
}

impl<M> PoolWish<M> {
    /// Whom it is for; `None` for what the shell does itself.
    pub(super) fn member(&self) -> Option<&M> {
        match self {
            PoolWish::LogIn { .. } | PoolWish::Close { .. } | PoolWish::Probe { .. } => None,
            PoolWish::Up { member, .. } | PoolWish::LoginFailed { member, .. } | PoolWish::Lost { member, .. } => {
                Some(member)
            }
        }
    }
}

/// Why a login failed, as a sentence for people; and whether it is worth another try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginFailure {
    /// The network, or a server that is not up yet: it may be otherwise in a minute.
    Passing(Arc<str>),
    /// Somebody has to act. Trying on would only lock the account out.
    Lasting(Obstacle, Arc<str>),
}

/// What somebody has to do something about before a login can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The server's key is not known, or is another one.
    HostKey,
    /// The server does not take what is shown to it, or there is nothing to show: a missing secret, a key that cannot be read.
    Credentials,
    /// The saved records lead nowhere.
    Records,
}

impl fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (LoginFailure::Passing(why) | LoginFailure::Lasting(_, why)) = self;
        f.write_str(why)
    }
}

impl Error for LoginFailure {}

/// Why a connection ended that nobody closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LossReason {
    /// It left a probe without answer.
    NoAnswer,
    /// Its transport broke, or the server said goodbye; a sentence for people.
    Ended(Arc<str>),
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LossReason::NoAnswer => {
                write!(f, "the SSH server gave no sign of life within {} s", super::PROBE_TIMEOUT.as_secs())
            }
            LossReason::Ended(why) => f.write_str(why),
        }
    }
}

impl Error for LossReason {}
