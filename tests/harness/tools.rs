//! Which programs the tests find on this machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a program, or `None` where `ADIT_E2E_SKIP` (names separated by commas) excuses it by name.
///
/// A program that is neither installed nor excused fails the test: a suite that silently leaves a client out would
/// still look green.
pub fn require(tool: &str) -> Option<PathBuf> {
    if is_excused(tool) {
        return None;
    }
    let search = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&search)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(postgres_folders())
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file());
    Some(found.unwrap_or_else(|| panic!("{tool} is not installed: install it, or set ADIT_E2E_SKIP={tool}")))
}

/// Whether `ADIT_E2E_SKIP` names what a test needs; says so, so that the log tells what was left out.
pub(crate) fn is_excused(tool: &str) -> bool {
    let excused = env::var("ADIT_E2E_SKIP").unwrap_or_default();
    let named = excused.split(',').any(|name| name.trim() == tool);
    if named {
        eprintln!("skipped: ADIT_E2E_SKIP names {tool}");
    }
    named
}

/// Debian keeps each version's programs in a folder of its own, which is in nobody's path.
fn postgres_folders() -> impl Iterator<Item = PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin"))
}

/// The Python that has the peers' packages (`ADIT_PYTHON`, made by `make test`), else `python3`.
pub fn python() -> PathBuf {
    env::var_os("ADIT_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from)
}

/// A script of `tests/peers/`.
pub fn peer_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// Whether `ADIT_E2E_LONG` asks for the full times of the promises instead of those that fit a coffee break.
pub fn long_runs_wanted() -> bool {
    env::var_os("ADIT_E2E_LONG").is_some()
}
