//! Opens a circuit to an endpoint: tries one after the other what `core` chooses, until one takes the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::mesh::{
    AgentId, Answer, CircuitId, CircuitRefused, Failed, Open, Plan, Purpose, Request, RoutingKey, TRY_TIME, Tries,
};

use crate::circuit;
use crate::enrolment::unix_millis;
use crate::hub::{CircuitPlace, Hub};
use crate::keys::random;
use crate::noise::{Initiator, Kind};
use crate::pump::Circuit;
use crate::stream::{self, Receiver, Sender};

/// The longest [`Answer`], in bytes.
const MAX_ANSWER: usize = 1024;
/// A circuit within this agent holds as much as one message.
const HERE: usize = 64 * 1024;

/// A circuit whose endpoint has reached its target.
pub(crate) struct Opened {
    pub(crate) circuit: Circuit,
    pub(crate) exit: AgentId,
    pub(crate) path: Vec<AgentId>,
    pub(crate) place: CircuitPlace,
}

/// A circuit for a client's connection.
pub(crate) async fn connect(hub: &Arc<Hub>, key: &RoutingKey) -> Result<Opened, String> {
    opened(hub, key, Purpose::Connect).await
}

/// Sees whether a connection for a key would find its target, on which way, and how long that takes.
pub(crate) async fn probe(hub: &Arc<Hub>, key: &RoutingKey) -> Result<(Vec<AgentId>, Duration), String> {
    let started = Instant::now();
    let opened = opened(hub, key, Purpose::Probe).await?;
    Ok((opened.path, started.elapsed()))
}

async fn opened(hub: &Arc<Hub>, key: &RoutingKey, purpose: Purpose) -> Result<Opened, String> {
    let started = Instant::now();
    let mut tries = Tries::new(started);
    let mut failures: Vec<String> = Vec::new();
    loop {
        let plan = match hub.next_try(key, &mut tries) {
            Ok(plan) => plan,
            Err(why) if failures.is_empty() => return Err(why.to_string()),
            Err(why) => return Err(format!("{why} ({})", failures.join("; "))),
        };
        let left = TRY_TIME.saturating_sub(started.elapsed());
        let tried = tokio::time::timeout(left, once(hub, key, &plan, purpose));
        match tried.await.unwrap_or_else(|_| Err((Failed::Target, "no answer in time".to_owned()))) {
            Ok(opened) => return Ok(opened),
            Err((failed, why)) => {
                let exit = plan.exit;
                tracing::info!(%key, %exit, %why, "a try for a connection failed");
                failures.push(why);
                hub.handle_failed(&mut tries, failed);
            }
        }
    }
}

/// One try. What failed, and how people read it.
async fn once(hub: &Arc<Hub>, key: &RoutingKey, plan: &Plan, purpose: Purpose) -> Result<Opened, (Failed, String)> {
    let silent = |why: &dyn ToString| (Failed::Silent, why.to_string());
    let place = hub.take_place(plan.exit, true).ok_or_else(|| silent(&"this agent ends"))?;
    let circuit = random().map(CircuitId).map_err(|error| silent(&error))?;
    let hops = plan.path.get(2..).unwrap_or_default().to_vec();
    let mut open = Open { circuit, origin: hub.me.id(), key: key.clone(), hops, handshake: Vec::new() };
    let request = Request { made_at: unix_millis(), purpose, certificate: hub.me.certificate().clone() };
    let prologue = open.prologue(hub.state().node.membership().root().mesh());
    let begun = Initiator::start(&hub.keys.session, &plan.session_key, &prologue, &request.encode());
    let (initiator, handshake) = begun.map_err(|error| silent(&error))?;
    open.handshake = handshake;
    let asked = tokio::time::timeout(plan.patience, ask(hub, plan, open)).await;
    let (send, recv, answer) = match asked {
        Ok(asked) => asked.map_err(|error| silent(&error))?,
        Err(_) => return Err(silent(&format!("no answer within {} ms", plan.patience.as_millis()))),
    };
    let handshake = match answer {
        Answer::Accepted(handshake) => handshake,
        Answer::Refused { by, why } => {
            let failed = match why {
                CircuitRefused::NoLink | CircuitRefused::NoTransit | CircuitRefused::Full if by != plan.exit => {
                    Failed::NoWayBehind(by)
                }
                _ => Failed::Target,
            };
            return Err((failed, format!("{} refused: {why}", name(hub, by))));
        }
    };
    let session = initiator.finish(&handshake, Instant::now()).map_err(|error| {
        hub.counters.tampered.add(1);
        silent(&error)
    })?;
    hub.handle_answered(plan);
    let mut circuit = Circuit { send, recv, session };
    match circuit.hear().await {
        Ok((Kind::Opened, _)) => Ok(Opened { circuit, exit: plan.exit, path: plan.path.clone(), place }),
        Ok((Kind::Failed, why)) => Err((Failed::Target, format!("{}: {why}", name(hub, plan.exit)))),
        Ok(_) => Err(silent(&"the endpoint's agent does not speak the mesh's protocol")),
        Err(ending) => {
            if matches!(ending, crate::pump::Ending::Tampered) {
                hub.counters.tampered.add(1);
            }
            Err(silent(&"the circuit broke"))
        }
    }
}

/// How people call an agent.
fn name(hub: &Hub, agent: AgentId) -> String {
    let state = hub.state();
    state.node.membership().get(agent).map_or_else(|| agent.to_string(), |member| member.name().to_string())
}

async fn ask(hub: &Arc<Hub>, plan: &Plan, open: Open) -> std::io::Result<(Sender, Receiver, Answer)> {
    let (mut send, mut recv) = match plan.path.get(1) {
        Some(next) => {
            let link = hub.link(*next).ok_or(std::io::ErrorKind::NotConnected)?;
            let (mut send, recv) = link.transport.open().await?;
            send.write_all(&open.encode()).await?;
            (send, recv)
        }
        None => within(hub, open),
    };
    let answer = recv.read_block(MAX_ANSWER).await?;
    let answer = Answer::decode(&answer).map_err(std::io::Error::other)?;
    if let Answer::Refused { .. } = answer {
        // Nothing more is said.
        let _ = send.finish().await;
    }
    Ok((send, recv, answer))
}

/// A circuit from this agent to itself takes the same way as all others, but for the links.
fn within(hub: &Arc<Hub>, open: Open) -> (Sender, Receiver) {
    let (ours, theirs) = tokio::io::duplex(HERE);
    let ((send, recv), hub) = (stream::other(theirs), Arc::clone(hub));
    hub.tasks.clone().spawn(async move { circuit::end_here(&hub, open, send, recv).await });
    stream::other(ours)
}
