//! Accounts: who may come, on which terms.

use crate::Store;
use crate::db::{Row, Tx, args};
use crate::error::StoreError;
use crate::invitations::end_invitations_by;
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
    /// Whether it can sign in with a password.
    pub has_password: bool,
}

/// Which accounts to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountQuery {
    /// Only those whose name has this in it.
    pub text: Option<String>,
    /// Without the first so many.
    pub offset: u32,
    /// At most so many.
    pub limit: u32,
}

/// A part of the list of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPage {
    /// How many there are on all pages.
    pub total: u64,
    /// Those of this page, by name.
    pub accounts: Vec<AccountSummary>,
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
    /// Nobody could administer the server any more.
    #[error("{name:?} is the last administrator")]
    LastAdministrator {
        /// The account.
        name: String,
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
    /// Nobody could administer the server any more.
    #[error("{name:?} is the last administrator")]
    LastAdministrator {
        /// The account.
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
        let account = insert_account(&mut tx, new).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Adds an account, enabled and without keys, for the subject of an OpenID provider.
    ///
    /// # Errors
    ///
    /// [`AddAccountError`]; nothing was added. A subject that has an account already is a [`StoreError`]: the caller has looked.
    pub async fn add_account_with_identity(
        &self,
        new: NewAccount,
        issuer: &str,
        subject: &str,
    ) -> Result<Account, AddAccountError> {
        let mut tx = self.db.change_directory("add an account").await?;
        let account = insert_account(&mut tx, new).await?;
        tx.execute(
            "INSERT INTO oidc_identities (issuer, subject, account_id, created_at) VALUES ($1, $2, $3, $4)",
            args![issuer, subject, account.id, account.created_at],
        )
        .await?;
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
        let everything = AccountQuery { text: None, offset: 0, limit: u32::MAX };
        page_of(&mut tx, &everything).await
    }

    /// A page of the accounts, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn search_accounts(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let mut tx = self.db.read("search the accounts").await?;
        let sql = "SELECT COUNT(*) AS total FROM accounts WHERE name LIKE $1 ESCAPE '!'";
        let total = tx.fetch_one(sql, args![containing(query.text.as_deref())]).await?.get("total")?;
        Ok(AccountPage { total, accounts: page_of(&mut tx, query).await? })
    }

    /// Changes the account called `name`; returns it as it now is. One that administers the server no longer, or is locked out, loses
    /// the invitations it made.
    ///
    /// # Errors
    ///
    /// [`ChangeAccountError`]; nothing was changed.
    pub async fn change_account(&self, name: &str, change: AccountChange) -> Result<Account, ChangeAccountError> {
        let mut tx = self.db.change_directory("change an account").await?;
        let was_administrator = has_administrator(&mut tx).await?;
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
        let loses_a_right = change.is_admin == Some(false) || change.disabled == Some(true);
        if loses_a_right && was_administrator && !has_administrator(&mut tx).await? {
            return Err(ChangeAccountError::LastAdministrator { name: account.name });
        }
        if !account.is_admin || account.disabled {
            end_invitations_by(&mut tx, account.id).await?;
        }
        // Who is let in again later, or gets the right again, signs in anew: what was stolen meanwhile does not come back to life.
        if loses_a_right {
            tx.execute("DELETE FROM web_sessions WHERE account_id = $1", args![account.id]).await?;
            tx.execute("DELETE FROM api_tokens WHERE account_id = $1", args![account.id]).await?;
        }
        tx.commit().await?;
        Ok(account)
    }

    /// Removes the account called `name` with its keys, registered ports, leases and the invitations it made; returns what
    /// went. Audit events that name it stay.
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
        let administrated = removed.account.is_admin && !removed.account.disabled;
        if administrated && !has_administrator(&mut tx).await? {
            return Err(RemoveAccountError::LastAdministrator { name: removed.account.name });
        }
        tx.commit().await?;
        Ok(removed)
    }
}

pub(crate) async fn insert_account(tx: &mut Tx, new: NewAccount) -> Result<Account, AddAccountError> {
    let now = tx.now().await?;
    let added = tx
        .fetch_optional(
            "INSERT INTO accounts (name, tier, is_admin, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO NOTHING
             RETURNING id, name, tier, is_admin, disabled, created_at",
            args![new.name.as_str(), new.tier.as_str(), new.is_admin, now],
        )
        .await;
    match added {
        Ok(Some(row)) => Ok(account_from(&row)?),
        Ok(None) => Err(AddAccountError::AccountExists { name: new.name }),
        Err(error) if error.is_foreign_key_violation() => Err(AddAccountError::NoSuchTier { tier: new.tier }),
        Err(error) => Err(error.into()),
    }
}

async fn page_of(tx: &mut Tx, query: &AccountQuery) -> Result<Vec<AccountSummary>, StoreError> {
    tx.fetch_all(
        "SELECT id, name, tier, is_admin, disabled, created_at,
                (SELECT COUNT(*) FROM keys WHERE keys.account_id = accounts.id) AS key_count,
                (SELECT COUNT(*) FROM credentials WHERE credentials.account_id = accounts.id) AS password_count
         FROM accounts WHERE name LIKE $1 ESCAPE '!' ORDER BY name LIMIT $2 OFFSET $3",
        args![containing(query.text.as_deref()), query.limit, query.offset],
        |row| {
            let has_password = row.get::<i64>("password_count")? > 0;
            Ok(AccountSummary { account: account_from(row)?, key_count: row.get("key_count")?, has_password })
        },
    )
    .await
}

/// A `LIKE` pattern, to be read with `ESCAPE '!'`, for texts that contain this one.
pub(crate) fn containing(text: Option<&str>) -> String {
    let mut pattern = String::from("%");
    for c in text.unwrap_or_default().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

async fn has_administrator(tx: &mut Tx) -> Result<bool, StoreError> {
    let sql = "SELECT 1 AS found FROM accounts WHERE is_admin = TRUE AND disabled = FALSE LIMIT 1";
    Ok(tx.fetch_optional(sql, args![]).await?.is_some())
}

pub(crate) async fn account_by_id(tx: &mut Tx, id: i64) -> Result<Option<Account>, StoreError> {
    let sql = "SELECT id, name, tier, is_admin, disabled, created_at FROM accounts WHERE id = $1";
    tx.fetch_optional(sql, args![id]).await?.as_ref().map(account_from).transpose()
}

pub(crate) async fn account_named(tx: &mut Tx, name: &str) -> Result<Option<Account>, StoreError> {
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
