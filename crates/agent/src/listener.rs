//! A local port: bound when its tunnel starts, closed when it stops. Between, it is served by whichever link the tunnel has;
//! while there is none, whoever comes is turned away at once, and nobody else gets the port.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use adit_core::{LocalListen, Target};
use adit_net::listen::{self, Ipv6};
use adit_net::socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::link::Lane;

/// SOCKS clients on their way in: far more than programs have that say at once what they want.
const MAX_UNDECIDED: usize = 512;

/// Where whoever comes in is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Towards {
    /// All to one target.
    Target(Target),
    /// Each says where, in SOCKS 5.
    Socks,
}

/// A local port that accepts. Dropping it closes the port soon, [`close`](Self::close) at once.
#[derive(Debug)]
pub struct LocalListener {
    address: SocketAddr,
    lane: watch::Sender<Option<Arc<Lane>>>,
    task: AbortOnDropHandle<()>,
}

impl LocalListener {
    /// Binds and accepts, at exactly the address asked for.
    ///
    /// # Errors
    /// What the system says: mostly that the port is in use.
    pub fn bind(listen: LocalListen, towards: Towards) -> io::Result<Self> {
        let listener = listen::bind(listen.address.with_port(listen.port), Ipv6::Only)?;
        let address = listener.local_addr()?;
        let (lane, followed) = watch::channel(None);
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, towards, followed)));
        Ok(Self { address, lane, task })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, who comes in is carried by this lane; `None`: by nobody.
    pub fn set_lane(&self, lane: Option<Arc<Lane>>) {
        self.lane.send_replace(lane);
    }

    /// Closes the port. It is free when this returns; connections that are carried already are their lane's.
    pub async fn close(self) {
        let Self { lane, task, .. } = self;
        drop(lane);
        // It ends because its orders end; there is nothing it could report.
        drop(task.await);
    }
}

async fn accept(listener: TcpListener, towards: Towards, mut lane: watch::Receiver<Option<Arc<Lane>>>) {
    let mut undecided = Undecided::default();
    let mut exhaustion = listen::Exhaustion::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            closed = closed(&mut lane) => return closed,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(lane_now) = lane.borrow().clone() else {
                    socket::reset(stream);
                    continue;
                };
                match &towards {
                    Towards::Target(target) => tokio::select! {
                        carried = lane_now.carry(stream, from, target) => drop(carried),
                        closed = closed(&mut lane) => return closed,
                    },
                    Towards::Socks => undecided.take(serve_socks(lane_now, stream, from)),
                }
            }
            Err(error) if listen::is_exhausted(&error) => {
                let pause = exhaustion.pause("connections", &error, Instant::now());
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    closed = closed(&mut lane) => return closed,
                }
            }
            // About the one connection only, which is gone.
            Err(error) => tracing::debug!(%error, "a connection ended before it was accepted"),
        }
    }
}

/// SOCKS clients that have not yet said what they want, or wait for room on the link; the oldest first. Dropping it cuts them.
///
/// Whoever says nothing is served worst: when all places are taken, the oldest makes room for who comes, so that clients which stay
/// silent, or a program that opens connections for nothing, keep nobody out.
#[derive(Default)]
struct Undecided(VecDeque<AbortOnDropHandle<()>>);

impl Undecided {
    fn take(&mut self, client: impl Future<Output = ()> + Send + 'static) {
        // Most have gone in the order in which they came.
        while self.0.front().is_some_and(AbortOnDropHandle::is_finished) {
            self.0.pop_front();
        }
        if self.0.len() >= MAX_UNDECIDED {
            self.0.retain(|client| !client.is_finished());
        }
        if self.0.len() >= MAX_UNDECIDED {
            self.0.pop_front();
        }
        self.0.push_back(AbortOnDropHandle::new(tokio::spawn(client)));
    }
}

async fn serve_socks(lane: Arc<Lane>, stream: TcpStream, from: SocketAddr) {
    if let Err(error) = lane.serve_socks(stream, from).await {
        tracing::info!(client = %from, "{error}");
    }
}

/// Ready when the port is to be closed.
async fn closed(lane: &mut watch::Receiver<Option<Arc<Lane>>>) {
    while lane.changed().await.is_ok() {}
}
