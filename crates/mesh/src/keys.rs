//! The keys of an agent, and the provider that hashes, signs and looks at signatures for `core`.

use std::sync::Arc;

use adit_core::mesh::{Judge, Keys, PublicKey, SessionKey, Signature};
use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

/// The one provider of cryptography.
#[derive(Debug, Clone, Copy, Default)]
pub struct Provider;

impl Judge for Provider {
    fn hash(&self, message: &[u8]) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, message).as_ref());
        hash
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
    }
}

/// Bytes that nobody can guess.
///
/// # Errors
/// The system has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// An Ed25519 key that signs: an agent's, an invitation's or a root's.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<SigningKey, NoRandomness> {
        SigningKey::from_seed(Zeroizing::new(random()?)).ok_or(NoRandomness)
    }

    /// The one with this seed (RFC 8032 §5.1.5); every seed is one.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Option<SigningKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?;
        let public = pair.public_key().as_ref().try_into().ok()?;
        Some(SigningKey { seed, pair, public })
    }

    /// What it is made of.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Its signature over a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What an agent keeps to itself: who it is, and what connections to it are encrypted to. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct AgentKeys {
    /// Its Ed25519 key.
    pub identity: Arc<SigningKey>,
    /// Its X25519 key.
    pub session: Arc<Zeroizing<[u8; 32]>>,
}

impl AgentKeys {
    /// New ones.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<AgentKeys, NoRandomness> {
        Ok(AgentKeys::new(SigningKey::generate()?, Zeroizing::new(random()?)))
    }

    /// These ones.
    pub fn new(identity: SigningKey, session: Zeroizing<[u8; 32]>) -> AgentKeys {
        AgentKeys { identity: Arc::new(identity), session: Arc::new(session) }
    }

    /// The public half of the X25519 key.
    ///
    /// # Errors
    /// The key is none.
    pub fn session_key(&self) -> Result<SessionKey, NoRandomness> {
        let private = PrivateKey::from_private_key(&X25519, &**self.session).map_err(|_| NoRandomness)?;
        let public = private.compute_public_key().map_err(|_| NoRandomness)?;
        public.as_ref().try_into().map_err(|_| NoRandomness)
    }
}

impl Judge for AgentKeys {
    fn hash(&self, message: &[u8]) -> [u8; 32] {
        Provider.hash(message)
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        Provider.verifies(key, message, signature)
    }
}

impl Keys for AgentKeys {
    fn sign(&self, message: &[u8]) -> Signature {
        self.identity.sign(message)
    }
}
