//! How the server is, and what it runs on.

use adit_jumphost::admin::{Health, HealthView, SettingView, Settings};
use axum::Json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::Administrator;
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(settings))
}

/// How the server is.
#[utoipa::path(get, path = "/health", tag = "administration", responses((status = 200, body = HealthView)))]
async fn health(Administrator(admin): Administrator) -> Result<Json<HealthView>, Refusal> {
    Ok(Json(admin.call(Health {}).await?))
}

/// The settings in effect, and where each comes from.
#[utoipa::path(get, path = "/settings", tag = "administration", responses((status = 200, body = [SettingView])))]
async fn settings(Administrator(admin): Administrator) -> Result<Json<Vec<SettingView>>, Refusal> {
    Ok(Json(admin.call(Settings {}).await?))
}
