//! Private keys that sign: a server's host key, or a client's identity. `file` reads them from what `ssh-keygen` and `openssl`
//! write, `encryption` opens what needs a passphrase.

mod encryption;
mod file;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair};
use base64ct::{Base64, Encoding};
use thiserror::Error;
use zeroize::Zeroizing;

use super::public_key::{
    EcdsaCurve, KeyError, PublicKey, RSA_SHA2_256, RSA_SHA2_512, ecdsa_blob, ed25519_blob, rsa_blob,
};
use crate::wire::{self, WireError};

const OPENSSH_LABEL: &str = "OPENSSH PRIVATE KEY";
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
/// The line length of `ssh-keygen`.
const OPENSSH_LINE_LEN: usize = 70;
/// `PROTOCOL.key`: an unencrypted private section is padded to this.
const OPENSSH_BLOCK_LEN: usize = 8;
const ED25519_SEED_LEN: usize = 32;

/// Why a private key file could not be read or written. Never repeats what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrivateKeyError {
    /// No armour of a private key was found.
    #[error("this is not a private key in a format we read; `ssh-keygen -t ed25519` makes one")]
    NotAPrivateKey,
    /// The file needs a passphrase.
    #[error("this private key is encrypted and needs its passphrase; `ssh-keygen -p -N \"\" -f FILE` removes it")]
    Encrypted,
    /// Another passphrase opens it.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Encrypted in a way we do not read.
    #[error(
        "this private key is encrypted in a way that is not read here ({}); rewrite it with `ssh-keygen -p -f FILE`",
        .how.escape_debug()
    )]
    UnsupportedEncryption {
        /// The way, as the file names it, cut to a printable length.
        how: String,
    },
    /// A private key that is on a token, of which the file is only the handle.
    #[error("this key is on a security key; add it to an agent with `ssh-add FILE`")]
    SecurityKey,
    /// RSA keys are read but not written.
    #[error("RSA keys cannot be written")]
    RsaNotWritten,
    /// The file is cut short, or its fields do not fit.
    #[error("this private key is damaged")]
    Damaged,
    /// The numbers in the file do not belong together.
    #[error("the halves of this private key do not belong together")]
    Inconsistent,
    /// A key we would not accept from a client either.
    #[error("this private key cannot be used")]
    Unacceptable(#[from] KeyError),
    /// No randomness, or no memory.
    #[error("the cryptography library refused an operation")]
    Provider,
}

impl From<WireError> for PrivateKeyError {
    fn from(_: WireError) -> Self {
        Self::Damaged
    }
}

impl From<KeyRejected> for PrivateKeyError {
    fn from(_: KeyRejected) -> Self {
        Self::Inconsistent
    }
}

impl From<Unspecified> for PrivateKeyError {
    fn from(_: Unspecified) -> Self {
        Self::Provider
    }
}

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignError {
    /// The algorithm is not among [`PrivateKey::algorithms`].
    #[error("this key does not sign with that algorithm")]
    AlgorithmRefused,
    /// The library failed.
    #[error("the cryptography library refused an operation")]
    Provider,
}

impl From<Unspecified> for SignError {
    fn from(_: Unspecified) -> Self {
        Self::Provider
    }
}

/// A private key and its public half. Cheap to clone; the numbers are wiped with the last of the clones.
#[derive(Clone)]
pub struct PrivateKey {
    signer: Arc<Signer>,
    public: PublicKey,
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaCurve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Makes a new Ed25519 key.
    pub fn generate_ed25519() -> Result<Self, PrivateKeyError> {
        Self::from_signer(Signer::Ed25519(Ed25519KeyPair::generate()?))
    }

    /// Reads an unencrypted private key file, as `ssh-keygen` or `openssl` writes it.
    ///
    /// # Errors
    /// [`PrivateKeyError::Encrypted`] where it takes a passphrase, and whatever else is wrong with it.
    pub fn from_openssh(text: &str) -> Result<Self, PrivateKeyError> {
        file::read(text, None)
    }

    /// Reads a private key file with the passphrase that a person gave for it. A file that is not encrypted needs none and takes
    /// any. Deriving the key takes as long as the file was made to take: a tenth of a second, mostly.
    ///
    /// # Errors
    /// [`PrivateKeyError::WrongPassphrase`], and whatever else is wrong with it.
    pub fn from_encrypted(text: &str, passphrase: &str) -> Result<Self, PrivateKeyError> {
        file::read(text, Some(passphrase))
    }

    fn from_signer(signer: Signer) -> Result<Self, PrivateKeyError> {
        let blob = match &signer {
            Signer::Ed25519(key) => ed25519_blob(key.public_key().as_ref()),
            Signer::Ecdsa(curve, key) => ecdsa_blob(*curve, key.public_key().as_ref()),
            Signer::Rsa(key) => {
                let (modulus, exponent) = rsa_numbers(key.public_key().as_ref()).ok_or(PrivateKeyError::Provider)?;
                rsa_blob(exponent, modulus)
            }
        };
        Ok(Self { signer: Arc::new(signer), public: PublicKey::from_blob(&blob)? })
    }

    /// Writes the key as an unencrypted `openssh-key-v1` file, which `ssh-keygen` reads. Wiped when dropped.
    pub fn to_openssh(&self, comment: &str) -> Result<Zeroizing<String>, PrivateKeyError> {
        let mut check = [0; 4];
        rand::fill(&mut check)?;
        // Room for the longest key, so that no copy of a secret is left behind by a reallocation.
        let mut private = Zeroizing::new(Vec::with_capacity(1024 + comment.len()));
        private.extend_from_slice(&check);
        private.extend_from_slice(&check);
        wire::put_string(&mut private, self.public.key_type().as_bytes());
        match &*self.signer {
            Signer::Ed25519(key) => {
                let seed: Curve25519SeedBin<'_> = key.seed()?.as_be_bytes()?;
                wire::put_string(&mut private, key.public_key().as_ref());
                wire::put_u32(&mut private, 2 * ED25519_SEED_LEN as u32);
                private.extend_from_slice(seed.as_ref());
                private.extend_from_slice(key.public_key().as_ref());
            }
            Signer::Ecdsa(curve, key) => {
                let scalar: EcPrivateKeyBin<'_> = key.private_key().as_be_bytes()?;
                wire::put_string(&mut private, curve.name().as_bytes());
                wire::put_string(&mut private, key.public_key().as_ref());
                wire::put_mpint(&mut private, scalar.as_ref());
            }
            Signer::Rsa(_) => return Err(PrivateKeyError::RsaNotWritten),
        }
        wire::put_string(&mut private, comment.as_bytes());
        for padding in 1..=(private.len().next_multiple_of(OPENSSH_BLOCK_LEN) - private.len()) as u8 {
            private.push(padding);
        }

        let mut file = Zeroizing::new(Vec::with_capacity(2048 + comment.len()));
        file.extend_from_slice(OPENSSH_MAGIC);
        wire::put_string(&mut file, b"none");
        wire::put_string(&mut file, b"none");
        wire::put_string(&mut file, b"");
        wire::put_u32(&mut file, 1);
        wire::put_string(&mut file, self.public.blob());
        wire::put_string(&mut file, &private);
        Ok(armour(OPENSSH_LABEL, &file))
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The algorithms this key signs with, best first; also what a server offers as host key algorithms.
    pub fn algorithms(&self) -> &'static [&'static str] {
        self.public.algorithms()
    }

    /// Signs, and gives the signature in wire form (RFC 4253 §6.6).
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if !self.public.accepts_algorithm(algorithm.as_bytes()) {
            return Err(SignError::AlgorithmRefused);
        }
        let mut signature = Vec::new();
        wire::put_string(&mut signature, algorithm.as_bytes());
        match &*self.signer {
            Signer::Ed25519(key) => wire::put_string(&mut signature, key.try_sign(message)?.as_ref()),
            Signer::Ecdsa(curve, key) => {
                let fixed = key.sign(&SystemRandom::new(), message)?;
                let (r, s) = fixed.as_ref().split_at_checked(curve.scalar_len()).ok_or(SignError::Provider)?;
                let mut numbers = Vec::new();
                wire::put_mpint(&mut numbers, r);
                wire::put_mpint(&mut numbers, s);
                wire::put_string(&mut signature, &numbers);
            }
            Signer::Rsa(key) => {
                let padding = match algorithm {
                    RSA_SHA2_512 => &RSA_PKCS1_SHA512,
                    RSA_SHA2_256 => &RSA_PKCS1_SHA256,
                    _ => return Err(SignError::AlgorithmRefused),
                };
                let mut bytes = vec![0; key.public_modulus_len()];
                key.sign(padding, &SystemRandom::new(), message, &mut bytes)?;
                wire::put_string(&mut signature, &bytes);
            }
        }
        Ok(signature)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Modulus and exponent from the `RSAPublicKey` of RFC 8017 §A.1.1 that the provider gives out: a sequence of two integers.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (numbers, []) = der_value(SEQUENCE, der)? else { return None };
    let (modulus, rest) = der_value(INTEGER, numbers)?;
    let (exponent, []) = der_value(INTEGER, rest)? else { return None };
    Some((modulus, exponent))
}

/// One DER value with this tag, and what follows it (X.690 §8.1.3).
fn der_value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (len, rest) = match len {
        0..=0x7f => (usize::from(*len), rest),
        0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
        0x82 => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        _ => return None,
    };
    if *first == tag { rest.split_at_checked(len) } else { None }
}

fn armour(label: &str, bytes: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(Base64::encode_string(bytes));
    let mut text = Zeroizing::new(String::with_capacity(digits.len() + digits.len() / OPENSSH_LINE_LEN + 128));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at_checked(OPENSSH_LINE_LEN).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests;
