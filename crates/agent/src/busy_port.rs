//! Who has a port that could not be bound, and which one near it is free. What the system does not say is left out: another
//! person's processes, or all of them where there is no `/proc`.

use std::fs;
use std::io;
use std::net::SocketAddr;

use adit_core::{BindFailure, Port, PortHolder};
use adit_net::kernel_sockets::{self, TcpSocket};
use socket2::{Domain, Protocol, Socket, Type};

/// How far the next free port is looked for: far enough to get past a row of services, near enough to be remembered.
const NEAR: u16 = 100;

/// What a failed bind tells a person. Reads `/proc`; may take milliseconds.
pub(crate) fn explain(address: SocketAddr, error: &io::Error) -> BindFailure {
    if error.kind() != io::ErrorKind::AddrInUse {
        return BindFailure::System { address, why: error.to_string().into() };
    }
    BindFailure::PortHeld { address, holder: holder(address), next_free: next_free(address) }
}

/// The next port of this address that can be bound now.
pub(crate) fn next_free(address: SocketAddr) -> Option<Port> {
    let next = address.port().checked_add(1)?;
    let is_free = |number: &u16| can_bind(SocketAddr::new(address.ip(), *number)).is_ok();
    (next..=next.saturating_add(NEAR)).find(is_free).and_then(Port::new)
}

/// As the listener binds, so that both agree.
fn can_bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

fn holder(address: SocketAddr) -> Option<PortHolder> {
    let is_in_the_way = |socket: &TcpSocket| {
        socket.listens
            && socket.local.port() == address.port()
            && (socket.local.ip() == address.ip() || socket.local.ip().is_unspecified())
    };
    let links = kernel_sockets::tcp_sockets().into_iter().filter(is_in_the_way);
    // As it is called among the descriptors of its process.
    let links: Vec<String> = links.map(|socket| format!("socket:[{}]", socket.inode)).collect();
    if links.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has_one_of(*pid, &links))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(PortHolder { name: name.trim_end().into(), pid })
}

fn has_one_of(pid: u32, links: &[String]) -> bool {
    // Of another person's process nothing can be read.
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| links.iter().any(|one| one == link)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_that_has_a_port_is_named_and_the_next_free_one_offered() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let error = can_bind(address).unwrap_err();
        let BindFailure::PortHeld { address: told, holder: Some(holder), next_free: Some(free) } =
            explain(address, &error)
        else {
            panic!("{error}")
        };
        assert_eq!((told, holder.pid), (address, std::process::id()));
        assert!(free.get() > address.port());
        can_bind(SocketAddr::new(address.ip(), free.get())).unwrap();
    }

    #[test]
    fn another_failure_is_told_as_it_is() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let told = explain(([127, 0, 0, 1], 80).into(), &error);
        assert!(matches!(told, BindFailure::System { .. }), "{told}");
    }
}
