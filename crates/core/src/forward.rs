//! What the address of a `tcpip-forward` means here (RFC 4254 §7.1).
//!
//! A jump host listens on its mesh address and nowhere else, whatever was asked for. Clients spell "the usual place" in
//! many ways, and most take a refusal as fatal; so each spelling of *everywhere* and of *loopback* means the mesh
//! address. An address of some other machine is refused: its owner would wait for visitors that never come.
//!
//! The bytes asked for are kept. `forwarded-tcpip` must echo them: OpenSSH, PuTTY and asyncssh compare byte for byte.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Port, Printable};

/// A `tcpip-forward` that asks for the mesh address of this jump host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindRequest {
    address: Box<[u8]>,
    port: Option<Port>,
}

impl BindRequest {
    /// Judges the address and port as they came on the wire; `mesh` are the addresses this jump host forwards on.
    pub fn parse(address: &[u8], port: u32, mesh: &[IpAddr]) -> Result<BindRequest, ForwardRefused> {
        let number = u16::try_from(port).map_err(|_| ForwardRefused::PortTooLarge { port })?;
        if !means_mesh_address(address, mesh) {
            // Long enough for any address; a peer does not choose how much of its text we keep.
            let kept = &address[..address.len().min(64)];
            return Err(ForwardRefused::OtherAddress { address: kept.into() });
        }
        Ok(BindRequest { address: address.into(), port: Port::new(number) })
    }

    /// The address exactly as the client sent it, to be echoed in `forwarded-tcpip`.
    pub fn address(&self) -> &[u8] {
        &self.address
    }

    /// The port asked for; `None` when the client sent 0 and leaves the choice to us.
    pub fn port(&self) -> Option<Port> {
        self.port
    }
}

/// Numeric addresses are compared by value, so `0:0::0` is `::`.
fn means_mesh_address(address: &[u8], mesh: &[IpAddr]) -> bool {
    if address.is_empty() || address == b"*" || address.eq_ignore_ascii_case(b"localhost") {
        return true;
    }
    let Some(ip) = std::str::from_utf8(address).ok().and_then(|text| text.parse::<IpAddr>().ok()) else {
        return false;
    };
    let ip = ip.to_canonical();
    match ip {
        IpAddr::V4(v4) if v4 == Ipv4Addr::LOCALHOST || v4 == Ipv4Addr::UNSPECIFIED => true,
        IpAddr::V6(v6) if v6 == Ipv6Addr::LOCALHOST || v6 == Ipv6Addr::UNSPECIFIED => true,
        _ => mesh.iter().any(|ours| ours.to_canonical() == ip),
    }
}

/// A `tcpip-forward` that no account could have here. Its `Display` is a sentence for the member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardRefused {
    /// The address is not one this jump host listens on.
    OtherAddress {
        /// The first bytes of what was asked for.
        address: Box<[u8]>,
    },
    /// A port has 16 bits; the wire has room for 32.
    PortTooLarge {
        /// The port as it came.
        port: u32,
    },
}

impl fmt::Display for ForwardRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardRefused::OtherAddress { address } => {
                let address = Printable(address).at_most(64);
                write!(
                    f,
                    "this jump host does not listen on “{address}”; leave the address out, as in -R 10080:localhost:80"
                )
            }
            ForwardRefused::PortTooLarge { port } => write!(f, "{port} is not a port: the highest is 65535"),
        }
    }
}

impl Error for ForwardRefused {}

#[cfg(test)]
mod tests {
    use super::*;

    const MESH: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(100, 64, 0, 7)), IpAddr::V6(Ipv6Addr::new(0xfd7a, 0, 0, 0, 0, 0, 0, 7))];

    fn parse(address: &[u8]) -> Result<BindRequest, ForwardRefused> {
        BindRequest::parse(address, 10_080, &MESH)
    }

    #[test]
    fn every_form_that_clients_send_means_the_mesh_address() {
        let forms = ["", "*", "localhost", "127.0.0.1", "0.0.0.0", "::", "::1", "LOCALHOST", "0:0:0:0:0:0:0:0"];
        for form in forms.into_iter().chain(["100.64.0.7", "fd7a::7", "::ffff:100.64.0.7"]) {
            let bind = parse(form.as_bytes()).unwrap();
            assert_eq!(bind.address(), form.as_bytes(), "the echo must be what was sent");
            assert_eq!(bind.port(), Port::new(10_080));
        }
    }

    #[test]
    fn a_mesh_address_is_compared_by_value() {
        let mapped = [IpAddr::V6(Ipv4Addr::new(100, 64, 0, 7).to_ipv6_mapped())];
        assert!(BindRequest::parse(b"100.64.0.7", 10_080, &mapped).is_ok());
        assert!(BindRequest::parse(b"fd7a:0:0::07", 10_080, &MESH).is_ok());
        assert!(BindRequest::parse(b"100.64.0.7", 10_080, &[]).is_err());
    }

    #[test]
    fn other_addresses_are_refused_with_a_reason() {
        for other in ["192.0.2.1", "127.0.0.2", "fd7a::8", "example.org", "localhost.", " ", "[::]", "**", "\u{1b}[2J"]
        {
            let refused = parse(other.as_bytes()).unwrap_err();
            assert_eq!(refused, ForwardRefused::OtherAddress { address: other.as_bytes().into() });
            assert!(!refused.to_string().contains('\u{1b}'));
        }
        assert_eq!(
            parse(b"192.0.2.1").unwrap_err().to_string(),
            "this jump host does not listen on “192.0.2.1”; leave the address out, as in -R 10080:localhost:80"
        );
        assert!(parse(b"\xff\xfe").is_err());
    }

    #[test]
    fn a_refusal_keeps_no_more_than_it_shows() {
        let Err(ForwardRefused::OtherAddress { address }) = parse(&[b'a'; 30_000]) else { panic!("was accepted") };
        assert_eq!(address.len(), 64);
    }

    #[test]
    fn port_zero_leaves_the_choice_to_us() {
        assert_eq!(BindRequest::parse(b"localhost", 0, &MESH).unwrap().port(), None);
    }

    #[test]
    fn a_port_has_sixteen_bits() {
        assert_eq!(BindRequest::parse(b"", 65_535, &MESH).unwrap().port(), Some(Port::MAX));
        for port in [65_536, 65_536 + 10_080, u32::MAX] {
            assert_eq!(BindRequest::parse(b"", port, &MESH), Err(ForwardRefused::PortTooLarge { port }));
        }
    }
}
