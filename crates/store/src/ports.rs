//! Registered ports: an inventory that people keep of what they serve. It grants nothing and refuses nothing; who
//! really holds a port is a [lease](crate::Lease).

use crate::Store;
use crate::accounts::containing;
use crate::db::{Durability, Row, Tx, args};
use crate::error::StoreError;
use crate::time::UnixMillis;
use crate::token::random_id;

/// An entry of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredPort {
    /// Random, so that one account can't name another's entry.
    pub id: String,
    /// The id of its owner.
    pub account: i64,
    /// The port; several accounts may list the same one.
    pub port: u16,
    /// What is served there; may be empty.
    pub description: String,
    /// Whether every member sees it in the directory.
    pub shared: bool,
    /// When it was added.
    pub created_at: UnixMillis,
}

/// A shared entry, as every member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPort {
    /// The name of its owner.
    pub owner: String,
    /// The entry.
    pub port: RegisteredPort,
}

/// Which entries to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortQuery {
    /// Only those with this in the description, in the port's digits or, where everybody's are listed, in the owner's name.
    pub text: Option<String>,
    /// Only those of this port.
    pub port: Option<u16>,
    /// Without the first so many.
    pub offset: u32,
    /// At most so many.
    pub limit: u32,
}

/// A part of an account's own list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredPortPage {
    /// How many there are on all pages.
    pub total: u64,
    /// Those of this page, by port.
    pub ports: Vec<RegisteredPort>,
}

/// A part of what the members share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPortPage {
    /// How many there are on all pages.
    pub total: u64,
    /// Those of this page, by port, then owner.
    pub ports: Vec<SharedPort>,
}

/// An entry to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPort {
    /// The port.
    pub port: u16,
    /// What is served there; may be empty.
    pub description: String,
    /// Whether every member sees it.
    pub shared: bool,
}

/// What to change of an entry; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortChange {
    /// What is served there.
    pub description: Option<String>,
    /// Whether every member sees it.
    pub shared: Option<bool>,
}

/// An entry that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedPort {
    /// As it was.
    pub before: RegisteredPort,
    /// As it now is.
    pub after: RegisteredPort,
}

/// Why an entry was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddPortError {
    /// The account lists this port already.
    #[error("port {port} is already in this account's list")]
    AlreadyRegistered {
        /// The port.
        port: u16,
    },
    /// The account has as many as it may.
    #[error("this account has {limit} registered ports already")]
    TooMany {
        /// How many it may have.
        limit: u32,
    },
    /// There is no such account (any more).
    #[error("there is no account with id {account}")]
    NoSuchAccount {
        /// The id asked for.
        account: i64,
    },
    /// The system has no random numbers to make an id from.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an entry was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangePortError {
    /// The account has no such entry. Another account's entry is never told from none.
    #[error("this account has no such registered port")]
    NoSuchPort,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an entry was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovePortError {
    /// The account has no such entry. Another account's entry is never told from none.
    #[error("this account has no such registered port")]
    NoSuchPort,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Adds an entry to an account's list, unless it has `limit` of them.
    ///
    /// # Errors
    ///
    /// [`AddPortError`]; nothing was added.
    pub async fn add_port(&self, account: i64, new: NewPort, limit: u32) -> Result<RegisteredPort, AddPortError> {
        let id = random_id().ok_or(AddPortError::NoRandomness)?;
        let mut tx = self.db.write(Durability::Synced, "register a port").await?;
        let now = tx.now().await?;
        let sql = "SELECT COUNT(*) AS held FROM registered_ports WHERE account_id = $1";
        let held: u32 = tx.fetch_one(sql, args![account]).await?.get("held")?;
        let added = tx
            .fetch_optional(
                "INSERT INTO registered_ports (id, account_id, port, description, shared, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (account_id, port) DO NOTHING
                 RETURNING id, account_id, port, description, shared, created_at",
                args![id, account, new.port, new.description, new.shared, now],
            )
            .await;
        let row = match added {
            Ok(Some(row)) => row,
            Ok(None) => return Err(AddPortError::AlreadyRegistered { port: new.port }),
            Err(error) if error.is_foreign_key_violation() => return Err(AddPortError::NoSuchAccount { account }),
            Err(error) => return Err(error.into()),
        };
        // After the rest: that an entry is there already is told also where there is no room for another.
        if held >= limit {
            return Err(AddPortError::TooMany { limit });
        }
        let port = port_from(&row)?;
        tx.commit().await?;
        Ok(port)
    }

    /// A page of an account's own list, by port.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn search_ports(&self, account: i64, query: &PortQuery) -> Result<RegisteredPortPage, StoreError> {
        macro_rules! found {
            ($what:literal, $rest:literal) => {
                concat!(
                    "SELECT ",
                    $what,
                    " FROM registered_ports WHERE account_id = $1 AND port = COALESCE($2, port)",
                    " AND ($3 = '%%' OR description LIKE $3 ESCAPE '!' OR CAST(port AS TEXT) LIKE $3 ESCAPE '!') ",
                    $rest
                )
            };
        }
        let mut tx = self.db.read("search an account's ports").await?;
        let mut args = args![account, query.port, containing(query.text.as_deref())];
        let total = tx.fetch_one(found!("COUNT(*) AS total", ""), args.clone()).await?.get("total")?;
        args.extend(args![query.limit, query.offset]);
        let sql = found!("id, account_id, port, description, shared, created_at", "ORDER BY port LIMIT $4 OFFSET $5");
        Ok(RegisteredPortPage { total, ports: tx.fetch_all(sql, args, port_from).await? })
    }

    /// A page of what the members share, by port, then owner. Entries of disabled accounts are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn search_shared_ports(&self, query: &PortQuery) -> Result<SharedPortPage, StoreError> {
        macro_rules! found {
            ($what:literal, $rest:literal) => {
                concat!(
                    "SELECT ",
                    $what,
                    " FROM registered_ports AS ports JOIN accounts ON accounts.id = ports.account_id",
                    " WHERE ports.shared = TRUE AND accounts.disabled = FALSE AND port = COALESCE($1, port)",
                    " AND ($2 = '%%' OR description LIKE $2 ESCAPE '!' OR accounts.name LIKE $2 ESCAPE '!'",
                    " OR CAST(port AS TEXT) LIKE $2 ESCAPE '!') ",
                    $rest
                )
            };
        }
        let mut tx = self.db.read("search the shared ports").await?;
        let mut args = args![query.port, containing(query.text.as_deref())];
        let total = tx.fetch_one(found!("COUNT(*) AS total", ""), args.clone()).await?.get("total")?;
        args.extend(args![query.limit, query.offset]);
        let sql = found!(
            "ports.id, account_id, port, description, shared, ports.created_at, accounts.name AS owner",
            "ORDER BY port, accounts.name LIMIT $3 OFFSET $4"
        );
        let from = |row: &Row| Ok(SharedPort { owner: row.get("owner")?, port: port_from(row)? });
        Ok(SharedPortPage { total, ports: tx.fetch_all(sql, args, from).await? })
    }

    /// Whether any of these accounts shares the port named beside it, or any port where none is named. Asks for one after the other,
    /// so name those that changed and not all there are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn is_any_shared(&self, ports: &[(i64, Option<u16>)]) -> Result<bool, StoreError> {
        if ports.is_empty() {
            return Ok(false);
        }
        let mut tx = self.db.read("look for a shared port").await?;
        for &(account, port) in ports {
            let sql = "SELECT 1 AS found FROM registered_ports
                       WHERE account_id = $1 AND port = COALESCE($2, port) AND shared = TRUE LIMIT 1";
            if tx.fetch_optional(sql, args![account, port]).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Changes the entry `id` of an account.
    ///
    /// # Errors
    ///
    /// [`ChangePortError`]; nothing was changed.
    pub async fn change_port(
        &self,
        account: i64,
        id: &str,
        change: PortChange,
    ) -> Result<ChangedPort, ChangePortError> {
        let mut tx = self.db.write(Durability::Synced, "change a registered port").await?;
        let before = tx
            .fetch_optional(
                "SELECT id, account_id, port, description, shared, created_at FROM registered_ports
                 WHERE account_id = $1 AND id = $2",
                args![account, id],
            )
            .await?
            .ok_or(ChangePortError::NoSuchPort)?;
        let row = tx
            .fetch_one(
                "UPDATE registered_ports SET description = COALESCE($3, description), shared = COALESCE($4, shared)
                 WHERE account_id = $1 AND id = $2
                 RETURNING id, account_id, port, description, shared, created_at",
                args![account, id, change.description, change.shared],
            )
            .await?;
        let changed = ChangedPort { before: port_from(&before)?, after: port_from(&row)? };
        tx.commit().await?;
        Ok(changed)
    }

    /// Removes the entry `id` of an account; returns it as it last was.
    ///
    /// # Errors
    ///
    /// [`RemovePortError`]; nothing was removed.
    pub async fn remove_port(&self, account: i64, id: &str) -> Result<RegisteredPort, RemovePortError> {
        let mut tx = self.db.write(Durability::Synced, "remove a registered port").await?;
        let row = tx
            .fetch_optional(
                "DELETE FROM registered_ports WHERE account_id = $1 AND id = $2
                 RETURNING id, account_id, port, description, shared, created_at",
                args![account, id],
            )
            .await?
            .ok_or(RemovePortError::NoSuchPort)?;
        let port = port_from(&row)?;
        tx.commit().await?;
        Ok(port)
    }
}

pub(crate) async fn ports_of(tx: &mut Tx, account: i64) -> Result<Vec<RegisteredPort>, StoreError> {
    tx.fetch_all(
        "SELECT id, account_id, port, description, shared, created_at FROM registered_ports
         WHERE account_id = $1 ORDER BY port",
        args![account],
        port_from,
    )
    .await
}

fn port_from(row: &Row) -> Result<RegisteredPort, StoreError> {
    Ok(RegisteredPort {
        id: row.get("id")?,
        account: row.get("account_id")?,
        port: row.get("port")?,
        description: row.get("description")?,
        shared: row.get("shared")?,
        created_at: row.get("created_at")?,
    })
}
