//! Changing one's password.

use std::time::{Duration, Instant};

use adit_core::Source;
use adit_store::{Account, SetPasswordError, StoreError};
use serde::Deserialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::{AccountGone, Member, MemberOperation};
use crate::admin::{Fault, FaultKind};
use crate::audit::Fact;
use crate::shared::Shared;
use crate::signin::SignInError;
use crate::signin::password::{Password, Verdict, WeakPassword};
use crate::signin::scope::{Forbidden, Scope};

/// Changes the password, and ends the account's other sessions. Its API tokens stay: whoever changes a password knows it, and has a
/// page that lists them; it is a lost password that ends them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one until now.
    pub current: Password,
    /// The one from now on.
    pub new: Password,
}

/// Why a password stays as it is.
#[derive(Debug, Error)]
pub enum ChangePasswordError {
    /// An API token may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The current password is another one, or the account has none.
    #[error("this is not your current password")]
    WrongPassword,
    /// It was changed while it was compared.
    #[error("your password was changed in this very moment; sign in with the new one")]
    Changed,
    /// The account is gone.
    #[error(transparent)]
    AccountGone(#[from] AccountGone),
    /// The new one is not good enough.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// Too many failures, too many at once, or the store failed.
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

impl From<StoreError> for ChangePasswordError {
    fn from(error: StoreError) -> Self {
        Self::SignIn(error.into())
    }
}

impl Fault for ChangePasswordError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::WrongPassword | Self::Weak(_) => FaultKind::BadInput,
            Self::Changed => FaultKind::Conflict,
            Self::AccountGone(error) => error.kind(),
            Self::SignIn(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::WrongPassword => "wrong-password",
            Self::Changed => "password-changed",
            Self::AccountGone(error) => error.code(),
            Self::Weak(_) => "weak-password",
            Self::SignIn(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SignIn(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl MemberOperation for ChangePassword {
    const NEEDS: Scope = Scope::Write;
    type Answer = ();
    type Error = ChangePasswordError;

    async fn run(self, member: &Member) -> Result<(), ChangePasswordError> {
        let session = member.session()?;
        self.new.check(member.name())?;
        let (shared, account) = (member.shared(), member.account());
        // A session that was left open must not let a stranger guess the password behind it.
        let source = Source::from(member.client().ip());
        let begun = shared.attempts().handle_attempt(Some(member.name().clone()), source, Instant::now());
        let attempt = begun.map_err(SignInError::from)?;
        let judged = judge(shared, account, &self.current).await;
        match &judged {
            Ok(_) => shared.attempts().handle_success(&attempt),
            // Counted from its beginning.
            Err(ChangePasswordError::WrongPassword) => {}
            Err(_) => shared.attempts().handle_unjudged(&attempt),
        }
        let old = judged?;
        let new = shared.hasher.hash(&self.new).await.map_err(SignInError::from)?;
        let sessions_ended = match member.store().set_password(account.id, Some(&old), &new, Some(session)).await {
            Ok(ended) => ended,
            Err(SetPasswordError::NoSuchAccount { .. }) => return Err(AccountGone.into()),
            Err(SetPasswordError::Changed) => return Err(ChangePasswordError::Changed),
            Err(SetPasswordError::Store(error)) => return Err(error.into()),
        };
        shared.audit.record(member.subject(), &Fact::PasswordChanged { sessions_ended });
        shared.registry.changes().note_sign_ins();
        Ok(())
    }
}

/// The hash of the password, if this is it. Any error but [`ChangePasswordError::WrongPassword`] says nothing of the password.
async fn judge(shared: &Shared, account: &Account, current: &Password) -> Result<String, ChangePasswordError> {
    let credential = shared.store.credential(&account.name).await?.ok_or(AccountGone)?;
    let verdict = shared.hasher.verify(current, credential.phc.as_deref()).await.map_err(SignInError::from)?;
    match (verdict, credential.phc) {
        (Verdict::Right { .. }, Some(phc)) => Ok(phc),
        _ => Err(ChangePasswordError::WrongPassword),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::admin::InvitationAdd;
    use crate::signin::{InvitationAccept, SessionProof, Visit};
    use crate::{DataDir, JumpHost, RawConfig};

    #[tokio::test]
    async fn what_fails_on_our_side_is_no_failed_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = RawConfig::default().check().unwrap();
        (config.ssh, config.web) = ((Ipv4Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into());
        let (host, _doors) = JumpHost::build(config, DataDir::open(folder.path()).unwrap()).await.unwrap();
        let made = host.admin().call(InvitationAdd::default()).await.unwrap();
        let password = || Password::new("three words apart".to_owned());
        let accept = InvitationAccept { token: made.token, account: "alice".to_owned(), password: password() };
        let visit = Visit { client: "192.0.2.1:50000".parse().unwrap(), replaces: None };
        let token = host.sign_in().accept_invitation(accept, visit).await.unwrap();
        let proof = SessionProof { token: token.token, key: Some(token.key) };
        let alice = host.sign_in().member_of_session(&proof, "192.0.2.1:50000".parse().unwrap()).await.unwrap();
        alice.shared().store.close().await;
        for _ in 0..12 {
            let change = ChangePassword { current: password(), new: Password::new("three other words".to_owned()) };
            assert_eq!(alice.call(change).await.unwrap_err().code(), crate::admin::STORE_FAILED);
        }
    }
}
