//! What keeps a tunnel from being up, in words for people.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{LoginFailure, LossReason, Obstacle, Port, Printable};

/// Why a tunnel is not up. Its `Display` is the tunnel's `last_error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setback {
    /// The local listener could not be bound.
    NotBound(BindFailure),
    /// The login failed.
    LoginFailed(LoginFailure),
    /// The connection ended.
    ConnectionLost(LossReason),
    /// The connection ended, and the tunnel is not to reconnect.
    ReconnectDisabled,
    /// The server does not listen for us; a sentence.
    ForwardRefused(Arc<str>),
    /// The last of the retries that the policy allows failed.
    GaveUp {
        /// How many there were.
        retries: u32,
        /// How the last one ended.
        last: Box<Setback>,
    },
}

impl Setback {
    /// What somebody has to do something about, where it is a login that told so.
    pub fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Setback::LoginFailed(LoginFailure::Lasting(obstacle, _)) => Some(*obstacle),
            Setback::GaveUp { last, .. } => last.obstacle(),
            _ => None,
        }
    }
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setback::NotBound(why) => why.fmt(f),
            Setback::LoginFailed(why) => why.fmt(f),
            Setback::ConnectionLost(why) => write!(f, "Connection lost: {why}"),
            Setback::ReconnectDisabled => f.write_str("Connection lost (auto_reconnect disabled)"),
            Setback::ForwardRefused(why) => f.write_str(why),
            Setback::GaveUp { retries: 1, last } => write!(f, "{last}; gave up after 1 retry"),
            Setback::GaveUp { retries, last } => write!(f, "{last}; gave up after {retries} retries"),
        }
    }
}

impl Error for Setback {}

/// Why a local listener could not be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindFailure {
    /// The port is taken.
    PortHeld {
        /// The address that was to be bound.
        address: SocketAddr,
        /// Who has it, where that can be known.
        holder: Option<PortHolder>,
        /// The next port of that address that nobody has, if one is near.
        next_free: Option<Port>,
    },
    /// The system refused for another reason, which it gave in words.
    System {
        /// The address that was to be bound.
        address: SocketAddr,
        /// What the system said.
        why: Arc<str>,
    },
}

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortHolder {
    /// What its program is called; anybody may call a program anything.
    pub name: Arc<str>,
    /// Its process id.
    pub pid: u32,
}

impl fmt::Display for BindFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindFailure::PortHeld { address, holder, next_free } => {
                write!(f, "{address} is in use by ")?;
                match holder {
                    Some(PortHolder { name, pid }) => {
                        write!(f, "{} (process {pid})", Printable::from(&**name).at_most(40))?;
                    }
                    None => f.write_str("another program")?,
                }
                next_free.map_or(Ok(()), |port| write!(f, "; port {port} is free"))
            }
            BindFailure::System { address, why } => write!(f, "cannot listen on {address}: {why}"),
        }
    }
}

impl Error for BindFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setback_is_told_in_words() {
        let address = ([127, 0, 0, 1], 8443).into();
        let holder = Some(PortHolder { name: "nginx".into(), pid: 4711 });
        let held = BindFailure::PortHeld { address, holder, next_free: Port::new(8444) };
        assert_eq!(
            Setback::NotBound(held).to_string(),
            "127.0.0.1:8443 is in use by nginx (process 4711); port 8444 is free"
        );
        let held = BindFailure::PortHeld { address, holder: None, next_free: None };
        assert_eq!(held.to_string(), "127.0.0.1:8443 is in use by another program");
        assert_eq!(Setback::ReconnectDisabled.to_string(), "Connection lost (auto_reconnect disabled)");
        let lost = Setback::ConnectionLost(LossReason::NoAnswer);
        assert_eq!(lost.to_string(), "Connection lost: the SSH server gave no sign of life within 10 s");
        let gave_up = Setback::GaveUp { retries: 5, last: Box::new(lost) };
        assert!(gave_up.to_string().ends_with("; gave up after 5 retries"), "{gave_up}");
    }
}
