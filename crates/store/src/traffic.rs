//! Traffic by the minute: what each port of each account carried, for graphs of the last day.

use crate::Store;
use crate::db::{Durability, Row, Value, args};
use crate::error::StoreError;
use crate::time::UnixMillis;

/// What one port carried in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortTraffic {
    /// The id of the account.
    pub account: i64,
    /// The port.
    pub port: u16,
    /// What it carried.
    pub carried: Carried,
}

/// Bytes and visitors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// From visitors to the service.
    pub bytes_in: u64,
    /// From the service to visitors.
    pub bytes_out: u64,
    /// Visitors that came.
    pub visitors: u64,
}

/// A minute of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafficMinute {
    /// When the minute began.
    pub minute: UnixMillis,
    /// What was carried in it.
    pub carried: Carried,
}

impl Store {
    /// Adds what ports carried to a minute, all in one transaction. What is of an account that is gone is passed over. The last
    /// minutes before a power cut may be lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails; nothing was added.
    pub async fn add_traffic(&self, minute: UnixMillis, carried: &[PortTraffic]) -> Result<(), StoreError> {
        if carried.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.write(Durability::Relaxed, "write the traffic of a minute").await?;
        for of_port in carried {
            tx.execute(
                "INSERT INTO traffic_minutes (account_id, port, minute, bytes_in, bytes_out, visitors)
                 SELECT id, $2, $3, $4, $5, $6 FROM accounts WHERE id = $1
                 ON CONFLICT (account_id, port, minute) DO UPDATE SET
                     bytes_in = traffic_minutes.bytes_in + excluded.bytes_in,
                     bytes_out = traffic_minutes.bytes_out + excluded.bytes_out,
                     visitors = traffic_minutes.visitors + excluded.visitors",
                args![
                    of_port.account,
                    of_port.port,
                    minute,
                    count(of_port.carried.bytes_in),
                    count(of_port.carried.bytes_out),
                    count(of_port.carried.visitors),
                ],
            )
            .await?;
        }
        tx.commit().await
    }

    /// The minutes of an account's port from `since` on that carried something, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_traffic(
        &self,
        account: i64,
        port: u16,
        since: UnixMillis,
    ) -> Result<Vec<TrafficMinute>, StoreError> {
        let mut tx = self.db.read("read the traffic of a port").await?;
        tx.fetch_all(
            "SELECT minute, bytes_in, bytes_out, visitors FROM traffic_minutes
             WHERE account_id = $1 AND port = $2 AND minute >= $3 ORDER BY minute",
            args![account, port, since],
            minute_from,
        )
        .await
    }

    /// Removes the minutes that began before `before`; returns how many rows those were.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails; nothing was removed.
    pub async fn prune_traffic(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "prune old traffic").await?;
        let pruned = tx.execute("DELETE FROM traffic_minutes WHERE minute < $1", args![before]).await?;
        tx.commit().await?;
        Ok(pruned)
    }
}

/// A column holds 63 bits; no machine carries that much in a minute.
fn count(number: u64) -> Value {
    Value::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn minute_from(row: &Row) -> Result<TrafficMinute, StoreError> {
    Ok(TrafficMinute {
        minute: row.get("minute")?,
        carried: Carried {
            bytes_in: row.get("bytes_in")?,
            bytes_out: row.get("bytes_out")?,
            visitors: row.get("visitors")?,
        },
    })
}
