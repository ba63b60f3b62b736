//! The agent of a mesh beside another role of one process, where the configuration file has `mesh:` or `forward:`. Those whom the other role
//! serves have nothing to do with the mesh: where this machine is no member, the other role goes on, and SIGHUP looks again.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ask::folder_of;
use super::run::Running;
use crate::config_file::{self, ConfigFile};
use crate::failure::Failure;

/// An agent of a mesh, or the wait until this machine is a member of one; nothing where nobody wants it.
pub(crate) struct Beside {
    over: CancellationToken,
    life: Option<AbortOnDropHandle<()>>,
}

impl Beside {
    /// Starts the agent, where the file says anything of the mesh.
    pub(crate) async fn start(file: ConfigFile) -> Result<Beside, Failure> {
        let over = CancellationToken::new();
        if !file.has_mesh() {
            return Ok(Beside { over, life: None });
        }
        // Heard in any case: it would end the process, and with it what others do there.
        let hangups = signal(SignalKind::hangup()).map_err(Failure::Runtime)?;
        let path = file.path.clone();
        let running = started(file).await?;
        let ends = over.clone();
        let life = tokio::spawn(async move { live(running, &path, hangups, ends).await });
        Ok(Beside { over, life: Some(AbortOnDropHandle::new(life)) })
    }

    /// Leaves the mesh, and returns when that is done.
    pub(crate) async fn end(self) {
        self.over.cancel();
        if let Some(life) = self.life
            && let Err(error) = life.await
        {
            tracing::error!(%error, "the mesh agent of this process did not end as it should");
        }
    }
}

/// `None`: this machine is no member, which the log has.
async fn started(file: ConfigFile) -> Result<Option<Running>, Failure> {
    let folder = folder_of(None, &file)?;
    match Running::start(file, folder).await {
        Err(failure) if failure.is_no_member() => {
            let why = failure.sentence();
            tracing::error!("no agent of a mesh runs in this process: {why}; then send SIGHUP to this process");
            Ok(None)
        }
        started => {
            let running = started?;
            let (agent, dashboard) = (running.name(), running.dashboard());
            tracing::info!(agent, dashboard, "a mesh agent runs in this process as well");
            Ok(Some(running))
        }
    }
}

async fn live(mut running: Option<Running>, path: &Path, mut hangups: Signal, over: CancellationToken) {
    while running.is_none() && over.run_until_cancelled(hangups.recv()).await.flatten().is_some() {
        running = again(path).await.unwrap_or_else(|failure| {
            tracing::error!("no agent of a mesh runs in this process: {}", failure.sentence());
            None
        });
    }
    over.cancelled().await;
    if let Some(running) = running {
        running.end().await;
    }
}

async fn again(path: &Path) -> Result<Option<Running>, Failure> {
    let file = config_file::load(Some(path), |_| None)?;
    if file.has_mesh() { started(file).await } else { Ok(None) }
}
