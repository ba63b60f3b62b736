//! Links: make, list, revoke. Each is shown once, to whoever made it.

use std::time::Duration;

use adit_core::{AccountName, ParseAccountNameError};
use adit_store::{AddInvitationError, Invitation, InvitationKind, Maker, NewInvitation, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{
    AccountLookupError, Actor, Admin, DEFAULT_TIER, Fault, FaultKind, LifetimeError, ListError, LongestLife, Operation,
};
use crate::audit::{Fact, Subject};
use crate::signin::scope::Forbidden;
use crate::signin::token::{NoRandomness, Token};
use crate::signin::{FIRST_ADMINISTRATOR_TIME, InvitationKindView, InvitationLookupError};

/// A week: people read their mail, and a link in an old one is not good any more.
const USUAL_TIME: Duration = Duration::from_secs(7 * 86_400);

/// A password link is asked for by somebody who waits for it.
const PASSWORD_LINK_TIME: Duration = Duration::from_secs(86_400);

/// Open links of one administrator: more than anybody can keep track of, and few enough for the page that lists them.
const MOST_LINKS: u32 = 1_000;

/// Where the page shows an invitation. Behind the `#`, so that the token reaches no server's log and no other site.
const PAGE: &str = "/#/invite/";

/// Makes a link with which somebody makes an account. As every link it ends with its maker's right to administer, and is not made
/// with an API token.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InvitationAdd {
    /// The account's name; the guest chooses one where none is named.
    pub account: Option<String>,
    /// The account's tier; [`DEFAULT_TIER`] where none is named.
    pub tier: Option<String>,
    /// Whether the account administers the jump host.
    pub admin: bool,
    /// How long the link is good, 30 days at most; a week where nothing is named.
    pub expires_in_ms: Option<u64>,
}

/// Makes a link with which the holder of an account sets its password. Used, it ends their sessions at the dashboard and their API
/// tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PasswordLink {
    /// The account's name.
    pub account: String,
}

/// Makes the link for the first administrator, while none can sign in; otherwise revokes those there are. A new link revokes the
/// older ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FirstAdministrator {}

/// Lists the links that can be used, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InvitationList {}

/// Revokes a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InvitationRemove {
    /// Which.
    pub id: String,
}

/// A link that was just made. Its token is told here and never again.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InvitationMade {
    /// Names it.
    pub id: String,
    /// What is secret in it.
    pub token: Token,
    /// The whole link; where no server runs, what stands behind the dashboard's address.
    #[schema(value_type = String)]
    pub url: Token,
    /// From then on it is good for nothing.
    pub expires_at: i64,
}

/// A link, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationView {
    /// Names it.
    pub id: String,
    /// What it is for.
    pub kind: InvitationKindView,
    /// For which account, where that is settled.
    pub account: Option<String>,
    /// The account's tier.
    pub tier: String,
    /// Whether the account administers the jump host.
    pub admin: bool,
    /// Who made it; nobody where it was the command line or the server.
    pub created_by: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// From then on it is good for nothing.
    pub expires_at: i64,
}

/// A link that is good for nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvitationRemoved {
    /// Named it.
    pub id: String,
}

/// Why no link was made.
#[derive(Debug, Error)]
pub enum InvitationAddError {
    /// An API token may not do this, or whoever did it does not administer any more.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no such account.
    #[error(transparent)]
    Account(#[from] AccountLookupError),
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] ParseAccountNameError),
    /// The name is taken.
    #[error(
        "there is already an account {name:?}; `adit jumphost account password-link {name}` lets its holder sign in"
    )]
    AccountExists {
        /// The name.
        name: String,
    },
    /// There is no such tier.
    #[error("there is no tier {0:?}")]
    NoSuchTier(String),
    /// It cannot be good for so long.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// There are too many.
    #[error("{limit} links of yours are open already; revoke some that nobody will use")]
    TooMany {
        /// How many there may be.
        limit: u32,
    },
    /// No token could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for InvitationAddError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::Account(error) => error.kind(),
            Self::Name(_) | Self::NoSuchTier(_) | Self::Lifetime(_) => FaultKind::BadInput,
            Self::AccountExists { .. } | Self::TooMany { .. } => FaultKind::Conflict,
            Self::NoRandomness(_) => FaultKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::Account(error) => error.code(),
            Self::Name(_) => "bad-account-name",
            Self::AccountExists { .. } => "account-exists",
            Self::NoSuchTier(_) => "no-such-tier",
            Self::Lifetime(_) => "bad-expiry",
            Self::TooMany { .. } => "too-many-links",
            Self::NoRandomness(_) => "no-randomness",
            Self::Store(error) => error.code(),
        }
    }
}

impl Operation for InvitationAdd {
    const NAME: &'static str = "invitation-add";
    type Answer = InvitationMade;
    type Error = InvitationAddError;

    async fn run(self, admin: &Admin) -> Result<InvitationMade, InvitationAddError> {
        let name = self.account.as_deref().map(str::parse::<AccountName>).transpose()?;
        let kind = InvitationKind::Account {
            name: name.map(|name| name.to_string()),
            tier: self.tier.unwrap_or_else(|| DEFAULT_TIER.to_owned()),
            is_admin: self.admin,
        };
        let typed = self.expires_in_ms.map(|typed| LongestLife::LINK.check(typed)).transpose()?;
        make(admin, kind, typed.unwrap_or(USUAL_TIME)).await
    }
}

impl Operation for PasswordLink {
    const NAME: &'static str = "password-link";
    type Answer = InvitationMade;
    type Error = InvitationAddError;

    async fn run(self, admin: &Admin) -> Result<InvitationMade, InvitationAddError> {
        let account = admin.account(&self.account).await?;
        make(admin, InvitationKind::PasswordReset { account }, PASSWORD_LINK_TIME).await
    }
}

impl Operation for FirstAdministrator {
    const NAME: &'static str = "first-administrator";
    type Answer = Option<InvitationMade>;
    type Error = InvitationAddError;

    async fn run(self, admin: &Admin) -> Result<Option<InvitationMade>, InvitationAddError> {
        if admin.store.anybody_can_sign_in(true).await? {
            admin.store.remove_first_administrator_invitations().await?;
            return Ok(None);
        }
        let kind = InvitationKind::FirstAdministrator { tier: DEFAULT_TIER.to_owned() };
        make(admin, kind, FIRST_ADMINISTRATOR_TIME).await.map(Some)
    }
}

impl Operation for InvitationList {
    const NAME: &'static str = "invitation-list";
    type Answer = Vec<InvitationView>;
    type Error = ListError;

    async fn run(self, admin: &Admin) -> Result<Vec<InvitationView>, ListError> {
        Ok(admin.store.list_invitations().await?.into_iter().map(view).collect())
    }
}

impl Operation for InvitationRemove {
    const NAME: &'static str = "invitation-remove";
    type Answer = InvitationRemoved;
    type Error = InvitationLookupError;

    async fn run(self, admin: &Admin) -> Result<InvitationRemoved, InvitationLookupError> {
        if !admin.store.remove_invitation(&self.id).await? {
            return Err(InvitationLookupError::NoSuchInvitation);
        }
        admin.record(Subject::server(), &Fact::InvitationRemoved { id: self.id.clone() }).await;
        Ok(InvitationRemoved { id: self.id })
    }
}

async fn make(admin: &Admin, kind: InvitationKind, lifetime: Duration) -> Result<InvitationMade, InvitationAddError> {
    admin.check_signed_in()?;
    let token = Token::generate("")?;
    let maker = |actor: &Actor| Maker { account: actor.account.0, name: actor.name.to_string(), limit: MOST_LINKS };
    let new = NewInvitation { token_hash: token.hash(), kind, created_by: admin.by.as_ref().map(maker), lifetime };
    let target = new.kind.clone();
    let stored = admin.store.add_invitation(new).await.map_err(|error| match error {
        AddInvitationError::AccountExists { name } => InvitationAddError::AccountExists { name },
        AddInvitationError::MakerHasNoRight { .. } => Forbidden::NotAdministrator.into(),
        AddInvitationError::TooMany { limit } => InvitationAddError::TooMany { limit },
        AddInvitationError::NoSuchTarget => no_such_target(target),
        AddInvitationError::NoRandomness => NoRandomness.into(),
        AddInvitationError::Store(error) => error.into(),
    })?;
    let shown = view(stored);
    let fact = Fact::InvitationMade { id: shown.id.clone(), kind: shown.kind.name(), account: shown.account };
    admin.record(Subject::server(), &fact).await;
    let dashboard = admin.server().map(|shared| shared.about.addresses.dashboard.as_str()).unwrap_or_default();
    let url = Token::from_text(&format!("{dashboard}{PAGE}{}", token.as_str()));
    Ok(InvitationMade { id: shown.id, token, url, expires_at: shown.expires_at })
}

fn no_such_target(kind: InvitationKind) -> InvitationAddError {
    match kind {
        InvitationKind::Account { tier, .. } | InvitationKind::FirstAdministrator { tier } => {
            InvitationAddError::NoSuchTier(tier)
        }
        InvitationKind::PasswordReset { account } => AccountLookupError::NoSuchAccount(account.name).into(),
    }
}

fn tier_of(kind: &InvitationKind) -> String {
    match kind {
        InvitationKind::Account { tier, .. } | InvitationKind::FirstAdministrator { tier } => tier.clone(),
        InvitationKind::PasswordReset { account } => account.tier.clone(),
    }
}

fn view(invitation: Invitation) -> InvitationView {
    let (account, admin) = match &invitation.kind {
        InvitationKind::Account { name, is_admin, .. } => (name.clone(), *is_admin),
        InvitationKind::FirstAdministrator { .. } => (None, true),
        InvitationKind::PasswordReset { account } => (Some(account.name.clone()), account.is_admin),
    };
    InvitationView {
        kind: InvitationKindView::from(&invitation.kind),
        account,
        tier: tier_of(&invitation.kind),
        admin,
        id: invitation.id,
        created_by: invitation.created_by,
        created_at: invitation.created_at.0,
        expires_at: invitation.expires_at.0,
    }
}
