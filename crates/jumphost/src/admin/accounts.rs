//! Accounts: add, list, remove.

use adit_core::{AccountId, AccountName, ParseAccountNameError};
use adit_store::{Account, AddAccountError, NewAccount, RemoveAccountError, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AccountLookupError, Admin, Fault, FaultKind, ListError, Operation, STORE_FAILED};
use crate::audit::{Fact, Subject};
use crate::registry::CutReason;

/// The tier of an account when nobody names another: the smallest one, which may tunnel like all.
pub const DEFAULT_TIER: &str = "community";

/// Adds an account.
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

/// Removes an account with all its keys, and cuts its sessions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountRemove {
    /// Its name.
    pub name: String,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How many sessions of it are live.
    pub sessions: usize,
    /// When it was added.
    pub created_at: i64,
}

/// What went with a removed account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
            Self::Name(_) | Self::NoSuchTier { .. } => FaultKind::BadInput,
            Self::AccountExists { .. } => FaultKind::Conflict,
            Self::Store(_) => FaultKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad-account-name",
            Self::AccountExists { .. } => "account-exists",
            Self::NoSuchTier { .. } => "no-such-tier",
            Self::Store(_) => STORE_FAILED,
        }
    }
}

impl Operation for AccountAdd {
    const NAME: &'static str = "account-add";
    type Answer = AccountView;
    type Error = AccountAddError;

    async fn run(self, admin: &Admin) -> Result<AccountView, AccountAddError> {
        let name: AccountName = self.name.parse()?;
        let tier = self.tier.unwrap_or_else(|| DEFAULT_TIER.to_owned());
        let new = NewAccount { name: name.to_string(), tier, is_admin: self.admin };
        let account = match admin.store.add_account(new).await {
            Ok(account) => account,
            Err(AddAccountError::AccountExists { name }) => return Err(AccountAddError::AccountExists { name }),
            Err(AddAccountError::NoSuchTier { tier }) => {
                let known = admin.store.list_tiers().await?.into_iter().map(|tier| tier.name).collect();
                return Err(AccountAddError::NoSuchTier { tier, known });
            }
            Err(AddAccountError::Store(error)) => return Err(error.into()),
        };
        admin.follow_change().await;
        let fact = Fact::AccountAdded { tier: account.tier.clone(), admin: account.is_admin };
        admin.record(Subject::account(AccountId(account.id), name), &fact).await;
        Ok(view(account, 0, 0))
    }
}

impl Operation for AccountList {
    const NAME: &'static str = "account-list";
    type Answer = Vec<AccountView>;
    type Error = ListError;

    async fn run(self, admin: &Admin) -> Result<Vec<AccountView>, ListError> {
        let live = admin.running.as_ref().map(|shared| shared.registry.list()).unwrap_or_default();
        let sessions = |id| live.iter().filter(|session| session.login().identity.account_id == AccountId(id)).count();
        let accounts = admin.store.list_accounts().await?;
        Ok(accounts.into_iter().map(|row| view(row.account.clone(), row.key_count, sessions(row.account.id))).collect())
    }
}

impl Operation for AccountRemove {
    const NAME: &'static str = "account-remove";
    type Answer = AccountRemoved;
    type Error = AccountLookupError;

    async fn run(self, admin: &Admin) -> Result<AccountRemoved, AccountLookupError> {
        let removed = match admin.store.remove_account(&self.name).await {
            Ok(removed) => removed,
            Err(RemoveAccountError::NoSuchAccount { name }) => return Err(AccountLookupError::NoSuchAccount(name)),
            Err(RemoveAccountError::Store(error)) => return Err(error.into()),
        };
        let id = AccountId(removed.account.id);
        let sessions_cut = match &admin.running {
            Some(shared) => {
                // Those who are in need not wait for the directory to load; those who log in until it has are cut after it.
                let cut = || shared.registry.cut_account(id, CutReason::AccountRemoved);
                let live = cut();
                admin.follow_change().await;
                live + cut()
            }
            None => 0,
        };
        if let Ok(name) = removed.account.name.parse() {
            admin.record(Subject::account(id, name), &Fact::AccountRemoved).await;
        }
        Ok(AccountRemoved { name: removed.account.name, keys: removed.keys.len(), sessions_cut })
    }
}

fn view(account: Account, keys: u64, sessions: usize) -> AccountView {
    AccountView {
        name: account.name,
        tier: account.tier,
        admin: account.is_admin,
        disabled: account.disabled,
        keys,
        sessions,
        created_at: account.created_at.0,
    }
}
