//! Files of private keys: `openssh-key-v1` (OpenSSH's `PROTOCOL.key`), and the PEM forms of PKCS #1, PKCS #8 and SEC 1.
//!
//! We read OpenSSH's format ourselves because `ssh-key` 0.6 refuses a scalar that begins with a zero byte: every fourth key on
//! P-521. The PEM forms are the provider's to read.

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair,
};
use base64ct::{Base64, Encoding};
use crypto_bigint::{BoxedUint, NonZero};
use zeroize::{Zeroize, Zeroizing};

use super::{ED25519_SEED_LEN, OPENSSH_LABEL, OPENSSH_MAGIC, PrivateKey, PrivateKeyError, Signer, encryption};
use crate::crypto::public_key::{EcdsaCurve, KeyError, PublicKey};
use crate::wire::Reader;

/// The provider takes no longer ones.
const LONGEST_RSA_BYTES: usize = 8192 / 8;

/// Reads a key file; an encrypted one by its passphrase.
pub(super) fn read(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, PrivateKeyError> {
    let (label, body) = armoured(text).ok_or(PrivateKeyError::NotAPrivateKey)?;
    // RFC 1421 headers stand only in encrypted files.
    if label == "ENCRYPTED PRIVATE KEY" || body.contains(':') {
        return Err(match passphrase {
            None => PrivateKeyError::Encrypted,
            Some(_) => PrivateKeyError::UnsupportedEncryption { how: "PEM".into() },
        });
    }
    let bytes = || Base64::decode_vec(&body).map(Zeroizing::new).map_err(|_| PrivateKeyError::Damaged);
    match label {
        OPENSSH_LABEL => read_openssh(&bytes()?, passphrase),
        "RSA PRIVATE KEY" => PrivateKey::from_signer(Signer::Rsa(RsaKeyPair::from_der(&bytes()?)?)),
        "EC PRIVATE KEY" => PrivateKey::from_signer(read_ecdsa_der(&bytes()?).ok_or(PrivateKeyError::Damaged)?),
        "PRIVATE KEY" => {
            let bytes = bytes()?;
            let ed25519 = || Ed25519KeyPair::from_pkcs8(&bytes).ok().map(Signer::Ed25519);
            let rsa = || RsaKeyPair::from_pkcs8(&bytes).ok().map(Signer::Rsa);
            let signer = ed25519().or_else(|| read_ecdsa_der(&bytes)).or_else(rsa);
            PrivateKey::from_signer(signer.ok_or(PrivateKeyError::Damaged)?)
        }
        "DSA PRIVATE KEY" => Err(KeyError::Dsa.into()),
        _ => Err(PrivateKeyError::NotAPrivateKey),
    }
}

/// SEC 1 or PKCS #8; the curve stands inside.
fn read_ecdsa_der(der: &[u8]) -> Option<Signer> {
    EcdsaCurve::ALL.into_iter().find_map(|curve| {
        EcdsaKeyPair::from_private_key_der(signing(curve), der).ok().map(|key| Signer::Ecdsa(curve, key))
    })
}

fn read_openssh(bytes: &[u8], passphrase: Option<&str>) -> Result<PrivateKey, PrivateKeyError> {
    let mut file = Reader::new(bytes.strip_prefix(OPENSSH_MAGIC).ok_or(PrivateKeyError::Damaged)?);
    let (cipher, kdf, kdf_options) = (file.string()?, file.string()?, file.string()?);
    if file.u32()? != 1 {
        return Err(PrivateKeyError::Damaged);
    }
    let public = file.string()?;
    let private = file.string()?;
    let tag = file.rest();
    if (cipher, kdf, tag) == (b"none", b"none", b"") {
        return read_private_section(private, public, PrivateKeyError::Damaged);
    }
    let passphrase = passphrase.ok_or(PrivateKeyError::Encrypted)?;
    let private = encryption::open((cipher, kdf, kdf_options), private, tag, passphrase)?;
    read_private_section(&private, public, PrivateKeyError::WrongPassphrase)
}

/// The section that is encrypted where anything is. `mismatch` is what it means if its two check numbers differ.
fn read_private_section(
    private: &[u8],
    public: &[u8],
    mismatch: PrivateKeyError,
) -> Result<PrivateKey, PrivateKeyError> {
    let mut private = Reader::new(private);
    // Two equal numbers, by which a wrong passphrase is noticed.
    if private.u32()? != private.u32()? {
        return Err(mismatch);
    }
    let key_type = private.utf8()?;
    let signer = match EcdsaCurve::ALL.into_iter().find(|curve| curve.key_type() == key_type) {
        Some(curve) => read_ecdsa(curve, &mut private)?,
        None if key_type == "ssh-ed25519" => read_ed25519(&mut private)?,
        None if key_type == "ssh-rsa" => read_rsa(&mut private)?,
        None if key_type.starts_with("sk-") => return Err(PrivateKeyError::SecurityKey),
        None if key_type == "ssh-dss" => return Err(KeyError::Dsa.into()),
        None => return Err(KeyError::Unsupported { key_type: key_type.chars().take(64).collect() }.into()),
    };
    let _comment = private.string()?;
    if private.rest().iter().zip(1..).any(|(byte, expected)| *byte != expected) {
        return Err(PrivateKeyError::Damaged);
    }
    let key = PrivateKey::from_signer(signer)?;
    if *key.public_key() == PublicKey::from_blob(public)? { Ok(key) } else { Err(PrivateKeyError::Inconsistent) }
}

fn read_ed25519(private: &mut Reader<'_>) -> Result<Signer, PrivateKeyError> {
    let public = private.string()?;
    // The seed, and the public key once more.
    let (seed, again) = private.string()?.split_at_checked(ED25519_SEED_LEN).ok_or(PrivateKeyError::Damaged)?;
    if public != again {
        return Err(PrivateKeyError::Inconsistent);
    }
    Ok(Signer::Ed25519(Ed25519KeyPair::from_seed_and_public_key(seed, public)?))
}

fn read_ecdsa(curve: EcdsaCurve, private: &mut Reader<'_>) -> Result<Signer, PrivateKeyError> {
    if private.string()? != curve.name().as_bytes() {
        return Err(PrivateKeyError::Inconsistent);
    }
    let point = private.string()?;
    let number = private.mpint()?;
    // A number drops its leading zeros: every fourth scalar of P-521 is a byte shorter than the field it belongs in.
    let mut scalar = Zeroizing::new([0; EcdsaCurve::Nistp521.scalar_len()]);
    let scalar = &mut scalar[..curve.scalar_len()];
    let start = scalar.len().checked_sub(number.len()).ok_or(PrivateKeyError::Damaged)?;
    scalar[start..].copy_from_slice(number);
    Ok(Signer::Ecdsa(curve, EcdsaKeyPair::from_private_key_and_public_key(signing(curve), scalar, point)?))
}

fn signing(curve: EcdsaCurve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        EcdsaCurve::Nistp256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        EcdsaCurve::Nistp384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        EcdsaCurve::Nistp521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}

/// The file holds all numbers of an RSA key but two, which the provider wants: `d mod (p - 1)` and `d mod (q - 1)`.
fn read_rsa(private: &mut Reader<'_>) -> Result<Signer, PrivateKeyError> {
    let (n, e, d) = (private.mpint()?, private.mpint()?, private.mpint()?);
    let (q_inverse, p, q) = (private.mpint()?, private.mpint()?, private.mpint()?);
    if n.len() > LONGEST_RSA_BYTES {
        return Err(PrivateKeyError::Damaged);
    }
    let (d_p, d_q) = (reduced_by_one_less(d, p)?, reduced_by_one_less(d, q)?);
    Ok(Signer::Rsa(RsaKeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d,
        p,
        q,
        dP: &d_p[..],
        dQ: &d_q[..],
        qInv: q_inverse,
    })?))
}

/// `number mod (prime - 1)`, in a time that tells nothing but the numbers' lengths.
fn reduced_by_one_less(number: &[u8], prime: &[u8]) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let (last, head) = prime.split_last().ok_or(PrivateKeyError::Damaged)?;
    if last % 2 == 0 || prime.len() > LONGEST_RSA_BYTES || number.len() > LONGEST_RSA_BYTES {
        return Err(PrivateKeyError::Damaged);
    }
    let mut one_less = Zeroizing::new(head.to_vec());
    one_less.push(last - 1);
    let integer = |bytes: &[u8]| {
        BoxedUint::from_be_slice(bytes, 8 * bytes.len() as u32)
            .map(Zeroizing::new)
            .map_err(|_| PrivateKeyError::Damaged)
    };
    let modulus = integer(&one_less)?;
    let modulus =
        Option::<NonZero<BoxedUint>>::from(NonZero::new((*modulus).clone())).ok_or(PrivateKeyError::Damaged)?;
    let mut remainder = integer(number)?.rem(&modulus);
    let bytes = Zeroizing::new(remainder.to_be_bytes().into_vec());
    remainder.zeroize();
    modulus.get().zeroize();
    // The provider wants no leading zeros.
    let start = bytes.iter().position(|byte| *byte != 0).ok_or(PrivateKeyError::Damaged)?;
    Ok(Zeroizing::new(bytes[start..].to_vec()))
}

/// The label of the first armour in a text, and its body with the line ends removed.
pub(super) fn armoured(text: &str) -> Option<(&str, Zeroizing<String>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    rest.strip_prefix(label)?.strip_prefix("-----")?;
    let mut joined = Zeroizing::new(String::with_capacity(body.len()));
    joined.extend(body.split_ascii_whitespace());
    Some((label, joined))
}
