//! Links that make an account or set a password. The token comes in the body: a path would be in somebody's log.

use adit_jumphost::signin::{InvitationAccept, InvitationLook, InvitationLookView, WebSessionView};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::begin;
use crate::failure::Refusal;
use crate::gate::caller::Visitor;
use crate::gate::question::Body;
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(look)).routes(routes!(accept))
}

/// What a link does, without using it.
#[utoipa::path(
    post, path = "/invitation/look", tag = "sign-in", request_body = InvitationLook,
    responses((status = 200, body = InvitationLookView))
)]
async fn look(
    State(app): State<App>,
    Body(question): Body<InvitationLook>,
) -> Result<Json<InvitationLookView>, Refusal> {
    Ok(Json(app.sign_in.look_at_invitation(&question).await?))
}

/// Uses a link, and signs in.
#[utoipa::path(
    post, path = "/invitation/accept", tag = "sign-in", request_body = InvitationAccept,
    responses((status = 200, body = WebSessionView))
)]
async fn accept(
    State(app): State<App>,
    Visitor { visit, origin }: Visitor,
    Body(question): Body<InvitationAccept>,
) -> Result<Response, Refusal> {
    Ok(begin(&origin, app.sign_in.accept_invitation(question, visit).await?))
}
