//! `adit forward`: forwards for as long as the command runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_agent::agent::TunnelView;
use adit_agent::folder;
use adit_core::{ForwardSpec, Port, Setback, TunnelStatus};

use super::arguments::Forward;
use super::login::Login;
use super::news::{News, listen};
use super::{OneOff, SSH, Usual, data_folder, home, login_name, record};
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Keeps the forwards up until somebody ends it.
pub(crate) async fn run(arguments: &Forward) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let output = Output::new(arguments.way.json);
    let built = tokio::select! {
        built = build(arguments) => built?,
        () = signals.stop() => return Ok(()),
    };
    let (own, ids) = built;
    let outcome = tokio::select! {
        outcome = keep(&own, &ids, output) => outcome,
        () = signals.stop() => Ok(()),
    };
    own.end().await;
    outcome
}

async fn build(arguments: &Forward) -> Result<(OneOff, Vec<String>), Failure> {
    let Forward { specs, identity, password, way } = arguments;
    let records = specs.all().map(record).collect::<Result<Vec<_>, _>>()?;
    let terminal = Arc::new(Terminal::default());
    let login = match password {
        true => Login::Passwords,
        false => Login::choose(identity.as_deref(), home(), &terminal).await?,
    };
    let places = folder::places(&data_folder(way.data.as_deref())?, home());
    let own = OneOff::start(places, way.host_keys.into(), terminal.clone(), terminal).await?;
    let usual = Usual { user: login_name(), port: SSH };
    let ids = own.add(records, way.route(), &usual, &login).await?;
    Ok((own, ids))
}

async fn keep(own: &OneOff, ids: &[String], output: Output) -> Result<(), Failure> {
    for id in ids {
        own.agent.start_tunnel(id).await?;
    }
    let mut board = own.agent.board();
    let mut told = BTreeMap::new();
    let mut was_up = false;
    loop {
        let tunnels = board.borrow_and_update().tunnels.clone();
        for (id, tunnel) in &tunnels {
            match &tunnel.status {
                TunnelStatus::Connected { .. } => was_up = true,
                TunnelStatus::Failed { last_error } => return Err(not_connected(last_error)),
                // Whoever started it is still there to hear that the server is not.
                TunnelStatus::Reconnecting { last_error: last_error @ Setback::LoginFailed(_), .. } if !was_up => {
                    return Err(not_connected(last_error));
                }
                _ => {}
            }
            told.entry(id.clone()).or_insert_with(|| News::new(output)).tell(tunnel, up)?;
        }
        if board.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn not_connected(why: &Setback) -> Failure {
    Failure::NotConnected { why: why.to_string(), obstacle: why.obstacle() }
}

fn up(tunnel: &TunnelView, remote_port: Option<Port>) -> String {
    let listen = listen(tunnel, remote_port);
    match &tunnel.forward {
        ForwardSpec::Local { target, .. } => format!("{listen} → {target} via {}", tunnel.via),
        ForwardSpec::Dynamic { .. } => format!("{listen} SOCKS5 via {}", tunnel.via),
        ForwardSpec::Remote { target, .. } => format!("{listen} → {target} here"),
    }
}
