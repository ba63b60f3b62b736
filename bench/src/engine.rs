//! A client made of our engine over blocking sockets: a login costs a fraction of a millisecond and an idle session a few KiB, so
//! that one process can be thousands of clients of either server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_ssh::{Buffer, ClientConfig, Connection, Event};

use crate::failure::{Doing, Failure};

/// Read at once at least; a login needs no more.
const READ_AHEAD: usize = 4 * 1024;
/// A server that is silent for so long while it owes us something has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A session that is logged in. Dropping it cuts its transport.
pub(crate) struct Session {
    pub(crate) stream: TcpStream,
    pub(crate) connection: Connection,
    pub(crate) input: Buffer,
}

impl Session {
    /// Connects and logs in.
    pub(crate) fn login(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = connect().doing("connect to the server")?;
        let connection = Connection::client(config, Instant::now());
        let mut session = Self { stream, connection, input: Buffer::new() };
        while session.next_event()? != Event::LoggedIn {}
        Ok(session)
    }

    /// Asks for a remote forward of any port, and returns that port.
    pub(crate) fn forward(&mut self) -> Result<u16, Failure> {
        self.connection.request_forward("127.0.0.1", 0).doing("ask for a forward")?;
        loop {
            if let Event::ForwardAnswered(answer) = self.next_event()? {
                let port = answer.ok().flatten().and_then(|port| u16::try_from(port).ok());
                return port.ok_or_else(|| Failure::new("the server refused a forward"));
            }
        }
    }

    /// Waits for the next thing that happens.
    fn next_event(&mut self) -> Result<Event, Failure> {
        loop {
            let event = self.connection.receive(&mut self.input, Instant::now()).doing("speak SSH")?;
            self.stream.write_all(self.connection.output()).doing("write to the server")?;
            self.connection.sent(self.connection.output().len());
            if let Some(event) = event {
                return Ok(event);
            }
            let wanted = self.connection.wanted().max(READ_AHEAD);
            let count = self.stream.read(self.input.spare(wanted)).doing("read from the server")?;
            if count == 0 {
                return Err(Failure::new("the server closed the connection"));
            }
            self.input.filled(count);
        }
    }
}
