//! `adit mesh run`: the agent of a mesh as a program.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_api::Serving;
use adit_api::agent::{Addresses, token_of};
use adit_api::mesh::{Reload, Reloaded};
use adit_mesh::{Listening, Mesh, MeshFolder};
use adit_net::descriptors;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use super::arguments::Common;
use super::ask::{folder_of, service};
use crate::agent::settings::ListenAddress;
use crate::config_file::{self, ConfigFile};
use crate::failure::Failure;
use crate::output::{Output, shown};
use crate::shell;
use crate::signals::Signals;

/// Connections may finish for so long when the agent ends.
const GRACE: Duration = Duration::from_secs(5);

/// The dashboard's port, and how many behind it are looked at where it is taken: the documents have a listener at the same one.
const HTTP_PORT: u16 = 8080;
const HTTP_PORTS: u16 = 20;

/// A mesh agent with its door.
pub(super) struct Running {
    mesh: Arc<Mesh>,
    serving: Option<Serving>,
    addresses: Option<Addresses>,
    _hangups: AbortOnDropHandle<()>,
}

/// What is told at the start.
#[derive(Serialize)]
struct Started {
    name: String,
    id: String,
    data: PathBuf,
    listen: Option<SocketAddr>,
    dashboard: Option<String>,
    listeners: Vec<StartedListener>,
}

#[derive(Serialize)]
struct StartedListener {
    key: String,
    protocol: String,
    address: SocketAddr,
}

/// Builds, runs and drains an agent; returns when it has ended.
pub(super) async fn run(common: &Common, file: ConfigFile) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    descriptors::raise_limit();
    let folder = folder_of(common.data.as_deref(), &file)?;
    let running = Running::start(file, folder).await?;
    let told = announce(&running, common);
    if told.is_ok() {
        signals.stop().await;
        tracing::info!(grace = ?GRACE, "leaving the mesh: connections may finish; a second signal ends at once");
    }
    tokio::select! {
        () = running.end() => tracing::info!("ended"),
        () = signals.stop() => tracing::info!("ended at once"),
    }
    told
}

impl Running {
    /// Starts the agent of this folder as the file has it.
    pub(super) async fn start(file: ConfigFile, folder: PathBuf) -> Result<Running, Failure> {
        let wrong = |error| Failure::MeshSetting { path: file.path.clone(), error };
        let config = file.mesh.check(&file.forward).map_err(wrong)?;
        let http = HttpAddress::parse(&file)?;
        let folder = MeshFolder::open(&folder)?;
        let (token, _) = token_of(folder.data())?;
        let mesh = Arc::new(Mesh::start(config, folder).await?);
        let reload = reloading(Arc::clone(&mesh), file);
        let (mut serving, mut addresses) = (None, None);
        if let Some(listener) = http.bind().await? {
            let of = Addresses::of(mesh.folder().data(), listener.local_addr().map_err(Failure::Runtime)?);
            let served = adit_api::mesh::serve(Arc::clone(&mesh), Arc::clone(&reload), listener, &token);
            serving = Some(served.map_err(Failure::Runtime)?);
            mesh.folder().data().write_addresses(&of)?;
            addresses = Some(of);
        }
        let hangups = AbortOnDropHandle::new(tokio::spawn(follow_hangups(reload)));
        Ok(Running { mesh, serving, addresses, _hangups: hangups })
    }

    /// Where its dashboard is.
    pub(super) fn dashboard(&self) -> Option<String> {
        self.addresses.as_ref().map(|addresses| format!("{}/", addresses.url))
    }

    /// How others call it.
    pub(super) fn name(&self) -> &str {
        self.mesh.name()
    }

    /// Leaves the mesh, and returns when that is done.
    pub(super) async fn end(self) {
        self.mesh.folder().data().clear(&[]);
        let drained = self.mesh.drain(GRACE).await;
        if let Some(serving) = self.serving {
            serving.stop().await;
        }
        tracing::info!(connections_cut = drained.connections_cut, "left the mesh");
    }
}

fn announce(running: &Running, common: &Common) -> Result<(), Failure> {
    let mesh = &running.mesh;
    let started = Started {
        name: mesh.name().to_owned(),
        id: mesh.id(),
        data: mesh.folder().data().path().to_owned(),
        listen: mesh.address(),
        dashboard: running.dashboard(),
        listeners: mesh
            .listeners()
            .into_iter()
            .map(|Listening { key, protocol, address }| StartedListener {
                key: key.to_string(),
                protocol: protocol.to_string(),
                address,
            })
            .collect(),
    };
    let output = Output::new(common.json);
    output.answer(&started, |started| {
        let listen = started.listen.map_or_else(|| "for nobody: this agent dials only".to_owned(), |at| at.to_string());
        let dashboard = started.dashboard.clone().unwrap_or_else(|| "off".to_owned());
        let mut facts = vec![
            ("agent", format!("{} ({})", shown(&started.name), started.id)),
            ("data", started.data.display().to_string()),
            ("listens", listen),
            ("dashboard", dashboard),
        ];
        let listeners = started
            .listeners
            .iter()
            .map(|listener| format!("{} at {}", service(&listener.key, &listener.protocol), listener.address));
        facts.extend(listeners.map(|listener| ("forwards", listener)));
        let title = output.bold(concat!("adit mesh agent ", env!("CARGO_PKG_VERSION")));
        let mut text = format!("{title}\n{}", output.facts(&facts));
        // It is the dashboard's door that commands knock at.
        if started.dashboard.is_some() {
            let flag = common.data.as_deref().map_or_else(String::new, shell::data_flag);
            text += &format!("\n{}\n  adit mesh status{flag}", output.bold("Next, in another terminal:"));
        }
        text
    })
}

/// Where the dashboard is to be.
enum HttpAddress {
    Off,
    /// The first free one from the usual port on.
    Usual,
    At(SocketAddr),
}

impl HttpAddress {
    fn parse(file: &ConfigFile) -> Result<HttpAddress, Failure> {
        match file.mesh.http.as_deref() {
            None => Ok(HttpAddress::Usual),
            Some("off") => Ok(HttpAddress::Off),
            Some(typed) => match typed.parse::<ListenAddress>() {
                Ok(address) => Ok(HttpAddress::At(address.socket())),
                Err(error) => {
                    let (place, typed) = ("`mesh.http`".to_owned(), shown(typed));
                    let error = adit_mesh::ConfigError { place, typed, problem: format!("{error}, or `off`") };
                    Err(Failure::MeshSetting { path: file.path.clone(), error })
                }
            },
        }
    }

    async fn bind(self) -> Result<Option<TcpListener>, Failure> {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|source| Failure::MeshHttp { address, source })
        };
        let usual = |port| SocketAddr::from(([127, 0, 0, 1], port));
        match self {
            HttpAddress::Off => Ok(None),
            HttpAddress::At(address) => bind(address).await.map(Some),
            HttpAddress::Usual => {
                for port in HTTP_PORT..HTTP_PORT + HTTP_PORTS {
                    match bind(usual(port)).await {
                        Err(Failure::MeshHttp { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {}
                        bound => return bound.map(Some),
                    }
                }
                bind(usual(0)).await.map(Some)
            }
        }
    }
}

/// Reads `forward:` of the file anew; one that cannot be used changes nothing.
fn reloading(mesh: Arc<Mesh>, started_with: ConfigFile) -> Reload {
    Arc::new(move || {
        let path = &started_with.path;
        if path.as_os_str().is_empty() {
            return Err("this agent was started without a configuration file; there is nothing to read anew".to_owned());
        }
        let file = config_file::load(Some(path), |_| None).map_err(|failure| failure.sentence())?;
        let wrong = |error| Failure::MeshSetting { path: path.clone(), error }.sentence();
        let forward = file.forward.check().map_err(wrong)?;
        mesh.reload(forward).map_err(|error| adit_jumphost::error_chain(&error))?;
        let needs_restart = started_with.mesh != file.mesh;
        tracing::info!(path = %path.display(), needs_restart, "the configuration was read anew");
        Ok(Reloaded { needs_restart })
    })
}

async fn follow_hangups(reload: Reload) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return tracing::error!("SIGHUP cannot be heard; `adit mesh reload` does the same");
    };
    while hangups.recv().await.is_some() {
        let reload = Arc::clone(&reload);
        let reloaded = tokio::task::spawn_blocking(move || reload()).await;
        if let Ok(Err(why)) = reloaded {
            tracing::error!(%why, "the configuration was not taken; all is as it was");
        }
    }
}
