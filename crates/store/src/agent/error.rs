//! Why a record of the agent was not added, changed or removed.

use super::record::{RecordKind, RecordRef};
use crate::error::StoreError;

/// A jump host and a session were both chosen as the jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("jump_host_id and jump_session_id are both set: choose one")]
pub struct BothJumps;

/// Why a record was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddRecordError {
    /// It refers to a record that is not there.
    #[error("there is no {} with id {:?}", .0.0, .0.1)]
    Unknown((RecordKind, String)),
    /// The system has no random numbers to make an id from.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a record was not changed. `E` is why the caller refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRecordError<E> {
    /// There is no such record.
    #[error("there is no {kind} with id {id:?}")]
    NotFound {
        /// What it was to be.
        kind: RecordKind,
        /// The id asked for.
        id: String,
    },
    /// It would have two jumps.
    #[error(transparent)]
    BothJumps(#[from] BothJumps),
    /// It would refer to a record that is not there.
    #[error("there is no {} with id {:?}", .0.0, .0.1)]
    Unknown((RecordKind, String)),
    /// A way would lead through itself.
    #[error("{through} would be reached through itself")]
    JumpLoop {
        /// One on that way.
        through: RecordRef,
    },
    /// The caller refused what the record would be.
    #[error("{0}")]
    Refused(E),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a record was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveRecordError {
    /// There is no such record.
    #[error("there is no {kind} with id {id:?}")]
    NotFound {
        /// What it was to be.
        kind: RecordKind,
        /// The id asked for.
        id: String,
    },
    /// Others need it.
    #[error("the {kind} {name:?} is used by {}", list(users))]
    InUse {
        /// What it is.
        kind: RecordKind,
        /// What people call it.
        name: String,
        /// Who needs it; never empty.
        users: Vec<RecordRef>,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(users: &[RecordRef]) -> String {
    users.iter().map(RecordRef::to_string).collect::<Vec<_>>().join(", ")
}
