//! Diffie-Hellman in the 2048-bit group 14 (RFC 3526 §3), for machines that know no curve (RFC 8268, RFC 4253 §8).
//!
//! The provider does this arithmetic only behind TLS. `crypto-bigint` does it in constant time; what is ours is the order of
//! the steps and the check of the peer's value.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U512, U2048, const_monty_params};
use zeroize::{Zeroize, Zeroizing};

use crate::wire;

/// A group of 2048 bits withstands about 2^112 steps, and so does an exponent of 224 random bits (RFC 3526 §8). Twice that and
/// more costs a few milliseconds.
const EXPONENT_LEN: usize = 64;
const GENERATOR: U2048 = U2048::from_u8(2);
const MODULUS_LEN: usize = 2048 / 8;

const_monty_params!(
    Group14,
    U2048,
    "\
     FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF95\
     19B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB\
     5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3\
     AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E8603\
     9B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFF\
     FFFFFFFFFFFF\
     "
);

type Element = ConstMontyForm<Group14, { U2048::LIMBS }>;

/// A private exponent. Wiped when dropped.
pub(super) struct Group14Key {
    exponent: Zeroizing<U512>,
}

impl Group14Key {
    pub(super) fn generate() -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new([0; EXPONENT_LEN]);
        rand::fill(&mut bytes[..])?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8; EXPONENT_LEN]) -> Self {
        Self { exponent: Zeroizing::new(U512::from_be_slice(bytes)) }
    }

    /// `2^x mod p`, as it stands in an `mpint`.
    pub(super) fn public(&self) -> Vec<u8> {
        let value = Element::new(&GENERATOR).pow(&self.exponent).retrieve();
        let mut field = Vec::new();
        wire::put_mpint(&mut field, value.to_be_bytes().as_ref());
        field.split_off(4)
    }

    /// `y^x mod p`, big-endian, where `y` is what stands in the peer's `mpint`. RFC 4253 §8 excludes values outside `1..p`; `1`
    /// and `p - 1` would make a secret that anybody knows.
    pub(super) fn agree(&self, peer: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let peer = public_value(peer)?;
        let mut secret = Element::new(&peer).pow(&self.exponent).retrieve();
        let bytes = Zeroizing::new(secret.to_be_bytes().as_ref().to_vec());
        secret.zeroize();
        Some(bytes)
    }
}

fn public_value(mpint: &[u8]) -> Option<U2048> {
    let mut field = Vec::with_capacity(4 + mpint.len());
    wire::put_string(&mut field, mpint);
    let magnitude = wire::Reader::new(&field).mpint().ok().filter(|magnitude| magnitude.len() <= MODULUS_LEN)?;
    let mut bytes = [0; MODULUS_LEN];
    bytes[MODULUS_LEN - magnitude.len()..].copy_from_slice(magnitude);
    let value = U2048::from_be_slice(&bytes);
    let largest = Group14::PARAMS.modulus().as_ref().wrapping_sub(&U2048::ONE);
    (value > U2048::ONE && value < largest).then_some(value)
}

#[cfg(test)]
mod tests;
