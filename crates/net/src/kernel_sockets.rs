//! The TCP sockets of this machine, as the kernel lists them (proc(5), `/proc/net/tcp`): who listens where, and whose the other end of a
//! connection on this machine is. Where there is no `/proc`, nothing is known.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `TCP_LISTEN` in the kernel's tables.
const LISTENING: &str = "0A";

/// A socket of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSocket {
    /// Its own end. An IPv4 address in IPv6's clothes is shown as what it is.
    pub local: SocketAddr,
    /// The other end; all zeros where it listens.
    pub remote: SocketAddr,
    /// It waits for connections.
    pub listens: bool,
    /// The user that owns it; 0 also where its process has closed it.
    pub uid: u32,
    /// Names it among the descriptors of its process: `socket:[inode]`.
    pub inode: u64,
}

/// All of them. It reads files of the kernel, which takes some milliseconds where there are thousands of sockets.
#[must_use]
pub fn tcp_sockets() -> Vec<TcpSocket> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| fs::read_to_string(table).ok());
    tables.flat_map(|table| table.lines().filter_map(parse).collect::<Vec<_>>()).collect()
}

/// Whether both ends of a connection on this machine belong to one user; `None` where the kernel does not say.
#[must_use]
pub fn has_one_owner(local: SocketAddr, peer: SocketAddr) -> Option<bool> {
    let sockets = tcp_sockets();
    let owner =
        |from, to| sockets.iter().find(|socket| (socket.local, socket.remote) == (from, to)).map(|socket| socket.uid);
    Some(owner(local, peer)? == owner(peer, local)?)
}

/// A line of a table; its first is a heading.
fn parse(line: &str) -> Option<TcpSocket> {
    let mut fields = line.split_whitespace();
    let local = end(fields.nth(1)?)?;
    let remote = end(fields.next()?)?;
    let listens = fields.next()? == LISTENING;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(TcpSocket { local, remote, listens, uid, inode })
}

/// `0100007F:1F90`: the kernel prints words of 32 bits as the machine holds them.
fn end(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(ip)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(ip.get(index * 8..index * 8 + 8)?)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let line = "   3: 0100007F:1F90 0200007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 45678 1";
        // As a machine prints it that holds the lowest byte first.
        if cfg!(target_endian = "little") {
            let (local, remote) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.2:80".parse().unwrap());
            assert_eq!(parse(line), Some(TcpSocket { local, remote, listens: false, uid: 1000, inode: 45_678 }));
        }
        let any = line.replace("0100007F", "00000000000000000000000000000000").replace(" 01 ", " 0A ");
        let socket = parse(&any).unwrap();
        assert!(socket.local.ip().is_unspecified() && socket.listens);
        for no in ["sl  local_address rem_address   st", "", "3: 0100007F 0200007F:0050 01 0:0 0:0 0 1000 0 45678"] {
            assert_eq!(parse(no), None, "{no}");
        }
    }

    #[test]
    fn both_ends_of_a_connection_of_ours_are_ours() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            assert_eq!(has_one_owner(server.local_addr().unwrap(), peer), Some(true), "{address}");
            assert_eq!(peer, client.local_addr().unwrap());
        }
        assert_eq!(has_one_owner(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()), None);
    }
}
