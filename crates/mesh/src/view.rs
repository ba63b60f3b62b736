//! What an agent shows of the mesh: itself, its links, whom it can reach, and which listener leads where.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use adit_core::mesh::{AgentId, Graph, Protocol, Route, Routes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::counters::Stats;
use crate::hub::{Hub, State};
use crate::transport::Carrier;

/// All that is shown at once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Dashboard {
    /// This agent.
    pub agent: AgentView,
    /// What it has counted.
    pub stats: Stats,
    /// The agents that it has, or should have, a link with.
    pub peers: Vec<PeerView>,
    /// The agents that it can reach, itself included, with the shortest way to each.
    pub routes: Vec<RouteView>,
    /// Every listener with every endpoint of its key, in the whole mesh; of one key no more than 1,024 pairs, and 20,000 of all.
    pub forward_routes: Vec<ForwardRoute>,
    /// How many pairs there are beyond those.
    pub forward_routes_left_out: usize,
    /// Every link of the mesh, once.
    pub links: Vec<LinkView>,
}

/// What there is of each, for whoever asks often.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// What the agent has counted.
    pub stats: Stats,
    /// Its links.
    pub links: u64,
    /// The agents that it can reach, itself included.
    pub agents: u64,
    /// Connections that end here now.
    pub connections: u64,
}

/// An agent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The mesh's id.
    pub mesh: String,
    /// How many seconds it has been running.
    pub uptime_s: u64,
    /// The keys that it may publish.
    pub publish: Vec<String>,
    /// The keys that it may listen on.
    pub listen: Vec<String>,
    /// Whether others' connections may go through it.
    pub transit: bool,
    /// When its membership ends, in seconds since 1970.
    pub expires: u64,
    /// Why it is no member any more.
    pub expelled: Option<String>,
    /// Connections that end here now.
    pub connections: usize,
}

/// An agent at the other end of a link, or one that should be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// Its id, once it is known.
    pub id: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// Where it is.
    pub address: String,
    /// There is a link.
    pub connected: bool,
    /// How the link is carried.
    pub carrier: Option<Carrier>,
    /// How long a message takes there and back, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// For how many seconds the link has been there.
    pub up_s: Option<u64>,
    /// Why there is none.
    pub error: Option<String>,
}

/// A way to an agent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RouteView {
    /// What it is called.
    pub agent: String,
    /// Its id.
    pub agent_id: String,
    /// How many links the way has.
    pub hop_count: usize,
    /// What the way costs.
    pub cost: u32,
    /// The agents on it, by name.
    pub path_display: Vec<String>,
    /// And by id.
    pub path_ids: Vec<String>,
}

/// A listener and an endpoint of one key; where the other one is missing, the one that there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct ForwardRoute {
    /// What joins them.
    pub key: String,
    /// What they speak: `tcp` or `udp`.
    pub protocol: String,
    /// The listener's agent.
    pub ingress_agent: Option<String>,
    /// Its id.
    pub ingress_agent_id: Option<String>,
    /// Where clients connect.
    pub listener_address: Option<String>,
    /// The endpoint's agent.
    pub exit_agent: Option<String>,
    /// Its id.
    pub exit_agent_id: Option<String>,
    /// Where the service is.
    pub target: Option<String>,
    /// How many links are between them; none where there is no way, or one of them is missing.
    pub hop_count: Option<usize>,
    /// The agents on the way, by name, from the listener's to the endpoint's.
    pub path_display: Vec<String>,
    /// And by id.
    pub path_ids: Vec<String>,
    /// How it stands.
    pub state: ForwardState,
}

/// How a pair of a listener and an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForwardState {
    /// Connections find their way.
    Up,
    /// The target did not take the last connection.
    TargetDown,
    /// There is no way between the two agents.
    Unreachable,
    /// Nobody listens for the key.
    NoListener,
    /// Nobody publishes the key.
    NoEndpoint,
}

/// A link of the mesh.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LinkView {
    /// One end, by id.
    pub a: String,
    /// The other.
    pub b: String,
    /// What it costs.
    pub cost: u32,
}

/// What a try for a key has shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProbeView {
    /// The key.
    pub key: String,
    /// The endpoint's agent.
    pub exit_agent: String,
    /// Its id.
    pub exit_agent_id: String,
    /// How many links the way has.
    pub hop_count: usize,
    /// The agents on it, by name.
    pub path_display: Vec<String>,
    /// And by id.
    pub path_ids: Vec<String>,
    /// How long it took until the target had taken the connection, in milliseconds.
    pub took_ms: f64,
}

pub(crate) fn dashboard(hub: &Hub, uptime: Duration) -> Dashboard {
    let stats = hub.counters.view();
    let mut state = hub.state();
    let graph = state.node.graph();
    let routes = state.routes();
    let reached: BTreeSet<AgentId> = routes.agents().collect();
    let (forward_routes, forward_routes_left_out) = forward_routes(&state, &graph, &reached, &routes);
    Dashboard {
        agent: agent(hub, &state, uptime),
        stats,
        peers: peers(&state),
        routes: reached.iter().filter_map(|id| Some(route_view(&state, *id, &routes.to(*id)?))).collect(),
        forward_routes,
        forward_routes_left_out,
        links: links(&graph, &reached),
    }
}

pub(crate) fn numbers(hub: &Hub) -> Numbers {
    let stats = hub.counters.view();
    let mut state = hub.state();
    let agents = state.routes().agents().count() as u64;
    Numbers { stats, links: state.links.len() as u64, agents, connections: state.circuits.len() as u64 }
}

fn agent(hub: &Hub, state: &State, uptime: Duration) -> AgentView {
    let me = &hub.me;
    let texts = |patterns: &[adit_core::mesh::KeyPattern]| patterns.iter().map(ToString::to_string).collect();
    AgentView {
        id: me.id().to_string(),
        name: me.name().to_string(),
        mesh: state.node.membership().root().mesh().to_string(),
        uptime_s: uptime.as_secs(),
        publish: texts(&me.rights().publish),
        listen: texts(&me.rights().listen),
        transit: me.rights().transit,
        expires: me.expires(),
        expelled: state.expelled.map(|why| why.to_string()),
        connections: state.circuits.len(),
    }
}

fn name(state: &State, agent: AgentId) -> String {
    state.node.membership().get(agent).map_or_else(|| agent.to_string(), |member| member.name().to_string())
}

fn peers(state: &State) -> Vec<PeerView> {
    let linked = state.links.values().map(|link| PeerView {
        id: Some(link.peer.id().to_string()),
        name: Some(link.peer.name().to_string()),
        address: link.transport.address().to_string(),
        connected: true,
        carrier: Some(link.transport.carrier()),
        rtt_ms: Some(link.transport.rtt().as_secs_f64() * 1000.0),
        up_s: Some(link.since.elapsed().as_secs()),
        error: None,
    });
    let missing = state.wanted.iter().filter_map(|(address, why)| {
        let error = Some(why.clone()?);
        let address = address.to_string();
        Some(PeerView {
            id: None,
            name: None,
            address,
            connected: false,
            carrier: None,
            rtt_ms: None,
            up_s: None,
            error,
        })
    });
    linked.chain(missing).collect()
}

fn display(state: &State, path: &[AgentId]) -> (Vec<String>, Vec<String>) {
    (path.iter().map(|agent| name(state, *agent)).collect(), path.iter().map(ToString::to_string).collect())
}

fn route_view(state: &State, agent: AgentId, route: &Route) -> RouteView {
    let (path_display, path_ids) = display(state, &route.path);
    let (hop_count, cost) = (route.hops(), route.cost);
    RouteView { agent: name(state, agent), agent_id: agent.to_string(), hop_count, cost, path_display, path_ids }
}

/// A listener or an endpoint: its agent, where it is, and whether it takes connections.
struct End {
    agent: AgentId,
    place: String,
    is_up: bool,
}

/// A few members with many listeners and endpoints of one key make more pairs than anybody can read.
const MAX_PAIRS_OF_KEY: usize = 1024;
const MAX_PAIRS: usize = 20_000;

/// And how many were left out.
fn forward_routes(
    state: &State,
    graph: &Graph,
    reached: &BTreeSet<AgentId>,
    ours: &Routes,
) -> (Vec<ForwardRoute>, usize) {
    let mut keys: BTreeMap<(String, Protocol), (Vec<End>, Vec<End>)> = BTreeMap::new();
    for agent in reached {
        let services = state.node.services(*agent);
        for listener in services.listeners {
            let ends = &mut keys.entry((listener.key.to_string(), listener.protocol)).or_default().0;
            ends.push(End { agent: *agent, place: listener.address, is_up: true });
        }
        for endpoint in services.endpoints {
            let ends = &mut keys.entry((endpoint.key.to_string(), endpoint.protocol)).or_default().1;
            ends.push(End { agent: *agent, place: endpoint.target, is_up: endpoint.is_up });
        }
    }
    // What others have found to fail, they do not tell.
    let mut from = BTreeMap::from([(state.node.me().id(), ours.clone())]);
    let (mut shown, mut left_out) = (Vec::new(), 0);
    for (service, (listeners, endpoints)) in keys {
        // A side that has nobody has one place in each pair, which stays empty.
        let (one_side, other_side) = (sides(&listeners), sides(&endpoints));
        let pairs = one_side.len() * other_side.len();
        let most = MAX_PAIRS_OF_KEY.min(MAX_PAIRS - shown.len());
        left_out += pairs.saturating_sub(most);
        let all = one_side.iter().flat_map(|listener| other_side.iter().map(move |endpoint| (*listener, *endpoint)));
        for (listener, endpoint) in all.take(most) {
            let route = listener.zip(endpoint).and_then(|(listener, endpoint)| {
                let routes = from.entry(listener.agent).or_insert_with(|| graph.routes(listener.agent, |_, _| false));
                routes.to(endpoint.agent)
            });
            shown.push(pair(state, &service, listener, endpoint, route));
        }
    }
    (shown, left_out)
}

fn sides(ends: &[End]) -> Vec<Option<&End>> {
    if ends.is_empty() { vec![None] } else { ends.iter().map(Some).collect() }
}

fn pair(
    state: &State,
    (key, protocol): &(String, Protocol),
    listener: Option<&End>,
    endpoint: Option<&End>,
    route: Option<Route>,
) -> ForwardRoute {
    let standing = match (listener, endpoint, &route) {
        (None, _, _) => ForwardState::NoListener,
        (_, None, _) => ForwardState::NoEndpoint,
        (_, _, None) => ForwardState::Unreachable,
        (_, Some(endpoint), Some(_)) if !endpoint.is_up => ForwardState::TargetDown,
        _ => ForwardState::Up,
    };
    let (path_display, path_ids) = display(state, route.as_ref().map_or(&[], |route| &route.path));
    ForwardRoute {
        key: key.clone(),
        protocol: protocol.to_string(),
        ingress_agent: listener.map(|end| name(state, end.agent)),
        ingress_agent_id: listener.map(|end| end.agent.to_string()),
        listener_address: listener.map(|end| end.place.clone()),
        exit_agent: endpoint.map(|end| name(state, end.agent)),
        exit_agent_id: endpoint.map(|end| end.agent.to_string()),
        target: endpoint.map(|end| end.place.clone()),
        hop_count: route.as_ref().map(Route::hops),
        path_display,
        path_ids,
        state: standing,
    }
}

fn links(graph: &Graph, reached: &BTreeSet<AgentId>) -> Vec<LinkView> {
    let once = graph.links().filter(|(a, b, _)| a < b && reached.contains(a));
    once.map(|(a, b, cost)| LinkView { a: a.to_string(), b: b.to_string(), cost }).collect()
}

pub(crate) fn probed(hub: &Hub, key: &str, path: &[AgentId], took: Duration) -> ProbeView {
    let state = hub.state();
    let (path_display, path_ids) = display(&state, path);
    let exit = path.last().copied().unwrap_or_else(|| hub.me.id());
    ProbeView {
        key: key.to_owned(),
        exit_agent: name(&state, exit),
        exit_agent_id: exit.to_string(),
        hop_count: path.len().saturating_sub(1),
        path_display,
        path_ids,
        took_ms: took.as_secs_f64() * 1000.0,
    }
}
