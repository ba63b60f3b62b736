//! Accounts: add, list, change, remove.

use std::sync::Arc;

use adit_core::{AccountId, AccountName, ParseAccountNameError};
use adit_store::{
    AccountQuery, AccountSummary, AddAccountError, ChangeAccountError, NewAccount, RemoveAccountError, StoreError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{Admin, Fault, FaultKind, ListError, Operation};
use crate::audit::{Fact, Subject};
use crate::registry::{CutReason, LiveSession};
use crate::search::{LARGEST_PAGE, SearchText, USUAL_PAGE};
use crate::signin::scope::Forbidden;

/// The tier of an account when nobody names another: the smallest one, which may tunnel like all.
pub const DEFAULT_TIER: &str = "community";

/// Adds an account. One that administers the jump host is not added with an API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountAdd {
    /// Its name.
    pub name: String,
    /// Its tier; [`DEFAULT_TIER`] where none is named.
    pub tier: Option<String>,
    /// Whether it administers the jump host.
    pub admin: bool,
}

/// Lists the accounts by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountList {}

/// Looks through the accounts, by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSearch {
    /// Only with this in the name.
    pub q: Option<SearchText>,
    /// Without the first so many.
    pub offset: u32,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A page of the accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountPage {
    /// How many were found, on all pages.
    pub total: u64,
    /// Those of this page.
    pub items: Vec<AccountView>,
}

/// Changes an account; what is `None` stays as it is. A new tier's limits act on live sessions at once, and whoever is locked out
/// is cut. Whoever is locked out or administers no longer loses the links they made. Who administers the jump host is not changed
/// with an API token, and an administrator is neither locked out nor let in with one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountChange {
    /// Its name.
    pub name: String,
    /// Its tier from now on.
    pub tier: Option<String>,
    /// Whether it administers the jump host from now on.
    pub admin: Option<bool>,
    /// Whether it is locked out from now on.
    pub disabled: Option<bool>,
}

/// Removes an account with all its keys and the links it made, and cuts its sessions. An administrator is not removed with an API
/// token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountRemove {
    /// Its name.
    pub name: String,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// Its tier.
    pub tier: String,
    /// Whether it administers the jump host.
    pub admin: bool,
    /// Whether it is locked out.
    pub disabled: bool,
    /// How many keys it has.
    pub keys: u64,
    /// Whether it can sign in at the dashboard with a password.
    pub has_password: bool,
    /// How many sessions of it are live.
    pub sessions: usize,
    /// When it was added.
    pub created_at: i64,
}

/// What went with a removed account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountRemoved {
    /// Its name.
    pub name: String,
    /// How many keys it had.
    pub keys: usize,
    /// How many live sessions were cut.
    pub sessions_cut: usize,
}

/// Why an account was not added.
#[derive(Debug, Error)]
pub enum AccountAddError {
    /// An API token may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] ParseAccountNameError),
    /// The name is taken.
    #[error("there is already an account {name:?}; choose another name")]
    AccountExists {
        /// The name.
        name: String,
    },
    /// There is no such tier.
    #[error("there is no tier {tier:?}; there are {}", .known.join(", "))]
    NoSuchTier {
        /// The tier asked for.
        tier: String,
        /// The tiers there are.
        known: Vec<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for AccountAddError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::Name(_) | Self::NoSuchTier { .. } => FaultKind::BadInput,
            Self::AccountExists { .. } => FaultKind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::Name(_) => "bad-account-name",
            Self::AccountExists { .. } => "account-exists",
            Self::NoSuchTier { .. } => "no-such-tier",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why an account was not changed.
#[derive(Debug, Error)]
pub enum AccountChangeError {
    /// An API token may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no account of that name.
    #[error("there is no account {:?}; `adit jumphost account list` shows those there are", .0)]
    NoSuchAccount(String),
    /// There is no such tier.
    #[error("there is no tier {tier:?}; there are {}", .known.join(", "))]
    NoSuchTier {
        /// The tier asked for.
        tier: String,
        /// The tiers there are.
        known: Vec<String>,
    },
    /// Nobody could administer the jump host any more.
    #[error("{0:?} is the last administrator; make another account one first")]
    LastAdministrator(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for AccountChangeError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::NoSuchAccount(_) => FaultKind::NotFound,
            Self::NoSuchTier { .. } => FaultKind::BadInput,
            Self::LastAdministrator(_) => FaultKind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::NoSuchAccount(_) => "no-such-account",
            Self::NoSuchTier { .. } => "no-such-tier",
            Self::LastAdministrator(_) => "last-administrator",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why an account was not removed.
#[derive(Debug, Error)]
pub enum AccountRemoveError {
    /// An API token may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no account of that name.
    #[error("there is no account {:?}; `adit jumphost account list` shows those there are", .0)]
    NoSuchAccount(String),
    /// Nobody could administer the jump host any more.
    #[error("{0:?} is the last administrator; make another account one first")]
    LastAdministrator(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for AccountRemoveError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::NoSuchAccount(_) => FaultKind::NotFound,
            Self::LastAdministrator(_) => FaultKind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::NoSuchAccount(_) => "no-such-account",
            Self::LastAdministrator(_) => "last-administrator",
            Self::Store(error) => error.code(),
        }
    }
}

impl Operation for AccountAdd {
    const NAME: &'static str = "account-add";
    type Answer = AccountView;
    type Error = AccountAddError;

    async fn run(self, admin: &Admin) -> Result<AccountView, AccountAddError> {
        if self.admin {
            admin.check_signed_in()?;
        }
        let name: AccountName = self.name.parse()?;
        let tier = self.tier.unwrap_or_else(|| DEFAULT_TIER.to_owned());
        let new = NewAccount { name: name.to_string(), tier, is_admin: self.admin };
        let account = match admin.store.add_account(new).await {
            Ok(account) => account,
            Err(AddAccountError::AccountExists { name }) => return Err(AccountAddError::AccountExists { name }),
            Err(AddAccountError::NoSuchTier { tier }) => {
                return Err(AccountAddError::NoSuchTier { tier, known: tier_names(admin).await? });
            }
            Err(AddAccountError::Store(error)) => return Err(error.into()),
        };
        admin.follow_change().await;
        let fact = Fact::AccountAdded { tier: account.tier.clone(), admin: account.is_admin };
        admin.record(Subject::account(AccountId(account.id), name), &fact).await;
        Ok(view(AccountSummary { account, key_count: 0, has_password: false }, &[]))
    }
}

impl Operation for AccountList {
    const NAME: &'static str = "account-list";
    type Answer = Vec<AccountView>;
    type Error = ListError;

    async fn run(self, admin: &Admin) -> Result<Vec<AccountView>, ListError> {
        let live = live_sessions(admin);
        let accounts = admin.store.list_accounts().await?;
        Ok(accounts.into_iter().map(|row| view(row, &live)).collect())
    }
}

impl Operation for AccountSearch {
    const NAME: &'static str = "account-search";
    type Answer = AccountPage;
    type Error = ListError;

    async fn run(self, admin: &Admin) -> Result<AccountPage, ListError> {
        let limit = self.limit.unwrap_or(USUAL_PAGE).min(LARGEST_PAGE);
        let page = admin
            .store
            .search_accounts(&AccountQuery { text: self.q.map(SearchText::into_string), offset: self.offset, limit })
            .await?;
        let live = live_sessions(admin);
        Ok(AccountPage { total: page.total, items: page.accounts.into_iter().map(|row| view(row, &live)).collect() })
    }
}

impl Operation for AccountChange {
    const NAME: &'static str = "account-change";
    type Answer = AccountView;
    type Error = AccountChangeError;

    async fn run(self, admin: &Admin) -> Result<AccountView, AccountChangeError> {
        if self.admin.is_some() || self.disabled.is_some() && administers(admin, &self.name).await? {
            admin.check_signed_in()?;
        }
        let change = adit_store::AccountChange { tier: self.tier, is_admin: self.admin, disabled: self.disabled };
        let account = match admin.store.change_account(&self.name, change).await {
            Ok(account) => account,
            Err(ChangeAccountError::NoSuchAccount { name }) => return Err(AccountChangeError::NoSuchAccount(name)),
            Err(ChangeAccountError::NoSuchTier { tier }) => {
                return Err(AccountChangeError::NoSuchTier { tier, known: tier_names(admin).await? });
            }
            Err(ChangeAccountError::LastAdministrator { name }) => {
                return Err(AccountChangeError::LastAdministrator(name));
            }
            Err(ChangeAccountError::Store(error)) => return Err(error.into()),
        };
        admin.follow_change().await;
        let fact =
            Fact::AccountChanged { tier: account.tier.clone(), admin: account.is_admin, disabled: account.disabled };
        admin.record_on(&account, &fact).await;
        let key_count = admin.store.list_keys(Some(account.id)).await?.len() as u64;
        let credential = admin.store.credential(&account.name).await?;
        let has_password = credential.is_some_and(|credential| credential.phc.is_some());
        Ok(view(AccountSummary { account, key_count, has_password }, &live_sessions(admin)))
    }
}

impl Operation for AccountRemove {
    const NAME: &'static str = "account-remove";
    type Answer = AccountRemoved;
    type Error = AccountRemoveError;

    async fn run(self, admin: &Admin) -> Result<AccountRemoved, AccountRemoveError> {
        if administers(admin, &self.name).await? {
            admin.check_signed_in()?;
        }
        let removed = match admin.store.remove_account(&self.name).await {
            Ok(removed) => removed,
            Err(RemoveAccountError::NoSuchAccount { name }) => return Err(AccountRemoveError::NoSuchAccount(name)),
            Err(RemoveAccountError::LastAdministrator { name }) => {
                return Err(AccountRemoveError::LastAdministrator(name));
            }
            Err(RemoveAccountError::Store(error)) => return Err(error.into()),
        };
        let id = AccountId(removed.account.id);
        let sessions_cut = admin.cut_and_follow(|registry| registry.cut_account(id, CutReason::AccountRemoved)).await;
        admin.record_on(&removed.account, &Fact::AccountRemoved).await;
        Ok(AccountRemoved { name: removed.account.name, keys: removed.keys.len(), sessions_cut })
    }
}

/// Whether an account administers the jump host, locked out or not. One that comes to it between this look and a change could have
/// come to it after the change as well.
async fn administers(admin: &Admin, name: &str) -> Result<bool, StoreError> {
    Ok(admin.store.account(name).await?.is_some_and(|account| account.is_admin))
}

async fn tier_names(admin: &Admin) -> Result<Vec<String>, StoreError> {
    Ok(admin.store.list_tiers().await?.into_iter().map(|tier| tier.name).collect())
}

fn live_sessions(admin: &Admin) -> Vec<Arc<LiveSession>> {
    admin.server().map(|shared| shared.registry.list()).unwrap_or_default()
}

fn view(summary: AccountSummary, live: &[Arc<LiveSession>]) -> AccountView {
    let AccountSummary { account, key_count, has_password } = summary;
    let is_its = |session: &&Arc<LiveSession>| session.login().identity.account_id == AccountId(account.id);
    AccountView {
        name: account.name,
        tier: account.tier,
        admin: account.is_admin,
        disabled: account.disabled,
        keys: key_count,
        has_password,
        sessions: live.iter().filter(is_its).count(),
        created_at: account.created_at.0,
    }
}
