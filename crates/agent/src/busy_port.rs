//! Who has a port that could not be bound, and which one near it is free. What the system does not say is left out: another
//! person's processes, or all of them where there is no `/proc`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_core::{BindFailure, Port, PortHolder};
use socket2::{Domain, Protocol, Socket, Type};

/// How far the next free port is looked for: far enough to get past a row of services, near enough to be remembered.
const NEAR: u16 = 100;
/// `TCP_LISTEN` in the tables of the kernel.
const LISTENING: &str = "0A";

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
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listener_links(&table, address))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has_one_of(*pid, &inodes))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(PortHolder { name: name.trim_end().into(), pid })
}

/// How the listeners in the way of `address` are called among the descriptors of their process.
fn listener_links(table: &str, address: SocketAddr) -> Vec<String> {
    let inodes = table.lines().filter_map(|line| listener_inode(line, address));
    inodes.map(|inode| format!("socket:[{inode}]")).collect()
}

fn has_one_of(pid: u32, inodes: &[String]) -> bool {
    // Of another person's process nothing can be read.
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| inodes.iter().any(|inode| inode == link)))
}

/// The inode of a listener in the way of `address`, if this line of the kernel's table is about one (proc(5)).
fn listener_inode(line: &str, address: SocketAddr) -> Option<&str> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let (ip, port) = local.split_once(':')?;
    if state != LISTENING || u16::from_str_radix(port, 16).ok()? != address.port() {
        return None;
    }
    let ip = kernel_address(ip)?;
    (ip == address.ip() || ip.is_unspecified()).then_some(())?;
    fields.nth(5)
}

/// The kernel prints words of 32 bits as the machine holds them.
fn kernel_address(text: &str) -> Option<IpAddr> {
    let word = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(text)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(text.get(index * 8..index * 8 + 8)?)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
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

    #[test]
    fn the_kernels_tables_are_read() {
        let line = "   3: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 45678 1";
        let at = |text: &str| listener_inode(line, text.parse().unwrap());
        // As a machine prints it that holds the lowest byte first.
        if cfg!(target_endian = "little") {
            assert_eq!(at("127.0.0.1:8080"), Some("45678"));
            assert_eq!(at("127.0.0.2:8080"), None);
            assert_eq!(at("127.0.0.1:8081"), None);
        }
        assert_eq!(listener_inode(&line.replace(" 0A ", " 01 "), ([127, 0, 0, 1], 8080).into()), None, "established");
        let any = line.replace("0100007F", "00000000000000000000000000000000");
        assert_eq!(listener_inode(&any, ([127, 0, 0, 1], 8080).into()), Some("45678"), "everywhere");
        assert_eq!(listener_inode("sl local_address", ([127, 0, 0, 1], 8080).into()), None);
    }
}
