//! Signing in and out with a password.

use adit_jumphost::signin::token::Token;
use adit_jumphost::signin::{PasswordSignIn, SignInView, WebSessionView};
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::begin;
use crate::failure::Refusal;
use crate::gate::Passed;
use crate::gate::caller::{Credential, SignedIn, Visitor};
use crate::gate::cookie::Purpose;
use crate::gate::question::Body;
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ways_in))
        .routes(routes!(session, sign_in, sign_out))
        .routes(routes!(end_replaced))
}

/// The session that went on in this browser before the present one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplacedSession {
    /// Its key.
    csrf: Token,
}

/// What the sign-in page shows.
#[utoipa::path(get, path = "/sign-in", tag = "sign-in", responses((status = 200, body = SignInView)))]
async fn ways_in(State(app): State<App>) -> Result<Json<SignInView>, Refusal> {
    Ok(Json(app.sign_in.view().await?))
}

/// The session of this caller, without its `csrf`, which only the beginning of a session tells.
#[utoipa::path(get, path = "/session", tag = "sign-in", responses((status = 200, body = WebSessionView)))]
async fn session(SignedIn { member, .. }: SignedIn) -> Json<WebSessionView> {
    Json(member.session_view())
}

/// Signs in. The browser's session, if it had one and shows its `x-csrf-token`, is replaced.
#[utoipa::path(
    post, path = "/session", tag = "sign-in", request_body = PasswordSignIn, responses((status = 200, body = WebSessionView))
)]
async fn sign_in(
    State(app): State<App>,
    Visitor { visit, origin }: Visitor,
    Body(question): Body<PasswordSignIn>,
) -> Result<Response, Refusal> {
    Ok(begin(&origin, app.sign_in.with_password(question, visit).await?))
}

/// Signs out, on the server.
#[utoipa::path(delete, path = "/session", tag = "sign-in", responses((status = 204)))]
async fn sign_out(
    State(app): State<App>,
    Extension(Passed { origin, client }): Extension<Passed>,
    SignedIn { credential, .. }: SignedIn,
) -> Result<Response, Refusal> {
    let Credential::Session(proof) = credential else {
        let told = "an API token has no session; delete the token to end it";
        return Err(Refusal::new(StatusCode::FORBIDDEN, told, "scope"));
    };
    app.sign_in.sign_out(&proof.token, client).await?;
    let forget = Purpose::Session.clear(&origin).map(|cookie| (SET_COOKIE, cookie));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(forget)).into_response())
}

/// Ends the session whose place this one has taken in the same browser, where only its key is left. The way back from an OpenID provider
/// is such a one: it brings a new cookie, and no key. Whether there was one is not told.
#[utoipa::path(
    post, path = "/session/replaced", tag = "sign-in", request_body = ReplacedSession, responses((status = 204))
)]
async fn end_replaced(
    State(app): State<App>,
    SignedIn { member, .. }: SignedIn,
    Body(replaced): Body<ReplacedSession>,
) -> Result<StatusCode, Refusal> {
    app.sign_in.end_replaced(&member, &replaced.csrf).await?;
    Ok(StatusCode::NO_CONTENT)
}
