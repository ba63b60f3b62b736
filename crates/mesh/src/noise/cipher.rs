//! X25519 and ChaCha20-Poly1305 from the one provider of the tree, for Noise (§12.1, §12.3); the hash is the library's own.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver, DefaultResolver, FallbackResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use zeroize::Zeroizing;

const TAG: usize = 16;

pub(super) fn resolver() -> BoxedCryptoResolver {
    Box::new(FallbackResolver::new(Box::new(OfProvider), Box::new(DefaultResolver)))
}

struct OfProvider;

impl CryptoResolver for OfProvider {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        None
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(Curve25519::default())),
            _ => None,
        }
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

/// A pair of keys; none until one is set, and then whatever is asked of it fails.
#[derive(Default)]
struct Curve25519 {
    pair: Option<PrivateKey>,
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Dh for Curve25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        self.public.len()
    }

    fn priv_len(&self) -> usize {
        self.private.len()
    }

    fn set(&mut self, private: &[u8]) {
        let pair = PrivateKey::from_private_key(&X25519, private).ok();
        let public = pair.as_ref().and_then(|pair| pair.compute_public_key().ok()?.as_ref().try_into().ok());
        if let (Ok(private), Some(public)) = (private.try_into(), public) {
            (*self.private, self.public, self.pair) = (private, public, pair);
        }
    }

    fn generate(&mut self, _: &mut dyn Random) -> Result<(), snow::Error> {
        let mut private = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *private).map_err(|_| snow::Error::Rng)?;
        self.set(&*private);
        if self.pair.is_some() { Ok(()) } else { Err(snow::Error::Rng) }
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.private
    }

    /// A key of the other side with which nothing secret comes out is refused (RFC 7748 §6.1).
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let pair = self.pair.as_ref().ok_or(snow::Error::Dh)?;
        let public = UnparsedPublicKey::new(&X25519, public.get(..self.public.len()).ok_or(snow::Error::Dh)?);
        agree(pair, public, snow::Error::Dh, |secret| {
            out.get_mut(..secret.len()).ok_or(snow::Error::Dh)?.copy_from_slice(secret);
            Ok(())
        })
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
