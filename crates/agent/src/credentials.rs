//! What a profile logs in with: which methods, in which order, and where their secrets come from.
//!
//! Secrets are fetched before the server is called, so that a profile that lacks one is told without a connection being made;
//! they are wiped when the login is over.

mod attempts;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_core::RecordId;
use adit_ssh::crypto::{Fingerprint, PrivateKey, PrivateKeyError};
use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use attempts::Attempts;

use crate::dial::Later;
use crate::link::LinkEnd;
use crate::plain_file;
use crate::ssh_agent::{AgentError, SshAgent};

/// The largest key file; RSA with 16384 bits takes 13 KiB.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// What a profile logs in with.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// What the profile is called, for errors.
    pub profile: Arc<str>,
    /// What its secrets are found by.
    pub id: RecordId,
    /// Ways to log in, the first choice first.
    pub methods: Vec<Method>,
}

/// One way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A private key in a file; its passphrase, if it has one, is the profile's.
    KeyFile {
        /// The file. Profiles may lack it, which is told at the login.
        path: Option<PathBuf>,
    },
    /// The keys of an ssh-agent.
    SshAgent {
        /// Its socket; `None`: what `SSH_AUTH_SOCK` says.
        socket: Option<PathBuf>,
        /// Only this key of them. Servers count each key they are offered.
        only: Option<Fingerprint>,
    },
    /// The profile's password. It also answers keyboard-interactive, where exactly one hidden question is asked.
    Password,
    /// Questions that a person answers (RFC 4256).
    KeyboardInteractive,
}

/// A secret that a profile may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// The password of the login.
    Password,
    /// What its private key is encrypted with.
    Passphrase,
}

/// Where secrets are kept.
pub trait SecretSource: Send + Sync {
    /// The secret of a profile; `None` where it has none.
    fn find<'a>(
        &'a self,
        profile: &'a RecordId,
        kind: SecretKind,
    ) -> Later<'a, Result<Option<Zeroizing<String>>, SecretError>>;
}

/// A secret could not be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretError {
    /// Somebody has to unlock them first.
    #[error("the secrets are locked")]
    Locked,
    /// The keyring or the file failed.
    #[error("the secrets cannot be read: {0}")]
    Failed(String),
}

/// No login with this profile.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// It is to log in with a password and has none.
    #[error("No password found for the profile “{profile}”: add one to it, then start the tunnel again")]
    NoPassword {
        /// The profile.
        profile: Arc<str>,
    },
    /// It is to log in with a key and names none.
    #[error("No SSH key path found for the profile “{profile}”: set one in it, then start the tunnel again")]
    NoKeyPath {
        /// The profile.
        profile: Arc<str>,
    },
    /// Its key is encrypted and it has no passphrase.
    #[error("No passphrase found for the key {} of the profile “{profile}”", .path.display())]
    NoPassphrase {
        /// The profile.
        profile: Arc<str>,
        /// The key.
        path: PathBuf,
    },
    /// Its key file cannot be read.
    #[error("cannot read the key {} of the profile “{profile}”: {source}", .path.display())]
    KeyFile {
        /// The profile.
        profile: Arc<str>,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its key file holds no key that can be used.
    #[error("the key {} of the profile “{profile}” cannot be used: {source}", .path.display())]
    Key {
        /// The profile.
        profile: Arc<str>,
        /// The file.
        path: PathBuf,
        /// Why.
        source: PrivateKeyError,
    },
    /// The ssh-agent does not answer, or has no key.
    #[error("the profile “{profile}” uses an ssh-agent: {source}")]
    SshAgent {
        /// The profile.
        profile: Arc<str>,
        /// Why.
        source: AgentError,
    },
    /// The secrets cannot be read.
    #[error("the profile “{profile}”: {source}")]
    Secrets {
        /// The profile.
        profile: Arc<str>,
        /// Why.
        source: SecretError,
    },
    /// It names no way to log in.
    #[error("the profile “{profile}” names no way to log in")]
    NoMethod {
        /// The profile.
        profile: Arc<str>,
    },
    /// The server refused some of it, and ended the login before the rest was tried.
    #[error("the server ended the login of “{user}” with the profile “{profile}”: {why}; before that, {tried}")]
    CutOff {
        /// The profile.
        profile: Arc<str>,
        /// The login name.
        user: String,
        /// What was tried and how that went.
        tried: String,
        /// What it said at the end.
        why: LinkEnd,
    },
    /// The server takes none of it.
    #[error("the server does not let “{user}” in with the profile “{profile}”: {tried}; it takes {takes}")]
    Refused {
        /// The profile.
        profile: Arc<str>,
        /// The login name.
        user: String,
        /// What was tried and how that went.
        tried: String,
        /// The methods the server named.
        takes: String,
    },
}

impl CredentialError {
    /// Whether another try makes no sense before somebody has acted.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Secrets { source: SecretError::Failed(_), .. })
    }

    /// Whether it is the secrets that somebody has to unlock.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Secrets { source: SecretError::Locked, .. })
    }
}

/// Credentials whose secrets are at hand: at least one of them.
pub(crate) struct Prepared {
    ready: Vec<Ready>,
    /// Of the methods that are not: why.
    missing: Vec<CredentialError>,
}

/// One way to log in, with what it takes.
enum Ready {
    Key(PrivateKey),
    SshAgent { agent: SshAgent, only: Option<Fingerprint> },
    Password(Zeroizing<String>),
    KeyboardInteractive,
}

impl Credentials {
    /// Fetches the secrets. A method that lacks its own is left out where there is another.
    pub(crate) async fn prepare(&self, secrets: &dyn SecretSource) -> Result<Prepared, CredentialError> {
        let mut prepared = Prepared { ready: Vec::new(), missing: Vec::new() };
        for method in &self.methods {
            match self.make_ready(method, secrets).await {
                Ok(ready) => prepared.ready.push(ready),
                Err(missing) => prepared.missing.push(missing),
            }
        }
        if prepared.ready.is_empty() {
            let profile = self.profile.clone();
            return Err(prepared.missing.into_iter().next().unwrap_or(CredentialError::NoMethod { profile }));
        }
        Ok(prepared)
    }

    async fn make_ready(&self, method: &Method, secrets: &dyn SecretSource) -> Result<Ready, CredentialError> {
        let profile = || self.profile.clone();
        match method {
            Method::KeyFile { path: None } => Err(CredentialError::NoKeyPath { profile: profile() }),
            Method::KeyFile { path: Some(path) } => self.read_key(path, secrets).await.map(Ready::Key),
            Method::SshAgent { socket, only } => {
                let agent = SshAgent::at(socket.as_deref());
                let agent = agent.map_err(|source| CredentialError::SshAgent { profile: profile(), source })?;
                Ok(Ready::SshAgent { agent, only: *only })
            }
            Method::Password => {
                let password = self.find(SecretKind::Password, secrets).await?;
                password.map(Ready::Password).ok_or_else(|| CredentialError::NoPassword { profile: profile() })
            }
            Method::KeyboardInteractive => Ok(Ready::KeyboardInteractive),
        }
    }

    async fn read_key(&self, path: &Path, secrets: &dyn SecretSource) -> Result<PrivateKey, CredentialError> {
        let profile = || self.profile.clone();
        let file = path.to_owned();
        let text = tokio::task::spawn_blocking(move || read_key_file(&file)).await;
        let text = text.map_err(io::Error::other).flatten();
        let text =
            text.map_err(|source| CredentialError::KeyFile { profile: profile(), path: path.to_owned(), source })?;
        let wrong = |source| CredentialError::Key { profile: profile(), path: path.to_owned(), source };
        match PrivateKey::from_openssh(&text) {
            Err(PrivateKeyError::Encrypted) => {}
            read => return read.map_err(wrong),
        }
        let Some(passphrase) = self.find(SecretKind::Passphrase, secrets).await? else {
            return Err(CredentialError::NoPassphrase { profile: profile(), path: path.to_owned() });
        };
        // Made slow on purpose, so that passphrases are hard to guess.
        let read = tokio::task::spawn_blocking(move || PrivateKey::from_encrypted(&text, &passphrase)).await;
        read.unwrap_or(Err(PrivateKeyError::Provider)).map_err(wrong)
    }

    async fn find(
        &self,
        kind: SecretKind,
        secrets: &dyn SecretSource,
    ) -> Result<Option<Zeroizing<String>>, CredentialError> {
        let found = secrets.find(&self.id, kind).await;
        found.map_err(|source| CredentialError::Secrets { profile: self.profile.clone(), source })
    }
}

/// What a key file says: of a file alone, and no more than a key can have. It blocks.
///
/// # Errors
/// What the system says, or that it can be no key.
pub fn read_key_file(path: &Path) -> io::Result<Zeroizing<String>> {
    let bytes = plain_file::read_all(&plain_file::open(path)?, MAX_KEY_FILE)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Zeroizing::new(text.to_owned()))
}
