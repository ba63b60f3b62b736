//! `adit tunnel connections` and `adit tunnel close`: what a tunnel carries at this moment.

use adit_api::agent::view::{ConnectionView, TunnelRow};

use super::Asker;
use super::find::{Named, find};
use crate::failure::Failure;
use crate::output::{ago, bytes, shown};

pub(super) async fn list(asker: &Asker, typed: &str) -> Result<(), Failure> {
    let row: TunnelRow = find(asker, typed).await?;
    let live: Vec<ConnectionView> = asker.client.get(&path(&row)).await?;
    asker.output.answer(&live, |live| {
        if live.is_empty() {
            return format!("{} carries nothing at this moment.", shown(&row.record.name));
        }
        let row = |live: &ConnectionView| {
            [
                live.number.to_string(),
                shown(&live.target),
                live.from.as_deref().map_or_else(|| "-".to_owned(), shown),
                if live.is_open { "open" } else { "opening" }.to_owned(),
                ago(live.since),
                bytes(live.bytes_tx),
                bytes(live.bytes_rx),
            ]
        };
        let heads = ["NUMBER", "TARGET", "FROM", "STATE", "SINCE", "SENT", "RECEIVED"];
        asker.output.table(heads, live.iter().map(row).collect())
    })
}

/// One that has ended meanwhile is told: somebody meant it.
pub(super) async fn close(asker: &Asker, typed: &str, number: u64) -> Result<(), Failure> {
    let row: TunnelRow = find(asker, typed).await?;
    let live: Vec<ConnectionView> = asker.client.get(&path(&row)).await?;
    let found = live.into_iter().find(|live| live.number == number);
    let found = found.ok_or_else(|| Failure::NoSuch {
        kind: "connection",
        typed: number.to_string(),
        list: "adit tunnel connections",
    })?;
    asker.client.delete(&format!("{}/{number}", path(&row))).await?;
    asker.output.answer(&found, |found| format!("The connection to {} is cut.", shown(&found.target)))
}

fn path(row: &TunnelRow) -> String {
    format!("{}/connections", row.path())
}
