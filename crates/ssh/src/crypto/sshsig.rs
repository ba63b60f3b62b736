//! Checks what `ssh-keygen -Y sign` makes: a signature over a file, in a namespace that says what for (OpenSSH's
//! `PROTOCOL.sshsig`).
//!
//! The namespace is signed as well, so that a signature made for one purpose, say a commit, serves no other. The key comes from
//! the caller: what a signature says about its own key is believed only where it is the same.

use aws_lc_rs::digest;
use base64ct::{Base64, Encoding};
use thiserror::Error;

use super::public_key::{PublicKey, SignatureError};
use crate::wire::{self, Reader, WireError};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Stands in front of the signature and of what is signed, which no other message of SSH begins with.
const MAGIC: [u8; 6] = *b"SSHSIG";
const VERSION: u32 = 1;

/// A key and a signature of RSA with 16,384 bits are 6 kB of Base64; nothing else is as long.
const LONGEST_TEXT: usize = 16 * 1024;

/// Why an armored signature was not accepted. Prints as a sentence for the person who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SshsigError {
    /// The armor is missing, as in the signed file itself.
    #[error("this is no SSH signature; it is the file ending in .sig, which begins with {BEGIN}")]
    NotArmored,
    /// Longer than any signature.
    #[error("this text is longer than any SSH signature")]
    TooLong,
    /// Base64 or fields that do not fit.
    #[error("the signature is damaged or not complete; copy the whole file again")]
    Damaged,
    /// A form that did not exist when this was written.
    #[error("the signature has version {version}, and {VERSION} is what is understood here")]
    Version {
        /// The version it states.
        version: u32,
    },
    /// Another key signed.
    #[error("the signature was made with another key")]
    OtherKey,
    /// It was signed for something else.
    #[error("the signature was made for another purpose; sign with `ssh-keygen -Y sign -n {expected}`")]
    Namespace {
        /// The namespace that was to be signed.
        expected: String,
    },
    /// Neither SHA-256 nor SHA-512.
    #[error("the signature's hash is not one accepted here; sign with -O hashalg=sha512")]
    Hash,
    /// The signature itself, or its algorithm.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl From<WireError> for SshsigError {
    fn from(_: WireError) -> Self {
        Self::Damaged
    }
}

impl PublicKey {
    /// Checks that this key signed `message` in `namespace`; `armored` is the text of the `.sig` file. The algorithm is one that
    /// is accepted at a login too (so never `ssh-rsa`), and a security key must have been touched.
    ///
    /// # Errors
    /// [`SshsigError`], also for any text that is no signature at all.
    pub fn verify_sshsig(&self, namespace: &str, message: &[u8], armored: &str) -> Result<(), SshsigError> {
        let blob = unarmored(armored)?;
        let mut reader = Reader::new(&blob);
        if reader.array()? != MAGIC {
            return Err(SshsigError::Damaged);
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(SshsigError::Version { version });
        }
        let key = reader.string()?;
        let signed_namespace = reader.string()?;
        // For extensions to come: not understood, but signed.
        let reserved = reader.string()?;
        let hash = reader.string()?;
        let signature = reader.string()?;
        reader.end()?;
        if key != self.blob() {
            return Err(SshsigError::OtherKey);
        }
        if signed_namespace != namespace.as_bytes() {
            return Err(SshsigError::Namespace { expected: namespace.to_owned() });
        }
        let hashed = match hash {
            b"sha256" => digest::digest(&digest::SHA256, message),
            b"sha512" => digest::digest(&digest::SHA512, message),
            _ => return Err(SshsigError::Hash),
        };
        let mut signed = MAGIC.to_vec();
        for field in [signed_namespace, reserved, hash, hashed.as_ref()] {
            wire::put_string(&mut signed, field);
        }
        let algorithm = Reader::new(signature).string()?;
        Ok(self.verify(algorithm, &signed, signature)?)
    }
}

/// The bytes between the two lines of the armor. Line ends of any system may stand between them and around.
fn unarmored(text: &str) -> Result<Vec<u8>, SshsigError> {
    if text.len() > LONGEST_TEXT {
        return Err(SshsigError::TooLong);
    }
    let body = text.trim().strip_prefix(BEGIN).ok_or(SshsigError::NotArmored)?;
    let body = body.strip_suffix(END).ok_or(SshsigError::Damaged)?;
    let base64: String = body.chars().filter(|digit| !matches!(digit, '\r' | '\n')).collect();
    Base64::decode_vec(&base64).map_err(|_| SshsigError::Damaged)
}

#[cfg(test)]
mod tests;
