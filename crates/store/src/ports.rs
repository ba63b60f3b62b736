//! Registered ports: an inventory that people keep of what they serve. It grants nothing and refuses nothing; who
//! really holds a port is a [lease](crate::Lease).

use crate::Store;
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

    /// An account's own list, by port.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_ports(&self, account: i64) -> Result<Vec<RegisteredPort>, StoreError> {
        let mut tx = self.db.read("list an account's ports").await?;
        ports_of(&mut tx, account).await
    }

    /// What the members share, by port, then owner. Entries of disabled accounts are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_shared_ports(&self) -> Result<Vec<SharedPort>, StoreError> {
        let mut tx = self.db.read("list the shared ports").await?;
        tx.fetch_all(
            "SELECT ports.id, ports.account_id, ports.port, ports.description, ports.shared, ports.created_at,
                    accounts.name AS owner
             FROM registered_ports AS ports JOIN accounts ON accounts.id = ports.account_id
             WHERE ports.shared = TRUE AND accounts.disabled = FALSE
             ORDER BY ports.port, accounts.name",
            args![],
            |row| Ok(SharedPort { owner: row.get("owner")?, port: port_from(row)? }),
        )
        .await
    }

    /// Changes the entry `id` of an account; returns it as it now is.
    ///
    /// # Errors
    ///
    /// [`ChangePortError`]; nothing was changed.
    pub async fn change_port(
        &self,
        account: i64,
        id: &str,
        change: PortChange,
    ) -> Result<RegisteredPort, ChangePortError> {
        let mut tx = self.db.write(Durability::Synced, "change a registered port").await?;
        let row = tx
            .fetch_optional(
                "UPDATE registered_ports SET description = COALESCE($3, description), shared = COALESCE($4, shared)
                 WHERE account_id = $1 AND id = $2
                 RETURNING id, account_id, port, description, shared, created_at",
                args![account, id, change.description, change.shared],
            )
            .await?
            .ok_or(ChangePortError::NoSuchPort)?;
        let port = port_from(&row)?;
        tx.commit().await?;
        Ok(port)
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
