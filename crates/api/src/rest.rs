//! The routes under `/api/v1`: each reads its question, runs one operation and writes the answer. What may be asked, and what
//! becomes of it, is decided in `adit_jumphost`; who asks, in [`gate`](crate::gate).
//!
//! A handler and its lines in the API's document are added together ([`routes!`](utoipa_axum::routes)), so neither can lack the
//! other. The document is also a file, `crates/api/openapi.json`, from which the page's types are made; a test compares the two.

mod admin;
mod invitations;
mod keys;
mod me;
pub(crate) mod oidc;
mod ports;
mod session;
mod tokens;
mod tunnels;

use axum::Json;
use axum::Router;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use adit_jumphost::signin::{self, WebSessionView};

use crate::events;
use crate::failure::Failure;
use crate::gate::cookie::Purpose;
use crate::gate::origin::Origin;
use crate::web::App;

/// Where all of it lies.
const BASE: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "adit jump host",
        version = "1",
        description = "Times are Unix milliseconds, sizes bytes. A program sends `Authorization: Bearer adit_…`; the page has a \
                       cookie, and sends the `csrf` of the answer that began its session as `x-csrf-token` with every request.",
        license(name = "Apache-2.0 OR MIT")
    ),
    components(schemas(Failure))
)]
struct Description;

/// The routes, and the document that describes them.
pub(crate) fn routes() -> (Router<App>, utoipa::openapi::OpenApi) {
    let api = OpenApiRouter::new()
        .merge(session::routes())
        .merge(invitations::routes())
        .merge(oidc::routes())
        .merge(me::routes())
        .merge(keys::routes())
        .merge(ports::routes())
        .merge(tunnels::routes())
        .merge(tokens::routes())
        .routes(routes!(events::stream))
        .nest("/admin", admin::routes());
    let (router, mut document) = OpenApiRouter::with_openapi(Description::openapi()).nest(BASE, api).split_for_parts();
    complete(&mut document, BASE);
    let served = document.clone();
    (router.route(&format!("{BASE}/openapi.json"), get(async move || Json(served))), document)
}

/// The document, as its file has it.
pub(crate) fn document() -> String {
    text_of(&routes().1)
}

/// A document, as its file has it.
pub(crate) fn text_of(document: &utoipa::openapi::OpenApi) -> String {
    // A map of texts to texts cannot fail to be written.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Adds what holds for every operation: an error of the one shape, and a name that only it has.
pub(crate) fn complete(document: &mut utoipa::openapi::OpenApi, base: &str) {
    let failure = ResponseBuilder::new()
        .description("It was not done; the status says whose turn it is.")
        .content("application/json", Content::new(Some(Ref::from_schema_name("Failure"))))
        .build();
    for (path, item) in &mut document.paths.paths {
        let place = path.strip_prefix(base).unwrap_or(path).replace(['/', '-', '.'], "_").replace(['{', '}'], "");
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(format!("{method}{place}"));
            operation.responses.responses.insert("default".to_owned(), RefOr::T(failure.clone()));
        }
    }
}

/// Somebody has just signed in: the browser keeps the session's token, and the page its key, which is told nowhere else.
fn begin(origin: &Origin, begun: signin::SignedIn) -> Response {
    let cookie = Purpose::Session.set(origin, begun.token.as_str(), begun.lifetime);
    let view = WebSessionView { csrf: Some(begun.key.as_str().to_owned()), ..begun.view };
    (AppendHeaders(cookie.map(|cookie| (SET_COOKIE, cookie))), Json(view)).into_response()
}
