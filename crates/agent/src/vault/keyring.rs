//! The desktop's keyring, where a vault's key may lie instead of in a file: the freedesktop.org Secret Service, as GNOME Keyring,
//! KWallet and KeePassXC speak it on the session's D-Bus.
//!
//! Only the key of a vault goes there, one item for each data folder: secrets change together, whole or not at all, and a keyring need
//! not be asked for each. It is asked without a question to the person, but for [`Keyring::unlock`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use secret_service::{Collection, EncryptionType, Error, SecretService};
use thiserror::Error as ThisError;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::dial::Later;

/// A keyring is a program of this machine. One that says nothing for so long is taken for absent, as with D-Bus' own calls (25 s) but
/// sooner: a tunnel waits for it.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long a person may take to type the keyring's password: shorter than whoever asked for it waits.
const PERSON_TIME: Duration = Duration::from_secs(100);

/// Names the key of one vault in a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyName(pub [u8; 16]);

/// A keyring did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum KeyringError {
    /// It wants its password first.
    #[error("it is locked")]
    Locked,
    /// None runs for this person at this moment, or it has no place for keys.
    #[error("none is there")]
    Absent,
    /// It runs and says nothing.
    #[error("it does not answer")]
    Silent,
    /// It runs and fails.
    #[error("{0}")]
    Failed(String),
}

/// Keeps keys of vaults. Calls answer within seconds, but for [`unlock`](Self::unlock).
pub trait Keyring: Send + Sync {
    /// The key of this name; `None` where the keyring is open and has none.
    fn find(&self, name: KeyName) -> Later<'_, Result<Option<Zeroizing<Vec<u8>>>, KeyringError>>;
    /// Keeps a key under a name.
    fn keep<'a>(&'a self, name: KeyName, key: &'a [u8]) -> Later<'a, Result<(), KeyringError>>;
    /// Forgets the key of this name, if there is one.
    fn forget(&self, name: KeyName) -> Later<'_, Result<(), KeyringError>>;
    /// Lets the keyring ask the person for its password, where it is locked; less than two minutes.
    fn unlock(&self) -> Later<'_, Result<(), KeyringError>>;
}

/// The keyring of the desktop session that this process belongs to.
#[derive(Debug, Clone, Copy)]
pub struct DesktopKeyring;

impl Keyring for DesktopKeyring {
    fn find(&self, name: KeyName) -> Later<'_, Result<Option<Zeroizing<Vec<u8>>>, KeyringError>> {
        Box::pin(within(ANSWER_TIME, async move {
            let service = connect().await?;
            let hex = name.hex();
            let found = service.search_items(attributes(&hex)).await?;
            match (found.unlocked.first(), found.locked.is_empty()) {
                (Some(item), _) => Ok(Some(Zeroizing::new(item.get_secret().await?))),
                (None, false) => Err(Error::Locked),
                // Some keyrings show nothing of what is in a locked collection.
                (None, true) => open_collection(&service).await.map(|_| None),
            }
        }))
    }

    fn keep<'a>(&'a self, name: KeyName, key: &'a [u8]) -> Later<'a, Result<(), KeyringError>> {
        Box::pin(within(ANSWER_TIME, async move {
            let service = connect().await?;
            let collection = open_collection(&service).await?;
            let (label, hex) = ("Key of the secrets of adit's agent", name.hex());
            collection.create_item(label, attributes(&hex), key, true, "application/octet-stream").await?;
            Ok(())
        }))
    }

    fn forget(&self, name: KeyName) -> Later<'_, Result<(), KeyringError>> {
        Box::pin(within(ANSWER_TIME, async move {
            let service = connect().await?;
            let hex = name.hex();
            let found = service.search_items(attributes(&hex)).await?;
            for item in found.unlocked.iter().chain(&found.locked) {
                item.delete().await?;
            }
            Ok(())
        }))
    }

    fn unlock(&self) -> Later<'_, Result<(), KeyringError>> {
        Box::pin(async move {
            let asked = within(PERSON_TIME, async move {
                let service = connect().await?;
                service.get_default_collection().await?.unlock().await
            });
            // A question that nobody answers leaves it as it was.
            asked.await.map_err(|error| if error == KeyringError::Silent { KeyringError::Locked } else { error })
        })
    }
}

impl KeyName {
    fn hex(self) -> String {
        self.0.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The key crosses the bus encrypted, so that nobody who listens there reads it.
async fn connect() -> Result<SecretService<'static>, Error> {
    SecretService::connect(EncryptionType::Dh).await
}

async fn open_collection<'a>(service: &'a SecretService<'static>) -> Result<Collection<'a>, Error> {
    let collection = service.get_default_collection().await?;
    collection.ensure_unlocked().await?;
    Ok(collection)
}

fn attributes(name: &str) -> HashMap<&str, &str> {
    HashMap::from([("application", "adit"), ("vault", name)])
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, KeyringError> {
    let Ok(answer) = timeout(time, work).await else { return Err(KeyringError::Silent) };
    answer.map_err(|error| match error {
        Error::Locked | Error::Prompt | Error::PromptDisconnected => KeyringError::Locked,
        // `NoResult`: there is no default collection. What the bus refuses tells of a keyring that cannot be reached or started.
        Error::Unavailable | Error::NoResult | Error::Zbus(_) | Error::ZbusFdo(_) => {
            tracing::debug!(%error, "no keyring to be used");
            KeyringError::Absent
        }
        other => KeyringError::Failed(other.to_string()),
    })
}
