//! Key exchange: two public values become a shared secret, the secret and everything said so far become the exchange hash,
//! and both become keys.
//!
//! | Method | Public values | Secret in the hash | Source |
//! |---|---|---|---|
//! | `mlkem768x25519-sha256` | ML-KEM-768 ‖ X25519 | `string` | draft-ietf-sshm-mlkem-hybrid-kex |
//! | `curve25519-sha256` and its libssh name | X25519 | `mpint` | RFC 8731 |
//! | `ecdh-sha2-nistp256/384/521` | uncompressed point | `mpint` | RFC 5656 §4 |
//! | `diffie-hellman-group14-sha256/sha1` | `mpint` | `mpint` | RFC 8268, RFC 4253 §8 |
//!
//! All of them share the message layout of RFC 5656 §4 (an `mpint` is a `string` with a rule for its bytes), so the engine needs
//! no case per method.

use std::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{self, Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use thiserror::Error;
use zeroize::Zeroizing;

use super::group14::Group14Key;
use crate::wire;

const MLKEM_PUBLIC_LEN: usize = 1184;
const MLKEM_CIPHERTEXT_LEN: usize = 1088;
const X25519_LEN: usize = 32;
/// The first byte of an uncompressed point (SEC 1 §2.3.3), the only form RFC 5656 §4 obliges anyone to send.
const UNCOMPRESSED_POINT: u8 = 4;

/// Why no secret could be agreed on. All but `Provider` are the peer's doing; each ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum KexError {
    #[error("the peer's {} value has {got} bytes instead of {wanted}", .algorithm.name())]
    WrongLength { algorithm: KexAlgorithm, got: usize, wanted: usize },
    #[error("the peer's {} value is not a valid public key", .0.name())]
    InvalidPublicValue(KexAlgorithm),
    #[error("the cryptography library refused an operation")]
    Provider,
}

impl From<Unspecified> for KexError {
    fn from(_: Unspecified) -> Self {
        Self::Provider
    }
}

/// A key exchange method (RFC 4253 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KexAlgorithm {
    /// `mlkem768x25519-sha256`: safe if either half is; OpenSSH 10 warns about everything else.
    Mlkem768X25519Sha256,
    /// `curve25519-sha256`
    Curve25519Sha256,
    /// `curve25519-sha256@libssh.org`: the same under its first name, which older clients still send alone.
    Curve25519Sha256LibSsh,
    /// `ecdh-sha2-nistp256`
    EcdhNistp256,
    /// `ecdh-sha2-nistp384`
    EcdhNistp384,
    /// `ecdh-sha2-nistp521`
    EcdhNistp521,
    /// `diffie-hellman-group14-sha256`, for machines that know no curve.
    Group14Sha256,
    /// `diffie-hellman-group14-sha1`, for older ones still.
    Group14Sha1,
}

impl KexAlgorithm {
    /// All methods, best first.
    pub const ALL: [Self; 6] = [
        Self::Mlkem768X25519Sha256,
        Self::Curve25519Sha256,
        Self::Curve25519Sha256LibSsh,
        Self::EcdhNistp256,
        Self::EcdhNistp384,
        Self::EcdhNistp521,
    ];

    /// What is offered only where somebody asked for it.
    pub const OLD: [Self; 2] = [Self::Group14Sha256, Self::Group14Sha1];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mlkem768X25519Sha256 => "mlkem768x25519-sha256",
            Self::Curve25519Sha256 => "curve25519-sha256",
            Self::Curve25519Sha256LibSsh => "curve25519-sha256@libssh.org",
            Self::EcdhNistp256 => "ecdh-sha2-nistp256",
            Self::EcdhNistp384 => "ecdh-sha2-nistp384",
            Self::EcdhNistp521 => "ecdh-sha2-nistp521",
            Self::Group14Sha256 => "diffie-hellman-group14-sha256",
            Self::Group14Sha1 => "diffie-hellman-group14-sha1",
        }
    }

    /// The method of this name, if we have it.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::OLD).find(|algorithm| algorithm.name().as_bytes() == name)
    }

    /// The hash of the exchange and of key derivation.
    pub(crate) const fn hash_kind(self) -> HashKind {
        match self {
            Self::EcdhNistp384 => HashKind::Sha384,
            Self::EcdhNistp521 => HashKind::Sha512,
            Self::Group14Sha1 => HashKind::Sha1,
            _ => HashKind::Sha256,
        }
    }

    /// The curve of a method; group 14 is none.
    fn curve(self) -> Option<Curve> {
        Some(match self {
            Self::Mlkem768X25519Sha256 | Self::Curve25519Sha256 | Self::Curve25519Sha256LibSsh => {
                Curve { algorithm: &X25519, public_len: X25519_LEN }
            }
            Self::EcdhNistp256 => Curve { algorithm: &ECDH_P256, public_len: 1 + 2 * 32 },
            Self::EcdhNistp384 => Curve { algorithm: &ECDH_P384, public_len: 1 + 2 * 48 },
            Self::EcdhNistp521 => Curve { algorithm: &ECDH_P521, public_len: 1 + 2 * 66 },
            Self::Group14Sha256 | Self::Group14Sha1 => return None,
        })
    }
}

/// The hash a key exchange method brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashKind {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl HashKind {
    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        }
    }
}

/// What both sides know and nobody else does. Wiped when dropped.
pub(crate) struct SharedSecret {
    encoded: Zeroizing<Vec<u8>>,
}

impl SharedSecret {
    /// As it enters the exchange hash and the key derivation, length field included: an `mpint`, or a `string` where the method
    /// says so.
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    fn from_number(big_endian: &[u8]) -> Self {
        // Room for the length and a sign byte, so that no half-written copy is left behind by a reallocation.
        let mut encoded = Zeroizing::new(Vec::with_capacity(4 + 1 + big_endian.len()));
        wire::put_mpint(&mut encoded, big_endian);
        Self { encoded }
    }

    fn from_string(bytes: &[u8]) -> Self {
        let mut encoded = Zeroizing::new(Vec::with_capacity(4 + bytes.len()));
        wire::put_string(&mut encoded, bytes);
        Self { encoded }
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").finish_non_exhaustive()
    }
}

/// What the server answers with, and what it learned.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Our public value, for the reply.
    pub(crate) public: Vec<u8>,
    pub(crate) secret: SharedSecret,
}

/// The server's half: answers the client's public value.
pub(crate) fn respond(algorithm: KexAlgorithm, client_public: &[u8]) -> Result<Exchange, KexError> {
    match algorithm.curve() {
        Some(curve) => respond_with(algorithm, client_public, &PrivateKey::generate(curve.algorithm)?),
        None => {
            let key = Group14Key::generate()?;
            Ok(Exchange { public: key.public(), secret: agree_in_group14(algorithm, &key, client_public)? })
        }
    }
}

fn respond_with(algorithm: KexAlgorithm, client_public: &[u8], key: &PrivateKey) -> Result<Exchange, KexError> {
    let public = key.compute_public_key()?;
    if algorithm != KexAlgorithm::Mlkem768X25519Sha256 {
        let secret = agree(algorithm, key, client_public, |secret| Ok(SharedSecret::from_number(secret)))?;
        return Ok(Exchange { public: public.as_ref().to_vec(), secret });
    }
    let (mlkem_public, x25519_public) = split_hybrid(algorithm, client_public, MLKEM_PUBLIC_LEN)?;
    let (ciphertext, mlkem_secret) = EncapsulationKey::new(&ML_KEM_768, mlkem_public)
        .ok()
        .and_then(|key| key.encapsulate().ok())
        // A key of the right length is refused only if a coefficient is out of range (FIPS 203 §7.2).
        .ok_or(KexError::InvalidPublicValue(algorithm))?;
    let secret =
        agree(algorithm, key, x25519_public, |x25519_secret| Ok(hybrid_secret(mlkem_secret.as_ref(), x25519_secret)))?;
    Ok(Exchange { public: [ciphertext.as_ref(), public.as_ref()].concat(), secret })
}

/// The client's half, between its public value and the server's.
pub(crate) struct ClientKex {
    algorithm: KexAlgorithm,
    key: ClientKey,
}

enum ClientKey {
    Curve(PrivateKey),
    Hybrid(PrivateKey, DecapsulationKey),
    Group14(Group14Key),
}

impl ClientKex {
    /// Makes the keys of one exchange and the public value to send.
    pub(crate) fn start(algorithm: KexAlgorithm) -> Result<(Self, Vec<u8>), KexError> {
        let Some(curve) = algorithm.curve() else {
            let key = Group14Key::generate()?;
            let public = key.public();
            return Ok((Self { algorithm, key: ClientKey::Group14(key) }, public));
        };
        let key = PrivateKey::generate(curve.algorithm)?;
        let point = key.compute_public_key()?;
        if algorithm != KexAlgorithm::Mlkem768X25519Sha256 {
            return Ok((Self { algorithm, key: ClientKey::Curve(key) }, point.as_ref().to_vec()));
        }
        let mlkem = DecapsulationKey::generate(&ML_KEM_768)?;
        let public = [mlkem.encapsulation_key()?.key_bytes()?.as_ref(), point.as_ref()].concat();
        Ok((Self { algorithm, key: ClientKey::Hybrid(key, mlkem) }, public))
    }

    /// Takes the server's public value.
    pub(crate) fn finish(self, server_public: &[u8]) -> Result<SharedSecret, KexError> {
        match &self.key {
            ClientKey::Curve(key) => {
                agree(self.algorithm, key, server_public, |secret| Ok(SharedSecret::from_number(secret)))
            }
            ClientKey::Hybrid(key, mlkem) => {
                let (ciphertext, point) = split_hybrid(self.algorithm, server_public, MLKEM_CIPHERTEXT_LEN)?;
                let mlkem_secret = mlkem.decapsulate(Ciphertext::from(ciphertext))?;
                agree(self.algorithm, key, point, |secret| Ok(hybrid_secret(mlkem_secret.as_ref(), secret)))
            }
            ClientKey::Group14(key) => agree_in_group14(self.algorithm, key, server_public),
        }
    }
}

impl fmt::Debug for ClientKex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKex").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

struct Curve {
    algorithm: &'static agreement::Algorithm,
    public_len: usize,
}

/// Diffie-Hellman on the method's curve. The provider refuses a point that is not on the curve and an X25519 result of all
/// zeros (RFC 8731 §3); the encoding is ours to pin down, as the provider would take several.
fn agree<T>(
    algorithm: KexAlgorithm,
    key: &PrivateKey,
    peer: &[u8],
    use_secret: impl FnOnce(&[u8]) -> Result<T, KexError>,
) -> Result<T, KexError> {
    let curve = algorithm.curve().ok_or(KexError::InvalidPublicValue(algorithm))?;
    if peer.len() != curve.public_len {
        return Err(KexError::WrongLength { algorithm, got: peer.len(), wanted: curve.public_len });
    }
    if curve.public_len != X25519_LEN && peer[0] != UNCOMPRESSED_POINT {
        return Err(KexError::InvalidPublicValue(algorithm));
    }
    let peer = UnparsedPublicKey::new(curve.algorithm, peer);
    agreement::agree(key, peer, KexError::InvalidPublicValue(algorithm), use_secret)
}

fn agree_in_group14(algorithm: KexAlgorithm, key: &Group14Key, peer: &[u8]) -> Result<SharedSecret, KexError> {
    let secret = key.agree(peer).ok_or(KexError::InvalidPublicValue(algorithm))?;
    Ok(SharedSecret::from_number(&secret))
}

fn split_hybrid(algorithm: KexAlgorithm, value: &[u8], mlkem_len: usize) -> Result<(&[u8], &[u8]), KexError> {
    let wanted = mlkem_len + X25519_LEN;
    if value.len() != wanted {
        return Err(KexError::WrongLength { algorithm, got: value.len(), wanted });
    }
    Ok(value.split_at(mlkem_len))
}

/// draft-ietf-sshm-mlkem-hybrid-kex §2.4: `K = HASH(K_PQ ‖ K_CL)`, encoded as a `string`.
fn hybrid_secret(mlkem_secret: &[u8], x25519_secret: &[u8]) -> SharedSecret {
    let mut context = digest::Context::new(&SHA256);
    context.update(mlkem_secret);
    context.update(x25519_secret);
    SharedSecret::from_string(context.finish().as_ref())
}

/// Everything both sides must have seen alike (RFC 5656 §4).
pub(crate) struct ExchangeHashInput<'a> {
    /// Version lines without CR LF.
    pub(crate) client_version: &'a [u8],
    pub(crate) server_version: &'a [u8],
    /// Payloads of the two `SSH_MSG_KEXINIT`, message number included.
    pub(crate) client_kexinit: &'a [u8],
    pub(crate) server_kexinit: &'a [u8],
    /// The server's public key in wire form.
    pub(crate) host_key: &'a [u8],
    pub(crate) client_public: &'a [u8],
    pub(crate) server_public: &'a [u8],
    pub(crate) secret: &'a SharedSecret,
}

/// `H`, which the server signs; the first one of a session is also its session identifier (RFC 4253 §7.2).
pub(crate) fn exchange_hash(kind: HashKind, input: &ExchangeHashInput<'_>) -> Digest {
    let mut context = digest::Context::new(kind.algorithm());
    for part in [
        input.client_version,
        input.server_version,
        input.client_kexinit,
        input.server_kexinit,
        input.host_key,
        input.client_public,
        input.server_public,
    ] {
        // Packets are limited to far less than 4 GiB, so the length cannot be cut.
        context.update(&(part.len() as u32).to_be_bytes());
        context.update(part);
    }
    context.update(input.secret.encoded());
    context.finish()
}

/// Derives `len` bytes for the letter `A` to `F` (RFC 4253 §7.2): `K1 = HASH(K ‖ H ‖ letter ‖ session_id)`, and while that
/// is too short `Kn = HASH(K ‖ H ‖ K1 ‖ … ‖ Kn-1)`.
pub(crate) fn derive_key(
    kind: HashKind,
    secret: &SharedSecret,
    exchange_hash: &[u8],
    letter: u8,
    session_id: &[u8],
    len: usize,
) -> Zeroizing<Vec<u8>> {
    let start = || {
        let mut context = digest::Context::new(kind.algorithm());
        context.update(secret.encoded());
        context.update(exchange_hash);
        context
    };
    // A whole digest more than asked for, so that the key never moves in memory while it grows.
    let mut key = Zeroizing::new(Vec::with_capacity(len + digest::MAX_OUTPUT_LEN));
    let mut context = start();
    context.update(&[letter]);
    context.update(session_id);
    key.extend_from_slice(context.finish().as_ref());
    while key.len() < len {
        let mut context = start();
        context.update(&key);
        key.extend_from_slice(context.finish().as_ref());
    }
    key.truncate(len);
    key
}

#[cfg(test)]
mod tests;
