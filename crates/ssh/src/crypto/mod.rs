//! The cryptography of SSH-2, composed from primitives that are not ours: `aws-lc-rs` computes, we only put its results
//! where the RFCs want them. Nothing here knows a session, a socket or a clock.
//!
//! * `cipher` opens and seals the packets of one direction, in place.
//! * `kex` agrees on a secret, hashes the exchange and derives keys from both.
//! * `public_key` reads the keys people hold and checks what they signed; `key_text` reads what they paste.
//! * `host_key` holds a private key and signs.
//!
//! Deliberately absent: compression, CBC, RC4, MD5, SHA-1, DSA, and anything that sends a packet without a MAC after
//! the first key exchange.

mod cipher;
mod host_key;
mod kex;
mod key_text;
mod public_key;
#[cfg(test)]
mod testing;

pub use cipher::{Cipher, Mac};
pub(crate) use cipher::{CipherKeys, Opener, Sealer};
pub use host_key::{HostKey, HostKeyError, SignError};
pub use kex::KexAlgorithm;
pub(crate) use kex::{ClientKex, ExchangeHashInput, KexError, SharedSecret, derive_key, exchange_hash, respond};
pub use key_text::KeyTextError;
pub use public_key::{Fingerprint, FingerprintError, KeyError, PublicKey, SignatureError};
