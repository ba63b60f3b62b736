//! Front doors. The only room that speaks HTTP and JSON over it; what is asked and answered is decided in the roles.
//!
//! | File | Does |
//! |---|---|
//! | [`control`] | the administrator's commands, over a socket in the data folder that only its owner can open |
//! | [`agent`] | the door of the local agent |
//! | [`mcp`] | the door for language models |
//! | [`mesh`] | the door of a mesh agent |
//! | `connections` | TCP connections to the web address, and their bounds |
//! | `gate` | whether a request was meant for us, and who asks |
//! | [`head`] | two of its headers, read |
//! | `rest`, `events` | what the page and programs ask |
//! | `oidc` | signing in with an account of elsewhere |
//! | `assets` | the page |
//! | `web` | all of it together, with `/health` and `/metrics`; the jump host's |
//!
//! Every error has one shape, `{"error": "a sentence", "code": "a-stable-name"}`.

pub mod agent;
mod assets;
mod connections;
pub mod control;
mod events;
mod failure;
mod gate;
pub mod head;
pub mod mcp;
pub mod mesh;
mod oidc;
mod rest;
mod web;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_jumphost::JumpHost;
use adit_jumphost::server::Doors;
use adit_jumphost::signin::token::Token;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use events::Streams;
use gate::Gate;
use gate::origin::{Origin, OwnOrigins};
use oidc::Oidc;
use web::App;

pub use failure::Failure;

/// A request under way is answered in this time; one that is not may go with the process.
const STOP_TIME: Duration = Duration::from_secs(1);

/// The doors, being served.
#[derive(Debug)]
#[must_use = "the doors are to be stopped"]
pub struct Serving {
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Serves the doors of a jump host until [`Serving::stop`].
pub fn serve(host: &JumpHost, doors: Doors) -> Serving {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(control::serve(doors.control, host.admin(), stop.clone()));
    let app = App {
        sign_in: host.sign_in(),
        oidc: provider(host, doors.oidc_secret).map(Arc::new),
        streams: Streams::default(),
        metrics: host.metrics(),
        stopping: host.stopping(),
    };
    let router = web::router(app, gate(host));
    let proxies = host.config().web_trusted_proxies.clone();
    tasks.spawn(connections::serve(doors.web, doors.allow_networks, proxies, router, stop.clone()));
    Serving { tasks, stop }
}

/// The API's document (OpenAPI 3.1), as `crates/api/openapi.json` has it.
#[must_use]
pub fn openapi() -> String {
    rest::document()
}

fn gate(host: &JumpHost) -> Gate {
    let (config, addresses) = (host.config(), host.addresses());
    let url = config.web_url.as_ref().and_then(|url| Origin::parse(url.as_str()));
    let own = OwnOrigins::new(addresses.web, &addresses.advertise, url.as_ref(), &config.web_hosts);
    let dashboard = Origin::parse(&addresses.dashboard);
    if dashboard.is_some_and(|dashboard| !dashboard.is_trustworthy()) {
        tracing::warn!(
            address = addresses.dashboard,
            "the dashboard has no TLS: passwords and cookies can be read on the way; put a proxy with TLS before it (web_url)"
        );
    }
    let only_tls = url.is_some_and(|url| url.is_https());
    Gate::new(own, only_tls, config.web_trusted_proxies.clone(), web::is_open_to_other_sites)
}

/// Without root certificates the other ways to sign in still work.
fn provider(host: &JumpHost, client_secret: Option<Token>) -> Option<Oidc> {
    let config = host.config().oidc.as_ref()?;
    let settings = oidc::Settings { issuer: config.issuer.clone(), client_id: config.client_id.clone(), client_secret };
    let oidc = Oidc::new(settings);
    oidc.inspect_err(|error: &io::Error| tracing::error!(%error, "no sign-in with OpenID: no root certificates")).ok()
}

impl Serving {
    /// Answers the requests under way, takes no new ones, and returns when the sockets are closed.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(STOP_TIME, self.tasks.wait()).await.is_err() {
            tracing::debug!("an idle HTTP connection goes with the process");
        }
    }
}
