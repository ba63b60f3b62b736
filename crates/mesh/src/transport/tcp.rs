//! TLS over TCP, for networks that let no UDP through, with many streams on it (yamux). What one stream's reader leaves unread holds up
//! that stream alone; a lost packet holds up all of them, which is why this is the second choice.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use adit_core::mesh::PublicKey;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tokio_util::sync::CancellationToken;
use yamux::{Config, Connection, Mode};

use super::MAX_STREAMS;
use crate::stream::{self, Receiver, Sender};
use crate::tls;

/// Streams that the other side has opened and nobody has taken up yet; a stream beyond is refused.
const WAITING: usize = 1024;

/// Streams of one who is not known to be a member yet: the one for the first messages, and some that a member opens as soon as it
/// knows us, which may be before we know it.
const MAX_STRANGE_STREAMS: usize = 32;

/// Bytes that the windows of a link's streams may grow by, together: 100 ms at 5 Gbit/s.
const SHARED_WINDOW: usize = 64 * 1024 * 1024;

/// As long as a silent link takes to be noticed, with time to spare.
const UNREAD_TIME: Duration = Duration::from_secs(15);

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
    pace: std::sync::Mutex<RoundTrip>,
    /// The connection has ended, or shall.
    over: CancellationToken,
}

/// How long messages take there and back.
struct RoundTrip {
    /// The handshake's until the first question is answered, and smoothed from then on as TCP does (RFC 6298 §2.3).
    time: Duration,
    /// The number of the last question.
    asked: u64,
    /// When it was asked first, until it is answered.
    since: Option<Instant>,
}

impl RoundTrip {
    /// The number of a question: the last one's while that has no answer, which may take longer than from one question to the next.
    fn ask(&mut self, now: Instant) -> u64 {
        if self.since.is_none() {
            self.asked += 1;
            self.since = Some(now);
        }
        self.asked
    }

    fn handle_pong(&mut self, number: u64, now: Instant) {
        if let Some(since) = self.since.take_if(|_| number == self.asked) {
            let time = now.saturating_duration_since(since);
            self.time = if number == 1 { time } else { (7 * self.time + time) / 8 };
        }
    }
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
        let began = Instant::now();
        let tls = self.connector.connect(name, socket).await?;
        Ok(Mux::start(tls.into(), address, Mode::Client, began.elapsed()))
    }

    /// Takes a connection.
    pub(crate) async fn accept(&self, socket: TcpStream, address: SocketAddr) -> io::Result<Mux> {
        socket.set_nodelay(true)?;
        let began = Instant::now();
        let tls = self.acceptor.accept(socket).await?;
        Ok(Mux::start(tls.into(), address, Mode::Server, began.elapsed()))
    }
}

impl Mux {
    /// `rtt` is how long the handshake took, in which a message goes there and one back (RFC 8446 §2).
    fn start(tls: TlsStream<TcpStream>, address: SocketAddr, mode: Mode, rtt: Duration) -> Mux {
        let peer = tls::peer_key(tls.get_ref().1.peer_certificates());
        let mut config = Config::default();
        // Those of both sides, and as many that one side has ended and the other has not heard of.
        let most_streams = 4 * MAX_STREAMS as usize;
        // As for QUIC: one stream that is not read must not hold up the others, so each has its own room at all times; and all together
        // some more, for those that use it.
        config.set_max_connection_receive_window(Some(most_streams * yamux::DEFAULT_CREDIT as usize + SHARED_WINDOW));
        config.set_max_num_streams(most_streams);
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
        let pace = std::sync::Mutex::new(RoundTrip { time: rtt, asked: 0, since: None });
        Mux(Arc::new(Shared { peer, address, open, opened: Mutex::new(opened), places, is_trusted, pace, over }))
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
        Ok(stream::other(Stream::new(stream, Some(place))))
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.places.available_permits() == 0
    }

    pub(super) fn rtt(&self) -> Duration {
        self.pace().time
    }

    pub(super) fn ping(&self) -> u64 {
        self.pace().ask(Instant::now())
    }

    pub(super) fn handle_pong(&self, number: u64) {
        self.pace().handle_pong(number, Instant::now());
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, RoundTrip> {
        self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn accept(&self) -> io::Result<(Sender, Receiver)> {
        let stream = self.0.opened.lock().await.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok(stream::other(Stream::new(stream, None)))
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
    /// There until it is dropped.
    stream: Option<Compat<yamux::Stream>>,
    is_finished: bool,
    place: Option<OwnedSemaphorePermit>,
}

impl Stream {
    fn new(stream: yamux::Stream, place: Option<OwnedSemaphorePermit>) -> Stream {
        Stream { stream: Some(stream.compat()), is_finished: false, place }
    }

    fn inner(&mut self) -> io::Result<Pin<&mut Compat<yamux::Stream>>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn is_closed(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.get_ref().is_closed())
    }
}

impl Drop for Stream {
    /// Of a stream whose own direction has ended, yamux does not tell the other side that it is read no more: who writes would wait for
    /// room for ever. So what comes is read, for as long as a writer may take to hear of it in another way.
    fn drop(&mut self) {
        if self.is_finished
            && !self.is_closed()
            && let (Some(mut stream), Ok(runtime)) = (self.stream.take(), Handle::try_current())
        {
            let place = self.place.take();
            runtime.spawn(async move {
                let mut nowhere = tokio::io::sink();
                // However it ends, it is over.
                let _ = tokio::time::timeout(UNREAD_TIME, tokio::io::copy(&mut stream, &mut nowhere)).await;
                drop(place);
            });
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.inner()?.poll_read(cx, buffer))?;
        let has_ended = buffer.filled().len() == before && buffer.remaining() > 0;
        // Closed in both directions, although we have not closed ours.
        if has_ended && !self.is_finished && self.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.inner()?.poll_shutdown(cx))?;
        self.is_finished = true;
        Poll::Ready(Ok(()))
    }
}

/// The connection has come to its end.
struct Over;

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
        // Streams that end make room for others, which is seen while those that come are taken, and nobody is woken for it.
        loop {
            match self.take(cx).and_then(|()| self.give(cx)) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(Over) => return Poll::Ready(()),
            }
        }
    }

    /// Hands on the streams that the other side has opened.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        loop {
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    if !self.is_trusted.load(Ordering::Acquire) {
                        self.strange_streams += 1;
                        if self.strange_streams > MAX_STRANGE_STREAMS {
                            return Err(Over);
                        }
                    }
                    // Dropped where too many wait: that refuses it.
                    drop(self.put.try_send(stream));
                }
                Poll::Ready(Some(Err(_)) | None) => return Err(Over),
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Opens streams for those who still wait. `true`: there was room for one.
    fn give(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        let mut has_given = false;
        while let Some(wanted) = self.waiting.pop_front() {
            if wanted.is_closed() {
                continue;
            }
            match self.connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => {
                    has_given = true;
                    // Nobody waits for it any more, then.
                    let _ = wanted.send(stream);
                }
                // Also where there are too many streams: yamux ends a connection for that.
                Poll::Ready(Err(_)) => return Err(Over),
                Poll::Pending => {
                    self.waiting.push_front(wanted);
                    break;
                }
            }
        }
        Ok(has_given)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::keys::SigningKey;

    async fn pair() -> (Mux, Mux) {
        let [one, other] = [(); 2].map(|()| Tls::new(&SigningKey::generate().unwrap()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dials = one.connect(listener.local_addr().unwrap());
        let accepts = async {
            let (socket, address) = listener.accept().await?;
            other.accept(socket, address).await
        };
        let (one, other) = tokio::try_join!(dials, accepts).unwrap();
        one.trust();
        other.trust();
        (one, other)
    }

    #[tokio::test]
    async fn who_writes_to_a_stream_that_is_dropped_is_not_held_up() {
        let (one, other) = pair().await;
        let (mut send, _recv) = one.open().await.unwrap();
        send.write_all(b"first").await.unwrap();
        let (mut back, mut came) = other.accept().await.unwrap();
        let mut first = [0; 5];
        came.read_exact(&mut first).await.unwrap();
        back.finish().await.unwrap();
        drop((back, came));
        // Many times what a stream may have on its way.
        let writes = async {
            let piece = vec![7; 64 * 1024];
            for _ in 0..1024 {
                if send.write_all(&piece).await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(UNREAD_TIME, writes).await.expect("a writer waits for ever");
    }

    #[tokio::test]
    async fn a_stream_that_ends_makes_room_for_who_waits() {
        /// As many as yamux opens before the other side has answered one of them.
        const UNANSWERED: usize = 256;
        let (one, _other) = pair().await;
        let mut opened = Vec::new();
        for _ in 0..UNANSWERED {
            let (mut send, recv) = one.open().await.unwrap();
            send.write_all(b"hello").await.unwrap();
            opened.push((send, recv));
        }
        let (mut given_up, mut waits) = (Box::pin(one.open()), Box::pin(one.open()));
        for waiting in [&mut given_up, &mut waits] {
            assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await, "none is answered");
        }
        assert!(!one.is_full());
        // The connection's task has its turn, and waits.
        tokio::task::yield_now().await;
        drop((given_up, opened.pop()));
        tokio::time::timeout(Duration::from_secs(5), waits).await.expect("nobody is woken").unwrap();
    }

    #[test]
    fn the_answers_to_questions_say_how_long_messages_take() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = RoundTrip { time: Duration::from_secs(9), asked: 0, since: None };
        pace.handle_pong(0, at(0));
        pace.handle_pong(1, at(0));
        assert_eq!(pace.time, Duration::from_secs(9), "nothing was asked");
        assert_eq!((pace.ask(at(0)), pace.ask(at(2))), (1, 1), "a sign of life is due more often than an answer comes");
        pace.handle_pong(2, at(3));
        pace.handle_pong(1, at(4));
        pace.handle_pong(1, at(6));
        assert_eq!(pace.time, Duration::from_secs(4), "the first is what counts");
        assert_eq!(pace.ask(at(10)), 2);
        pace.handle_pong(1, at(11));
        pace.handle_pong(2, at(22));
        assert_eq!(pace.time, Duration::from_secs(5), "an eighth of each later one");
    }
}
