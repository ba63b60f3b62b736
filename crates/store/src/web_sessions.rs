//! Web sessions: who is signed in at the dashboard.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Store;
use crate::accounts::{Account, account_by_id, account_from};
use crate::db::{Durability, args};
use crate::error::StoreError;
use crate::time::UnixMillis;
use crate::token::TokenHash;

/// Sessions of one account at a time; the one that was used longest ago makes room. A person has some browsers; more is a program
/// that never signs out.
const SESSIONS_PER_ACCOUNT: i64 = 32;

/// A session to add.
#[derive(Clone)]
pub struct NewWebSession {
    /// Of the token that the browser gets.
    pub token_hash: TokenHash,
    /// The id of the account.
    pub account: i64,
    /// What a request of this session must show beside its cookie.
    pub csrf: String,
    /// How it was signed in, as a short name.
    pub via: String,
    /// The hash by which a password was found right; the session begins only if it still is the account's.
    pub judged_by: Option<String>,
    /// From where.
    pub source: Option<SocketAddr>,
    /// How long it lasts, however much it is used.
    pub lifetime: Duration,
}

/// A session as stored, with its account.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSession {
    /// Who is signed in; never a disabled one.
    pub account: Account,
    /// What a request of this session must show beside its cookie.
    pub csrf: String,
    /// How it was signed in.
    pub via: String,
    /// From where.
    pub source: Option<SocketAddr>,
    /// When it began.
    pub created_at: UnixMillis,
    /// When it was last used, as far as [`Store::touch_web_session`] was told.
    pub seen_at: UnixMillis,
    /// When it ends at the latest.
    pub expires_at: UnixMillis,
    /// The time of the look-up.
    pub now: UnixMillis,
}

/// Without the secret.
impl fmt::Debug for NewWebSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebSession").field("account", &self.account).field("via", &self.via).finish_non_exhaustive()
    }
}

/// Without the secret.
impl fmt::Debug for WebSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSession").field("account", &self.account).field("via", &self.via).finish_non_exhaustive()
    }
}

/// Why a session was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddWebSessionError {
    /// There is no such account (any more).
    #[error("there is no account with id {account}")]
    NoSuchAccount {
        /// The id asked for.
        account: i64,
    },
    /// The account is locked out.
    #[error("the account with id {account} is disabled")]
    Disabled {
        /// The account.
        account: i64,
    },
    /// The password was judged by a hash that is not the account's any more.
    #[error("the password of the account with id {account} was changed meanwhile")]
    PasswordChanged {
        /// The account.
        account: i64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Adds a session, and ends the one it replaces; returns when it ends at the latest.
    ///
    /// # Errors
    ///
    /// [`AddWebSessionError`]; nothing was added, nothing ended.
    pub async fn add_web_session(
        &self,
        new: NewWebSession,
        replaces: Option<TokenHash>,
    ) -> Result<UnixMillis, AddWebSessionError> {
        let mut tx = self.db.write(Durability::Synced, "begin a web session").await?;
        // Judging takes so long that the account may have been locked out or removed since.
        match account_by_id(&mut tx, new.account).await? {
            None => return Err(AddWebSessionError::NoSuchAccount { account: new.account }),
            Some(account) if account.disabled => return Err(AddWebSessionError::Disabled { account: account.id }),
            Some(_) => {}
        }
        // Or its password changed, and its sessions ended.
        if let Some(phc) = new.judged_by {
            let sql = "SELECT 1 AS found FROM credentials WHERE account_id = $1 AND phc = $2";
            if tx.fetch_optional(sql, args![new.account, phc]).await?.is_none() {
                return Err(AddWebSessionError::PasswordChanged { account: new.account });
            }
        }
        let now = tx.now().await?;
        let expires_at = now.after(new.lifetime);
        tx.execute(
            "INSERT INTO web_sessions (token_hash, account_id, csrf, via, source, created_at, seen_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
            args![
                new.token_hash,
                new.account,
                new.csrf,
                new.via,
                new.source.map(|source| source.to_string()),
                now,
                expires_at,
            ],
        )
        .await?;
        if let Some(replaced) = replaces {
            tx.execute("DELETE FROM web_sessions WHERE token_hash = $1", args![replaced]).await?;
        }
        tx.execute(
            "DELETE FROM web_sessions WHERE account_id = $1 AND token_hash NOT IN
                 (SELECT token_hash FROM web_sessions WHERE account_id = $1 ORDER BY seen_at DESC, created_at DESC LIMIT $2)",
            args![new.account, SESSIONS_PER_ACCOUNT],
        )
        .await?;
        tx.commit().await?;
        Ok(expires_at)
    }

    /// The session of a token: if it has not ended, was used within `idle`, and its account is enabled.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn web_session(&self, token: TokenHash, idle: Duration) -> Result<Option<WebSession>, StoreError> {
        let mut tx = self.db.read("look up a web session").await?;
        let now = tx.now().await?;
        let row = tx
            .fetch_optional(
                "SELECT accounts.id, name, tier, is_admin, disabled, accounts.created_at,
                        csrf, via, source, web_sessions.created_at AS begun_at, seen_at, expires_at
                 FROM web_sessions JOIN accounts ON accounts.id = account_id
                 WHERE token_hash = $1 AND disabled = FALSE AND expires_at > $2 AND seen_at > $3",
                args![token, now, now.before(idle)],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(WebSession {
            account: account_from(&row)?,
            csrf: row.get("csrf")?,
            via: row.get("via")?,
            source: row.parse("source")?,
            created_at: row.get("begun_at")?,
            seen_at: row.get("seen_at")?,
            expires_at: row.get("expires_at")?,
            now,
        }))
    }

    /// Notes that a session was used just now. The last notes before a power cut may be lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn touch_web_session(&self, token: TokenHash) -> Result<(), StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "note that a web session was used").await?;
        let now = tx.now().await?;
        let sql = "UPDATE web_sessions SET seen_at = $2 WHERE token_hash = $1 AND seen_at < $2";
        tx.execute(sql, args![token, now]).await?;
        tx.commit().await
    }

    /// Ends a session; whether there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_web_session(&self, token: TokenHash) -> Result<bool, StoreError> {
        let mut tx = self.db.write(Durability::Synced, "end a web session").await?;
        let ended = tx.execute("DELETE FROM web_sessions WHERE token_hash = $1", args![token]).await?;
        tx.commit().await?;
        Ok(ended > 0)
    }

    /// Ends the session that has this key, unless it is `but`; whose that was. The key is a secret of 256 bits as the token
    /// is, and whoever tries some is signed in, so nobody finds one by trying. A key that is none is only looked for: it
    /// takes nobody's turn to write.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn remove_web_session_with_key(&self, csrf: &str, but: TokenHash) -> Result<Option<Account>, StoreError> {
        let sql = "SELECT 1 AS found FROM web_sessions WHERE csrf = $1 AND token_hash <> $2";
        let mut look = self.db.read("look for a web session by its key").await?;
        if look.fetch_optional(sql, args![csrf, but]).await?.is_none() {
            return Ok(None);
        }
        // Before the next one begins: a store in memory has one connection for both.
        drop(look);
        let mut tx = self.db.write(Durability::Synced, "end a web session").await?;
        let sql = "DELETE FROM web_sessions WHERE csrf = $1 AND token_hash <> $2 RETURNING account_id";
        let Some(ended) = tx.fetch_optional(sql, args![csrf, but]).await? else { return Ok(None) };
        let account = account_by_id(&mut tx, ended.get("account_id")?).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Removes what nobody can use any more: sessions that ended or were not used within `idle`, invitations and API tokens whose
    /// time is over. Returns how many rows that were.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn prune_sign_ins(&self, idle: Duration) -> Result<u64, StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "prune sign-ins").await?;
        let now = tx.now().await?;
        let sql = "DELETE FROM web_sessions WHERE expires_at <= $1 OR seen_at <= $2";
        let mut pruned = tx.execute(sql, args![now, now.before(idle)]).await?;
        pruned += tx.execute("DELETE FROM invitations WHERE expires_at <= $1", args![now]).await?;
        pruned += tx.execute("DELETE FROM api_tokens WHERE expires_at <= $1", args![now]).await?;
        tx.commit().await?;
        Ok(pruned)
    }
}
