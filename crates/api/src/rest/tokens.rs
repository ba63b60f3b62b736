//! A member's API tokens.

use adit_jumphost::member::{TokenAdd, TokenList, TokenMade, TokenRemove, TokenView};
use axum::Json;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::SignedIn;
use crate::gate::question::{Body, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(remove))
}

/// The tokens, without their secrets.
#[utoipa::path(get, path = "/me/tokens", tag = "tokens", responses((status = 200, body = [TokenView])))]
async fn list(SignedIn { member, .. }: SignedIn) -> Result<Json<Vec<TokenView>>, Refusal> {
    Ok(Json(member.call(TokenList {}).await?))
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/me/tokens", tag = "tokens", request_body = TokenAdd, responses((status = 201, body = TokenMade))
)]
async fn add(
    SignedIn { member, .. }: SignedIn,
    Body(question): Body<TokenAdd>,
) -> Result<(StatusCode, Json<TokenMade>), Refusal> {
    Ok((StatusCode::CREATED, Json(member.call(question).await?)))
}

/// Ends a token.
#[utoipa::path(
    delete, path = "/me/tokens/{id}", tag = "tokens", params(("id" = String, Path)), responses((status = 204))
)]
async fn remove(SignedIn { member, .. }: SignedIn, Named(id): Named<String>) -> Result<StatusCode, Refusal> {
    member.call(TokenRemove { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
