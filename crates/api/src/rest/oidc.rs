//! The two addresses of a sign-in at an OpenID provider. Both lead on to a page: who comes here is a browser, not a script.

use adit_jumphost::admin::Fault;
use adit_jumphost::error_chain;
use adit_jumphost::signin::OidcClaims;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use axum::response::{AppendHeaders, IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::Passed;
use crate::gate::cookie::Purpose;
use crate::gate::origin::Origin;
use crate::gate::question::Filter;
use crate::oidc::{Callback, FLOW_TIME, FlowSecret, Oidc, OidcError};
use crate::web::App;

/// Where the provider sends people back to; to be entered there as this server's redirect URI.
pub(crate) const CALLBACK: &str = "/api/v1/oidc/callback";

/// The page, once somebody is signed in: it keeps the session's key and leads on. What stands behind the `#` goes to no server.
const SIGNED_IN: &str = "/#/signed-in?key=";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(start)).routes(routes!(callback))
}

/// Leads to the provider.
#[utoipa::path(get, path = "/oidc/start", tag = "sign-in", responses((status = 303)))]
async fn start(
    State(app): State<App>,
    Extension(Passed { origin, .. }): Extension<Passed>,
) -> Result<Response, Refusal> {
    let oidc = provider(&app)?;
    Ok(match oidc.start(&redirect_uri(&origin)).await {
        Ok(start) => {
            let cookie = Purpose::SignIn.set(&origin, start.secret.as_cookie(), FLOW_TIME);
            lead_to(&start.location, cookie.into_iter().collect())
        }
        Err(error) => back_with(&error, Vec::new()),
    })
}

/// Signs in whom the provider vouches for.
#[utoipa::path(get, path = "/oidc/callback", tag = "sign-in", params(Callback), responses((status = 303)))]
async fn callback(
    State(app): State<App>,
    Extension(Passed { origin, client }): Extension<Passed>,
    headers: HeaderMap,
    Filter(answer): Filter<Callback>,
) -> Result<Response, Refusal> {
    let oidc = provider(&app)?;
    let secrets = Purpose::SignIn.read(&origin, &headers).into_iter().map(FlowSecret::from_cookie);
    // A secret serves one sign-in, however it ends.
    let forget = Purpose::SignIn.clear(&origin);
    let person = match oidc.finish(secrets.collect(), answer, &redirect_uri(&origin)).await {
        Ok(person) => person,
        Err(error) => return Ok(back_with(&error, forget.into_iter().collect())),
    };
    let claims = OidcClaims {
        issuer: oidc.issuer().to_owned(),
        subject: person.subject,
        suggested_name: person.preferred_username.or(person.email),
    };
    Ok(match app.sign_in.with_oidc(&claims, client).await {
        Ok(begun) => {
            let session = Purpose::Session.set(&origin, begun.token.as_str(), begun.lifetime);
            let page = format!("{SIGNED_IN}{}", begun.key.as_str());
            lead_to(&page, session.into_iter().chain(forget).collect())
        }
        Err(error) => {
            tracing::info!(error = error_chain(&error), "nobody was signed in by the OpenID provider");
            lead_to(&sign_in_page(error.code()), forget.into_iter().collect())
        }
    })
}

fn provider(app: &App) -> Result<&Oidc, Refusal> {
    let told = "no OpenID provider is set up here; sign in with a password";
    app.oidc.as_deref().ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, told, "no-oidc"))
}

fn redirect_uri(origin: &Origin) -> String {
    format!("{origin}{CALLBACK}")
}

/// The page says in its own words what the code means; the log has the cause.
fn back_with(error: &OidcError, cookies: Vec<HeaderValue>) -> Response {
    tracing::warn!(error = error_chain(error), "a sign-in at the OpenID provider failed");
    lead_to(&sign_in_page(error.code()), cookies)
}

fn sign_in_page(code: &str) -> String {
    format!("/#/sign-in?error={code}")
}

fn lead_to(place: &str, cookies: Vec<HeaderValue>) -> Response {
    let Ok(place) = HeaderValue::from_str(place) else {
        return Refusal::new(
            StatusCode::BAD_GATEWAY,
            "the OpenID provider's address cannot be used",
            "oidc-unreachable",
        )
        .into_response();
    };
    let cookies = AppendHeaders(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
    (StatusCode::SEE_OTHER, [(LOCATION, place)], cookies).into_response()
}
