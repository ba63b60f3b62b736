//! The right of a signed-in account to act on its own things, and of an administrator on everybody's.

use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::{AccountId, AccountName};
use adit_store::{Account, Authority, Store, TokenHash};

use super::Via;
use super::scope::{Forbidden, Scope, Scopes};
use super::session::WebSessionView;
use crate::admin::{Actor, Admin};
use crate::audit::Subject;
use crate::changes::Changes;
use crate::shared::Shared;

/// Somebody who is signed in. Only [`SignIn`](super::SignIn) makes one, from the two secrets of a session or an API token, and for one
/// request: whoever keeps one for longer asks again whether its session still lives.
#[derive(Clone)]
pub struct Member {
    shared: Arc<Shared>,
    account: Account,
    name: AccountName,
    client: SocketAddr,
    right: Right,
}

/// What the right rests on.
#[derive(Clone)]
pub(super) enum Right {
    Session { token: TokenHash, via: Via, expires_at: i64 },
    Token { token: TokenHash, scopes: Scopes, expires_at: Option<i64> },
}

impl Member {
    pub(super) fn new(shared: Arc<Shared>, account: Account, client: SocketAddr, right: Right) -> Option<Self> {
        // A name that is none was written by a hand on the file.
        let name = account.name.parse().ok()?;
        Some(Self { shared, account, name, client, right })
    }

    /// The account's number.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        AccountId(self.account.id)
    }

    /// The account's name.
    #[must_use]
    pub fn name(&self) -> &AccountName {
        &self.name
    }

    /// Whether the account administers this jump host.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.account.is_admin
    }

    /// What the page is told about its session; its key is not among it.
    #[must_use]
    pub fn session_view(&self) -> WebSessionView {
        let (via, expires_at) = match &self.right {
            Right::Session { via, expires_at, .. } => (*via, Some(*expires_at)),
            Right::Token { expires_at, .. } => (Via::Token, *expires_at),
        };
        let Account { name, tier, is_admin, .. } = self.account.clone();
        WebSessionView { account: name, tier, admin: is_admin, csrf: None, expires_at, via }
    }

    /// Whether this right reaches so far.
    ///
    /// # Errors
    /// [`Forbidden`] where it rests on a token of a narrower scope.
    pub fn permit(&self, needed: Scope) -> Result<(), Forbidden> {
        match &self.right {
            Right::Token { scopes, .. } if !scopes.permit(needed) => Err(Forbidden::Scope(needed)),
            Right::Token { .. } | Right::Session { .. } => Ok(()),
        }
    }

    /// The right to administer.
    ///
    /// # Errors
    /// [`Forbidden`] where the account or its token has it not.
    pub fn admin(&self) -> Result<Admin, Forbidden> {
        if !self.account.is_admin {
            return Err(Forbidden::NotAdministrator);
        }
        self.permit(Scope::Admin)?;
        Ok(self.own())
    }

    /// For the administrator's operations that name an account, with this member's own name only.
    pub(crate) fn own(&self) -> Admin {
        Admin::acting(Arc::clone(&self.shared), self.store(), self.actor())
    }

    fn actor(&self) -> Actor {
        let is_signed_in = self.session().is_ok();
        Actor { account: self.account_id(), name: self.name.clone(), client: self.client, is_signed_in }
    }

    /// Where pages hear that they should look again.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        self.shared.registry.changes()
    }

    /// The session that this right rests on.
    pub(crate) fn session(&self) -> Result<TokenHash, Forbidden> {
        match &self.right {
            Right::Session { token, .. } => Ok(*token),
            Right::Token { .. } => Err(Forbidden::TokenUsed),
        }
    }

    /// The store, to be changed only as long as this right lasts: it may end between the request that shows it and the change.
    pub(crate) fn store(&self) -> Store {
        self.shared.store.acting_by(match self.right {
            Right::Session { token, .. } => Authority::WebSession(token),
            Right::Token { token, .. } => Authority::ApiToken(token),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Whom a fact about this member's own doing is about.
    pub(crate) fn subject(&self) -> Subject {
        Subject::account(self.account_id(), self.name.clone()).from(self.client)
    }

    pub(crate) fn client(&self) -> SocketAddr {
        self.client
    }
}

/// Without the session's secrets.
impl std::fmt::Debug for Member {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Member").field("account", &self.name).field("client", &self.client).finish_non_exhaustive()
    }
}
