//! TLS over TCP, for networks that let no UDP through, with many streams on it (yamux). What one stream's reader leaves unread holds up
//! that stream alone; a lost packet holds up all of them, which is why this is the second choice.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_core::mesh::PublicKey;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tokio_util::sync::CancellationToken;
use yamux::{Config, Connection, Mode};

use super::MAX_STREAMS;
use crate::stream::{self, Receiver, Sender};
use crate::tls;

/// Streams that the other side has opened and nobody has taken up yet; a stream beyond is refused.
const WAITING: usize = 1024;

/// The streams of one TCP connection. Cloning is cheap; the connection ends with [`close`](Self::close).
#[derive(Clone)]
pub(crate) struct Mux(Arc<Shared>);

struct Shared {
    peer: Option<PublicKey>,
    address: SocketAddr,
    open: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    opened: Mutex<mpsc::Receiver<yamux::Stream>>,
    /// The connection has ended, or shall.
    over: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

/// What both sides of TLS need.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) acceptor: TlsAcceptor,
}

impl Tls {
    pub(crate) fn new(identity: &crate::keys::SigningKey) -> io::Result<Tls> {
        let (client, server) = tls::configs(identity).map_err(io::Error::other)?;
        Ok(Tls { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }

    /// Connects; ends when it is dropped.
    pub(crate) async fn connect(&self, address: SocketAddr) -> io::Result<Mux> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(tls::NAME).map_err(io::Error::other)?;
        let tls = self.connector.connect(name, socket).await?;
        Ok(Mux::start(tls.into(), address, Mode::Client))
    }

    /// Takes a connection.
    pub(crate) async fn accept(&self, socket: TcpStream, address: SocketAddr) -> io::Result<Mux> {
        socket.set_nodelay(true)?;
        let tls = self.acceptor.accept(socket).await?;
        Ok(Mux::start(tls.into(), address, Mode::Server))
    }
}

impl Mux {
    fn start(tls: TlsStream<TcpStream>, address: SocketAddr, mode: Mode) -> Mux {
        let peer = tls::peer_key(tls.get_ref().1.peer_certificates());
        let mut config = Config::default();
        config.set_max_num_streams(MAX_STREAMS as usize);
        // As for QUIC: one stream that is not read must not hold up the others.
        config.set_max_connection_receive_window(None);
        let connection = Connection::new(tls.compat(), config, mode);
        let (open, wanted) = mpsc::channel(WAITING);
        let (put, opened) = mpsc::channel(WAITING);
        let over = CancellationToken::new();
        let driver = Driver { connection, wanted, waiting: VecDeque::new(), put };
        let ends = over.clone();
        // Owned by the token: whoever closes the connection ends the task, and the task's end is the connection's.
        tokio::spawn(async move {
            let ending = ends.clone().drop_guard();
            driver.run(ends).await;
            drop(ending);
        });
        Mux(Arc::new(Shared { peer, address, open, opened: Mutex::new(opened), over }))
    }

    pub(super) async fn open(&self) -> io::Result<(Sender, Receiver)> {
        let (put, opened) = oneshot::channel();
        self.0.open.send(put).await.map_err(|_| io::ErrorKind::NotConnected)?;
        Ok(stream::other(opened.await.map_err(|_| io::ErrorKind::NotConnected)?.compat()))
    }

    pub(super) async fn accept(&self) -> io::Result<(Sender, Receiver)> {
        let stream = self.0.opened.lock().await.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok(stream::other(stream.compat()))
    }

    pub(super) fn close(&self) {
        self.0.over.cancel();
    }

    pub(super) async fn closed(&self) -> String {
        self.0.over.cancelled().await;
        "the connection has ended".to_owned()
    }

    pub(super) fn peer_key(&self) -> Option<PublicKey> {
        self.0.peer
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// Moves a connection on: all of its reading and writing happens here.
struct Driver {
    connection: Connection<Compat<TlsStream<TcpStream>>>,
    wanted: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
    waiting: VecDeque<oneshot::Sender<yamux::Stream>>,
    put: mpsc::Sender<yamux::Stream>,
}

impl Driver {
    async fn run(mut self, over: CancellationToken) {
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            () = poll_fn(|cx| self.poll(cx)) => {}
        }
        // What was sent is on its way when this returns, or will never be.
        let _ = tokio::time::timeout(super::KEEPALIVE, poll_fn(|cx| self.connection.poll_close(cx))).await;
    }

    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some(wanted)) = self.wanted.poll_recv(cx) {
            self.waiting.push_back(wanted);
        }
        while !self.waiting.is_empty() {
            match self.connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => {
                    // Nobody waits for it any more, then.
                    let _ = self.waiting.pop_front().map(|wanted| wanted.send(stream));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        loop {
            match self.connection.poll_next_inbound(cx) {
                // Dropped where too many wait: that refuses it.
                Poll::Ready(Some(Ok(stream))) => drop(self.put.try_send(stream)),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
