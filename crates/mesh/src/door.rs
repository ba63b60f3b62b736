//! Takes connections of other agents, over UDP and TCP at the same port. Each says who it is in a task of its own; those who have not
//! yet are bounded, apart for UDP and TCP, and where all places are taken the address that has most of them gives up its oldest.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::mesh::Pace;
use adit_core::{LoginRules, Outcome, Source};
use adit_net::gate::{AtTheGate, Gate};
use adit_net::listen::{Exhaustion, is_exhausted};
use quinn::Endpoint;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::handshake::{NoLink, Side, greet};
use crate::hub::Hub;
use crate::link;
use crate::transport::{Transport, tcp};

/// Connections over UDP that have not yet said who they are.
const STRANGERS: u32 = 512;
/// And over TCP, where each may have more of our memory: 8 MiB.
const TCP_STRANGERS: u32 = 128;
/// While there are more, or more come in a second, one that has not shown that its address is its own is asked to (RFC 9000 §8.1.2): that
/// costs nothing, and who sends under false names never hears of it.
const CALM: usize = 64;
/// That pace, for one of them.
const CALM_PACE: Duration = Duration::from_nanos(1_000_000_000 / CALM as u64);
/// For the handshake of TLS.
const GRACE: Duration = Duration::from_secs(5);

/// Where those stand who have not yet said who they are.
fn strangers(total: u32) -> Gate {
    Gate::new(LoginRules { per_source: 0, total, remembered_sources: 0, ..LoginRules::default() })
}

/// `None` where there is no place.
fn enter(strangers: &Gate, from: SocketAddr) -> Option<AtTheGate> {
    let mut stranger = strangers.enter(Source::from(from.ip()), false).ok()?;
    // Nobody is punished: who has no certificate of this mesh yet may have one in a minute, and many agents may share an address.
    stranger.outcome = Outcome::LoggedIn;
    Some(stranger)
}

/// Takes connections until the agent ends.
pub(crate) async fn open(hub: Arc<Hub>, quic: Endpoint, tcp: TcpListener, tls: tcp::Tls) {
    // Apart, so that a flood of the one leaves the other its time.
    let _over_tcp = AbortOnDropHandle::new(tokio::spawn(over_tcp(Arc::clone(&hub), tcp, tls)));
    over_udp(&hub, &quic).await;
}

async fn over_udp(hub: &Arc<Hub>, quic: &Endpoint) {
    let (strangers, mut pace) = (strangers(STRANGERS), Pace::new(Instant::now()));
    while let Some(incoming) = quic.accept().await {
        // quinn has the next one at once, and others have work to do.
        tokio::task::coop::consume_budget().await;
        let may_be_asked = !incoming.remote_address_validated() && incoming.may_retry();
        let is_calm = |pace: &mut Pace| {
            pace.try_take(CALM_PACE, Duration::from_secs(1), Instant::now()) && strangers.waiting() < CALM
        };
        if may_be_asked && !is_calm(&mut pace) {
            // It fails where a retry is not possible, which was just asked.
            let _ = incoming.retry();
            continue;
        }
        let from = incoming.remote_address();
        let Some(stranger) = enter(&strangers, from) else {
            incoming.refuse();
            continue;
        };
        let Ok(connecting) = incoming.accept() else { continue };
        let connected = async { connecting.await.map(Transport::quic).map_err(|error| error.to_string()) };
        hub.tasks.spawn(admit(Arc::clone(hub), from, stranger, connected));
    }
}

async fn over_tcp(hub: Arc<Hub>, tcp: TcpListener, tls: tcp::Tls) {
    let strangers = strangers(TCP_STRANGERS);
    let mut exhaustion = Exhaustion::default();
    loop {
        let (socket, from) = match tcp.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_exhausted(&error) => {
                tokio::time::sleep(exhaustion.pause("links over TCP", &error, Instant::now())).await;
                continue;
            }
            // Of that one connection.
            Err(_) => continue,
        };
        // One that finds no place is closed.
        let Some(stranger) = enter(&strangers, from) else { continue };
        let tls = tls.clone();
        let connected =
            async move { tls.accept(socket, from).await.map(Transport::Tcp).map_err(|error| error.to_string()) };
        hub.tasks.spawn(admit(Arc::clone(&hub), from, stranger, connected));
    }
}

/// Waits for a stranger to say who he is, and serves the link of a member.
async fn admit(
    hub: Arc<Hub>,
    from: SocketAddr,
    mut stranger: AtTheGate,
    connected: impl Future<Output = Result<Transport, String>>,
) {
    let greeted = async {
        match tokio::time::timeout(GRACE, connected).await {
            Ok(Ok(transport)) => greet(&hub, transport, Side::Accepted).await,
            Ok(Err(why)) => Err(NoLink::Broken(why)),
            Err(_) => Err(NoLink::Silent),
        }
    };
    let linked = tokio::select! {
        linked = greeted => linked,
        () = poll_fn(|cx| stranger.poll_pushed_out(cx)) => Err(NoLink::Broken("its place was needed for another one".to_owned())),
        () = hub.ending.cancelled() => Err(NoLink::Broken("this agent leaves".to_owned())),
    };
    drop(stranger);
    match linked {
        Ok(greeted) => drop(link::serve(hub, greeted).await),
        Err(why @ NoLink::Stranger(..)) => tracing::warn!(%from, %why, "link refused"),
        Err(why) => tracing::debug!(%from, %why, "no link"),
    }
}
