//! What the store keeps of a secret: its hash.

use std::fmt;

use crate::db::Value;

/// SHA-256 of a random token of 256 bits. Such a token cannot be guessed, so a plain hash is enough; a database that is read by
/// somebody else lets nobody in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// A hash in a log would name the one who holds the token.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl From<TokenHash> for Value {
    fn from(hash: TokenHash) -> Self {
        Self::Bytes(hash.0.to_vec())
    }
}

/// Length of an id before it is written as hex. Nobody guesses 128 random bits.
const ID_BYTES: usize = 16;

/// A random id; `None` if the system has no random numbers.
pub(crate) fn random_id() -> Option<String> {
    let mut bytes = [0; ID_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
