//! A TCP connection to a name: looked up, and its addresses tried in turn.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use adit_core::{Port, Target};
use thiserror::Error;
use tokio::net::TcpStream;

/// A resolver that is not there answers after this, or never.
const RESOLVE_TIME: Duration = Duration::from_secs(10);
/// How long an address may take while there are others: a host whose IPv6 leads nowhere is reached by IPv4 all the same.
const TURN: Duration = Duration::from_secs(3);
/// Addresses tried of one name.
const MAX_ADDRESSES: usize = 8;

/// There is no TCP connection.
#[derive(Debug, Error)]
pub enum ReachError {
    /// The text is no host.
    #[error("{0}")]
    BadHost(String),
    /// The name was not looked up in time.
    #[error("looking up “{0}” took too long")]
    ResolveTimeOut(String),
    /// The name has no address.
    #[error("cannot look up “{host}”")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The name has no address.
    #[error("“{0}” has no address")]
    NoAddress(String),
    /// None of the addresses answered; this is the last one's error.
    #[error("cannot connect to {address}: {}", .source.kind())]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the system said of it.
        #[source]
        source: io::Error,
    },
}

/// Connects to a target from this machine.
///
/// # Errors
/// [`ReachError`].
pub async fn reach(target: &Target, time_out: Duration) -> Result<TcpStream, ReachError> {
    connect(&resolve(target.host(), target.port()).await?, time_out).await
}

/// The addresses of a name, in the system's order of preference; at least one.
pub(super) async fn resolve(host: &str, port: Port) -> Result<Vec<SocketAddr>, ReachError> {
    let found = tokio::time::timeout(RESOLVE_TIME, tokio::net::lookup_host((host, port.get()))).await;
    let found = found.map_err(|_| ReachError::ResolveTimeOut(host.to_owned()))?;
    let found = found.map_err(|source| ReachError::Resolve { host: host.to_owned(), source })?;
    let addresses: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() { Err(ReachError::NoAddress(host.to_owned())) } else { Ok(addresses) }
}

/// Tries the addresses in turn; only the last one has all of `time_out`.
pub(super) async fn connect(addresses: &[SocketAddr], time_out: Duration) -> Result<TcpStream, ReachError> {
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        let turn = if index + 1 < addresses.len() { time_out.min(TURN) } else { time_out };
        let source = match tokio::time::timeout(turn, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        last = Some(ReachError::Connect { address: *address, source });
    }
    Err(last.unwrap_or_else(|| ReachError::NoAddress(String::new())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[tokio::test]
    async fn the_next_address_is_tried_where_one_refuses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let here = listener.local_addr().unwrap();
        let stream = connect(&[nobody, here], Duration::from_secs(5)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), here);
        let refused = connect(&[nobody], Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("cannot connect to {nobody}: connection refused"));
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told() {
        let refused = resolve("nowhere.invalid", Port::new(22).unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains("nowhere.invalid"), "{refused}");
    }
}
