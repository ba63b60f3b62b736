//! A circuit on its way through: bytes that nobody here can read, from one stream into another, both ways.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_core::mesh::{Answer, CircuitRefused, Open, Protocol, TRY_TIME};
use adit_net::storage;
use tokio_util::sync::CancellationToken;

use super::{lane_for, refuse};
use crate::counters::{Active, Counter};
use crate::flow::{self, Beside};
use crate::hub::{Hub, Link};
use crate::stall::Stall;
use crate::stream::{Receiver, Sender};
use crate::turn::Turn;

/// A link with no place for another stream says so by not giving one.
const OPEN_TIME: Duration = Duration::from_millis(500);
/// Whoever asked waits no longer for an answer, nor for the stream of a link over TCP, which gives none while 256 of them have no answer.
const ANSWER_TIME: Duration = TRY_TIME;

pub(super) async fn serve(hub: &Arc<Hub>, from: &Arc<Link>, mut open: Open, mut send: Sender, mut recv: Receiver) {
    if !hub.me.rights().transit {
        return refuse(hub, &open, send, CircuitRefused::NoTransit).await;
    }
    let next = open.hops.remove(0);
    let Some(link) = hub.link(next) else {
        return refuse(hub, &open, send, CircuitRefused::NoLink).await;
    };
    let opened = tokio::select! {
        opened = open_on(&link) => opened,
        () = recv.given_up() => return,
    };
    let (mut on, mut back) = match opened {
        Ok(stream) => stream,
        Err(why) => return refuse(hub, &open, send, why).await,
    };
    // Datagrams come back as soon as the endpoint's agent has answered: their lane is there before.
    let lane = lane_for(&open, &link, &on);
    if on.write_all(&open.encode()).await.is_err() {
        return refuse(hub, &open, send, CircuitRefused::NoLink).await;
    }
    let _counted = Active::new(&hub.counters.transits);
    // Nothing goes the other way before the answer, but word that nobody waits for it any more.
    let answered = tokio::select! {
        answered = tokio::time::timeout(ANSWER_TIME, pass_answer(&mut back, &mut send)) => answered,
        () = recv.given_up() => return,
    };
    if !matches!(answered, Ok(Ok(()))) {
        return;
    }
    if open.protocol == Protocol::Udp {
        let one = Beside { lane: lane_for(&open, from, &send), send, recv };
        let other = Beside { send: on, recv: back, lane };
        return tokio::select! {
            () = flow::pass(one, other, &hub.counters) => {}
            // Nobody says when datagrams have come to their end; they find another way at once.
            () = hub.leaving.cancelled() => {}
        };
    }
    let cut = CancellationToken::new();
    let way = |from, to| Way { from, to, stall: hub.stalls.add(&cut), held: None, has_ended: false, is_done: false };
    let (mut there, mut and_back) = (way(recv, on), way(back, send));
    let bytes = &hub.counters.transit_bytes;
    // What is left when one way breaks is dropped, which both neighbours see as an abort.
    let carried = poll_fn(|cx| {
        let ends = [there.poll(cx, bytes), and_back.poll(cx, bytes)];
        if ends.contains(&Poll::Ready(Err(Aborted))) {
            return Poll::Ready(Err(Aborted));
        }
        if there.is_done && and_back.is_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    if cut.run_until_cancelled(carried).await == Some(Ok(())) {
        // A link that is closed before lets fall what is on its way.
        tokio::join!(there.to.arrived(), and_back.to.arrived());
    } else {
        tracing::debug!(circuit = %open.circuit, "a circuit on its way through broke");
    }
    for (storage, ..) in [there.held.take(), and_back.held.take()].into_iter().flatten() {
        storage::give_back(storage);
    }
}

/// A stream to the next agent, from a link that has a place for one.
async fn open_on(link: &Link) -> Result<(Sender, Receiver), CircuitRefused> {
    let mut opens = pin!(link.transport.open());
    let opened = match tokio::time::timeout(OPEN_TIME, &mut opens).await {
        Err(_) if !link.transport.is_full() => tokio::time::timeout(ANSWER_TIME, opens).await,
        opened => opened,
    };
    opened.map_err(|_| CircuitRefused::Full)?.map_err(|_| CircuitRefused::NoLink)
}

/// Passes on what the endpoint's agent, or one on the way, has answered.
async fn pass_answer(from: &mut Receiver, to: &mut Sender) -> std::io::Result<()> {
    let answer = from.read_block(Answer::MAX_LENGTH).await?;
    let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), &*answer].concat()).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aborted;

/// One direction.
struct Way {
    from: Receiver,
    to: Sender,
    stall: Arc<Stall>,
    /// Read and not yet written: where in its storage. It is lent while bytes flow.
    held: Option<(Vec<u8>, usize, usize)>,
    has_ended: bool,
    is_done: bool,
}

impl Way {
    fn poll(&mut self, cx: &mut Context<'_>, bytes: &Counter) -> Poll<Result<(), Aborted>> {
        let mut turn = Turn::new();
        while !self.is_done {
            if let Some((storage, at, end)) = &mut self.held
                && at < end
            {
                let Poll::Ready(written) = self.to.poll_write(cx, &storage[*at..*end]) else {
                    self.stall.handle_full();
                    return Poll::Pending;
                };
                let written = written.map_err(|_| Aborted)?;
                if written == 0 {
                    return Poll::Ready(Err(Aborted));
                }
                self.stall.handle_taken();
                *at += written;
                bytes.add(written as u64);
                turn.spend(written);
                continue;
            }
            if self.has_ended {
                // Whoever has had all of it may be gone already; what is still to come the other way is not lost for that.
                let _ = ready!(self.to.poll_finish(cx));
                self.is_done = true;
                continue;
            }
            let (mut storage, ..) = self.held.take().unwrap_or_else(|| (storage::lend_circuit(), 0, 0));
            let read = match turn.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => self.from.poll_read(cx, &mut storage),
            };
            match read {
                Poll::Pending => {
                    storage::give_back(storage);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => {
                    storage::give_back(storage);
                    self.has_ended = true;
                }
                Poll::Ready(Ok(read)) => self.held = Some((storage, 0, read)),
                Poll::Ready(Err(_)) => {
                    storage::give_back(storage);
                    return Poll::Ready(Err(Aborted));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Instant;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::stall::Stalls;
    use crate::stream;
    use crate::turn::TURN;

    const MUCH: usize = 1024 * 1024;

    #[tokio::test]
    async fn what_passes_lets_others_have_their_turn() {
        let stall = Stalls::new(Instant::now()).add(&CancellationToken::new());
        let ((mut sender, came), (goes, _reader)) = (tokio::io::duplex(MUCH), tokio::io::duplex(MUCH));
        sender.write_all(&vec![7; MUCH]).await.unwrap();
        let (from, to) = (stream::other(came).1, stream::other(goes).0);
        let mut way = Way { from, to, stall, held: None, has_ended: false, is_done: false };
        let (passed, mut at_a_time) = (Counter::default(), Vec::new());
        while passed.get() < MUCH as u64 {
            let before = passed.get();
            assert_eq!(way.poll(&mut Context::from_waker(Waker::noop()), &passed), Poll::Pending);
            at_a_time.push(passed.get() - before);
        }
        let most = (TURN + storage::CIRCUIT_SIZE) as u64;
        assert!(at_a_time.iter().all(|bytes| (1..=most).contains(bytes)), "{at_a_time:?}");
    }
}
