//! The program that is measured, with none of the settings that whoever runs the benchmark may have made.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Doing, Failure};

/// `ADIT_BIN`, else the program of that name beside this one.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os("ADIT_BIN") {
        return Ok(path.into());
    }
    let ours = env::current_exe().doing("find this program")?;
    let built = ours.with_file_name("adit");
    let missing = || Failure::new(format!("{} is missing: run bench/run, or set ADIT_BIN", built.display()));
    built.is_file().then(|| built.clone()).ok_or_else(missing)
}

/// `adit jumphost` or `adit mesh`, to which the rest is added.
pub(crate) fn command(role: &str) -> Result<Command, Failure> {
    let mut command = Command::new(binary()?);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ADIT_")) {
        command.env_remove(name);
    }
    command.arg(role);
    Ok(command)
}

/// Runs a command that must succeed; returns what it printed.
pub(crate) fn finish(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let output = command.output().doing("run a command")?;
    let told = || Failure::new(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    if output.status.success() { Ok(output.stdout) } else { Err(told()) }
}
