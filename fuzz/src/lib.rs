//! The fuzz targets. `./run SECONDS [TARGET]` builds and runs them; the bodies are in `targets` for the SSH engine, in
//! `core_targets` for the core, in `agent_targets` for the agent, in `api_targets` for the front doors and in `mesh_targets` for the mesh,
//! whose own tests include them as well, so that `cargo test` replays the corpus without a fuzzer.

use adit_ssh as engine;

mod agent_targets;
mod api_targets;
mod core_targets;
// Of the room of HTTP this file alone: it needs no other, and the room takes minutes to build.
#[path = "../../crates/api/src/head.rs"]
mod head;
/// Of the room of the mesh its end-to-end session alone, for the same reason.
#[path = "../../crates/mesh/src"]
mod mesh {
    pub(super) mod noise;
}
mod mesh_targets;
mod targets;

use mesh::noise;

/// Runs the body of one target.
///
/// # Panics
/// When a promise is broken, which is what a fuzzer looks for; or there is no target of this name.
pub fn run(target: &str, data: &[u8]) {
    let all = targets::ALL.iter().chain(&core_targets::ALL).chain(&agent_targets::ALL).chain(&api_targets::ALL);
    let (_, body) = all.chain(&mesh_targets::ALL).find(|(name, _)| *name == target).expect("a target of this name");
    body(data);
}
