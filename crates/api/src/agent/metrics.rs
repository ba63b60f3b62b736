//! What can be counted of an agent, for Prometheus. No names, addresses or ports.

use std::sync::atomic::AtomicU64;

use adit_agent::agent::Board;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::Door;
use crate::web::OPEN_METRICS;

/// All that a tunnel can be, so that none is missing while no tunnel is that.
const STATUSES: [&str; 5] = ["disconnected", "connecting", "connected", "reconnecting", "failed"];

/// Nothing here is ever below zero.
type Level = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    status: &'static str,
}

/// `tx` is into SSH connections, `rx` out of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Towards {
    direction: &'static str,
}

pub(super) async fn show(State(door): State<Door>) -> Response {
    let text = to_text(&door.agent.board().borrow());
    ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// In the OpenMetrics text format.
fn to_text(board: &Board) -> String {
    let (tunnels, bytes) = (Family::<Standing, Level>::default(), Family::<Towards, Counter>::default());
    let (sessions, connections) = (Level::default(), Level::default());
    let mut registry = Registry::with_prefix("adit_agent");
    registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    registry.register("tunnels", "Tunnels, by how they stand", tunnels.clone());
    registry.register("sessions", "Sessions that somebody connected", sessions.clone());
    registry.register("connections", "Connections that tunnels carry now", connections.clone());
    let help = "Bytes that tunnels have carried since the agent started: tx is into SSH connections";
    registry.register_with_unit("carried", help, Unit::Bytes, bytes.clone());
    for status in STATUSES {
        let standing = board.tunnels.values().filter(|tunnel| tunnel.status.name() == status).count();
        tunnels.get_or_create(&Standing { status }).set(standing as u64);
    }
    sessions.set(board.sessions.len() as u64);
    connections.set(board.tunnels.values().map(|tunnel| tunnel.traffic.connections_now() as u64).sum());
    let carried = board.carried();
    bytes.get_or_create(&Towards { direction: "tx" }).inc_by(carried.tx);
    bytes.get_or_create(&Towards { direction: "rx" }).inc_by(carried.rx);
    let mut out = String::new();
    // A `String` takes every write, so there is no error to report.
    let _ = text::encode(&mut out, &registry);
    out
}
