//! The one shape of an error, and the one place that turns a fault into a status.

use std::fmt;

use adit_jumphost::admin::{Fault, FaultKind};
use adit_jumphost::error_chain;
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// An error as it travels: `{"error", "code"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// A sentence: what, where, and what next.
    pub error: String,
    /// A stable name, for programs.
    pub code: String,
    /// Seconds to wait before trying again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A fault of an operation, with its causes: for whoever runs the server.
    #[must_use]
    pub fn from_fault(fault: &impl Fault) -> Self {
        // Whoever comes back in the second that is named must not be too early.
        let retry_after = fault.retry_after().map(|wait| wait.as_secs() + 1);
        Self { error: error_chain(fault), code: fault.code().to_owned(), retry_after }
    }

    pub(crate) fn new(error: impl Into<String>, code: &str) -> Self {
        Self { error: error.into(), code: code.to_owned(), retry_after: None }
    }

    pub(crate) fn not_found() -> Response {
        Self::new("there is no such page", "not-found").respond(StatusCode::NOT_FOUND)
    }

    pub(crate) fn respond(self, status: StatusCode) -> Response {
        let wait = self.retry_after.map(|seconds| [(RETRY_AFTER, HeaderValue::from(seconds))]);
        (status, wait.map(AppendHeaders), Json(self)).into_response()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.error)
    }
}

/// What a request is answered with instead of what it asked for. Every fault of an operation becomes one by `?`. Serialized, it is the body
/// of the answer.
#[derive(Debug)]
pub(crate) struct Refusal(StatusCode, Failure);

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.1.serialize(serializer)
    }
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>, code: &str) -> Self {
        Self(status, Failure::new(error, code))
    }

    /// The same in the words of a door that has its own codes.
    pub(crate) fn coded(self, code: impl FnOnce(StatusCode) -> &'static str) -> Self {
        let Self(status, failure) = self;
        Self(status, Failure { code: code(status).to_owned(), ..failure })
    }
}

impl<F: Fault> From<F> for Refusal {
    /// Of what failed on our side a visitor hears nothing: it tells paths and statements.
    fn from(fault: F) -> Self {
        let (status, failure) = (status_of(fault.kind()), Failure::from_fault(&fault));
        if fault.kind() == FaultKind::Internal {
            tracing::error!(error = failure.error, code = failure.code, "a request failed");
            return Self::new(status, "this failed on the server, and its log says why; try again", &failure.code);
        }
        Self(status, failure)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.1.respond(self.0)
    }
}

/// The kinds, each with its status.
const STATUSES: [(FaultKind, StatusCode); 7] = [
    (FaultKind::BadInput, StatusCode::BAD_REQUEST),
    (FaultKind::SignedOut, StatusCode::UNAUTHORIZED),
    (FaultKind::Forbidden, StatusCode::FORBIDDEN),
    (FaultKind::NotFound, StatusCode::NOT_FOUND),
    (FaultKind::Conflict, StatusCode::CONFLICT),
    (FaultKind::TooMany, StatusCode::TOO_MANY_REQUESTS),
    (FaultKind::Internal, StatusCode::INTERNAL_SERVER_ERROR),
];

pub(crate) fn status_of(kind: FaultKind) -> StatusCode {
    STATUSES.iter().find(|(of, _)| *of == kind).map_or(StatusCode::INTERNAL_SERVER_ERROR, |(_, status)| *status)
}

pub(crate) fn kind_of(status: StatusCode) -> FaultKind {
    STATUSES.iter().find(|(_, of)| *of == status).map_or(FaultKind::Internal, |(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_the_way_through_a_status() {
        for (kind, status) in STATUSES {
            assert_eq!((kind_of(status), status_of(kind)), (kind, status));
        }
    }
}
