//! Keeps a link to each agent that is named: dials it, over UDP and where that does not pass over TCP, and dials it again when the link
//! is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::mesh::{AgentId, LinkRefused};
use adit_core::{Backoff, Target};
use quinn::Endpoint;

use crate::handshake::{NoLink, Side, greet};
use crate::hub::Hub;
use crate::link;
use crate::tls;
use crate::transport::{Transport, tcp};

/// An agent that comes back is found again within this and a handshake.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Who does not want us is asked this often: a certificate may be renewed, a revocation be a mistake.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// UDP has so much of a lead before TCP is tried beside it, and no more than a third of the time there is.
const UDP_LEAD: Duration = Duration::from_millis(1200);
/// An attempt takes no longer, with all addresses of a name.
const DIAL_TIME: Duration = Duration::from_secs(4);

/// What dials.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) quic: Endpoint,
    pub(crate) tls: tcp::Tls,
}

/// Keeps the link to one agent until this one ends.
pub(crate) async fn keep(hub: Arc<Hub>, dialer: Dialer, peer: Target) {
    let mut backoff = Backoff::up_to(LONGEST_PAUSE);
    let mut known: Option<AgentId> = None;
    let mut told = String::new();
    while !hub.ending.is_cancelled() {
        // One that is over and not forgotten yet would be waited for in vain.
        let link = known.and_then(|id| hub.link(id)).filter(|link| !link.over.is_cancelled());
        if let Some(link) = link {
            hub.tell_peer(&peer, None);
            link.over.cancelled().await;
            backoff = Backoff::up_to(LONGEST_PAUSE);
            continue;
        }
        let linking = async {
            match dial(&dialer, &peer).await {
                Ok(transport) => greet(&hub, transport, Side::Dialled).await,
                Err(why) => Err(NoLink::Broken(why)),
            }
        };
        let Some(linked) = hub.ending.run_until_cancelled(linking).await else { return };
        let pause = match linked {
            Ok(greeted) => {
                let link = Arc::clone(&greeted.link);
                known = Some(link.peer.id());
                hub.tell_peer(&peer, None);
                let why = link::serve(Arc::clone(&hub), greeted).await;
                backoff = Backoff::up_to(LONGEST_PAUSE);
                let is_lasting = link.transport.refused().unwrap_or(link.why_cut()).is_lasting();
                if is_lasting {
                    complain(&peer, &why, &mut told);
                } else {
                    told.clear();
                }
                hub.tell_peer(&peer, Some(why));
                // Often it is there again at once, or has dialled us.
                if is_lasting { REFUSED_PAUSE } else { Duration::from_millis(100) }
            }
            Err(NoLink::Myself | NoLink::Refused(LinkRefused::Myself)) => {
                tracing::warn!(%peer, "this agent is named as a peer of itself; remove it from `mesh.peers`");
                return hub.tell_peer(&peer, Some("it is this agent itself".to_owned()));
            }
            Err(NoLink::Linked(id)) => {
                known = Some(id);
                continue;
            }
            // The one that they have dialled counts.
            Err(NoLink::Refused(LinkRefused::Replaced)) => Duration::from_millis(100),
            Err(why) => {
                let is_refused = matches!(&why, NoLink::Refused(why) if why.is_lasting());
                let why = why.to_string();
                complain(&peer, &why, &mut told);
                hub.tell_peer(&peer, Some(why));
                if is_refused { REFUSED_PAUSE } else { backoff.next_pause() }
            }
        };
        hub.ending.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Once, as long as it is the same.
fn complain(peer: &Target, why: &str, told: &mut String) {
    if why != told {
        tracing::warn!(%peer, %why, "no link");
        why.clone_into(told);
    }
}

async fn dial(dialer: &Dialer, peer: &Target) -> Result<Transport, String> {
    let by = tokio::time::Instant::now() + DIAL_TIME;
    let found = tokio::time::timeout_at(by, tokio::net::lookup_host((peer.host(), peer.port().get()))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("the name is not found: {error}")),
        Err(_) => return Err("the name is not found in time".to_owned()),
    };
    let mut last = "the name has no address".to_owned();
    for (index, address) in addresses.iter().enumerate() {
        // Each address has its share of the time that is left.
        let left = (addresses.len() - index) as u32;
        let share = by.saturating_duration_since(tokio::time::Instant::now()) / left;
        match tokio::time::timeout(share, either(dialer, *address, UDP_LEAD.min(share / 3))).await {
            Ok(Ok(transport)) => return Ok(transport),
            Ok(Err(why)) => last = why,
            Err(_) => last = "no answer, neither over UDP nor over TCP".to_owned(),
        }
    }
    Err(last)
}

/// The first that answers, UDP with a lead.
async fn either(dialer: &Dialer, address: SocketAddr, lead: Duration) -> Result<Transport, String> {
    let over_udp = async {
        let connecting = dialer.quic.connect(address, tls::NAME).map_err(|error| error.to_string())?;
        connecting.await.map(Transport::quic).map_err(|error| error.to_string())
    };
    let over_tcp = async {
        tokio::time::sleep(lead).await;
        dialer.tls.connect(address).await.map(Transport::Tcp).map_err(|error| error.to_string())
    };
    tokio::pin!(over_udp, over_tcp);
    tokio::select! {
        linked = &mut over_udp => match linked {
            Ok(transport) => Ok(transport),
            Err(udp) => over_tcp.await.map_err(|tcp| format!("over UDP: {udp}; over TCP: {tcp}")),
        },
        linked = &mut over_tcp => match linked {
            Ok(transport) => Ok(transport),
            Err(tcp) => over_udp.await.map_err(|udp| format!("over UDP: {udp}; over TCP: {tcp}")),
        },
    }
}
