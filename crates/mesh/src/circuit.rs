//! Circuits that come over a link: passed on, or ended here.

mod endpoint;
mod transit;

use std::sync::Arc;
use std::time::Duration;

use adit_core::mesh::{Answer, CircuitRefused, Open, Protocol};
use tokio::sync::{OwnedSemaphorePermit, TryAcquireError};

use crate::hub::{Hub, Link};
use crate::lane::Lane;
use crate::stream::{Receiver, Sender};

pub(crate) use endpoint::{connect_to, serve as end_here, socket_towards};

/// What opens a circuit is there with the stream; on a bad way it takes some seconds.
const GRACE: Duration = Duration::from_secs(5);

/// One of the circuits that a link may have, or none.
pub(crate) type Place = Result<OwnedSemaphorePermit, TryAcquireError>;

/// Serves a circuit that the other side of a link has opened, until it ends.
pub(crate) async fn accept(hub: &Arc<Hub>, link: &Arc<Link>, send: Sender, mut recv: Receiver, place: Place) {
    let open = match tokio::time::timeout(GRACE, recv.read_block(Open::MAX_LENGTH)).await {
        Ok(Ok(bytes)) => Open::decode(&bytes),
        Ok(Err(_)) | Err(_) => return,
    };
    let Ok(open) = open else {
        tracing::debug!(from = %link.peer.name(), "a circuit is malformed");
        return hub.counters.refuse(CircuitRefused::BadHandshake);
    };
    // Held until the circuit ends.
    let Ok(_place) = place else {
        return refuse(hub, &open, send, CircuitRefused::Full).await;
    };
    if open.hops.is_empty() {
        let lane = lane_for(&open, link, &send);
        end_here(hub, open, (send, recv), lane).await;
    } else {
        tokio::select! {
            () = transit::serve(hub, link, open, send, recv) => {}
            () = link.over.cancelled() => {}
        }
    }
}

/// The lane beside a circuit's stream, if the circuit is for datagrams and the link has them.
pub(crate) fn lane_for(open: &Open, link: &Arc<Link>, stream: &Sender) -> Option<Lane> {
    if open.protocol == Protocol::Udp { Lane::beside(link, stream) } else { None }
}

/// Tells the listener's agent that it goes no further here.
async fn refuse(hub: &Hub, open: &Open, mut send: Sender, why: CircuitRefused) {
    hub.counters.refuse(why);
    tracing::info!(key = %open.key, circuit = %open.circuit, origin = %open.origin, %why, "circuit refused");
    let answer = Answer::Refused { by: hub.me.id(), why };
    // Where it does not arrive, the circuit is at its end as well.
    if send.write_all(&answer.encode()).await.is_ok() {
        let _ = send.finish().await;
    }
}
