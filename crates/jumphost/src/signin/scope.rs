//! What an API token may do.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::admin::{Fault, FaultKind};

/// A scope. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at what the account has.
    Read,
    /// Change it.
    Write,
    /// Administer the jump host, where the account may.
    Admin,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A token's scopes, at least one; the widest decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<Scope>);

impl Scopes {
    /// `None` where there is none.
    pub(crate) fn new(mut scopes: Vec<Scope>) -> Option<Self> {
        scopes.sort();
        scopes.dedup();
        (!scopes.is_empty()).then_some(Self(scopes))
    }

    pub(crate) fn permit(&self, needed: Scope) -> bool {
        self.0.iter().any(|scope| *scope >= needed)
    }

    pub(crate) fn to_vec(&self) -> Vec<Scope> {
        self.0.clone()
    }

    /// As the store keeps them.
    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ")
    }

    /// Reads what the store keeps. A word that is no scope gives no right.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Self::new(Scope::ALL.into_iter().filter(|scope| text.split(' ').any(|word| word == scope.name())).collect())
    }
}

/// The token has not the scope for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// A wider token could.
    #[error("this token has not the scope {0}; make one that has it")]
    Scope(Scope),
    /// No token can.
    #[error("this is done signed in at the dashboard, not with an API token")]
    TokenUsed,
    /// The account does not administer this jump host.
    #[error("only an administrator of this jump host can do this")]
    NotAdministrator,
}

impl Fault for Forbidden {
    fn kind(&self) -> FaultKind {
        FaultKind::Forbidden
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Scope(_) | Self::TokenUsed => "scope",
            Self::NotAdministrator => "not-admin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_includes_the_narrower_ones() {
        let scopes = |text| Scopes::from_text(text).unwrap();
        assert!(scopes("read").permit(Scope::Read) && !scopes("read").permit(Scope::Write));
        assert!(scopes("write").permit(Scope::Read) && !scopes("write").permit(Scope::Admin));
        assert!(scopes("admin read").permit(Scope::Write));
        assert_eq!(scopes("admin read").to_text(), "read admin");
        assert_eq!(Scopes::from_text("everything Read"), None);
    }
}
