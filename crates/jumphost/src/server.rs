//! The jump host as a whole: built from a configuration and a data folder, run, and drained.
//! Building binds every socket, so that what cannot work is told before anything is served; nothing runs yet.
//! Stopping is told in [`JumpHost::drain`].

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use adit_core::{Port, VisitorLimits};
use adit_net::descriptors;
use adit_net::gate::Gate;
use adit_net::listen::{self, Ipv6};
use adit_ssh::crypto::HostKey;
use adit_store::{OpenError, Store, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::admin::Admin;
use crate::audit::{AuditLog, AuditWriter, Fact, Subject};
use crate::bandwidth::Bandwidth;
use crate::config::{AllowList, Config};
use crate::data_dir::{DataDir, DataDirError, control_socket};
use crate::directory::Directory;
use crate::listener;
use crate::listing::Listing;
use crate::metrics::Metrics;
use crate::ports::Ports;
use crate::refusals::Refusals;
use crate::registry::{CutReason, Registry};
use crate::shared::{About, Shared};
use crate::signin::SignIn;
use crate::signin::attempts::{AttemptRules, Attempts};
use crate::signin::password::Hasher;
use crate::signin::token::Token;
use crate::traffic::Meter;

/// From being cut to being gone: a session that is cut waits for nobody.
const CUT_TIME: Duration = Duration::from_secs(2);

/// Where a jump host can be reached; `addresses.json` in the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Addresses {
    /// Where SSH clients log in.
    #[schema(value_type = String)]
    pub ssh: SocketAddr,
    /// Where the dashboard, `/health` and `/metrics` answer.
    #[schema(value_type = String)]
    pub web: SocketAddr,
    /// Where people open the dashboard.
    pub dashboard: String,
    /// Where forwarded ports listen.
    #[schema(value_type = String)]
    pub forward_address: IpAddr,
    /// The ports that clients may ask for, `FIRST-LAST`.
    pub ports: String,
    /// The name or address for other people's commands.
    pub advertise: String,
    /// The host keys' SHA-256, the first key first.
    pub host_keys: Vec<String>,
    /// The process.
    pub pid: u32,
}

/// Sockets that are bound here and served by the room that speaks HTTP.
#[derive(Debug)]
pub struct Doors {
    /// Who may connect to the web address.
    pub allow_networks: AllowList,
    /// The dashboard, `/health` and `/metrics`.
    pub web: TcpListener,
    /// The administrator's commands.
    pub control: UnixListener,
    /// What we prove ourselves with to the OpenID provider, if there is one that wants it.
    pub oidc_secret: Option<Token>,
}

/// The host key of a jump host, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether this run made it.
    pub created: bool,
}

/// Why a jump host could not start. Nothing was served, and nothing in the folder was overwritten.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store was opened and cannot be read.
    #[error("cannot load the accounts")]
    Directory(#[from] StoreError),
    /// The file with the secret for the OpenID provider cannot be read.
    #[error("cannot read the OpenID client's secret from {path} (`oidc.client_secret_file`)")]
    OidcSecret {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A socket cannot be bound.
    #[error("cannot listen for {purpose} at {address}{}", advice(.source, .flag))]
    Bind {
        /// What the socket is for.
        purpose: &'static str,
        /// Its address.
        address: SocketAddr,
        /// The flag that names another.
        flag: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address for forwards is not one of this machine.
    #[error("cannot listen at {address}, where forwards should; --forward-address wants an address of this machine")]
    ForwardAddress {
        /// The address.
        address: IpAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot make the control socket {path}; a shorter --data DIR may help, the system allows 107 bytes")]
    Control {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn advice(source: &io::Error, flag: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!("; another program has that port: stop it, or choose another with {flag}"),
        io::ErrorKind::PermissionDenied => format!("; ports below 1024 need a privilege: choose another with {flag}"),
        io::ErrorKind::AddrNotAvailable => format!("; that is no address of this machine: choose another with {flag}"),
        _ => String::new(),
    }
}

/// What stopping did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Visitors that had not finished when the grace ended.
    pub visitors_cut: u64,
    /// Sessions that were told to go.
    pub sessions_cut: usize,
}

/// A jump host with its sockets bound.
pub struct JumpHost {
    shared: Arc<Shared>,
    addresses: Addresses,
    host_key: HostKeyFile,
    data: DataDir,
    ssh: Option<TcpListener>,
    audit_writer: Option<AuditWriter>,
    /// The accept loop and the sessions.
    sessions: TaskTracker,
    /// What sessions lean on; stops after them.
    background: TaskTracker,
    stop_accepting: CancellationToken,
    stop_background: CancellationToken,
}

impl JumpHost {
    /// Opens everything that `config` names. Nothing runs until [`run_until`](Self::run_until); the doors are the caller's to
    /// serve.
    ///
    /// # Errors
    /// The first thing that cannot work, with what to do about it.
    pub async fn build(config: Config, data: DataDir) -> Result<(Self, Doors), StartError> {
        descriptors::raise_limit();
        data.clear_runtime_files();
        let host_keys = data.host_keys()?;
        let oidc_secret = oidc_secret(&config)?;
        let store = Store::open(data.store_path()).await?;
        let ssh = bind("SSH", config.ssh, "--ssh")?;
        let web = bind("the web", config.web, "--web")?;
        bind_any(config.forward_address)
            .map_err(|source| StartError::ForwardAddress { address: config.forward_address, source })?;
        let control = bind_control(control_socket(data.path()))?;

        let local = |listener: &TcpListener, purpose, address, flag| {
            listener.local_addr().map_err(|source| StartError::Bind { purpose, address, flag, source })
        };
        let web_address = local(&web, "the web", config.web, "--web")?;
        let addresses = Addresses {
            ssh: local(&ssh, "SSH", config.ssh, "--ssh")?,
            web: web_address,
            dashboard: dashboard(&config, web_address),
            forward_address: config.forward_address,
            ports: config.ports.range.to_string(),
            advertise: advertised(&config),
            host_keys: host_keys.keys.iter().map(|key| key.public_key().fingerprint().to_string()).collect(),
            pid: std::process::id(),
        };
        warn_about_own_ports(&config);

        let doors = Doors { allow_networks: config.allow_networks.clone(), web, control, oidc_secret };
        let about = About {
            addresses: addresses.clone(),
            host_keys: host_keys.keys.iter().map(|key| key.public_key().clone()).collect(),
            store: data.store_path(),
            started: SystemTime::now(),
        };
        let metrics = Arc::new(Metrics::new());
        let (audit, audit_writer) = AuditLog::new(store.clone(), config.audit_keep, Arc::clone(&metrics));
        let stop_accepting = CancellationToken::new();
        let shared = Arc::new(Shared {
            ssh: Arc::new(ssh_config(&config, host_keys.keys)),
            directory: Directory::load(store.clone()).await?,
            registry: Registry::new(Arc::clone(&metrics)),
            ports: Ports::new(config.ports, vec![config.forward_address]),
            gate: Gate::new(config.login),
            stopping: stop_accepting.clone(),
            visitors: Mutex::new(VisitorLimits::new()),
            bandwidth: Bandwidth::default(),
            config,
            store,
            audit,
            metrics,
            about,
            refusals: Refusals::default(),
            attempts: Mutex::new(Attempts::new(AttemptRules::default())),
            hasher: Hasher::new(),
            exhaustion: Mutex::default(),
        });
        data.write_addresses(&addresses)?;
        let host = Self {
            shared,
            addresses,
            host_key: HostKeyFile { path: host_keys.path, created: host_keys.created },
            data,
            ssh: Some(ssh),
            audit_writer: Some(audit_writer),
            sessions: TaskTracker::new(),
            background: TaskTracker::new(),
            stop_accepting,
            stop_background: CancellationToken::new(),
        };
        Ok((host, doors))
    }

    /// Where it can be reached, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The file of the first host key.
    #[must_use]
    pub fn host_key(&self) -> &HostKeyFile {
        &self.host_key
    }

    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// What administrators can do with it.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::running(Arc::clone(&self.shared))
    }

    /// Where people and programs sign in at the dashboard.
    #[must_use]
    pub fn sign_in(&self) -> SignIn {
        SignIn::new(Arc::clone(&self.shared))
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Cancelled when the jump host takes no new work any more.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop_accepting.clone()
    }

    /// Serves until `shutdown` is ready; then no new connection and no new visitor is accepted.
    pub async fn run_until(&mut self, shutdown: impl Future<Output = ()>) {
        if let Some(writer) = self.audit_writer.take() {
            self.background.spawn(writer.run(self.stop_background.clone()));
        }
        let (shared, stop) = (Arc::clone(&self.shared), self.stop_background.clone());
        self.background.spawn(async move { shared.directory.run(&shared.registry, stop).await });
        self.background.spawn(Arc::clone(&self.shared.ports).run(self.stop_background.clone()));
        self.background.spawn(Meter::new(Arc::clone(&self.shared)).run(self.stop_background.clone()));
        self.background.spawn(Listing::new(Arc::clone(&self.shared)).run(self.stop_background.clone()));
        self.background.spawn(self.sign_in().run(self.stop_background.clone()));
        if let Some(listener) = self.ssh.take() {
            let shared = Arc::clone(&self.shared);
            self.sessions.spawn(listener::run(listener, shared, self.stop_accepting.clone(), self.sessions.clone()));
        }
        self.shared.audit.record(Subject::server(), &Fact::ServerStarted { ssh: self.addresses.ssh });
        shutdown.await;
        self.stop_accepting.cancel();
    }

    /// Stops: visitors may finish for `grace`, then every session is cut with its transport (a client that exits with 0 would
    /// not come back: autossh counts that as done), and what they told the audit log is written.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.stop_accepting.cancel();
        // Whether they all left or the time is over, what follows is the same.
        let _ = timeout(grace, self.shared.registry.visitors_gone()).await;
        let drained = Drained {
            visitors_cut: self.shared.registry.visitors_now(),
            sessions_cut: self.shared.registry.cut_all(CutReason::ShuttingDown),
        };
        self.sessions.close();
        if timeout(CUT_TIME, self.sessions.wait()).await.is_err() {
            tracing::warn!(
                tasks = self.sessions.len(),
                "some connections did not end in time; they go with the process"
            );
        }
        self.shared.audit.record(Subject::server(), &Fact::ServerStopped);
        self.stop_background.cancel();
        self.background.close();
        self.background.wait().await;
        self.data.clear_runtime_files();
        self.shared.store.close().await;
        drained
    }
}

fn ssh_config(config: &Config, host_keys: Vec<HostKey>) -> adit_ssh::ServerConfig {
    let limits = adit_ssh::Limits {
        login_grace: config.login_grace,
        keepalive_interval: config.keepalive_interval,
        rekey_bytes: config.rekey_bytes,
        rekey_time: config.rekey_time,
        session_channels: config.session_channels,
        ..adit_ssh::Limits::default()
    };
    adit_ssh::ServerConfig { host_keys, algorithms: adit_ssh::Algorithms::default(), limits }
}

fn bind(purpose: &'static str, address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    listen::bind(address, Ipv6::AsSystem).map_err(|source| StartError::Bind { purpose, address, flag, source })
}

/// Binds any port of an address and lets it go: whether the address is ours is better known now than at the first forward.
fn bind_any(address: IpAddr) -> io::Result<()> {
    std::net::TcpListener::bind((address, 0)).map(drop)
}

fn bind_control(path: PathBuf) -> Result<UnixListener, StartError> {
    let listen = || {
        let listener = UnixListener::bind(&path)?;
        // Until this line the umask guarded it; a socket wants the right to write, which no usual umask gives away.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    listen().map_err(|source| StartError::Control { path: path.clone(), source })
}

fn advertised(config: &Config) -> String {
    let named = config.advertise.clone();
    named.unwrap_or_else(|| match config.ssh.ip() {
        ip if ip.is_unspecified() => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ip => ip.to_string(),
    })
}

/// The dashboard's address for people. An address that stands for all of them leads nowhere.
fn dashboard(config: &Config, web: SocketAddr) -> String {
    match &config.web_url {
        Some(url) => url.as_str().to_owned(),
        None if web.ip().is_unspecified() => {
            let name = advertised(config);
            let host = if name.contains(':') { format!("[{name}]") } else { name };
            format!("http://{host}:{}", web.port())
        }
        None => format!("http://{web}"),
    }
}

fn oidc_secret(config: &Config) -> Result<Option<Token>, StartError> {
    let Some(path) = config.oidc.as_ref().and_then(|oidc| oidc.client_secret_file.as_deref()) else { return Ok(None) };
    let read = |path: &Path| std::fs::read_to_string(path).map(Zeroizing::new);
    let text = read(path).map_err(|source| StartError::OidcSecret { path: path.to_owned(), source })?;
    // An editor leaves a line's end.
    Ok(Some(Token::from_text(text.trim_end())))
}

/// A forward can never get a port that we listen on ourselves; that surprises less when it was said. A port that the system chose
/// is nobody's wish, and another one after the next start.
fn warn_about_own_ports(config: &Config) {
    for (own, name) in [(config.ssh, "SSH"), (config.web, "web")] {
        let meets =
            [own.ip(), config.forward_address].iter().any(IpAddr::is_unspecified) || own.ip() == config.forward_address;
        if meets && Port::new(own.port()).is_some_and(|port| config.ports.range.contains(port)) {
            tracing::warn!(
                port = own.port(),
                "the {name} port is in the range of the forwards; clients will not get it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{AccountAdd, AccountRemove, KeyAdd, KeyRemove, SessionList};
    use crate::config::{Origin, RawConfig, Typed};
    use crate::registry::Login;

    fn config(ssh: &str, web: &str) -> Config {
        let typed = |text: &str| Some(Typed::new(text, Origin::Flag));
        RawConfig { ssh: typed(ssh), web: typed(web), ..RawConfig::default() }.check().unwrap()
    }

    async fn build(config: Config, folder: &std::path::Path) -> Result<(JumpHost, Doors), StartError> {
        JumpHost::build(config, DataDir::open(folder).unwrap()).await
    }

    const ANY: &str = "127.0.0.1:0";

    async fn refused(config: Config) -> String {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = build(config, folder.path()).await else { panic!("it started") };
        crate::error_chain(&error)
    }

    #[tokio::test]
    async fn the_addresses_are_known_and_written_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (host, doors) = build(config(ANY, ANY), folder.path()).await.unwrap();
        let written = std::fs::read(folder.path().join("addresses.json")).unwrap();
        let read: Addresses = serde_json::from_slice(&written).unwrap();
        assert_eq!(&read, host.addresses());
        assert_ne!(read.ssh.port(), 0);
        assert_eq!(read.web, doors.web.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_busy_port_is_told_with_the_flag_that_helps() {
        let taken = std::net::TcpListener::bind(ANY).unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let told = refused(config(&address, ANY)).await;
        assert!(told.contains(&address) && told.contains("--ssh") && told.contains("another program"), "{told}");
        assert!(refused(config(ANY, &address)).await.contains("--web"));
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_at_the_start() {
        let mut config = config(ANY, ANY);
        config.forward_address = "192.0.2.1".parse().unwrap();
        assert!(refused(config).await.contains("--forward-address"));
    }

    #[tokio::test]
    async fn a_corrupt_store_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join(crate::data_dir::STORE);
        std::fs::write(&store, b"this is no database, and longer than nothing").unwrap();
        let before = std::fs::read(&store).unwrap();
        assert!(matches!(build(config(ANY, ANY), folder.path()).await, Err(StartError::Store(_))));
        assert_eq!(std::fs::read(&store).unwrap(), before);
    }

    /// A host with the account alice, and a login of her that is about to enter.
    async fn host_with_alice(folder: &std::path::Path) -> (JumpHost, Login) {
        let (host, _doors) = build(config(ANY, ANY), folder).await.unwrap();
        let public = HostKey::generate_ed25519().unwrap().public_key().clone();
        let account = AccountAdd { name: "alice".to_owned(), tier: None, admin: false };
        host.admin().call(account).await.unwrap();
        let key = KeyAdd {
            account: "alice".to_owned(),
            text: public.to_text(""),
            label: None,
            expires_in_ms: None,
            ports: None,
        };
        host.admin().call(key).await.unwrap();
        let login = Login {
            identity: host.shared.directory.find(public.blob()).expect("a key works at once"),
            client: "192.0.2.1:5000".parse().unwrap(),
            client_version: String::new(),
            since: std::time::SystemTime::now(),
        };
        (host, login)
    }

    #[tokio::test]
    async fn who_is_removed_while_logging_in_is_cut_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (host, login) = host_with_alice(folder.path()).await;
        let fingerprint = login.identity.fingerprint.to_string();
        let removed = host.admin().call(KeyRemove { account: "alice".to_owned(), fingerprint }).await.unwrap();
        assert_eq!(removed.sessions_cut, 0, "nobody was in yet");
        let (_presence, cut) = host.shared.enter(login);
        assert_eq!(timeout(Duration::ZERO, cut).await, Ok(CutReason::KeyRemoved));
    }

    #[tokio::test]
    async fn a_removal_acts_before_it_is_answered_and_counts_whom_it_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (host, login) = host_with_alice(folder.path()).await;
        let (_presence, cut) = host.shared.enter(login);
        assert_eq!(host.admin().call(SessionList {}).await.unwrap().len(), 1);
        let removed = host.admin().call(AccountRemove { name: "alice".to_owned() }).await.unwrap();
        assert_eq!((removed.keys, removed.sessions_cut), (1, 1));
        assert_eq!(timeout(Duration::ZERO, cut).await, Ok(CutReason::AccountRemoved));
    }

    #[tokio::test]
    async fn a_stop_leaves_no_addresses_and_no_lock_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (mut host, _doors) = build(config(ANY, ANY), folder.path()).await.unwrap();
        let ssh = host.addresses().ssh;
        host.run_until(async {}).await;
        let drained = host.drain(Duration::from_secs(5)).await;
        assert_eq!(drained, Drained { visitors_cut: 0, sessions_cut: 0 });
        assert!(!folder.path().join("addresses.json").exists());
        assert!(!control_socket(folder.path()).exists());
        std::net::TcpListener::bind(ssh).unwrap();
        let (again, _doors) = build(config(ANY, ANY), folder.path()).await.unwrap();
        let events = again.shared.store.list_audit_events(adit_store::AuditQuery::default()).await.unwrap();
        let kinds: Vec<_> = events.iter().rev().map(|event| event.event.kind.as_str()).collect();
        assert_eq!(kinds, ["server-started", "server-stopped"]);
    }
}
