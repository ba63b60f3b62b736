//! The vault's lock.

use adit_agent::vault::{KeyPlace, NewKeyPlace};
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
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(unlock)).routes(routes!(move_key))
}

/// How the secrets are kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretsView {
    /// Whether somebody has to unlock them before a tunnel can use them.
    pub locked: bool,
    /// Where their key is; `null` before the first secret.
    pub key: Option<KeyLies>,
}

/// Where the key of the secrets is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyLies {
    /// In a file beside them.
    File,
    /// Derived from a passphrase.
    Passphrase,
    /// In the desktop's keyring.
    Keyring,
}

impl From<KeyPlace> for KeyLies {
    fn from(place: KeyPlace) -> Self {
        match place {
            KeyPlace::File => Self::File,
            KeyPlace::Passphrase => Self::Passphrase,
            KeyPlace::Keyring => Self::Keyring,
        }
    }
}

/// Opens the vault.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Unlock {
    /// What locks them. Not needed where the desktop's keyring has their key: it asks for its password itself.
    #[serde(default)]
    passphrase: Option<Secret>,
}

/// Where the key of the secrets is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "key", rename_all = "snake_case", deny_unknown_fields)]
enum MoveKey {
    /// In a file beside them: they open by themselves.
    File {},
    /// Derived from a passphrase, which is needed from the next start of the agent on.
    Passphrase { passphrase: Secret },
    /// In the desktop's keyring.
    Keyring {},
}

/// How the secrets are kept.
#[utoipa::path(get, path = "/secrets", tag = "secrets", responses((status = 200, body = SecretsView)))]
async fn show(State(door): State<Door>) -> Result<Json<SecretsView>, Denied> {
    let locked = door.agent.secrets_are_locked().await?;
    Ok(Json(SecretsView { locked, key: door.agent.secrets_key_place().await?.map(Into::into) }))
}

/// Unlocks the secrets until the agent ends, and starts the tunnels that could not start without. A keyring that asks its person
/// is waited for two minutes.
#[utoipa::path(post, path = "/secrets/unlock", tag = "secrets", request_body = Unlock, responses((status = 204)))]
async fn unlock(State(door): State<Door>, Asked(Unlock { passphrase }): Asked<Unlock>) -> Result<StatusCode, Denied> {
    door.agent.unlock_secrets(passphrase.map(Secret::reveal)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Moves the key of the secrets; where it was before, it is not any more.
#[utoipa::path(put, path = "/secrets/key", tag = "secrets", request_body = MoveKey, responses((status = 204)))]
async fn move_key(State(door): State<Door>, Asked(place): Asked<MoveKey>) -> Result<StatusCode, Denied> {
    let place = match place {
        MoveKey::File {} => NewKeyPlace::File,
        MoveKey::Passphrase { passphrase } => NewKeyPlace::Passphrase(passphrase.reveal()),
        MoveKey::Keyring {} => NewKeyPlace::Keyring,
    };
    door.agent.move_secrets_key(place).await?;
    Ok(StatusCode::NO_CONTENT)
}
