//! The folder where a jump host keeps what must survive it: its lock, its host keys, its store, and where it can be reached.
//!
//! Nothing in it is ever overwritten because it could not be read: a broken file is an error for a person to judge.
//! `addresses.json` and `control.sock` alone are of the running process and are written anew by each.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use adit_net::data_folder::{self, DataFolder, DataFolderError};
use adit_ssh::crypto::{HostKey, HostKeyError};
use serde::Serialize;
use thiserror::Error;

/// The host key that the first run makes.
const HOST_KEY: &str = "host_key_ed25519";

/// The store.
pub const STORE: &str = "store.sqlite";

/// Every file with this beginning is a host key; more than one serves people who move from an old key to a new one.
const HOST_KEY_PREFIX: &str = "host_key_";

/// A data folder, locked: while this value lives, no other process serves or changes the folder.
#[derive(Debug)]
pub struct DataDir(DataFolder);

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// The folder, its lock or a file of it.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// A host key file holds something else.
    #[error(
        "cannot use {path} as a host key; restore it from a backup, or move it away to have a new one made \
         (clients then warn that the key changed)"
    )]
    BrokenHostKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never a part of its content.
        #[source]
        source: HostKeyError,
    },
    /// A host key could not be made.
    #[error("cannot make a host key")]
    MakeHostKey(#[source] HostKeyError),
}

/// The host keys of a folder.
pub struct HostKeys {
    /// All keys, the one of the first run first.
    pub keys: Vec<HostKey>,
    /// The file of the first key.
    pub path: PathBuf,
    /// Whether this run made it.
    pub created: bool,
}

/// Where `adit` keeps the state of a jump host when nobody says otherwise.
///
/// # Errors
/// [`DataFolderError::Nowhere`]
pub fn default_path(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, DataFolderError> {
    data_folder::default_path("jumphost", variable)
}

/// The socket through which a running jump host takes commands.
#[must_use]
pub fn control_socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

impl DataDir {
    /// Opens the folder, making it (for its owner alone) where it is missing, and takes its lock.
    ///
    /// # Errors
    /// [`DataFolderError::Busy`] while another process holds it, else what the system refused.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        Ok(Self(DataFolder::open(path, "jump host")?))
    }

    /// The folder, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The file of the store, which makes and guards it.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.path().join(STORE)
    }

    /// Reads the host keys; the first run makes one.
    ///
    /// # Errors
    /// A file that cannot be read or is no host key. It is left as it is.
    pub fn host_keys(&self) -> Result<HostKeys, DataDirError> {
        let first = self.path().join(HOST_KEY);
        let (key, created) = match self.read_host_key(&first)? {
            Some(key) => (key, false),
            None => (self.make_host_key(&first)?, true),
        };
        let mut keys = vec![key];
        for path in self.other_host_keys()? {
            keys.extend(self.read_host_key(&path)?);
        }
        Ok(HostKeys { keys, path: first, created })
    }

    fn read_host_key(&self, path: &Path) -> Result<Option<HostKey>, DataDirError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(DataFolderError::File { action: "read the host key", path: path.to_owned(), source }.into());
            }
        };
        let key = HostKey::from_openssh(&text)
            .map_err(|source| DataDirError::BrokenHostKey { path: path.to_owned(), source })?;
        if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
            tracing::warn!(path = %path.display(), "other users can read this host key; chmod 600 it");
        }
        Ok(Some(key))
    }

    fn make_host_key(&self, path: &Path) -> Result<HostKey, DataDirError> {
        let key = HostKey::generate_ed25519().map_err(DataDirError::MakeHostKey)?;
        let text = key.to_openssh("adit jump host").map_err(DataDirError::MakeHostKey)?;
        let written = match data_folder::write_once(path, text.as_bytes()) {
            Ok(true) => return Ok(key),
            Ok(false) => io::ErrorKind::AlreadyExists.into(),
            Err(source) => source,
        };
        Err(DataFolderError::File { action: "write the host key", path: path.to_owned(), source: written }.into())
    }

    fn other_host_keys(&self) -> Result<Vec<PathBuf>, DataDirError> {
        let folder_error = |source| DataFolderError::Folder { path: self.path().to_owned(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(self.path()).map_err(folder_error)? {
            let name = entry.map_err(folder_error)?.file_name();
            let wanted = name
                .to_str()
                .is_some_and(|name| name.starts_with(HOST_KEY_PREFIX) && name != HOST_KEY && !name.ends_with(".pub"));
            if wanted {
                paths.push(self.path().join(name));
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Writes `addresses.json`, whole or not at all: a reader never sees half of it.
    ///
    /// # Errors
    /// What the system refused.
    pub fn write_addresses(&self, addresses: &impl Serialize) -> Result<(), DataDirError> {
        Ok(self.0.write_addresses(addresses)?)
    }

    /// Removes what only a running process has: nobody should read old addresses or knock at a dead socket.
    pub fn clear_runtime_files(&self) {
        self.0.clear(&[&control_socket(self.path())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let made = data.host_keys().unwrap();
        assert!(made.created);
        assert_eq!(fs::metadata(&made.path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = data.host_keys().unwrap();
        assert!(!found.created);
        assert_eq!(made.keys[0].public_key().fingerprint(), found.keys[0].public_key().fingerprint());
    }

    #[test]
    fn a_broken_host_key_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let path = data.path().join(HOST_KEY);
        fs::write(&path, "scribble").unwrap();
        assert!(matches!(data.host_keys(), Err(DataDirError::BrokenHostKey { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "scribble");
    }

    #[test]
    fn more_host_keys_are_loaded_after_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let first = data.host_keys().unwrap();
        let second = HostKey::generate_ed25519().unwrap();
        fs::write(data.path().join("host_key_next"), second.to_openssh("next").unwrap()).unwrap();
        fs::write(data.path().join("host_key_next.pub"), "not read").unwrap();
        let prints: Vec<_> = data.host_keys().unwrap().keys.iter().map(|key| key.public_key().fingerprint()).collect();
        assert_eq!(prints, [first.keys[0].public_key().fingerprint(), second.public_key().fingerprint()]);
    }

    #[test]
    fn addresses_of_a_dead_process_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        data.write_addresses(&serde_json::json!({"ssh": "127.0.0.1:2222"})).unwrap();
        assert!(data.path().join("addresses.json").exists());
        data.clear_runtime_files();
        assert!(!data.path().join("addresses.json").exists());
    }
}
