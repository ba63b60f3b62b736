//! The TCP side of a web address: who may connect, how many at a time, and how long a peer may take.
//!
//! `axum::serve` waits for ever for the head of a request, so the loop is ours. Before a request is complete we know nothing of a
//! peer, and a connection costs a descriptor that a forward would want: each bound here is for that. Who gets a place is decided
//! in [`places`].

mod places;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use adit_jumphost::config::{AllowList, Networks};
use adit_net::{listen, socket};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::gate::question;
use places::{AtWork, FOR_PEOPLE, FOR_PROGRAMS, Place, Places};

/// From accept, or from the last answer, to the end of the next request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long bytes may lie here that a peer does not take. The kernel counts it (`TCP_USER_TIMEOUT`, RFC 5482), also while the peer
/// says that its window is closed; so nobody holds an answer, or the end of an event stream, by not reading.
const STALL_TIME: Duration = Duration::from_secs(30);

/// The largest head of a request. What we ask for takes 4 KiB; the rest is for cookies that services at other ports of this host have set:
/// a browser keeps 4 KiB of each and sends all of them. So somebody may have fifteen. hyper looks after it has read, and may have read
/// as much again by then: a head of up to twice the size may pass, and 1,024 strangers at a time hold 128 MiB of heads at the very most.
/// hyper holds no more than this of an unread answer, either. What is larger gets a bare 431 (RFC 6585 §5): a page that is open says
/// what to do, and a browser that was to open one shows an empty page.
const HEAD_SIZE: usize = 64 * 1024;

/// Where a connection ends; what a request was sent to, whatever it says of that itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// Our side.
    pub(crate) local: SocketAddr,
}

/// Accepts and serves until `stop`; requests under way are answered.
/// `proxies` stand for many people each.
pub(crate) async fn serve(
    listener: TcpListener,
    allow: AllowList,
    proxies: Networks,
    router: Router,
    stop: CancellationToken,
) {
    run(listener, allow, Places::new(FOR_PEOPLE, proxies), router, stop).await;
}

/// The same on a loopback address, for the programs of this machine.
pub(crate) async fn serve_programs(listener: TcpListener, router: Router, stop: CancellationToken) {
    run(listener, AllowList::default(), Places::new(FOR_PROGRAMS, Networks::default()), router, stop).await;
}

/// Where a listener stands that is for programs of this machine alone.
///
/// # Errors
/// It stands elsewhere, or does not say where.
pub(crate) fn loopback_address(listener: &TcpListener) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        let told = format!("{address} is no loopback address; others could reach it");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
    }
    Ok(address)
}

async fn run(listener: TcpListener, allow: AllowList, places: Places, router: Router, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut exhaustion = listen::Exhaustion::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &allow, &places, &router, &tasks, &stop),
            Err(error) if listen::is_exhausted(&error) => {
                let pause = exhaustion.pause("connections to the web address", &error, Instant::now());
                tokio::time::sleep(pause).await;
            }
            // About the one connection only, which is gone.
            Err(error) => tracing::debug!(%error, "a connection ended before it was accepted"),
        }
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    allow: &AllowList,
    places: &Places,
    router: &Router,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let place = if allow.permits(peer.ip()) { places.take(peer.ip()) } else { None };
    match (place, stream.local_addr()) {
        (Some(place), Ok(local)) => {
            socket::set_nodelay(&stream);
            socket::set_keepalive(&stream);
            // A socket whose peer is gone already refuses; reading it will say so.
            drop(SockRef::from(&stream).set_tcp_user_timeout(Some(STALL_TIME)));
            tasks.spawn(connection(stream, Ends { peer, local }, place, router.clone(), stop.clone()));
        }
        _ => socket::reset(stream),
    }
}

async fn connection(stream: TcpStream, ends: Ends, place: Place, router: Router, stop: CancellationToken) {
    let answer = service_fn(async |request: Request<Incoming>| {
        // A request that is held back is not worth more than silence.
        place.await_body(ends.peer, request.headers());
        let mut request = question::receive(request).await;
        let at_work = place.at_work();
        request.extensions_mut().insert(ends);
        let response = router.clone().call(request).await.unwrap_or_else(|never| match never {});
        Ok::<_, Infallible>(response.map(|body| Answer { body, _at_work: at_work }))
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_SIZE)
            .serve_connection(TokioIo::new(stream), answer)
    );
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        // Nothing was asked here for a while, and somebody else wants the place.
        () = place.taken() => return,
    };
    // Of a request nothing is told: its path may hold a secret.
    if let Err(error) = ended {
        tracing::trace!(peer = %ends.peer, timeout = error.is_timeout(), "a web connection broke");
    }
}

/// An answer, whose connection is at work until it is sent: of an event stream that is its last event.
struct Answer {
    body: Body,
    _at_work: AtWork,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
