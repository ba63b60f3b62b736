//! The files of the vault: `secrets.vault`, and `secrets.key` where no passphrase locks it. Both are their owner's alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use adit_net::data_folder;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::seal::{KEY, Key, Lock, Sealed, seal};
use super::{Secrets, VaultError};
use crate::plain_file;

/// Ten thousand secrets fit; more is no vault.
const MAX_FILE: u64 = 16 * 1024 * 1024;

pub(super) struct Folder {
    folder: PathBuf,
    vault: PathBuf,
    key: PathBuf,
}

/// The vault as it was read, which knows where from.
pub(super) struct Kept<'a> {
    sealed: Sealed,
    folder: &'a Folder,
}

impl Kept<'_> {
    pub(super) fn lock(&self) -> Result<Lock, VaultError> {
        self.sealed.lock().ok_or_else(|| self.folder.damaged())
    }

    pub(super) fn open(&self, key: &Key) -> Result<Secrets, VaultError> {
        self.sealed.open(key).map_err(|_| self.folder.damaged())
    }
}

impl Folder {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), vault: folder.join("secrets.vault"), key: folder.join("secrets.key") }
    }

    pub(super) fn vault(&self) -> &Path {
        &self.vault
    }

    /// Keeps other processes from writing, for as long as the file is held.
    pub(super) fn lock(&self) -> Result<File, VaultError> {
        let path = self.folder.join("secrets.lock");
        let locked = self.make_folder().and_then(|()| {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.lock()?;
            Ok(file)
        });
        locked.map_err(|source| VaultError::File { attempt: "lock", path, source })
    }

    /// `None` where nothing was ever kept.
    pub(super) fn read(&self) -> Result<Option<Kept<'_>>, VaultError> {
        let Some(bytes) = read(&self.vault)? else { return Ok(None) };
        let sealed = Sealed::parse(bytes.to_vec()).ok_or_else(|| self.damaged())?;
        Ok(Some(Kept { sealed, folder: self }))
    }

    /// The key in the file.
    pub(super) fn key(&self) -> Result<Key, VaultError> {
        self.read_key()?.ok_or_else(|| VaultError::NoKey(self.key.clone()))
    }

    /// Puts a vault in the place of the old one, whole or not at all.
    pub(super) fn write(&self, key: &Key, lock: &Lock, secrets: &Secrets) -> Result<(), VaultError> {
        let sealed = seal(key, lock, secrets)?;
        self.replace(&self.vault, &sealed)
    }

    /// The key in the file; made where there is none.
    pub(super) fn own_key(&self) -> Result<Key, VaultError> {
        if let Some(key) = self.read_key()? {
            return Ok(key);
        }
        let key = Key::generate()?;
        self.replace(&self.key, key.bytes())?;
        Ok(key)
    }

    pub(super) fn remove_key(&self) {
        if let Err(error) = fs::remove_file(&self.key)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(key = %self.key.display(), %error, "cannot remove a key that is not used any more");
        }
    }

    fn read_key(&self) -> Result<Option<Key>, VaultError> {
        let Some(bytes) = read(&self.key)? else { return Ok(None) };
        let damaged = || VaultError::File {
            attempt: "use",
            path: self.key.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, format!("it does not hold {KEY} bytes")),
        };
        Key::from_bytes(&bytes).map(Some).ok_or_else(damaged)
    }

    fn damaged(&self) -> VaultError {
        VaultError::Damaged(self.vault.clone())
    }

    fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), VaultError> {
        let replaced = self.make_folder().and_then(|()| data_folder::replace(path, content, 0o600));
        replaced.map_err(|source| VaultError::File { attempt: "write", path: path.to_owned(), source })
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    let read = || {
        // A link may lead to a file that others write.
        let file = match plain_file::open_with(OpenOptions::new().read(true), OFlags::NOFOLLOW, path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            let told = "others may read or write it; make it private (chmod 600)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
        }
        plain_file::read_all(&file, MAX_FILE).map(Some)
    };
    read().map_err(|source| VaultError::File { attempt: "read", path: path.to_owned(), source })
}
