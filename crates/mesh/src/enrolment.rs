//! How a mesh begins and how agents come into it and go: a root that signs, invitations that one agent can use once, and a list of
//! those that are taken back.
//!
//! The root is a folder that can lie in a drawer. An invitation is a line of text, the [`Token`], which holds a key of its own; the
//! agent that joins makes its keys itself and signs them with it, so the root need not be there, and no agent's key travels.

mod root;
mod token;

use std::time::{SystemTime, UNIX_EPOCH};

use adit_core::mesh::{Certificate, UnixTime};

pub use root::{Grant, Issued, RootError, RootFolder};
pub use token::{BadToken, Token};

use crate::folder::Enrolled;
use crate::hex;
use crate::keys::{AgentKeys, NoRandomness};

/// The time by the wall clock.
pub fn unix_time() -> UnixTime {
    unix_millis() / 1000
}

/// The same, in milliseconds.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Makes an agent of the mesh: with new keys, or with those that it has had there before.
///
/// # Errors
/// The system has no randomness.
pub fn join(token: &Token, before: Option<&Enrolled>) -> Result<Enrolled, NoRandomness> {
    let keys = match before.filter(|before| before.root == token.root) {
        Some(before) => before.keys.clone(),
        None => AgentKeys::generate()?,
    };
    let (identity, session_key) = (*keys.identity.public(), keys.session_key()?);
    let signature = token.key.sign(&Certificate::to_sign(&token.invitation, &identity, &session_key));
    let certificate = Certificate { invitation: token.invitation.clone(), identity, session_key, signature };
    Ok(Enrolled { root: token.root, keys, certificate, peers: token.peers.clone() })
}

/// A list of revocations as a line of text.
pub fn list_to_text(list: &[u8]) -> String {
    hex::encode(list)
}

/// Reads what [`list_to_text`] wrote.
pub fn list_from_text(text: &str) -> Option<Vec<u8>> {
    hex::decode_any(text.trim())
}
