//! `adit mesh status`, `peers`, `routes`, `probe`, `reload`: commands for an agent that runs.

use std::path::{Path, PathBuf};

use adit_api::agent::client::{Client, FindError};
use adit_api::mesh::{ProbeQuestion, Reloaded};
use adit_core::mesh::Protocol;
use adit_mesh::folder as mesh_folder;
use adit_mesh::view::{Dashboard, ForwardRoute, ForwardState, PeerView, ProbeView};
use adit_net::data_folder;

use super::arguments::{Common, Probe};
use crate::config_file::{self, ConfigFile};
use crate::failure::Failure;
use crate::output::{Output, count, shown, span};

/// The folder of the mesh agent: the one that was named, or the file's, or the usual one.
pub(super) fn folder(common: &Common) -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let named = variable("ADIT_CONFIG").map(PathBuf::from);
    folder_of(common.data.as_deref(), &config_file::load(named.as_deref(), variable)?)
}

/// The same, with the file that was read already.
pub(super) fn folder_of(named: Option<&Path>, file: &ConfigFile) -> Result<PathBuf, Failure> {
    match named.or(file.mesh.data.as_deref()) {
        Some(path) => Ok(path.to_owned()),
        None => Ok(mesh_folder::default_path(|name| std::env::var(name).ok())?),
    }
}

/// The running agent.
pub(super) fn client(common: &Common) -> Result<Client, Failure> {
    let folder = folder(common)?;
    Client::find(&folder).map_err(|error| match error {
        FindError::NotRunning { folder } => match data_folder::holder(&folder) {
            Ok(Some(_)) => Failure::DeafMeshAgent { folder },
            Ok(None) | Err(_) => Failure::NoMeshAgent { folder },
        },
        other => other.into(),
    })
}

async fn dashboard(common: &Common) -> Result<Dashboard, Failure> {
    Ok(client(common)?.get("/api/dashboard").await?)
}

pub(super) async fn status(common: &Common) -> Result<(), Failure> {
    let output = Output::new(common.json);
    output.answer(&dashboard(common).await?, |board| {
        let agent = &board.agent;
        let links = board.peers.iter().filter(|peer| peer.connected).count();
        let mut facts = vec![
            ("agent", format!("{} ({})", shown(&agent.name), agent.id)),
            ("up", span(agent.uptime_s)),
            ("links", format!("{links} of {}", board.peers.len())),
            ("reaches", count(board.routes.len().saturating_sub(1), "other agent")),
            ("carries", format!("{}, {} of others", count(agent.connections, "connection"), board.stats.transits)),
        ];
        if let Some(why) = &agent.expelled {
            facts.push(("NO MEMBER", why.clone()));
        }
        if board.forward_routes.is_empty() {
            return format!(
                "{}\nNobody publishes or listens: `adit mesh run --help` shows the configuration.",
                output.facts(&facts)
            );
        }
        let rows = board.forward_routes.iter().map(forward_row).collect();
        let heads = ["KEY", "INGRESS", "LISTENER", "EXIT", "TARGET", "HOPS", "STATE"];
        format!("{}\n\n{}", output.facts(&facts), output.table(heads, rows))
    })
}

/// A key as people read it, with the protocol where it is not TCP.
pub(super) fn service(key: &str, protocol: &str) -> String {
    if protocol == Protocol::Tcp.to_string() { shown(key) } else { format!("{} ({})", shown(key), shown(protocol)) }
}

fn forward_row(route: &ForwardRoute) -> [String; 7] {
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), shown);
    let state = match route.state {
        ForwardState::Up => "up",
        ForwardState::TargetDown => "target down",
        ForwardState::Unreachable => "no way",
        ForwardState::NoListener => "no listener",
        ForwardState::NoEndpoint => "no endpoint",
    };
    let hops = route.hop_count.map_or_else(|| "-".to_owned(), |hops| hops.to_string());
    [
        service(&route.key, &route.protocol),
        text(&route.ingress_agent),
        text(&route.listener_address),
        text(&route.exit_agent),
        text(&route.target),
        hops,
        state.to_owned(),
    ]
}

pub(super) async fn peers(common: &Common) -> Result<(), Failure> {
    let output = Output::new(common.json);
    output.answer(&dashboard(common).await?.peers, |peers| {
        if peers.is_empty() {
            return "No links yet: name agents in `mesh.peers`, or have others connect to `mesh.listen`.".to_owned();
        }
        let rows = peers.iter().map(peer_row).collect();
        output.table(["NAME", "ADDRESS", "OVER", "RTT", "UP", "STATE"], rows)
    })
}

fn peer_row(peer: &PeerView) -> [String; 6] {
    let none = || "-".to_owned();
    let over = match peer.carrier {
        Some(adit_mesh::Carrier::Quic) => "UDP (QUIC)".to_owned(),
        Some(adit_mesh::Carrier::Tcp) => "TCP (TLS)".to_owned(),
        None => none(),
    };
    let rtt = peer.rtt_ms.map_or_else(none, |rtt| format!("{rtt:.1} ms"));
    let state = match (&peer.error, peer.connected) {
        (_, true) => "connected".to_owned(),
        (Some(error), false) => shown(error),
        (None, false) => "not connected".to_owned(),
    };
    let name = peer.name.as_deref().map_or_else(none, shown);
    [name, shown(&peer.address), over, rtt, peer.up_s.map_or_else(none, span), state]
}

pub(super) async fn routes(common: &Common) -> Result<(), Failure> {
    let output = Output::new(common.json);
    output.answer(&dashboard(common).await?.routes, |routes| {
        let mut routes: Vec<_> = routes.iter().collect();
        routes.sort_by_key(|route| (route.hop_count, &route.agent));
        let rows = routes.iter().map(|route| {
            let way = route.path_display.iter().map(|name| shown(name)).collect::<Vec<_>>().join(" → ");
            [shown(&route.agent), route.hop_count.to_string(), route.cost.to_string(), way]
        });
        output.table(["AGENT", "HOPS", "COST", "WAY"], rows.collect())
    })
}

pub(super) async fn probe(common: &Common, arguments: &Probe) -> Result<(), Failure> {
    let output = Output::new(common.json);
    let question =
        ProbeQuestion { key: arguments.key.clone(), protocol: arguments.udp.then(|| Protocol::Udp.to_string()) };
    let probed: ProbeView = client(common)?.post("/api/mesh/probe", &question).await?;
    output.answer(&probed, |probed| {
        let way = probed.path_display.iter().map(|name| shown(name)).collect::<Vec<_>>().join(" → ");
        let takes = if arguments.udp { "its agent can send to the target" } else { "the target takes connections" };
        format!(
            "{}: {takes}, {} away by {way}, in {:.1} ms",
            shown(&probed.key),
            count(probed.hop_count, "hop"),
            probed.took_ms
        )
    })
}

pub(super) async fn reload(common: &Common) -> Result<(), Failure> {
    let output = Output::new(common.json);
    let reloaded: Reloaded = client(common)?.order("/api/mesh/reload").await?;
    output.answer(&reloaded, |reloaded| {
        let rest = "\nWhat has changed under `mesh:` is not: restart the agent for that.";
        format!(
            "The endpoints and listeners of the file are in force.{}",
            if reloaded.needs_restart { rest } else { "" }
        )
    })
}
