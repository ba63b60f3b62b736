//! A jump host for one test: its own folder, ports of its own, gone when dropped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_core::PortRange;
use adit_jumphost::admin::{AccountAdd, Admin, KeyAdd, PortList, SessionList};
use adit_jumphost::signin::SignIn;
use adit_jumphost::{Config, DataDir, JumpHost, RawConfig};
use adit_ssh::crypto::{HostKey, PublicKey};
use adit_ssh::{Algorithms, ClientConfig, Limits};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestHost {
    pub(crate) ssh: SocketAddr,
    pub(crate) admin: Admin,
    pub(crate) sign_in: SignIn,
    host_key: PublicKey,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    folder: TempDir,
}

/// An account with a key.
#[derive(Clone)]
pub(crate) struct Member {
    identity: String,
    host_key: PublicKey,
    ssh: SocketAddr,
}

impl TestHost {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with the defaults, changed by `change`.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::again(tempfile::tempdir().unwrap(), change).await
    }

    /// Starts with what another one has left.
    pub(crate) async fn again(folder: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        let mut config = RawConfig::default().check().unwrap();
        config.ssh = (Ipv4Addr::LOCALHOST, 0).into();
        config.web = (Ipv4Addr::LOCALHOST, 0).into();
        config.drain_grace = Duration::ZERO;
        config.ports.range = ports_of_this_process();
        change(&mut config);
        let host_keys = data.host_keys().unwrap();
        let host_key = host_keys.keys[0].public_key().clone();
        // The doors are not served here.
        let (mut host, _doors) = JumpHost::build(config, data).await.unwrap();
        let (ssh, admin, sign_in) = (host.addresses().ssh, host.admin(), host.sign_in());
        let (stop, stopped) = oneshot::channel();
        let grace = host.config().drain_grace;
        let running = tokio::spawn(async move {
            host.run_until(async { drop(stopped.await) }).await;
            host.drain(grace).await;
        });
        Self { ssh, admin, sign_in, host_key, stop: Some(stop), running, folder }
    }

    pub(crate) async fn account(&self, name: &str) -> Member {
        self.admin.call(AccountAdd { name: name.into(), tier: None, admin: false }).await.unwrap();
        self.key_for(name).await
    }

    /// One more key for an account.
    pub(crate) async fn key_for(&self, account: &str) -> Member {
        let key = HostKey::generate_ed25519().unwrap();
        let add = KeyAdd {
            account: account.into(),
            text: key.public_key().to_text("test"),
            label: None,
            expires_in_ms: None,
            ports: None,
        };
        self.admin.call(add).await.unwrap();
        let identity = key.to_openssh("test").unwrap().to_string();
        Member { identity, host_key: self.host_key.clone(), ssh: self.ssh }
    }

    /// The SSH address as seen from this machine.
    pub(crate) fn reachable(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ssh.port()).into()
    }

    /// The open ports, by number.
    pub(crate) async fn ports(&self) -> Vec<u16> {
        self.admin.call(PortList {}).await.unwrap().into_iter().map(|port| port.port).collect()
    }

    pub(crate) async fn session_count(&self) -> usize {
        self.admin.call(SessionList {}).await.unwrap().len()
    }

    /// Tells it to stop, as a signal would.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// The file of the store, for a second look into it.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.folder.path().join("data/store.sqlite")
    }

    /// Stops, and waits for the end. What it leaves is in the returned folder.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.begin_stop();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
        self.folder
    }
}

/// A hundred ports that tests in other processes leave alone, below those of `free_port.rs` and those the system gives to outgoing connections.
fn ports_of_this_process() -> PortRange {
    let first = 10_000 + (std::process::id() % 180) as u16 * 100;
    format!("{first}-{}", first + 99).parse().unwrap()
}

impl Member {
    /// Logs in.
    pub(crate) async fn connect(&self) -> Client {
        let mut client = self.dial().await;
        client.login().await.unwrap();
        client
    }

    /// Connects, and leaves the login to the caller.
    pub(crate) async fn dial(&self) -> Client {
        let config = ClientConfig {
            user: "tunnel".into(),
            identity: HostKey::from_openssh(&self.identity).unwrap(),
            host_key: self.host_key.clone(),
            algorithms: Algorithms::default(),
            limits: Limits::default(),
        };
        Client::new(TcpStream::connect(self.ssh).await.unwrap(), &Arc::new(config))
    }

    pub(crate) fn fingerprint(&self) -> String {
        HostKey::from_openssh(&self.identity).unwrap().public_key().fingerprint().to_string()
    }
}

/// Waits until `done` holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "it never came about that {what}");
}
