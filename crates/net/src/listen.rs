//! Binding and accepting.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections the kernel completes before they are accepted; its own limit (`net.core.somaxconn`) may be lower.
const BACKLOG: i32 = 4096;

/// When descriptors run out there is no event to wait for; this is how soon to look again. It is short because each look takes no more
/// connections than there are free descriptors, and whoever comes behind a queue of those that have given up waits for many looks.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);

/// That descriptors run out is told so often.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

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

/// What a listener remembers of times in which nothing could be accepted.
#[derive(Debug, Default)]
pub struct Exhaustion {
    told: Option<Instant>,
}

impl Exhaustion {
    /// Descriptors or memory [have run out](is_exhausted): the log says what cannot be accepted, once in 10 s. Answers how long to wait
    /// before accepting again.
    pub fn pause(&mut self, what: &str, error: &io::Error, now: Instant) -> Duration {
        if self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_AGAIN) {
            self.told = Some(now);
            tracing::warn!(what, %error, "cannot accept for now");
        }
        EXHAUSTED_PAUSE
    }
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
