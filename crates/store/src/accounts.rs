//! Accounts: who may come, on which terms.

use crate::Store;
use crate::db::{Row, Tx, args};
use crate::error::StoreError;
use crate::keys::Key;
use crate::leases::Lease;
use crate::ports::RegisteredPort;
use crate::time::UnixMillis;

/// An account as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Never given to another account, also after a removal.
    pub id: i64,
    /// Unique, compared byte for byte, and never changed.
    pub name: String,
    /// The name of its [`Tier`](crate::Tier).
    pub tier: String,
    /// May administer the server.
    pub is_admin: bool,
    /// Keeps all it has, but none of its keys logs in.
    pub disabled: bool,
    /// When it was added.
    pub created_at: UnixMillis,
}

/// An account with what a list shows beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// The account.
    pub account: Account,
    /// How many keys it has, expired ones too.
    pub key_count: u64,
}

/// An account to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Its name, already checked for form.
    pub name: String,
    /// The name of an existing tier.
    pub tier: String,
    /// May administer the server.
    pub is_admin: bool,
}

/// What to change of an account; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// The name of an existing tier.
    pub tier: Option<String>,
    /// May administer the server.
    pub is_admin: Option<bool>,
    /// Locks the account out, or lets it in again.
    pub disabled: Option<bool>,
}

/// Everything that went with a removed account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedAccount {
    /// The account as it last was.
    pub account: Account,
    /// Its keys: live sessions of these are to be cut.
    pub keys: Vec<Key>,
    /// Its registered ports.
    pub ports: Vec<RegisteredPort>,
    /// The leases it held, run out or not: their listeners are to be closed.
    pub leases: Vec<Lease>,
}

/// Why an account was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddAccountError {
    /// The name is taken.
    #[error("there is already an account {name:?}")]
    AccountExists {
        /// The name.
        name: String,
    },
    /// There is no such tier.
    #[error("there is no tier {tier:?}")]
    NoSuchTier {
        /// The tier asked for.
        tier: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeAccountError {
    /// There is no such account.
    #[error("there is no account {name:?}")]
    NoSuchAccount {
        /// The name asked for.
        name: String,
    },
    /// There is no such tier.
    #[error("there is no tier {tier:?}")]
    NoSuchTier {
        /// The tier asked for.
        tier: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveAccountError {
    /// There is no such account.
    #[error("there is no account {name:?}")]
    NoSuchAccount {
        /// The name asked for.
        name: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Adds an account, enabled and without keys.
    ///
    /// # Errors
    ///
    /// [`AddAccountError`]; nothing was added.
    pub async fn add_account(&self, new: NewAccount) -> Result<Account, AddAccountError> {
        let mut tx = self.db.change_directory("add an account").await?;
        let now = tx.now().await?;
        let added = tx
            .fetch_optional(
                "INSERT INTO accounts (name, tier, is_admin, created_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (name) DO NOTHING
                 RETURNING id, name, tier, is_admin, disabled, created_at",
                args![new.name.as_str(), new.tier.as_str(), new.is_admin, now],
            )
            .await;
        let row = match added {
            Ok(Some(row)) => row,
            Ok(None) => return Err(AddAccountError::AccountExists { name: new.name }),
            Err(error) if error.is_foreign_key_violation() => {
                return Err(AddAccountError::NoSuchTier { tier: new.tier });
            }
            Err(error) => return Err(error.into()),
        };
        let account = account_from(&row)?;
        tx.commit().await?;
        Ok(account)
    }

    /// The account called `name`, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn account(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let mut tx = self.db.read("look up an account").await?;
        account_named(&mut tx, name).await
    }

    /// All accounts, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_accounts(&self) -> Result<Vec<AccountSummary>, StoreError> {
        let mut tx = self.db.read("list the accounts").await?;
        tx.fetch_all(
            "SELECT id, name, tier, is_admin, disabled, created_at,
                    (SELECT COUNT(*) FROM keys WHERE keys.account_id = accounts.id) AS key_count
             FROM accounts ORDER BY name",
            args![],
            |row| Ok(AccountSummary { account: account_from(row)?, key_count: row.get("key_count")? }),
        )
        .await
    }

    /// Changes the account called `name`; returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`ChangeAccountError`]; nothing was changed.
    pub async fn change_account(&self, name: &str, change: AccountChange) -> Result<Account, ChangeAccountError> {
        let mut tx = self.db.change_directory("change an account").await?;
        let changed = tx
            .fetch_optional(
                "UPDATE accounts SET tier = COALESCE($2, tier), is_admin = COALESCE($3, is_admin),
                                     disabled = COALESCE($4, disabled)
                 WHERE name = $1
                 RETURNING id, name, tier, is_admin, disabled, created_at",
                args![name, change.tier.clone(), change.is_admin, change.disabled],
            )
            .await;
        let row = match (changed, change.tier) {
            (Ok(Some(row)), _) => row,
            (Ok(None), _) => return Err(ChangeAccountError::NoSuchAccount { name: name.to_owned() }),
            (Err(error), Some(tier)) if error.is_foreign_key_violation() => {
                return Err(ChangeAccountError::NoSuchTier { tier });
            }
            (Err(error), _) => return Err(error.into()),
        };
        let account = account_from(&row)?;
        tx.commit().await?;
        Ok(account)
    }

    /// Removes the account called `name` with its keys, registered ports and leases; returns what went. Audit events
    /// that name it stay.
    ///
    /// # Errors
    ///
    /// [`RemoveAccountError`]; nothing was removed.
    pub async fn remove_account(&self, name: &str) -> Result<RemovedAccount, RemoveAccountError> {
        let mut tx = self.db.change_directory("remove an account").await?;
        let Some(account) = account_named(&mut tx, name).await? else {
            return Err(RemoveAccountError::NoSuchAccount { name: name.to_owned() });
        };
        let removed = RemovedAccount {
            keys: crate::keys::keys_of(&mut tx, account.id).await?,
            ports: crate::ports::ports_of(&mut tx, account.id).await?,
            leases: crate::leases::leases_of(&mut tx, account.id).await?,
            account,
        };
        // The tables that refer to it cascade.
        tx.execute("DELETE FROM accounts WHERE id = $1", args![removed.account.id]).await?;
        tx.commit().await?;
        Ok(removed)
    }
}

async fn account_named(tx: &mut Tx, name: &str) -> Result<Option<Account>, StoreError> {
    let row = tx
        .fetch_optional(
            "SELECT id, name, tier, is_admin, disabled, created_at FROM accounts WHERE name = $1",
            args![name],
        )
        .await?;
    row.as_ref().map(account_from).transpose()
}

pub(crate) fn account_from(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: row.get("id")?,
        name: row.get("name")?,
        tier: row.get("tier")?,
        is_admin: row.get("is_admin")?,
        disabled: row.get("disabled")?,
        created_at: row.get("created_at")?,
    })
}
