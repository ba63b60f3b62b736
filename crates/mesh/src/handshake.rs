//! The first messages on a new connection between two agents: each shows its certificate, and the one with the smaller id says whether
//! the link counts. So where both have dialled each other at the same moment, both keep the same one.

use std::sync::Arc;
use std::time::Duration;

use adit_core::mesh::{AgentId, Frame, Hello, LinkRefused, MAX_FRAME, Member, Refusal, agent_id};
use thiserror::Error;

use crate::enrolment::unix_time;
use crate::hub::{Hub, Link};
use crate::stream::{Receiver, Sender};
use crate::transport::Transport;

/// Who has connected has so long to say who he is.
const GRACE: Duration = Duration::from_secs(5);
/// The longest first message, in bytes: a certificate.
const MAX_HELLO: usize = 64 * 1024;

/// Which side of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Dialled,
    Accepted,
}

/// A link that counts from now on, with its control stream.
pub(crate) struct Greeted {
    pub(crate) link: Arc<Link>,
    pub(crate) send: Sender,
    pub(crate) recv: Receiver,
}

/// There is no link.
#[derive(Debug, Error)]
pub(crate) enum NoLink {
    #[error("{0}")]
    Refused(LinkRefused),
    /// As the other side hears it, and as our people read it.
    #[error("the other agent is refused: {1}")]
    Stranger(LinkRefused, String),
    #[error("the address is our own")]
    Myself,
    /// Connections go over it, so a second one that we dial is not worth its end.
    #[error("there is a link with this agent already")]
    Linked(AgentId),
    #[error("the other agent says nothing")]
    Silent,
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl NoLink {
    /// As the other side hears it.
    fn told(&self) -> LinkRefused {
        match self {
            NoLink::Refused(why) | NoLink::Stranger(why, _) => *why,
            NoLink::Myself => LinkRefused::Myself,
            NoLink::Linked(_) => LinkRefused::Replaced,
            NoLink::Silent | NoLink::Broken(_) => LinkRefused::NoMember,
        }
    }
}

impl From<std::io::Error> for NoLink {
    fn from(error: std::io::Error) -> NoLink {
        NoLink::Broken(error.to_string())
    }
}

/// Makes a link of a connection; closes it where there is to be none.
pub(crate) async fn greet(hub: &Hub, transport: Transport, side: Side) -> Result<Greeted, NoLink> {
    let greeted = tokio::time::timeout(GRACE, exchange(hub, &transport, side)).await.unwrap_or(Err(NoLink::Silent));
    // Its word may have been overtaken by the end of the connection, which says the same.
    let greeted = greeted.map_err(|no_link| match (no_link, transport.refused()) {
        (NoLink::Broken(_), Some(why)) => NoLink::Refused(why),
        (no_link, _) => no_link,
    });
    if let Err(no_link) = &greeted {
        transport.close(no_link.told());
    }
    greeted
}

async fn exchange(hub: &Hub, transport: &Transport, side: Side) -> Result<Greeted, NoLink> {
    let peer = transport.peer_key().map(|key| agent_id(&hub.keys, &key));
    let link = peer.filter(|_| side == Side::Dialled).and_then(|peer| hub.link(peer));
    if let Some(link) = link.filter(|link| !link.over.is_cancelled()) {
        return Err(NoLink::Linked(link.peer.id()));
    }
    let (mut send, mut recv) = match side {
        Side::Dialled => transport.open().await?,
        Side::Accepted => transport.accept().await?,
    };
    let hello = Hello { mesh: hub.state().node.membership().root().mesh(), certificate: hub.me.certificate().clone() };
    send.write_all(&Frame::Hello(Box::new(hello)).encode()).await?;
    let judged = judge(hub, transport, &read(&mut recv, MAX_HELLO).await?);
    let peer = match judged {
        Ok(peer) => peer,
        Err(no_link) => {
            hub.counters.links_refused.add(1);
            // The reason goes first, so that the other side's people read it; the connection is closed in any case.
            send.write_all(&Frame::Refused(no_link.told()).encode()).await?;
            send.finish().await?;
            let _ = recv.read_exact(&mut [0; 1]).await;
            return Err(no_link);
        }
    };
    let number = if hub.me.id() < peer.id() {
        let number = hub.next_link_number();
        send.write_all(&Frame::Welcome(number).encode()).await?;
        number
    } else {
        match read(&mut recv, MAX_HELLO).await? {
            Frame::Welcome(number) => number,
            Frame::Refused(why) => return Err(NoLink::Refused(why)),
            _ => return Err(NoLink::Broken("it does not speak the mesh's protocol".to_owned())),
        }
    };
    let link = hub.adopt(peer, transport.clone(), number).map_err(NoLink::Refused)?;
    transport.trust();
    Ok(Greeted { link, send, recv })
}

/// Who the other side is.
fn judge(hub: &Hub, transport: &Transport, first: &Frame) -> Result<Member, NoLink> {
    let stranger = |why: &str| NoLink::Stranger(LinkRefused::NoMember, why.to_owned());
    let hello = match first {
        Frame::Hello(hello) => hello,
        Frame::Refused(why) => return Err(NoLink::Refused(*why)),
        _ => return Err(stranger("it does not speak the mesh's protocol")),
    };
    if hello.mesh != hub.state().node.membership().root().mesh() {
        return Err(NoLink::Stranger(LinkRefused::OtherMesh, "it belongs to another mesh".to_owned()));
    }
    if transport.peer_key() != Some(hello.certificate.identity) {
        return Err(stranger("its certificate is another agent's"));
    }
    if hello.certificate.identity == *hub.me.identity() {
        return Err(NoLink::Myself);
    }
    let member = hub.change(|state| state.node.handle_certificate(&hello.certificate, unix_time()));
    member.map_err(|why| match why {
        Refusal::Forged => stranger(&why.to_string()),
        // The root gave it this name.
        _ => NoLink::Stranger(why.into(), format!("{}: {why}", hello.certificate.invitation.invitation.name)),
    })
}

/// Reads a message of a control stream.
pub(crate) async fn read(recv: &mut Receiver, most: usize) -> Result<Frame, NoLink> {
    let message = recv.read_frame(most.min(MAX_FRAME), Duration::MAX).await?;
    Frame::decode(&message).map_err(|error| NoLink::Broken(error.to_string()))
}
