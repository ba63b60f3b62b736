//! The sealed form of the secrets.
//!
//!     "adit vault 1\n"        13 bytes
//!     lock                     1 byte: 0 the key lies in a file, 1 argon2id of a passphrase, 2 the key lies in a keyring
//!     salt                    16 bytes: the passphrase's salt, the name of the key in the keyring, or zero
//!     nonce                   12 bytes, random: each writing has its own
//!     sealed                  AES-256-GCM over everything before the nonce (associated) and the secrets
//!
//! Inside the seal: each secret as a name and a value, both with their length before them in four bytes, the highest first.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::keyring::KeyName;
use super::{Secrets, VaultError};

const MAGIC: &[u8; 13] = b"adit vault 1\n";
pub(super) const SALT: usize = 16;
const HEAD: usize = MAGIC.len() + 1 + SALT;
pub(super) const KEY: usize = 32;

/// What argon2id may cost whoever guesses: 64 MiB and three passes, RFC 9106's second choice but for one lane; a tenth of a second
/// here, once per unlocking.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;

/// What the key of a vault comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lock {
    /// A file beside it.
    KeyFile,
    /// A passphrase, with this salt.
    Passphrase([u8; SALT]),
    /// The desktop's keyring, under this name.
    Keyring(KeyName),
}

/// A key; wiped when it is dropped.
#[derive(Clone)]
pub(super) struct Key(Zeroizing<[u8; KEY]>);

/// It is not what was sealed with this key.
#[derive(Debug)]
pub(super) struct NotOurs;

impl Key {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub(super) fn generate() -> Result<Self, VaultError> {
        random().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0[..]
    }

    /// Slow on purpose.
    pub(super) fn derive(passphrase: &str, salt: &[u8]) -> Result<Self, VaultError> {
        let params = Params::new(MEMORY_KIB, PASSES, 1, Some(KEY)).map_err(|_| VaultError::Provider)?;
        let mut key = Self(Zeroizing::new([0; KEY]));
        let argon2id = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2id.hash_password_into(passphrase.as_bytes(), salt, &mut key.0[..]).map_err(|_| VaultError::Provider)?;
        Ok(key)
    }

    fn cipher(&self) -> Result<LessSafeKey, VaultError> {
        let key = UnboundKey::new(&AES_256_GCM, self.bytes()).map_err(|_| VaultError::Provider)?;
        Ok(LessSafeKey::new(key))
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| VaultError::Provider)?;
    Ok(bytes)
}

/// Seals the secrets.
pub(super) fn seal(key: &Key, lock: &Lock, secrets: &Secrets) -> Result<Vec<u8>, VaultError> {
    let mut head = MAGIC.to_vec();
    let (kind, salt) = match lock {
        Lock::KeyFile => (0, [0; SALT]),
        Lock::Passphrase(salt) => (1, *salt),
        Lock::Keyring(KeyName(name)) => (2, *name),
    };
    head.push(kind);
    head.extend_from_slice(&salt);
    let nonce: [u8; NONCE_LEN] = random()?;
    let mut text = encode(secrets);
    let tag = key
        .cipher()?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&head), &mut text[..])
        .map_err(|_| VaultError::Provider)?;
    Ok([&head[..], &nonce, &text[..], tag.as_ref()].concat())
}

/// A sealed file as it was read. Its head is not proven before it is opened.
pub(super) struct Sealed(Vec<u8>);

impl Sealed {
    /// `None` where it does not even look like one.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= HEAD + NONCE_LEN + AES_256_GCM.tag_len() && bytes.starts_with(MAGIC)).then_some(Self(bytes))
    }

    /// `None` for a kind that is not known here.
    pub(super) fn lock(&self) -> Option<Lock> {
        let salt = self.0[MAGIC.len() + 1..HEAD].try_into().ok()?;
        match self.0[MAGIC.len()] {
            0 => Some(Lock::KeyFile),
            1 => Some(Lock::Passphrase(salt)),
            2 => Some(Lock::Keyring(KeyName(salt))),
            _ => None,
        }
    }

    pub(super) fn open(&self, key: &Key) -> Result<Secrets, NotOurs> {
        let (head, rest) = self.0.split_at(HEAD);
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOurs)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let cipher = key.cipher().map_err(|_| NotOurs)?;
        let opened = cipher.open_in_place(nonce, Aad::from(head), &mut text).map_err(|_| NotOurs)?;
        decode(opened).ok_or(NotOurs)
    }
}

fn encode(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    let parts = || secrets.iter().flat_map(|(name, secret)| [name.as_str(), secret.as_str()]);
    // Room for all of it, so that no copy of a secret is left behind by a reallocation.
    let mut text = Zeroizing::new(Vec::with_capacity(parts().map(|part| 4 + part.len()).sum()));
    for part in parts() {
        text.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    text
}

fn decode(mut text: &[u8]) -> Option<Secrets> {
    fn part<'a>(text: &mut &'a [u8]) -> Option<&'a str> {
        let (length, rest) = text.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        *text = rest;
        std::str::from_utf8(part).ok()
    }
    let mut secrets = Secrets::new();
    while !text.is_empty() {
        let name = part(&mut text)?.to_owned();
        secrets.insert(name, Zeroizing::new(part(&mut text)?.to_owned()));
    }
    Some(secrets)
}
