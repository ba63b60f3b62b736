//! Changing one's password.

use std::time::{Duration, Instant};

use adit_core::Source;
use adit_store::{SetPasswordError, StoreError};
use serde::Deserialize;
use thiserror::Error;
use utoipa::ToSchema;

use super::{Member, MemberOperation};
use crate::admin::{Fault, FaultKind};
use crate::audit::Fact;
use crate::signin::SignInError;
use crate::signin::password::{Password, Verdict, WeakPassword};
use crate::signin::scope::{Forbidden, Scope};

/// Changes the password, and ends the account's other sessions.
#[derive(Debug, Deserialize, ToSchema)]
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
            Self::SignIn(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::WrongPassword => "wrong-password",
            Self::Weak(_) => "weak-password",
            Self::SignIn(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SignIn(error) => error.retry_after(),
            Self::Forbidden(_) | Self::WrongPassword | Self::Weak(_) => None,
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
        let phc = shared.store.credential(&account.name).await?.and_then(|credential| credential.phc);
        let unjudged = |_: &_| shared.attempts().handle_unjudged(&attempt);
        let verdict = shared.hasher.verify(&self.current, phc.as_deref()).await;
        if verdict.inspect_err(unjudged).map_err(SignInError::from)? == Verdict::Wrong {
            return Err(ChangePasswordError::WrongPassword);
        }
        shared.attempts().handle_success(&attempt);
        let phc = shared.hasher.hash(&self.new).await.map_err(SignInError::from)?;
        match shared.store.set_password(account.id, &phc, Some(session)).await {
            Ok(_) => {}
            Err(SetPasswordError::NoSuchAccount { .. }) => return Err(ChangePasswordError::WrongPassword),
            Err(SetPasswordError::Store(error)) => return Err(error.into()),
        }
        shared.audit.record(member.subject(), &Fact::PasswordChanged);
        shared.registry.changes().note_sign_ins();
        Ok(())
    }
}
