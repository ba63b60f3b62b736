//! Carries out what a model asks for, by the functions that the commands themselves call. Nobody is asked anything: what a command would ask
//! a person for is a failure here.

use std::path::PathBuf;

use adit_api::Failure as Told;
use adit_api::mcp::{AgentOrder, KeyFolders, Rules, Services, SetUp};
use adit_core::Port;
use adit_service::Place;
use serde::Serialize;
use serde_json::Value;

use super::arguments::Conduct;
use crate::client::unattended;
use crate::failure::Failure;
use crate::oneoff::{LocalService, ServerAddress, home};
use crate::service::arguments::{BIND, TARGET};
use crate::service::set_up::{Order, set_up};
use crate::service::variables::Variables;
use crate::service::{installer, remove, status};

/// Whoever acts for a model.
pub(super) struct Acting {
    place: Place,
    /// The agent's.
    folder: PathBuf,
    variables: Variables,
}

impl Acting {
    /// As the flags have it, for an agent that keeps its things in `folder`.
    pub(super) fn new(conduct: &Conduct, folder: PathBuf) -> Result<(Self, Rules), Failure> {
        let variables = Variables::load(None)?;
        let rules = Rules { keys: conduct.keys()?, usual_key: variables.secret_key(None).ok() };
        Ok((Self { place: conduct.place(), folder, variables }, rules))
    }

    async fn install(&self, asked: SetUp) -> Result<Value, Failure> {
        let bastion = asked.bastion_server.as_deref().map(ServerAddress::parse).transpose()?;
        let order = Order {
            port: asked.port,
            bastion: self.variables.bastion(bastion)?,
            key: self.variables.secret_key(asked.secret_key_path)?,
            target: LocalService::parse(TARGET)?,
            bind: BIND.to_owned(),
            place: self.place,
            cron: false,
            accepted: Vec::new(),
            may_ask: false,
        };
        let done = set_up(&order).await?;
        match done.tunnel.is_active() {
            true => value(&done),
            false => Err(Failure::NotUpYet { port: order.port, why: done.tunnel.last_error }),
        }
    }

    /// What belongs to the system is for whoever may say so at the start, also where it is root that runs this.
    async fn uninstall(&self, port: Port) -> Result<Value, Failure> {
        let found: Vec<Place> = places(port).await;
        let allowed: Vec<Place> =
            found.iter().copied().filter(|place| self.place == Place::System || *place != Place::System).collect();
        let place = match (&found[..], &allowed[..]) {
            ([], _) => return Err(Failure::NoTunnel { port }),
            (_, []) => return Err(Failure::SystemTunnel { port }),
            (_, [place]) => *place,
            // Of several, the one that would be set up here; else what `remove` says of them.
            (_, several) if several.contains(&self.place) => self.place,
            _ => return value(&remove::remove(port, None).await?),
        };
        value(&remove::remove(port, Some(place)).await?)
    }
}

async fn places(port: Port) -> Vec<Place> {
    installer().find(port, None).await.iter().map(|report| report.scope).collect()
}

impl Conduct {
    pub(super) fn place(&self) -> Place {
        match (self.allow_system, self.supervise) {
            (true, _) => Place::System,
            (false, true) => Place::Supervised,
            (false, false) => Place::User,
        }
    }

    pub(super) fn keys(&self) -> Result<KeyFolders, Failure> {
        let usual = || home().map(|home| home.join(".ssh"));
        let folders = match self.key_folders.is_empty() {
            true => usual().into_iter().collect(),
            false => absolute(&self.key_folders)?,
        };
        Ok(KeyFolders::new(folders, home()))
    }
}

/// As they are meant where this is typed, which a client that starts it later need not be.
fn absolute(folders: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    folders.iter().map(|folder| std::path::absolute(folder).map_err(Failure::Runtime)).collect()
}

impl Services for Acting {
    async fn set_up(&self, asked: SetUp) -> Result<Value, Told> {
        Box::pin(self.install(asked)).await.map_err(told)
    }

    async fn status(&self, port: Option<Port>) -> Result<Value, Told> {
        let look = async {
            let installer = installer();
            let tunnels = match port {
                // Who asks cannot say which of several is meant, and hears of all.
                Some(port) => Some(installer.find(port, None).await)
                    .filter(|found| !found.is_empty())
                    .ok_or(Failure::NoTunnel { port })?,
                None => installer.list().await,
            };
            value(&status::Tunnels { tunnels })
        };
        look.await.map_err(told)
    }

    async fn remove(&self, port: Port) -> Result<Value, Told> {
        self.uninstall(port).await.map_err(told)
    }

    async fn agent_tunnels(&self) -> Result<Value, Told> {
        let look = async { value(&unattended::tunnels(&self.folder).await?) };
        look.await.map_err(told)
    }

    async fn agent_order(&self, order: AgentOrder, tunnel: String) -> Result<Value, Told> {
        let act = async { value(&unattended::order(&self.folder, order, tunnel).await?) };
        Box::pin(act).await.map_err(told)
    }
}

fn told(failure: Failure) -> Told {
    failure.told()
}

fn value(answer: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| Failure::Output(error.into()))
}
