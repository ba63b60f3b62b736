//! `adit agent`: the local agent as a program. What the person who starts it sees, and the story of its stop.

pub(crate) mod arguments;
pub(crate) mod settings;
mod unlock;

use std::net::SocketAddr;
use std::sync::Arc;

use adit_agent::agent::{Agent, AgentSetup};
use adit_agent::dial::Nobody;
use adit_agent::folder::{self, AgentFolder};
use adit_api::agent::Addresses;
use adit_net::descriptors;
use adit_store::agent::{AgentStore, Profile, Tunnel};
use tokio::net::TcpListener;

use crate::config_file::{self, ConfigFile};
use crate::failure::Failure;
use crate::mesh::Beside;
use crate::oneoff::home;
use crate::output::Output;
use crate::signals::Signals;
use crate::{log, shell};
use arguments::Arguments;
use settings::Settings;

/// Builds, runs and ends an agent; returns when it has ended.
pub(crate) async fn run(arguments: &Arguments, file: ConfigFile) -> Result<(), Failure> {
    let settings = Settings::new(arguments, &file)?;
    let mut signals = Signals::new()?;
    descriptors::raise_limit();
    let folder = AgentFolder::open(&config_file::agent_folder(arguments.data.as_deref(), &file)?)?;
    let store = AgentStore::open(folder.store_path()).await?;
    store.change_settings(settings.records).await?;
    let vault = folder.vault();
    let locked = tokio::select! {
        outcome = unlock::at_start(&vault, arguments.passphrase_file.as_deref()) => outcome?,
        () = signals.stop() => return Ok(()),
    };
    let (token, is_new) = adit_api::agent::token_of(folder.data())?;
    let listener = listen(settings.listen).await?;
    let addresses = Addresses::of(folder.data(), listener.local_addr().map_err(Failure::Runtime)?);
    let places = folder::places(folder.data().path(), home());
    // Whoever started it may be gone; questions are answered by commands and the page.
    let setup = AgentSetup { store: store.clone(), vault, person: Arc::new(Nobody), places };
    let (agent, task) = Agent::start(setup).await?;
    let serving = adit_api::agent::serve(agent, listener, token).map_err(Failure::Runtime)?;
    folder.data().write_addresses(&addresses)?;
    let mesh = Beside::start(file).await?;

    let told = announce(&addresses, &store, arguments, &folder, Fresh { token: is_new, locked }).await;
    if told.is_ok() {
        signals.stop().await;
        tracing::info!("ending: tunnels are closed and servers told goodbye; a second signal ends at once");
    }
    // Nobody comes any more, and then nobody is waited for.
    folder.data().clear(&[]);
    let end = async {
        serving.stop().await;
        tokio::join!(task.end(), mesh.end());
        store.close().await;
    };
    tokio::select! {
        () = end => tracing::info!("ended"),
        () = signals.stop() => tracing::info!("ended at once"),
    }
    told
}

/// Starts the log as flags, environment and file want it.
pub(crate) fn start_log(arguments: &Arguments, file: &ConfigFile) -> Result<(), Failure> {
    log::start(arguments.log_format, file.agent.log.as_deref().unwrap_or(log::SERVER))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|source| Failure::AgentListen { address, source })
}

/// What is as it is since just now.
struct Fresh {
    token: bool,
    locked: bool,
}

async fn announce(
    addresses: &Addresses,
    store: &AgentStore,
    arguments: &Arguments,
    folder: &AgentFolder,
    fresh: Fresh,
) -> Result<(), Failure> {
    let (profiles, tunnels) = (store.list::<Profile>().await?, store.list::<Tunnel>().await?);
    let output = Output::new(arguments.json);
    output.answer(addresses, |addresses| {
        let path = folder.data().path();
        let made = if fresh.token { " (made just now: whoever reads it can use your tunnels)" } else { "" };
        let starting = tunnels.iter().filter(|saved| saved.record.auto_start && saved.record.enabled).count();
        let mut facts = vec![
            ("data", path.display().to_string()),
            ("token", format!("{}{made}", addresses.token_file.display())),
            ("address", addresses.url.clone()),
            ("page", format!("{}/", addresses.url)),
            ("tunnels", format!("{} saved, {starting} start with the agent", tunnels.len())),
        ];
        if fresh.locked {
            facts.push(("secrets", format!("locked; open them with: adit secrets{} unlock", data_flag(arguments))));
        }
        let next = Next { profiles: profiles.len(), tunnels: tunnels.len(), flag: data_flag(arguments) };
        format!(
            "{}\n{}\n{}\n  {}",
            output.bold(concat!("adit agent ", env!("CARGO_PKG_VERSION"))),
            output.facts(&facts),
            output.bold("Next, in another terminal:"),
            next.steps().join("\n  ")
        )
    })
}

/// ` --data DIR` for commands to paste, where somebody named a folder.
fn data_flag(arguments: &Arguments) -> String {
    arguments.data.as_deref().map_or_else(String::new, shell::data_flag)
}

/// What there is already, which decides what comes next.
struct Next {
    profiles: usize,
    tunnels: usize,
    flag: String,
}

impl Next {
    fn steps(&self) -> Vec<String> {
        let Self { profiles, tunnels, flag } = self;
        let mut steps = vec![format!("adit open{flag}")];
        if *profiles == 0 {
            steps.push(format!("adit profile{flag} add me --user {} --key ~/.ssh/id_ed25519", shell::user()));
        }
        if *tunnels == 0 {
            steps.push(format!("adit tunnel{flag} add web --via bastion --profile me -L 8080:intranet:80"));
            steps.push(format!("adit tunnel{flag} start web"));
        } else {
            steps.push(format!("adit tunnel{flag} list"));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_steps_are_the_page_and_the_first_one_that_is_missing() {
        let steps = |profiles, tunnels| Next { profiles, tunnels, flag: " --data /d".to_owned() }.steps();
        assert!(steps(0, 0)[1].starts_with("adit profile --data /d add me"), "{:?}", steps(0, 0));
        assert!(steps(1, 0)[1].starts_with("adit tunnel --data /d add web"), "{:?}", steps(1, 0));
        assert_eq!(steps(1, 1), ["adit open --data /d", "adit tunnel --data /d list"]);
    }
}
