//! The messages of RFC 1928, read from a beginning that may be too short, and written.

use std::net::IpAddr;

use super::SocksRefusal;
use crate::{Port, Target};

const VERSION: u8 = 0x05;

pub(super) const NO_AUTHENTICATION: u8 = 0x00;
pub(super) const NO_ACCEPTABLE_METHOD: u8 = 0xff;

pub(super) const CONNECT: u8 = 0x01;

const IPV4: u8 = 0x01;
const DOMAIN: u8 = 0x03;
const IPV6: u8 = 0x04;

pub(super) const SUCCEEDED: u8 = 0x00;
pub(super) const GENERAL_FAILURE: u8 = 0x01;
pub(super) const COMMAND_NOT_SUPPORTED: u8 = 0x07;
pub(super) const ADDRESS_TYPE_NOT_SUPPORTED: u8 = 0x08;

/// What a message's beginning is.
pub(super) enum Parsed<T> {
    /// Too short by so many bytes, at least.
    Needs(usize),
    /// All of it.
    Whole(T),
    /// Nothing that could become one.
    Wrong(SocksRefusal),
}

/// A request, whose target may be none that exists.
pub(super) struct Request {
    pub(super) command: u8,
    pub(super) target: Option<Target>,
}

/// VER, NMETHODS, METHODS (§3): is no authentication among them?
pub(super) fn greeting(held: &[u8]) -> Parsed<bool> {
    match *held {
        [] => Parsed::Needs(1),
        [version, ..] if version != VERSION => Parsed::Wrong(SocksRefusal::NotSocks5(version)),
        [_] => Parsed::Needs(1),
        [_, count, ref methods @ ..] => match usize::from(count).saturating_sub(methods.len()) {
            0 => Parsed::Whole(methods.contains(&NO_AUTHENTICATION)),
            missing => Parsed::Needs(missing),
        },
    }
}

/// VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT (§4). A command that is not served is judged behind its whole message: a client that
/// is still sending when we hang up may never read our reply.
pub(super) fn request(held: &[u8]) -> Parsed<Request> {
    let (version, rest) = match *held {
        [] => return Parsed::Needs(1),
        [version, ref rest @ ..] => (version, rest),
    };
    if version != VERSION {
        return Parsed::Wrong(SocksRefusal::NotSocks5(version));
    }
    let &[command, _, kind, ref address @ ..] = rest else { return Parsed::Needs(3 - rest.len()) };
    let length = match (kind, address.first()) {
        (IPV4, _) => 4,
        (IPV6, _) => 16,
        (DOMAIN, Some(length)) => 1 + usize::from(*length),
        (DOMAIN, None) => return Parsed::Needs(1),
        // How long such a message is nobody knows.
        _ if command == CONNECT => return Parsed::Wrong(SocksRefusal::AddressType(kind)),
        _ => return Parsed::Wrong(SocksRefusal::Command(command)),
    };
    let missing = (length + 2).saturating_sub(address.len());
    if missing > 0 {
        return Parsed::Needs(missing);
    }
    let (host, port) = address.split_at(length);
    Parsed::Whole(Request { command, target: target(kind, host, port) })
}

/// `None` for a name that can be none, and for port 0, which nothing listens on.
fn target(kind: u8, host: &[u8], port: &[u8]) -> Option<Target> {
    let port = Port::new(u16::from_be_bytes(port.try_into().ok()?))?;
    match kind {
        IPV4 => Some(Target::from((IpAddr::from(<[u8; 4]>::try_from(host).ok()?), port))),
        IPV6 => Some(Target::from((IpAddr::from(<[u8; 16]>::try_from(host).ok()?), port))),
        // The first byte is its length.
        _ => Target::new(std::str::from_utf8(host.get(1..)?).ok()?, port).ok(),
    }
}

/// VER, METHOD (§3).
pub(super) fn method(chosen: u8) -> Vec<u8> {
    vec![VERSION, chosen]
}

/// VER, REP, RSV, ATYP, BND.ADDR, BND.PORT (§6). The address the last hop comes from is known to its SSH server only, so it is
/// 0.0.0.0:0 here.
pub(super) fn reply(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}
