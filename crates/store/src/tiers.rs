//! Tiers: named sets of limits. Their names are configuration; a new store knows community, plus and pro.

use crate::Store;
use crate::db::{Row, Tx, Value, args};
use crate::error::StoreError;

/// A tier as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Unique, compared byte for byte.
    pub name: String,
    /// What its accounts may use.
    pub limits: TierLimits,
}

/// The limits of a tier. `None` is the server's default, `Some(0)` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierLimits {
    /// Remote forwards an account holds at a time.
    pub forwards_per_account: Option<u32>,
    /// Connections at a time through one port.
    pub visitors_per_port: Option<u32>,
    /// Connections at a time through all ports of an account.
    pub visitors_per_account: Option<u32>,
    /// What all visitors of an account send to its services, in bytes per second.
    pub bytes_per_second_to_owner: Option<u64>,
    /// What an account's services send to all their visitors, in bytes per second.
    pub bytes_per_second_to_visitors: Option<u64>,
}

/// Why a tier was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveTierError {
    /// There is no such tier.
    #[error("there is no tier {name:?}")]
    NoSuchTier {
        /// The name asked for.
        name: String,
    },
    /// Accounts are on it.
    #[error("the tier {name:?} has accounts: move them to another tier first")]
    InUse {
        /// The name asked for.
        name: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Sets all limits of the tier called `tier.name`, and adds it if it is new.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn upsert_tier(&self, tier: &Tier) -> Result<(), StoreError> {
        let limits = tier.limits;
        let mut tx = self.db.change_directory("set a tier").await?;
        tx.execute(
            "INSERT INTO tiers (name, forwards_per_account, visitors_per_port, visitors_per_account,
                                bytes_per_second_to_owner, bytes_per_second_to_visitors)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (name) DO UPDATE SET
                 forwards_per_account = excluded.forwards_per_account,
                 visitors_per_port = excluded.visitors_per_port,
                 visitors_per_account = excluded.visitors_per_account,
                 bytes_per_second_to_owner = excluded.bytes_per_second_to_owner,
                 bytes_per_second_to_visitors = excluded.bytes_per_second_to_visitors",
            args![
                tier.name.as_str(),
                limits.forwards_per_account,
                limits.visitors_per_port,
                limits.visitors_per_account,
                rate(limits.bytes_per_second_to_owner),
                rate(limits.bytes_per_second_to_visitors),
            ],
        )
        .await?;
        tx.commit().await
    }

    /// All tiers, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_tiers(&self) -> Result<Vec<Tier>, StoreError> {
        let mut tx = self.db.read("list the tiers").await?;
        all_tiers(&mut tx).await
    }

    /// Removes a tier that no account is on.
    ///
    /// # Errors
    ///
    /// [`RemoveTierError`]; nothing was removed.
    pub async fn remove_tier(&self, name: &str) -> Result<(), RemoveTierError> {
        let mut tx = self.db.change_directory("remove a tier").await?;
        match tx.execute("DELETE FROM tiers WHERE name = $1", args![name]).await {
            Ok(0) => Err(RemoveTierError::NoSuchTier { name: name.to_owned() }),
            Ok(_) => Ok(tx.commit().await?),
            Err(error) if error.is_foreign_key_violation() => Err(RemoveTierError::InUse { name: name.to_owned() }),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) async fn all_tiers(tx: &mut Tx) -> Result<Vec<Tier>, StoreError> {
    tx.fetch_all(
        "SELECT name, forwards_per_account, visitors_per_port, visitors_per_account,
                bytes_per_second_to_owner, bytes_per_second_to_visitors
         FROM tiers ORDER BY name",
        args![],
        tier_from,
    )
    .await
}

/// A column holds 63 bits; a rate beyond them is as good as the largest one.
fn rate(bytes_per_second: Option<u64>) -> Value {
    Value::Int(bytes_per_second.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX)))
}

fn tier_from(row: &Row) -> Result<Tier, StoreError> {
    Ok(Tier {
        name: row.get("name")?,
        limits: TierLimits {
            forwards_per_account: row.get("forwards_per_account")?,
            visitors_per_port: row.get("visitors_per_port")?,
            visitors_per_account: row.get("visitors_per_account")?,
            bytes_per_second_to_owner: row.get("bytes_per_second_to_owner")?,
            bytes_per_second_to_visitors: row.get("bytes_per_second_to_visitors")?,
        },
    })
}
