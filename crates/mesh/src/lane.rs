//! Datagrams on a link: each belongs to the circuit whose stream it names, as the datagrams of HTTP/3 do (RFC 9297 §2.1).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::hub::Link;
use crate::stream::Sender;

/// Datagrams of one circuit that wait to be taken; more are lost.
const WAITING: usize = 128;
/// The number of the stream, before what is sealed.
pub(crate) const NAME: usize = 8;

/// The circuits of a link that take datagrams.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<u64, mpsc::Sender<Bytes>>>);

impl Lanes {
    /// Hands on a datagram that has come. `false`: it is lost, because its circuit is not there or has too many already.
    pub(crate) fn deliver(&self, mut datagram: Bytes) -> bool {
        let Some(name) = datagram.first_chunk().copied().map(u64::from_be_bytes) else { return false };
        let message = datagram.split_off(NAME);
        self.lock().get(&name).is_some_and(|lane| lane.try_send(message).is_ok())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::Sender<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes as datagrams for one circuit from one link.
pub(crate) struct Lane {
    way: Way,
    came: mpsc::Receiver<Bytes>,
}

/// Where its datagrams go out.
#[derive(Clone)]
pub(crate) struct Way {
    link: Arc<Link>,
    name: u64,
}

impl Lane {
    /// The one beside a stream. `None` where the link has no datagrams: all goes through the stream then.
    pub(crate) fn beside(link: &Arc<Link>, stream: &Sender) -> Option<Lane> {
        let name = stream.number()?;
        let (put, came) = mpsc::channel(WAITING);
        link.lanes.lock().insert(name, put);
        Some(Lane { way: Way { link: Arc::clone(link), name }, came })
    }

    pub(crate) fn way(&self) -> Way {
        self.way.clone()
    }

    /// Waits for what is sealed in the next one; dropped while it waits, it has lost nothing.
    pub(crate) async fn next(&mut self) -> Bytes {
        match self.came.recv().await {
            Some(message) => message,
            // The link has gone, which the stream tells.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.way.link.lanes.lock().remove(&self.way.name);
    }
}

impl Way {
    /// Sends a datagram whose first [`NAME`] bytes are free. It may be lost on its way; `false`: it is lost here, because too many
    /// wait.
    ///
    /// # Errors
    /// It is longer than the link takes now; it comes back.
    pub(crate) fn send(&self, mut datagram: Vec<u8>) -> Result<bool, Vec<u8>> {
        let transport = &self.link.transport;
        if !transport.takes_datagram(datagram.len()) {
            return Err(datagram);
        }
        if let Some(name) = datagram.first_chunk_mut() {
            *name = self.name.to_be_bytes();
        }
        Ok(transport.send_datagram(datagram.into()))
    }
}
