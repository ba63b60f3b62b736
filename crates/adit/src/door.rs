//! The way to a jump host's accounts: through the server that runs on the folder, so that a change acts at once, or to its store
//! directly when none runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_api::control::{Client, ConnectError};
use adit_jumphost::DataDir;
use adit_jumphost::admin::{Admin, Operation};
use adit_jumphost::data_dir::{self, DataDirError};
use adit_net::data_folder::DataFolderError;
use adit_store::Store;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;

/// A server that starts or stops holds the lock without answering: for this long a command waits for it to decide.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(50);

/// An open way.
pub(crate) enum Door {
    Running(Client),
    Alone { admin: Admin, store: Store },
}

/// Whether a command may be the first to use a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    MayBeNew,
    MustBeThere,
}

impl Door {
    pub(crate) async fn open(path: &Path, folder: Folder) -> Result<Self, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect(path).await {
                Ok(client) => return Ok(Self::Running(client)),
                Err(ConnectError::NotRunning) => {}
                Err(error) => return Err(error.into()),
            }
            match Self::open_alone(path, folder).await {
                Err(Failure::DataDir(DataDirError::Folder(DataFolderError::Busy { .. })))
                    if Instant::now() < deadline =>
                {
                    sleep(RETRY).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open_alone(path: &Path, folder: Folder) -> Result<Self, Failure> {
        if folder == Folder::MustBeThere && !path.join(data_dir::STORE).exists() {
            return Err(Failure::NoJumpHost { path: path.to_owned() });
        }
        let data = DataDir::open(path)?;
        let store = Store::open(data.store_path()).await?;
        Ok(Self::Alone { admin: Admin::offline(store.clone(), data), store })
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// Runs one operation.
    pub(crate) async fn call<O: Operation>(&mut self, operation: O) -> Result<O::Answer, Failure> {
        match self {
            Self::Running(client) => Ok(client.call(operation).await?),
            Self::Alone { admin, .. } => admin.call(operation).await.map_err(|fault| Failure::from_fault(&fault)),
        }
    }

    pub(crate) async fn close(self) {
        if let Self::Alone { store, .. } = self {
            store.close().await;
        }
    }
}

/// Where the service that packages install keeps its folder; `adit-jumphost.service` says the same.
const OF_THE_SERVICE: &str = "/var/lib/adit/jumphost";

/// The folder that a server is to use: the one that was named, or the usual one.
pub(crate) fn data_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => Ok(data_dir::default_path(|name| std::env::var(name).ok())?),
    }
}

/// The folder that a command means: the one that was named, or the usual one; for root that of the installed service, which is what
/// root administers.
pub(crate) fn commanded_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let usual = data_path(named);
    match named.is_none() && rustix::process::geteuid().is_root() {
        true => administered(usual, Path::new(OF_THE_SERVICE)),
        false => usual,
    }
}

/// Of two jump hosts nobody can say which one is meant.
fn administered(usual: Result<PathBuf, Failure>, service: &Path) -> Result<PathBuf, Failure> {
    let is_used = |folder: &Path| folder.join(data_dir::STORE).exists();
    match usual {
        usual if !is_used(service) => usual,
        Ok(usual) if is_used(&usual) => Err(Failure::TwoJumpHosts { usual, service: service.to_owned() }),
        _ => Ok(service.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_administers_the_service_where_it_has_run() {
        let folder = tempfile::tempdir().unwrap();
        let (usual, service) = (folder.path().join("usual"), folder.path().join("service"));
        let use_it = |path: &Path| {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join(data_dir::STORE), "").unwrap();
        };
        assert_eq!(administered(Ok(usual.clone()), &service).unwrap(), usual);
        use_it(&service);
        assert_eq!(administered(Ok(usual.clone()), &service).unwrap(), service);
        let nowhere = || Err(DataFolderError::Nowhere.into());
        assert_eq!(administered(nowhere(), &service).unwrap(), service, "root without a home");
        use_it(&usual);
        let told = administered(Ok(usual.clone()), &service).unwrap_err().to_string();
        for part in [&usual, &service].map(|path| path.display().to_string()) {
            assert!(told.contains(&part) && told.contains("--data"), "{told}");
        }
    }
}
