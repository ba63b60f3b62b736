//! Accounts of people whom an OpenID provider vouches for. The protocol, and with it whether the claims are true, is `adit-api`'s.
//!
//! An identity is the pair of issuer and subject (OpenID Connect Core 1.0 §2); names and addresses change hands. An account that is
//! already here is therefore never taken for the same person because of its name.

use std::net::SocketAddr;

use adit_core::{AccountId, AccountName};
use adit_store::{Account, AddAccountError, NewAccount, StoreError};
use thiserror::Error;

use super::session::{BeginSessionError, Shown, SignInError, SignedIn};
use super::{SignIn, Visit};
use crate::admin::{Fault, FaultKind};
use crate::audit::{Fact, Subject};

/// How many people of one suggested name there may be.
const SAME_NAMES: u32 = 1_000;

/// What a provider says of somebody, already verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcClaims {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// What the account might be called: `preferred_username`, or what stands before the `@` of an address.
    pub suggested_name: Option<String>,
}

/// Why nobody was signed in.
#[derive(Debug, Error)]
pub enum OidcSignInError {
    /// Unknown here, and strangers get no account.
    #[error("there is no account for you here; ask an administrator for an invitation")]
    NoAccount,
    /// The account is locked out.
    #[error("this account is locked; ask an administrator")]
    Disabled,
    /// Nothing was made: the names are used up, or the tier of the settings is not there.
    #[error("no account could be made: {reason}; tell an administrator")]
    NotMade {
        /// What is in the way.
        reason: &'static str,
    },
    /// The session could not begin.
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

impl From<BeginSessionError> for OidcSignInError {
    fn from(error: BeginSessionError) -> Self {
        match error {
            BeginSessionError::NoSuchAccount => Self::NoAccount,
            BeginSessionError::Disabled => Self::Disabled,
            error => Self::SignIn(error.into()),
        }
    }
}

impl From<StoreError> for OidcSignInError {
    fn from(error: StoreError) -> Self {
        Self::SignIn(error.into())
    }
}

impl Fault for OidcSignInError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoAccount | Self::Disabled => FaultKind::Forbidden,
            Self::NotMade { .. } => FaultKind::Internal,
            Self::SignIn(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoAccount => "no-account",
            Self::Disabled => "account-disabled",
            Self::NotMade { .. } => "account-not-made",
            Self::SignIn(error) => error.code(),
        }
    }
}

impl SignIn {
    /// Signs in whom the provider vouches for. Who is new here gets an account where the settings say so (`oidc.sign_up`).
    /// The way back from a provider shows nothing of the session from before, so none is replaced.
    ///
    /// # Errors
    /// [`OidcSignInError`].
    pub async fn with_oidc(&self, claims: &OidcClaims, client: SocketAddr) -> Result<SignedIn, OidcSignInError> {
        let found = self.shared.store.account_of_identity(&claims.issuer, &claims.subject).await?;
        let account = match found {
            Some(account) if account.disabled => return Err(OidcSignInError::Disabled),
            Some(account) => account,
            None => self.sign_up(claims, client).await?,
        };
        let visit = Visit { client, replaces: None };
        Ok(self.begin_session(account, Shown::Provider, &visit).await?)
    }

    /// Somebody who comes for the first time in two windows at once has an account by the second; otherwise it was the store.
    async fn signed_up_meanwhile(&self, claims: &OidcClaims, error: StoreError) -> Result<Account, OidcSignInError> {
        let found = self.shared.store.account_of_identity(&claims.issuer, &claims.subject).await?;
        found.ok_or_else(|| error.into())
    }

    async fn sign_up(&self, claims: &OidcClaims, client: SocketAddr) -> Result<Account, OidcSignInError> {
        let settings = self.shared.config.oidc.as_ref().filter(|oidc| oidc.sign_up);
        let tier = &settings.ok_or(OidcSignInError::NoAccount)?.tier;
        let wanted = account_name(claims.suggested_name.as_deref().unwrap_or_default());
        for number in 1..=SAME_NAMES {
            let Ok(name) = numbered(&wanted, number).parse::<AccountName>() else { continue };
            let new = NewAccount { name: name.to_string(), tier: tier.clone(), is_admin: false };
            match self.shared.store.add_account_with_identity(new, &claims.issuer, &claims.subject).await {
                Ok(account) => {
                    self.shared.follow_directory().await;
                    let fact = Fact::AccountAdded { tier: account.tier.clone(), admin: account.is_admin };
                    self.shared.audit.record(Subject::account(AccountId(account.id), name).from(client), &fact);
                    return Ok(account);
                }
                Err(AddAccountError::AccountExists { .. }) => {}
                Err(AddAccountError::NoSuchTier { .. }) => {
                    return Err(OidcSignInError::NotMade { reason: "the tier of `oidc.tier` does not exist" });
                }
                Err(AddAccountError::Store(error)) => return self.signed_up_meanwhile(claims, error).await,
            }
        }
        Err(OidcSignInError::NotMade { reason: "too many people have this name" })
    }
}

/// What of a suggested name can be an account's.
fn account_name(suggested: &str) -> String {
    let local = suggested.split('@').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let kept: String = local.to_lowercase().chars().filter(|c| plain(*c)).collect();
    let name: String = kept.trim_start_matches(['.', '_', '-']).chars().take(AccountName::MAX_LENGTH).collect();
    if name.is_empty() { "member".to_owned() } else { name }
}

/// The first of a name has it plain; the others a number behind it.
fn numbered(name: &str, number: u32) -> String {
    if number == 1 {
        return name.to_owned();
    }
    let suffix = format!("-{number}");
    let room = AccountName::MAX_LENGTH - suffix.len();
    format!("{}{suffix}", name.chars().take(room).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_becomes_a_name_that_can_be_one() {
        for (suggested, name) in [
            ("alice", "alice"),
            ("Alice.Smith@example.org", "alice.smith"),
            ("--rf", "rf"),
            ("Jörg Müller", "jrgmller"),
            ("日本語", "member"),
            ("", "member"),
        ] {
            assert_eq!(account_name(suggested), name);
            assert!(name.parse::<AccountName>().is_ok());
        }
    }

    #[test]
    fn the_next_of_a_name_gets_a_number() {
        assert_eq!((numbered("alice", 1), numbered("alice", 2)), ("alice".to_owned(), "alice-2".to_owned()));
        let long = numbered(&account_name(&"x".repeat(99)), 123);
        assert!(long.len() == 32 && long.ends_with("-123") && long.parse::<AccountName>().is_ok(), "{long}");
    }
}
