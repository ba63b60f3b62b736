//! Which requests are let in over HTTP. All of this stands before the protocol sees a byte of them: `Host` and `Origin` of our own address
//! alone, the token, a whole body of bounded size.
//!
//! There are no sessions: the current revision has none, and the one before lets a server do without. So no request leaves anything
//! behind that could pile up, and a client goes on after we were started anew.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_jumphost::config::Networks;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Desk, Services};
use crate::agent::{AccessToken, KeptToken};
use crate::failure::Refusal;
use crate::gate::origin::{Foreign, OwnOrigins};
use crate::gate::question::BodyFault;
use crate::gate::{self as every_gate, Gate};
use crate::{Serving, connections};

/// Where clients expect it.
const PATH: &str = "/mcp";

/// Where a door answers that listens there.
#[must_use]
pub fn address_of(listen: SocketAddr) -> String {
    format!("http://{listen}{PATH}")
}

/// Serves until [`Serving::stop`], after which [`Desk::finish`] waits for what is under way. The listener is to stand on a loopback
/// address: the token is all that guards it, and it has no TLS.
///
/// # Errors
/// The listener stands elsewhere, or does not say where.
pub fn serve<S: Services>(desk: &Desk<S>, listener: TcpListener, token: &KeptToken) -> io::Result<Serving> {
    let address = connections::loopback_address(&listener)?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let router = router(desk, address, token.token().clone(), stop.clone());
    tasks.spawn(connections::serve_programs(listener, router, stop.clone()));
    Ok(Serving { tasks, stop })
}

fn router<S: Services>(desk: &Desk<S>, address: SocketAddr, token: AccessToken, stop: CancellationToken) -> Router {
    let gate = Gate::new(OwnOrigins::by_address(), false, Networks::default(), |_| false);
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_cancellation_token(stop)
        // What the gate has seen to already, so that nothing depends on the order of layers alone.
        .with_allowed_hosts([address.to_string()])
        .with_allowed_origins([format!("http://{address}")])
        .enforce_origin_validation();
    let desk = desk.clone();
    let protocol =
        StreamableHttpService::new(move || Ok(desk.clone()), Arc::new(NeverSessionManager::default()), config);
    Router::new()
        .route_service(PATH, protocol)
        .fallback(nothing)
        .layer(from_fn_with_state(token, identify))
        .layer(from_fn_with_state(gate.clone(), pass))
        .layer(from_fn_with_state(gate, every_gate::add_headers))
}

/// Lets a request through that was meant for us, and is there as a whole.
async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let refusal = match (gate.check(&request), request.extensions().get::<BodyFault>()) {
        (Ok(_), None) => return next.run(request).await,
        (Ok(_), Some(fault)) => fault.refusal(),
        (Err(Foreign::Host), _) => {
            let told = "this server is not known by that name: use the address it printed at its start, in numbers; `localhost` may be \
                        another address too, at which somebody else listens";
            Refusal::new(StatusCode::FORBIDDEN, told, "foreign-host")
        }
        (Err(Foreign::Origin), _) => {
            Refusal::new(StatusCode::FORBIDDEN, "a page of another site may not ask this server", "foreign-origin")
        }
    };
    refusal.into_response()
}

/// Lets a request through that brings the token.
async fn identify(State(token): State<AccessToken>, request: Request, next: Next) -> Response {
    if token.is_in(request.headers()) {
        return next.run(request).await;
    }
    let told = "the token is missing or wrong: send `Authorization: Bearer TOKEN`; `adit mcp installation --transport http` shows it";
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, told, "unauthorized");
    ([(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))], refusal).into_response()
}

async fn nothing() -> Response {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing here; the protocol is spoken at /mcp", "not-found")
        .into_response()
}
