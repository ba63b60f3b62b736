//! The kernel's news of links, addresses and routes (rtnetlink(7)), as far as they tell that connections may be concerned.
//!
//! Not all of its news are new: whoever renews the lifetime of an address or of a route (DHCP, each router advertisement of RFC 4861)
//! has it told again. So what was told last of each is known here, from the beginning on.

use std::collections::HashMap;
use std::io;
use std::iter;
use std::os::unix::net::UnixDatagram as AnyDatagramSocket;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;

/// `RTMGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR` and `_IPV6_ROUTE` of <linux/rtnetlink.h>.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A datagram of the kernel holds whole messages and is not longer than this (`NLMSG_GOODSIZE`).
const LONGEST: usize = 8_192;

/// `NLM_F_REQUEST` and `NLM_F_DUMP`: tell all there are.
const TELL_ALL: u16 = 0x1 | 0x300;

const HEADER: usize = 16;
const FAILED: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETED_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

/// `IFF_UP`, `IFF_RUNNING` and `IFF_LOWER_UP`: a link that carries packets, or does not any more.
const CARRIES: u32 = 0x1 | 0x40 | 0x1_0000;

/// `RTM_F_CLONED`: what the kernel noted about one destination, and no route of anybody's.
const CLONED: u32 = 0x200;

/// The length of `ifaddrmsg`, and of its flags those that say that an address cannot be used (yet): `IFA_F_DADFAILED` and
/// `IFA_F_TENTATIVE`.
const ADDRESS: usize = 8;
const UNUSABLE: u8 = 0x08 | 0x40;

/// `IFA_ADDRESS` and `IFA_LOCAL`.
const NAMES_AN_ADDRESS: [u16; 2] = [1, 2];

/// The length of `rtmsg`.
const ROUTE: usize = 12;

/// `RTA_DST`, `RTA_SRC`, `RTA_PRIORITY` and `RTA_TABLE`: routes that have them in common replace each other.
const NAMES_A_ROUTE: [u16; 4] = [1, 2, 6, 15];

/// `RTA_CACHEINFO` and `RTA_EXPIRES`.
const LIFETIME_OF_A_ROUTE: [u16; 2] = [12, 23];

/// A socket that hears them. It is none of Unix, whose type is taken because tokio can wait for it: what it is asked, recv(2), is the same
/// of any socket.
#[derive(Debug)]
pub(super) struct Socket {
    news: UnixDatagram,
    told: Told,
}

impl Socket {
    pub(super) fn open() -> io::Result<Socket> {
        // It hears before we look: what changes meanwhile is told here.
        let news = UnixDatagram::from_std(netlink(GROUPS)?)?;
        Ok(Socket { news, told: Told::by_kernel()? })
    }

    /// Waits for the next one.
    pub(super) async fn change(&mut self) -> io::Result<()> {
        let mut datagram = [0; LONGEST];
        loop {
            match self.news.recv(&mut datagram).await {
                Ok(length) if self.told.handle_news(&datagram[..length]) => return Ok(()),
                Ok(_) => {}
                // So many that some did not find room. What they were about is not known any more.
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    self.told = Told::default();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn netlink(groups: u32) -> io::Result<AnyDatagramSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol by name is the first one, NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(AnyDatagramSocket::from(socket))
}

/// What was told last of each address and of each IPv6 route. Routes of IPv4 have no lifetime, and are not told again; but those of a
/// link that goes down are taken away without a word.
#[derive(Debug, Default)]
struct Told(HashMap<Thing, Vec<u8>>);

/// Which one it is: the fields that do not change as long as it is there.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Thing {
    Address(Vec<u8>),
    Route(Vec<u8>),
}

impl Told {
    /// All there are now. The kernel has the first part of its answer ready when it has taken the question, and the next one when
    /// that was read (netlink(7)); so nothing is waited for.
    fn by_kernel() -> io::Result<Told> {
        let mut told = Told::default();
        let socket = netlink(0)?;
        for (kind, family) in [(GET_ADDRESS, AddressFamily::UNSPEC), (GET_ROUTE, AddressFamily::INET6)] {
            socket.send(&question(kind, family))?;
            told.hear_all(&socket)?;
        }
        Ok(told)
    }

    fn hear_all(&mut self, socket: &AnyDatagramSocket) -> io::Result<()> {
        let mut datagram = [0; LONGEST];
        loop {
            let length = socket.recv(&mut datagram)?;
            for message in messages(&datagram[..length]) {
                match kind_of(message) {
                    DONE => return Ok(()),
                    // The error's number follows, below zero.
                    FAILED => {
                        let code = number(message, HEADER).map_or(0, |code| code.cast_signed().wrapping_neg());
                        return Err(io::Error::from_raw_os_error(code));
                    }
                    _ => _ = self.handle_message(message),
                }
            }
        }
    }

    /// Whether one of these messages is of something that connections go by, and new.
    fn handle_news(&mut self, datagram: &[u8]) -> bool {
        let mut is_change = false;
        for message in messages(datagram) {
            // Each is heard, also behind a change.
            is_change |= self.handle_message(message);
        }
        is_change
    }

    fn handle_message(&mut self, message: &[u8]) -> bool {
        match kind_of(message) {
            // The last field of `ifinfomsg` says which flags are others now: a wireless card's news of its signal have none.
            NEW_LINK | DELETED_LINK => number(message, HEADER + 12).is_some_and(|changed| changed & CARRIES != 0),
            // The flags are the last field of `rtmsg`.
            NEW_ROUTE | DELETED_ROUTE if number(message, HEADER + 8).is_none_or(|flags| flags & CLONED != 0) => false,
            NEW_ADDRESS | NEW_ROUTE => match thing(message) {
                Some((thing, state)) => self.0.insert(thing, state.clone()).is_none_or(|last| last != state),
                None => true,
            },
            DELETED_ADDRESS | DELETED_ROUTE => {
                if let Some((thing, _)) = thing(message) {
                    self.0.remove(&thing);
                }
                true
            }
            _ => false,
        }
    }
}

/// What a message is about, and how it is, without how long it will be so. `None` if it is of nothing that is known here.
fn thing(message: &[u8]) -> Option<(Thing, Vec<u8>)> {
    let body = message.get(HEADER..)?;
    match kind_of(message) {
        NEW_ADDRESS | DELETED_ADDRESS => {
            let (&[family, prefix, flags, _scope, ref link @ ..], rest) = body.split_first_chunk::<ADDRESS>()?;
            let names = attributes(rest, |kind| NAMES_AN_ADDRESS.contains(&kind));
            Some((Thing::Address([&[family, prefix], &link[..], &names].concat()), vec![flags & UNUSABLE]))
        }
        NEW_ROUTE | DELETED_ROUTE => {
            let (&[family, to, from, tos, table, protocol, scope, kind, ..], rest) =
                body.split_first_chunk::<ROUTE>()?;
            if u16::from(family) != AddressFamily::INET6.as_raw() {
                return None;
            }
            let names = attributes(rest, |kind| NAMES_A_ROUTE.contains(&kind));
            let others =
                attributes(rest, |kind| !NAMES_A_ROUTE.contains(&kind) && !LIFETIME_OF_A_ROUTE.contains(&kind));
            let route = Thing::Route([&[family, to, from, tos, table], &names[..]].concat());
            Some((route, [&[protocol, scope, kind], &others[..]].concat()))
        }
        _ => None,
    }
}

/// Those attributes that are wanted, each as it stands there: length, kind and value (rtnetlink(7)).
fn attributes(mut rest: &[u8], is_wanted: impl Fn(u16) -> bool) -> Vec<u8> {
    let mut wanted = Vec::new();
    while let Some(length) = short(rest, 0)
        && let Some(attribute) = rest.get(..usize::from(length))
        && let Some(kind) = short(attribute, 2)
    {
        if is_wanted(kind) {
            wanted.extend_from_slice(attribute);
        }
        rest = rest.get(attribute.len().next_multiple_of(4)..).unwrap_or_default();
    }
    wanted
}

/// Asks for all that the kernel has of a kind: a header, and the family's number in four bytes.
fn question(kind: u16, family: AddressFamily) -> Vec<u8> {
    let length: u32 = 20;
    let number_and_sender = [0; 8];
    let header = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &TELL_ALL.to_ne_bytes(), &number_and_sender];
    [&header.concat()[..], &family.as_raw().to_ne_bytes(), &[0; 2]].concat()
}

fn messages(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let (message, rest) = first_message(datagram)?;
        datagram = rest;
        Some(message)
    })
}

/// A message begins with its length, and the next one at a multiple of four (netlink(7)).
fn first_message(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(number(datagram, 0)?).ok()?;
    if length < HEADER {
        return None;
    }
    let message = datagram.get(..length)?;
    Some((message, datagram.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn kind_of(message: &[u8]) -> u16 {
    short(message, 4).unwrap_or(0)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME_OF_AN_ADDRESS: u16 = 6;
    const TENTATIVE: u8 = 0x40;

    fn message(kind: u16, body: &[u32]) -> Vec<u8> {
        let bytes: Vec<u8> = body.iter().flat_map(|number| number.to_ne_bytes()).collect();
        raw(kind, &bytes)
    }

    fn raw(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = (HEADER + body.len()) as u32;
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = (4 + value.len()) as u16;
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    }

    /// 192.0.2.`host`/24 of a link, for so many seconds more.
    fn address(kind: u16, link: u32, host: u8, flags: u8, seconds: u32) -> Vec<u8> {
        let body = [
            &[2, 24, flags, 0][..],
            &link.to_ne_bytes(),
            &attribute(1, &[192, 0, 2, host]),
            &attribute(2, &[192, 0, 2, host]),
            &attribute(LIFETIME_OF_AN_ADDRESS, &seconds.to_ne_bytes()),
        ];
        raw(kind, &body.concat())
    }

    /// The default route through fe80::`router`, for so many seconds more.
    fn default_route(kind: u16, family: u8, priority: u8, router: u8, seconds: u32) -> Vec<u8> {
        let (via, lifetime) =
            ([&[0xfe, 0x80][..], &[0; 13], &[router]].concat(), [&[0; 8][..], &seconds.to_ne_bytes()]);
        let body = [
            &[family, 0, 0, 0, 254, 16, 0, 1, 0, 0, 0, 0][..],
            &attribute(6, &[priority, 0, 0, 0]),
            &attribute(5, &via),
            &attribute(12, &lifetime.concat()),
        ];
        raw(kind, &body.concat())
    }

    fn is_change(datagram: &[u8]) -> bool {
        Told::default().handle_news(datagram)
    }

    #[test]
    fn what_connections_go_by_is_a_change() {
        for (told, kind, body) in [
            ("a cable was pulled", NEW_LINK, &[0, 2, 0x1003, 0x1_0040][..]),
            ("a link was removed", DELETED_LINK, &[0, 2, 0x1003, u32::MAX]),
            ("an address came", NEW_ADDRESS, &[0, 2]),
            ("an address went", DELETED_ADDRESS, &[0, 2]),
            ("a route came", NEW_ROUTE, &[0, 0, 0]),
            ("a route went", DELETED_ROUTE, &[0, 0, 0]),
            ("an address that is cut short", NEW_ADDRESS, &[0]),
        ] {
            assert!(is_change(&message(kind, body)), "{told}");
        }
    }

    #[test]
    fn what_no_connection_goes_by_is_none() {
        for (told, kind, body) in [
            ("a wireless signal", NEW_LINK, &[0, 2, 0x1_1043, 0][..]),
            ("a promiscuous card", NEW_LINK, &[0, 2, 0x1_1143, 0x100]),
            ("a note about one destination", NEW_ROUTE, &[0, 0, CLONED]),
            ("a neighbour", 28, &[0, 0, 0]),
            ("a link that is cut short", NEW_LINK, &[0, 2]),
        ] {
            assert!(!is_change(&message(kind, body)), "{told}");
        }
        for cut in [&[][..], &[0; 3], &0_u32.to_ne_bytes(), &64_u32.to_ne_bytes(), &[0xff; 40]] {
            assert!(!is_change(cut), "{cut:?}");
        }
    }

    #[test]
    fn all_messages_of_a_datagram_count() {
        let mut odd = message(28, &[0, 0, 0]);
        odd[..4].copy_from_slice(&27_u32.to_ne_bytes());
        let (one, other) = (address(NEW_ADDRESS, 2, 1, 0, 60), address(NEW_ADDRESS, 2, 9, 0, 60));
        let mut told = Told::default();
        assert!(told.handle_news(&[odd, one.clone(), other.clone()].concat()));
        assert!(!told.handle_news(&[one, other].concat()), "both of them are known");
    }

    #[test]
    fn a_renewed_lifetime_of_an_address_is_no_change() {
        let mut told = Told::default();
        for (is_change, what, message) in [
            (true, "it came", address(NEW_ADDRESS, 2, 1, TENTATIVE, 60)),
            (true, "nobody else has it", address(NEW_ADDRESS, 2, 1, 0, 60)),
            (false, "it is renewed", address(NEW_ADDRESS, 2, 1, 0, 90)),
            (true, "another one", address(NEW_ADDRESS, 2, 9, 0, 60)),
            (true, "the same at another link", address(NEW_ADDRESS, 3, 1, 0, 60)),
            (false, "it is renewed among others", address(NEW_ADDRESS, 2, 1, 0, 120)),
            (true, "it went", address(DELETED_ADDRESS, 2, 1, 0, 30)),
            (true, "it came back", address(NEW_ADDRESS, 2, 1, 0, 60)),
        ] {
            assert_eq!(told.handle_news(&message), is_change, "{what}");
        }
        assert_eq!(told.0.len(), 3);
    }

    #[test]
    fn a_route_that_is_announced_again_is_no_change() {
        const SIX: u8 = 10;
        let mut told = Told::default();
        for (is_change, what, message) in [
            (true, "it came", default_route(NEW_ROUTE, SIX, 1, 1, 60)),
            (false, "it is renewed", default_route(NEW_ROUTE, SIX, 1, 1, 90)),
            (true, "another one beside it", default_route(NEW_ROUTE, SIX, 2, 7, 60)),
            (false, "it is renewed beside another", default_route(NEW_ROUTE, SIX, 1, 1, 120)),
            (true, "its router was replaced", default_route(NEW_ROUTE, SIX, 1, 2, 60)),
            (true, "and came back", default_route(NEW_ROUTE, SIX, 1, 1, 60)),
            (true, "it went", default_route(DELETED_ROUTE, SIX, 1, 1, 30)),
            (true, "it came back", default_route(NEW_ROUTE, SIX, 1, 1, 60)),
            (true, "one of IPv4", default_route(NEW_ROUTE, 2, 1, 1, 0)),
            (true, "which went untold", default_route(NEW_ROUTE, 2, 1, 1, 0)),
        ] {
            assert_eq!(told.handle_news(&message), is_change, "{what}");
        }
        assert_eq!(told.0.len(), 2);
    }

    #[test]
    fn an_attribute_that_is_cut_short_ends_them() {
        let whole = attribute(1, &[7]);
        for cut in [&[][..], &[0; 3], &[0; 8], &[3, 0, 1, 0], &[0xff; 8]] {
            let rest = [&whole[..], &[0; 3], cut].concat();
            assert_eq!(attributes(&rest, |_| true), whole, "{cut:?}");
        }
    }

    #[tokio::test]
    async fn what_there_is_at_the_beginning_is_known() {
        let mut socket = Socket::open().unwrap();
        let asked = netlink(0).unwrap();
        asked.send(&question(GET_ADDRESS, AddressFamily::UNSPEC)).unwrap();
        let mut datagram = [0; LONGEST];
        let length = asked.recv(&mut datagram).unwrap();
        assert!(messages(&datagram[..length]).any(|message| kind_of(message) == NEW_ADDRESS), "there is a loopback");
        assert!(!socket.told.handle_news(&datagram[..length]));
    }
}
