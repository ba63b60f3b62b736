//! How a running server is, and what it runs on.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{Admin, Fault, FaultKind, Operation, unix_millis};
use crate::server::Addresses;

/// Asks how the server is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {}

/// Lists the settings that are in effect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {}

/// How a server is. What the system does not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// The version that runs.
    pub version: String,
    /// Since when.
    pub started_at: i64,
    /// For how long, in milliseconds.
    pub uptime_ms: u64,
    /// SSH sessions that are logged in.
    pub sessions: i64,
    /// Open forwards.
    pub forwards: i64,
    /// Connected visitors.
    pub visitors: u64,
    /// Connections that have not logged in.
    pub unauthenticated: usize,
    /// Open files and sockets.
    pub open_files: Option<usize>,
    /// How many there may be.
    pub open_files_limit: Option<u64>,
    /// The size of the store, with its log.
    pub store_bytes: Option<u64>,
    /// Memory in use (resident).
    pub memory_bytes: Option<u64>,
    /// Where the server can be reached.
    pub addresses: Addresses,
}

/// A setting that is in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingView {
    /// Its name, as in the file.
    pub name: String,
    /// Its value, as it could have been typed.
    pub value: String,
    /// `default`, `file`, `environment` or `flag`.
    pub origin: String,
    /// What it does.
    pub about: String,
}

/// No server runs that could be asked.
#[derive(Debug, Error)]
#[error("no jump host runs here; start it with `adit jumphost`")]
pub struct NotRunning;

impl Fault for NotRunning {
    fn kind(&self) -> FaultKind {
        FaultKind::Conflict
    }

    fn code(&self) -> &'static str {
        "not-running"
    }
}

impl Operation for Health {
    const NAME: &'static str = "health";
    type Answer = HealthView;
    type Error = NotRunning;

    async fn run(self, admin: &Admin) -> Result<HealthView, NotRunning> {
        let shared = admin.server().ok_or(NotRunning)?;
        let (about, now) = (&shared.about, SystemTime::now());
        let up = now.duration_since(about.started).unwrap_or_default();
        Ok(HealthView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: unix_millis(about.started),
            uptime_ms: u64::try_from(up.as_millis()).unwrap_or(u64::MAX),
            sessions: shared.metrics.sessions.get(),
            forwards: shared.metrics.forwards.get(),
            visitors: shared.registry.visitors_now(),
            unauthenticated: shared.gate.waiting(),
            open_files: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
            open_files_limit: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            store_bytes: store_bytes(&about.store),
            memory_bytes: memory_bytes(),
            addresses: about.addresses.clone(),
        })
    }
}

impl Operation for Settings {
    const NAME: &'static str = "settings";
    type Answer = Vec<SettingView>;
    type Error = Infallible;

    async fn run(self, admin: &Admin) -> Result<Vec<SettingView>, Infallible> {
        let Some(shared) = admin.server() else { return Ok(Vec::new()) };
        let view = |setting: &crate::config::Setting| SettingView {
            name: setting.name.to_owned(),
            value: setting.value.clone(),
            origin: setting.origin.map_or("default", |origin| origin.name()).to_owned(),
            about: setting.about.to_owned(),
        };
        Ok(shared.config.settings.iter().map(view).collect())
    }
}

/// The file, and beside it the log that is not folded in yet.
fn store_bytes(file: &Path) -> Option<u64> {
    let size = |path: &Path| fs::metadata(path).map(|data| data.len()).ok();
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    Some(size(file)? + size(Path::new(&log)).unwrap_or(0))
}

/// Pages in memory: the second number of `/proc/self/statm` (proc(5)).
fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
