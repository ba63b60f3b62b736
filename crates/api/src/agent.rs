//! The door of the local agent: saved tunnels, profiles, jump hosts and sessions as JSON, and how all of it stands.
//!
//! | File | Does |
//! |---|---|
//! | `gate` | which requests were meant for us, and whether they bring the token |
//! | `page` | how a browser comes by the token, and how it is exchanged |
//! | `question`, `names`, `forward` | what is asked, and what several records have in common |
//! | `tunnels`, `profiles`, `jump_hosts`, `sessions` | the saved records |
//! | `running`, `trial` | tunnels that start and stop, and what they carry; a trial of their way |
//! | `hosts`, `secrets`, `settings` | host keys to be judged, the vault, what holds for all |
//! | `events`, `metrics` | what changes, and what can be counted |
//! | `refusal` | which status and code each error has |
//! | `whereabouts`, [`client`] | how programs of this machine find the agent and ask it |
//! | [`view`] | what is answered, for those who read it |
//!
//! What may be saved and what runs is decided in `adit_agent`. Paths have no prefix: programs that know them from elsewhere go on.

pub mod client;
mod events;
mod forward;
mod gate;
mod hosts;
mod import;
mod jump_hosts;
mod metrics;
mod names;
mod page;
mod profiles;
mod question;
mod refusal;
mod running;
mod secrets;
mod sessions;
mod settings;
mod trial;
mod tunnels;
mod whereabouts;

use std::io;

use adit_agent::agent::Agent;
use adit_jumphost::config::Networks;
use adit_store::agent::{Record, Saved};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Failure;
use crate::gate::Gate;
use crate::gate::origin::OwnOrigins;
use crate::web::{Area, Health};
use crate::{Serving, assets, connections, gate as every_gate, rest};
use page::Entry;
use refusal::Denied;
use whereabouts::url_of;

pub(crate) use gate::AccessToken;
pub use gate::BadToken;
pub use whereabouts::{Addresses, KeptToken, TokenError, token_at, token_of};

/// What the agent answers.
pub mod view {
    pub use super::forward::{ForwardView, JumpView};
    pub use super::hosts::{KnownKeyView, UnknownHost};
    pub use super::import::{ImportedHost, LeftOutPart, SshHosts};
    pub use super::jump_hosts::JumpHostView;
    pub use super::names::{ForwardKind, LoginMethod, UnknownHosts};
    pub use super::page::PageCode;
    pub use super::profiles::ProfileView;
    pub use super::refusal::RecordName;
    pub use super::running::{ConnectionView, LogEntry, RunState, TunnelState};
    pub use super::secrets::{KeyLies, SecretsView};
    pub use super::sessions::{SessionForwardView, SessionRecord, SessionRow, SessionState};
    pub use super::settings::SettingsView;
    pub use super::trial::{StepView, TrialFailed, TrialView};
    pub use super::tunnels::{TunnelRecord, TunnelRow};
}

/// What the answers are made from.
#[derive(Debug, Clone)]
struct Door {
    agent: Agent,
    /// Cancelled when the door closes.
    stopping: CancellationToken,
    streams: events::Streams,
    entry: Entry,
}

impl Door {
    /// A record as it is saved.
    async fn saved<R: Record>(&self, id: &str) -> Result<Saved<R>, Denied> {
        let found = self.agent.store().get::<R>(id).await?;
        found.ok_or_else(|| Denied::not_found(R::KIND, id))
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "adit agent",
        version = "1",
        description = "Times are Unix milliseconds, sizes bytes. Every request sends `Authorization: Bearer TOKEN`, but \
                       `GET /health`, the files of the page and `POST /page/enter`. \
                       In a change, a field that is not there stays as it is, and `null` takes its value away.",
        license(name = "Apache-2.0 OR MIT")
    ),
    components(schemas(Failure, refusal::InUse, trial::TrialFailed))
)]
struct Description;

/// Serves an agent until [`Serving::stop`]. The listener is to stand on a loopback address: the token is all that guards it, and it
/// has no TLS.
///
/// # Errors
/// The listener stands elsewhere, or does not say where.
pub fn serve(agent: Agent, listener: TcpListener, token: KeptToken) -> io::Result<Serving> {
    let address = connections::loopback_address(&listener)?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let own = OwnOrigins::by_address();
    // Nothing of it is for other sites to link to.
    let gate = Gate::new(own, false, Networks::default(), |_| false);
    let entry = Entry::new(token, url_of(address));
    let door = Door { agent, stopping: stop.clone(), streams: events::Streams::default(), entry };
    let router = router(door, gate, tasks.clone());
    tasks.spawn(connections::serve_programs(listener, router, stop.clone()));
    Ok(Serving { tasks, stop })
}

/// The API's document (OpenAPI 3.1), as `crates/api/agent-openapi.json` has it.
#[must_use]
pub fn openapi() -> String {
    rest::text_of(&routes().document)
}

/// All of it, behind its gate.
fn router(door: Door, gate: Gate, tasks: TaskTracker) -> Router {
    let Routes { guarded, open, .. } = routes();
    let guarded = guarded
        .route("/metrics", get(metrics::show))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing)
        .layer(from_fn_with_state(tasks, finish))
        .layer(from_fn_with_state(door.entry.current().clone(), gate::identify));
    let open = open
        .route("/health", get(health))
        .route("/", get(page_file))
        .route("/assets/{*path}", get(page_file))
        .method_not_allowed_fallback(wrong_method);
    guarded
        .merge(open)
        .layer(from_fn_with_state(gate.clone(), gate::pass))
        .layer(from_fn_with_state(gate, every_gate::add_headers))
        .with_state(door)
}

/// What can be asked.
struct Routes {
    /// With the token.
    guarded: Router<Door>,
    /// Without.
    open: Router<Door>,
    /// Describes them.
    document: utoipa::openapi::OpenApi,
}

fn routes() -> Routes {
    let guarded = OpenApiRouter::with_openapi(Description::openapi())
        .merge(tunnels::routes())
        .merge(running::routes())
        .merge(trial::routes())
        .merge(profiles::routes())
        .merge(jump_hosts::routes())
        .merge(sessions::routes())
        .merge(hosts::routes())
        .merge(import::routes())
        .merge(settings::routes())
        .merge(secrets::routes())
        .merge(page::routes())
        .routes(routes!(events::stream));
    let (guarded, mut document) = guarded.split_for_parts();
    let (open, described) = page::open_routes().split_for_parts();
    document.merge(described);
    rest::complete(&mut document, "");
    let served = document.clone();
    Routes { guarded: guarded.route("/openapi.json", get(async move || Json(served))), open, document }
}

/// What changes something is done to its end, also when its client does not wait for it: a half of a change is none that anybody asked
/// for.
async fn finish(State(tasks): State<TaskTracker>, request: Request, next: Next) -> Response {
    // A trial changes nothing: who hangs up gives it up.
    if request.method().is_safe() || request.uri().path().ends_with("/test") {
        return next.run(request).await;
    }
    match tasks.spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => Denied::internal(&error).into_response(),
    }
}

async fn health(State(door): State<Door>) -> Response {
    Health::of(&[Area::Agent], &door.stopping)
}

/// A file of the page, which tells nothing of anybody.
async fn page_file(request: Request) -> Response {
    match assets::serve(&request) {
        Some(file) => file,
        None => nothing().await,
    }
}

async fn nothing() -> Response {
    Denied::new(StatusCode::NOT_FOUND, "there is no such path; /openapi.json says which there are").into_response()
}

async fn wrong_method() -> Response {
    let told = "this is not asked with that method; /openapi.json says how it is";
    Denied::new(StatusCode::METHOD_NOT_ALLOWED, told).into_response()
}
