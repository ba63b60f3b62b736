//! The web address: the page, its API, and beside them `/health` for whoever restarts us and `/metrics` for Prometheus, which tell
//! no names, ports or addresses.

use std::sync::Arc;

use adit_jumphost::metrics::Metrics;
use adit_jumphost::signin::SignIn;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::assets;
use crate::events::Streams;
use crate::failure::Failure;
use crate::gate::{self, Gate};
use crate::oidc::Oidc;
use crate::rest;

/// The type of `Metrics::to_text` (OpenMetrics 1.0), which Prometheus reads since 2.5.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the answers are made from. There is no way from here to what somebody owns: that is what a caller brings.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) sign_in: SignIn,
    pub(crate) oidc: Option<Arc<Oidc>>,
    pub(crate) streams: Streams,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when the jump host takes no new work.
    pub(crate) stopping: CancellationToken,
}

/// All of it, behind its gate.
pub(crate) fn router(app: App, gate: Gate) -> Router {
    let (api, _) = rest::routes();
    let guarded = api
        .method_not_allowed_fallback(wrong_method)
        .fallback(page_or_nothing)
        .layer(from_fn_with_state(gate.clone(), gate::pass));
    let open = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(wrong_method);
    guarded.merge(open).layer(from_fn_with_state(gate, gate::add_headers)).with_state(app)
}

/// A link to the page may stand anywhere, and the OpenID provider sends people back from its own site.
pub(crate) fn is_open_to_other_sites(path: &str) -> bool {
    !path.starts_with("/api/") || path == rest::oidc::CALLBACK
}

/// A file of the page, or that there is nothing.
async fn page_or_nothing(request: Request) -> Response {
    assets::serve(&request).unwrap_or_else(Failure::not_found)
}

async fn wrong_method() -> Response {
    let told = "this is not asked with that method; /api/v1/openapi.json says how it is";
    Failure::new(told, "wrong-method").respond(StatusCode::METHOD_NOT_ALLOWED)
}

/// What a process serves. One page is made for all of it, and asks which of its areas to show.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    Jumphost,
    Agent,
    Mesh,
}

/// How it stands, for whoever restarts us and for the page.
#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    version: &'static str,
    areas: &'static [Area],
}

async fn health(State(app): State<App>) -> Response {
    Health::of(&[Area::Jumphost], &app.stopping)
}

impl Health {
    /// 200 while it serves, 503 while it stops: a load balancer sends nobody here any more.
    pub(crate) fn of(areas: &'static [Area], stopping: &CancellationToken) -> Response {
        let (code, status) = match stopping.is_cancelled() {
            false => (StatusCode::OK, "serving"),
            true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        (code, Json(Health { status, version: env!("CARGO_PKG_VERSION"), areas })).into_response()
    }
}

async fn metrics(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], app.metrics.to_text()).into_response()
}
