//! Keeps secrets at rest: passwords and passphrases of profiles, in one encrypted file.
//!
//! The file is sealed with AES-256-GCM. Its key lies in a file of its own, for its owner alone, so that a tunnel can start with the
//! machine; or it is derived from a passphrase (argon2id), and then somebody has to unlock the vault each time. What is kept
//! under which name is inside the seal. The vault is written whole, beside the old one, and then takes its place; one that cannot
//! be opened is never written over.
//!
//! The desktop's keyring is not asked: it is not there where an agent starts with the machine, and this file has to be right anyway.

mod file;
mod seal;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use adit_core::RecordId;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::credentials::{SecretError, SecretKind, SecretSource};
use crate::dial::Later;
use file::Folder;
use seal::{Key, Lock};

/// What the vault holds, by [`name`].
type Secrets = BTreeMap<String, Zeroizing<String>>;

/// One person's secrets. Cloning is cheap; clones share it.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Folder,
    /// The key of a vault that a passphrase locks, once somebody has unlocked it. Held while the file is read and written, on a
    /// thread that may wait; never while anything is awaited.
    unlocked: Mutex<Option<Key>>,
}

/// Secrets cannot be read or written. None of them was changed.
#[derive(Debug, Error)]
pub enum VaultError {
    /// It is locked with a passphrase.
    #[error("the secrets are locked: unlock them with their passphrase")]
    Locked,
    /// The passphrase does not open it.
    #[error("{} does not open: the passphrase is wrong, or the file is damaged", .0.display())]
    WrongPassphrase(PathBuf),
    /// The file is not what was written.
    #[error("{} is damaged, or belongs to another key: put it back from a copy, or move it away and set the secrets anew", .0.display())]
    Damaged(PathBuf),
    /// The file is there and its key is not.
    #[error("the key {} of the secrets is missing: put it back from a copy, or move secrets.vault away and set them anew", .0.display())]
    NoKey(PathBuf),
    /// An empty passphrase locks nothing.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The system failed us.
    #[error("cannot {attempt} {}: {source}", .path.display())]
    File {
        /// What was tried.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No randomness, or the cipher failed.
    #[error("the secrets cannot be encrypted on this machine")]
    Provider,
}

impl From<VaultError> for SecretError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Locked => Self::Locked,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl Vault {
    /// The vault in a folder, which is made if it is not there. Nothing is read before it is needed.
    pub fn at(folder: &Path) -> Self {
        Self { inner: Arc::new(Inner { folder: Folder::new(folder), unlocked: Mutex::new(None) }) }
    }

    /// Whether somebody has to unlock it before a secret can be used.
    ///
    /// # Errors
    /// [`VaultError`], when the file cannot be read.
    pub async fn is_locked(&self) -> Result<bool, VaultError> {
        self.run(|folder, unlocked| Ok(folder.has_passphrase()? && unlocked.is_none())).await
    }

    /// Opens a vault that a passphrase locks, until the process ends. One without needs none.
    ///
    /// # Errors
    /// [`VaultError::WrongPassphrase`], and what else keeps it from being read.
    pub async fn unlock(&self, passphrase: Zeroizing<String>) -> Result<(), VaultError> {
        self.run(move |folder, unlocked| {
            let Some(sealed) = folder.read()? else { return Ok(()) };
            let Lock::Passphrase(salt) = sealed.lock()? else { return Ok(()) };
            let key = Key::derive(&passphrase, &salt)?;
            let wrong = |_| VaultError::WrongPassphrase(folder.vault().to_owned());
            sealed.open(&key).map_err(wrong)?;
            *unlocked = Some(key);
            Ok(())
        })
        .await
    }

    /// From now on this passphrase is needed; `None`: the key lies in a file.
    ///
    /// # Errors
    /// [`VaultError`]; then all is as before.
    pub async fn set_passphrase(&self, passphrase: Option<Zeroizing<String>>) -> Result<(), VaultError> {
        self.run(move |folder, unlocked| {
            let _alone = folder.lock()?;
            let secrets = folder.load(unlocked.as_ref())?;
            match passphrase {
                Some(passphrase) if passphrase.is_empty() => Err(VaultError::EmptyPassphrase),
                Some(passphrase) => {
                    let salt = seal::random()?;
                    let key = Key::derive(&passphrase, &salt)?;
                    folder.write(&key, &Lock::Passphrase(salt), &secrets)?;
                    *unlocked = Some(key);
                    // The vault does not need it any more; one that stays behind opens nothing.
                    folder.remove_key();
                    Ok(())
                }
                None => {
                    folder.write(&folder.own_key()?, &Lock::KeyFile, &secrets)?;
                    *unlocked = None;
                    Ok(())
                }
            }
        })
        .await
    }

    /// Keeps a secret of a profile, instead of the one that was kept before.
    ///
    /// # Errors
    /// [`VaultError`]; then all is as before.
    pub async fn set(&self, profile: &RecordId, kind: SecretKind, secret: Zeroizing<String>) -> Result<(), VaultError> {
        let name = name(profile, kind);
        self.change(move |secrets| {
            secrets.insert(name, secret);
            true
        })
        .await
    }

    /// Forgets a secret of a profile, if there is one.
    ///
    /// # Errors
    /// [`VaultError`]; then all is as before.
    pub async fn remove(&self, profile: &RecordId, kind: SecretKind) -> Result<(), VaultError> {
        let name = name(profile, kind);
        self.change(move |secrets| secrets.remove(&name).is_some()).await
    }

    /// Writes what `change` makes of the secrets, if it says that it made something else.
    async fn change(&self, change: impl FnOnce(&mut Secrets) -> bool + Send + 'static) -> Result<(), VaultError> {
        self.run(move |folder, unlocked| {
            let _alone = folder.lock()?;
            let mut secrets = folder.load(unlocked.as_ref())?;
            if !change(&mut secrets) {
                return Ok(());
            }
            match (folder.read()?.map(|sealed| sealed.lock()).transpose()?, unlocked.as_ref()) {
                (Some(lock @ Lock::Passphrase(_)), Some(key)) => folder.write(key, &lock, &secrets),
                (Some(Lock::Passphrase(_)), None) => Err(VaultError::Locked),
                (Some(Lock::KeyFile) | None, _) => folder.write(&folder.own_key()?, &Lock::KeyFile, &secrets),
            }
        })
        .await
    }

    /// Does something with the files where waiting for a disk holds nobody up.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder, &mut Option<Key>) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            // A panic under it left the files as they were, and the key is whole or not there.
            let mut unlocked = inner.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
            work(&inner.folder, &mut unlocked)
        });
        done.await.unwrap_or(Err(VaultError::Provider))
    }
}

impl SecretSource for Vault {
    fn find<'a>(
        &'a self,
        profile: &'a RecordId,
        kind: SecretKind,
    ) -> Later<'a, Result<Option<Zeroizing<String>>, SecretError>> {
        let name = name(profile, kind);
        Box::pin(async move {
            let found = self.run(move |folder, unlocked| Ok(folder.load(unlocked.as_ref())?.remove(&name))).await;
            found.map_err(SecretError::from)
        })
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("at", &self.inner.folder.vault()).finish_non_exhaustive()
    }
}

/// What a secret is kept under; also what the store remembers of it.
pub(crate) fn name(profile: &RecordId, kind: SecretKind) -> String {
    match kind {
        SecretKind::Password => format!("{profile}/password"),
        SecretKind::Passphrase => format!("{profile}/passphrase"),
    }
}

#[cfg(test)]
mod tests;
