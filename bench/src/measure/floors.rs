//! What forwarding takes by itself: relays that do nothing else, ciphers over memory, and our engine between two buffers. A tunnel does
//! what a relay does, and what its cipher does.

use std::time::Duration;

use aws_lc_rs::aead::chacha20_poly1305_openssh::SealingKey;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use rustix::time::{ClockId, clock_gettime};

use super::{Bulked, GIB, Plan, alternate, carry_watching};
use crate::client::CipherName;
use crate::engine_pair::EnginePair;
use crate::failure::{Doing, Failure};
use crate::relay::{Copying, Relay};
use crate::report::{Bound, Figure, Measured, Row, Unit};
use crate::service::Service;
use crate::visitor::{Direction, carry};

/// Sealed to see what a cipher costs.
const SEALED: u64 = 256 << 20;
/// Carried before the clock starts.
const WARM_UP: u64 = 64 << 20;
/// A packet of the largest size that both ends of SSH take (RFC 4253 §6.1).
const PACKET: usize = 32 * 1024;

/// One flow through each relay.
pub(crate) fn relays(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let figures = [
        Figure::new("relay, bulk, 1 flow: rate", Unit::MegabytesPerSecond, Bound::Free).kept_apart(),
        Figure::new("relay, bulk, 1 flow: CPU", Unit::SecondsPerGib, Bound::Free).kept_apart(),
    ];
    let bytes = plan.choose(1u64 << 30, 4 << 30);
    Ok(alternate(&Copying::ALL, plan.pairs(), figures, |copying| {
        let relay = Relay::start(copying, service.address())?;
        let way = relay.way();
        carry(way.port, Direction::Down, WARM_UP, 1)?;
        let Bulked { rate, cpu: [cpu], .. } = carry_watching([way.listener], way.port, Direction::Down, bytes, 1)?;
        Ok([rate, cpu])
    }))
}

/// What is between two buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Our engine's two ends: one seals, the other opens.
    Engine,
    /// The cipher alone, which seals.
    Cipher,
}

impl Measured for Between {
    const OURS: Self = Self::Engine;
    const PEERS: &'static [Self] = &[Self::Cipher];

    fn name(self) -> &'static str {
        match self {
            Self::Engine => "our engine, sealed and opened",
            Self::Cipher => "the cipher alone, sealed",
        }
    }
}

/// Each cipher over packets of 32 KiB. No system call is among what is measured.
pub(crate) fn ciphers(plan: Plan) -> Result<Vec<Row>, Failure> {
    let bytes = plan.choose(256u64 << 20, 1 << 30);
    let measure = |cipher: CipherName| {
        let figures =
            [Figure::new(format!("{}, packets of 32 KiB: CPU", cipher.name()), Unit::SecondsPerGib, Bound::Free)
                .kept_apart()];
        alternate(&[Between::Engine, Between::Cipher], plan.pairs(), figures, |between| {
            let spent = match between {
                Between::Engine => {
                    let mut pair = EnginePair::log_in(cipher)?;
                    pair.carry(WARM_UP)?;
                    let before = thread_time();
                    pair.carry(bytes)?;
                    thread_time() - before
                }
                Between::Cipher => return Ok([sealing(cipher)?]),
            };
            Ok([Some(spent.as_secs_f64() / (bytes as f64 / GIB))])
        })
    };
    Ok(CipherName::ALL.into_iter().flat_map(measure).collect())
}

/// What a cipher alone takes, in processor seconds per GiB; `None` where it is more than one primitive.
pub(super) fn sealing(cipher: CipherName) -> Result<Option<f64>, Failure> {
    let mut packet = vec![0; PACKET];
    let packets = SEALED / PACKET as u64;
    let before = thread_time();
    match cipher {
        CipherName::Aes128Gcm => seal_gcm(&AES_128_GCM, &[7; 16], &mut packet, packets)?,
        CipherName::Aes256Gcm => seal_gcm(&AES_256_GCM, &[7; 32], &mut packet, packets)?,
        CipherName::Chacha20 => {
            let key = SealingKey::new(&[7; 64]);
            for sequence in 0..packets {
                let mut tag = [0; 16];
                key.seal_in_place(sequence as u32, &mut packet, &mut tag);
            }
        }
        CipherName::Aes128Ctr => return Ok(None),
    }
    Ok(Some((thread_time() - before).as_secs_f64() / (SEALED as f64 / GIB)))
}

fn seal_gcm(algorithm: &'static Algorithm, key: &[u8], packet: &mut [u8], packets: u64) -> Result<(), Failure> {
    let key = UnboundKey::new(algorithm, key).map(LessSafeKey::new).doing("make a key")?;
    for sequence in 0..packets {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&sequence.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let _tag = key.seal_in_place_separate_tag(nonce, Aad::from([0; 4]), packet).doing("seal a packet")?;
    }
    Ok(())
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
