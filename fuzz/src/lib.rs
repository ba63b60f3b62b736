//! The fuzz targets of the SSH engine. `./run SECONDS [TARGET]` builds and runs them; the bodies are in `targets`, which the
//! engine's own tests include as well, so that `cargo test` replays the corpus without a fuzzer.

use adit_ssh as engine;

mod targets;

/// Runs the body of one target.
///
/// # Panics
/// When a promise of the engine is broken, which is what a fuzzer looks for; or there is no target of this name.
pub fn run(target: &str, data: &[u8]) {
    let (_, body) = targets::ALL.iter().find(|(name, _)| *name == target).expect("a target of this name");
    body(data);
}
