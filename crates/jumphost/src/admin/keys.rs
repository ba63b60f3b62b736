//! Keys: add, list, remove.

use std::collections::HashMap;
use std::fmt;

use adit_core::{ParsePortRangeError, PortRange};
use adit_ssh::crypto::{Fingerprint, FingerprintError, KeyTextError, PublicKey};
use adit_store::{AddKeyError, KEYS_PER_ACCOUNT, Key, NewKey, RemoveKeyError, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{AccountLookupError, Admin, Fault, FaultKind, LifetimeError, LongestLife, Operation, escaped};
use crate::audit::Fact;
use crate::registry::CutReason;

/// A label is a name for people, not a text.
const LONGEST_LABEL: usize = 200;

/// Gives an account a key.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyAdd {
    /// The account's name.
    pub account: String,
    /// The public key as a person pastes it: one line `type base64 comment`.
    pub text: String,
    /// What its owner calls it; the key's comment where nothing is named.
    pub label: Option<String>,
    /// How long it may log in, from now, 10 years at most; without end where nothing is named.
    pub expires_in_ms: Option<u64>,
    /// The only ports it may ask for, `FIRST-LAST`.
    pub ports: Option<String>,
}

/// Without the text, which may be a private key that somebody pasted.
impl fmt::Debug for KeyAdd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyAdd").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Lists the keys of one account, or of all, in the order they were added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyList {
    /// The account's name.
    pub account: Option<String>,
}

/// Takes a key from an account and cuts the sessions that logged in with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyRemove {
    /// The account's name.
    pub account: String,
    /// `SHA256:…`, as `key list` and `ssh-keygen -l` print it.
    pub fingerprint: String,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Whose it is.
    pub account: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// `ssh-ed25519`, …
    pub key_type: String,
    /// What its owner calls it.
    pub label: String,
    /// When it was added.
    pub added_at: i64,
    /// When it last logged in.
    pub last_used_at: Option<i64>,
    /// From then on it does not log in.
    pub expires_at: Option<i64>,
    /// The only ports it may ask for.
    pub ports: Option<String>,
}

/// What went with a removed key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyRemoved {
    /// Whose it was.
    pub account: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// How many live sessions were cut.
    pub sessions_cut: usize,
}

/// Why a key was not added.
#[derive(Debug, Error)]
pub enum KeyAddError {
    /// There is no such account.
    #[error(transparent)]
    Account(#[from] AccountLookupError),
    /// The text is not a public key that we take.
    #[error(transparent)]
    Text(#[from] KeyTextError),
    /// Its label, expiry or ports do not work.
    #[error(transparent)]
    Terms(#[from] KeyTermsError),
    /// The account has it already.
    #[error("{account} already has the key {fingerprint}; there is nothing to do")]
    AlreadyYours {
        /// The account.
        account: String,
        /// The key.
        fingerprint: String,
    },
    /// Another account has it.
    #[error(
        "another account holds the key {fingerprint}; a key is one person's: make a new one with `ssh-keygen -t ed25519`, or \
         move this one with `adit jumphost key claim {account} FILE`, which takes a signature made with it"
    )]
    HeldByOther {
        /// The account that asked.
        account: String,
        /// The key.
        fingerprint: String,
    },
    /// The account has as many as it may.
    #[error("{account} has {KEYS_PER_ACCOUNT} keys already; remove some that are not used any more")]
    TooMany {
        /// The account.
        account: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for KeyAddError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Account(error) => error.kind(),
            Self::Terms(error) => error.kind(),
            Self::Text(_) => FaultKind::BadInput,
            Self::AlreadyYours { .. } | Self::HeldByOther { .. } | Self::TooMany { .. } => FaultKind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Account(error) => error.code(),
            Self::Text(_) => "bad-key",
            Self::Terms(error) => error.code(),
            Self::AlreadyYours { .. } => "key-already-yours",
            Self::HeldByOther { .. } => "key-held-by-other",
            Self::TooMany { .. } => "too-many-keys",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a key cannot be had on the terms that were typed.
#[derive(Debug, Error)]
pub enum KeyTermsError {
    /// The label is too long.
    #[error("a label may have {LONGEST_LABEL} characters, this one has {length}")]
    LongLabel {
        /// How many it has.
        length: usize,
    },
    /// It cannot last so long.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// The ports are not a range.
    #[error(transparent)]
    Ports(#[from] ParsePortRangeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for KeyTermsError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::LongLabel { .. } | Self::Lifetime(_) | Self::Ports(_) => FaultKind::BadInput,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::LongLabel { .. } => "long-label",
            Self::Lifetime(_) => "bad-expiry",
            Self::Ports(_) => "bad-port-range",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a key was not removed.
#[derive(Debug, Error)]
pub enum KeyRemoveError {
    /// There is no such account.
    #[error(transparent)]
    Account(#[from] AccountLookupError),
    /// The text is no fingerprint.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// The account has no such key.
    #[error("{account} has no key {fingerprint}; `adit jumphost key list {account}` shows those it has")]
    NoSuchKey {
        /// The account.
        account: String,
        /// The fingerprint asked for.
        fingerprint: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for KeyRemoveError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Account(error) => error.kind(),
            Self::Fingerprint(_) => FaultKind::BadInput,
            Self::NoSuchKey { .. } => FaultKind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Account(error) => error.code(),
            Self::Fingerprint(_) => "bad-fingerprint",
            Self::NoSuchKey { .. } => "no-such-key",
            Self::Store(error) => error.code(),
        }
    }
}

impl Operation for KeyAdd {
    const NAME: &'static str = "key-add";
    type Answer = KeyView;
    type Error = KeyAddError;

    async fn run(self, admin: &Admin) -> Result<KeyView, KeyAddError> {
        let (public, comment) = PublicKey::from_text(&self.text)?;
        let account = admin.account(&self.account).await?;
        let label = self.label.or(comment).unwrap_or_default();
        let new = on_terms(admin, &public, label.clone(), self.expires_in_ms, self.ports.as_deref()).await?;
        let key = match admin.store.add_key(account.id, new).await {
            Ok(key) => key,
            Err(AddKeyError::KeyAlreadyYours { fingerprint }) => {
                return Err(KeyAddError::AlreadyYours { account: account.name, fingerprint });
            }
            Err(AddKeyError::KeyHeldByOther { fingerprint, .. }) => {
                return Err(KeyAddError::HeldByOther { account: account.name, fingerprint });
            }
            Err(AddKeyError::TooMany) => return Err(KeyAddError::TooMany { account: account.name }),
            Err(AddKeyError::NoSuchAccount { .. }) => {
                return Err(AccountLookupError::NoSuchAccount(account.name).into());
            }
            Err(AddKeyError::Store(error)) => return Err(error.into()),
        };
        admin.follow_change().await;
        admin.record_on(&account, &Fact::KeyAdded { key: public.fingerprint(), label }).await;
        Ok(view(key, account.name))
    }
}

impl Operation for KeyList {
    const NAME: &'static str = "key-list";
    type Answer = Vec<KeyView>;
    type Error = AccountLookupError;

    async fn run(self, admin: &Admin) -> Result<Vec<KeyView>, AccountLookupError> {
        let names: HashMap<i64, String> = match &self.account {
            Some(name) => admin.account(name).await.map(|account| [(account.id, account.name)].into())?,
            None => {
                let accounts = admin.store.list_accounts().await?.into_iter().map(|row| row.account);
                accounts.map(|account| (account.id, account.name)).collect()
            }
        };
        let only = self.account.and_then(|_| names.keys().next().copied());
        let keys = admin.store.list_keys(only).await?;
        // An account that was added between the two reads has its turn in the next list.
        Ok(keys.into_iter().filter_map(|key| names.get(&key.account).cloned().map(|name| view(key, name))).collect())
    }
}

impl Operation for KeyRemove {
    const NAME: &'static str = "key-remove";
    type Answer = KeyRemoved;
    type Error = KeyRemoveError;

    async fn run(self, admin: &Admin) -> Result<KeyRemoved, KeyRemoveError> {
        let key: Fingerprint = self.fingerprint.parse()?;
        let account = admin.account(&self.account).await?;
        let removed = match admin.store.remove_key(account.id, &key.to_string()).await {
            Ok(removed) => removed,
            Err(RemoveKeyError::NoSuchKey { fingerprint }) => {
                return Err(KeyRemoveError::NoSuchKey { account: account.name, fingerprint });
            }
            Err(RemoveKeyError::Store(error)) => return Err(error.into()),
        };
        let sessions_cut = admin.cut_and_follow(|registry| registry.cut_key(removed.id, CutReason::KeyRemoved)).await;
        admin.record_on(&account, &Fact::KeyRemoved { key, sessions_cut }).await;
        Ok(KeyRemoved { account: account.name, fingerprint: key.to_string(), sessions_cut })
    }
}

/// The key as it is to be stored, with the terms that a person typed checked.
pub(super) async fn on_terms(
    admin: &Admin,
    public: &PublicKey,
    label: String,
    expires_in_ms: Option<u64>,
    ports: Option<&str>,
) -> Result<NewKey, KeyTermsError> {
    let ports = ports.map(str::parse::<PortRange>).transpose()?;
    let length = label.chars().count();
    if length > LONGEST_LABEL {
        return Err(KeyTermsError::LongLabel { length });
    }
    let expires_at = match expires_in_ms {
        Some(millis) => Some(admin.store.now().await?.after(LongestLife::KEY.check(millis)?)),
        None => None,
    };
    Ok(NewKey {
        blob: public.blob().to_vec(),
        fingerprint: public.fingerprint().to_string(),
        key_type: public.key_type().to_owned(),
        label,
        expires_at,
        ports: ports.map(|range| range.first().get()..=range.last().get()),
    })
}

pub(super) fn view(key: Key, account: String) -> KeyView {
    KeyView {
        account,
        fingerprint: key.fingerprint,
        key_type: key.key_type,
        label: escaped(&key.label),
        added_at: key.added_at.0,
        last_used_at: key.last_used_at.map(|time| time.0),
        expires_at: key.expires_at.map(|time| time.0),
        ports: key.ports.map(|ports| format!("{}-{}", ports.start(), ports.end())),
    }
}
