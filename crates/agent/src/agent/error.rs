//! Why a change was not made.

use adit_store::agent::{AddRecordError, ChangeRecordError};
use thiserror::Error;

use crate::dial::DialError;
use crate::known_hosts::{Change, HostKeyError, ReplaceError};
use crate::records::InvalidRecord;
use crate::supervisor::StartError;
use crate::vault::VaultError;

/// A record was not added.
#[derive(Debug, Error)]
pub enum AddError {
    /// It may not be saved as it is.
    #[error(transparent)]
    Invalid(#[from] InvalidRecord),
    /// The store did not take it.
    #[error(transparent)]
    Record(#[from] AddRecordError),
}

/// A secret was not kept or forgotten.
#[derive(Debug, Error)]
pub enum SecretChangeError {
    /// There is no such profile.
    #[error("there is no profile with id {0:?}")]
    NotFound(String),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The profile could not be told where its secret is.
    #[error(transparent)]
    Record(#[from] ChangeRecordError<InvalidRecord>),
}

/// A trial of a tunnel's way found something wrong.
#[derive(Debug, Error)]
pub enum TrialError {
    /// It has no way.
    #[error(transparent)]
    NoWay(#[from] StartError),
    /// A stage of it failed.
    #[error(transparent)]
    Dial(#[from] DialError),
}

/// No host has shown this key and still waits for a judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no such host waits for a judgement on this key")]
pub struct NotShown;

/// A host's key was not remembered.
#[derive(Debug, Error)]
pub enum TrustError {
    /// Nothing on the board is meant.
    #[error(transparent)]
    NotShown(#[from] NotShown),
    /// The host is known by another key, and nobody said that this one is to take its place.
    #[error(
        "{} is known by another key, {}; whoever has compared both may replace it (`replace` in the request, --replace at the command)",
        .0.host, .0.known
    )]
    Known(Box<Change>),
    /// It could not be written, or must not be taken.
    #[error(transparent)]
    Remember(HostKeyError),
    /// It could not take the place of what is known.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

impl From<HostKeyError> for TrustError {
    fn from(error: HostKeyError) -> Self {
        match error {
            HostKeyError::Changed(change) => Self::Known(change),
            other => Self::Remember(other),
        }
    }
}
