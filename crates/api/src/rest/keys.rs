//! A member's keys.

use adit_jumphost::admin::{ClaimStatement, KeyRemoved, KeyView};
use adit_jumphost::member::{AddKey, AskClaimStatement, ClaimKey, RemoveKey};
use axum::Json;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::SignedIn;
use crate::gate::question::{Body, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(add))
        .routes(routes!(claim_statement))
        .routes(routes!(claim))
        .routes(routes!(remove))
}

/// Adds a key.
#[utoipa::path(post, path = "/me/keys", tag = "keys", request_body = AddKey, responses((status = 201, body = KeyView)))]
async fn add(
    SignedIn { member, .. }: SignedIn,
    Body(question): Body<AddKey>,
) -> Result<(StatusCode, Json<KeyView>), Refusal> {
    Ok((StatusCode::CREATED, Json(member.call(question).await?)))
}

/// What has to be signed to take over a key that another account holds.
#[utoipa::path(
    post, path = "/me/keys/claim-statement", tag = "keys", request_body = AskClaimStatement,
    responses((status = 200, body = ClaimStatement))
)]
async fn claim_statement(
    SignedIn { member, .. }: SignedIn,
    Body(question): Body<AskClaimStatement>,
) -> Result<Json<ClaimStatement>, Refusal> {
    Ok(Json(member.call(question).await?))
}

/// Takes over a key, with the signature.
#[utoipa::path(
    post, path = "/me/keys/claim", tag = "keys", request_body = ClaimKey, responses((status = 200, body = KeyView))
)]
async fn claim(SignedIn { member, .. }: SignedIn, Body(question): Body<ClaimKey>) -> Result<Json<KeyView>, Refusal> {
    Ok(Json(member.call(question).await?))
}

/// Removes a key, and cuts the sessions that logged in with it.
#[utoipa::path(
    delete, path = "/me/keys/{fingerprint}", tag = "keys", params(("fingerprint" = String, Path)),
    responses((status = 200, body = KeyRemoved))
)]
async fn remove(
    SignedIn { member, .. }: SignedIn,
    Named(fingerprint): Named<String>,
) -> Result<Json<KeyRemoved>, Refusal> {
    Ok(Json(member.call(RemoveKey { fingerprint }).await?))
}
