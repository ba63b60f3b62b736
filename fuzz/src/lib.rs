//! The fuzz targets. `./run SECONDS [TARGET]` builds and runs them; the bodies are in `targets` for the SSH engine, in
//! `core_targets` for the core and in `agent_targets` for the agent, whose own tests include them as well, so that `cargo test` replays
//! the corpus without a fuzzer.

use adit_ssh as engine;

mod agent_targets;
mod core_targets;
mod targets;

/// Runs the body of one target.
///
/// # Panics
/// When a promise is broken, which is what a fuzzer looks for; or there is no target of this name.
pub fn run(target: &str, data: &[u8]) {
    let (_, body) =
        targets::ALL.iter().chain(&core_targets::ALL).chain(&agent_targets::ALL).find(|(name, _)| *name == target).expect("a target of this name");
    body(data);
}
