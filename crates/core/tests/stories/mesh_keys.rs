//! Keys, invitations and certificates for stories. Keys are toys: a signature is a hash over the public key and the
//! message, so whoever knows a key can sign with it.

use adit_core::mesh::{Certificate, Invitation, Judge, Keys, PublicKey, Rights, Signature, SignedInvitation, UnixTime};

use crate::mesh_net::mixed;

/// When every story begins, by the wall clock.
pub(crate) const DAWN: UnixTime = 1_800_000_000;
pub(crate) const YEAR: u64 = 365 * 24 * 3600;

fn toy_hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = 0_u64;
    for part in parts {
        for chunk in part.chunks(8) {
            let word = chunk.iter().fold(1, |word: u64, byte| (word << 8) | u64::from(*byte));
            state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        state = mixed(state ^ part.len() as u64);
    }
    let mut hash = [0; 32];
    for (index, lane) in hash.chunks_exact_mut(8).enumerate() {
        lane.copy_from_slice(&mixed(state.wrapping_add(index as u64)).to_be_bytes());
    }
    hash
}

/// A key pair whose halves are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ToyKeys {
    pub(crate) public: PublicKey,
}

impl ToyKeys {
    pub(crate) fn of(name: &str) -> ToyKeys {
        ToyKeys { public: toy_hash(&[b"key", name.as_bytes()]) }
    }
}

impl Judge for ToyKeys {
    fn hash(&self, message: &[u8]) -> [u8; 32] {
        toy_hash(&[message])
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        ToyKeys { public: *key }.sign(message) == *signature
    }
}

impl Keys for ToyKeys {
    fn sign(&self, message: &[u8]) -> Signature {
        let hash = toy_hash(&[&self.public, message]);
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&hash);
        signature[32..].copy_from_slice(&hash);
        signature
    }
}

/// Rights to everything.
pub(crate) fn all_rights() -> Rights {
    Rights { publish: vec!["*".parse().unwrap()], listen: vec!["*".parse().unwrap()], transit: true }
}

pub(crate) fn without_transit() -> Rights {
    Rights { transit: false, ..all_rights() }
}

/// The root's word for whoever holds `key`.
pub(crate) fn invite(root: &ToyKeys, key: &ToyKeys, rights: Rights) -> SignedInvitation {
    let invitation = Invitation {
        key: key.public,
        name: "agent".parse().unwrap(),
        rights,
        redeem_until: DAWN + 7 * 24 * 3600,
        expires: DAWN + YEAR,
    };
    sign_invitation(root, invitation)
}

pub(crate) fn sign_invitation(root: &ToyKeys, invitation: Invitation) -> SignedInvitation {
    SignedInvitation { signature: root.sign(&invitation.to_sign()), invitation }
}

/// An agent uses an invitation whose key it holds.
pub(crate) fn join(invitation: SignedInvitation, invited: &ToyKeys, agent: &ToyKeys) -> Certificate {
    let session_key = toy_hash(&[b"session", &agent.public]);
    let signature = invited.sign(&Certificate::to_sign(&invitation, &agent.public, &session_key));
    Certificate { invitation, identity: agent.public, session_key, signature }
}
