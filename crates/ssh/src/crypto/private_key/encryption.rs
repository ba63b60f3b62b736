//! Opens the private section of an encrypted `openssh-key-v1` file (OpenSSH's `PROTOCOL.key`): a key and an initial value are
//! derived from the passphrase by bcrypt, the rest is an ordinary cipher.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, Algorithm, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use bcrypt_pbkdf::bcrypt_pbkdf;
use zeroize::Zeroizing;

use super::PrivateKeyError;
use crate::wire::Reader;

/// `ssh-keygen` makes 16 or 24, whoever is careful some hundred; a file must not keep a thread busy for minutes.
const MAX_ROUNDS: u32 = 1024;
/// The longest name of a cipher that is repeated to a person.
const MAX_NAME: usize = 64;

/// How the section is encrypted.
enum Mode {
    Ctr(&'static Algorithm),
    /// The default of OpenSSH 6.5 to 7.5.
    Cbc(&'static Algorithm),
    Gcm(&'static aws_lc_rs::aead::Algorithm),
}

impl Mode {
    fn of(cipher: &[u8]) -> Option<Self> {
        Some(match cipher {
            b"aes128-ctr" => Self::Ctr(&AES_128),
            b"aes192-ctr" => Self::Ctr(&AES_192),
            b"aes256-ctr" => Self::Ctr(&AES_256),
            b"aes128-cbc" => Self::Cbc(&AES_128),
            b"aes192-cbc" => Self::Cbc(&AES_192),
            b"aes256-cbc" => Self::Cbc(&AES_256),
            b"aes128-gcm@openssh.com" => Self::Gcm(&AES_128_GCM),
            b"aes256-gcm@openssh.com" => Self::Gcm(&AES_256_GCM),
            _ => return None,
        })
    }

    fn key_len(&self) -> usize {
        match self {
            Self::Gcm(algorithm) => algorithm.key_len(),
            Self::Ctr(algorithm) | Self::Cbc(algorithm) => match algorithm {
                algorithm if **algorithm == AES_128 => 16,
                algorithm if **algorithm == AES_192 => 24,
                _ => 32,
            },
        }
    }

    fn iv_len(&self) -> usize {
        match self {
            Self::Gcm(_) => 12,
            Self::Ctr(_) | Self::Cbc(_) => 16,
        }
    }
}

/// Opens a section. What comes out may still be nonsense: only the modes that authenticate notice a wrong passphrase here.
pub(super) fn open(
    (cipher, kdf, kdf_options): (&[u8], &[u8], &[u8]),
    section: &[u8],
    tag: &[u8],
    passphrase: &str,
) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let unsupported = |name: &[u8]| PrivateKeyError::UnsupportedEncryption {
        how: String::from_utf8_lossy(name).chars().take(MAX_NAME).collect(),
    };
    if kdf != b"bcrypt" {
        return Err(unsupported(kdf));
    }
    let mode = Mode::of(cipher).ok_or_else(|| unsupported(cipher))?;
    let mut options = Reader::new(kdf_options);
    let (salt, rounds) = (options.string()?, options.u32()?);
    options.end()?;
    if rounds > MAX_ROUNDS {
        return Err(unsupported(format!("bcrypt with {rounds} rounds").as_bytes()));
    }
    if passphrase.is_empty() {
        return Err(PrivateKeyError::WrongPassphrase);
    }
    let mut derived = Zeroizing::new(vec![0; mode.key_len() + mode.iv_len()]);
    bcrypt_pbkdf(passphrase, salt, rounds, &mut derived).map_err(|_| PrivateKeyError::Damaged)?;
    let (key, iv) = derived.split_at(mode.key_len());
    let mut bytes = Zeroizing::new(section.to_vec());
    match mode {
        Mode::Gcm(algorithm) => {
            let key = LessSafeKey::new(UnboundKey::new(algorithm, key)?);
            let nonce = Nonce::try_assume_unique_for_key(iv)?;
            key.open_in_place_separate_tag(nonce, Aad::empty(), tag, &mut bytes)
                .map_err(|_| PrivateKeyError::WrongPassphrase)?;
        }
        Mode::Ctr(algorithm) | Mode::Cbc(algorithm) => {
            if !tag.is_empty() {
                return Err(PrivateKeyError::Damaged);
            }
            let key = UnboundCipherKey::new(algorithm, key)?;
            let key = if matches!(mode, Mode::Ctr(_)) { DecryptingKey::ctr(key)? } else { DecryptingKey::cbc(key)? };
            let iv = DecryptionContext::Iv128(FixedLength::try_from(iv)?);
            // Fails only where the section is not whole blocks.
            key.decrypt(&mut bytes, iv).map_err(|_| PrivateKeyError::Damaged)?;
        }
    }
    Ok(bytes)
}
