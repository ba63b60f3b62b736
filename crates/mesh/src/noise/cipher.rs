//! ChaCha20-Poly1305 from the one provider of the tree, for Noise (§12.3); the other parts are the library's own.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver, DefaultResolver, FallbackResolver};
use snow::types::{Cipher, Dh, Hash, Random};

const TAG: usize = 16;

pub(super) fn resolver() -> BoxedCryptoResolver {
    Box::new(FallbackResolver::new(Box::new(OurCipher), Box::new(DefaultResolver)))
}

struct OurCipher;

impl CryptoResolver for OurCipher {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        None
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        None
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        None
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        match choice {
            CipherChoice::ChaChaPoly => Some(Box::new(ChaChaPoly(None))),
            _ => None,
        }
    }
}

/// Without a key until the handshake has made one.
#[derive(Default)]
struct ChaChaPoly(Option<LessSafeKey>);

/// 32 bits of zeros and the number, little-endian (Noise §12.3).
fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new);
    }

    /// Leaves zeros where there is no key, which no other side opens.
    fn encrypt(&self, number: u64, aad: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let sealed = plain.len() + TAG;
        let (text, tag) = out[..sealed].split_at_mut(plain.len());
        text.copy_from_slice(plain);
        let made =
            self.0.as_ref().and_then(|key| key.seal_in_place_separate_tag(nonce(number), Aad::from(aad), text).ok());
        match made {
            Some(made) => tag.copy_from_slice(made.as_ref()),
            None => out[..sealed].fill(0),
        }
        sealed
    }

    fn decrypt(&self, number: u64, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, snow::Error> {
        let length = sealed.len().checked_sub(TAG).ok_or(snow::Error::Decrypt)?;
        let (text, tag) = sealed.split_at(length);
        let (key, plain) = self.0.as_ref().zip(out.get_mut(..length)).ok_or(snow::Error::Decrypt)?;
        key.open_separate_gather(nonce(number), Aad::from(aad), text, tag, plain).map_err(|_| snow::Error::Decrypt)?;
        Ok(length)
    }
}
