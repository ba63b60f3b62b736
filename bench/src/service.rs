//! The service behind the tunnels, in two forms that speak the same: threads on a loopback port, which OpenSSH's client connects
//! to, and [`crate::far_end`], which answers inside the engine's client. Each connection begins with one [`Request`].

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::failure::{Doing, Failure};

/// Bytes read or written at once by either end, large so that the measuring costs little itself.
pub(crate) const CHUNK: usize = 256 * 1024;
/// A small message: what a key press or a query may be.
pub(crate) const MESSAGE: usize = 64;
/// Threads that accept. Each answers [`Request::Reply`] itself, so that a thread is not made per connection.
const ACCEPTORS: usize = 8;

/// What a visitor wants of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// So many bytes from the service.
    Download(u64),
    /// The service takes bytes until their end, and then says how many came, so that all have arrived when the visitor knows.
    Upload,
    /// The service sends back what it gets.
    Echo,
    /// The service takes one message, sends one, and closes.
    Reply,
}

impl Request {
    /// Bytes of a request.
    pub(crate) const LEN: usize = 9;

    /// A letter and a number.
    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        let (letter, number) = match self {
            Self::Download(bytes) => (b'D', bytes),
            Self::Upload => (b'U', 0),
            Self::Echo => (b'E', 0),
            Self::Reply => (b'R', 0),
        };
        let mut encoded = [letter; Self::LEN];
        encoded[1..].copy_from_slice(&number.to_be_bytes());
        encoded
    }

    /// The request that these bytes are.
    pub(crate) fn decode(bytes: [u8; Self::LEN]) -> Option<Self> {
        let [letter, number @ ..] = bytes;
        Some(match letter {
            b'D' => Self::Download(u64::from_be_bytes(number)),
            b'U' => Self::Upload,
            b'E' => Self::Echo,
            b'R' => Self::Reply,
            _ => return None,
        })
    }
}

/// A service on a loopback port. Its threads live as long as this program.
pub(crate) struct Service {
    address: SocketAddr,
}

impl Service {
    /// Starts one.
    pub(crate) fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("bind the service")?;
        let address = listener.local_addr().doing("read the service's address")?;
        for _ in 0..ACCEPTORS {
            let listener = listener.try_clone().doing("share the service's listener")?;
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    // A visitor that breaks off is no failure of the service; the visitor's side tells.
                    let _ = answer(stream);
                }
            });
        }
        Ok(Self { address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut header = [0; Request::LEN];
    stream.read_exact(&mut header)?;
    match Request::decode(header) {
        Some(Request::Reply) => {
            let mut message = [0; MESSAGE];
            stream.read_exact(&mut message)?;
            stream.write_all(&message)
        }
        Some(request) => {
            thread::spawn(move || serve(stream, request));
            Ok(())
        }
        None => Ok(()),
    }
}

fn serve(mut stream: TcpStream, request: Request) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    match request {
        Request::Download(mut left) => {
            while left > 0 {
                let len = left.min(CHUNK as u64);
                stream.write_all(&chunk[..len as usize])?;
                left -= len;
            }
            Ok(())
        }
        Request::Upload => {
            let mut came = 0;
            loop {
                match stream.read(&mut chunk)? {
                    0 => return stream.write_all(&u64::to_be_bytes(came)),
                    count => came += count as u64,
                }
            }
        }
        Request::Echo | Request::Reply => loop {
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                count => stream.write_all(&chunk[..count])?,
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for request in [Request::Download(u64::MAX), Request::Upload, Request::Echo, Request::Reply] {
            assert_eq!(Request::decode(request.encode()), Some(request));
        }
        assert_eq!(Request::decode([0; Request::LEN]), None);
    }
}
