//! A link at work: its control stream in both directions, and the circuits that the other side opens on it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::mesh::{Frame, MAX_FRAME, Pace};
use tokio::sync::{Semaphore, mpsc};

use crate::circuit;
use crate::handshake::Greeted;
use crate::hub::{Hub, Link};
use crate::stream::{Receiver, Sender};
use crate::transport::{KEEPALIVE, MAX_STREAMS, SILENCE, Transport};

/// Answers that wait to be sent.
const ANSWERS: usize = 16;

/// What a message and a digest of the other side cost it: 1,000 and one of them in a second, and as many as a large mesh has ahead. Each
/// record is a signature to look at, each digest all records.
const MESSAGE_COST: Duration = Duration::from_millis(1);
const DIGEST_COST: Duration = Duration::from_secs(1);
const AHEAD: Duration = Duration::from_secs(20);

/// The last messages may take so long to be acknowledged.
const GOODBYE: Duration = Duration::from_millis(500);

/// Serves a link until it ends; answers why it did.
pub(crate) async fn serve(hub: Arc<Hub>, greeted: Greeted) -> String {
    let Greeted { link, send, recv } = greeted;
    tracing::info!(peer = %link.peer.name(), address = %link.transport.address(), carrier = ?link.transport.carrier(), "link up");
    let (answers, to_send) = mpsc::channel(ANSWERS);
    let why = tokio::select! {
        why = link.transport.closed() => why,
        () = link.over.cancelled() => link.why_cut().to_string(),
        ended = write(&hub, &link, send, to_send) => told(&link, ended),
        ended = receive(&hub, &link, recv, answers) => ended,
        ended = accept(&hub, &link) => told(&link, ended),
        ended = deliver(&hub, &link) => told(&link, ended),
    };
    link.over.cancel();
    link.transport.close(link.why_cut());
    hub.forget(&link);
    tracing::info!(peer = %link.peer.name(), %why, "link down");
    why
}

fn told(link: &Link, ended: io::Result<()>) -> String {
    ended.map_or_else(|error| broken(link, &error), |()| "it has ended".to_owned())
}

/// Whoever meets the end of a connection first knows no more than that it is lost.
fn broken(link: &Link, error: &io::Error) -> String {
    link.transport.why_lost().unwrap_or_else(|| error.to_string())
}

/// Sends what the node has for the other side, and a sign of life where the transport has none of its own.
async fn write(hub: &Hub, link: &Link, mut send: Sender, mut answers: mpsc::Receiver<Frame>) -> io::Result<()> {
    let mut tick = tokio::time::interval(KEEPALIVE);
    loop {
        while let Some(frame) = hub.next_frame(link) {
            put(hub, &mut send, &frame).await?;
        }
        tokio::select! {
            () = link.wake.notified() => {}
            () = hub.ending.cancelled() => return say_goodbye(hub, link, send).await,
            answer = answers.recv() => match answer {
                Some(answer) => put(hub, &mut send, &answer).await?,
                None => return Ok(()),
            },
            _ = tick.tick() => {
                hub.change(|state| state.node.handle_rtt(link.peer.id(), link.transport.rtt(), Instant::now()));
                if let Some(number) = link.transport.ping() {
                    put(hub, &mut send, &Frame::Ping(number)).await?;
                }
            }
        }
    }
}

/// What was still to be told arrives before the link is closed.
async fn say_goodbye(hub: &Hub, link: &Link, mut send: Sender) -> io::Result<()> {
    let last = async {
        while let Some(frame) = hub.next_frame(link) {
            put(hub, &mut send, &frame).await?;
        }
        send.finish().await?;
        send.arrived().await;
        Ok(())
    };
    tokio::time::timeout(GOODBYE, last).await.unwrap_or(Ok(()))
}

async fn put(hub: &Hub, send: &mut Sender, frame: &Frame) -> io::Result<()> {
    let bytes = frame.encode();
    hub.counters.control_out.add(bytes.len() as u64);
    send.write_all(&bytes).await
}

async fn receive(hub: &Hub, link: &Link, mut recv: Receiver, answers: mpsc::Sender<Frame>) -> String {
    // QUIC has its own ear; over TCP any byte of this stream is a sign of life, and there is one each two seconds.
    let patience = match link.transport {
        Transport::Quic(_) => Duration::MAX,
        Transport::Tcp(_) => SILENCE + KEEPALIVE,
    };
    let mut pace = Pace::new(Instant::now());
    loop {
        let message = match recv.read_frame(MAX_FRAME, patience).await {
            Ok(message) => message,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::UnexpectedEof => "the other agent has ended the link".to_owned(),
                    io::ErrorKind::TimedOut => "the other agent was silent for too long".to_owned(),
                    _ => broken(link, &error),
                };
            }
        };
        hub.counters.control_in.add(message.len() as u64);
        let answer = match Frame::decode(&message) {
            // Who has the smaller id takes the link up first, and hears only then that the other side does not.
            Ok(Frame::Refused(why)) => {
                link.cut(why);
                return why.to_string();
            }
            Ok(frame) => {
                let cost = match frame {
                    Frame::Digest(_) => DIGEST_COST,
                    _ => MESSAGE_COST,
                };
                let wait = pace.take(cost, AHEAD, Instant::now());
                // A sleep of no length lasts until the next millisecond. But what is there already is no reason to leave the others of
                // this link waiting.
                if wait.is_zero() {
                    tokio::task::consume_budget().await;
                } else {
                    tokio::time::sleep(wait).await;
                }
                hub.handle_frame(link, frame)
            }
            Err(error) => return error.to_string(),
        };
        // Never waited for: two agents that wait for each other to read would wait for ever.
        if answer.is_some_and(|answer| answers.try_send(answer).is_err()) {
            return "the other agent asks faster than it reads".to_owned();
        }
    }
}

/// Takes the datagrams that come over the link.
async fn deliver(hub: &Hub, link: &Link) -> io::Result<()> {
    loop {
        if !link.lanes.deliver(link.transport.datagram().await?) {
            hub.counters.datagrams_lost.add(1);
        }
        // What is there already is taken without waiting, and the others of this link would never have their turn.
        tokio::task::consume_budget().await;
    }
}

/// Takes the circuits that the other side opens. One beyond the bound waits unanswered in the transport, whose own bound is the same.
async fn accept(hub: &Arc<Hub>, link: &Arc<Link>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_STREAMS as usize));
    loop {
        let (send, recv) = link.transport.accept().await?;
        let place = Arc::clone(&places).try_acquire_owned();
        let (hub, link) = (Arc::clone(hub), Arc::clone(link));
        // Each ends with its streams, which end with the transport; a connection that ends here may go on over another link.
        hub.tasks.clone().spawn(async move { circuit::accept(&hub, &link, send, recv, place).await });
        tokio::task::consume_budget().await;
    }
}
