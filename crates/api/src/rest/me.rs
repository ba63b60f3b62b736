//! A member's account: all of it at a glance, and its password.

use adit_jumphost::member::{ChangePassword, MeView, Overview};
use axum::Json;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::SignedIn;
use crate::gate::question::Body;
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(overview)).routes(routes!(change_password))
}

/// The account with its keys, and how to connect.
#[utoipa::path(get, path = "/me", tag = "account", responses((status = 200, body = MeView)))]
async fn overview(SignedIn { member, .. }: SignedIn) -> Result<Json<MeView>, Refusal> {
    Ok(Json(member.call(Overview {}).await?))
}

/// Changes the password, and ends the account's other sessions.
#[utoipa::path(put, path = "/me/password", tag = "account", request_body = ChangePassword, responses((status = 204)))]
async fn change_password(
    SignedIn { member, .. }: SignedIn,
    Body(question): Body<ChangePassword>,
) -> Result<StatusCode, Refusal> {
    member.call(question).await?;
    Ok(StatusCode::NO_CONTENT)
}
