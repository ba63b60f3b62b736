//! Links that make an account or set a password, as the person who opens one sees them. Who makes them is an administrator.

use std::time::Duration;

use adit_core::{AccountId, AccountName, ParseAccountNameError};
use adit_store::{AcceptInvitationError, Invitation, InvitationKind, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::password::{Password, WeakPassword};
use super::session::{BeginSessionError, Shown, SignInError, SignedIn};
use super::token::Token;
use super::{SignIn, Visit};
use crate::admin::{Fault, FaultKind};
use crate::audit::{Fact, Subject};

/// How long the link for the first administrator is good: whoever installs a server opens it within the day.
pub const FIRST_ADMINISTRATOR_TIME: Duration = Duration::from_secs(24 * 3_600);

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InvitationKindView {
    /// Makes an account.
    Invitation,
    /// Makes the account that administers a new server.
    FirstAdministrator,
    /// Sets the password of an account that is there.
    PasswordReset,
}

impl InvitationKindView {
    /// Its stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::FirstAdministrator => "first-administrator",
            Self::PasswordReset => "password-reset",
        }
    }
}

impl From<&InvitationKind> for InvitationKindView {
    fn from(kind: &InvitationKind) -> Self {
        match kind {
            InvitationKind::Account { .. } => Self::Invitation,
            InvitationKind::FirstAdministrator { .. } => Self::FirstAdministrator,
            InvitationKind::PasswordReset { .. } => Self::PasswordReset,
        }
    }
}

/// Looks at a link without using it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationLook {
    /// The token in it.
    pub token: Token,
}

/// What a link does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationLookView {
    /// What it is for.
    pub kind: InvitationKindView,
    /// The account's name, where the guest may not choose one.
    pub account: Option<String>,
    /// The account's tier.
    pub tier: String,
    /// Whether the account administers this jump host.
    pub admin: bool,
    /// From then on it is good for nothing.
    pub expires_at: i64,
}

/// Uses a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvitationAccept {
    /// The token in it.
    pub token: Token,
    /// The name of the account.
    pub account: String,
    /// Its new password.
    pub password: Password,
}

/// There is no such link.
#[derive(Debug, Error)]
pub enum InvitationLookupError {
    /// Never there, used, revoked or over: nobody is told which.
    #[error("this link is not good, or not any more; ask for a new one")]
    NoSuchInvitation,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for InvitationLookupError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoSuchInvitation => FaultKind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchInvitation => "no-such-invitation",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a link was not used, or not signed in with. But for [`Begin`](Self::Begin) it is still good.
#[derive(Debug, Error)]
pub enum InvitationAcceptError {
    /// It shows nothing either.
    #[error(transparent)]
    Look(#[from] InvitationLookupError),
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] ParseAccountNameError),
    /// The account whose password it sets is locked out.
    #[error("the account {account} is locked; ask an administrator to let it in again, and use this link then")]
    Disabled {
        /// The account.
        account: String,
    },
    /// The link is for another name.
    #[error("this link is for the account {meant}")]
    OtherName {
        /// The name it is for.
        meant: String,
    },
    /// The name is taken.
    #[error("there is already an account {name}; choose another name")]
    AccountExists {
        /// The name.
        name: String,
    },
    /// The password is not good enough.
    #[error(transparent)]
    Password(#[from] WeakPassword),
    /// Hashing failed.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The link was used, its account made or its password set, and the session could not begin.
    #[error(transparent)]
    Begin(#[from] BeginSessionError),
}

impl Fault for InvitationAcceptError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Look(error) => error.kind(),
            Self::Disabled { .. } => FaultKind::Forbidden,
            Self::Name(_) | Self::OtherName { .. } | Self::Password(_) => FaultKind::BadInput,
            Self::AccountExists { .. } => FaultKind::Conflict,
            Self::SignIn(error) => error.kind(),
            Self::Begin(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Look(error) => error.code(),
            Self::Disabled { .. } => "account-disabled",
            Self::Name(_) => "bad-account-name",
            Self::OtherName { .. } => "other-account",
            Self::AccountExists { .. } => "account-exists",
            Self::Password(_) => "weak-password",
            Self::SignIn(error) => error.code(),
            Self::Begin(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SignIn(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl SignIn {
    /// What a link does.
    ///
    /// # Errors
    /// [`InvitationLookupError`].
    pub async fn look_at_invitation(
        &self,
        question: &InvitationLook,
    ) -> Result<InvitationLookView, InvitationLookupError> {
        Ok(view(&self.invitation(&question.token).await?))
    }

    /// Uses a link: makes its account, or sets the password of the one it is for and ends that one's sessions and API tokens; and
    /// signs in.
    ///
    /// # Errors
    /// [`InvitationAcceptError`].
    pub async fn accept_invitation(
        &self,
        question: InvitationAccept,
        visit: Visit,
    ) -> Result<SignedIn, InvitationAcceptError> {
        // Before anything slow: a link that is not good costs a look-up.
        let found = self.invitation(&question.token).await?;
        if let InvitationKind::PasswordReset { account } = &found.kind
            && account.disabled
        {
            return Err(InvitationAcceptError::Disabled { account: account.name.clone() });
        }
        let name: AccountName = question.account.parse()?;
        question.password.check(&name)?;
        let phc = self.shared.hasher.hash(&question.password).await.map_err(SignInError::from)?;
        let accepted = self.shared.store.accept_invitation(question.token.hash(), name.as_str(), &phc).await;
        let accepted = accepted.map_err(|error| match error {
            AcceptInvitationError::NoSuchInvitation => InvitationLookupError::NoSuchInvitation.into(),
            AcceptInvitationError::Disabled { name } => InvitationAcceptError::Disabled { account: name },
            AcceptInvitationError::OtherName => {
                InvitationAcceptError::OtherName { meant: view(&found).account.unwrap_or_default() }
            }
            AcceptInvitationError::AccountExists { name } => InvitationAcceptError::AccountExists { name },
            AcceptInvitationError::Store(error) => InvitationLookupError::from(error).into(),
        })?;
        self.shared.attempts().handle_cleared(&name);
        self.follow_accepted(&accepted.invitation.kind).await;
        let subject = Subject::account(AccountId(accepted.account.id), name).from(visit.client);
        let fact = Fact::InvitationAccepted {
            kind: accepted.invitation.kind.name(),
            sessions_ended: accepted.sessions_ended,
            tokens_ended: accepted.tokens_ended,
        };
        self.shared.audit.record(subject, &fact);
        Ok(self.begin_session(accepted.account, Shown::Password { phc: &phc }, &visit).await?)
    }

    async fn follow_accepted(&self, kind: &InvitationKind) {
        match kind {
            // The other sessions of the account have ended.
            InvitationKind::PasswordReset { .. } => self.shared.registry.changes().note_sign_ins(),
            InvitationKind::Account { .. } | InvitationKind::FirstAdministrator { .. } => {
                self.shared.follow_directory().await;
            }
        }
    }

    async fn invitation(&self, token: &Token) -> Result<Invitation, InvitationLookupError> {
        self.shared.store.invitation(token.hash()).await?.ok_or(InvitationLookupError::NoSuchInvitation)
    }
}

fn view(invitation: &Invitation) -> InvitationLookView {
    let (account, tier, admin) = match &invitation.kind {
        InvitationKind::Account { name, tier, is_admin } => (name.clone(), tier.clone(), *is_admin),
        InvitationKind::FirstAdministrator { tier } => (None, tier.clone(), true),
        InvitationKind::PasswordReset { account } => {
            (Some(account.name.clone()), account.tier.clone(), account.is_admin)
        }
    };
    let kind = InvitationKindView::from(&invitation.kind);
    InvitationLookView { kind, account, tier, admin, expires_at: invitation.expires_at.0 }
}
