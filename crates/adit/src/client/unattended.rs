//! The agent's tunnels for a program that acts for a person: as `adit tunnel` does, and nobody is asked anything. The agent is looked for
//! each time, because it may come and go meanwhile.

use std::path::Path;

use adit_api::agent::view::TunnelRow;
use adit_api::mcp::AgentOrder;

use super::find::{Named, find};
use super::tunnel_run::{self, Launch};
use super::{Asker, Common};
use crate::failure::Failure;

/// The tunnels of the agent that keeps its things in `folder`.
pub(crate) async fn tunnels(folder: &Path) -> Result<Vec<TunnelRow>, Failure> {
    Ok(asker(folder)?.client.get(TunnelRow::PATH).await?)
}

/// Gives an order to the tunnel with this id or else this name, waits for what comes of it, and says how it stands then.
pub(crate) async fn order(folder: &Path, order: AgentOrder, typed: String) -> Result<TunnelRow, Failure> {
    let asker = asker(folder)?;
    let row: TunnelRow = find(&asker, &typed).await?;
    let path = row.path();
    match order {
        AgentOrder::Start => drop(tunnel_run::bring_up(&asker, &row, &Launch::unattended(typed), "start").await?),
        AgentOrder::Reconnect => {
            drop(tunnel_run::bring_up(&asker, &row, &Launch::unattended(typed), "reconnect").await?)
        }
        AgentOrder::Stop => asker.client.order::<serde::de::IgnoredAny>(&format!("{path}/stop")).await.map(drop)?,
    }
    Ok(asker.client.get(&path).await?)
}

fn asker(folder: &Path) -> Result<Asker, Failure> {
    Asker::new(&Common { data: Some(folder.to_owned()), json: false })
}
