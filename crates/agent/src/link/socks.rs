//! SOCKS clients at a local port: hears what they want, and tells them what became of it. The words are `core`'s.
//!
//! What a client sends behind its request is for its target. It is never read here: the handshake is looked at where it lies
//! in the kernel, and only its own bytes are taken.

use std::io;
use std::time::Duration;

use adit_core::{ConnectFailure, ConnectOutcome, Socks5, SocksRefusal, SocksWish, Target};
use socket2::SockRef;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a client on this machine may take to say what it wants.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a client that was refused is listened to, so that the refusal reaches it.
const FAREWELL_TIME: Duration = Duration::from_secs(2);
/// The longest message of a handshake is 262 bytes.
const LOOK: usize = 512;

/// Why a SOCKS client got no connection.
#[derive(Debug, Error)]
pub enum SocksError {
    /// It was refused; the sentence is for the log.
    #[error("{0}")]
    Refused(SocksRefusal),
    /// It did not say in time what it wants.
    #[error("the client did not say what it wants")]
    Silent,
    /// It went away.
    #[error("the client went away")]
    Gone(#[from] io::Error),
    /// The link is over, or its tunnel has been stopped.
    #[error("the connection to the SSH server is over")]
    LinkOver,
}

/// A client that waits to hear how connecting to its target went.
pub(super) struct Waiting {
    handshake: Socks5,
}

/// Hears a client out: where it wants to go. One that is refused has been told so.
pub(super) async fn hear(stream: &mut TcpStream) -> Result<(Waiting, Target), SocksError> {
    match tokio::time::timeout(HANDSHAKE_TIME, converse(stream)).await {
        Ok(Err(SocksError::Refused(refusal))) => {
            listen_on(stream).await;
            Err(SocksError::Refused(refusal))
        }
        Ok(heard) => heard,
        Err(_) => Err(SocksError::Silent),
    }
}

async fn converse(stream: &mut TcpStream) -> Result<(Waiting, Target), SocksError> {
    let mut handshake = Socks5::new();
    let mut look = [0; LOOK];
    loop {
        let seen = stream.peek(&mut look).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let taken = handshake.handle_input(&look[..seen]);
        stream.read_exact(&mut look[..taken]).await?;
        while let Some(wish) = handshake.poll_output() {
            match wish {
                SocksWish::Send(bytes) => stream.write_all(&bytes).await?,
                SocksWish::Connect(target) => return Ok((Waiting { handshake }, target)),
                SocksWish::HangUp(refusal) => return Err(SocksError::Refused(refusal)),
                // Only behind an outcome.
                SocksWish::Relay => {}
            }
        }
    }
}

impl Waiting {
    /// The target is there. False: the client is not any more.
    ///
    /// Ten bytes behind two always fit into a socket that has sent nothing else, so this need not wait.
    pub(super) fn tell_connected(self, stream: &TcpStream) -> bool {
        self.tell(ConnectOutcome::Connected, stream)
    }

    /// The target is not there. The client has to be [listened to](listen_on) for a while, if there is time.
    pub(super) fn tell_failed(self, failure: ConnectFailure, stream: &TcpStream) {
        self.tell(ConnectOutcome::Failed(failure), stream);
    }

    fn tell(mut self, outcome: ConnectOutcome, stream: &TcpStream) -> bool {
        self.handshake.handle_outcome(outcome);
        let mut all_sent = true;
        while let Some(wish) = self.handshake.poll_output() {
            if let SocksWish::Send(bytes) = wish {
                all_sent &= SockRef::from(stream).send(&bytes).is_ok_and(|count| count == bytes.len());
            }
        }
        all_sent
    }
}

/// Reads and drops what a refused client still sends, until it has seen the end: a reset would overtake our reply.
pub(super) async fn listen_on(stream: &mut TcpStream) {
    let mut nowhere = [0; LOOK];
    let farewell = async {
        stream.shutdown().await?;
        while stream.read(&mut nowhere).await? > 0 {}
        io::Result::Ok(())
    };
    // However it ends, the socket is closed next.
    drop(tokio::time::timeout(FAREWELL_TIME, farewell).await);
}
