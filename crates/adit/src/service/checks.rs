//! What has to hold before a tunnel is installed: the key is there, the service answers, the bastion is the right one and lets us in, and
//! its port is free. All of it is tried as the tunnel will do it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_agent::agent::{Agent, TrialError};
use adit_agent::records::Places;
use adit_core::{Port, Setback, TunnelStatus};
use adit_service::{Text, TunnelSettings};
use adit_ssh::crypto::{PrivateKey, PrivateKeyError};
use adit_store::agent::HostKeyPolicy;
use serde::Serialize;
use tokio::time::timeout;

use super::pins::{self, Judge};
use super::tunnel::Tunnel;
use crate::failure::Failure;
use crate::oneoff::{LocalService, Login, OneOff, SSH, ServerAddress, login_name};
use crate::private_key;

/// How long a bastion may take to answer a request for a port.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be checked.
pub(super) struct Wanted {
    pub(super) port: Port,
    pub(super) bastion: ServerAddress,
    pub(super) key: Text,
    pub(super) target: LocalService,
    pub(super) bind: Text,
    /// A tunnel that is installed for this port already.
    pub(super) installed: Installed,
}

/// What of this port is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    /// None that is up.
    Nothing,
    /// One that is up, by a way that may lead to the same bastion.
    Up,
    /// This one, and it is up: it gives way.
    Same,
}

/// Something that holds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) check: &'static str,
    pub(crate) told: String,
}

/// Hears of each check that went well.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(Check) -> Result<(), Failure> + Send);

impl Wanted {
    /// Whom it logs in as, and where: `user@host:port`.
    pub(super) fn address(&self) -> Result<Text, Failure> {
        let ServerAddress { host, .. } = &self.bastion;
        let user =
            self.bastion.user.clone().or_else(login_name).ok_or_else(|| Failure::NoUser { host: host.clone() })?;
        let user = Text::word("user at the bastion", user)?;
        let host = Text::word("name of the bastion", host.as_str())?;
        let host = if host.as_str().contains(':') { format!("[{host}]") } else { host.to_string() };
        Ok(Text::new("bastion", format!("{user}@{host}:{}", self.ssh_port()))?)
    }

    pub(super) fn ssh_port(&self) -> Port {
        self.bastion.port.unwrap_or(SSH)
    }

    /// What is installed when all of it holds.
    pub(super) fn settings(&self, host_keys: Vec<Text>) -> Result<TunnelSettings, Failure> {
        Ok(TunnelSettings {
            port: self.port,
            bastion: self.address()?,
            target: Text::new("target", self.target.to_string())?,
            bind: self.bind.clone(),
            key: self.key.clone(),
            host_keys,
        })
    }

    /// Checks all of it, and tells each check that went well; what is to be installed then.
    pub(super) async fn check(&mut self, judge: Judge, tell: Tell<'_>) -> Result<TunnelSettings, Failure> {
        let address = self.address()?;
        check_key(Path::new(self.key.as_str())).await?;
        tell(Check { check: "key", told: format!("{} is a private key without a passphrase", self.key) })?;
        if !self.target.look().await {
            return Err(Failure::NoService { service: self.target.to_string() });
        }
        tell(Check { check: "target", told: format!("{} answers", self.target) })?;
        crate::oneoff::data_folder(None)?;
        let places = pins::places()?;
        let own = OneOff::start(places.clone(), HostKeyPolicy::Ask, Arc::new(judge), Arc::default()).await?;
        let outcome = self.check_bastion(&own, &places, &address, tell).await;
        own.end().await;
        outcome
    }

    async fn check_bastion(
        &self,
        own: &OneOff,
        places: &Places,
        address: &Text,
        tell: Tell<'_>,
    ) -> Result<TunnelSettings, Failure> {
        let login = Login::Key { path: self.key.to_string(), passphrase: None };
        let Self { port, ref bastion, target, .. } = *self;
        let id = Tunnel { port, bastion, bind: self.bind.as_str(), target }.add_to(own, &login).await?;
        match own.agent.try_tunnel(&id, &mut |_| {}).await {
            Ok(()) => {}
            Err(TrialError::Dial(error)) => return Err(Failure::from_dial(error)),
            Err(TrialError::NoWay(why)) => return Err(why.into()),
        }
        let host_keys = pins::known(places, &self.bastion.host, self.ssh_port()).await?;
        let types: Vec<&str> = host_keys.iter().filter_map(|key| key.as_str().split(' ').next()).collect();
        tell(Check {
            check: "host key",
            told: format!("{} is known by its {}; the tunnel takes no other", self.bastion.host, types.join(", ")),
        })?;
        tell(Check { check: "login", told: format!("{address} lets this key in") })?;
        let told = match (self.installed, self.port) {
            (Installed::Same, port) => format!("{port} is held by the tunnel that is replaced"),
            (installed, port) => match try_port(&own.agent, &id, address, port).await {
                Err(Failure::PortRefused { port, .. }) if installed == Installed::Up => {
                    return Err(Failure::PortIsOurs { port });
                }
                tried => tried.map(|()| format!("{port} is free there"))?,
            },
        };
        tell(Check { check: "port", told })?;
        self.settings(host_keys)
    }
}

async fn check_key(path: &Path) -> Result<(), Failure> {
    match PrivateKey::from_openssh(&private_key::read(path).await?) {
        Ok(_) => Ok(()),
        Err(PrivateKeyError::Encrypted) => Err(Failure::KeyWithPassphrase { path: path.to_owned() }),
        Err(source) => Err(Failure::PrivateKey { path: path.to_owned(), source }),
    }
}

/// Has the bastion listen for a moment.
async fn try_port(agent: &Agent, id: &str, address: &Text, port: Port) -> Result<(), Failure> {
    let mut board = agent.board();
    agent.start_tunnel(id).await?;
    let settled = async {
        loop {
            let status = board.borrow_and_update().tunnels.values().next().map(|tunnel| tunnel.status.clone());
            match status {
                Some(TunnelStatus::Connected { .. }) => return Ok(()),
                Some(TunnelStatus::Reconnecting { last_error: Setback::ForwardRefused(_), .. }) => {
                    return Err(Failure::PortRefused { port, bastion: address.to_string() });
                }
                Some(TunnelStatus::Reconnecting { last_error, .. } | TunnelStatus::Failed { last_error }) => {
                    return Err(Failure::NotConnected { why: last_error.to_string(), obstacle: last_error.obstacle() });
                }
                _ => {}
            }
            if board.changed().await.is_err() {
                return Err(Failure::AgentEnded);
            }
        }
    };
    let settled = timeout(PATIENCE, settled).await;
    // The port is free again when this returns.
    agent.stop(id).await.ok();
    settled.unwrap_or_else(|_| Err(Failure::PortUnanswered { port, bastion: address.to_string() }))
}
