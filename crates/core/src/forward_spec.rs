//! A forward as people ask for it: OpenSSH's `-L`, `-D` and `-R`, read and shown.
//!
//! The grammar is that of ssh(1): `[bind_address:]port:host:hostport`, an IPv6 address in brackets. Sockets in the file system
//! and a SOCKS proxy at the far end (`-R` with a port alone) are not served, and a sentence says so.

use std::error::Error;
use std::fmt;

use crate::{BadHost, LoopbackAddress, NotLoopback, ParsePortError, Port, Printable, Target};

/// Which way a forward goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardKind {
    /// `-L`: a listener here, one target over there.
    Local,
    /// `-D`: a listener here that speaks SOCKS 5, targets over there.
    Dynamic,
    /// `-R`: a listener over there, one target here.
    Remote,
}

impl ForwardKind {
    /// Does its listener stand on this machine?
    pub fn listens_here(self) -> bool {
        match self {
            ForwardKind::Local | ForwardKind::Dynamic => true,
            ForwardKind::Remote => false,
        }
    }

    fn flag(self) -> &'static str {
        match self {
            ForwardKind::Local => "-L",
            ForwardKind::Dynamic => "-D",
            ForwardKind::Remote => "-R",
        }
    }

    fn example(self) -> &'static str {
        match self {
            ForwardKind::Local => "8080:intranet:80",
            ForwardKind::Dynamic => "1080",
            ForwardKind::Remote => "8080:localhost:80",
        }
    }
}

/// Where a local listener stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalListen {
    /// Its address.
    pub address: LoopbackAddress,
    /// Its port.
    pub port: Port,
}

/// What is asked of the far end's listener. Where it may stand is the far end's to decide, so any address passes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteListen {
    /// The address as it goes into `tcpip-forward` (RFC 4254 §7.1); empty means everywhere.
    pub address: Box<str>,
    /// The port; `None` leaves the choice to the far end.
    pub port: Option<Port>,
}

impl RemoteListen {
    /// Where a far end listens unless somebody says otherwise. ssh(1) asks for `localhost`, which OpenSSH's server takes for both
    /// loopback addresses and grants when only one of them is free: visitors of the other would meet somebody else's service.
    pub const LOOPBACK: &str = "127.0.0.1";
}

/// One forward.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardSpec {
    /// `-L`
    Local {
        /// Where visitors come in.
        listen: LocalListen,
        /// Where the far end connects them to.
        target: Target,
    },
    /// `-D`
    Dynamic {
        /// Where SOCKS clients come in.
        listen: LocalListen,
    },
    /// `-R`
    Remote {
        /// Where visitors come in, over there.
        listen: RemoteListen,
        /// Where they are connected to, from here.
        target: Target,
    },
}

impl ForwardSpec {
    /// Reads what stands behind `-L`, `-D` or `-R`.
    ///
    /// # Errors
    ///
    /// [`ParseForwardError`], which shows how it is written.
    pub fn parse(kind: ForwardKind, typed: &str) -> Result<ForwardSpec, ParseForwardError> {
        let wrong = |problem| ParseForwardError { kind, typed: typed.chars().take(SHOWN + 1).collect(), problem };
        // No part of the grammar begins so, and a listener's port is never in such a text.
        if typed.starts_with('/') || typed.contains(":/") {
            return Err(wrong(Problem::SocketPath));
        }
        let parts = split(typed).ok_or_else(|| wrong(Problem::Brackets))?;
        let port = |text: &str| text.parse::<Port>().map_err(|bad| wrong(Problem::Port(bad)));
        let local = |address: Option<&str>, number| {
            let address = address.map_or(Ok(LoopbackAddress::DEFAULT), str::parse);
            Ok(LocalListen { address: address.map_err(|bad| wrong(Problem::Address(bad)))?, port: port(number)? })
        };
        let target = |host, number| Target::new(host, port(number)?).map_err(|bad| wrong(Problem::Host(bad)));
        let remote = |address: Option<&str>, number| {
            // As ssh(1) has it, `*` is everywhere.
            let address = address.map_or(RemoteListen::LOOPBACK, |address| if address == "*" { "" } else { address });
            let port = if number == "0" { None } else { Some(port(number)?) };
            Ok(RemoteListen { address: address.into(), port })
        };
        match (kind, &parts[..]) {
            (ForwardKind::Local, &[number, host, host_port]) => {
                Ok(ForwardSpec::Local { listen: local(None, number)?, target: target(host, host_port)? })
            }
            (ForwardKind::Local, &[address, number, host, host_port]) => {
                Ok(ForwardSpec::Local { listen: local(Some(address), number)?, target: target(host, host_port)? })
            }
            (ForwardKind::Dynamic, &[number]) => Ok(ForwardSpec::Dynamic { listen: local(None, number)? }),
            (ForwardKind::Dynamic, &[address, number]) => {
                Ok(ForwardSpec::Dynamic { listen: local(Some(address), number)? })
            }
            (ForwardKind::Remote, &[number, host, host_port]) => {
                Ok(ForwardSpec::Remote { listen: remote(None, number)?, target: target(host, host_port)? })
            }
            (ForwardKind::Remote, &[address, number, host, host_port]) => {
                Ok(ForwardSpec::Remote { listen: remote(Some(address), number)?, target: target(host, host_port)? })
            }
            (ForwardKind::Remote, &[_] | &[_, _]) => Err(wrong(Problem::RemoteDynamic)),
            _ => Err(wrong(Problem::Form)),
        }
    }

    /// Which way it goes.
    pub fn kind(&self) -> ForwardKind {
        match self {
            ForwardSpec::Local { .. } => ForwardKind::Local,
            ForwardSpec::Dynamic { .. } => ForwardKind::Dynamic,
            ForwardSpec::Remote { .. } => ForwardKind::Remote,
        }
    }
}

/// The short form of lists: `L :8080 → intranet:80`, `D :1080 SOCKS5`, `R :8080 → localhost:80`. A port that the far end is to
/// choose is 0, as it is typed.
impl fmt::Display for ForwardSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardSpec::Local { listen, target } => write!(f, "L :{} → {target}", listen.port),
            ForwardSpec::Dynamic { listen } => write!(f, "D :{} SOCKS5", listen.port),
            ForwardSpec::Remote { listen, target } => write!(f, "R :{} → {target}", listen.port.map_or(0, Port::get)),
        }
    }
}

/// The parts between colons, of which those in brackets hold none. `None` when a bracket is out of place.
fn split(typed: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = typed;
    loop {
        let after = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (address, after) = bracketed.split_once(']')?;
                parts.push(address);
                after
            }
            None => {
                let (part, after) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
                parts.push(part);
                after
            }
        };
        if after.is_empty() {
            return Some(parts);
        }
        rest = after.strip_prefix(':')?;
    }
}

/// The text is no forward; its `Display` says what was typed, what is wrong, and shows one that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseForwardError {
    kind: ForwardKind,
    /// Its beginning.
    typed: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Form,
    Brackets,
    SocketPath,
    RemoteDynamic,
    Address(NotLoopback),
    Host(BadHost),
    Port(ParsePortError),
}

/// How many characters of a wrong text an error repeats.
const SHOWN: usize = 80;

impl fmt::Display for ParseForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rule about loopback has one wording, wherever it is met.
        if let Problem::Address(not_loopback) = &self.problem {
            return not_loopback.fmt(f);
        }
        write!(f, "{} {}: ", self.kind.flag(), Printable::from(self.typed.as_str()).at_most(SHOWN))?;
        match &self.problem {
            Problem::Form => f.write_str("it has too few or too many parts")?,
            Problem::Brackets => f.write_str("brackets stand around an address and nowhere else")?,
            Problem::SocketPath => f.write_str("sockets in the file system are not forwarded")?,
            Problem::RemoteDynamic => {
                f.write_str(
                    "a SOCKS proxy on the server, for which OpenSSH uses this form, is not served; name a target",
                )?;
            }
            Problem::Address(_) => {}
            Problem::Host(bad) => bad.fmt(f)?,
            Problem::Port(bad) => bad.fmt(f)?,
        }
        write!(f, "; write it like {} {}", self.kind.flag(), self.kind.example())
    }
}

impl Error for ParseForwardError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::Host(bad) => Some(bad),
            Problem::Port(bad) => Some(bad),
            // It is the whole message already.
            Problem::Address(_) => None,
            Problem::Form | Problem::Brackets | Problem::SocketPath | Problem::RemoteDynamic => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ForwardKind::{Dynamic, Local, Remote};
    use super::*;

    fn shown(kind: ForwardKind, typed: &str) -> String {
        ForwardSpec::parse(kind, typed).unwrap().to_string()
    }

    fn complaint(kind: ForwardKind, typed: &str) -> String {
        ForwardSpec::parse(kind, typed).unwrap_err().to_string()
    }

    #[test]
    fn forwards_are_shown_in_short() {
        assert_eq!(shown(Local, "8080:10.0.0.5:443"), "L :8080 → 10.0.0.5:443");
        assert_eq!(shown(Local, "127.0.0.2:8080:switch.example.net:443"), "L :8080 → switch.example.net:443");
        assert_eq!(shown(Local, "[::1]:8080:[2001:db8::5]:443"), "L :8080 → [2001:db8::5]:443");
        assert_eq!(shown(Dynamic, "1080"), "D :1080 SOCKS5");
        assert_eq!(shown(Dynamic, "[::1]:1080"), "D :1080 SOCKS5");
        assert_eq!(shown(Remote, "8080:localhost:80"), "R :8080 → localhost:80");
        assert_eq!(shown(Remote, "0:localhost:80"), "R :0 → localhost:80");
    }

    #[test]
    fn a_listener_stands_where_it_was_asked_for() {
        let listen = |kind, typed| match ForwardSpec::parse(kind, typed).unwrap() {
            ForwardSpec::Local { listen, .. } | ForwardSpec::Dynamic { listen } => {
                listen.address.with_port(listen.port).to_string()
            }
            ForwardSpec::Remote { listen, .. } => format!("{:?} {:?}", listen.address, listen.port.map(Port::get)),
        };
        assert_eq!(listen(Local, "8080:host:80"), "127.0.0.1:8080");
        assert_eq!(listen(Local, "127.0.0.9:8080:host:80"), "127.0.0.9:8080");
        assert_eq!(listen(Dynamic, "[::1]:1080"), "[::1]:1080");
        assert_eq!(listen(Remote, "8080:localhost:80"), "\"127.0.0.1\" Some(8080)");
        assert_eq!(listen(Remote, "localhost:8080:localhost:80"), "\"localhost\" Some(8080)");
        assert_eq!(listen(Remote, "*:8080:localhost:80"), "\"\" Some(8080)");
        assert_eq!(listen(Remote, ":8080:localhost:80"), "\"\" Some(8080)");
        assert_eq!(listen(Remote, "0.0.0.0:0:localhost:80"), "\"0.0.0.0\" None");
        assert_eq!(listen(Remote, "[::]:8080:[::1]:80"), "\"::\" Some(8080)");
    }

    #[test]
    fn what_would_open_a_door_to_the_lan_is_refused() {
        for address in ["0.0.0.0", "[::]", "*", "", "localhost", "127.1", "192.168.1.7", "[::ffff:127.0.0.1]"] {
            for (kind, typed) in [(Local, format!("{address}:8080:host:80")), (Dynamic, format!("{address}:1080"))] {
                let complaint = complaint(kind, &typed);
                let bare = address.trim_matches(['[', ']']);
                assert!(
                    complaint.starts_with(&format!("bind_address '{bare}' must be a loopback address")),
                    "{typed}: {complaint}"
                );
            }
        }
    }

    #[test]
    fn a_wrong_form_is_told_with_an_example() {
        assert_eq!(
            complaint(Local, "8080"),
            "-L 8080: it has too few or too many parts; write it like -L 8080:intranet:80"
        );
        assert_eq!(
            complaint(Remote, "8080"),
            "-R 8080: a SOCKS proxy on the server, for which OpenSSH uses this form, is not served; name a target; write it \
             like -R 8080:localhost:80"
        );
        assert_eq!(complaint(Remote, "localhost:8080").matches("SOCKS").count(), 1);
        assert_eq!(
            complaint(Dynamic, "0"),
            "-D 0: “0” is not a port: write a number from 1 to 65535, for example 10080; write it like -D 1080"
        );
        assert!(complaint(Dynamic, "1080:host:80").contains("too many parts"));
        assert!(complaint(Local, "0:host:80").contains("“0” is not a port"));
        assert!(complaint(Local, "8080:host:0").contains("“0” is not a port"));
        assert!(complaint(Local, "8080:host:65536").contains("“65536” is not a port"));
        assert!(complaint(Local, "8080::80").contains("it is empty"));
        assert!(complaint(Local, "8080:2001:db8::5:80").contains("too many parts"));
        assert!(complaint(Local, "[::1:8080:host:80").contains("brackets"));
        assert!(complaint(Local, "[::1]8080:host:80").contains("brackets"));
        assert!(complaint(Local, "/run/a.sock:host:80").contains("sockets in the file system"));
        assert!(complaint(Remote, "8080:/run/a.sock").contains("sockets in the file system"));
        assert!(complaint(Local, "").contains("too few"));
        assert!(!complaint(Local, "8080:\u{1b}[2J:80").contains('\u{1b}'));
    }
}
