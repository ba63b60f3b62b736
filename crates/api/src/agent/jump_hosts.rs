//! Jump hosts: servers that others are reached through.

use adit_store::agent::{JumpHost, JumpHostChange, Saved};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::question::{Asked, At, given, ssh_port, yes};
use super::refusal::Denied;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, change, remove))
}

/// A jump host to be saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewJumpHost {
    name: String,
    host: String,
    #[serde(default = "ssh_port")]
    #[schema(default = ssh_port)]
    port: u16,
    /// Who logs in there.
    profile_id: String,
    #[serde(default = "yes")]
    #[schema(default = yes)]
    enabled: bool,
}

impl From<NewJumpHost> for JumpHost {
    fn from(NewJumpHost { name, host, port, profile_id, enabled }: NewJumpHost) -> Self {
        Self { name, host, port, profile_id, enabled }
    }
}

/// What becomes of a jump host; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JumpHostPatch {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    host: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    port: Option<u16>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    profile_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

impl From<JumpHostPatch> for JumpHostChange {
    fn from(JumpHostPatch { name, host, port, profile_id, enabled }: JumpHostPatch) -> Self {
        Self { name, host, port, profile_id, enabled }
    }
}

/// A jump host as it is saved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct JumpHostView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The server: a name or an address.
    pub host: String,
    /// The server's SSH port.
    pub port: u16,
    /// Who logs in there.
    pub profile_id: String,
    /// It may be used.
    pub enabled: bool,
    /// When it was saved.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

impl From<Saved<JumpHost>> for JumpHostView {
    fn from(saved: Saved<JumpHost>) -> Self {
        let Saved { id, created_at, updated_at, record } = saved;
        let JumpHost { name, host, port, profile_id, enabled } = record;
        Self { id, name, host, port, profile_id, enabled, created_at: created_at.0, updated_at: updated_at.0 }
    }
}

/// All jump hosts, by name.
#[utoipa::path(get, path = "/jump-hosts", tag = "jump hosts", responses((status = 200, body = [JumpHostView])))]
async fn list(State(door): State<Door>) -> Result<Json<Vec<JumpHostView>>, Denied> {
    let all = door.agent.store().list::<JumpHost>().await?;
    Ok(Json(all.into_iter().map(JumpHostView::from).collect()))
}

/// One jump host.
#[utoipa::path(
    get, path = "/jump-hosts/{id}", tag = "jump hosts", params(("id" = String, Path)),
    responses((status = 200, body = JumpHostView))
)]
async fn show(State(door): State<Door>, At(id): At<String>) -> Result<Json<JumpHostView>, Denied> {
    Ok(Json(door.saved::<JumpHost>(&id).await?.into()))
}

/// Saves a jump host.
#[utoipa::path(
    post, path = "/jump-hosts", tag = "jump hosts", request_body = NewJumpHost,
    responses((status = 201, body = JumpHostView))
)]
async fn create(
    State(door): State<Door>,
    Asked(new): Asked<NewJumpHost>,
) -> Result<(StatusCode, Json<JumpHostView>), Denied> {
    let saved = door.agent.add(JumpHost::from(new)).await?;
    Ok((StatusCode::CREATED, Json(saved.into())))
}

/// Changes a jump host.
#[utoipa::path(
    put, path = "/jump-hosts/{id}", tag = "jump hosts", params(("id" = String, Path)), request_body = JumpHostPatch,
    responses((status = 200, body = JumpHostView))
)]
async fn change(
    State(door): State<Door>,
    At(id): At<String>,
    Asked(patch): Asked<JumpHostPatch>,
) -> Result<Json<JumpHostView>, Denied> {
    Ok(Json(door.agent.change::<JumpHost>(&id, patch.into()).await?.into()))
}

/// Removes a jump host that nothing refers to.
#[utoipa::path(
    delete, path = "/jump-hosts/{id}", tag = "jump hosts", params(("id" = String, Path)),
    responses((status = 204), (status = 409, body = super::refusal::InUse))
)]
async fn remove(State(door): State<Door>, At(id): At<String>) -> Result<StatusCode, Denied> {
    door.agent.remove::<JumpHost>(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
