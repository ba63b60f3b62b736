//! An agent of the mesh at work: built, asked, changed while it runs, and brought to its end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_core::mesh::{Judge, LinkRefused, Node, Protocol, Refusal, Rejected, Root, RoutingKey};
use adit_net::listen::{self, Ipv6};
use quinn::Endpoint;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, ConfigError, Forward};
use crate::connector::{self, Dialer};
use crate::counters::Stats;
use crate::door;
use crate::enrolment::unix_time;
use crate::folder::{FolderError, MeshFolder};
use crate::hub::Hub;
use crate::ingress::{self, ListenError, Listeners, Listening};
use crate::keys::Provider;
use crate::services;
use crate::transport::{quic, tcp};
use crate::view::{self, Dashboard, Numbers, ProbeView};

/// An agent of the mesh. It ends with [`drain`](Self::drain), or at once when it is dropped.
pub struct Mesh {
    pub(crate) hub: Arc<Hub>,
    listeners: Mutex<Listeners>,
    folder: Arc<MeshFolder>,
    address: Option<SocketAddr>,
    started: Instant,
    /// What goes on until the end, whoever is connected.
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// Why an agent cannot be started, or a new configuration not be taken.
#[derive(Debug, Error)]
pub enum MeshError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A value of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is no member.
    #[error(
        "this agent is no member of its mesh: {why}; ask for a new token and join again: adit mesh join TOKEN --data {path}"
    )]
    NoMember {
        /// The folder.
        path: PathBuf,
        /// What is wrong with its certificate.
        why: Refusal,
    },
    /// A key that it has no right to.
    #[error("the certificate of “{name}” gives no right to {verb} the key “{key}”; ask for an invitation that does")]
    NoRight {
        /// The agent.
        name: String,
        /// What the configuration wants of it.
        verb: &'static str,
        /// The key.
        key: RoutingKey,
    },
    /// Others cannot connect.
    #[error(
        "cannot listen for other agents on {address} ({over}); choose another port in `mesh.listen`, or stop what has it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// UDP or TCP.
        over: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A listener cannot be bound.
    #[error(transparent)]
    Listener(#[from] ListenError),
    /// The system refused something else.
    #[error("cannot start the mesh agent")]
    System(#[source] std::io::Error),
}

/// How the end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still there and were cut.
    pub connections_cut: usize,
}

impl Mesh {
    /// Builds and starts an agent: sockets are bound when this returns, links come up by themselves.
    ///
    /// # Errors
    /// It is no member, a value cannot be used, or the system refused a socket. Nothing goes on then.
    pub async fn start(config: Config, folder: MeshFolder) -> Result<Mesh, MeshError> {
        let enrolled = folder.enrolled()?;
        let (now, keys) = (Instant::now(), enrolled.keys.clone());
        let root = Root::new(&Provider, enrolled.root);
        let node = Node::new(keys.clone(), root, &enrolled.certificate, folder.kept()?, now, unix_time())
            .map_err(|why| MeshError::NoMember { path: folder.data().path().to_owned(), why })?;
        let hub = Arc::new(Hub::new(node, keys.clone(), config.resume));
        check_rights(&hub, &config.forward)?;
        // Written before anything is signed with this epoch: the next run must have a greater one.
        folder.keep(&hub.state().node.kept())?;
        let identity = &keys.identity;
        let tls = tcp::Tls::new(identity).map_err(MeshError::System)?;
        let reset_key = Provider.hash(&[&b"adit mesh reset key"[..], identity.seed()].concat());
        let quic = quic::endpoint(identity, &reset_key, None).map_err(MeshError::System)?;
        let (folder, dialer) = (Arc::new(folder), Dialer { quic, tls: tls.clone() });
        let mut tasks = Vec::new();
        let address = match config.listen {
            Some(address) => {
                let (udp, tcp) = doors(identity, &reset_key, address)?;
                let bound = tcp.local_addr().map_err(MeshError::System)?;
                tasks.push(spawn(door::open(Arc::clone(&hub), udp, tcp, tls)));
                Some(bound)
            }
            None => None,
        };
        let mut listeners = Listeners::default();
        listeners.apply(&hub, &config.forward)?;
        for peer in config.peers.into_iter().chain(enrolled.peers).collect::<std::collections::BTreeSet<_>>() {
            tasks.push(spawn(hub.tasks.track_future(connector::keep(Arc::clone(&hub), dialer.clone(), peer))));
        }
        let (running, keeping, checking) = (Arc::clone(&hub), Arc::clone(&hub), Arc::clone(&hub));
        tasks.push(spawn(async move { running.run().await }));
        tasks.push(spawn(keep(keeping, Arc::clone(&folder))));
        tasks.push(spawn(async move { services::recheck(&checking).await }));
        Ok(Mesh { hub, listeners: Mutex::new(listeners), folder, address, started: Instant::now(), _tasks: tasks })
    }

    /// What this agent is called.
    pub fn name(&self) -> &str {
        self.hub.me.name().as_str()
    }

    /// Its id.
    pub fn id(&self) -> String {
        self.hub.me.id().to_string()
    }

    /// Where other agents connect.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where clients connect, for which key.
    pub fn listeners(&self) -> Vec<Listening> {
        self.lock_listeners().addresses()
    }

    /// Its data folder.
    pub fn folder(&self) -> &MeshFolder {
        &self.folder
    }

    /// All that is shown of the mesh, as it is known here now.
    pub fn dashboard(&self) -> Dashboard {
        view::dashboard(&self.hub, self.started.elapsed())
    }

    /// How much there is of each.
    pub fn numbers(&self) -> Numbers {
        view::numbers(&self.hub)
    }

    /// What is counted.
    pub fn stats(&self) -> Stats {
        self.hub.counters.view()
    }

    /// Changes when ways or services may have changed.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.hub.revisions()
    }

    /// Sees whether a connection for a key would find its target now. Of one that takes datagrams it shows that its agent can send to it.
    ///
    /// # Errors
    /// Why it would not.
    pub async fn probe(&self, key: &RoutingKey, protocol: Protocol) -> Result<ProbeView, String> {
        let (path, took) = ingress::probe(&self.hub, (key, protocol)).await?;
        Ok(view::probed(&self.hub, key.as_str(), &path, took))
    }

    /// From now on these endpoints and listeners are configured. Connections of those that stay go on.
    ///
    /// # Errors
    /// A listener cannot be bound, or there is no right to a key. Nothing has changed then.
    pub fn reload(&self, forward: Forward) -> Result<(), MeshError> {
        check_rights(&self.hub, &forward)?;
        Ok(self.lock_listeners().apply(&self.hub, &forward)?)
    }

    /// Takes the root's list of what is revoked, and passes it on. `true`: it was news.
    ///
    /// # Errors
    /// It is none, or not the root's.
    pub fn revoke(&self, list: &[u8]) -> Result<bool, Rejected> {
        self.hub.change(|state| state.node.handle_record(None, list, Instant::now(), unix_time()))
    }

    /// Why this agent is no member any more, if it is none.
    pub fn expelled(&self) -> Option<Refusal> {
        self.hub.expelled()
    }

    /// Leaves the mesh: everybody is told at once, connections may go on for a while, and then links are closed.
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.hub.change(|state| state.node.handle_leave(Instant::now()));
        self.hub.leaving.cancel();
        *self.lock_listeners() = Listeners::default();
        let quiet = async {
            const LOOK: Duration = Duration::from_millis(50);
            while self.hub.circuits() > 0 || self.hub.counters.transits.get() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        // What is left then is cut and counted.
        let _ = tokio::time::timeout(grace, quiet).await;
        let connections_cut = self.hub.cut_circuits();
        self.hub.ending.cancel();
        self.hub.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(2), self.hub.tasks.wait()).await;
        Drained { connections_cut }
    }

    fn lock_listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.hub.ending.cancel();
        self.hub.cut_circuits();
        let links: Vec<_> = self.hub.state().links.values().cloned().collect();
        for link in links {
            link.cut(LinkRefused::Leaving);
            // The task that serves it may have been ended before it could.
            link.transport.close(LinkRefused::Leaving);
        }
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

/// Whoever configures a key that the certificate does not give is told, before others turn it down.
fn check_rights(hub: &Hub, forward: &Forward) -> Result<(), MeshError> {
    let no_right =
        |verb, key: &RoutingKey| MeshError::NoRight { name: hub.me.name().to_string(), verb, key: key.clone() };
    let rights = hub.me.rights();
    if let Some(endpoint) = forward.endpoints.iter().find(|endpoint| !rights.may_publish(&endpoint.key)) {
        return Err(no_right("publish", &endpoint.key));
    }
    match forward.listeners.iter().find(|listener| !rights.may_listen(&listener.key)) {
        Some(listener) => Err(no_right("listen on", &listener.key)),
        None => Ok(()),
    }
}

fn doors(
    identity: &crate::keys::SigningKey,
    reset_key: &[u8; 32],
    address: SocketAddr,
) -> Result<(Endpoint, TcpListener), MeshError> {
    /// Where the system gives a port for TCP, somebody else may have it for UDP.
    const DRAWS: usize = 32;
    let failed = |address, over| move |source| MeshError::Listen { address, over, source };
    let family = if address.ip().is_unspecified() { Ipv6::AsSystem } else { Ipv6::Only };
    let mut draws = if address.port() == 0 { DRAWS } else { 1 };
    loop {
        draws -= 1;
        let tcp = listen::bind(address, family).map_err(failed(address, "TCP"))?;
        // The same port over both.
        let address = tcp.local_addr().map_err(failed(address, "TCP"))?;
        match quic::endpoint(identity, reset_key, Some(address)) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse && draws > 0 => {}
            Err(source) => return Err(failed(address, "UDP")(source)),
        }
    }
}

/// Writes what must outlive a restart, whenever it has changed.
async fn keep(hub: Arc<Hub>, folder: Arc<MeshFolder>) {
    loop {
        hub.keep.notified().await;
        let (kept, folder) = (hub.state().node.kept(), Arc::clone(&folder));
        let written = tokio::task::spawn_blocking(move || folder.keep(&kept)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "cannot write what this agent must remember");
        }
    }
}
