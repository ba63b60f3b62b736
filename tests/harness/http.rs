//! As much of HTTP/1.1 as a visitor needs to tell one service from another.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The answer to one request.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The body, up to the end of the connection.
    pub body: String,
}

/// Asks `address` for `path` under the name `host`; `None` where nobody answers within `bound`.
pub fn http_get(address: SocketAddr, host: &str, path: &str, bound: Duration) -> Option<HttpAnswer> {
    let mut stream = TcpStream::connect_timeout(&address, bound).ok()?;
    stream.set_read_timeout(Some(bound)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(HttpAnswer { status, body: body.to_owned() })
}
