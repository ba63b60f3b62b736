//! The folder where a jump host keeps what must survive it: its lock, its host keys, its store, and where it can be reached.
//!
//! Nothing in it is ever overwritten because it could not be read: a broken file is an error for a person to judge.
//! `addresses.json` and `control.sock` alone are of the running process and are written anew by each.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

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
pub struct DataDir {
    path: PathBuf,
    /// Held for its lock, which the system drops with the descriptor, also after a crash.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Neither `--data` nor the environment says where the folder is.
    #[error("no data folder: neither XDG_STATE_HOME nor HOME is set; name one with --data DIR")]
    Nowhere,
    /// The folder cannot be made or entered.
    #[error("cannot use the data folder {path}; check its owner and rights, or name another with --data DIR")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("another jump host already runs on {path}{}; stop it first, or use another folder with --data DIR", Pid(*.pid))]
    Busy {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, where it has said so.
        pid: Option<u32>,
    },
    /// A file in the folder cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
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

struct Pid(Option<u32>);

impl std::fmt::Display for Pid {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(out, " (pid {pid})"))
    }
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

/// Where `adit` keeps the state of a jump host when nobody says otherwise (XDG Base Directory Specification).
///
/// # Errors
/// [`DataDirError::Nowhere`] where neither variable is set.
pub fn default_path(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, DataDirError> {
    // The specification has relative paths ignored.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("adit/jumphost"))
        .ok_or(DataDirError::Nowhere)
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
    /// [`DataDirError::Busy`] while another process holds it, else what the system refused.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let folder_error = |source| DataDirError::Folder { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(folder_error)?;
        let path = fs::canonicalize(path).map_err(folder_error)?;
        let lock_path = path.join("lock");
        let lock_error = |action| move |source| DataDirError::File { action, path: lock_path.clone(), source };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|source| DataDirError::Folder { path: path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::Busy { pid: read_pid(&mut lock), path }),
            Err(TryLockError::Error(source)) => return Err(lock_error("lock")(source)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(lock_error("write"))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the store, which makes and guards it.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// Reads the host keys; the first run makes one.
    ///
    /// # Errors
    /// A file that cannot be read or is no host key. It is left as it is.
    pub fn host_keys(&self) -> Result<HostKeys, DataDirError> {
        let first = self.path.join(HOST_KEY);
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
                return Err(DataDirError::File { action: "read the host key", path: path.to_owned(), source });
            }
        };
        let key = HostKey::from_openssh(&text)
            .map_err(|source| DataDirError::BrokenHostKey { path: path.to_owned(), source })?;
        if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
            tracing::warn!(path = %path.display(), "other users can read this host key; chmod 600 it");
        }
        Ok(Some(key))
    }

    /// The key is written beside its place and then linked into it: a crash leaves no half of a key, and a key that appeared
    /// meanwhile is not replaced.
    fn make_host_key(&self, path: &Path) -> Result<HostKey, DataDirError> {
        let key = HostKey::generate_ed25519().map_err(DataDirError::MakeHostKey)?;
        let text = key.to_openssh("adit jump host").map_err(DataDirError::MakeHostKey)?;
        let draft = self.path.join("new-host-key");
        let written = write_private(&draft, text.as_bytes()).and_then(|()| fs::hard_link(&draft, path));
        // The draft goes in any case; a failure to remove it would hide the one that matters.
        let _ = fs::remove_file(&draft);
        written.map_err(|source| DataDirError::File { action: "write the host key", path: path.to_owned(), source })?;
        Ok(key)
    }

    fn other_host_keys(&self) -> Result<Vec<PathBuf>, DataDirError> {
        let folder_error = |source| DataDirError::Folder { path: self.path.clone(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(folder_error)? {
            let name = entry.map_err(folder_error)?.file_name();
            let wanted = name
                .to_str()
                .is_some_and(|name| name.starts_with(HOST_KEY_PREFIX) && name != HOST_KEY && !name.ends_with(".pub"));
            if wanted {
                paths.push(self.path.join(name));
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
        let path = self.path.join("addresses.json");
        let draft = self.path.join("addresses.json.new");
        let write = || {
            let mut text = serde_json::to_vec_pretty(addresses)?;
            text.push(b'\n');
            fs::write(&draft, text)?;
            fs::rename(&draft, &path)
        };
        write().map_err(|source| DataDirError::File { action: "write", path: path.clone(), source })
    }

    /// Removes what only a running process has: nobody should read old addresses or knock at a dead socket.
    pub fn clear_runtime_files(&self) {
        for path in [self.path.join("addresses.json"), control_socket(&self.path)] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove a file of the last run");
            }
        }
    }
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    // A draft of a run that was killed here may still lie about.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(&parent.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_second_server_hears_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let refused = DataDir::open(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }

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
        write_private(&data.path().join("host_key_next"), second.to_openssh("next").unwrap().as_bytes()).unwrap();
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

    #[test]
    fn the_default_follows_the_xdg_folders() {
        let with = |pairs: &'static [(&str, &str)]| {
            default_path(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]).unwrap(), Path::new("/s/adit/jumphost"));
        assert_eq!(
            with(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]).unwrap(),
            Path::new("/h/.local/state/adit/jumphost")
        );
        assert!(matches!(with(&[]), Err(DataDirError::Nowhere)));
    }
}
