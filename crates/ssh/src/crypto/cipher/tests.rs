use proptest::prelude::*;

use super::*;
use crate::crypto::testing::sections;

const PACKETS: &str = include_str!("../testdata/packets.txt");

/// Every way to protect a packet.
const MODES: [(Cipher, Option<Mac>); 15] = [
    (Cipher::Chacha20Poly1305, None),
    (Cipher::Aes128Gcm, None),
    (Cipher::Aes256Gcm, None),
    (Cipher::Aes128Ctr, Some(Mac::HmacSha256Etm)),
    (Cipher::Aes128Ctr, Some(Mac::HmacSha512Etm)),
    (Cipher::Aes128Ctr, Some(Mac::HmacSha256)),
    (Cipher::Aes128Ctr, Some(Mac::HmacSha512)),
    (Cipher::Aes192Ctr, Some(Mac::HmacSha256Etm)),
    (Cipher::Aes192Ctr, Some(Mac::HmacSha512Etm)),
    (Cipher::Aes192Ctr, Some(Mac::HmacSha256)),
    (Cipher::Aes192Ctr, Some(Mac::HmacSha512)),
    (Cipher::Aes256Ctr, Some(Mac::HmacSha256Etm)),
    (Cipher::Aes256Ctr, Some(Mac::HmacSha512Etm)),
    (Cipher::Aes256Ctr, Some(Mac::HmacSha256)),
    (Cipher::Aes256Ctr, Some(Mac::HmacSha512)),
];

fn counting(start: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| start.wrapping_add(i as u8)).collect()
}

/// The keys that `packets.txt` was made with.
fn with_test_keys<T>(cipher: Cipher, mac: Option<Mac>, make: impl FnOnce(&CipherKeys<'_>) -> T) -> T {
    make(&CipherKeys {
        key: &counting(0, cipher.key_len()),
        iv: &counting(0xa0, cipher.iv_len()),
        mac: &counting(0x40, mac.map_or(0, Mac::key_len)),
    })
}

fn sealer(cipher: Cipher, mac: Option<Mac>) -> Sealer {
    with_test_keys(cipher, mac, |keys| Sealer::new(cipher, mac, keys)).unwrap()
}

fn opener(cipher: Cipher, mac: Option<Mac>) -> Opener {
    with_test_keys(cipher, mac, |keys| Opener::new(cipher, mac, keys)).unwrap()
}

/// A packet ready to be sealed, with padding that counts up from f0.
fn framed(sealer: &Sealer, payload: &[u8]) -> Vec<u8> {
    let padding = sealer.padding_for(payload.len());
    let mut packet = Vec::new();
    packet.extend_from_slice(&(1 + payload.len() as u32 + padding as u32).to_be_bytes());
    packet.push(padding as u8);
    packet.extend_from_slice(payload);
    packet.extend_from_slice(&counting(0xf0, padding));
    packet.resize(packet.len() + sealer.tag_len(), 0);
    packet
}

fn seal(sealer: &mut Sealer, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = framed(sealer, payload);
    sealer.seal(sequence, &mut packet).unwrap();
    packet
}

/// Opens a packet as the engine does: first its head, then the whole. Gives its payload.
fn open(opener: &mut Opener, sequence: u32, packet: &mut [u8]) -> Result<Vec<u8>, CryptoError> {
    let len = opener.packet_len(sequence, &mut packet[..opener.head_len()]) as usize;
    opener.open(sequence, packet)?;
    assert_eq!(LENGTH_LEN + len + opener.tag_len(), packet.len(), "an authentic packet has an honest length");
    let padding = usize::from(packet[4]);
    Ok(packet[5..LENGTH_LEN + len - padding].to_vec())
}

#[test]
fn every_mode_seals_and_opens_as_another_implementation_does() {
    let payloads = [b"\x05\0\0\0\x0cssh-userauth".to_vec(), counting(0, 300)];
    let vectors = sections(PACKETS);
    assert_eq!(vectors.len(), MODES.len());
    for vector in vectors {
        let (cipher, mac) = vector.name.split_once(' ').unwrap();
        let (cipher, mac) = (Cipher::from_name(cipher.as_bytes()).unwrap(), Mac::from_name(mac.as_bytes()));
        assert!(MODES.contains(&(cipher, mac)), "{}", vector.name);
        let (mut sealer, mut opener) = (sealer(cipher, mac), opener(cipher, mac));
        for ((payload, sequence), field) in payloads.iter().zip(7..).zip(["sealed0", "sealed1"]) {
            let mut packet = seal(&mut sealer, sequence, payload);
            assert_eq!(packet, vector.field(field), "{}", vector.name);
            assert_eq!(open(&mut opener, sequence, &mut packet).as_ref(), Ok(payload), "{}", vector.name);
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_is_noticed() {
    for (cipher, mac) in MODES {
        let packet = seal(&mut sealer(cipher, mac), 3, b"the payload");
        for bit in 0..packet.len() * 8 {
            let mut tampered = packet.clone();
            tampered[bit / 8] ^= 1 << (bit % 8);
            let opened = open(&mut opener(cipher, mac), 3, &mut tampered);
            assert_eq!(opened, Err(CryptoError::Tampered), "{cipher:?} {mac:?} bit {bit}");
        }
    }
}

#[test]
fn a_packet_left_out_or_played_again_is_noticed() {
    for (cipher, mac) in MODES {
        let mut sealer = sealer(cipher, mac);
        let first = seal(&mut sealer, 0, b"first");
        let second = seal(&mut sealer, 1, b"second");
        assert_eq!(
            open(&mut opener(cipher, mac), 0, &mut second.clone()),
            Err(CryptoError::Tampered),
            "{cipher:?} {mac:?}"
        );
        let mut opener = opener(cipher, mac);
        assert!(open(&mut opener, 0, &mut first.clone()).is_ok());
        assert_eq!(open(&mut opener, 1, &mut first.clone()), Err(CryptoError::Tampered), "{cipher:?} {mac:?}");
    }
}

#[test]
fn a_packet_cut_short_is_refused() {
    for (cipher, mac) in MODES {
        let packet = seal(&mut sealer(cipher, mac), 0, b"payload");
        for len in 0..packet.len() {
            assert!(opener(cipher, mac).open(0, &mut packet[..len].to_vec()).is_err(), "{cipher:?} {mac:?} {len}");
        }
        let mut opener = opener(cipher, mac);
        assert_eq!(opener.packet_len(0, &mut packet[..opener.head_len() - 1].to_vec()), 0);
        assert_eq!(sealer(cipher, mac).seal(0, &mut [0; 4]), Err(CryptoError::TooShort));
    }
    assert_eq!(Opener::plain().open(0, &mut [0; 4]), Err(CryptoError::TooShort));
}

/// RFC 4253 §6: at least four bytes, and what is encrypted is whole blocks.
#[test]
fn padding_aligns_every_length() {
    let modes = MODES.map(|(cipher, mac)| (sealer(cipher, mac), opener(cipher, mac)));
    for (sealer, opener) in modes.iter().chain([&(Sealer::plain(), Opener::plain())]) {
        assert_eq!(sealer.tag_len(), opener.tag_len());
        for payload_len in 0..=200 {
            let padding = sealer.padding_for(payload_len);
            let counted =
                if opener.length_is_aligned_with_header() { LENGTH_LEN } else { 0 } + 1 + payload_len + padding;
            assert_eq!(counted % opener.block_len(), 0, "{sealer:?} {payload_len}");
            assert!((4..4 + opener.block_len()).contains(&padding), "{sealer:?} {payload_len}");
        }
    }
}

#[test]
fn before_newkeys_packets_are_only_framed() {
    let packet = seal(&mut Sealer::plain(), 0, b"\x14kexinit");
    assert_eq!(packet[..13], *b"\0\0\0\x14\x0b\x14kexinit");
    let mut opener = Opener::plain();
    assert_eq!((opener.head_len(), opener.tag_len(), opener.block_len()), (4, 0, 8));
    assert_eq!(open(&mut opener, 0, &mut packet.clone()), Ok(b"\x14kexinit".to_vec()));
}

/// One pair of keys carries all of these, so a counter that went astray in any of them would spoil the rest.
#[test]
fn payloads_of_every_size_survive_in_a_row() {
    let sizes = (0..70).chain(CTR_SCRATCH_LEN - 24..CTR_SCRATCH_LEN + 24).chain([32_768, 40_000]);
    for (cipher, mac) in MODES {
        let (mut sealer, mut opener) = (sealer(cipher, mac), opener(cipher, mac));
        for (size, sequence) in sizes.clone().zip(u32::MAX - 50..=u32::MAX) {
            let payload = counting(sequence as u8, size);
            let mut packet = seal(&mut sealer, sequence, &payload);
            assert_eq!(open(&mut opener, sequence, &mut packet), Ok(payload), "{cipher:?} {mac:?} {size}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens(mode in 0..MODES.len(), len in 0_usize..=40_000, sequence: u32, seed: u8) {
        let (cipher, mac) = MODES[mode];
        let payload = counting(seed, len);
        let mut packet = seal(&mut sealer(cipher, mac), sequence, &payload);
        prop_assert_eq!(open(&mut opener(cipher, mac), sequence, &mut packet), Ok(payload));
    }

    #[test]
    fn arbitrary_bytes_never_open(mode in 0..MODES.len(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (cipher, mac) = MODES[mode];
        let mut opener = opener(cipher, mac);
        let mut bytes = bytes;
        let head_len = opener.head_len().min(bytes.len());
        opener.packet_len(0, &mut bytes[..head_len]);
        prop_assert!(opener.open(0, &mut bytes).is_err());
    }
}

/// RFC 5647 §7.1: the counter wraps within its eight bytes and leaves the fixed field alone.
#[test]
fn gcm_nonces_count_up_and_wrap() {
    let mut nonces = GcmNonces::starting_at([1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
    let next: Vec<[u8; 12]> = (0..3).map(|_| *nonces.next().unwrap().as_ref()).collect();
    assert_eq!(next[0], [1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(next[1], [1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(next[2], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_gcm_nonce_never_comes_twice() {
    let mut sealer = sealer(Cipher::Aes128Gcm, None);
    let SealMode::Gcm(gcm) = &mut sealer.mode else { panic!("AES-GCM is sealed by Gcm") };
    gcm.nonces.left = 1;
    let mut packet = framed(&sealer, b"payload");
    assert_eq!(sealer.seal(0, &mut packet.clone()), Ok(()));
    assert_eq!(sealer.seal(1, &mut packet), Err(CryptoError::KeysExhausted));
}

#[test]
fn keys_of_a_wrong_length_are_refused() {
    for (cipher, mac) in MODES {
        let lens = [cipher.key_len(), cipher.iv_len(), mac.map_or(0, Mac::key_len)];
        for wrong in 0..3 {
            // ChaCha takes no IV, and an AEAD no MAC key: what is given is not looked at.
            if lens[wrong] == 0 {
                continue;
            }
            let [key, iv, mac_key] = [0, 1, 2].map(|i| vec![1; lens[i] - usize::from(i == wrong)]);
            let keys = CipherKeys { key: &key, iv: &iv, mac: &mac_key };
            assert_eq!(
                Opener::new(cipher, mac, &keys).err(),
                Some(CryptoError::KeyLength(cipher)),
                "{cipher:?} {wrong}"
            );
            assert_eq!(
                Sealer::new(cipher, mac, &keys).err(),
                Some(CryptoError::KeyLength(cipher)),
                "{cipher:?} {wrong}"
            );
        }
    }
}

#[test]
fn ctr_without_a_mac_is_refused() {
    for cipher in Cipher::ALL.into_iter().filter(|cipher| !cipher.is_aead()) {
        let missing = Some(CryptoError::MacMissing(cipher));
        assert_eq!(with_test_keys(cipher, None, |keys| Opener::new(cipher, None, keys)).err(), missing);
        assert_eq!(with_test_keys(cipher, None, |keys| Sealer::new(cipher, None, keys)).err(), missing);
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for cipher in Cipher::ALL {
        assert_eq!(Cipher::from_name(cipher.name().as_bytes()), Some(cipher));
    }
    for mac in Mac::ALL.into_iter().chain(Mac::OLD) {
        assert_eq!(Mac::from_name(mac.name().as_bytes()), Some(mac));
    }
    for unknown in ["none", "aes128-cbc", "", "AES128-CTR", "hmac-md5", "chacha20-poly1305@openssh.co"] {
        assert_eq!(Cipher::from_name(unknown.as_bytes()), None);
        assert_eq!(Mac::from_name(unknown.as_bytes()), None);
    }
}

#[test]
fn what_is_printed_holds_no_key() {
    for (cipher, mac) in MODES {
        let printed = with_test_keys(cipher, mac, |keys| {
            format!("{keys:?} {:?} {:?}", Opener::new(cipher, mac, keys), Sealer::new(cipher, mac, keys))
        });
        // The first bytes of the test keys, as `Debug` of a slice would show them.
        for secret in ["0, 1, 2", "160, 161", "64, 65"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
