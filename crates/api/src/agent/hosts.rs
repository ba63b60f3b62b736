//! Host keys that nobody has judged yet.

use std::borrow::Cow;

use adit_agent::agent::StrangeHost;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::question::Asked;
use super::refusal::Denied;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(unknown)).routes(routes!(trust))
}

/// A host because of whose key a login failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnknownHost {
    /// As `known_hosts` writes it: `[host]:port`, unless the port is 22.
    pub host: String,
    /// The type of the key it showed.
    pub key_type: Cow<'static, str>,
    /// As `ssh-keygen -l` shows it.
    pub fingerprint: String,
}

impl UnknownHost {
    pub(super) fn all(hosts: &[StrangeHost]) -> Vec<Self> {
        let one = |StrangeHost { host, key }: &StrangeHost| Self {
            host: host.as_str().to_owned(),
            key_type: key.key_type().into(),
            fingerprint: key.fingerprint().to_string(),
        };
        hosts.iter().map(one).collect()
    }
}

/// The hosts that wait for a judgement on their key.
#[utoipa::path(get, path = "/hosts/unknown", tag = "hosts", responses((status = 200, body = [UnknownHost])))]
async fn unknown(State(door): State<Door>) -> Json<Vec<UnknownHost>> {
    Json(UnknownHost::all(&door.agent.board().borrow().strange_hosts))
}

/// Which key is right.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Trust {
    host: String,
    /// The one a person has compared.
    fingerprint: String,
}

/// Takes a host's key as right from now on. What failed because of it is to be started again.
#[utoipa::path(post, path = "/hosts/trust", tag = "hosts", request_body = Trust, responses((status = 204)))]
async fn trust(
    State(door): State<Door>,
    Asked(Trust { host, fingerprint }): Asked<Trust>,
) -> Result<StatusCode, Denied> {
    door.agent.trust_host(&host, &fingerprint).await?;
    Ok(StatusCode::NO_CONTENT)
}
