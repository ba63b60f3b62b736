//! Takes connections of other agents, over UDP and TCP at the same port. Each says who it is in a task of its own; those who have not
//! yet are bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::listen::{EXHAUSTED_PAUSE, is_exhausted};
use quinn::Endpoint;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::handshake::{NoLink, Side, greet};
use crate::hub::Hub;
use crate::link;
use crate::transport::{Transport, tcp};

/// Connections that have not yet said who they are.
const STRANGERS: usize = 512;
/// While there are more, one that has not shown that its address is its own is asked to (RFC 9000 §8.1.2).
const CALM: usize = 64;
/// For the handshake of TLS.
const GRACE: Duration = Duration::from_secs(5);

/// Takes connections until the agent ends.
pub(crate) async fn open(hub: Arc<Hub>, quic: Endpoint, tcp: TcpListener, tls: tcp::Tls) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    tokio::join!(over_udp(&hub, &quic, &strangers), over_tcp(&hub, &tcp, &tls, &strangers));
}

async fn over_udp(hub: &Arc<Hub>, quic: &Endpoint, strangers: &Arc<Semaphore>) {
    while let Some(incoming) = quic.accept().await {
        let is_calm = strangers.available_permits() > STRANGERS - CALM;
        if !is_calm && !incoming.remote_address_validated() && incoming.may_retry() {
            // It fails where a retry is not possible, which was just asked.
            let _ = incoming.retry();
            continue;
        }
        let Ok(place) = Arc::clone(strangers).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let from = incoming.remote_address();
        let Ok(connecting) = incoming.accept() else { continue };
        let connected = async { connecting.await.map(Transport::quic).map_err(|error| error.to_string()) };
        hub.tasks.spawn(admit(Arc::clone(hub), from, place, connected));
    }
}

async fn over_tcp(hub: &Arc<Hub>, tcp: &TcpListener, tls: &tcp::Tls, strangers: &Arc<Semaphore>) {
    loop {
        let (socket, from) = match tcp.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_exhausted(&error) => {
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
            // Of that one connection.
            Err(_) => continue,
        };
        // One that finds no place is closed.
        let Ok(place) = Arc::clone(strangers).try_acquire_owned() else { continue };
        let tls = tls.clone();
        let connected =
            async move { tls.accept(socket, from).await.map(Transport::Tcp).map_err(|error| error.to_string()) };
        hub.tasks.spawn(admit(Arc::clone(hub), from, place, connected));
    }
}

/// Waits for a stranger to say who he is, and serves the link of a member.
async fn admit(
    hub: Arc<Hub>,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
    connected: impl Future<Output = Result<Transport, String>>,
) {
    let linked = match tokio::time::timeout(GRACE, connected).await {
        Ok(Ok(transport)) => greet(&hub, transport, Side::Accepted).await,
        Ok(Err(why)) => Err(NoLink::Broken(why)),
        Err(_) => Err(NoLink::Silent),
    };
    drop(place);
    match linked {
        Ok(greeted) => drop(link::serve(hub, greeted).await),
        Err(why @ NoLink::Stranger(_)) => tracing::warn!(%from, %why, "link refused"),
        Err(why) => tracing::debug!(%from, %why, "no link"),
    }
}
