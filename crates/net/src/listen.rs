//! Binding and accepting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections the kernel completes before they are accepted; its own limit (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 4096;

/// When descriptors run out there is no event to wait for; this is how soon to look again.
pub const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// What a listener at an IPv6 address takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// IPv6 and nothing else, whatever the system's default.
    Only,
    /// What the system's default is: on Linux, at `::`, IPv4 as well.
    AsSystem,
}

/// Binds and listens. An address in TIME_WAIT is taken, so that a restart does not wait.
///
/// # Errors
/// What the system says: in use, not ours, not permitted.
pub fn bind(address: SocketAddr, ipv6: Ipv6) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && ipv6 == Ipv6::Only {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether an error of `accept` is about this process or machine (descriptors, memory), so that trying again at once would only
/// spin. The others concern the one connection that was to be accepted.
pub fn is_exhausted(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}
