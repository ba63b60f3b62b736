//! Opens a circuit to an endpoint: tries one after the other what `core` chooses, until one takes the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::Printable;
use adit_core::mesh::{
    AgentId, Answer, CircuitId, CircuitRefused, Failed, Open, Plan, Protocol, Purpose, Request, ResumeId, RoutingKey,
    TRY_TIME, Tries,
};

use crate::circuit;
use crate::enrolment::unix_millis;
use crate::hub::{CircuitPlace, Hub};
use crate::keys::random;
use crate::lane::Lane;
use crate::noise::{Initiator, Kind};
use crate::pump::{Circuit, RESUME_TIME};
use crate::stream::{self, Receiver, Sender};

/// A circuit within this agent holds as much as one message.
const HERE: usize = 64 * 1024;

/// A circuit whose endpoint has reached its target.
pub(crate) struct Opened {
    pub(crate) circuit: Circuit,
    pub(crate) exit: AgentId,
    pub(crate) path: Vec<AgentId>,
    pub(crate) place: CircuitPlace,
    /// Where the endpoint's agent keeps what it takes to go on over another circuit: the connection's name there, and the position before
    /// which it has everything.
    pub(crate) kept: Option<(ResumeId, u64)>,
}

/// Which endpoints are asked for.
type Service<'a> = (&'a RoutingKey, Protocol);

/// A circuit for a client's connection, or for a client's datagrams. A connection may go on over another circuit where this agent and the
/// endpoint's both keep what that takes.
pub(crate) async fn connect(hub: &Arc<Hub>, service: Service<'_>) -> Result<Opened, String> {
    let keeps = hub.keeps_connections && service.1 == Protocol::Tcp;
    // Each try has its own name, so that a late one does not take the place of the one that counts.
    let begin = || random().map_or(Purpose::Connect, |name| Purpose::Begin(ResumeId(name)));
    let now = Instant::now();
    opened(hub, service, || if keeps { begin() } else { Purpose::Connect }, Tries::new(now), now).await
}

/// Another circuit for a connection whose own broke: its endpoint's agent is asked again and again until it answers, or time is over.
pub(crate) async fn go_on(
    hub: &Arc<Hub>,
    key: &RoutingKey,
    exit: AgentId,
    connection: ResumeId,
    taken: u64,
) -> Result<Opened, String> {
    /// Ways come back with the records of agents that notice the same.
    const PAUSE: Duration = Duration::from_millis(200);
    let until = Instant::now() + RESUME_TIME;
    loop {
        let now = Instant::now();
        let purpose = || Purpose::Resume { connection, taken };
        match opened(hub, (key, Protocol::Tcp), purpose, Tries::to(exit, now), now).await {
            Err(why) if now < until => tracing::debug!(%key, %why, "a connection does not go on yet"),
            outcome => return outcome,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sees whether a connection for a key would find its target, on which way, and how long that takes.
pub(crate) async fn probe(hub: &Arc<Hub>, service: Service<'_>) -> Result<(Vec<AgentId>, Duration), String> {
    let started = Instant::now();
    let opened = opened(hub, service, || Purpose::Probe, Tries::new(started), started).await?;
    Ok((opened.path, started.elapsed()))
}

async fn opened(
    hub: &Arc<Hub>,
    service: Service<'_>,
    purpose: impl Fn() -> Purpose,
    mut tries: Tries,
    started: Instant,
) -> Result<Opened, String> {
    let mut failures: Vec<String> = Vec::new();
    loop {
        let plan = match hub.next_try(service, &mut tries) {
            Ok(plan) => plan,
            Err(why) if failures.is_empty() => return Err(why.to_string()),
            Err(why) => return Err(format!("{why} ({})", failures.join("; "))),
        };
        let left = TRY_TIME.saturating_sub(started.elapsed());
        let tried = tokio::time::timeout(left, once(hub, service, &plan, purpose()));
        match tried.await.unwrap_or_else(|_| Err((Failed::Target, "no answer in time".to_owned()))) {
            Ok(opened) => return Ok(opened),
            Err((failed, why)) => {
                let (exit, key) = (plan.exit, service.0);
                tracing::info!(%key, %exit, %why, "a try for a connection failed");
                failures.push(why);
                hub.handle_failed(&mut tries, failed);
            }
        }
    }
}

/// One try. What failed, and how people read it.
async fn once(
    hub: &Arc<Hub>,
    (key, protocol): Service<'_>,
    plan: &Plan,
    purpose: Purpose,
) -> Result<Opened, (Failed, String)> {
    let silent = |why: &dyn ToString| (Failed::Silent, why.to_string());
    let place = hub.take_place(plan.exit, None).ok_or_else(|| silent(&"this agent ends"))?;
    let circuit = random().map(CircuitId).map_err(|error| silent(&error))?;
    let hops = plan.path.get(2..).unwrap_or_default().to_vec();
    let mut open = Open { circuit, origin: hub.me.id(), key: key.clone(), protocol, hops, handshake: Vec::new() };
    let request = Request { made_at: unix_millis(), purpose, certificate: hub.me.certificate().clone() };
    let prologue = open.prologue(hub.state().node.membership().root().mesh());
    let begun = Initiator::start(&hub.keys.session, &plan.session_key, &prologue, &request.encode());
    let (initiator, handshake) = begun.map_err(|error| silent(&error))?;
    open.handshake = handshake;
    let refused = |by: AgentId, why: CircuitRefused| {
        let failed = match why {
            CircuitRefused::NoLink | CircuitRefused::NoTransit | CircuitRefused::Full if by != plan.exit => {
                Failed::NoWayBehind(by)
            }
            _ if by == plan.exit => Failed::ExitRefused,
            _ => Failed::Silent,
        };
        (failed, format!("{} refused: {why}", name(hub, by)))
    };
    let (send, recv, lane, answer) = ask(hub, plan, open).await.map_err(|why| match why {
        Unanswered::Silent(why) => silent(&why),
        Unanswered::Here(why) => {
            hub.counters.refuse(why);
            refused(hub.me.id(), why)
        }
    })?;
    let handshake = match answer {
        Answer::Accepted(handshake) => handshake,
        Answer::Refused { by, why } => return Err(refused(by, why)),
    };
    let session = initiator.finish(&handshake, Instant::now()).map_err(|error| {
        hub.counters.tampered.add(1);
        silent(&error)
    })?;
    hub.handle_answered(plan);
    let mut circuit = Circuit { send, recv, session, lane };
    match circuit.hear().await {
        Ok((Kind::Opened, said)) => {
            let name = match purpose {
                Purpose::Begin(name) | Purpose::Resume { connection: name, .. } => Some(name),
                Purpose::Connect | Purpose::Probe => None,
            };
            let kept = name.zip(said.try_into().ok().map(u64::from_be_bytes));
            Ok(Opened { circuit, exit: plan.exit, path: plan.path.clone(), place, kept })
        }
        Ok((Kind::Failed, why)) => {
            let why = String::from_utf8_lossy(&why);
            Err((Failed::Target, format!("{}: {}", name(hub, plan.exit), Printable::from(&*why))))
        }
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

/// Why there is no answer.
enum Unanswered {
    /// It did not come as far as the next agent.
    Here(CircuitRefused),
    /// Something on the way is not as it should be.
    Silent(String),
}

impl From<std::io::Error> for Unanswered {
    fn from(error: std::io::Error) -> Unanswered {
        Unanswered::Silent(error.to_string())
    }
}

/// How long a try waits: one patience for the stream and the answer together, and another while others are answered on the same way, which
/// is busy then, not dead.
struct Waiting<'a> {
    hub: &'a Hub,
    plan: &'a Plan,
    since: Instant,
}

impl Waiting<'_> {
    /// `None`: time is up. `may_be_busy`: is the work of others a reason to wait on?
    async fn wait<T>(&mut self, may_be_busy: impl Fn() -> bool, asked: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(asked);
        loop {
            let until = self.since + self.plan.patience;
            if let Ok(outcome) = tokio::time::timeout_at(until.into(), &mut asked).await {
                return Some(outcome);
            }
            if !may_be_busy() || !self.hub.was_answered_since(self.plan, self.since) {
                return None;
            }
            self.since = Instant::now();
        }
    }
}

async fn ask(hub: &Arc<Hub>, plan: &Plan, open: Open) -> Result<(Sender, Receiver, Option<Lane>, Answer), Unanswered> {
    let mut waiting = Waiting { hub, plan, since: Instant::now() };
    let ((mut send, mut recv), lane, first) = match plan.path.get(1) {
        Some(next) => {
            let no_link = Unanswered::Here(CircuitRefused::NoLink);
            let Some(link) = hub.link(*next) else { return Err(no_link) };
            let opened = waiting.wait(|| !link.transport.is_full(), link.transport.open()).await;
            let Ok(stream) = opened.ok_or(Unanswered::Here(CircuitRefused::Full))? else { return Err(no_link) };
            let lane = circuit::lane_for(&open, &link, &stream.0);
            (stream, lane, open.encode())
        }
        None => (within(hub, open), None, Vec::new()),
    };
    let came = Instant::now();
    let asked = async {
        send.write_all(&first).await?;
        recv.read_block(Answer::MAX_LENGTH).await
    };
    let answered = waiting.wait(|| true, asked).await;
    let answer = answered.ok_or_else(|| {
        // The way had too little time to show that it is sound.
        if came.elapsed() < plan.patience / 2 {
            return Unanswered::Here(CircuitRefused::Full);
        }
        Unanswered::Silent(format!("no answer within {} ms", plan.patience.as_millis()))
    })??;
    let answer = Answer::decode(&answer).map_err(std::io::Error::other)?;
    if let Answer::Refused { .. } = answer {
        // Nothing more is said.
        let _ = send.finish().await;
    }
    Ok((send, recv, lane, answer))
}

/// A circuit from this agent to itself takes the same way as all others, but for the links.
fn within(hub: &Arc<Hub>, open: Open) -> (Sender, Receiver) {
    let (ours, theirs) = tokio::io::duplex(HERE);
    let ((send, recv), hub) = (stream::here(theirs), Arc::clone(hub));
    hub.tasks.clone().spawn(async move { circuit::end_here(&hub, open, (send, recv), None).await });
    stream::here(ours)
}
