//! Links that were made and not yet used.

use adit_jumphost::admin::{InvitationAdd, InvitationList, InvitationMade, InvitationRemove, InvitationView};
use axum::Json;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::Administrator;
use crate::gate::question::{Body, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(remove))
}

/// The links, without their secrets.
#[utoipa::path(get, path = "/invitations", tag = "administration", responses((status = 200, body = [InvitationView])))]
async fn list(Administrator(admin): Administrator) -> Result<Json<Vec<InvitationView>>, Refusal> {
    Ok(Json(admin.call(InvitationList {}).await?))
}

/// Makes a link. Its secret is in this answer and nowhere else. Not for API tokens: a link makes what outlives them.
#[utoipa::path(
    post, path = "/invitations", tag = "administration", request_body = InvitationAdd,
    responses((status = 201, body = InvitationMade))
)]
async fn add(
    Administrator(admin): Administrator,
    Body(question): Body<InvitationAdd>,
) -> Result<(StatusCode, Json<InvitationMade>), Refusal> {
    Ok((StatusCode::CREATED, Json(admin.call(question).await?)))
}

/// Revokes a link.
#[utoipa::path(
    delete, path = "/invitations/{id}", tag = "administration", params(("id" = String, Path)), responses((status = 204))
)]
async fn remove(Administrator(admin): Administrator, Named(id): Named<String>) -> Result<StatusCode, Refusal> {
    admin.call(InvitationRemove { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
