//! The one shape of an error, and the one place that turns a fault into a status.

use std::fmt;

use adit_jumphost::admin::{Fault, FaultKind};
use adit_jumphost::error_chain;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// An error as it travels: `{"error", "code"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A sentence: what, where, and what next.
    pub error: String,
    /// A stable name, for programs.
    pub code: String,
}

impl Failure {
    /// A fault of an operation, with its causes.
    #[must_use]
    pub fn from_fault(fault: &impl Fault) -> Self {
        Self { error: error_chain(fault), code: fault.code().to_owned() }
    }

    pub(crate) fn new(error: impl Into<String>, code: &str) -> Self {
        Self { error: error.into(), code: code.to_owned() }
    }

    pub(crate) fn respond(self, status: StatusCode) -> Response {
        (status, Json(self)).into_response()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.error)
    }
}

pub(crate) fn status_of(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::BadInput => StatusCode::BAD_REQUEST,
        FaultKind::NotFound => StatusCode::NOT_FOUND,
        FaultKind::Conflict => StatusCode::CONFLICT,
        FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(crate) fn kind_of(status: StatusCode) -> FaultKind {
    match status {
        StatusCode::BAD_REQUEST => FaultKind::BadInput,
        StatusCode::NOT_FOUND => FaultKind::NotFound,
        StatusCode::CONFLICT => FaultKind::Conflict,
        _ => FaultKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_the_way_through_a_status() {
        for kind in [FaultKind::BadInput, FaultKind::NotFound, FaultKind::Conflict, FaultKind::Internal] {
            assert_eq!(kind_of(status_of(kind)), kind);
        }
    }
}
