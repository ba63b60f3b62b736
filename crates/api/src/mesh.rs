//! The door of a mesh agent: who is reached, which listener leads where, as JSON and on the page.
//!
//! Whoever is on this machine may look, as the documents have it (`curl http://localhost:8080/api/dashboard`): what is shown are names,
//! addresses and ways, and no secret. What changes or tries something takes the token of the agent's folder.

mod metrics;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_core::mesh::{Protocol, RoutingKey, UnknownProtocol};
use adit_jumphost::config::Networks;
use adit_mesh::Mesh;
use adit_mesh::view::{Dashboard, ProbeView};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agent::{AccessToken, KeptToken};
use crate::failure::{Failure, Refusal};
use crate::gate::origin::{Foreign, OwnOrigins};
use crate::gate::question::Body;
use crate::gate::{self as every_gate, Gate};
use crate::web::{Area, Health};
use crate::{Serving, assets, connections, events, rest};

/// Pages and programs that watch at a time.
const STREAMS: usize = 64;
/// Counters change without news, and are shown anew this often.
const PACE: Duration = Duration::from_secs(2);
/// News come together: a mesh that changes is shown at this pace.
const SETTLE: Duration = Duration::from_millis(250);
/// The page takes 12 s of silence for an agent that hangs.
const COMMENT_INTERVAL: Duration = Duration::from_secs(5);

/// Reads the configuration anew, for whoever asks for it; what went wrong is a sentence.
pub type Reload = Arc<dyn Fn() -> Result<Reloaded, String> + Send + Sync>;

/// What the answers are made from.
#[derive(Clone)]
struct Door {
    mesh: Arc<Mesh>,
    reload: Reload,
    streams: Arc<Semaphore>,
    stopping: CancellationToken,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "adit mesh agent",
        version = "1",
        description = "What is looked at takes no token; what changes or tries something sends `Authorization: Bearer TOKEN`, \
                       with the text of the file `token` in the agent's folder.",
        license(name = "Apache-2.0 OR MIT")
    ),
    components(schemas(Failure))
)]
struct Description;

/// Serves a mesh agent until [`Serving::stop`]. The listener is to stand on a loopback address.
///
/// # Errors
/// The listener stands elsewhere, or does not say where.
pub fn serve(mesh: Arc<Mesh>, reload: Reload, listener: TcpListener, token: &KeptToken) -> io::Result<Serving> {
    let address = connections::loopback_address(&listener)?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let own = OwnOrigins::new(address, "localhost", None, &[]);
    let gate = Gate::new(own, false, Networks::default(), |path| path == "/");
    let door = Door { mesh, reload, streams: Arc::new(Semaphore::new(STREAMS)), stopping: stop.clone() };
    let router = router(door, gate, token.token().clone());
    tasks.spawn(connections::serve_programs(listener, router, stop.clone()));
    Ok(Serving { tasks, stop })
}

/// The API's document (OpenAPI 3.1), as `crates/api/mesh-openapi.json` has it.
#[must_use]
pub fn openapi() -> String {
    rest::text_of(&routes().2)
}

fn router(door: Door, gate: Gate, token: AccessToken) -> Router {
    let (open, guarded, _) = routes();
    let open = open
        .route("/metrics", get(metrics::show))
        .route("/health", get(health))
        .method_not_allowed_fallback(wrong_method)
        .fallback(page_or_nothing);
    let guarded = guarded.method_not_allowed_fallback(wrong_method).layer(from_fn_with_state(token, identify));
    open.merge(guarded)
        .layer(from_fn_with_state(gate.clone(), pass))
        .layer(from_fn_with_state(gate, every_gate::add_headers))
        .with_state(door)
}

/// What is open, what takes the token, and the document of both.
fn routes() -> (Router<Door>, Router<Door>, utoipa::openapi::OpenApi) {
    let open = OpenApiRouter::with_openapi(Description::openapi()).routes(routes!(dashboard)).routes(routes!(stream));
    let guarded = OpenApiRouter::new().routes(routes!(probe)).routes(routes!(reload)).routes(routes!(revoke));
    let (open, mut document) = open.split_for_parts();
    let (guarded, described) = guarded.split_for_parts();
    document.merge(described);
    rest::complete(&mut document, "");
    let served = document.clone();
    (open.route("/api/openapi.json", get(async move || Json(served))), guarded, document)
}

/// Lets a request through that was meant for this agent.
async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (told, code) = match gate.check(&request) {
        Ok(_) => return next.run(request).await,
        Err(Foreign::Host) => {
            ("the agent is not known by that name; use the address it printed at its start", "foreign-host")
        }
        Err(Foreign::Origin) => ("a page of another site may not ask the agent", "foreign-origin"),
    };
    Refusal::new(StatusCode::FORBIDDEN, told, code).into_response()
}

async fn identify(State(token): State<AccessToken>, request: Request, next: Next) -> Response {
    if token.is_in(request.headers()) {
        return next.run(request).await;
    }
    let told = "the agent's token is missing or wrong: send `Authorization: Bearer TOKEN`, with the text of the file `token` in its folder";
    let mut response = Refusal::new(StatusCode::UNAUTHORIZED, told, "unauthorized").into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

async fn health(State(door): State<Door>) -> Response {
    Health::of(&[Area::Mesh], &door.stopping)
}

async fn page_or_nothing(request: Request) -> Response {
    let told = "there is no such path; /api/openapi.json says which there are";
    assets::serve(&request).unwrap_or_else(|| Refusal::new(StatusCode::NOT_FOUND, told, "not-found").into_response())
}

async fn wrong_method() -> Response {
    let told = "this is not asked with that method; /api/openapi.json says how it is";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, told, "wrong-method").into_response()
}

/// All that the agent shows: itself, its links, the agents that it can reach, and every listener with every endpoint of its key.
#[utoipa::path(get, path = "/api/dashboard", tag = "mesh", responses((status = 200, body = Dashboard)))]
async fn dashboard(State(door): State<Door>) -> Json<Dashboard> {
    Json(door.mesh.dashboard())
}

/// The same as it changes: events `dashboard`, the first at once, then with each change and every 2 s; a comment every 5 s.
#[utoipa::path(
    get, path = "/api/events", tag = "mesh", responses((status = 200, body = String, content_type = "text/event-stream"))
)]
async fn stream(State(door): State<Door>) -> Result<Response, Refusal> {
    let place = Arc::clone(&door.streams).try_acquire_owned().map_err(|_| {
        let told = format!("there are {STREAMS} event streams already; try again when one of them has ended");
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, told, "too-many-streams")
    })?;
    let revisions = door.mesh.revisions();
    let watch = Watch { mesh: door.mesh, revisions, last: None, stopping: door.stopping, _place: place };
    let events = unfold(watch, async |mut watch| {
        let event = watch.next().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    Ok(events::answer(events, COMMENT_INTERVAL))
}

/// One page that watches.
struct Watch {
    mesh: Arc<Mesh>,
    revisions: watch::Receiver<u64>,
    last: Option<Instant>,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    async fn next(&mut self) -> Option<Event> {
        if let Some(last) = self.last {
            tokio::select! {
                changed = self.revisions.changed() => {
                    changed.ok()?;
                    tokio::time::sleep_until(last + SETTLE).await;
                }
                () = tokio::time::sleep_until(last + PACE) => {}
                () = self.stopping.cancelled() => return None,
            }
        }
        self.revisions.mark_unchanged();
        self.last = Some(Instant::now());
        let event = Event::default().event("dashboard").json_data(self.mesh.dashboard());
        event.inspect_err(|error| tracing::error!(%error, "an event cannot be written")).ok()
    }
}

/// Which key is to be tried.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeQuestion {
    /// The routing key.
    pub key: String,
    /// What the endpoint speaks: `tcp` (as without it) or `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// Sees whether a connection for a key would find its target now, and on which way.
#[utoipa::path(
    post, path = "/api/mesh/probe", tag = "mesh", request_body = ProbeQuestion, responses((status = 200, body = ProbeView))
)]
async fn probe(
    State(door): State<Door>,
    Body(ProbeQuestion { key, protocol }): Body<ProbeQuestion>,
) -> Result<Json<ProbeView>, Refusal> {
    let key: RoutingKey = key.parse().map_err(|error: adit_core::mesh::BadWord| invalid(&error.to_string()))?;
    let protocol = protocol.as_deref().map_or(Ok(Protocol::default()), str::parse);
    let protocol = protocol.map_err(|error: UnknownProtocol| invalid(&format!("`protocol`: {error}")))?;
    let probed = door.mesh.probe(&key, protocol).await;
    probed.map(Json).map_err(|why| Refusal::new(StatusCode::BAD_GATEWAY, why, "unreachable"))
}

/// What the file says of `forward:` is in force.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Whether something else has changed under `mesh:`, which an agent reads when it starts.
    pub needs_restart: bool,
}

/// Reads `forward:` of the configuration file anew. One that cannot be used changes nothing.
#[utoipa::path(post, path = "/api/mesh/reload", tag = "mesh", responses((status = 200, body = Reloaded)))]
async fn reload(State(door): State<Door>) -> Result<Json<Reloaded>, Refusal> {
    let reloaded = tokio::task::spawn_blocking(move || (door.reload)()).await;
    let outcome = reloaded.unwrap_or_else(|error| Err(error.to_string()));
    outcome.map(Json).map_err(|why| Refusal::new(StatusCode::CONFLICT, why, "bad-config"))
}

/// The root's list of revoked invitations.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationList {
    /// As `adit mesh revoke` has written it, in hexadecimal digits.
    pub list: String,
}

/// The list was taken.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ListTaken {
    /// Whether it was news.
    pub changed: bool,
}

/// Takes the root's list of revoked invitations, and passes it on to the whole mesh.
#[utoipa::path(
    post, path = "/api/mesh/revocations", tag = "mesh", request_body = RevocationList, responses((status = 200, body = ListTaken))
)]
async fn revoke(
    State(door): State<Door>,
    Body(RevocationList { list }): Body<RevocationList>,
) -> Result<Json<ListTaken>, Refusal> {
    let bytes = adit_mesh::enrolment::list_from_text(&list).ok_or_else(|| invalid("this is no list of revocations"))?;
    let taken = door.mesh.revoke(&bytes);
    taken.map(|changed| Json(ListTaken { changed })).map_err(|why| invalid(&format!("the list is not taken: {why}")))
}

fn invalid(told: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, told, "bad-request")
}
