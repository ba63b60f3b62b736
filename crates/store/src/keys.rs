//! Public keys: each belongs to one account, and is who that account is.

use std::fmt;
use std::ops::RangeInclusive;

use crate::Store;
use crate::accounts::{Account, account_from};
use crate::db::{Durability, Row, Tx, Value, args};
use crate::error::StoreError;
use crate::time::UnixMillis;

/// Keys of one account at a time. All keys of all accounts are in memory while a jump host runs, and are read again with every change.
pub const KEYS_PER_ACCOUNT: u32 = 1_000;

/// A public key as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Never given to another key, also after a removal.
    pub id: i64,
    /// The id of the account it belongs to.
    pub account: i64,
    /// The key as SSH sends it (RFC 4253 §6.6); unique over all accounts.
    pub blob: Vec<u8>,
    /// As people see it, for example `SHA256:…`.
    pub fingerprint: String,
    /// The algorithm's name, for example `ssh-ed25519`.
    pub key_type: String,
    /// What its owner calls it; may be empty.
    pub label: String,
    /// When it was added.
    pub added_at: UnixMillis,
    /// When it last logged in, as far as [`Store::touch_keys`] was told.
    pub last_used_at: Option<UnixMillis>,
    /// From this moment on it no longer logs in.
    pub expires_at: Option<UnixMillis>,
    /// The only ports its sessions may forward, if it is confined.
    pub ports: Option<RangeInclusive<u16>>,
}

/// Without the blob: the fingerprint says the same in a form that people can read.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("fingerprint", &self.fingerprint)
            .field("label", &self.label)
            .field("expires_at", &self.expires_at)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// A key to add, already checked for form and strength.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The key as SSH sends it (RFC 4253 §6.6).
    pub blob: Vec<u8>,
    /// As people see it; belongs to `blob`.
    pub fingerprint: String,
    /// The algorithm's name.
    pub key_type: String,
    /// What its owner calls it; may be empty.
    pub label: String,
    /// From this moment on it no longer logs in.
    pub expires_at: Option<UnixMillis>,
    /// The only ports its sessions may forward; must not be an empty range.
    pub ports: Option<RangeInclusive<u16>>,
}

/// Without the blob, as for [`Key`].
impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("fingerprint", &self.fingerprint)
            .field("label", &self.label)
            .field("expires_at", &self.expires_at)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// Why a key was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddKeyError {
    /// The account has it already.
    #[error("this account already has the key {fingerprint}")]
    KeyAlreadyYours {
        /// Of the key.
        fingerprint: String,
    },
    /// Another account has it. The message does not say which: that would tell anyone who holds a public key whose
    /// it is.
    #[error("another account holds the key {fingerprint}")]
    KeyHeldByOther {
        /// Of the key.
        fingerprint: String,
        /// The id of the account that has it; not for the caller's user.
        holder: i64,
    },
    /// The account has as many as it may.
    #[error("this account has {KEYS_PER_ACCOUNT} keys already")]
    TooMany,
    /// There is no such account (any more).
    #[error("there is no account with id {account}")]
    NoSuchAccount {
        /// The id asked for.
        account: i64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that has changed hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedKey {
    /// The key as its new account has it, with a new id: what rests on the old one has ended.
    pub key: Key,
    /// The key as it last was.
    pub former: Key,
    /// The account that had it.
    pub holder: Account,
}

/// Why a key did not change hands.
#[derive(Debug, thiserror::Error)]
pub enum ClaimKeyError {
    /// Nobody has it, so it can simply be added.
    #[error("no account holds the key {fingerprint}")]
    NotHeld {
        /// Of the key.
        fingerprint: String,
    },
    /// The account has it already.
    #[error("this account already has the key {fingerprint}")]
    KeyAlreadyYours {
        /// Of the key.
        fingerprint: String,
    },
    /// It is held under another id than the one that was claimed: it has changed hands.
    #[error("the key {fingerprint} has changed hands")]
    ChangedHands {
        /// Of the key.
        fingerprint: String,
    },
    /// There is no such account (any more).
    #[error("there is no account with id {account}")]
    NoSuchAccount {
        /// The id asked for.
        account: i64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a key was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveKeyError {
    /// The account has no such key. Another account's key is never told from none.
    #[error("this account has no key {fingerprint}")]
    NoSuchKey {
        /// The fingerprint asked for.
        fingerprint: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Gives the account with id `account` a key.
    ///
    /// # Errors
    ///
    /// [`AddKeyError`]; nothing was added.
    pub async fn add_key(&self, account: i64, new: NewKey) -> Result<Key, AddKeyError> {
        let mut tx = self.db.change_directory("add a key").await?;
        let values = values_of(account, &new, tx.now().await?);
        let added = tx.fetch_optional(INSERT, values).await;
        match added {
            Ok(Some(row)) => {
                let key = key_from(&row)?;
                let sql = "SELECT COUNT(*) AS held FROM keys WHERE account_id = $1";
                let held: u32 = tx.fetch_one(sql, args![account]).await?.get("held")?;
                if held > KEYS_PER_ACCOUNT {
                    return Err(AddKeyError::TooMany);
                }
                tx.commit().await?;
                Ok(key)
            }
            Ok(None) => {
                let row = tx.fetch_one("SELECT account_id FROM keys WHERE blob = $1", args![new.blob]).await?;
                let holder = row.get("account_id")?;
                let fingerprint = new.fingerprint;
                Err(if holder == account {
                    AddKeyError::KeyAlreadyYours { fingerprint }
                } else {
                    AddKeyError::KeyHeldByOther { fingerprint, holder }
                })
            }
            Err(error) if error.is_foreign_key_violation() => Err(AddKeyError::NoSuchAccount { account }),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a key from the account that holds it under the id `held` and gives it to the account with id `account`, on the terms of
    /// `new`: no moment passes in which nobody, or anybody else, has it. Whether the account may have it is settled by the caller,
    /// who looked at that very id.
    ///
    /// # Errors
    ///
    /// [`ClaimKeyError`]; the key is where it was.
    pub async fn claim_key(&self, account: i64, held: i64, new: NewKey) -> Result<ClaimedKey, ClaimKeyError> {
        let mut tx = self.db.change_directory("claim a key").await?;
        let now = tx.now().await?;
        let holder = tx
            .fetch_optional(
                "SELECT accounts.id, name, tier, is_admin, disabled, created_at
                 FROM accounts JOIN keys ON keys.account_id = accounts.id WHERE keys.blob = $1",
                args![new.blob.clone()],
            )
            .await?;
        let holder = match holder.as_ref().map(account_from).transpose()? {
            None => return Err(ClaimKeyError::NotHeld { fingerprint: new.fingerprint }),
            Some(holder) if holder.id == account => {
                return Err(ClaimKeyError::KeyAlreadyYours { fingerprint: new.fingerprint });
            }
            Some(holder) => holder,
        };
        let former = tx
            .fetch_one(
                "DELETE FROM keys WHERE blob = $1
                 RETURNING id, account_id, blob, fingerprint, key_type, label, added_at, last_used_at, expires_at,
                           first_port, last_port",
                args![new.blob.clone()],
            )
            .await?;
        let former = key_from(&former)?;
        if former.id != held {
            return Err(ClaimKeyError::ChangedHands { fingerprint: new.fingerprint });
        }
        match tx.fetch_one(INSERT, values_of(account, &new, now)).await {
            Ok(row) => {
                let claimed = ClaimedKey { key: key_from(&row)?, former, holder };
                tx.commit().await?;
                Ok(claimed)
            }
            Err(error) if error.is_foreign_key_violation() => Err(ClaimKeyError::NoSuchAccount { account }),
            Err(error) => Err(error.into()),
        }
    }

    /// The key with this blob, whoever has it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn key_by_blob(&self, blob: &[u8]) -> Result<Option<Key>, StoreError> {
        let mut tx = self.db.read("look a key up").await?;
        let row = tx
            .fetch_optional(
                "SELECT id, account_id, blob, fingerprint, key_type, label, added_at, last_used_at, expires_at,
                        first_port, last_port
                 FROM keys WHERE blob = $1",
                args![blob.to_vec()],
            )
            .await?;
        row.as_ref().map(key_from).transpose()
    }

    /// The keys of one account, or of all, in the order they were added; expired ones too.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_keys(&self, account: Option<i64>) -> Result<Vec<Key>, StoreError> {
        let mut tx = self.db.read("list the keys").await?;
        match account {
            Some(account) => keys_of(&mut tx, account).await,
            None => {
                tx.fetch_all(
                    "SELECT id, account_id, blob, fingerprint, key_type, label, added_at, last_used_at, expires_at,
                            first_port, last_port
                     FROM keys ORDER BY id",
                    args![],
                    key_from,
                )
                .await
            }
        }
    }

    /// Takes a key from the account with id `account`; returns it as it last was.
    ///
    /// # Errors
    ///
    /// [`RemoveKeyError`]; nothing was removed.
    pub async fn remove_key(&self, account: i64, fingerprint: &str) -> Result<Key, RemoveKeyError> {
        let mut tx = self.db.change_directory("remove a key").await?;
        let removed = tx
            .fetch_optional(
                "DELETE FROM keys WHERE account_id = $1 AND fingerprint = $2
                 RETURNING id, account_id, blob, fingerprint, key_type, label, added_at, last_used_at, expires_at,
                           first_port, last_port",
                args![account, fingerprint],
            )
            .await?;
        let Some(row) = removed else {
            return Err(RemoveKeyError::NoSuchKey { fingerprint: fingerprint.to_owned() });
        };
        let key = key_from(&row)?;
        tx.commit().await?;
        Ok(key)
    }

    /// Notes when keys (by id) last logged in, all in one transaction; collect some seconds' worth per call. A time
    /// earlier than the one noted, and a key that is gone, are passed over. The last notes before a power cut may be
    /// lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn touch_keys(&self, used: &[(i64, UnixMillis)]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.write(Durability::Relaxed, "note when keys were used").await?;
        for &(key, at) in used {
            tx.execute(
                "UPDATE keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
                args![key, at],
            )
            .await?;
        }
        tx.commit().await
    }
}

/// A key that somebody has stays as it is.
const INSERT: &str = "INSERT INTO keys (account_id, blob, fingerprint, key_type, label, added_at, expires_at,
                                        first_port, last_port)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                      ON CONFLICT (blob) DO NOTHING
                      RETURNING id, account_id, blob, fingerprint, key_type, label, added_at, last_used_at, expires_at,
                                first_port, last_port";

/// The values of [`INSERT`].
fn values_of(account: i64, new: &NewKey, added_at: UnixMillis) -> Vec<Value> {
    let (first, last) = new.ports.clone().map(RangeInclusive::into_inner).unzip();
    args![
        account,
        new.blob.clone(),
        new.fingerprint.as_str(),
        new.key_type.as_str(),
        new.label.as_str(),
        added_at,
        new.expires_at,
        first,
        last,
    ]
}

pub(crate) async fn keys_of(tx: &mut Tx, account: i64) -> Result<Vec<Key>, StoreError> {
    tx.fetch_all(
        "SELECT id, account_id, blob, fingerprint, key_type, label, added_at, last_used_at, expires_at,
                first_port, last_port
         FROM keys WHERE account_id = $1 ORDER BY id",
        args![account],
        key_from,
    )
    .await
}

pub(crate) fn key_from(row: &Row) -> Result<Key, StoreError> {
    let first: Option<u16> = row.get("first_port")?;
    let last: Option<u16> = row.get("last_port")?;
    Ok(Key {
        id: row.get("id")?,
        account: row.get("account_id")?,
        blob: row.get("blob")?,
        fingerprint: row.get("fingerprint")?,
        key_type: row.get("key_type")?,
        label: row.get("label")?,
        added_at: row.get("added_at")?,
        last_used_at: row.get("last_used_at")?,
        expires_at: row.get("expires_at")?,
        ports: first.zip(last).map(|(first, last)| first..=last),
    })
}
