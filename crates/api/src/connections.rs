//! The TCP side of the web address: who may connect, how many at a time, and how long a peer may take.
//!
//! `axum::serve` waits for ever for the head of a request, so the loop is ours. Before a request is complete we know nothing of a
//! peer, and a connection costs a descriptor that a forward would want: each bound here is for that.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_core::Source;
use adit_jumphost::config::AllowList;
use adit_net::{listen, socket};
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// From accept, or from the last answer, to the end of the next request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long bytes may lie here that a peer does not take. The kernel counts it (`TCP_USER_TIMEOUT`, RFC 5482), also while the peer
/// says that its window is closed; so nobody holds an answer, or the end of an event stream, by not reading.
const STALL_TIME: Duration = Duration::from_secs(30);

/// The largest head of a request: cookies and an OpenID provider's code take 4 KiB at most. The smallest that hyper allows is 8 KiB.
const HEAD_SIZE: usize = 16 * 1024;

/// A browser opens six connections to a host, and several people may sit behind one address.
const PER_SOURCE: usize = 64;

/// Some hundred people with a page open. Their event streams and these connections together stay a small part of the descriptors.
const TOTAL: usize = 1_024;

/// Where a connection ends; what a request was sent to, whatever it says of that itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// Our side.
    pub(crate) local: SocketAddr,
}

/// Accepts and serves until `stop`; requests under way are answered.
pub(crate) async fn serve(listener: TcpListener, allow: AllowList, router: Router, stop: CancellationToken) {
    let (places, tasks) = (Places::default(), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &allow, &places, &router, &tasks, &stop),
            Err(error) if listen::is_exhausted(&error) => {
                tracing::warn!(%error, "cannot accept connections to the web address for now");
                tokio::time::sleep(listen::EXHAUSTED_PAUSE).await;
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
    let place = if allow.permits(peer.ip()) { places.take(peer) } else { None };
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

async fn connection(stream: TcpStream, ends: Ends, _place: Place, router: Router, stop: CancellationToken) {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        let mut router = router.clone();
        async move { Ok::<Response, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
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
    };
    // Of a request nothing is told: its path may hold a secret.
    if let Err(error) = ended {
        tracing::trace!(peer = %ends.peer, timeout = error.is_timeout(), "a web connection broke");
    }
}

/// How many connections there are, and from where.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_source: HashMap<Source, usize>,
}

/// A connection that is counted; dropped, it is not any more.
#[derive(Debug)]
struct Place {
    places: Places,
    source: Source,
}

impl Places {
    /// A place, unless its source or all together have taken what there is.
    fn take(&self, peer: SocketAddr) -> Option<Place> {
        let source = Source::from(peer.ip());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= TOTAL {
            return None;
        }
        let held = counts.by_source.entry(source).or_default();
        if *held >= PER_SOURCE {
            return None;
        }
        *held += 1;
        counts.total += 1;
        drop(counts);
        Some(Place { places: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(held) = counts.by_source.get_mut(&self.source) {
            *held -= 1;
            if *held == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> SocketAddr {
        format!("10.{}.{}.1:5000", number / 256, number % 256).parse().unwrap()
    }

    #[test]
    fn a_source_has_its_bound_and_the_others_theirs() {
        let places = Places::default();
        let held: Vec<_> = (0..PER_SOURCE).map(|_| places.take(peer(1)).unwrap()).collect();
        assert!(places.take(peer(1)).is_none());
        assert!(places.take(peer(2)).is_some());
        drop(held);
        assert!(places.take(peer(1)).is_some());
        assert!(places.0.lock().unwrap().by_source.is_empty(), "nobody is remembered who is gone");
    }

    #[test]
    fn all_together_have_a_bound() {
        let places = Places::default();
        let held: Vec<_> = (0..TOTAL).map(|number| places.take(peer(number)).unwrap()).collect();
        assert!(places.take(peer(TOTAL)).is_none());
        drop(held);
        assert!(places.take(peer(TOTAL)).is_some());
    }
}
