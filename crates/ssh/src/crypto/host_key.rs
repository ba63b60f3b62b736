//! Private keys that sign: a server's host key, or a client's identity.
//!
//! The files are those `ssh-keygen` writes: `openssh-key-v1` (OpenSSH's `PROTOCOL.key`) for Ed25519 and ECDSA, and PEM for
//! RSA. We read the format ourselves because `ssh-key` 0.6 refuses a scalar that begins with a zero byte: every fourth key
//! on P-521. An RSA key in OpenSSH's own format lacks two numbers the provider wants; computing them is arithmetic on secrets
//! that we leave to `ssh-keygen`, and say so. Encrypted files are not read here: a host key has nobody to type its passphrase.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use base64ct::{Base64, Encoding};
use thiserror::Error;
use zeroize::Zeroizing;

use super::public_key::{
    EcdsaCurve, KeyError, PublicKey, RSA_SHA2_256, RSA_SHA2_512, ecdsa_blob, ed25519_blob, rsa_blob,
};
use crate::wire::{self, Reader, WireError};

const OPENSSH_LABEL: &str = "OPENSSH PRIVATE KEY";
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
/// The line length of `ssh-keygen`.
const OPENSSH_LINE_LEN: usize = 70;
/// `PROTOCOL.key`: an unencrypted private section is padded to this.
const OPENSSH_BLOCK_LEN: usize = 8;
const ED25519_SEED_LEN: usize = 32;

/// Why a private key file could not be read or written. Never repeats what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostKeyError {
    /// No armour of a private key was found.
    #[error("this is not a private key in a format we read; `ssh-keygen -t ed25519` makes one")]
    NotAPrivateKey,
    /// The file needs a passphrase.
    #[error("this private key is encrypted; remove its passphrase with `ssh-keygen -p -N \"\" -f FILE`")]
    Encrypted,
    /// A format OpenSSH reads and we do not.
    #[error("this private key is in an old format; rewrite it with `ssh-keygen -p -N \"\" -f FILE`")]
    OldFormat,
    /// RSA in OpenSSH's own format.
    #[error("an RSA key must be in PEM format; rewrite it with `ssh-keygen -p -m PEM -N \"\" -f FILE`")]
    RsaNeedsPem,
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

impl From<WireError> for HostKeyError {
    fn from(_: WireError) -> Self {
        Self::Damaged
    }
}

impl From<KeyRejected> for HostKeyError {
    fn from(_: KeyRejected) -> Self {
        Self::Inconsistent
    }
}

impl From<Unspecified> for HostKeyError {
    fn from(_: Unspecified) -> Self {
        Self::Provider
    }
}

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignError {
    /// The algorithm is not among [`HostKey::algorithms`].
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

/// A private key and its public half.
pub struct HostKey {
    signer: Signer,
    public: PublicKey,
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaCurve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl HostKey {
    /// Makes a new Ed25519 key.
    pub fn generate_ed25519() -> Result<Self, HostKeyError> {
        Self::from_signer(Signer::Ed25519(Ed25519KeyPair::generate()?))
    }

    /// Reads an unencrypted private key file as `ssh-keygen` writes it.
    pub fn from_openssh(text: &str) -> Result<Self, HostKeyError> {
        let (label, body) = armoured(text).ok_or(HostKeyError::NotAPrivateKey)?;
        // RFC 1421 headers stand only in encrypted files.
        if label == "ENCRYPTED PRIVATE KEY" || body.contains(':') {
            return Err(HostKeyError::Encrypted);
        }
        let bytes = || Base64::decode_vec(&body).map(Zeroizing::new).map_err(|_| HostKeyError::Damaged);
        match label {
            OPENSSH_LABEL => Self::from_openssh_bytes(&bytes()?),
            "RSA PRIVATE KEY" => Self::from_signer(Signer::Rsa(RsaKeyPair::from_der(&bytes()?)?)),
            "PRIVATE KEY" => {
                let key = RsaKeyPair::from_pkcs8(&bytes()?).map_err(|_| HostKeyError::OldFormat)?;
                Self::from_signer(Signer::Rsa(key))
            }
            "EC PRIVATE KEY" => Err(HostKeyError::OldFormat),
            "DSA PRIVATE KEY" => Err(KeyError::Dsa.into()),
            _ => Err(HostKeyError::NotAPrivateKey),
        }
    }

    fn from_openssh_bytes(bytes: &[u8]) -> Result<Self, HostKeyError> {
        let mut file = Reader::new(bytes.strip_prefix(OPENSSH_MAGIC).ok_or(HostKeyError::Damaged)?);
        let (cipher, kdf, _kdf_options) = (file.string()?, file.string()?, file.string()?);
        if (cipher, kdf) != (b"none", b"none") {
            return Err(HostKeyError::Encrypted);
        }
        if file.u32()? != 1 {
            return Err(HostKeyError::Damaged);
        }
        let public = PublicKey::from_blob(file.string()?)?;
        let mut private = Reader::new(file.string()?);
        file.end()?;
        // Two equal numbers, by which a wrong passphrase is noticed.
        if private.u32()? != private.u32()? {
            return Err(HostKeyError::Damaged);
        }
        let key_type = private.utf8()?;
        let signer = match EcdsaCurve::ALL.into_iter().find(|curve| curve.key_type() == key_type) {
            Some(curve) => read_ecdsa(curve, &mut private)?,
            None if key_type == "ssh-ed25519" => read_ed25519(&mut private)?,
            None if key_type == "ssh-rsa" => return Err(HostKeyError::RsaNeedsPem),
            None => return Err(KeyError::Unsupported { key_type: key_type.to_owned() }.into()),
        };
        let _comment = private.string()?;
        if private.rest().iter().zip(1..).any(|(byte, expected)| *byte != expected) {
            return Err(HostKeyError::Damaged);
        }
        let key = Self::from_signer(signer)?;
        if key.public == public { Ok(key) } else { Err(HostKeyError::Inconsistent) }
    }

    fn from_signer(signer: Signer) -> Result<Self, HostKeyError> {
        let blob = match &signer {
            Signer::Ed25519(key) => ed25519_blob(key.public_key().as_ref()),
            Signer::Ecdsa(curve, key) => ecdsa_blob(*curve, key.public_key().as_ref()),
            Signer::Rsa(key) => {
                let (modulus, exponent) = rsa_numbers(key.public_key().as_ref()).ok_or(HostKeyError::Provider)?;
                rsa_blob(exponent, modulus)
            }
        };
        Ok(Self { signer, public: PublicKey::from_blob(&blob)? })
    }

    /// Writes the key as an unencrypted `openssh-key-v1` file, which `ssh-keygen` reads. Wiped when dropped.
    pub fn to_openssh(&self, comment: &str) -> Result<Zeroizing<String>, HostKeyError> {
        let mut check = [0; 4];
        rand::fill(&mut check)?;
        // Room for the longest key, so that no copy of a secret is left behind by a reallocation.
        let mut private = Zeroizing::new(Vec::with_capacity(1024 + comment.len()));
        private.extend_from_slice(&check);
        private.extend_from_slice(&check);
        wire::put_string(&mut private, self.public.key_type().as_bytes());
        match &self.signer {
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
            Signer::Rsa(_) => return Err(HostKeyError::RsaNotWritten),
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
        match &self.signer {
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

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKey").field("public", &self.public).finish_non_exhaustive()
    }
}

fn read_ed25519(private: &mut Reader<'_>) -> Result<Signer, HostKeyError> {
    let public = private.string()?;
    // The seed, and the public key once more.
    let (seed, again) = private.string()?.split_at_checked(ED25519_SEED_LEN).ok_or(HostKeyError::Damaged)?;
    if public != again {
        return Err(HostKeyError::Inconsistent);
    }
    Ok(Signer::Ed25519(Ed25519KeyPair::from_seed_and_public_key(seed, public)?))
}

fn read_ecdsa(curve: EcdsaCurve, private: &mut Reader<'_>) -> Result<Signer, HostKeyError> {
    if private.string()? != curve.name().as_bytes() {
        return Err(HostKeyError::Inconsistent);
    }
    let point = private.string()?;
    let number = private.mpint()?;
    // A number drops its leading zeros: every fourth scalar of P-521 is a byte shorter than the field it belongs in.
    let mut scalar = Zeroizing::new([0; EcdsaCurve::Nistp521.scalar_len()]);
    let scalar = &mut scalar[..curve.scalar_len()];
    let start = scalar.len().checked_sub(number.len()).ok_or(HostKeyError::Damaged)?;
    scalar[start..].copy_from_slice(number);
    let algorithm: &'static EcdsaSigningAlgorithm = match curve {
        EcdsaCurve::Nistp256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        EcdsaCurve::Nistp384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        EcdsaCurve::Nistp521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    };
    Ok(Signer::Ecdsa(curve, EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point)?))
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

/// The label of the first armour in a text, and its body with the line ends removed.
fn armoured(text: &str) -> Option<(&str, Zeroizing<String>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    rest.strip_prefix(label)?.strip_prefix("-----")?;
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    joined.extend(body.split_ascii_whitespace());
    Some((label, joined))
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
