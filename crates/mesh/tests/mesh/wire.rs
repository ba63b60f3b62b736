//! A wire of the story's own between two agents, over UDP and TCP: it can be frozen, so that both ends hear nothing more and are told
//! nothing, it can be slow or long, and it can let TCP alone through.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::mesh::Pace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

/// What agents dial in the place of another agent.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    frozen: watch::Sender<bool>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Wire {
    /// Everything passes.
    pub(crate) async fn to(agent: SocketAddr) -> Wire {
        Wire::with_pace(agent, Duration::ZERO).await
    }

    /// So many bytes of datagrams pass in a second towards the agent; what comes faster waits, and is lost where that is too much.
    pub(crate) async fn slow(agent: SocketAddr, rate: u32) -> Wire {
        Wire::with_pace(agent, Duration::from_secs(1) / rate).await
    }

    /// Each byte of a datagram takes so long.
    async fn with_pace(agent: SocketAddr, a_byte: Duration) -> Wire {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // Another process may have the port over UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let mut wire = Wire::over_tcp(tcp, agent, Duration::ZERO);
        let frozen = wire.frozen.subscribe();
        wire._tasks.push(AbortOnDropHandle::new(tokio::spawn(datagrams(Arc::new(udp), agent, frozen, a_byte))));
        wire
    }

    /// No datagram passes.
    pub(crate) async fn tcp_only(agent: SocketAddr) -> Wire {
        Wire::tcp_only_after(agent, Duration::ZERO).await
    }

    /// No datagram passes, and all else takes so long each way.
    pub(crate) async fn tcp_only_after(agent: SocketAddr, delay: Duration) -> Wire {
        Wire::over_tcp(TcpListener::bind("127.0.0.1:0").await.unwrap(), agent, delay)
    }

    fn over_tcp(socket: TcpListener, agent: SocketAddr, delay: Duration) -> Wire {
        let (address, frozen) = (socket.local_addr().unwrap(), watch::Sender::new(false));
        let task = tokio::spawn(connections(socket, agent, frozen.subscribe(), delay));
        Wire { address, frozen, _tasks: vec![AbortOnDropHandle::new(task)] }
    }

    /// From now on nothing passes, or everything again.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.frozen.send_replace(is_frozen);
    }
}

async fn datagrams(front: Arc<UdpSocket>, agent: SocketAddr, frozen: watch::Receiver<bool>, a_byte: Duration) {
    /// Timers are no finer. The socket holds what comes while one waits.
    const AHEAD: Duration = Duration::from_millis(1);
    let mut pace = Pace::new(Instant::now());
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, AbortOnDropHandle<()>)> = HashMap::new();
    let mut datagram = vec![0; 65_536];
    loop {
        let Ok((length, from)) = front.recv_from(&mut datagram).await else { continue };
        let back = match clients.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(agent).await.unwrap();
                let answers = answers(Arc::clone(&back), Arc::clone(&front), from, frozen.clone());
                new.insert((back, AbortOnDropHandle::new(tokio::spawn(answers))))
            }
        };
        if !*frozen.borrow() {
            let cost = a_byte * u32::try_from(length).unwrap();
            tokio::time::sleep(pace.take(cost, AHEAD, Instant::now())).await;
            // Nobody is there any more, perhaps: a wire does not care.
            let _ = back.0.send(&datagram[..length]).await;
        }
    }
}

async fn answers(back: Arc<UdpSocket>, front: Arc<UdpSocket>, to: SocketAddr, frozen: watch::Receiver<bool>) {
    let mut datagram = vec![0; 65_536];
    loop {
        // An error is of the datagram before.
        let Ok(length) = back.recv(&mut datagram).await else { continue };
        if !*frozen.borrow() {
            let _ = front.send_to(&datagram[..length], to).await;
        }
    }
}

async fn connections(socket: TcpListener, agent: SocketAddr, frozen: watch::Receiver<bool>, delay: Duration) {
    let mut carried = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = socket.accept().await else { continue };
        let frozen = frozen.clone();
        carried.spawn(async move {
            let Ok(server) = TcpStream::connect(agent).await else { return };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let there = carry(from_client, to_server, frozen.clone(), delay);
            tokio::join!(there, carry(from_server, to_client, frozen, delay));
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>, delay: Duration) {
    /// Pieces on their way.
    const ON_THE_WAY: usize = 64;
    let (put, mut pieces) = mpsc::channel(ON_THE_WAY);
    let takes = async move {
        let mut piece = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            if put.send((Instant::now() + delay, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let gives = async move {
        while let Some((due, piece)) = pieces.recv().await {
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            // The end of the story is the end of the wire.
            let Ok(_) = frozen.wait_for(|is_frozen| !is_frozen).await else { return };
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(takes, gives);
}
