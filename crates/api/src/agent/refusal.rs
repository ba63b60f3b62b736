//! Which status and code each error of the agent has. Whoever asks has shown the token and is the owner, so they hear the whole
//! cause, also of what failed on our side.

use std::borrow::Cow;
use std::error::Error;

use adit_agent::agent::{AddError, NotShown, SecretChangeError, StartError, StopError, TrustError};
use adit_agent::known_hosts::{HostKeyError, ReplaceError};
use adit_agent::records::InvalidRecord;
use adit_agent::ssh_config::ImportError;
use adit_agent::vault::VaultError;
use adit_jumphost::error_chain;
use adit_store::StoreError;
use adit_store::agent::{AddRecordError, BothJumps, ChangeRecordError, RecordRef, RemoveRecordError};
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::trial::TrialFailed;
use super::whereabouts::TokenError;
use crate::failure::{Failure, Refusal};

const VAULT_LOCKED: &str = "VAULT_LOCKED";
/// Of a tunnel's last error as well.
pub(super) const PORT_BUSY: &str = "PORT_BUSY";

/// What a request is answered with instead of what it asked for. Serialized, it is the body of the answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Denied {
    /// `{"error", "code"}`.
    Plain(Refusal),
    /// With those who need the record.
    InUse(Box<InUse>),
    /// With the stages that went well.
    Trial(Box<TrialFailed>),
}

/// A record was not removed: others need it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InUse {
    #[serde(flatten)]
    failure: Failure,
    /// Who needs it.
    users: Vec<RecordName>,
}

/// A record as others speak of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordName {
    /// `profile`, `jump host`, `session` or `tunnel`.
    pub kind: Cow<'static, str>,
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
}

impl From<RecordRef> for RecordName {
    fn from(RecordRef { kind, id, name }: RecordRef) -> Self {
        Self { kind: kind.name().into(), id, name }
    }
}

impl Denied {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self::Plain(Refusal::new(status, error, code_of(status)))
    }

    pub(super) fn not_found(kind: impl std::fmt::Display, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {kind} with id {id:?}"))
    }

    pub(super) fn invalid(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn vault_locked(error: impl Into<String>) -> Self {
        Self::Plain(Refusal::new(StatusCode::FORBIDDEN, error, VAULT_LOCKED))
    }

    pub(super) fn internal(error: &dyn Error) -> Self {
        let told = error_chain(error);
        tracing::error!(error = told, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, told)
    }
}

/// The code of what its status says well enough.
fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "VALIDATION",
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "FORBIDDEN",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
        StatusCode::REQUEST_TIMEOUT => "SLOW_BODY",
        StatusCode::CONFLICT => "CONFLICT",
        StatusCode::PAYLOAD_TOO_LARGE => "TOO_LARGE",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "NOT_JSON",
        StatusCode::SERVICE_UNAVAILABLE => "ENDING",
        _ => "INTERNAL",
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = match self {
            Self::Plain(refusal) => refusal.into_response(),
            Self::InUse(in_use) => (StatusCode::CONFLICT, Json(in_use)).into_response(),
            Self::Trial(failed) => (StatusCode::BAD_GATEWAY, Json(failed)).into_response(),
        };
        if response.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2 has it say what would be enough.
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What the shared reader of questions refused.
impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Plain(refusal.coded(code_of))
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<BothJumps> for Denied {
    fn from(error: BothJumps) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<AddError> for Denied {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Invalid(_) | AddError::Record(AddRecordError::Unknown(_)) => Self::invalid(error.to_string()),
            AddError::Record(AddRecordError::NoRandomness | AddRecordError::Store(_)) => Self::internal(&error),
        }
    }
}

impl From<ChangeRecordError<InvalidRecord>> for Denied {
    fn from(error: ChangeRecordError<InvalidRecord>) -> Self {
        match error {
            ChangeRecordError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            ChangeRecordError::BothJumps(_)
            | ChangeRecordError::Unknown(_)
            | ChangeRecordError::JumpLoop { .. }
            | ChangeRecordError::Refused(_) => Self::invalid(error.to_string()),
            ChangeRecordError::Store(error) => error.into(),
        }
    }
}

impl From<RemoveRecordError> for Denied {
    fn from(error: RemoveRecordError) -> Self {
        let told = error.to_string();
        match error {
            RemoveRecordError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, told),
            RemoveRecordError::InUse { users, .. } => {
                let failure = Failure::new(told, code_of(StatusCode::CONFLICT));
                Self::InUse(Box::new(InUse { failure, users: users.into_iter().map(RecordName::from).collect() }))
            }
            RemoveRecordError::Store(error) => error.into(),
        }
    }
}

impl From<StartError> for Denied {
    fn from(error: StartError) -> Self {
        match error {
            StartError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            StartError::AlreadyRunning(_)
            | StartError::AlreadyConnected
            | StartError::OfSession
            | StartError::Disabled { .. }
            | StartError::NoWay(_)
            | StartError::Stopped => Self::new(StatusCode::CONFLICT, error.to_string()),
            StartError::NotBound(_) => Self::Plain(Refusal::new(StatusCode::CONFLICT, error.to_string(), PORT_BUSY)),
            StartError::SecretsLocked => Self::vault_locked(error.to_string()),
            StartError::Store(_) => Self::internal(&error),
            StartError::Ending => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<StopError> for Denied {
    fn from(error: StopError) -> Self {
        let status = match error {
            StopError::NotFound { .. } => StatusCode::NOT_FOUND,
            StopError::OfSession => StatusCode::CONFLICT,
            StopError::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<NotShown> for Denied {
    fn from(error: NotShown) -> Self {
        Self::new(StatusCode::NOT_FOUND, error.to_string())
    }
}

impl From<TrustError> for Denied {
    fn from(error: TrustError) -> Self {
        let status = match &error {
            TrustError::NotShown(error) => return (*error).into(),
            TrustError::Known(_) => StatusCode::CONFLICT,
            TrustError::Replace(ReplaceError::KeptElsewhere { .. } | ReplaceError::KnownMeanwhile { .. }) => {
                StatusCode::CONFLICT
            }
            TrustError::Remember(error) | TrustError::Replace(ReplaceError::HostKey(error)) => match error {
                HostKeyError::Changed(_) | HostKeyError::Revoked { .. } => StatusCode::CONFLICT,
                HostKeyError::Name(_) => StatusCode::BAD_REQUEST,
                HostKeyError::Unknown { .. } | HostKeyError::Declined { .. } | HostKeyError::File { .. } => {
                    return Self::internal(error);
                }
            },
        };
        Self::new(status, error.to_string())
    }
}

impl From<ImportError> for Denied {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::NoConfiguration(_) => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            ImportError::NoSsh => Self::new(StatusCode::CONFLICT, error.to_string()),
            ImportError::Unreadable(..) | ImportError::Ssh(_) | ImportError::Store(_) => Self::internal(&error),
        }
    }
}

impl From<VaultError> for Denied {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Locked | VaultError::KeyringShut(_) | VaultError::WrongPassphrase(_) => {
                Self::vault_locked(error.to_string())
            }
            VaultError::EmptyPassphrase | VaultError::PassphraseMissing => Self::invalid(error.to_string()),
            VaultError::NoKeyring(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            VaultError::Damaged(_)
            | VaultError::NoKey(_)
            | VaultError::LostByKeyring(_)
            | VaultError::File { .. }
            | VaultError::Provider => Self::internal(&error),
        }
    }
}

impl From<TokenError> for Denied {
    fn from(error: TokenError) -> Self {
        Self::internal(&error)
    }
}

impl From<SecretChangeError> for Denied {
    fn from(error: SecretChangeError) -> Self {
        match error {
            SecretChangeError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            SecretChangeError::Vault(error) => error.into(),
            SecretChangeError::Record(error) => error.into(),
        }
    }
}
