//! API tokens: how a program signs in as an account.

use std::time::Duration;

use crate::Store;
use crate::accounts::{Account, account_by_id};
use crate::db::{Durability, Row, Tx, args};
use crate::error::StoreError;
use crate::time::UnixMillis;
use crate::token::{TokenHash, random_id};

/// A token as stored: all but the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Random; names the token without being it.
    pub id: String,
    /// The id of its account.
    pub account: i64,
    /// What its owner calls it.
    pub name: String,
    /// What it may do, as its maker wrote it.
    pub scopes: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// From then on it is refused. Tokens of before there was such a bound may have none.
    pub expires_at: Option<UnixMillis>,
    /// When it was last used, as far as [`Store::touch_api_token`] was told.
    pub last_used_at: Option<UnixMillis>,
}

/// A token to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiToken {
    /// Of the token that its owner gets.
    pub token_hash: TokenHash,
    /// What its owner calls it.
    pub name: String,
    /// What it may do; kept as it is.
    pub scopes: String,
    /// How long it lasts.
    pub lifetime: Duration,
}

/// Why a token was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddApiTokenError {
    /// There is no such account (any more).
    #[error("there is no account with id {account}")]
    NoSuchAccount {
        /// The id asked for.
        account: i64,
    },
    /// The account has as many as it may.
    #[error("this account has {limit} tokens already")]
    TooMany {
        /// How many it may have.
        limit: u32,
    },
    /// The system has no random numbers to make an id from.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Gives an account a token, unless it has `limit` of them.
    ///
    /// # Errors
    ///
    /// [`AddApiTokenError`]; nothing was added.
    pub async fn add_api_token(
        &self,
        account: i64,
        new: NewApiToken,
        limit: u32,
    ) -> Result<ApiToken, AddApiTokenError> {
        let id = random_id().ok_or(AddApiTokenError::NoRandomness)?;
        let mut tx = self.db.write(Durability::Synced, "add an API token").await?;
        let now = tx.now().await?;
        let sql = "SELECT COUNT(*) AS held FROM api_tokens WHERE account_id = $1";
        if tx.fetch_one(sql, args![account]).await?.get::<u32>("held")? >= limit {
            return Err(AddApiTokenError::TooMany { limit });
        }
        let expires_at = now.after(new.lifetime);
        let added = tx
            .fetch_one(
                "INSERT INTO api_tokens (id, account_id, token_hash, name, scopes, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 RETURNING id, account_id, name, scopes, created_at, expires_at, last_used_at",
                args![id, account, new.token_hash, new.name, new.scopes, now, expires_at],
            )
            .await;
        match added {
            Ok(row) => {
                let token = token_from(&row)?;
                tx.commit().await?;
                Ok(token)
            }
            Err(error) if error.is_foreign_key_violation() => Err(AddApiTokenError::NoSuchAccount { account }),
            Err(error) => Err(error.into()),
        }
    }

    /// An account's tokens, in the order they were made; those whose time is over too, until they are pruned.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_api_tokens(&self, account: i64) -> Result<Vec<ApiToken>, StoreError> {
        let mut tx = self.db.read("list the API tokens").await?;
        tx.fetch_all(
            "SELECT id, account_id, name, scopes, created_at, expires_at, last_used_at FROM api_tokens
             WHERE account_id = $1 ORDER BY created_at, id",
            args![account],
            token_from,
        )
        .await
    }

    /// The token with this hash and its account: if its time is not over and the account is enabled.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn api_token(&self, token: TokenHash) -> Result<Option<(ApiToken, Account)>, StoreError> {
        let mut tx = self.db.read("look up an API token").await?;
        let now = tx.now().await?;
        let row = tx
            .fetch_optional(
                "SELECT api_tokens.id, account_id, api_tokens.name, scopes, api_tokens.created_at, expires_at, last_used_at
                 FROM api_tokens JOIN accounts ON accounts.id = account_id
                 WHERE token_hash = $1 AND disabled = FALSE AND (expires_at IS NULL OR expires_at > $2)",
                args![token, now],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let token = token_from(&row)?;
        let account = account_by_id(&mut tx, token.account).await?;
        Ok(account.map(|account| (token, account)))
    }

    /// Notes that a token was used just now. The last notes before a power cut may be lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn touch_api_token(&self, id: &str) -> Result<(), StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "note that an API token was used").await?;
        let now = tx.now().await?;
        tx.execute("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1", args![id, now]).await?;
        tx.commit().await
    }

    /// Takes a token from an account; the token as it last was. Another account's token is never told from none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_api_token(&self, account: i64, id: &str) -> Result<Option<ApiToken>, StoreError> {
        let mut tx = self.db.write(Durability::Synced, "remove an API token").await?;
        let row = tx
            .fetch_optional(
                "DELETE FROM api_tokens WHERE account_id = $1 AND id = $2
                 RETURNING id, account_id, name, scopes, created_at, expires_at, last_used_at",
                args![account, id],
            )
            .await?;
        let removed = row.as_ref().map(token_from).transpose()?;
        tx.commit().await?;
        Ok(removed)
    }
}

/// Ends all tokens of an account; how many there were.
pub(crate) async fn end_api_tokens(tx: &mut Tx, account: i64) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM api_tokens WHERE account_id = $1", args![account]).await
}

fn token_from(row: &Row) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        id: row.get("id")?,
        account: row.get("account_id")?,
        name: row.get("name")?,
        scopes: row.get("scopes")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        last_used_at: row.get("last_used_at")?,
    })
}
