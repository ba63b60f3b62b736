//! Where the last hop of a forward goes: a host name or address, and a port, as `direct-tcpip` names them (RFC 4254 §7.2).
//!
//! The name is never looked up here: whoever opens the last hop does that, and often only he can.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::{Port, Printable};

/// A host and a port to connect to. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    host: Arc<str>,
    port: Port,
}

impl Target {
    /// The longest host, in bytes: as much as a domain name has (RFC 1035 §2.3.4), and as SOCKS 5 can carry.
    pub const MAX_HOST: usize = 255;

    /// A target; an IPv6 address stands without brackets.
    ///
    /// # Errors
    ///
    /// [`BadHost`] when the host could be neither a name nor an address.
    pub fn new(host: &str, port: Port) -> Result<Target, BadHost> {
        let wrong = |problem| Err(BadHost { typed: host.chars().take(SHOWN + 1).collect(), problem });
        if host.is_empty() {
            return wrong(HostProblem::Empty);
        }
        if host.len() > Target::MAX_HOST {
            return wrong(HostProblem::TooLong(host.len()));
        }
        if let Some(stranger) =
            host.chars().find(|&c| c.is_control() || c.is_whitespace() || matches!(c, '[' | ']' | '/'))
        {
            return wrong(HostProblem::Character(stranger));
        }
        Ok(Target { host: host.into(), port })
    }

    /// The host as it was given, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> Port {
        self.port
    }
}

impl From<(IpAddr, Port)> for Target {
    fn from((address, port): (IpAddr, Port)) -> Target {
        Target { host: address.to_string().into(), port }
    }
}

/// Only addresses have colons, and brackets keep them from the port's.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = Printable::from(&*self.host);
        if self.host.contains(':') { write!(f, "[{host}]:{}", self.port) } else { write!(f, "{host}:{}", self.port) }
    }
}

/// The text is no host; its `Display` says why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadHost {
    /// Its beginning.
    typed: String,
    problem: HostProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostProblem {
    Empty,
    TooLong(usize),
    Character(char),
}

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}” is no host: ", Printable::from(self.typed.as_str()).at_most(SHOWN))?;
        match self.problem {
            HostProblem::Empty => f.write_str("it is empty"),
            HostProblem::TooLong(length) => write!(f, "it has {length} bytes, and {} are allowed", Target::MAX_HOST),
            HostProblem::Character(stranger) => {
                let mut utf8 = [0; 4];
                let stranger = Printable::from(&*stranger.encode_utf8(&mut utf8));
                write!(f, "“{stranger}” is in neither a name nor an address")
            }
        }
    }
}

impl Error for BadHost {}

/// How many characters of a wrong text an error repeats.
const SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> Result<String, String> {
        Target::new(host, Port::new(443).unwrap()).map(|target| target.to_string()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn names_and_addresses_are_shown_with_their_port() {
        assert_eq!(target("switch.example.net"), Ok("switch.example.net:443".to_owned()));
        assert_eq!(target("10.0.0.5"), Ok("10.0.0.5:443".to_owned()));
        assert_eq!(target("2001:db8::5"), Ok("[2001:db8::5]:443".to_owned()));
        assert_eq!(target("bücher.example"), Ok("bücher.example:443".to_owned()));
        let port = Port::new(22).unwrap();
        assert_eq!(Target::from((IpAddr::from([127, 0, 0, 1]), port)).to_string(), "127.0.0.1:22");
    }

    #[test]
    fn what_is_no_host_is_told_why() {
        assert_eq!(target(""), Err("“” is no host: it is empty".to_owned()));
        assert_eq!(target("a b"), Err("“a b” is no host: “ ” is in neither a name nor an address".to_owned()));
        assert!(target("[::1]").unwrap_err().contains("“[”"));
        assert!(target("a\u{1b}[2J").unwrap_err().contains("\\u{1b}"));
        assert!(target(&"x".repeat(256)).unwrap_err().ends_with("it has 256 bytes, and 255 are allowed"));
        assert!(target(&"x".repeat(255)).is_ok());
    }
}
