//! Where the programs are that are measured beside ours and that no Debian package brings: `bench/run` installs them.

use std::env;
use std::path::PathBuf;

use crate::failure::{Doing, Failure};

/// The program that the variable names, else where `bench/run` installs it.
pub(crate) fn find(variable: &str, name: &str) -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let ours = env::current_exe().doing("find this program")?;
    let target = ours.parent().and_then(|profile| profile.parent()).unwrap_or(&ours);
    let installed = target.join("peers/bin").join(name);
    let missing = || Failure::new(format!("{} is missing: run bench/run, or set {variable}", installed.display()));
    installed.is_file().then(|| installed.clone()).ok_or_else(missing)
}
