//! TLS over TCP, for networks that let no UDP through, with many streams on it (yamux). What one stream's reader leaves unread holds up
//! that stream alone; a lost packet holds up all of them, which is why this is the second choice.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use adit_core::mesh::PublicKey;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tokio_util::sync::CancellationToken;
use yamux::{Config, Connection, ConnectionError, Mode};

use super::MAX_STREAMS;
use crate::stream::{self, Receiver, Sender};
use crate::tls;

/// Streams that the other side has opened and nobody has taken up yet; a stream beyond is refused.
const WAITING: usize = 1024;

/// Streams of one who is not known to be a member yet: the one for the first messages, and some that a member opens as soon as it
/// knows us, which may be before we know it.
const MAX_STRANGE_STREAMS: usize = 64;

/// The streams of one TCP connection. Cloning is cheap; the connection ends with [`close`](Self::close).
#[derive(Clone)]
pub(crate) struct Mux(Arc<Shared>);

struct Shared {
    peer: Option<PublicKey>,
    address: SocketAddr,
    open: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    opened: Mutex<mpsc::Receiver<yamux::Stream>>,
    /// For streams that this side opens: the other side ends the whole connection when there are too many.
    places: Arc<Semaphore>,
    is_trusted: Arc<AtomicBool>,
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
        // As for QUIC: one stream that is not read must not hold up the others.
        config.set_max_connection_receive_window(None);
        // Those of both sides, and as many that one side has ended and the other has not heard of.
        config.set_max_num_streams(4 * MAX_STREAMS as usize);
        let connection = Connection::new(tls.compat(), config, mode);
        let (open, wanted) = mpsc::channel(WAITING);
        let (put, opened) = mpsc::channel(WAITING);
        let places = Arc::new(Semaphore::new(MAX_STREAMS as usize));
        let (over, is_trusted) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let driver = Driver {
            connection,
            wanted,
            waiting: VecDeque::new(),
            put,
            strange_streams: 0,
            is_trusted: Arc::clone(&is_trusted),
        };
        let ends = over.clone();
        // Owned by the token: whoever closes the connection ends the task, and the task's end is the connection's.
        tokio::spawn(async move {
            let ending = ends.clone().drop_guard();
            driver.run(ends).await;
            drop(ending);
        });
        Mux(Arc::new(Shared { peer, address, open, opened: Mutex::new(opened), places, is_trusted, over }))
    }

    /// The other side is a member: from now on it may open as many streams as there are.
    pub(super) fn trust(&self) {
        self.0.is_trusted.store(true, Ordering::Release);
    }

    /// Waits while there are too many, as QUIC does.
    pub(super) async fn open(&self) -> io::Result<(Sender, Receiver)> {
        let place = Arc::clone(&self.0.places).acquire_owned().await.map_err(io::Error::other)?;
        let (put, opened) = oneshot::channel();
        self.0.open.send(put).await.map_err(|_| io::ErrorKind::NotConnected)?;
        let stream = opened.await.map_err(|_| io::ErrorKind::NotConnected)?;
        Ok(stream::other(Stream { stream: stream.compat(), is_finished: false, _place: Some(place) }))
    }

    pub(super) async fn accept(&self) -> io::Result<(Sender, Receiver)> {
        let stream = self.0.opened.lock().await.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok(stream::other(Stream { stream: stream.compat(), is_finished: false, _place: None }))
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

/// A stream that tells an end from an abort, which look alike to who reads one of yamux.
struct Stream {
    stream: Compat<yamux::Stream>,
    is_finished: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let has_ended = buffer.filled().len() == before && buffer.remaining() > 0;
        // Closed in both directions, although we have not closed ours.
        if has_ended && !self.is_finished && self.stream.get_ref().is_closed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.is_finished = true;
        Poll::Ready(Ok(()))
    }
}

/// Moves a connection on: all of its reading and writing happens here.
struct Driver {
    connection: Connection<Compat<TlsStream<TcpStream>>>,
    wanted: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
    waiting: VecDeque<oneshot::Sender<yamux::Stream>>,
    put: mpsc::Sender<yamux::Stream>,
    /// Opened before the other side was known to be a member.
    strange_streams: usize,
    is_trusted: Arc<AtomicBool>,
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
                // Refuses that one.
                Poll::Ready(Err(ConnectionError::TooManyStreams)) => drop(self.waiting.pop_front()),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        loop {
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    if !self.is_trusted.load(Ordering::Acquire) {
                        self.strange_streams += 1;
                        if self.strange_streams > MAX_STRANGE_STREAMS {
                            return Poll::Ready(());
                        }
                    }
                    // Dropped where too many wait: that refuses it.
                    drop(self.put.try_send(stream));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
