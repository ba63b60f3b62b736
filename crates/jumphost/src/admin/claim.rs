//! Claims: a key that another account holds goes to whoever proves to have its private half.
//!
//! Two steps, and nothing is remembered between them. The server writes a statement that names this jump host, the account, the key
//! and the time; the person signs it with `ssh-keygen -Y sign`; the server reads the time out of the statement, writes the same
//! statement again, and takes the signature only over exactly that text. So a signature serves one claim, here, for
//! [`GOOD_FOR`], and one that was made for anything else is none: the namespace is signed too.

use std::fmt;
use std::time::Duration;

use adit_ssh::crypto::{Fingerprint, HostKey, KeyTextError, PublicKey, SshsigError};
use adit_store::{Account, ClaimKeyError, StoreError, UnixMillis};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::keys::{KeyTermsError, KeyView, on_terms, view};
use super::{AccountLookupError, Admin, Fault, FaultKind, Operation, Place};
use crate::audit::Fact;
use crate::data_dir::DataDirError;
use crate::registry::CutReason;

/// What `ssh-keygen -Y sign -n` is given: a signature says what it was made for.
pub const CLAIM_NAMESPACE: &str = "adit-key-claim";

/// Time to carry a file to the machine with the key and back, also by mail; short enough that an old signature that turns up
/// somewhere moves nothing.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// Asks for the statement that the holder of a private key has to sign.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyClaimStatement {
    /// The account that is to have the key.
    pub account: String,
    /// The public key, as for [`KeyAdd`](super::KeyAdd).
    pub text: String,
}

/// Moves a key to an account and cuts the sessions that logged in with it.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyClaim {
    /// The account that is to have the key.
    pub account: String,
    /// The public key, as for [`KeyAdd`](super::KeyAdd).
    pub text: String,
    /// What was signed, byte for byte.
    pub statement: String,
    /// What `ssh-keygen -Y sign` made of it.
    pub signature: String,
    /// What its new owner calls it; the key's comment where nothing is named.
    pub label: Option<String>,
    /// How long it may log in, from now, as for [`KeyAdd`](super::KeyAdd).
    pub expires_in_ms: Option<u64>,
    /// The only ports it may ask for, `FIRST-LAST`.
    pub ports: Option<String>,
}

/// Without the text, which may be a private key that somebody pasted.
impl fmt::Debug for KeyClaimStatement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyClaimStatement").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Without the texts, as for [`KeyClaimStatement`].
impl fmt::Debug for KeyClaim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyClaim").field("account", &self.account).finish_non_exhaustive()
    }
}

/// What is to be signed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimStatement {
    /// The account that is to have the key.
    pub account: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// The text to sign, with its line ends.
    pub statement: String,
    /// Until when a signature over it is taken.
    pub good_until: i64,
    /// A shell command that signs it and prints the signature; KEY is the private key's file.
    pub command: String,
}

/// A key that was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyClaimed {
    /// The key as it is now.
    pub key: KeyView,
    /// How many live sessions of the account that held it were cut.
    pub sessions_cut: usize,
}

/// Why there is nothing to sign.
#[derive(Debug, Error)]
pub enum KeyClaimStatementError {
    /// There is no such account.
    #[error(transparent)]
    Account(#[from] AccountLookupError),
    /// The account is locked out, and a key would be lost with it.
    #[error("{account} is disabled, so no key can move to it")]
    Disabled {
        /// The account.
        account: String,
    },
    /// The text is not a public key that we take.
    #[error(transparent)]
    Text(#[from] KeyTextError),
    /// Nobody has it.
    #[error(
        "no account holds the key {fingerprint}; `adit jumphost key add {account} FILE` adds it without a signature"
    )]
    NotHeld {
        /// The account.
        account: String,
        /// The key.
        fingerprint: String,
    },
    /// The account has it already.
    #[error("{account} already has the key {fingerprint}; there is nothing to do")]
    AlreadyYours {
        /// The account.
        account: String,
        /// The key.
        fingerprint: String,
    },
    /// The host keys, which the statement names, cannot be read.
    #[error(transparent)]
    HostKeys(#[from] DataDirError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for KeyClaimStatementError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Account(error) => error.kind(),
            Self::Text(_) => FaultKind::BadInput,
            Self::Disabled { .. } | Self::NotHeld { .. } | Self::AlreadyYours { .. } => FaultKind::Conflict,
            Self::HostKeys(_) => FaultKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Account(error) => error.code(),
            Self::Text(_) => "bad-key",
            Self::Disabled { .. } => "account-disabled",
            Self::NotHeld { .. } => "key-not-held",
            Self::AlreadyYours { .. } => "key-already-yours",
            Self::HostKeys(_) => "host-keys-unusable",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a key did not move.
#[derive(Debug, Error)]
pub enum KeyClaimError {
    /// There is nothing to claim.
    #[error(transparent)]
    NotClaimable(#[from] KeyClaimStatementError),
    /// Its label, expiry or ports do not work.
    #[error(transparent)]
    Terms(#[from] KeyTermsError),
    /// The statement is for another account, key or jump host, or was changed after it was made.
    #[error(
        "this is not the statement that this jump host makes for {account} and this key; ask for one with \
         `adit jumphost key claim {account} FILE` and sign it unchanged"
    )]
    OtherStatement {
        /// The account.
        account: String,
    },
    /// The statement's time is over, or has not come.
    #[error(
        "this statement is not good any more: it is so for {} minutes; ask for a new one with \
         `adit jumphost key claim {account} FILE`",
        GOOD_FOR.as_secs() / 60
    )]
    Stale {
        /// The account.
        account: String,
    },
    /// It is not signed, or not with this key.
    #[error(transparent)]
    Signature(#[from] SshsigError),
}

impl Fault for KeyClaimError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NotClaimable(error) => error.kind(),
            Self::Terms(error) => error.kind(),
            Self::OtherStatement { .. } | Self::Stale { .. } | Self::Signature(_) => FaultKind::BadInput,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotClaimable(error) => error.code(),
            Self::Terms(error) => error.code(),
            Self::OtherStatement { .. } => "other-statement",
            Self::Stale { .. } => "stale-statement",
            Self::Signature(_) => "bad-signature",
        }
    }
}

/// The command that signs the statement in a file, into another beside it; both names as a shell is to read them.
#[must_use]
pub fn sign_command(key: &str, statement: &str) -> String {
    format!("ssh-keygen -Y sign -n {CLAIM_NAMESPACE} -f {key} {statement}")
}

impl Operation for KeyClaimStatement {
    const NAME: &'static str = "key-claim-statement";
    type Answer = ClaimStatement;
    type Error = KeyClaimStatementError;

    async fn run(self, admin: &Admin) -> Result<ClaimStatement, KeyClaimStatementError> {
        let (key, _) = PublicKey::from_text(&self.text)?;
        let claim = Claim::new(admin, &self.account, &key).await?;
        let issued = admin.store.now().await?;
        let statement = claim.statement(issued);
        Ok(ClaimStatement {
            // A statement has names, numbers and fingerprints only: nothing in it ends the quotation.
            command: format!("printf %s '{statement}' | ssh-keygen -Y sign -n {CLAIM_NAMESPACE} -f KEY"),
            statement,
            fingerprint: claim.key.to_string(),
            account: claim.account.name,
            good_until: issued.after(GOOD_FOR).0,
        })
    }
}

impl Operation for KeyClaim {
    const NAME: &'static str = "key-claim";
    type Answer = KeyClaimed;
    type Error = KeyClaimError;

    async fn run(self, admin: &Admin) -> Result<KeyClaimed, KeyClaimError> {
        let (public, comment) = PublicKey::from_text(&self.text).map_err(KeyClaimStatementError::Text)?;
        let claim = Claim::new(admin, &self.account, &public).await?;
        claim.check_statement(&self.statement, admin.store.now().await.map_err(KeyClaimStatementError::Store)?)?;
        public.verify_sshsig(CLAIM_NAMESPACE, self.statement.as_bytes(), &self.signature)?;

        let label = self.label.or(comment).unwrap_or_default();
        let new = on_terms(admin, &public, label.clone(), self.expires_in_ms, self.ports.as_deref()).await?;
        let claimed = match admin.store.claim_key(claim.account.id, claim.held, new).await {
            Ok(claimed) => claimed,
            Err(ClaimKeyError::NotHeld { .. }) => return Err(not_held(&claim.account, claim.key).into()),
            Err(ClaimKeyError::KeyAlreadyYours { .. }) => return Err(already_yours(&claim.account, claim.key).into()),
            // The statement names whom it was held by.
            Err(ClaimKeyError::ChangedHands { .. }) => {
                return Err(KeyClaimError::OtherStatement { account: claim.account.name });
            }
            Err(ClaimKeyError::NoSuchAccount { .. }) => {
                let gone = AccountLookupError::NoSuchAccount(claim.account.name);
                return Err(KeyClaimStatementError::Account(gone).into());
            }
            Err(ClaimKeyError::Store(error)) => return Err(KeyClaimStatementError::Store(error).into()),
        };
        // By the key's old number, because its new holder may be in already.
        let former = claimed.former.id;
        let sessions_cut = admin.cut_and_follow(|registry| registry.cut_key(former, CutReason::KeyRemoved)).await;
        let (key, holder) = (claim.key, claimed.holder);
        let lost = Fact::KeyLost { key, to: claim.account.name.clone(), sessions_cut };
        admin.record_on(&holder, &lost).await;
        let won = Fact::KeyClaimed { key, label, from: holder.name };
        admin.record_on(&claim.account, &won).await;
        Ok(KeyClaimed { key: view(claimed.key, claim.account.name), sessions_cut })
    }
}

/// Who claims which key at which jump host.
struct Claim {
    /// The fingerprints of its host keys: what an SSH client knows it by.
    host: String,
    account: Account,
    key: Fingerprint,
    /// The number under which the holder has the key. The claimer gets another, so a statement serves one claim.
    held: i64,
}

impl Claim {
    async fn new(admin: &Admin, account: &str, public: &PublicKey) -> Result<Self, KeyClaimStatementError> {
        let account = admin.account(account).await?;
        if account.disabled {
            return Err(KeyClaimStatementError::Disabled { account: account.name });
        }
        let key = public.fingerprint();
        let held = match admin.store.key_by_blob(public.blob()).await? {
            None => return Err(not_held(&account, key)),
            Some(held) if held.account == account.id => return Err(already_yours(&account, key)),
            Some(held) => held.id,
        };
        let host = match &admin.place {
            Place::Server(shared) => fingerprints(&shared.ssh.host_keys),
            Place::Folder(data) => fingerprints(&data.host_keys()?.keys),
        };
        Ok(Self { host, account, key, held })
    }

    fn statement(&self, issued: UnixMillis) -> String {
        let Self { host, account, key, held } = self;
        format!(
            "I have the private half of this SSH key, and want it to belong to this account.\n\
             jump host: {host}\naccount: {}\nkey: {key}\nheld as: {held}\nissued: {}\n",
            account.name, issued.0
        )
    }

    /// Whether a text is the statement of this claim, made within the last [`GOOD_FOR`].
    fn check_statement(&self, text: &str, now: UnixMillis) -> Result<(), KeyClaimError> {
        let other = || KeyClaimError::OtherStatement { account: self.account.name.clone() };
        let issued = text.lines().find_map(|line| line.strip_prefix("issued: ")?.parse().ok()).map(UnixMillis);
        let issued = issued.ok_or_else(other)?;
        if self.statement(issued) != text {
            return Err(other());
        }
        // One from the future was made by somebody else, to be good for longer.
        if issued > now || issued.after(GOOD_FOR) < now {
            return Err(KeyClaimError::Stale { account: self.account.name.clone() });
        }
        Ok(())
    }
}

fn not_held(account: &Account, key: Fingerprint) -> KeyClaimStatementError {
    KeyClaimStatementError::NotHeld { account: account.name.clone(), fingerprint: key.to_string() }
}

fn already_yours(account: &Account, key: Fingerprint) -> KeyClaimStatementError {
    KeyClaimStatementError::AlreadyYours { account: account.name.clone(), fingerprint: key.to_string() }
}

fn fingerprints(keys: &[HostKey]) -> String {
    keys.iter().map(|key| key.public_key().fingerprint().to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
