//! Choices that travel by name. The store has the same names; a test compares them.

use adit_store::agent::{AuthMethod, ForwardType, HostKeyPolicy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A choice of the store, as JSON and its description have it. The text is a bare token: wrapped as a literal, utoipa would not see it, and
/// describe the names that the code has.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident of $stored:ident { $($(#[$of:meta])* $choice:ident = $text:tt,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        pub enum $name { $($(#[$of])* #[serde(rename = $text)] $choice,)+ }

        impl From<$stored> for $name {
            fn from(stored: $stored) -> Self {
                match stored { $($stored::$choice => Self::$choice,)+ }
            }
        }

        impl From<$name> for $stored {
            fn from(choice: $name) -> Self {
                match choice { $($name::$choice => Self::$choice,)+ }
            }
        }
    )+};
}

choices! {
    /// Which way a forward goes.
    ForwardKind of ForwardType {
        /// `-L`: a listener here, one target over there.
        Local = "local",
        /// `-D`: a listener here that speaks SOCKS 5.
        Dynamic = "dynamic",
        /// `-R`: a listener over there, one target here.
        Remote = "remote",
    }

    /// By what means a profile logs in.
    LoginMethod of AuthMethod {
        /// A password.
        Password = "password",
        /// A private key in a file.
        Key = "key",
        /// A key of the user's ssh-agent.
        Agent = "agent",
        /// Questions that the server asks.
        KeyboardInteractive = "keyboard_interactive",
    }

    /// What to do about a host key that is not known. A known one that has changed is always refused.
    UnknownHosts of HostKeyPolicy {
        /// Refuse it.
        Strict = "strict",
        /// Ask a person.
        Ask = "ask",
        /// Remember it.
        AcceptNew = "accept-new",
    }
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn the_description_has_the_names_that_travel() {
        let described = serde_json::to_value([LoginMethod::schema(), UnknownHosts::schema()]).unwrap();
        assert_eq!(described[0]["enum"], serde_json::json!(["password", "key", "agent", "keyboard_interactive"]));
        assert_eq!(described[1]["enum"], serde_json::json!(["strict", "ask", "accept-new"]));
    }

    #[test]
    fn the_names_are_those_of_the_store() {
        for stored in [ForwardType::Local, ForwardType::Dynamic, ForwardType::Remote] {
            assert_eq!(serde_json::to_value(ForwardKind::from(stored)).unwrap(), stored.name());
        }
        for stored in [AuthMethod::Password, AuthMethod::Key, AuthMethod::Agent, AuthMethod::KeyboardInteractive] {
            assert_eq!(serde_json::to_value(LoginMethod::from(stored)).unwrap(), stored.name());
        }
        for stored in [HostKeyPolicy::Strict, HostKeyPolicy::Ask, HostKeyPolicy::AcceptNew] {
            assert_eq!(serde_json::to_value(UnknownHosts::from(stored)).unwrap(), stored.name());
        }
    }
}
