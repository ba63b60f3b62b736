//! Forwards without a running agent: an agent of this process alone, whose records live in memory and end with it.
//!
//! What is kept is the host keys and the key of `adit share`, in the agent's data folder. Secrets that a person types are sealed
//! with a key that only this process has.

mod address;
pub(crate) mod arguments;
mod forward;
mod login;
mod news;
mod share;
mod share_key;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_agent::agent::{Agent, AgentSetup, AgentTask, SecretChangeError};
use adit_agent::credentials::SecretKind;
use adit_agent::dial::Person;
use adit_agent::records::{Places, forward_record};
use adit_agent::vault::{NewKeyPlace, Vault, VaultError};
use adit_core::{ForwardSpec, Port};
use adit_net::{data_folder, descriptors};
use adit_store::agent::{
    AgentStore, AuthMethod, Forward, HostKeyPolicy, JumpHost, JumpRef, Profile, SettingsChange, Tunnel,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) use address::{AddressError, LocalService, ServerAddress};
pub(crate) use forward::run as forward;
pub(crate) use share::run as share;

use crate::config_file;
use crate::failure::Failure;
use crate::secret;
use crate::terminal::Terminal;
use arguments::Way;
pub(crate) use login::Login;

/// Retries are without end: whoever keeps a forward up is the one who ends it.
const WITHOUT_END: u32 = 0;

/// An agent of this process.
pub(crate) struct OneOff {
    pub(crate) agent: Agent,
    task: AgentTask,
    terminal: Arc<Terminal>,
    vault: Vault,
    /// Where the vault is.
    _folder: TempDir,
}

/// The servers on the way.
#[derive(Clone, Copy)]
pub(crate) struct Route<'a> {
    /// The last one, which serves the forwards.
    pub(crate) via: &'a ServerAddress,
    /// Those before it, the first one first.
    pub(crate) jumps: &'a [ServerAddress],
}

impl Way {
    fn route(&self) -> Route<'_> {
        Route { via: &self.via, jumps: &self.jumps }
    }
}

/// What holds where an address does not say otherwise.
pub(crate) struct Usual {
    pub(crate) user: Option<String>,
    pub(crate) port: Port,
}

impl OneOff {
    /// Starts it. `person` is asked while a login is under way; the terminal, for secrets that the records need.
    pub(crate) async fn start(
        places: Places,
        policy: HostKeyPolicy,
        person: Arc<dyn Person>,
        terminal: Arc<Terminal>,
    ) -> Result<Self, Failure> {
        descriptors::raise_limit();
        let store = AgentStore::open_in_memory().await?;
        let policy = SettingsChange { host_key_policy: Some(policy), ..SettingsChange::default() };
        store.change_settings(policy).await?;
        let folder = tempfile::Builder::new().prefix("adit-").tempdir().map_err(Failure::Runtime)?;
        let vault = Vault::at(folder.path());
        let setup = AgentSetup { store, vault: vault.clone(), person, places };
        let (agent, task) = Agent::start(setup).await?;
        Ok(Self { agent, task, terminal, vault, _folder: folder })
    }

    /// Saves a forward with the way to its server: a profile for each hop, because each leads to the next by its own jump.
    pub(crate) async fn add(
        &self,
        forwards: Vec<Forward>,
        Route { via, jumps }: Route<'_>,
        usual: &Usual,
        login: &Login,
    ) -> Result<Vec<String>, Failure> {
        let mut jump = None;
        for hop in jumps {
            // The user and the port of the last server are not those of the jumps.
            let usual = Usual { user: login_name(), port: SSH };
            let host = JumpHost {
                name: hop.host.clone(),
                host: hop.host.clone(),
                port: hop.port.unwrap_or(usual.port).get(),
                profile_id: self.add_profile(hop, &usual, login, jump.take()).await?,
                enabled: true,
            };
            jump = Some(JumpRef::Host(self.agent.add(host).await?.id));
        }
        let profile_id = self.add_profile(via, usual, login, jump).await?;
        let mut ids = Vec::with_capacity(forwards.len());
        for forward in forwards {
            let tunnel = Tunnel {
                name: via.host.clone(),
                host: via.host.clone(),
                port: via.port.unwrap_or(usual.port).get(),
                profile_id: profile_id.clone(),
                jump: None,
                forward,
                auto_start: false,
                auto_reconnect: true,
                max_retries: WITHOUT_END,
                enabled: true,
            };
            ids.push(self.agent.add(tunnel).await?.id);
        }
        Ok(ids)
    }

    async fn add_profile(
        &self,
        server: &ServerAddress,
        usual: &Usual,
        login: &Login,
        jump: Option<JumpRef>,
    ) -> Result<String, Failure> {
        let user = server.user.as_ref().or(usual.user.as_ref());
        let username = user.ok_or_else(|| Failure::NoUser { host: server.host.clone() })?.clone();
        let (auth_method, key_path, secret) = match login {
            Login::Key { path, passphrase } => {
                (AuthMethod::Key, Some(path.clone()), passphrase.clone().map(|text| (SecretKind::Passphrase, text)))
            }
            Login::SshAgent => (AuthMethod::Agent, None, None),
            Login::Passwords => {
                // Each by its name: none of them is for another server on the way.
                let question = format!("Password of {username} at {}: ", server.host);
                let password = secret::ask(&question, &self.terminal).await?;
                (AuthMethod::Password, None, Some((SecretKind::Password, password)))
            }
            Login::Questions => (AuthMethod::KeyboardInteractive, None, None),
        };
        let profile = Profile {
            name: format!("{username}@{}", server.host),
            username,
            auth_method,
            key_path,
            password_secret: None,
            passphrase_secret: None,
            legacy_algorithms: false,
            jump,
            enabled: true,
        };
        let id = self.agent.add(profile).await?.id;
        if let Some((kind, secret)) = secret {
            self.seal_vault().await?;
            self.agent.set_secret(&id, kind, Some(secret)).await?;
        }
        Ok(id)
    }

    /// Locks the vault with a passphrase that nobody knows and that is in this process alone: what a crash leaves behind opens for
    /// nobody.
    async fn seal_vault(&self) -> Result<(), Failure> {
        let mut random = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *random).map_err(|_| SecretChangeError::Vault(VaultError::Provider))?;
        let hex = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let place = NewKeyPlace::Passphrase(Zeroizing::new(hex));
        self.vault.move_key(place).await.map_err(SecretChangeError::Vault)?;
        Ok(())
    }

    /// Stops everything and says goodbye.
    pub(crate) async fn end(self) {
        self.task.end().await;
    }
}

pub(crate) const SSH: Port = match Port::new(22) {
    Some(port) => port,
    None => Port::MAX,
};

/// The forward as a record. One that the server is to listen for leads to this machine alone.
pub(crate) fn record(spec: &ForwardSpec) -> Result<Forward, Failure> {
    forward_record(spec, |target| Ok(LocalService::new(target.host(), target.port())?.address()))
}

/// The agent's data folder, made for its owner alone where it is missing.
pub(crate) fn data_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = data_path(named)?;
    data_folder::make(&path)?;
    Ok(path)
}

/// Where it is, or would be.
pub(crate) fn data_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    let file = config_file::load(variable("ADIT_CONFIG").map(PathBuf::from).as_deref(), variable)?;
    config_file::agent_folder(named, &file)
}

pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Whom ssh(1) logs in as where nobody says: whoever runs it.
pub(crate) fn login_name() -> Option<String> {
    let named = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
    named("USER").or_else(|| named("LOGNAME"))
}
