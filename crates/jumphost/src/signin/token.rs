//! Secrets that we make ourselves: a session's cookie, the token in a link, an API token. The store has their hashes only.

use std::fmt;

use adit_store::TokenHash;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Serialize, Serializer};
use thiserror::Error;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// Nobody guesses 256 bits, so a look-up by hash needs no protection against trying.
const RANDOM_BYTES: usize = 32;

/// What an API token begins with, so that a person and a secret scanner see what it is.
pub const API_TOKEN_PREFIX: &str = "adit_";

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// A secret token. It is shown to nobody but its owner: serialized it is its text, printed by `Debug` it is not.
#[derive(Clone, ToSchema)]
#[schema(value_type = String)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A new one: `prefix` and 64 hexadecimal digits.
    pub(crate) fn generate(prefix: &str) -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        // Its whole length at once: a text that grows leaves its beginnings behind in memory.
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 2 * RANDOM_BYTES));
        text.push_str(prefix);
        for byte in bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
            }
        }
        Ok(Self(text))
    }

    /// A token as somebody sent it. Whether there is such a one is the store's to say.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        TokenHash(hash)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(crate) fn same(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_never_the_same() {
        let (one, other) = (Token::generate(API_TOKEN_PREFIX).unwrap(), Token::generate(API_TOKEN_PREFIX).unwrap());
        assert!(one.as_str().starts_with("adit_") && one.as_str().len() == 5 + 64, "{}", one.as_str());
        assert_ne!(one.as_str(), other.as_str());
        assert_ne!(one.hash(), other.hash());
        assert_eq!(Token::from_text(one.as_str()).hash(), one.hash());
    }

    #[test]
    fn it_is_printed_nowhere() {
        let token = Token::generate("").unwrap();
        assert_eq!(format!("{token:?} {:?}", token.hash()), "Token(…) TokenHash(…)");
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let hash = Token::from_text("abc").hash().0;
        assert_eq!(hash[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
    }
}
