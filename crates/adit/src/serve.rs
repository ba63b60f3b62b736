//! Running the jump host: what the person who starts it sees, and the story of its stop.

use std::path::Path;

use adit_core::{Port, PortRange};
use adit_jumphost::admin::{AccountList, AccountView, FirstAdministrator, InvitationMade};
use adit_jumphost::server::Addresses;
use adit_jumphost::{DataDir, JumpHost, RawConfig};
use serde::Serialize;

use crate::arguments::Jumphost;
use crate::config_file;
use crate::door::{commanded_path, data_path};
use crate::failure::Failure;
use crate::mesh::Beside;
use crate::output::Output;
use crate::shell;
use crate::signals::Signals;

/// Builds, runs and drains a jump host; returns when it has stopped.
pub(crate) async fn jump_host(arguments: &Jumphost) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut file = config_file::load(arguments.run.config.as_deref(), variable)?;
    let typed =
        arguments.run.settings().or(RawConfig::from_environment(variable)).or(std::mem::take(&mut file.jumphost));
    let config = typed.check().map_err(|error| Failure::from_setting(error, file.path.clone()))?;
    let drain_grace = config.drain_grace;
    let mut signals = Signals::new()?;

    let data = DataDir::open(&data_path(arguments.data.as_deref())?)?;
    let folder = data.path().to_owned();
    let (mut host, doors) = JumpHost::build(config, data).await?;
    let serving = adit_api::serve(&host, doors);
    let mesh = Beside::start(file).await?;
    announce(&host, &folder, arguments).await?;

    host.run_until(signals.stop()).await;
    tracing::info!(grace = ?drain_grace, "stopping: visitors may finish; a second signal stops at once");
    tokio::select! {
        (drained, ()) = async { tokio::join!(host.drain(drain_grace), mesh.end()) } => {
            tracing::info!(visitors_cut = drained.visitors_cut, sessions_cut = drained.sessions_cut, "stopped");
            serving.stop().await;
        }
        () = signals.stop() => tracing::info!("stopped at once"),
    }
    Ok(())
}

/// What is told at the start.
#[derive(Serialize)]
struct Started<'a> {
    #[serde(flatten)]
    addresses: &'a Addresses,
    /// While no administrator can sign in at the dashboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_administrator: Option<InvitationMade>,
}

async fn announce(host: &JumpHost, folder: &Path, arguments: &Jumphost) -> Result<(), Failure> {
    let admin = host.admin();
    let accounts = admin.call(AccountList {}).await.map_err(|fault| Failure::from_fault(&fault))?;
    let first_administrator = admin.call(FirstAdministrator {}).await.map_err(|fault| Failure::from_fault(&fault))?;
    let output = Output::new(arguments.json);
    output.answer(&Started { addresses: host.addresses(), first_administrator }, |started| {
        let mut text = welcome(output, host, started, folder);
        text.push_str(&next_steps(output, started.addresses, &accounts, &data_flag(folder)));
        text
    })
}

fn welcome(output: Output, host: &JumpHost, started: &Started<'_>, folder: &Path) -> String {
    let addresses = started.addresses;
    let key = host.host_key();
    let fresh = if key.created { " (made just now: keep it, clients remember it)" } else { "" };
    let fingerprint = addresses.host_keys.first().map(String::as_str).unwrap_or_default();
    let mut lines = vec![
        ("data", folder.display().to_string()),
        ("host key", format!("{}{fresh}", key.path.display())),
        ("fingerprint", fingerprint.to_owned()),
        ("ssh", addresses.ssh.to_string()),
        ("forwards", format!("{}, ports {}", addresses.forward_address, addresses.ports)),
        ("dashboard", addresses.dashboard.clone()),
    ];
    if let Some(link) = &started.first_administrator {
        lines.push(("first admin", format!("{} (works once, within 24 h)", link.url.as_str())));
    }
    format!("{}\n{}\n", output.bold(concat!("adit jump host ", env!("CARGO_PKG_VERSION"))), output.facts(&lines))
}

/// The commands that come next. Where accounts have keys already, that is sharing a service.
fn next_steps(output: Output, addresses: &Addresses, accounts: &[AccountView], data: &str) -> String {
    let mut steps = Vec::new();
    if accounts.is_empty() {
        steps.push(format!("adit jumphost{data} account add demo"));
    }
    if accounts.iter().all(|account| account.keys == 0) {
        let name = accounts.first().map_or("demo", |account| &account.name);
        steps.push(format!("adit jumphost{data} key add {name} ~/.ssh/id_ed25519.pub"));
    }
    let (port, name) = (addresses.ssh.port(), &addresses.advertise);
    steps.push(format!("ssh -p {port} -R {}:localhost:8000 tunnel@{name}", example_port(&addresses.ports)));
    format!("{}\n  {}", output.bold("Next:"), steps.join("\n  "))
}

/// The documents' port for a web service where it is in the range, else the range's first.
fn example_port(range: &str) -> u16 {
    const WEB: Port = match Port::new(10_080) {
        Some(port) => port,
        None => Port::MAX,
    };
    match range.parse::<PortRange>() {
        Ok(range) if !range.contains(WEB) => range.first().get(),
        _ => WEB.get(),
    }
}

/// ` --data DIR` for commands to paste, where they would look in another folder without it.
fn data_flag(folder: &Path) -> String {
    let found = commanded_path(None).ok().and_then(|path| path.canonicalize().ok());
    if found.as_deref() == Some(folder) { String::new() } else { shell::data_flag(folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            ssh: "127.0.0.1:2222".parse().unwrap(),
            web: "127.0.0.1:8022".parse().unwrap(),
            dashboard: "http://127.0.0.1:8022".to_owned(),
            forward_address: "127.0.0.1".parse().unwrap(),
            ports: "10000-60000".to_owned(),
            advertise: "jump.example.org".to_owned(),
            host_keys: Vec::new(),
            pid: 1,
        }
    }

    fn account(keys: u64) -> AccountView {
        AccountView {
            name: "alice".to_owned(),
            tier: "community".to_owned(),
            admin: false,
            disabled: false,
            keys,
            has_password: false,
            sessions: 0,
            created_at: 0,
        }
    }

    #[test]
    fn the_next_step_is_the_first_one_that_is_missing() {
        let output = Output::new(false);
        let steps = |accounts: &[AccountView]| next_steps(output, &addresses(), accounts, "");
        assert!(steps(&[]).contains("account add demo"));
        let without_key = steps(&[account(0)]);
        assert!(!without_key.contains("account add") && without_key.contains("key add alice"), "{without_key}");
        let ready = steps(&[account(1)]);
        assert!(
            !ready.contains("key add") && ready.contains("ssh -p 2222 -R 10080:localhost:8000 tunnel@jump.example.org")
        );
    }

    #[test]
    fn the_example_asks_for_a_port_that_there_is() {
        assert_eq!((example_port("10000-60000"), example_port("20000-20010")), (10_080, 20_000));
    }
}
