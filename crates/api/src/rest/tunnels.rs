//! A member's live tunnels.

use adit_jumphost::admin::Kicked;
use adit_jumphost::member::{CloseSession, PortTraffic, TrafficView, Tunnels, TunnelsView};
use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::SignedIn;
use crate::gate::question::{Filter, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(traffic)).routes(routes!(close))
}

/// The live tunnels, and the forwards that were refused lately.
#[utoipa::path(get, path = "/me/tunnels", tag = "tunnels", responses((status = 200, body = TunnelsView)))]
async fn list(SignedIn { member, .. }: SignedIn) -> Result<Json<TunnelsView>, Refusal> {
    Ok(Json(member.call(Tunnels {}).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct OfPort {
    /// The port.
    port: u16,
}

/// What a port carried in the last 24 hours, by the minute; minutes without traffic are left out.
#[utoipa::path(get, path = "/me/traffic", tag = "tunnels", params(OfPort), responses((status = 200, body = TrafficView)))]
async fn traffic(
    SignedIn { member, .. }: SignedIn,
    Filter(OfPort { port }): Filter<OfPort>,
) -> Result<Json<TrafficView>, Refusal> {
    Ok(Json(member.call(PortTraffic { port }).await?))
}

/// Ends one of the account's SSH sessions.
#[utoipa::path(
    delete, path = "/me/sessions/{session}", tag = "tunnels", params(("session" = u64, Path)),
    responses((status = 200, body = Kicked))
)]
async fn close(SignedIn { member, .. }: SignedIn, Named(session): Named<u64>) -> Result<Json<Kicked>, Refusal> {
    Ok(Json(member.call(CloseSession { session }).await?))
}
