//! A person's agent: a folder with its files, and how everything in it stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_agent::agent::{Agent, AgentSetup, AgentTask, TunnelView};
use adit_agent::dial::{Nobody, Person};
use adit_agent::records::Places;
use adit_agent::vault::Vault;
use adit_core::RecordId;
use adit_store::agent::{
    AgentStore, AuthMethod, Forward, ForwardType, HostKeyPolicy, Profile, SettingsChange, Tunnel, TunnelChange,
};
use tempfile::TempDir;

use crate::free_port::free_port;
use crate::services::eventually;
use crate::sshd::Sshd;

pub(crate) struct Home {
    folder: TempDir,
    pub(crate) agent: Agent,
    task: AgentTask,
}

impl Home {
    /// An agent without records, which takes the keys of new hosts.
    pub(crate) async fn new() -> Home {
        let home = Self::open(tempfile::tempdir().unwrap()).await;
        let accept = SettingsChange { host_key_policy: Some(HostKeyPolicy::AcceptNew), ..SettingsChange::default() };
        home.agent.change_settings(accept).await.unwrap();
        home
    }

    /// An agent without records, and somebody to ask.
    pub(crate) async fn with(person: Arc<dyn Person>) -> Home {
        Self::open_with(tempfile::tempdir().unwrap(), person).await
    }

    async fn open(folder: TempDir) -> Home {
        Self::open_with(folder, Arc::new(Nobody)).await
    }

    async fn open_with(folder: TempDir, person: Arc<dyn Person>) -> Home {
        let setup = AgentSetup {
            store: AgentStore::open(folder.path().join("agent.db")).await.unwrap(),
            vault: Vault::at(&folder.path().join("secrets")),
            person,
            places: Places {
                known_hosts: folder.path().join("known_hosts"),
                other_known_hosts: Vec::new(),
                home: Some(folder.path().to_owned()),
            },
        };
        let (agent, task) = Agent::start(setup).await.unwrap();
        Home { folder, agent, task }
    }

    pub(crate) async fn end(self) -> TempDir {
        let Home { folder, agent, task } = self;
        task.end().await;
        agent.store().close().await;
        folder
    }

    /// The same files, another process.
    pub(crate) async fn restart(self) -> Home {
        Self::open(self.end().await).await
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    pub(crate) async fn profile(&self, sshd: &Sshd) -> String {
        self.agent.add(profile(sshd)).await.unwrap().id
    }

    pub(crate) async fn add(&self, tunnel: Tunnel) -> String {
        self.agent.add(tunnel).await.unwrap().id
    }

    /// Adds and starts it.
    pub(crate) async fn start(&self, tunnel: Tunnel) -> String {
        let id = self.add(tunnel).await;
        self.agent.start_tunnel(&id).await.unwrap();
        id
    }

    pub(crate) async fn change(&self, id: &str, change: TunnelChange) {
        self.agent.change::<Tunnel>(id, change).await.unwrap();
    }

    pub(crate) fn view(&self, id: &str) -> TunnelView {
        self.find(id).unwrap_or_else(|| panic!("there is no tunnel {id}"))
    }

    pub(crate) fn find(&self, id: &str) -> Option<TunnelView> {
        self.agent.board().borrow().tunnels.get(&RecordId::from(id)).cloned()
    }

    pub(crate) fn status(&self, id: &str) -> &'static str {
        self.view(id).status.name()
    }

    pub(crate) fn last_error(&self, id: &str) -> String {
        self.view(id).last_error().unwrap_or_default()
    }

    /// Waits until a tunnel has this status.
    pub(crate) async fn becomes(&self, id: &str, status: &str) {
        let what = format!("{id} becomes {status}");
        let mut seen = Vec::new();
        eventually(&what, || {
            let now = (self.status(id), self.last_error(id));
            if seen.last() != Some(&now) {
                eprintln!("{id}: {now:?}");
                seen.push(now);
            }
            self.status(id) == status
        })
        .await;
    }
}

pub(crate) fn profile(sshd: &Sshd) -> Profile {
    Profile {
        name: "core".to_owned(),
        username: sshd.user().to_owned(),
        auth_method: AuthMethod::Key,
        key_path: Some(sshd.path("login").to_str().unwrap().to_owned()),
        password_secret: None,
        passphrase_secret: None,
        legacy_algorithms: false,
        jump: None,
        enabled: true,
    }
}

/// What a new tunnel has if nothing is said.
pub(crate) fn tunnel(sshd: &Sshd, profile_id: &str, forward: Forward) -> Tunnel {
    Tunnel {
        name: "Switch UI".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: sshd.port().get(),
        profile_id: profile_id.to_owned(),
        jump: None,
        forward,
        auto_start: false,
        auto_reconnect: true,
        max_retries: 5,
        enabled: true,
    }
}

/// To a service on this machine, as the server sees it.
pub(crate) fn local(to: u16) -> Forward {
    Forward {
        forward_type: ForwardType::Local,
        local_port: free_port(),
        bind_address: "127.0.0.1".to_owned(),
        remote_host: Some("127.0.0.1".to_owned()),
        remote_port: Some(to),
    }
}

pub(crate) fn dynamic() -> Forward {
    Forward { forward_type: ForwardType::Dynamic, remote_host: None, remote_port: None, ..local(0) }
}

/// From a port at the server to a service here.
pub(crate) fn remote(port: u16, to: u16) -> Forward {
    Forward {
        forward_type: ForwardType::Remote,
        local_port: to,
        remote_host: None,
        remote_port: Some(port),
        ..local(0)
    }
}
