//! A member's keys. The administrator's operations do the work, with the member's own name in them.

use std::fmt;

use serde::Deserialize;
use utoipa::ToSchema;

use super::{Member, MemberOperation};
use crate::admin::{
    ClaimStatement, KeyAdd, KeyAddError, KeyClaim, KeyClaimError, KeyClaimStatement, KeyClaimStatementError, KeyRemove,
    KeyRemoveError, KeyRemoved, KeyView, Operation,
};
use crate::signin::scope::Scope;

/// Adds a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddKey {
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
impl fmt::Debug for AddKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AddKey").finish_non_exhaustive()
    }
}

/// Takes a key away and cuts the sessions that logged in with it.
#[derive(Debug, Deserialize)]
pub struct RemoveKey {
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// Asks for the statement that proves who holds the private half of a key that another account has.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskClaimStatement {
    /// The public key, as for [`AddKey`].
    pub text: String,
}

/// Moves a key of another account to this one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimKey {
    /// The public key, as for [`AddKey`].
    pub text: String,
    /// What its owner calls it from now on; the key's comment where nothing is named.
    pub label: Option<String>,
    /// What was signed, byte for byte.
    pub statement: String,
    /// What `ssh-keygen -Y sign` made of it.
    pub signature: String,
}

/// Without the text, as for [`AddKey`].
impl fmt::Debug for AskClaimStatement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AskClaimStatement").finish_non_exhaustive()
    }
}

/// Without the texts, as for [`AddKey`].
impl fmt::Debug for ClaimKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClaimKey").finish_non_exhaustive()
    }
}

impl MemberOperation for AskClaimStatement {
    const NEEDS: Scope = Scope::Write;
    type Answer = ClaimStatement;
    type Error = KeyClaimStatementError;

    async fn run(self, member: &Member) -> Result<ClaimStatement, KeyClaimStatementError> {
        KeyClaimStatement { account: member.name().to_string(), text: self.text }.run(&member.own()).await
    }
}

impl MemberOperation for ClaimKey {
    const NEEDS: Scope = Scope::Write;
    type Answer = KeyView;
    type Error = KeyClaimError;

    async fn run(self, member: &Member) -> Result<KeyView, KeyClaimError> {
        let Self { text, label, statement, signature } = self;
        let account = member.name().to_string();
        let claim = KeyClaim { account, text, statement, signature, label, expires_in_ms: None, ports: None };
        Ok(claim.run(&member.own()).await?.key)
    }
}

impl MemberOperation for AddKey {
    const NEEDS: Scope = Scope::Write;
    type Answer = KeyView;
    type Error = KeyAddError;

    async fn run(self, member: &Member) -> Result<KeyView, KeyAddError> {
        let Self { text, label, expires_in_ms, ports } = self;
        KeyAdd { account: member.name().to_string(), text, label, expires_in_ms, ports }.run(&member.own()).await
    }
}

impl MemberOperation for RemoveKey {
    const NEEDS: Scope = Scope::Write;
    type Answer = KeyRemoved;
    type Error = KeyRemoveError;

    async fn run(self, member: &Member) -> Result<KeyRemoved, KeyRemoveError> {
        KeyRemove { account: member.name().to_string(), fingerprint: self.fingerprint }.run(&member.own()).await
    }
}
