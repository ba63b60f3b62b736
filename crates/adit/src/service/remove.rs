//! `adit remove`: takes a tunnel away, with all that was made for it.

use adit_core::Port;
use adit_service::{Place, TunnelReport};
use serde::Serialize;

use super::arguments::Remove;
use super::{find, installer};
use crate::failure::Failure;
use crate::output::Output;

/// What was there.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    removed: What,
}

#[derive(Debug, Serialize)]
struct What {
    port: u16,
    scope: Place,
    unit: Option<String>,
}

pub(crate) async fn run(arguments: Remove) -> Result<(), Failure> {
    let output = Output::new(arguments.common.json);
    let removed = remove(arguments.port, arguments.scope.place()).await?;
    output.answer(&removed, |Removed { removed }| match &removed.unit {
        Some(unit) => format!("{unit} is stopped, disabled and deleted."),
        None => format!("The tunnel of port {} is stopped and deleted.", removed.port),
    })
}

pub(crate) async fn remove(port: Port, place: Option<Place>) -> Result<Removed, Failure> {
    let installer = installer();
    let tunnel = find(&installer, port, place).await?;
    installer.remove(&tunnel).await?;
    let TunnelReport { scope, unit, .. } = tunnel;
    Ok(Removed { removed: What { port: port.get(), scope, unit } })
}
