//! The public keys people hold, read from the wire and checked, and the signatures made with them.
//!
//! A [`PublicKey`] is one we are willing to accept: its type is supported, it is long enough, its point is on its curve, and
//! its blob is the only way to write it, so that equal keys are equal bytes and one key has one fingerprint.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64ct::{Base64, Base64Unpadded, Encoding};
use thiserror::Error;

use crate::wire::{self, Reader, WireError};

/// NIST SP 800-131A allows no less.
const SMALLEST_RSA_BITS: usize = 2048;
/// The provider verifies no longer ones.
const LONGEST_RSA_BITS: usize = 8192;
/// Everybody uses 3 bytes (65537).
const LONGEST_RSA_EXPONENT: usize = 4;
const RSA_SIGNATURE_MAX: usize = LONGEST_RSA_BITS / 8;
/// P-521: two numbers of 66 bytes.
const ECDSA_SIGNATURE_MAX: usize = 2 * 66;
/// OpenSSH's `PROTOCOL.u2f`: the person touched the key.
const USER_PRESENT: u8 = 0x01;

/// Why a key in wire form is not one we accept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// `ssh-dss`.
    #[error("DSA keys are too weak to be accepted; make a new one with `ssh-keygen -t ed25519`")]
    Dsa,
    /// RSA below 2048 bits.
    #[error(
        "this RSA key has {bits} bits, and at least {SMALLEST_RSA_BITS} are needed; make a new one with `ssh-keygen -t ed25519`"
    )]
    ShortRsa {
        /// Length of the modulus.
        bits: usize,
    },
    /// RSA above 8192 bits.
    #[error(
        "this RSA key has {bits} bits, and at most {LONGEST_RSA_BITS} are accepted; make a new one with `ssh-keygen -t ed25519`"
    )]
    LongRsa {
        /// Length of the modulus.
        bits: usize,
    },
    /// Any `…-cert-v01@openssh.com`.
    #[error("this is a certificate; give the plain public key it was made for")]
    Certificate,
    /// A type we do not know.
    #[error("keys of the type {} are not supported", .key_type.escape_debug())]
    Unsupported {
        /// The type as it was given, cut to a printable length.
        key_type: String,
    },
    /// Fields that do not fit their length, or more than one way to write them.
    #[error("the key is damaged")]
    Malformed(#[from] WireError),
    /// The key ends before its bytes do.
    #[error("the key is damaged: bytes follow its end")]
    TrailingBytes,
    /// Numbers that are no public key, such as a point beside its curve.
    #[error("the key is damaged: its numbers are no valid key")]
    InvalidNumbers,
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The request announced an algorithm this key cannot sign with, or one we never accept (`ssh-rsa`, which is SHA-1).
    #[error("the algorithm is not one this key may sign with")]
    AlgorithmRefused,
    /// The signature names another algorithm than the request did.
    #[error("the signature was made with another algorithm than the one announced")]
    AlgorithmDiffers,
    /// The signature's fields do not fit.
    #[error("the signature is malformed")]
    Malformed,
    /// A security key signed without being touched.
    #[error("the security key was not touched")]
    NotTouched,
    /// It is a signature, but not of this message by this key.
    #[error("the signature is wrong")]
    Wrong,
}

impl From<WireError> for SignatureError {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

/// The curves of RFC 5656 §10.1, each with the hash §6.2.1 ties to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EcdsaCurve {
    Nistp256,
    Nistp384,
    Nistp521,
}

impl EcdsaCurve {
    pub(super) const ALL: [Self; 3] = [Self::Nistp256, Self::Nistp384, Self::Nistp521];

    pub(super) const fn key_type(self) -> &'static str {
        match self {
            Self::Nistp256 => ECDSA_NISTP256,
            Self::Nistp384 => ECDSA_NISTP384,
            Self::Nistp521 => ECDSA_NISTP521,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nistp256 => "nistp256",
            Self::Nistp384 => "nistp384",
            Self::Nistp521 => "nistp521",
        }
    }

    /// Bytes of one coordinate, of the private scalar, and of either half of a signature.
    pub(super) const fn scalar_len(self) -> usize {
        match self {
            Self::Nistp256 => 32,
            Self::Nistp384 => 48,
            Self::Nistp521 => 66,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::Nistp256 => &ECDSA_P256_SHA256_FIXED,
            Self::Nistp384 => &ECDSA_P384_SHA384_FIXED,
            Self::Nistp521 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

const SSH_ED25519: &str = "ssh-ed25519";
const ECDSA_NISTP256: &str = "ecdsa-sha2-nistp256";
const ECDSA_NISTP384: &str = "ecdsa-sha2-nistp384";
const ECDSA_NISTP521: &str = "ecdsa-sha2-nistp521";
const SSH_RSA: &str = "ssh-rsa";
const SSH_DSS: &str = "ssh-dss";
const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com";
const SK_ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
pub(super) const RSA_SHA2_256: &str = "rsa-sha2-256";
pub(super) const RSA_SHA2_512: &str = "rsa-sha2-512";
const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";

/// Whether a text names a kind of key, accepted here or not.
pub(super) fn is_key_type(name: &str) -> bool {
    let plain = name.strip_suffix(CERTIFICATE_SUFFIX).map(|plain| format!("{plain}@openssh.com"));
    [Some(name), name.strip_suffix(CERTIFICATE_SUFFIX), plain.as_deref()].into_iter().flatten().any(|name| {
        [SSH_ED25519, SSH_RSA, SSH_DSS, SK_ED25519, SK_ECDSA].contains(&name)
            || EcdsaCurve::ALL.iter().any(|curve| curve.key_type() == name)
    })
}

/// A public key that an account may hold. Cheap to clone.
#[derive(Clone)]
pub struct PublicKey {
    blob: Arc<[u8]>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Ed25519 { key: [u8; 32] },
    Ecdsa { curve: EcdsaCurve, point: Arc<[u8]> },
    Rsa { modulus: Arc<[u8]>, exponent: Arc<[u8]> },
    SkEd25519 { key: [u8; 32], application: Arc<[u8]> },
    SkEcdsa { point: Arc<[u8]>, application: Arc<[u8]> },
}

impl PublicKey {
    /// Reads a key in wire form (RFC 4253 §6.6), as it stands in an authentication request and, in Base64, in a `.pub` file.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(blob);
        let key_type = reader.string()?;
        let material = match std::str::from_utf8(key_type).unwrap_or_default() {
            SSH_ED25519 => Material::Ed25519 { key: read_ed25519(&mut reader)? },
            SSH_RSA => read_rsa(&mut reader)?,
            SK_ED25519 => Material::SkEd25519 { key: read_ed25519(&mut reader)?, application: reader.string()?.into() },
            SK_ECDSA => Material::SkEcdsa {
                point: read_point(EcdsaCurve::Nistp256, &mut reader)?,
                application: reader.string()?.into(),
            },
            SSH_DSS => return Err(KeyError::Dsa),
            name if name.ends_with(CERTIFICATE_SUFFIX) => return Err(KeyError::Certificate),
            name => match EcdsaCurve::ALL.into_iter().find(|curve| curve.key_type() == name) {
                Some(curve) => Material::Ecdsa { curve, point: read_point(curve, &mut reader)? },
                None => return Err(unsupported(key_type)),
            },
        };
        reader.end().map_err(|_| KeyError::TrailingBytes)?;
        Ok(Self { blob: blob.into(), material })
    }

    /// The key in wire form.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The key's type as its text form begins: `ssh-ed25519`, `ssh-rsa`, …
    pub fn key_type(&self) -> &'static str {
        match &self.material {
            Material::Ed25519 { .. } => SSH_ED25519,
            Material::Ecdsa { curve, .. } => curve.key_type(),
            Material::Rsa { .. } => SSH_RSA,
            Material::SkEd25519 { .. } => SK_ED25519,
            Material::SkEcdsa { .. } => SK_ECDSA,
        }
    }

    /// SHA-256 of the blob, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(sha256(&self.blob))
    }

    /// One line as in a `.pub` file, without a line end. Control characters of the comment become spaces, so that no
    /// comment can start another line.
    pub fn to_text(&self, comment: &str) -> String {
        let mut text = format!("{} {}", self.key_type(), Base64::encode_string(&self.blob));
        if !comment.is_empty() {
            text.push(' ');
            text.extend(comment.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        text
    }

    /// The signature algorithms this key may sign with.
    pub fn algorithms(&self) -> &'static [&'static str] {
        match &self.material {
            Material::Ed25519 { .. } => &[SSH_ED25519],
            Material::Ecdsa { curve: EcdsaCurve::Nistp256, .. } => &[ECDSA_NISTP256],
            Material::Ecdsa { curve: EcdsaCurve::Nistp384, .. } => &[ECDSA_NISTP384],
            Material::Ecdsa { curve: EcdsaCurve::Nistp521, .. } => &[ECDSA_NISTP521],
            Material::Rsa { .. } => &[RSA_SHA2_512, RSA_SHA2_256],
            Material::SkEd25519 { .. } => &[SK_ED25519],
            Material::SkEcdsa { .. } => &[SK_ECDSA],
        }
    }

    /// Whether a request that names this algorithm can succeed with this key.
    pub fn accepts_algorithm(&self, algorithm: &[u8]) -> bool {
        self.algorithms().iter().any(|name| name.as_bytes() == algorithm)
    }

    /// Every algorithm some key may sign with: what `server-sig-algs` tells a client (RFC 8308 §3.1).
    pub fn signature_algorithms() -> &'static [&'static str] {
        &[SSH_ED25519, ECDSA_NISTP256, ECDSA_NISTP384, ECDSA_NISTP521, SK_ED25519, SK_ECDSA, RSA_SHA2_512, RSA_SHA2_256]
    }

    /// Checks a signature in wire form over `message`. The algorithm it names must be the one the request announced
    /// (RFC 8332 §3.2) and fit the key; a security key must have been touched.
    pub fn verify(&self, announced_algorithm: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        if !self.accepts_algorithm(announced_algorithm) {
            return Err(SignatureError::AlgorithmRefused);
        }
        self.verify_by(announced_algorithm, message, signature)
    }

    /// Checks a server's proof that it holds this host key, by the algorithm that was agreed on. That may be `ssh-rsa`, which
    /// only a client that offered it can have agreed on.
    pub(crate) fn verify_host_proof(
        &self,
        agreed_algorithm: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        if agreed_algorithm == SSH_RSA.as_bytes() && matches!(self.material, Material::Rsa { .. }) {
            return self.verify_by(agreed_algorithm, message, signature);
        }
        self.verify(agreed_algorithm, message, signature)
    }

    fn verify_by(&self, announced_algorithm: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let mut reader = Reader::new(signature);
        if reader.string()? != announced_algorithm {
            return Err(SignatureError::AlgorithmDiffers);
        }
        let signature = reader.string()?;
        match &self.material {
            Material::Ed25519 { key } => {
                reader.end()?;
                verify_ed25519(key, message, signature)
            }
            Material::Ecdsa { curve, point } => {
                reader.end()?;
                verify_ecdsa(*curve, point, message, signature)
            }
            Material::Rsa { modulus, exponent } => {
                reader.end()?;
                let parameters = rsa_parameters(announced_algorithm).ok_or(SignatureError::AlgorithmRefused)?;
                verify_rsa(modulus, exponent, parameters, message, signature)
            }
            Material::SkEd25519 { key, application } => {
                let message = read_security_key_message(&mut reader, application, message)?;
                verify_ed25519(key, &message, signature)
            }
            Material::SkEcdsa { point, application } => {
                let message = read_security_key_message(&mut reader, application, message)?;
                verify_ecdsa(EcdsaCurve::Nistp256, point, &message, signature)
            }
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.blob.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.key_type(), self.fingerprint())
    }
}

fn unsupported(key_type: &[u8]) -> KeyError {
    // The longest name RFC 4251 §6 allows.
    KeyError::Unsupported { key_type: String::from_utf8_lossy(key_type).chars().take(64).collect() }
}

/// RFC 8709 §4.
fn read_ed25519(reader: &mut Reader<'_>) -> Result<[u8; 32], KeyError> {
    reader.string()?.try_into().map_err(|_| KeyError::InvalidNumbers)
}

/// RFC 5656 §3.1: the curve's name once more, then a point. Only uncompressed points are taken, as OpenSSH does: a second
/// spelling of a key would be a second fingerprint.
fn read_point(curve: EcdsaCurve, reader: &mut Reader<'_>) -> Result<Arc<[u8]>, KeyError> {
    if reader.string()? != curve.name().as_bytes() {
        return Err(KeyError::InvalidNumbers);
    }
    let point = reader.string()?;
    if point.len() != 1 + 2 * curve.scalar_len() || ParsedPublicKey::new(curve.verification(), point).is_err() {
        return Err(KeyError::InvalidNumbers);
    }
    Ok(point.into())
}

/// RFC 4253 §6.6.
fn read_rsa(reader: &mut Reader<'_>) -> Result<Material, KeyError> {
    let exponent = reader.mpint()?;
    let modulus = reader.mpint()?;
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if bits < SMALLEST_RSA_BITS {
        return Err(KeyError::ShortRsa { bits });
    }
    if bits > LONGEST_RSA_BITS {
        return Err(KeyError::LongRsa { bits });
    }
    // With an exponent of 1 anybody can sign; an even one fits no key; a huge one costs the verifier time. The provider says
    // so only when it verifies, and the person who gave the key should hear it now.
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !is_odd(modulus) || !is_odd(exponent) || exponent == [1] || exponent.len() > LONGEST_RSA_EXPONENT {
        return Err(KeyError::InvalidNumbers);
    }
    Ok(Material::Rsa { modulus: modulus.into(), exponent: exponent.into() })
}

fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).map_err(|_| SignatureError::Wrong)
}

/// RFC 5656 §3.1.2: the signature is two numbers; the provider wants them at full width, one behind the other.
fn verify_ecdsa(curve: EcdsaCurve, point: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let mut reader = Reader::new(signature);
    let (r, s) = (reader.mpint()?, reader.mpint()?);
    reader.end()?;
    let mut buffer = [0; ECDSA_SIGNATURE_MAX];
    let (fixed, _) = buffer.split_at_mut(2 * curve.scalar_len());
    let (fixed_r, fixed_s) = fixed.split_at_mut(curve.scalar_len());
    copy_right_aligned(r, fixed_r)?;
    copy_right_aligned(s, fixed_s)?;
    UnparsedPublicKey::new(curve.verification(), point).verify(message, fixed).map_err(|_| SignatureError::Wrong)
}

fn rsa_parameters(algorithm: &[u8]) -> Option<&'static signature::RsaParameters> {
    match std::str::from_utf8(algorithm).unwrap_or_default() {
        RSA_SHA2_512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        RSA_SHA2_256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        SSH_RSA => Some(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        _ => None,
    }
}

/// RFC 8332 §3. Some clients drop leading zeros of the signature, which OpenSSH puts back, and so do we.
fn verify_rsa(
    modulus: &[u8],
    exponent: &[u8],
    parameters: &signature::RsaParameters,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let mut buffer = [0; RSA_SIGNATURE_MAX];
    let padded = buffer.get_mut(..modulus.len()).ok_or(SignatureError::Malformed)?;
    copy_right_aligned(signature, padded)?;
    RsaPublicKeyComponents { n: modulus, e: exponent }
        .verify(parameters, message, padded)
        .map_err(|_| SignatureError::Wrong)
}

/// OpenSSH's `PROTOCOL.u2f`: a security key signs `SHA256(application) ‖ flags ‖ counter ‖ SHA256(message)`. Flags and
/// counter follow the signature; they are covered by it, so they can be believed once it holds.
fn read_security_key_message(
    reader: &mut Reader<'_>,
    application: &[u8],
    message: &[u8],
) -> Result<[u8; 69], SignatureError> {
    let flags = reader.u8()?;
    let counter = reader.u32()?;
    reader.end()?;
    if flags & USER_PRESENT == 0 {
        return Err(SignatureError::NotTouched);
    }
    let mut signed = [0; 69];
    signed[..32].copy_from_slice(&sha256(application));
    signed[32] = flags;
    signed[33..37].copy_from_slice(&counter.to_be_bytes());
    signed[37..].copy_from_slice(&sha256(message));
    Ok(signed)
}

fn copy_right_aligned(number: &[u8], field: &mut [u8]) -> Result<(), SignatureError> {
    let start = field.len().checked_sub(number.len()).ok_or(SignatureError::Malformed)?;
    field[start..].copy_from_slice(number);
    Ok(())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    output.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    output
}

/// SHA-256 of a public key's wire form: short enough to compare by eye. Reads and prints as `SHA256:` and unpadded Base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; 43];
        f.write_str("SHA256:")?;
        f.write_str(Base64Unpadded::encode(&self.0, &mut buffer).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a SHA-256 fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a fingerprint looks like SHA256: followed by 43 letters, digits, + or /, as `ssh-keygen -l` prints it")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim().strip_prefix("SHA256:").ok_or(FingerprintError)?;
        let mut digest = [0; 32];
        match Base64Unpadded::decode(digits, &mut digest) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(digest)),
            _ => Err(FingerprintError),
        }
    }
}

/// Writes an Ed25519 key in wire form.
pub(super) fn ed25519_blob(key: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    wire::put_string(&mut blob, SSH_ED25519.as_bytes());
    wire::put_string(&mut blob, key);
    blob
}

/// Writes an ECDSA key in wire form.
pub(super) fn ecdsa_blob(curve: EcdsaCurve, point: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    wire::put_string(&mut blob, curve.key_type().as_bytes());
    wire::put_string(&mut blob, curve.name().as_bytes());
    wire::put_string(&mut blob, point);
    blob
}

/// Writes an RSA key in wire form, from big-endian numbers.
pub(super) fn rsa_blob(exponent: &[u8], modulus: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    wire::put_string(&mut blob, SSH_RSA.as_bytes());
    wire::put_mpint(&mut blob, exponent);
    wire::put_mpint(&mut blob, modulus);
    blob
}

#[cfg(test)]
mod tests;
