//! Datagrams over a circuit: sealed each for itself, sent as datagrams of each link where they fit, and through the circuit's stream
//! where they do not or the link has none. None waits for another but in that stream; what finds no room is lost, as it would be on any
//! network.
//!
//! A message of the stream is one datagram, or one of the messages with which every circuit begins.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use adit_core::mesh::Flow;
use adit_net::storage;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::counters::{Counter, Counters, KeyCounters};
use crate::lane::{Lane, NAME, Way};
use crate::noise::{DatagramSession, Kind, NotTaken};
use crate::pump::Circuit;
use crate::stream::{Receiver, Sender};

/// The longest datagram of UDP over IPv4 (RFC 768). IPv6 has some that are 20 bytes longer, and nobody who sends them.
pub(crate) const MAX_DATAGRAM: usize = 65_507;
const _: () = assert!(MAX_DATAGRAM + 1 < storage::CIRCUIT_SIZE, "one fits into lent storage");

/// Messages that wait for a stream to take them.
const QUEUE: usize = 16;
/// So many datagrams are sent before others have their turn.
const TURN: usize = 8;
/// The longest there is behind its length of two bytes.
const MAX_MESSAGE: usize = u16::MAX as usize;

/// Where datagrams come from and go to at one end: a target, or one client of a listener.
pub(crate) trait Local: Sync {
    /// Waits until there may be one.
    ///
    /// # Errors
    /// There will be none any more.
    fn ready(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Takes the next one, if there is one.
    fn take(&self, buffer: &mut [u8]) -> Option<usize>;

    /// Sends one, which may be lost.
    fn put(&self, datagram: &[u8]) -> impl Future<Output = ()> + Send;
}

/// The listener's agent knows when a flow has come to its end.
pub(crate) type Clock = Option<Arc<Mutex<Flow>>>;

/// Carries datagrams until the circuit breaks, the flow has come to its end, or nothing more comes from here.
pub(crate) async fn carry(circuit: Circuit, local: &impl Local, counters: (&KeyCounters, &Counters), clock: Clock) {
    let Circuit { send, mut recv, session, lane } = circuit;
    let session = session.into_datagrams();
    let end = End { session, local, of_key: counters.0, of_agent: counters.1, clock };
    let (queue, queued) = mpsc::channel(QUEUE);
    let way = lane.as_ref().map(Lane::way);
    tokio::select! {
        () = end.send_all(way.as_ref(), &queue) => {}
        _ = write(send, queued) => {}
        () = end.take_streamed(&mut recv) => {}
        () = end.take_datagrams(lane) => {}
        () = end.run_out() => {}
    }
}

struct End<'a, L> {
    session: DatagramSession,
    local: &'a L,
    of_key: &'a KeyCounters,
    of_agent: &'a Counters,
    clock: Clock,
}

impl<L: Local> End<'_, L> {
    async fn send_all(&self, way: Option<&Way>, queue: &mpsc::Sender<Vec<u8>>) {
        let mut since_turn = 0;
        while self.local.ready().await.is_ok() {
            let mut storage = storage::lend_circuit();
            // One more, so that a longer one is seen.
            let taken = self.local.take(&mut storage[1..][..=MAX_DATAGRAM]);
            if taken.is_some_and(|taken| taken > MAX_DATAGRAM) {
                storage::give_back(storage);
                self.of_agent.datagrams_lost.add(1);
                continue;
            }
            let sealed = taken.map(|taken| (taken, self.session.seal(Kind::Data, &mut storage[..=taken], NAME)));
            storage::give_back(storage);
            match sealed {
                None => {}
                Some((taken, Ok(sealed))) => {
                    self.tell(Flow::handle_sent);
                    self.of_key.bytes_in.add(taken as u64);
                    send(sealed, way, queue, &self.of_agent.datagrams_lost);
                    // Nothing above waits while there is more: the stream's writer, what comes back and whoever ends the flow have their turn.
                    since_turn += 1;
                    if since_turn >= TURN || queue.capacity() == 0 {
                        since_turn = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Some((_, Err(_))) => return,
            }
        }
    }

    async fn take_streamed(&self, recv: &mut Receiver) {
        while let Ok(message) = recv.read_block(MAX_MESSAGE).await {
            self.handle(&message).await;
        }
    }

    async fn take_datagrams(&self, lane: Option<Lane>) {
        match lane {
            None => std::future::pending().await,
            Some(mut lane) => loop {
                let message = lane.next().await;
                self.handle(&message).await;
            },
        }
    }

    /// One that is not genuine, or was here before, is lost and counted (as in DTLS, RFC 6347 §4.1.2.7): whoever passes datagrams on could
    /// as well have lost it.
    async fn handle(&self, message: &[u8]) {
        let mut storage = storage::lend_circuit();
        match self.session.open(message, &mut storage) {
            Ok((Kind::Data, length)) => {
                self.tell(Flow::handle_answered);
                self.of_key.bytes_out.add(length as u64);
                self.local.put(&storage[1..=length]).await;
            }
            Ok(_) => {}
            Err(NotTaken::Tampered) => self.of_agent.tampered.add(1),
            Err(NotTaken::Repeated) => self.of_agent.datagrams_repeated.add(1),
        }
        storage::give_back(storage);
    }

    fn tell(&self, what: impl FnOnce(&mut Flow, Instant)) {
        if let Some(flow) = &self.clock {
            what(&mut flow.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        }
    }

    /// Waits until the flow has come to its end.
    async fn run_out(&self) {
        let Some(flow) = &self.clock else { return std::future::pending().await };
        loop {
            let ends_at = flow.lock().unwrap_or_else(PoisonError::into_inner).ends_at();
            if ends_at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(ends_at.into()).await;
        }
    }
}

/// One side of an agent between: a stream with the lane beside it.
pub(crate) struct Beside {
    pub(crate) send: Sender,
    pub(crate) recv: Receiver,
    pub(crate) lane: Option<Lane>,
}

/// Passes datagrams on in both directions, and the messages of the stream, until one side breaks or both have ended.
pub(crate) async fn pass(one: Beside, other: Beside, counters: &Counters) {
    let (there, back) = (one.lane.as_ref().map(Lane::way), other.lane.as_ref().map(Lane::way));
    // What is left when one direction breaks is dropped, which both neighbours see as an abort.
    let _ = tokio::try_join!(
        pass_one_way(one.recv, one.lane, other.send, back, counters),
        pass_one_way(other.recv, other.lane, one.send, there, counters),
    );
}

async fn pass_one_way(
    recv: Receiver,
    lane: Option<Lane>,
    onward: Sender,
    way: Option<Way>,
    counters: &Counters,
) -> io::Result<()> {
    let (queue, queued) = mpsc::channel(QUEUE);
    let datagrams = pass_datagrams(lane, way, queue.downgrade(), counters);
    let messages =
        async { tokio::try_join!(pass_messages(recv, queue, &counters.transit_bytes), write(onward, queued)) };
    tokio::select! {
        passed = messages => passed.map(drop),
        () = datagrams => Ok(()),
    }
}

/// What is sent through a stream goes on through the next: it is told once and must arrive.
async fn pass_messages(mut recv: Receiver, queue: mpsc::Sender<Vec<u8>>, bytes: &Counter) -> io::Result<()> {
    while let Some(mut message) = recv.read_block_or_end(MAX_MESSAGE).await? {
        bytes.add(message.len() as u64);
        message.splice(0..0, [0; NAME]);
        queue.send(message).await.map_err(|_| io::ErrorKind::NotConnected)?;
    }
    Ok(())
}

/// Ends never: the stream says when it is over.
async fn pass_datagrams(lane: Option<Lane>, way: Option<Way>, queue: mpsc::WeakSender<Vec<u8>>, counters: &Counters) {
    if let Some(mut lane) = lane {
        loop {
            let message: Bytes = lane.next().await;
            counters.transit_bytes.add(message.len() as u64);
            let Some(queue) = queue.upgrade() else { break };
            send([&[0; NAME], &*message].concat(), way.as_ref(), &queue, &counters.datagrams_lost);
        }
    }
    std::future::pending().await
}

/// Sends what is sealed behind [`NAME`] free bytes: as a datagram where it fits, or through the stream if that has room.
fn send(datagram: Vec<u8>, way: Option<&Way>, queue: &mpsc::Sender<Vec<u8>>, lost: &Counter) {
    let sent = match way {
        Some(way) => way.send(datagram),
        None => Err(datagram),
    };
    let is_sent = sent.unwrap_or_else(|datagram| queue.try_send(datagram).is_ok());
    if !is_sent {
        lost.add(1);
    }
}

/// Writes what is queued, each behind its length, and the end once there will be no more.
async fn write(mut send: Sender, mut queued: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(mut message) = queued.recv().await {
        // The length stands where the free bytes end.
        let length = u16::try_from(message.len().saturating_sub(NAME)).map_err(io::Error::other)?;
        let front = NAME - size_of_val(&length);
        if let Some(place) = message.get_mut(front..NAME) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        send.write_all(message.get(front..).unwrap_or_default()).await?;
    }
    send.finish().await
}
