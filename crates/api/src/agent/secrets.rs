//! The vault's lock.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::question::{Asked, Secret};
use super::refusal::Denied;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(unlock)).routes(routes!(lock))
}

/// How the secrets are kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretsView {
    /// Whether somebody has to unlock them before a tunnel can use them.
    pub locked: bool,
}

/// Opens the vault.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Unlock {
    passphrase: Secret,
}

/// With which passphrase the vault is locked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Lock {
    /// `null`: with none; its key then lies in a file beside it.
    #[schema(required = true)]
    #[serde(deserialize_with = "Option::deserialize")]
    passphrase: Option<Secret>,
}

/// Whether the secrets are locked.
#[utoipa::path(get, path = "/secrets", tag = "secrets", responses((status = 200, body = SecretsView)))]
async fn show(State(door): State<Door>) -> Result<Json<SecretsView>, Denied> {
    Ok(Json(SecretsView { locked: door.agent.secrets_are_locked().await? }))
}

/// Unlocks the secrets until the agent ends, and starts the tunnels that could not start without.
#[utoipa::path(post, path = "/secrets/unlock", tag = "secrets", request_body = Unlock, responses((status = 204)))]
async fn unlock(State(door): State<Door>, Asked(Unlock { passphrase }): Asked<Unlock>) -> Result<StatusCode, Denied> {
    door.agent.unlock_secrets(passphrase.reveal()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Locks the secrets with another passphrase from the next start of the agent on, or with none.
#[utoipa::path(put, path = "/secrets/passphrase", tag = "secrets", request_body = Lock, responses((status = 204)))]
async fn lock(State(door): State<Door>, Asked(Lock { passphrase }): Asked<Lock>) -> Result<StatusCode, Denied> {
    door.agent.set_secrets_passphrase(passphrase.map(Secret::reveal)).await?;
    Ok(StatusCode::NO_CONTENT)
}
