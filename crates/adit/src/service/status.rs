//! `adit status`: how tunnels are.

use adit_service::{TunnelReport, live};
use serde::Serialize;

use super::arguments::Status;
use super::{find, installer};
use crate::failure::Failure;
use crate::output::{Output, shown, span};

/// Those that were asked about.
#[derive(Serialize)]
pub(crate) struct Tunnels {
    pub(crate) tunnels: Vec<TunnelReport>,
}

pub(crate) async fn run(arguments: Status) -> Result<(), Failure> {
    let output = Output::new(arguments.common.json);
    let tunnels = tunnels(arguments.port, arguments.scope.place()).await?;
    let all_active = tunnels.iter().all(TunnelReport::is_active);
    output.answer(&Tunnels { tunnels }, |Tunnels { tunnels }| match (arguments.port, &tunnels[..]) {
        (Some(_), [tunnel]) => details(output, tunnel),
        _ => table(output, tunnels),
    })?;
    if all_active { Ok(()) } else { Err(Failure::Inactive) }
}

/// The tunnel of a port, or all.
pub(crate) async fn tunnels(
    port: Option<adit_core::Port>,
    place: Option<adit_service::Place>,
) -> Result<Vec<TunnelReport>, Failure> {
    let installer = installer();
    match port {
        Some(port) => Ok(vec![find(&installer, port, place).await?]),
        None => {
            let mut all = installer.list().await;
            all.retain(|report| place.is_none_or(|place| place == report.scope));
            Ok(all)
        }
    }
}

fn details(output: Output, tunnel: &TunnelReport) -> String {
    let mut facts = vec![
        ("tunnel", format!("port {} of {} → {}", tunnel.port, or_dash(&tunnel.bastion), or_dash(&tunnel.target))),
        ("state", output.bold(live::name(tunnel.state))),
        ("up for", uptime(tunnel)),
        ("restarts", tunnel.restarts.to_string()),
        ("last error", or_dash(&tunnel.last_error)),
        ("kept by", keeper(tunnel)),
        ("file", tunnel.path.display().to_string()),
    ];
    if let Some(linger) = tunnel.linger {
        let linger = format!("{linger:?}").to_lowercase();
        facts.push(("linger", linger));
    }
    output.facts(&facts)
}

fn table(output: Output, tunnels: &[TunnelReport]) -> String {
    if tunnels.is_empty() {
        return "There is no tunnel here; `adit setup --help` shows how one is made.".to_owned();
    }
    let row = |tunnel: &TunnelReport| {
        [
            tunnel.port.to_string(),
            live::name(tunnel.state).to_owned(),
            uptime(tunnel),
            or_dash(&tunnel.bastion),
            or_dash(&tunnel.target),
            keeper(tunnel),
            or_dash(&tunnel.last_error),
        ]
    };
    let head = ["PORT", "STATE", "UP", "BASTION", "TARGET", "KEPT BY", "LAST ERROR"];
    output.table(head, tunnels.iter().map(row).collect())
}

fn keeper(tunnel: &TunnelReport) -> String {
    let unit = tunnel.unit.as_deref();
    match tunnel.scope {
        adit_service::Place::System => unit.unwrap_or("systemd").to_owned(),
        adit_service::Place::User => format!("{} (--user)", unit.unwrap_or("systemd")),
        adit_service::Place::Supervised if tunnel.cron => "adit, from boot on by cron".to_owned(),
        adit_service::Place::Supervised => "adit".to_owned(),
    }
}

fn uptime(tunnel: &TunnelReport) -> String {
    tunnel.uptime_seconds.map_or_else(|| "-".to_owned(), span)
}

fn or_dash(text: &Option<String>) -> String {
    text.as_deref().map_or_else(|| "-".to_owned(), shown)
}
