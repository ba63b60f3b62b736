//! Notices that this machine's network changed: a cable or an access point, an address, a route. What changed is of no interest here,
//! since whoever asks looks at its own connections then. An address or a route that only lives on for longer has not changed.
//!
//! The kernel tells it by rtnetlink(7) to whoever listens, without any rights. Other systems have other ways; there nothing is told.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
mod rtnetlink;
#[cfg(target_os = "linux")]
use rtnetlink::Socket;

/// A change seldom comes alone: a new address brings its routes.
const SETTLE: Duration = Duration::from_secs(1);

/// Tells of changes from when it was opened.
#[derive(Debug)]
pub struct NetworkChanges(Socket);

impl NetworkChanges {
    /// Begins to listen. Takes a tokio runtime with I/O.
    ///
    /// # Errors
    /// What the system says: no descriptors, or no such socket in this container.
    pub fn open() -> io::Result<NetworkChanges> {
        Socket::open().map(NetworkChanges)
    }

    /// Waits until something has changed, and a second longer for what comes along with it. Dropped while it waits, it may forget a
    /// change.
    ///
    /// # Errors
    /// The system's; nothing more will be told.
    pub async fn next(&mut self) -> io::Result<()> {
        self.0.change().await?;
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                more = self.0.change() => more?,
                () = &mut settled => return Ok(()),
            }
        }
    }
}

/// Hears nothing.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Socket;

#[cfg(not(target_os = "linux"))]
impl Socket {
    fn open() -> io::Result<Socket> {
        Ok(Socket)
    }

    async fn change(&mut self) -> io::Result<()> {
        std::future::pending().await
    }
}
