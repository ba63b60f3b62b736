//! A member's API tokens. They are made and removed by somebody who is signed in at the dashboard, never with a token: one that was
//! stolen must not make others.

use std::time::Duration;

use adit_store::{AddApiTokenError, ApiToken, NewApiToken, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{AccountGone, Member, MemberOperation};
use crate::admin::{Fault, FaultKind, LifetimeError, ListError, LongestLife, escaped};
use crate::audit::Fact;
use crate::signin::scope::{Forbidden, Scope, Scopes};
use crate::signin::token::{API_TOKEN_PREFIX, NoRandomness, Token};

/// A name is for telling tokens apart.
const LONGEST_NAME: usize = 100;

/// Of one account: more than anybody can keep track of.
const MOST_TOKENS: u32 = 50;

/// A quarter: who has forgotten a token by then does not miss it.
const USUAL_TIME: Duration = Duration::from_secs(90 * 86_400);

/// Lists the tokens, in the order they were made.
#[derive(Debug, Clone, Deserialize)]
pub struct TokenList {}

/// Makes a token.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAdd {
    /// What its owner calls it.
    pub name: String,
    /// What it may do; what is named twice counts once.
    pub scopes: Vec<Scope>,
    /// How long it lasts, from now, 366 days at most; 90 days where nothing is named.
    pub expires_in_ms: Option<u64>,
}

/// Removes a token. It is refused from then on.
#[derive(Debug, Clone, Deserialize)]
pub struct TokenRemove {
    /// Which.
    pub id: String,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Names it.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: i64,
    /// From then on it is refused. Tokens that were made before each had an end may have none.
    pub expires_at: Option<i64>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<i64>,
}

/// A token that was just made. Its secret is told here and never again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenMade {
    /// The secret: `adit_…`.
    pub token: Token,
    /// The rest.
    #[serde(flatten)]
    pub view: TokenView,
}

/// Why no token was made.
#[derive(Debug, Error)]
pub enum TokenAddError {
    /// An API token may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The name is empty or too long.
    #[error("a token's name has 1 to {LONGEST_NAME} characters, this one has {length}")]
    Name {
        /// How many it has.
        length: usize,
    },
    /// Nothing that it may do.
    #[error("a token wants at least one scope: read, write or admin")]
    NoScope,
    /// It cannot last so long.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// There are too many.
    #[error("you have {limit} tokens already; remove one that you no longer use")]
    TooMany {
        /// How many there may be.
        limit: u32,
    },
    /// The account is gone.
    #[error(transparent)]
    AccountGone(#[from] AccountGone),
    /// None could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for TokenAddError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::AccountGone(error) => error.kind(),
            Self::Name { .. } | Self::NoScope | Self::Lifetime(_) => FaultKind::BadInput,
            Self::TooMany { .. } => FaultKind::Conflict,
            Self::NoRandomness(_) => FaultKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::Name { .. } => "bad-token-name",
            Self::NoScope => "no-scope",
            Self::Lifetime(_) => "bad-expiry",
            Self::AccountGone(error) => error.code(),
            Self::TooMany { .. } => "too-many-tokens",
            Self::NoRandomness(_) => "no-randomness",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a token was not removed.
#[derive(Debug, Error)]
pub enum TokenRemoveError {
    /// An API token may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The member has no such token. Another's is never told from none.
    #[error("you have no such token; look at the list again")]
    NoSuchToken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for TokenRemoveError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::NoSuchToken => FaultKind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::NoSuchToken => "no-such-token",
            Self::Store(error) => error.code(),
        }
    }
}

impl MemberOperation for TokenList {
    const NEEDS: Scope = Scope::Read;
    type Answer = Vec<TokenView>;
    type Error = ListError;

    async fn run(self, member: &Member) -> Result<Vec<TokenView>, ListError> {
        Ok(member.shared().store.list_api_tokens(member.account_id().0).await?.into_iter().map(view).collect())
    }
}

impl MemberOperation for TokenAdd {
    const NEEDS: Scope = Scope::Write;
    type Answer = TokenMade;
    type Error = TokenAddError;

    async fn run(self, member: &Member) -> Result<TokenMade, TokenAddError> {
        member.session()?;
        let name = self.name.trim().to_owned();
        let length = name.chars().count();
        if !(1..=LONGEST_NAME).contains(&length) {
            return Err(TokenAddError::Name { length });
        }
        let scopes = Scopes::new(self.scopes).ok_or(TokenAddError::NoScope)?;
        if scopes.permit(Scope::Admin) && !member.is_admin() {
            return Err(Forbidden::NotAdministrator.into());
        }
        let typed = self.expires_in_ms.map(|typed| LongestLife::API_TOKEN.check(typed)).transpose()?;
        let token = Token::generate(API_TOKEN_PREFIX)?;
        let new = NewApiToken {
            token_hash: token.hash(),
            name: name.clone(),
            scopes: scopes.to_text(),
            lifetime: typed.unwrap_or(USUAL_TIME),
        };
        let shared = member.shared();
        let stored = match member.store().add_api_token(member.account_id().0, new, MOST_TOKENS).await {
            Ok(stored) => stored,
            Err(AddApiTokenError::TooMany { limit }) => return Err(TokenAddError::TooMany { limit }),
            Err(AddApiTokenError::NoSuchAccount { .. }) => return Err(AccountGone.into()),
            Err(AddApiTokenError::NoRandomness) => return Err(NoRandomness.into()),
            Err(AddApiTokenError::Store(error)) => return Err(error.into()),
        };
        let fact = Fact::TokenMade { id: stored.id.clone(), name, scopes: scopes.to_text() };
        shared.audit.record(member.subject(), &fact);
        Ok(TokenMade { token, view: view(stored) })
    }
}

impl MemberOperation for TokenRemove {
    const NEEDS: Scope = Scope::Write;
    type Answer = ();
    type Error = TokenRemoveError;

    async fn run(self, member: &Member) -> Result<(), TokenRemoveError> {
        member.session()?;
        let shared = member.shared();
        let removed = member.store().remove_api_token(member.account_id().0, &self.id).await?;
        let removed = removed.ok_or(TokenRemoveError::NoSuchToken)?;
        shared.audit.record(member.subject(), &Fact::TokenRemoved { id: removed.id, name: removed.name });
        Ok(())
    }
}

fn view(token: ApiToken) -> TokenView {
    TokenView {
        id: token.id,
        name: escaped(&token.name),
        scopes: Scopes::from_text(&token.scopes).map(|scopes| scopes.to_vec()).unwrap_or_default(),
        created_at: token.created_at.0,
        expires_at: token.expires_at.map(|time| time.0),
        last_used_at: token.last_used_at.map(|time| time.0),
    }
}
