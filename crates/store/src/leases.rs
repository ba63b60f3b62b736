//! Leases: which session holds which port, until when. They keep several nodes on one database from serving the
//! same port.
//!
//! Each grant carries a fence, a number higher than that of every grant before it in this database. Whoever acts for
//! a port later shows its fence; a holder that slept through the end of its lease then can't release or renew what
//! meanwhile belongs to another.

use std::time::Duration;

use crate::Store;
use crate::db::{Durability, Row, Tx, Value, args};
use crate::error::StoreError;
use crate::time::UnixMillis;

/// The mark of one grant; later grants have higher ones. Only the store makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(i64);

impl Fence {
    /// The number, for logs and for peers that compare fences.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// A port that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The port.
    pub port: u16,
    /// The id of the account it serves.
    pub account: i64,
    /// The node whose listener it is.
    pub node: String,
    /// The session it serves, in the numbering of that node.
    pub session: u64,
    /// Proves this grant.
    pub fence: Fence,
    /// When it was granted.
    pub acquired_at: UnixMillis,
    /// From this moment on anybody may take the port.
    pub expires_at: UnixMillis,
}

/// Asks for a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The port.
    pub port: u16,
    /// The id of the account it is to serve.
    pub account: i64,
    /// The node that asks.
    pub node: String,
    /// The session it is to serve.
    pub session: u64,
    /// How long, from now by the database's clock. Cut to milliseconds; a zero lease has run out when it is granted.
    pub ttl: Duration,
    /// The grant to take over, if the caller knows that its session is lost: the port passes on in one step, and
    /// nobody else can slip in between.
    pub replacing: Option<Fence>,
}

/// Why a port was not granted.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// Somebody has it; it may be the same account or even session.
    #[error("port {} is held by another session", held_by.port)]
    HeldBy {
        /// The grant that stands.
        held_by: Lease,
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

/// Why a lease was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The grant is gone: released, taken after it ran out, or removed with its account. The port must not be served
    /// any longer.
    #[error("the lease with fence {} is lost", fence.0)]
    Lost {
        /// Of the grant.
        fence: Fence,
    },
    /// The database failed; whether the lease stands is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Grants a port that is free, whose lease has run out, or whose grant is the one to replace.
    ///
    /// # Errors
    ///
    /// [`AcquireError`]; nothing was granted, and no fence was spent.
    pub async fn acquire_lease(&self, request: LeaseRequest) -> Result<Lease, AcquireError> {
        let mut tx = self.db.write(Durability::Relaxed, "lease a port").await?;
        loop {
            if let Some(lease) = try_acquire(&mut tx, &request).await? {
                tx.commit().await?;
                return Ok(lease);
            }
            // Where releases run beside us, the holder may be gone by now; then the port is free, and we ask again.
            if let Some(held_by) = lease_on(&mut tx, request.port).await? {
                return Err(AcquireError::HeldBy { held_by });
            }
        }
    }

    /// Prolongs a grant to `ttl` from now; returns when it will end. A lease that ran out but that nobody took can
    /// still be renewed: nobody else was told that the port is theirs.
    ///
    /// # Errors
    ///
    /// [`RenewError`].
    pub async fn renew_lease(&self, fence: Fence, ttl: Duration) -> Result<UnixMillis, RenewError> {
        let mut tx = self.db.write(Durability::Relaxed, "renew a lease").await?;
        let expires_at = tx.now().await?.after(ttl);
        match tx.execute("UPDATE leases SET expires_at = $2 WHERE fence = $1", args![fence.0, expires_at]).await? {
            0 => Err(RenewError::Lost { fence }),
            _ => {
                tx.commit().await?;
                Ok(expires_at)
            }
        }
    }

    /// Prolongs every grant of a node to `ttl` from now, and returns them by port. One statement, however many they
    /// are. A grant the node believes in that is missing here is lost; one it does not know is to be released.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn renew_node_leases(&self, node: &str, ttl: Duration) -> Result<Vec<Lease>, StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "renew a node's leases").await?;
        let expires_at = tx.now().await?.after(ttl);
        let mut leases = tx
            .fetch_all(
                "UPDATE leases SET expires_at = $2 WHERE node = $1
                 RETURNING port, account_id, node, session, fence, acquired_at, expires_at",
                args![node, expires_at],
                lease_from,
            )
            .await?;
        tx.commit().await?;
        leases.sort_unstable_by_key(|lease| lease.port);
        Ok(leases)
    }

    /// Gives a port back. False if the grant was gone already: then nothing happens, whoever has the port now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails; the lease then ends by itself when it runs out.
    pub async fn release_lease(&self, fence: Fence) -> Result<bool, StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "release a lease").await?;
        let released = tx.execute("DELETE FROM leases WHERE fence = $1", args![fence.0]).await?;
        tx.commit().await?;
        Ok(released > 0)
    }

    /// Gives back all ports of a node, and returns how many: for a node that starts, whose earlier life may have
    /// left some. Two nodes must not share a name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn release_node_leases(&self, node: &str) -> Result<u64, StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "release a node's leases").await?;
        let released = tx.execute("DELETE FROM leases WHERE node = $1", args![node]).await?;
        tx.commit().await?;
        Ok(released)
    }

    /// The leases that have not run out, by port.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
        let mut tx = self.db.read("list the leases").await?;
        let now = tx.now().await?;
        tx.fetch_all(
            "SELECT port, account_id, node, session, fence, acquired_at, expires_at FROM leases
             WHERE expires_at > $1 ORDER BY port",
            args![now],
            lease_from,
        )
        .await
    }
}

/// One attempt; `None` if a grant stands in the way. The new fence is spent only if the transaction commits.
async fn try_acquire(tx: &mut Tx, request: &LeaseRequest) -> Result<Option<Lease>, AcquireError> {
    let fence: i64 = tx
        .fetch_one("UPDATE counters SET value = value + 1 WHERE name = 'fence' RETURNING value", args![])
        .await?
        .get("value")?;
    // After the counter, whose row is held until the commit: grants run one after the other, and so do their times.
    let now = tx.now().await?;
    let granted = tx
        .fetch_optional(
            "INSERT INTO leases (port, account_id, node, session, fence, acquired_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (port) DO UPDATE SET
                 account_id = excluded.account_id, node = excluded.node, session = excluded.session,
                 fence = excluded.fence, acquired_at = excluded.acquired_at, expires_at = excluded.expires_at
             WHERE leases.expires_at <= excluded.acquired_at OR leases.fence = $8
             RETURNING port, account_id, node, session, fence, acquired_at, expires_at",
            args![
                request.port,
                request.account,
                request.node.as_str(),
                session_column(request.session),
                fence,
                now,
                now.after(request.ttl),
                request.replacing.map(|fence| fence.0),
            ],
        )
        .await;
    match granted {
        Ok(row) => Ok(row.as_ref().map(lease_from).transpose()?),
        Err(error) if error.is_foreign_key_violation() => Err(AcquireError::NoSuchAccount { account: request.account }),
        Err(error) => Err(error.into()),
    }
}

async fn lease_on(tx: &mut Tx, port: u16) -> Result<Option<Lease>, StoreError> {
    let row = tx
        .fetch_optional(
            "SELECT port, account_id, node, session, fence, acquired_at, expires_at FROM leases WHERE port = $1",
            args![port],
        )
        .await?;
    row.as_ref().map(lease_from).transpose()
}

pub(crate) async fn leases_of(tx: &mut Tx, account: i64) -> Result<Vec<Lease>, StoreError> {
    tx.fetch_all(
        "SELECT port, account_id, node, session, fence, acquired_at, expires_at FROM leases
         WHERE account_id = $1 ORDER BY port",
        args![account],
        lease_from,
    )
    .await
}

/// Databases have no unsigned 64-bit column: the bits travel, the order does not matter.
pub(crate) fn session_column(session: u64) -> Value {
    session.cast_signed().into()
}

/// Undoes [`session_column`].
pub(crate) fn session_from(column: i64) -> u64 {
    column.cast_unsigned()
}

fn lease_from(row: &Row) -> Result<Lease, StoreError> {
    Ok(Lease {
        port: row.get("port")?,
        account: row.get("account_id")?,
        node: row.get("node")?,
        session: session_from(row.get("session")?),
        fence: Fence(row.get("fence")?),
        acquired_at: row.get("acquired_at")?,
        expires_at: row.get("expires_at")?,
    })
}
