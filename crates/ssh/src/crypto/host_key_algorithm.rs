//! The algorithms a server may prove its host key with (RFC 4253 §6.6, RFC 8332 §3.1), as a client offers them.

use super::public_key::PublicKey;

/// A host key algorithm: a type of key, and for RSA the hash its signature is made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostKeyAlgorithm {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`
    EcdsaNistp256,
    /// `ecdsa-sha2-nistp384`
    EcdsaNistp384,
    /// `ecdsa-sha2-nistp521`
    EcdsaNistp521,
    /// `rsa-sha2-512`
    RsaSha512,
    /// `rsa-sha2-256`
    RsaSha256,
    /// `ssh-rsa`: RSA over SHA-1, for machines that know nothing newer.
    RsaSha1,
}

impl HostKeyAlgorithm {
    /// All algorithms that are sound, best first.
    pub const ALL: [Self; 6] = [
        Self::Ed25519,
        Self::EcdsaNistp256,
        Self::EcdsaNistp384,
        Self::EcdsaNistp521,
        Self::RsaSha512,
        Self::RsaSha256,
    ];

    /// What is offered only where somebody asked for it.
    pub const OLD: [Self; 1] = [Self::RsaSha1];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaNistp256 => "ecdsa-sha2-nistp256",
            Self::EcdsaNistp384 => "ecdsa-sha2-nistp384",
            Self::EcdsaNistp521 => "ecdsa-sha2-nistp521",
            Self::RsaSha512 => "rsa-sha2-512",
            Self::RsaSha256 => "rsa-sha2-256",
            Self::RsaSha1 => "ssh-rsa",
        }
    }

    /// Whether this key could be proved by this algorithm.
    pub fn fits(self, key: &PublicKey) -> bool {
        match self {
            Self::RsaSha512 | Self::RsaSha256 | Self::RsaSha1 => key.key_type() == Self::RsaSha1.name(),
            other => key.key_type() == other.name(),
        }
    }
}
