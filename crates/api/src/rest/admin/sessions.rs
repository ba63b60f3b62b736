//! Everybody's live SSH sessions.

use adit_jumphost::admin::{Kick, Kicked, SessionPage, SessionSearch};
use axum::Json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::Administrator;
use crate::gate::question::{Filter, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(end))
}

/// The live sessions, the oldest first.
#[utoipa::path(
    get, path = "/sessions", tag = "administration",
    params(
        ("q" = Option<String>, Query, description = "Only with this in it."),
        ("offset" = Option<usize>, Query), ("limit" = Option<usize>, Query)
    ),
    responses((status = 200, body = SessionPage))
)]
async fn list(
    Administrator(admin): Administrator,
    Filter(search): Filter<SessionSearch>,
) -> Result<Json<SessionPage>, Refusal> {
    Ok(Json(admin.call(search).await?))
}

/// Ends a session.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "administration", params(("id" = u64, Path)),
    responses((status = 200, body = Kicked))
)]
async fn end(Administrator(admin): Administrator, Named(session): Named<u64>) -> Result<Json<Kicked>, Refusal> {
    Ok(Json(admin.call(Kick { session }).await?))
}
