//! Registered ports, and the directory of those that members share.

use adit_jumphost::member::{
    ChangePort, DirectoryPage, DirectorySearch, PortPage, PortSearch, RegisterPort, RegisteredPortView, UnregisterPort,
};
use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::SignedIn;
use crate::gate::question::{Body, Filter, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, register)).routes(routes!(change, unregister)).routes(routes!(directory))
}

/// What becomes of an entry; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PortPatch {
    /// What is served there.
    description: Option<String>,
    /// Whether every member sees it.
    shared: Option<bool>,
}

/// The registered ports by number.
#[utoipa::path(
    get, path = "/me/ports", tag = "ports",
    params(
        ("q" = Option<String>, Query, description = "Only with this in the description or in the port's digits."),
        ("port" = Option<u16>, Query, description = "Only this port."),
        ("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query)
    ),
    responses((status = 200, body = PortPage))
)]
async fn list(
    SignedIn { member, .. }: SignedIn,
    Filter(search): Filter<PortSearch>,
) -> Result<Json<PortPage>, Refusal> {
    Ok(Json(member.call(search).await?))
}

/// Notes down a port.
#[utoipa::path(
    post, path = "/me/ports", tag = "ports", request_body = RegisterPort,
    responses((status = 201, body = RegisteredPortView))
)]
async fn register(
    SignedIn { member, .. }: SignedIn,
    Body(question): Body<RegisterPort>,
) -> Result<(StatusCode, Json<RegisteredPortView>), Refusal> {
    Ok((StatusCode::CREATED, Json(member.call(question).await?)))
}

/// Changes an entry.
#[utoipa::path(
    patch, path = "/me/ports/{id}", tag = "ports", params(("id" = String, Path)), request_body = PortPatch,
    responses((status = 200, body = RegisteredPortView))
)]
async fn change(
    SignedIn { member, .. }: SignedIn,
    Named(id): Named<String>,
    Body(PortPatch { description, shared }): Body<PortPatch>,
) -> Result<Json<RegisteredPortView>, Refusal> {
    Ok(Json(member.call(ChangePort { id, description, shared }).await?))
}

/// Removes an entry.
#[utoipa::path(
    delete, path = "/me/ports/{id}", tag = "ports", params(("id" = String, Path)), responses((status = 204))
)]
async fn unregister(SignedIn { member, .. }: SignedIn, Named(id): Named<String>) -> Result<StatusCode, Refusal> {
    member.call(UnregisterPort { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What all members share, by port, then owner.
#[utoipa::path(
    get, path = "/directory", tag = "ports",
    params(
        (
            "q" = Option<String>, Query,
            description = "Only with this in the description, in the owner's name or in the port's digits."
        ),
        ("port" = Option<u16>, Query, description = "Only this port."),
        ("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query)
    ),
    responses((status = 200, body = DirectoryPage))
)]
async fn directory(
    SignedIn { member, .. }: SignedIn,
    Filter(search): Filter<DirectorySearch>,
) -> Result<Json<DirectoryPage>, Refusal> {
    Ok(Json(member.call(search).await?))
}
