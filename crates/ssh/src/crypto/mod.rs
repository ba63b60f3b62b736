//! The cryptography of SSH-2, composed from primitives that are not ours: `aws-lc-rs` computes, we only put its results
//! where the RFCs want them. Nothing here knows a session, a socket or a clock.
//!
//! * `cipher` opens and seals the packets of one direction, in place.
//! * `kex` agrees on a secret, hashes the exchange and derives keys from both; `group14` does so without a curve.
//! * `public_key` reads the keys people hold and checks what they signed; `key_text` reads what they paste, `sshsig` what
//!   `ssh-keygen -Y sign` writes.
//! * `private_key` holds a private key and signs.
//! * `host_key_algorithm` names what a server may prove its key with.
//!
//! Deliberately absent: compression, RC4, MD5, DSA, CBC for packets, and anything that sends a packet without a MAC after the
//! first key exchange. SHA-1 is in what is named `OLD` and nowhere else, and nothing here signs with it.

mod cipher;
mod group14;
mod host_key_algorithm;
mod kex;
mod key_text;
mod private_key;
mod public_key;
mod sshsig;
#[cfg(test)]
mod testing;

pub use cipher::{Cipher, Mac};
pub(crate) use cipher::{CipherKeys, Opener, Sealer};
pub use host_key_algorithm::HostKeyAlgorithm;
pub use kex::KexAlgorithm;
pub(crate) use kex::{ClientKex, ExchangeHashInput, KexError, SharedSecret, derive_key, exchange_hash, respond};
pub use key_text::KeyTextError;
pub use private_key::{PrivateKey, PrivateKeyError, SignError};
pub use public_key::{Fingerprint, FingerprintError, KeyError, PublicKey, SignatureError};
pub use sshsig::SshsigError;

/// What a server calls a private key of its own.
pub type HostKey = PrivateKey;
/// Why a server's key file could not be read or written.
pub type HostKeyError = PrivateKeyError;
