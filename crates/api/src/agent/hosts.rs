//! Host keys that somebody has to judge: of hosts that are not known, and of those that are known by another key.

use std::borrow::Cow;

use adit_agent::agent::StrangeHost;
use adit_agent::known_hosts::KnownKey;
use adit_store::UnixMillis;
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
    OpenApiRouter::new().routes(routes!(unknown)).routes(routes!(trust)).routes(routes!(reject))
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
    /// By which other keys the host is known: its key has changed. Empty where it is not known.
    pub known: Vec<KnownKeyView>,
    /// Whether all of those stand in the agent's own file, so that they can be replaced.
    pub may_replace: bool,
    /// When it showed it last.
    pub shown_at: i64,
}

/// A key by which a host is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownKeyView {
    /// Its type.
    pub key_type: Cow<'static, str>,
    /// As `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// The file where it stands.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl From<&KnownKey> for KnownKeyView {
    fn from(KnownKey { key_type, fingerprint, place }: &KnownKey) -> Self {
        Self {
            key_type: (*key_type).into(),
            fingerprint: fingerprint.to_string(),
            file: place.file.to_string_lossy().into_owned(),
            line: place.line,
        }
    }
}

impl UnknownHost {
    pub(super) fn all(hosts: &[StrangeHost]) -> Vec<Self> {
        let one = |StrangeHost { host, key, known, may_replace, shown_at }: &StrangeHost| Self {
            host: host.as_str().to_owned(),
            key_type: key.key_type().into(),
            fingerprint: key.fingerprint().to_string(),
            known: known.iter().map(KnownKeyView::from).collect(),
            may_replace: *may_replace,
            shown_at: UnixMillis::from(*shown_at).0,
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
    /// It takes the place of the keys by which the host is known.
    #[serde(default)]
    replace: bool,
}

/// Which key is not.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reject {
    host: String,
    /// The one a person has compared.
    fingerprint: String,
}

/// Takes a host's key as right from now on. What failed because of it is to be started again. Where the host is known by another key, that
/// is refused (409) without `replace`, and also where one of those keys stands in a file that the agent only reads; the error says how it
/// is taken out there.
#[utoipa::path(post, path = "/hosts/trust", tag = "hosts", request_body = Trust, responses((status = 204)))]
async fn trust(
    State(door): State<Door>,
    Asked(Trust { host, fingerprint, replace }): Asked<Trust>,
) -> Result<StatusCode, Denied> {
    door.agent.trust_host(&host, &fingerprint, replace).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a host off the list whose key is not right. A login that meets it again puts it there again.
#[utoipa::path(post, path = "/hosts/reject", tag = "hosts", request_body = Reject, responses((status = 204)))]
async fn reject(
    State(door): State<Door>,
    Asked(Reject { host, fingerprint }): Asked<Reject>,
) -> Result<StatusCode, Denied> {
    door.agent.reject_host(&host, &fingerprint).await?;
    Ok(StatusCode::NO_CONTENT)
}
