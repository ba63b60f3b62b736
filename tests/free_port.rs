//! A port for those who must know it before somebody listens there. Included by the end-to-end stories and by those of the crates.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Where Linux begins to give out ports of its own accord (`ip_local_port_range`).
const DYNAMIC: u16 = 32_768;
/// Below are those that services are known by, and those that the jump host's stories give to its members.
const FIRST: u16 = 28_000;
/// Processes that follow each other look this far apart. A prime, so that any port may be the first.
const APART: u32 = 61;

/// A loopback port that nobody has, and that the system gives to nobody who asks for any. One that it does give out is free only until the
/// next asks, and beside this story others ask many times a second.
pub(crate) fn free_port() -> u16 {
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let count = u32::from(DYNAMIC - FIRST);
    let own = (process::id().wrapping_mul(APART) % count) as u16;
    let is_free = |port: &u16| {
        let address = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
    };
    let mut ports = (0..DYNAMIC - FIRST).map(|_| {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        FIRST + ((u32::from(own) + u32::from(asked)) % count) as u16
    });
    ports.find(is_free).expect("a free port from 28,000 to 32,767")
}
