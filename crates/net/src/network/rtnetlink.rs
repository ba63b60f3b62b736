//! The kernel's news of links, addresses and routes (rtnetlink(7)), as far as they tell that connections may be concerned.

use std::io;
use std::os::unix::net::UnixDatagram as AnyDatagramSocket;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;

/// `RTMGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR` and `_IPV6_ROUTE` of <linux/rtnetlink.h>.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A datagram of the kernel holds whole messages and is not longer than this (`NLMSG_GOODSIZE`).
const LONGEST: usize = 8_192;

const HEADER: usize = 16;
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETED_ROUTE: u16 = 25;

/// `IFF_UP`, `IFF_RUNNING` and `IFF_LOWER_UP`: a link that carries packets, or does not any more.
const CARRIES: u32 = 0x1 | 0x40 | 0x1_0000;

/// `RTM_F_CLONED`: what the kernel noted about one destination, and no route of anybody's.
const CLONED: u32 = 0x200;

/// A socket that hears them. It is none of Unix, whose type is taken because tokio can wait for it: what it is asked, recv(2), is the same
/// of any socket.
#[derive(Debug)]
pub(super) struct Socket(UnixDatagram);

impl Socket {
    pub(super) fn open() -> io::Result<Socket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol by name is the first one, NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        UnixDatagram::from_std(AnyDatagramSocket::from(socket)).map(Socket)
    }

    /// Waits for the next one.
    pub(super) async fn change(&mut self) -> io::Result<()> {
        let mut datagram = [0; LONGEST];
        loop {
            match self.0.recv(&mut datagram).await {
                Ok(length) if tells_of_a_change(&datagram[..length]) => return Ok(()),
                Ok(_) => {}
                // So many that some did not find room.
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether one of these messages is of something that connections go by.
fn tells_of_a_change(mut datagram: &[u8]) -> bool {
    while let Some((message, rest)) = first_message(datagram) {
        if is_change(message) {
            return true;
        }
        datagram = rest;
    }
    false
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

fn is_change(message: &[u8]) -> bool {
    let kind = message.get(4..6).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_ne_bytes);
    match kind {
        // The last field of `ifinfomsg` says which flags are others now: a wireless card's news of its signal have none.
        NEW_LINK | DELETED_LINK => number(message, HEADER + 12).is_some_and(|changed| changed & CARRIES != 0),
        NEW_ADDRESS | DELETED_ADDRESS => true,
        // The flags are the last field of `rtmsg`.
        NEW_ROUTE | DELETED_ROUTE => number(message, HEADER + 8).is_some_and(|flags| flags & CLONED == 0),
        _ => false,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u32]) -> Vec<u8> {
        let length = (HEADER + 4 * body.len()) as u32;
        let header = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
        body.iter().fold(header, |message, number| [message, number.to_ne_bytes().to_vec()].concat())
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
        ] {
            assert!(tells_of_a_change(&message(kind, body)), "{told}");
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
            assert!(!tells_of_a_change(&message(kind, body)), "{told}");
        }
        for cut in [&[][..], &[0; 3], &0_u32.to_ne_bytes(), &64_u32.to_ne_bytes(), &[0xff; 40]] {
            assert!(!tells_of_a_change(cut), "{cut:?}");
        }
    }

    #[test]
    fn all_messages_of_a_datagram_count() {
        let mut odd = message(28, &[0, 0, 0]);
        odd[..4].copy_from_slice(&27_u32.to_ne_bytes());
        let two = [odd, message(NEW_ADDRESS, &[0, 2])].concat();
        assert!(tells_of_a_change(&two));
    }
}
