//! What holds for the agent as a whole.

use adit_store::agent::{Settings, SettingsChange};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::names::UnknownHosts;
use super::question::{Asked, given};
use super::refusal::Denied;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show, change))
}

/// The settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// Something else is the way out: the page shows neither the tunnels' button nor the choice of a jump.
    pub controller_mode: bool,
    /// What happens to a host whose key is not known.
    pub host_key_policy: UnknownHosts,
}

impl From<Settings> for SettingsView {
    fn from(Settings { controller_mode, host_key_policy }: Settings) -> Self {
        Self { controller_mode, host_key_policy: host_key_policy.into() }
    }
}

/// What becomes of the settings; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingsPatch {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    controller_mode: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    host_key_policy: Option<UnknownHosts>,
}

/// The settings.
#[utoipa::path(get, path = "/settings", tag = "settings", responses((status = 200, body = SettingsView)))]
async fn show(State(door): State<Door>) -> Result<Json<SettingsView>, Denied> {
    Ok(Json(door.agent.store().settings().await?.into()))
}

/// Changes settings. A host key policy holds from the next login on.
#[utoipa::path(
    put, path = "/settings", tag = "settings", request_body = SettingsPatch, responses((status = 200, body = SettingsView))
)]
async fn change(
    State(door): State<Door>,
    Asked(SettingsPatch { controller_mode, host_key_policy }): Asked<SettingsPatch>,
) -> Result<Json<SettingsView>, Denied> {
    let change = SettingsChange { controller_mode, host_key_policy: host_key_policy.map(Into::into) };
    Ok(Json(door.agent.change_settings(change).await?.into()))
}
