//! Keeps secrets at rest: passwords and passphrases of profiles, in one encrypted file.
//!
//! The file is sealed with AES-256-GCM. Its key lies in the desktop's keyring, where one works; else in a file of its own, for its owner
//! alone, so that a tunnel can start with the machine; or it is derived from a passphrase (argon2id), and then somebody has to unlock
//! the vault each time. What is kept under which name is inside the seal. The vault is written whole, beside the old one, and then
//! takes its place; one that cannot be opened is never written over.

mod file;
mod keyring;
mod seal;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_core::RecordId;
use thiserror::Error;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::credentials::{SecretError, SecretKind, SecretSource};
use crate::dial::Later;
use file::Folder;
pub use keyring::{DesktopKeyring, KeyName, Keyring, KeyringError};
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
    keyring: Option<Arc<dyn Keyring>>,
    /// Held while the file is read and written, on a thread that may wait; never while anything is awaited elsewhere.
    known: Mutex<Known>,
}

/// What this process knows beside the files.
#[derive(Default)]
struct Known {
    /// The key of a vault that somebody has unlocked, by a passphrase or through the keyring, and the lock it opens.
    key: Option<(Lock, Key)>,
    /// When the keyring said nothing.
    silent_since: Option<Instant>,
}

/// For how long a keyring that hangs is not asked again: others would queue behind each of its time-outs.
const SILENCE: Duration = Duration::from_secs(10);

/// Where the key of a vault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// In a file beside it.
    File,
    /// In the head of whoever knows a passphrase.
    Passphrase,
    /// In the desktop's keyring.
    Keyring,
}

/// Where the key of a vault is to be. `Debug` does not show a passphrase.
#[derive(Clone, PartialEq, Eq)]
pub enum NewKeyPlace {
    /// See [`KeyPlace::File`].
    File,
    /// See [`KeyPlace::Passphrase`].
    Passphrase(Zeroizing<String>),
    /// See [`KeyPlace::Keyring`].
    Keyring,
}

impl std::fmt::Debug for NewKeyPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "File",
            Self::Passphrase(_) => "Passphrase(…)",
            Self::Keyring => "Keyring",
        })
    }
}

/// Secrets cannot be read or written. None of them was changed.
#[derive(Debug, Error)]
pub enum VaultError {
    /// It is locked with a passphrase.
    #[error("the secrets are locked: unlock them with their passphrase")]
    Locked,
    /// Its key lies in a keyring that does not give it out now.
    #[error(
        "the key of the secrets lies in the desktop's keyring, and {0}: log in to the desktop, or unlock it (adit secrets unlock)"
    )]
    KeyringShut(KeyringError),
    /// Its key is to lie in the keyring, which does not take it.
    #[error("the desktop's keyring cannot keep the key of the secrets: {0}")]
    NoKeyring(KeyringError),
    /// The keyring is open and does not have the key.
    #[error("the desktop's keyring has lost the key of {}: put it back, or move the file away and set the secrets anew", .0.display())]
    LostByKeyring(PathBuf),
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
    /// A passphrase locks it, and none was said.
    #[error("a passphrase locks the secrets: say it")]
    PassphraseMissing,
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

impl VaultError {
    /// Whether somebody can open it, as it is.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked | Self::KeyringShut(_))
    }
}

impl From<VaultError> for SecretError {
    fn from(error: VaultError) -> Self {
        if error.is_locked() { Self::Locked } else { Self::Failed(error.to_string()) }
    }
}

impl Vault {
    /// The vault in a folder, which is made if it is not there. Nothing is read before it is needed.
    pub fn at(folder: &Path) -> Self {
        Self::new(folder, None)
    }

    /// As [`at`](Self::at), and the key of a new vault lies in this keyring if it works.
    pub fn with_keyring(folder: &Path, keyring: Arc<dyn Keyring>) -> Self {
        Self::new(folder, Some(keyring))
    }

    fn new(folder: &Path, keyring: Option<Arc<dyn Keyring>>) -> Self {
        Self { inner: Arc::new(Inner { folder: Folder::new(folder), keyring, known: Mutex::default() }) }
    }

    /// Where its key is; `None` where nothing was ever kept.
    ///
    /// # Errors
    /// [`VaultError`], when the file cannot be read.
    pub async fn key_place(&self) -> Result<Option<KeyPlace>, VaultError> {
        self.run(|open| Ok(open.lock()?.map(|lock| lock.place()))).await
    }

    /// Whether somebody has to unlock it before a secret can be used. A keyring is asked for its key, without a question to anybody.
    ///
    /// # Errors
    /// [`VaultError`], when the file cannot be read.
    pub async fn is_locked(&self) -> Result<bool, VaultError> {
        self.run(|open| {
            let Some(lock @ (Lock::Passphrase(_) | Lock::Keyring(_))) = open.lock()? else { return Ok(false) };
            match open.key_of(&lock) {
                Ok(_) => Ok(false),
                Err(error) if error.is_locked() => Ok(true),
                // Nobody can unlock it. Who needs a secret hears so; all others can do without.
                Err(VaultError::LostByKeyring(_)) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Opens it until the process ends: with the passphrase that locks it, or by letting the keyring ask its person, which may take two
    /// minutes. A vault whose key lies in a file needs neither.
    ///
    /// # Errors
    /// [`VaultError::WrongPassphrase`], [`VaultError::PassphraseMissing`], and what else keeps it from being read.
    pub async fn unlock(&self, passphrase: Option<Zeroizing<String>>) -> Result<(), VaultError> {
        if let (Some(KeyPlace::Keyring), Some(keyring)) = (self.key_place().await?, &self.inner.keyring) {
            keyring.unlock().await.map_err(VaultError::KeyringShut)?;
        }
        self.run(move |open| {
            let Some(sealed) = open.folder.read()? else { return Ok(()) };
            match sealed.lock()? {
                Lock::KeyFile => Ok(()),
                lock @ Lock::Keyring(_) => sealed.open(&open.key_of(&lock)?).map(drop),
                Lock::Passphrase(salt) => {
                    let key = Key::derive(&passphrase.ok_or(VaultError::PassphraseMissing)?, &salt)?;
                    let wrong = |_| VaultError::WrongPassphrase(open.folder.vault().to_owned());
                    sealed.open(&key).map_err(wrong)?;
                    open.known.key = Some((Lock::Passphrase(salt), key));
                    Ok(())
                }
            }
        })
        .await
    }

    /// From now on its key is there, and nowhere else.
    ///
    /// # Errors
    /// [`VaultError`]; then all is as before.
    pub async fn move_key(&self, place: NewKeyPlace) -> Result<(), VaultError> {
        self.run(move |open| {
            let _alone = open.folder.lock()?;
            let secrets = open.load()?;
            let before = open.lock()?;
            let (key, lock) = match place {
                NewKeyPlace::File => (open.folder.own_key()?, Lock::KeyFile),
                NewKeyPlace::Passphrase(passphrase) if passphrase.is_empty() => {
                    return Err(VaultError::EmptyPassphrase);
                }
                NewKeyPlace::Passphrase(passphrase) => {
                    let salt = seal::random()?;
                    (Key::derive(&passphrase, &salt)?, Lock::Passphrase(salt))
                }
                NewKeyPlace::Keyring => open.new_key_in_keyring().map_err(VaultError::NoKeyring)?,
            };
            if let Err(error) = open.write(key, &lock, &secrets) {
                open.forget_in_keyring(Some(lock));
                return Err(error);
            }
            if lock != Lock::KeyFile {
                open.folder.remove_key();
            }
            open.forget_in_keyring(before);
            Ok(())
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
        self.run(move |open| {
            let _alone = open.folder.lock()?;
            let mut secrets = open.load()?;
            if !change(&mut secrets) {
                return Ok(());
            }
            let (key, lock) = match open.lock()? {
                Some(lock @ (Lock::Passphrase(_) | Lock::Keyring(_))) => (open.key_of(&lock)?, lock),
                Some(Lock::KeyFile) => (open.folder.own_key()?, Lock::KeyFile),
                None => {
                    let (key, lock) = open.first_key()?;
                    let written = open.write(key, &lock, &secrets);
                    return written.inspect_err(|_| open.forget_in_keyring(Some(lock)));
                }
            };
            open.write(key, &lock, &secrets)
        })
        .await
    }

    /// Does something with the files where waiting for a disk or a keyring holds nobody up.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Open<'_>) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let inner = self.inner.clone();
        let runtime = Handle::current();
        let done = tokio::task::spawn_blocking(move || {
            // A panic under it left the files as they were, and the key is whole or not there.
            let mut known = inner.known.lock().unwrap_or_else(PoisonError::into_inner);
            let keyring = inner.keyring.as_deref();
            work(&mut Open { folder: &inner.folder, keyring, runtime, known: &mut known })
        });
        done.await.unwrap_or(Err(VaultError::Provider))
    }
}

/// The vault while one thread works on it.
struct Open<'a> {
    folder: &'a Folder,
    keyring: Option<&'a dyn Keyring>,
    /// Asks the keyring, while this thread waits.
    runtime: Handle,
    known: &'a mut Known,
}

impl Open<'_> {
    fn lock(&self) -> Result<Option<Lock>, VaultError> {
        self.folder.read()?.map(|sealed| sealed.lock()).transpose()
    }

    /// All secrets.
    fn load(&mut self) -> Result<Secrets, VaultError> {
        let Some(sealed) = self.folder.read()? else { return Ok(Secrets::new()) };
        let key = self.key_of(&sealed.lock()?)?;
        sealed.open(&key)
    }

    fn key_of(&mut self, lock: &Lock) -> Result<Key, VaultError> {
        if let Some((opened, key)) = &self.known.key
            && opened == lock
        {
            return Ok(key.clone());
        }
        match lock {
            Lock::KeyFile => self.folder.key(),
            Lock::Passphrase(_) => Err(VaultError::Locked),
            Lock::Keyring(name) => {
                let key = self.ask_keyring(*name).map_err(VaultError::KeyringShut)?;
                let key = key.ok_or_else(|| VaultError::LostByKeyring(self.folder.vault().to_owned()))?;
                self.known.key = Some((lock.clone(), key.clone()));
                Ok(key)
            }
        }
    }

    fn ask_keyring(&mut self, name: KeyName) -> Result<Option<Key>, KeyringError> {
        if self.known.silent_since.is_some_and(|since| since.elapsed() < SILENCE) {
            return Err(KeyringError::Silent);
        }
        let found = self.runtime.block_on(self.keyring.ok_or(KeyringError::Absent)?.find(name));
        self.known.silent_since = (found == Err(KeyringError::Silent)).then(Instant::now);
        Ok(found?.and_then(|bytes| Key::from_bytes(&bytes)))
    }

    /// A key that the keyring has and gives back.
    fn new_key_in_keyring(&mut self) -> Result<(Key, Lock), KeyringError> {
        let keyring = self.keyring.ok_or(KeyringError::Absent)?;
        let no_randomness = |error: VaultError| KeyringError::Failed(error.to_string());
        let (key, name) = (Key::generate().map_err(no_randomness)?, KeyName(seal::random().map_err(no_randomness)?));
        self.runtime.block_on(keyring.keep(name, key.bytes()))?;
        match self.ask_keyring(name)? {
            Some(kept) if kept.bytes() == key.bytes() => Ok((key, Lock::Keyring(name))),
            _ => Err(KeyringError::Failed("it does not give back what it was given".to_owned())),
        }
    }

    /// For the first secret of all.
    fn first_key(&mut self) -> Result<(Key, Lock), VaultError> {
        match self.new_key_in_keyring() {
            Ok(kept) => Ok(kept),
            Err(why) => {
                if self.keyring.is_some() {
                    tracing::info!(%why, "the key of the secrets lies in a file: the desktop's keyring does not take it");
                }
                Ok((self.folder.own_key()?, Lock::KeyFile))
            }
        }
    }

    /// Puts a vault in the place of the old one, whole or not at all. This process can go on using it.
    fn write(&mut self, key: Key, lock: &Lock, secrets: &Secrets) -> Result<(), VaultError> {
        self.folder.write(&key, lock, secrets)?;
        self.known.key = match lock {
            Lock::KeyFile => None,
            Lock::Passphrase(_) | Lock::Keyring(_) => Some((lock.clone(), key)),
        };
        Ok(())
    }

    /// A key that no vault needs; one that stays behind opens nothing.
    fn forget_in_keyring(&self, lock: Option<Lock>) {
        if let (Some(Lock::Keyring(name)), Some(keyring)) = (lock, self.keyring)
            && let Err(error) = self.runtime.block_on(keyring.forget(name))
        {
            tracing::warn!(%error, "the keyring still has a key that is not used any more");
        }
    }
}

impl Lock {
    fn place(&self) -> KeyPlace {
        match self {
            Self::KeyFile => KeyPlace::File,
            Self::Passphrase(_) => KeyPlace::Passphrase,
            Self::Keyring(_) => KeyPlace::Keyring,
        }
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
            let found = self.run(move |open| Ok(open.load()?.remove(&name))).await;
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
