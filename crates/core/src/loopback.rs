//! Where a local listener may stand: on loopback, and nowhere else.
//!
//! A forward asks nobody for a password, so whoever reaches its listener reaches what is behind it. Only programs of this
//! machine may. The rule is a type: listeners are bound on a [`LoopbackAddress`], only its parser makes one, and the parser
//! knows no other kind of address. There is no way around it, by intent.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::{Port, Printable};

/// An address in 127.0.0.0/8, or ::1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoopbackAddress(IpAddr);

impl LoopbackAddress {
    /// 127.0.0.1, where a listener stands when nobody says otherwise.
    pub const DEFAULT: LoopbackAddress = LoopbackAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// The address, to be bound as it is.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// With a port, as a socket needs it and as people write it: `[::1]:8080`.
    pub fn with_port(self, port: Port) -> SocketAddr {
        SocketAddr::new(self.0, port.get())
    }
}

impl Default for LoopbackAddress {
    fn default() -> LoopbackAddress {
        LoopbackAddress::DEFAULT
    }
}

impl fmt::Display for LoopbackAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LoopbackAddress {
    type Err = NotLoopback;

    /// Numeric addresses only. `localhost` is what a resolver says it is, `127.1` is read differently by different
    /// programs, and `::ffff:127.0.0.1` is bound by an IPv6 socket that may hear more than IPv4's loopback.
    fn from_str(typed: &str) -> Result<LoopbackAddress, NotLoopback> {
        match typed.parse() {
            Ok(IpAddr::V4(v4)) if v4.is_loopback() => Ok(LoopbackAddress(IpAddr::V4(v4))),
            Ok(IpAddr::V6(v6)) if v6 == Ipv6Addr::LOCALHOST => Ok(LoopbackAddress(IpAddr::V6(v6))),
            _ => Err(NotLoopback { typed: typed.chars().take(SHOWN + 1).collect() }),
        }
    }
}

/// The text is no loopback address. Its `Display` is what the API answers, word for word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLoopback {
    /// Its beginning.
    typed: String,
}

/// The longest address, with a zone, is no longer than this.
const SHOWN: usize = 64;

impl fmt::Display for NotLoopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bind_address '{}' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback exposes \
             them to the LAN with no auth",
            Printable::from(self.typed.as_str()).at_most(SHOWN)
        )
    }
}

impl Error for NotLoopback {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loopback_is_bound_as_it_was_asked_for() {
        for typed in ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1"] {
            assert_eq!(typed.parse::<LoopbackAddress>().unwrap().to_string(), typed);
        }
        assert_eq!("0:0:0:0:0:0:0:1".parse::<LoopbackAddress>().unwrap().ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
        let port = Port::new(8080).unwrap();
        assert_eq!("::1".parse::<LoopbackAddress>().unwrap().with_port(port).to_string(), "[::1]:8080");
        assert_eq!(LoopbackAddress::default().with_port(port).to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn nothing_else_is() {
        let others = ["0.0.0.0", "::", "192.168.1.7", "10.0.0.1", "fe80::1", "localhost", "127.1", "::ffff:127.0.0.1"];
        let spellings =
            ["", "*", " 127.0.0.1", "127.0.0.1 ", "[::1]", "::1%lo", "0177.0.0.1", "127.0.0.01", "2130706433"];
        let more = ["0x7f000001", "127.0.0.1:80", "128.0.0.1", "126.255.255.255", "::2", "::127.0.0.1", "127.0.0.256"];
        for typed in others.into_iter().chain(spellings).chain(more) {
            assert!(typed.parse::<LoopbackAddress>().is_err(), "{typed} was accepted");
        }
    }

    #[test]
    fn the_refusal_says_why() {
        assert_eq!(
            "0.0.0.0".parse::<LoopbackAddress>().unwrap_err().to_string(),
            "bind_address '0.0.0.0' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback \
             exposes them to the LAN with no auth"
        );
        assert!("\u{1b}[2J".parse::<LoopbackAddress>().unwrap_err().to_string().contains("'\\u{1b}[2J'"));
        assert!("x".repeat(9_000).parse::<LoopbackAddress>().unwrap_err().to_string().len() < 300);
    }

    proptest! {
        #[test]
        fn no_text_makes_another_address(typed in "[0-9a-f:.%/x\\[\\]]{0,20}") {
            if let Ok(address) = typed.parse::<LoopbackAddress>() {
                prop_assert!(address.ip().is_loopback());
            }
        }

        #[test]
        fn every_address_is_judged_by_its_value(address: IpAddr) {
            prop_assert_eq!(address.to_string().parse::<LoopbackAddress>().is_ok(), address.is_loopback());
        }
    }
}
