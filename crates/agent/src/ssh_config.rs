//! What a person's `ssh_config` says, as records: its hosts become sessions, their forwards tunnels, their jumps jump hosts.
//!
//! What a configuration means is asked of `ssh -G`, which knows all of it; only the names of its hosts are read here, since ssh does not
//! list them. A configuration may hold more than an agent does, so what is left out is told with its reason.

mod answer;
mod import;
mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use adit_store::StoreError;
use adit_store::agent::RecordRef;
use thiserror::Error;

/// `Match exec` runs programs of the person's own, and they may hang.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Files that lie here are read at once; those on a network may hang.
const READ_TIME: Duration = Duration::from_secs(5);

/// What became of a host of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// As the configuration calls it.
    pub host: String,
    /// New records.
    pub added: Vec<RecordRef>,
    /// Records that were there by that name already, and are as they were.
    pub present: Vec<RecordRef>,
    /// What the configuration has and no record could hold.
    pub left_out: Vec<LeftOut>,
}

/// A part of a host's configuration that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// As the configuration has it.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Nothing was imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The person has no such file.
    #[error("there is no {} to import from", .0.display())]
    NoConfiguration(PathBuf),
    /// It cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// There is no `ssh` to say what it means.
    #[error(
        "ssh is not on the PATH, and it alone knows what its configuration means; install an OpenSSH client, or add the records by hand"
    )]
    NoSsh,
    /// ssh could not be run.
    #[error("ssh could not be run")]
    Ssh(#[source] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A configuration in its file.
#[derive(Debug, Clone)]
struct SshConfig {
    file: PathBuf,
}

impl SshConfig {
    /// The one of whoever lives there.
    fn of(home: &Path) -> SshConfig {
        SshConfig { file: home.join(".ssh/config") }
    }

    /// The hosts it names, in its order; patterns are no names.
    async fn hosts(&self) -> Result<Vec<String>, ImportError> {
        let file = self.file.clone();
        read_in_background(move || names::read(&file)).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ImportError::NoConfiguration(self.file.clone()),
            _ => ImportError::Unreadable(self.file.clone(), error),
        })
    }

    /// What it means for a host; what ssh says against it where it means nothing.
    async fn ask(&self, host: &str, port: Option<&str>) -> Result<Result<answer::Answer, String>, ImportError> {
        let mut ssh = tokio::process::Command::new("ssh");
        ssh.arg("-G").arg("-F").arg(&self.file);
        if let Some(port) = port {
            ssh.args(["-p", port]);
        }
        // A name that begins with a dash is no option.
        ssh.arg("--").arg(host).stdin(Stdio::null()).kill_on_drop(true);
        let Ok(outcome) = tokio::time::timeout(ANSWER_TIME, ssh.output()).await else {
            return Ok(Err(format!("ssh did not say within {} s what is meant by it", ANSWER_TIME.as_secs())));
        };
        let output = outcome.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ImportError::NoSsh,
            _ => ImportError::Ssh(error),
        })?;
        if output.status.success() {
            return Ok(Ok(answer::Answer::read(&String::from_utf8_lossy(&output.stdout))));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("ssh failed and did not say why");
        Ok(Err(line.trim().to_owned()))
    }
}

/// Reads where that may block, and does not wait for it without end.
async fn read_in_background<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::time::timeout(READ_TIME, tokio::task::spawn_blocking(read)).await {
        Ok(done) => done.map_err(io::Error::other).flatten(),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("it took more than {} s", READ_TIME.as_secs()))),
    }
}
