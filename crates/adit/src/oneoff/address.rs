//! Addresses as people type them: of SSH servers, and of services of this machine.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use adit_core::{BadHost, LoopbackAddress, ParsePortError, Port, Printable, Target};
use thiserror::Error;

/// `[USER@]HOST[:PORT]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<Port>,
}

/// The text is no address; its `Display` says why.
#[derive(Debug, Error)]
pub(crate) enum AddressError {
    #[error("an IPv6 address stands in brackets, as in [2001:db8::5]:22")]
    Brackets,
    #[error("the user before @ is empty")]
    NoUser,
    #[error("an address is [USER@]HOST[:PORT], without a scheme: “{}” is no login name", Printable::from(.0.as_str()).at_most(80))]
    Scheme(String),
    #[error(transparent)]
    Host(#[from] BadHost),
    #[error(transparent)]
    Port(#[from] ParsePortError),
    #[error("“{}” is not this machine: what is published listens on localhost, or an address in 127.0.0.0/8 or ::1", Printable::from(.0.as_str()).at_most(80))]
    Elsewhere(String),
}

impl ServerAddress {
    pub(crate) fn parse(typed: &str) -> Result<Self, AddressError> {
        // Login names may hold an @, hosts never do.
        let (user, place) = match typed.rsplit_once('@') {
            Some(("", _)) => return Err(AddressError::NoUser),
            Some((user, _)) if user.contains("//") => return Err(AddressError::Scheme(user.to_owned())),
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, typed),
        };
        let (host, port) = split(place)?;
        let port = port.map(str::parse).transpose()?;
        // A place without its port is a target nowhere: any port will do to look at the host.
        Target::new(host, port.unwrap_or(Port::MAX))?;
        Ok(Self { user, host: host.to_owned(), port })
    }
}

/// A service of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LocalService {
    address: LoopbackAddress,
    pub(crate) port: Port,
    /// `localhost` was typed: whichever loopback address the service listens on.
    by_name: bool,
}

impl LocalService {
    /// `PORT` or `HOST:PORT`
    pub(crate) fn parse(typed: &str) -> Result<Self, AddressError> {
        match split(typed)? {
            (host, Some(port)) => Self::new(host, port.parse()?),
            (port, None) => Self::new("localhost", port.parse()?),
        }
    }

    pub(crate) fn new(host: &str, port: Port) -> Result<Self, AddressError> {
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(Self { address: LoopbackAddress::DEFAULT, port, by_name: true });
        }
        let address = host.parse().map_err(|_| AddressError::Elsewhere(host.to_owned()))?;
        Ok(Self { address, port, by_name: false })
    }

    /// Whether something listens there. Where a name was typed, IPv6's loopback is tried too, and kept if the service is there.
    pub(crate) async fn look(&mut self) -> bool {
        let listens = async |address: SocketAddr| tokio::net::TcpStream::connect(address).await.is_ok();
        if listens(self.socket()).await {
            return true;
        }
        let other = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), self.port.get());
        match Ipv6Addr::LOCALHOST.to_string().parse() {
            Ok(address) if self.by_name && listens(other).await => {
                self.address = address;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn socket(self) -> SocketAddr {
        self.address.with_port(self.port)
    }

    pub(crate) fn address(self) -> LoopbackAddress {
        self.address
    }
}

impl fmt::Display for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by_name {
            true => write!(f, "localhost:{}", self.port),
            false => self.socket().fmt(f),
        }
    }
}

/// A host, out of its brackets, and a port if there is one.
fn split(place: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(AddressError::Brackets)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(AddressError::Brackets),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(AddressError::Brackets),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(typed: &str) -> (Option<String>, String, Option<u16>) {
        let ServerAddress { user, host, port } = ServerAddress::parse(typed).unwrap();
        (user, host, port.map(Port::get))
    }

    #[test]
    fn a_server_has_a_host_and_may_have_a_user_and_a_port() {
        assert_eq!(server("bastion"), (None, "bastion".into(), None));
        assert_eq!(server("alice@bastion:2222"), (Some("alice".into()), "bastion".into(), Some(2222)));
        assert_eq!(server("a@b.example@10.0.0.5"), (Some("a@b.example".into()), "10.0.0.5".into(), None));
        assert_eq!(server("root@[2001:db8::5]:22"), (Some("root".into()), "2001:db8::5".into(), Some(22)));
        assert_eq!(server("[::1]"), (None, "::1".into(), None));
    }

    #[test]
    fn what_is_no_server_is_told() {
        for (typed, told) in [
            ("", "empty"),
            ("@bastion", "user before @"),
            ("bastion:", "is not a port"),
            ("bastion:0", "is not a port"),
            ("bastion:ssh", "is not a port"),
            ("::1", "brackets"),
            ("[::1", "brackets"),
            ("[::1]22", "brackets"),
            ("ssh://bastion", "is not a port"),
            ("ssh://root@bastion:22", "without a scheme"),
            ("bas tion", "bas tion"),
        ] {
            let error = ServerAddress::parse(typed).unwrap_err().to_string();
            assert!(error.contains(told), "{typed}: {error}");
        }
    }

    #[test]
    fn a_service_is_of_this_machine() {
        let shown =
            |typed| LocalService::parse(typed).map(|service| (service.to_string(), service.socket().to_string()));
        for (typed, name, socket) in [
            ("8000", "localhost:8000", "127.0.0.1:8000"),
            ("localhost:8000", "localhost:8000", "127.0.0.1:8000"),
            ("127.0.0.2:8000", "127.0.0.2:8000", "127.0.0.2:8000"),
            ("[::1]:8000", "[::1]:8000", "[::1]:8000"),
        ] {
            assert_eq!(shown(typed).unwrap(), (name.to_owned(), socket.to_owned()), "{typed}");
        }
        for typed in ["0.0.0.0:80", "192.168.1.7:80", "intranet:80", "0", "65536", "web", "::1:80"] {
            assert!(shown(typed).is_err(), "{typed}");
        }
    }
}
