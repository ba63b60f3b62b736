//! Passwords, as the hashes that somebody else made of them, and who can sign in at all.

use std::fmt;

use crate::Store;
use crate::accounts::{Account, account_by_id, account_from, account_named};
use crate::db::{Durability, Tx, args};
use crate::error::StoreError;
use crate::token::TokenHash;

/// What a sign-in with a password is judged by.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is. Disabled accounts have theirs too.
    pub account: Account,
    /// The hash of the password in PHC format; `None` where the account has no password.
    pub phc: Option<String>,
}

/// Without the hash.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Why a password was not set.
#[derive(Debug, thiserror::Error)]
pub enum SetPasswordError {
    /// There is no such account (any more).
    #[error("there is no account with id {account}")]
    NoSuchAccount {
        /// The id asked for.
        account: i64,
    },
    /// The password is another one than the caller judged by.
    #[error("the password was changed meanwhile")]
    Changed,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The account called `name` with the hash of its password, if there is such an account.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn credential(&self, name: &str) -> Result<Option<Credential>, StoreError> {
        let mut tx = self.db.read("look up a password").await?;
        let Some(account) = account_named(&mut tx, name).await? else { return Ok(None) };
        let phc = phc_of(&mut tx, account.id).await?;
        Ok(Some(Credential { account, phc }))
    }

    /// Sets the password of an account whose hash is still `old` (`None`: it has none), and ends its web sessions but `keep`; returns
    /// how many it ended. Somebody who knew the password of before must not undo a change that shuts them out.
    ///
    /// # Errors
    ///
    /// [`SetPasswordError`]; nothing was changed.
    pub async fn set_password(
        &self,
        account: i64,
        old: Option<&str>,
        new: &str,
        keep: Option<TokenHash>,
    ) -> Result<u64, SetPasswordError> {
        let mut tx = self.db.write(Durability::Synced, "set a password").await?;
        if account_by_id(&mut tx, account).await?.is_none() {
            return Err(SetPasswordError::NoSuchAccount { account });
        }
        if phc_of(&mut tx, account).await?.as_deref() != old {
            return Err(SetPasswordError::Changed);
        }
        write_password(&mut tx, account, new).await?;
        let ended = end_sessions(&mut tx, account, keep).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Replaces a hash by another one of the same password. Does nothing if the password was changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn rehash_password(&self, account: i64, old: &str, new: &str) -> Result<(), StoreError> {
        let mut tx = self.db.write(Durability::Synced, "renew the hash of a password").await?;
        let sql = "UPDATE credentials SET phc = $3 WHERE account_id = $1 AND phc = $2";
        tx.execute(sql, args![account, old, new]).await?;
        tx.commit().await
    }

    /// Whether an enabled account has a password or an identity of elsewhere; with `administrators`, whether one does that may
    /// administer the server.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn anybody_can_sign_in(&self, administrators: bool) -> Result<bool, StoreError> {
        let mut tx = self.db.read("look who can sign in").await?;
        can_anybody_sign_in(&mut tx, administrators).await
    }

    /// The account that an OpenID provider's subject belongs to, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn account_of_identity(&self, issuer: &str, subject: &str) -> Result<Option<Account>, StoreError> {
        let mut tx = self.db.read("look up an identity").await?;
        let row = tx
            .fetch_optional(
                "SELECT accounts.id, name, tier, is_admin, disabled, accounts.created_at
                 FROM accounts JOIN oidc_identities ON account_id = accounts.id
                 WHERE issuer = $1 AND subject = $2",
                args![issuer, subject],
            )
            .await?;
        row.as_ref().map(account_from).transpose()
    }
}

async fn phc_of(tx: &mut Tx, account: i64) -> Result<Option<String>, StoreError> {
    let row = tx.fetch_optional("SELECT phc FROM credentials WHERE account_id = $1", args![account]).await?;
    row.map(|row| row.get("phc")).transpose()
}

pub(crate) async fn can_anybody_sign_in(tx: &mut Tx, administrators: bool) -> Result<bool, StoreError> {
    let row = tx
        .fetch_optional(
            "SELECT 1 AS found FROM accounts
             WHERE disabled = FALSE AND (is_admin = TRUE OR is_admin = $1)
               AND (EXISTS (SELECT 1 FROM credentials WHERE credentials.account_id = accounts.id)
                    OR EXISTS (SELECT 1 FROM oidc_identities WHERE oidc_identities.account_id = accounts.id))
             LIMIT 1",
            args![administrators],
        )
        .await?;
    Ok(row.is_some())
}

pub(crate) async fn write_password(tx: &mut Tx, account: i64, phc: &str) -> Result<(), StoreError> {
    let now = tx.now().await?;
    tx.execute(
        "INSERT INTO credentials (account_id, phc, changed_at) VALUES ($1, $2, $3)
         ON CONFLICT (account_id) DO UPDATE SET phc = excluded.phc, changed_at = excluded.changed_at",
        args![account, phc, now],
    )
    .await
    .map(drop)
}

pub(crate) async fn end_sessions(tx: &mut Tx, account: i64, keep: Option<TokenHash>) -> Result<u64, StoreError> {
    match keep {
        Some(keep) => {
            let sql = "DELETE FROM web_sessions WHERE account_id = $1 AND token_hash <> $2";
            tx.execute(sql, args![account, keep]).await
        }
        None => tx.execute("DELETE FROM web_sessions WHERE account_id = $1", args![account]).await,
    }
}
