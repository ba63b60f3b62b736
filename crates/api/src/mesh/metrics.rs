//! What can be counted of a mesh agent, for Prometheus: per key that is configured here, and of the agent as a whole.

use std::sync::atomic::AtomicU64;

use adit_mesh::counters::KeyStats;
use adit_mesh::view::Numbers;
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

/// Nothing here is ever below zero.
type Level = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKey {
    key: String,
}

/// `in` is from clients of a listener, or from the target of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyBytes {
    key: String,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Towards {
    direction: &'static str,
}

pub(super) async fn show(State(door): State<Door>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], to_text(&door.mesh.numbers())).into_response()
}

/// In the OpenMetrics text format.
fn to_text(shown: &Numbers) -> String {
    let mut registry = Registry::with_prefix("adit_mesh");
    registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    let level = |value: u64| {
        let level = Level::default();
        level.set(value);
        level
    };
    let count = |value: u64| {
        let count: Counter = Counter::default();
        count.inc_by(value);
        count
    };
    let stats = &shown.stats;
    registry.register("links", "Links to other agents", level(shown.links));
    registry.register("agents", "Agents that can be reached, this one included", level(shown.agents));
    registry.register("connections", "Connections that end at this agent now", level(shown.connections));
    registry.register("transits", "Connections of others that go through this agent now", level(stats.transits));
    let help = "Connections whose reader has taken nothing for 10 s, by direction";
    registry.register("stalled", help, level(stats.stalled));
    let help = "Bytes of others' connections that went through this agent";
    registry.register_with_unit("transit", help, Unit::Bytes, count(stats.transit_bytes));
    let help = "Datagrams that were lost here: too many waited, or their circuit was gone";
    registry.register("datagrams_lost", help, count(stats.datagrams_lost));
    let help = "Datagrams that came once more than they were sent, or too late to tell";
    registry.register("datagrams_repeated", help, count(stats.datagrams_repeated));
    let help =
        "Sessions that were ended because something in them was not what its sender had sealed, and such datagrams";
    registry.register("tampered", help, count(stats.tampered));
    registry.register("resumed", "Connections that went on over another way", count(stats.resumed));
    registry.register("records_rejected", "Records that were not believed", count(stats.records_rejected));
    registry.register("links_refused", "Agents that knocked and are no members", count(stats.links_refused));
    let control = Family::<Towards, Counter>::default();
    control.get_or_create(&Towards { direction: "in" }).inc_by(stats.control_bytes_in);
    control.get_or_create(&Towards { direction: "out" }).inc_by(stats.control_bytes_out);
    registry.register_with_unit("control", "Bytes of the control streams", Unit::Bytes, control);
    let refused = Family::<Why, Counter>::default();
    for refusal in &stats.refused {
        refused.get_or_create(&Why { reason: refusal.reason.to_string() }).inc_by(refusal.count);
    }
    registry.register("circuits_refused", "Circuits that were refused here, by reason", refused);
    keys(&mut registry, &stats.keys);
    let mut out = String::new();
    // A `String` takes every write, so there is no error to report.
    let _ = text::encode(&mut out, &registry);
    out
}

fn keys(registry: &mut Registry, keys: &[KeyStats]) {
    let active = Family::<OfKey, Level>::default();
    let counts = [(); 3].map(|()| Family::<OfKey, Counter>::default());
    let bytes = Family::<KeyBytes, Counter>::default();
    for stats in keys {
        let of_key = OfKey { key: stats.key.clone() };
        active.get_or_create(&of_key).set(stats.active);
        for (family, value) in counts.iter().zip([stats.opened, stats.failed, stats.over_limit]) {
            family.get_or_create(&of_key).inc_by(value);
        }
        for (direction, value) in [("in", stats.bytes_in), ("out", stats.bytes_out)] {
            bytes.get_or_create(&KeyBytes { key: stats.key.clone(), direction }).inc_by(value);
        }
    }
    let [opened, failed, over_limit] = counts;
    registry.register("key_connections", "Connections of a key that are there now", active);
    registry.register("key_opened", "Connections of a key that reached their target", opened);
    registry.register("key_failed", "Connections of a key that reached no target", failed);
    registry.register("key_over_limit", "Connections of a key turned away at max_connections", over_limit);
    registry.register_with_unit("key", "Bytes of a key's connections", Unit::Bytes, bytes);
}
