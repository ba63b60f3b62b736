//! What a member can do with what is theirs: one type per operation, with its question, its answer and its own errors, as for an
//! [administrator](crate::admin). An operation names no account: it acts on that of the [`Member`] who calls it, so another
//! account's things cannot be reached, and an id of one is simply not found.
//!
//! Times are Unix milliseconds. Text that a peer or a member wrote comes escaped ([`Printable`](adit_core::Printable)).

mod keys;
mod overview;
mod password;
mod ports;
mod tokens;
mod tunnels;

use std::future::Future;

use thiserror::Error;

use crate::admin::{Fault, FaultKind, SIGNED_OUT};
use crate::signin::scope::{Forbidden, Scope};

pub use crate::signin::Member;
pub use keys::{AddKey, AskClaimStatement, ClaimKey, RemoveKey};
pub use overview::{ConnectionView, HostKeyView, LimitsView, MeView, Overview, SuggestedPort};
pub use password::{ChangePassword, ChangePasswordError};
pub(crate) use ports::live_ports;
pub use ports::{
    ChangePort, ChangePortError, DirectoryEntry, DirectoryPage, DirectorySearch, PortPage, PortSearch, RegisterPort,
    RegisterPortError, RegisteredPortView, UnregisterPort,
};
pub use tokens::{TokenAdd, TokenAddError, TokenList, TokenMade, TokenRemove, TokenRemoveError, TokenView};
pub use tunnels::{
    CloseSession, PortTraffic, RefusalView, TrafficMinuteView, TrafficView, TunnelView, Tunnels, TunnelsView,
};

/// An operation: its value is the question.
pub trait MemberOperation: Send + 'static {
    /// How far the right must reach.
    const NEEDS: Scope;
    /// What is told when it worked.
    type Answer: Send;
    /// What can go wrong.
    type Error: Fault + Send;

    /// Does it.
    fn run(self, member: &Member) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;
}

/// Why an operation was not done.
#[derive(Debug, Error)]
pub enum MemberError<E: Fault> {
    /// The right does not reach so far.
    #[error(transparent)]
    Forbidden(Forbidden),
    /// The operation's own error.
    #[error(transparent)]
    Operation(#[from] E),
}

/// The account was removed while it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this account is not there any more")]
pub struct AccountGone;

impl Fault for AccountGone {
    /// As for the next request of the same session, which ended with the account.
    fn kind(&self) -> FaultKind {
        FaultKind::SignedOut
    }

    fn code(&self) -> &'static str {
        SIGNED_OUT
    }
}

impl<E: Fault> Fault for MemberError<E> {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Forbidden(error) => error.kind(),
            Self::Operation(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::Operation(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Forbidden(_) => None,
            Self::Operation(error) => error.retry_after(),
        }
    }
}

impl Member {
    /// Runs one operation on what is this member's.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn call<O: MemberOperation>(&self, operation: O) -> Result<O::Answer, MemberError<O::Error>> {
        self.permit(O::NEEDS).map_err(MemberError::Forbidden)?;
        Ok(operation.run(self).await?)
    }
}
