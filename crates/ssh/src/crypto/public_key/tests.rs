use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::crypto::HostKey;
use crate::crypto::testing::{section, sections};

const SIGNATURES: &str = include_str!("../testdata/signatures.txt");
const MESSAGE: &[u8] = b"what was signed";

const PUBLIC_KEYS: [(&str, &str); 5] = [
    ("ed25519", include_str!("../testdata/ed25519.pub")),
    ("ecdsa256", include_str!("../testdata/ecdsa256.pub")),
    ("ecdsa384", include_str!("../testdata/ecdsa384.pub")),
    ("ecdsa521", include_str!("../testdata/ecdsa521.pub")),
    ("rsa2048_pem", include_str!("../testdata/rsa2048_pem.pub")),
];

fn key(name: &str) -> PublicKey {
    let (_, text) = PUBLIC_KEYS.iter().find(|(file, _)| *file == name).unwrap();
    PublicKey::from_text(text).unwrap().0
}

fn blob_of(fields: &[&[u8]]) -> Vec<u8> {
    let mut blob = Vec::new();
    for field in fields {
        wire::put_string(&mut blob, field);
    }
    blob
}

/// Signature algorithm, signature, and whatever follows it.
fn signature_of(algorithm: &str, signature: &[u8], rest: &[u8]) -> Vec<u8> {
    [&blob_of(&[algorithm.as_bytes(), signature]), rest].concat()
}

/// What `ssh-keygen -l` prints for the keys in `testdata`.
#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    for (name, fingerprint) in [
        ("ed25519", "SHA256:h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZjJFE"),
        ("ecdsa256", "SHA256:rlUDqM2BjLbxq0NqRaw32QhpEvTybcJl7AqgweBNrkk"),
        ("ecdsa384", "SHA256:HaylUobHX2Z7fjxSmb9rTqrpHQigATUYzwp3UEP7k8s"),
        ("ecdsa521", "SHA256:JWBygYP4Si7H/5mN7LzLip0W4wRdOYRPgao8pLEgkkk"),
        ("rsa2048_pem", "SHA256:VkbVN5ZZbKprZiilEOQe3/+oZX+auMjijDGLadXqV3U"),
    ] {
        assert_eq!(key(name).fingerprint().to_string(), fingerprint);
        assert_eq!(fingerprint.parse(), Ok(key(name).fingerprint()));
        assert_eq!(format!("{:?}", key(name)), format!("PublicKey({} {fingerprint})", key(name).key_type()));
    }
}

#[test]
fn a_text_that_is_no_fingerprint_is_refused() {
    for text in [
        "",
        "SHA256:",
        "h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZjJFE",
        "SHA256:h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZjJF",
        "SHA256:h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZjJFEA",
        "SHA256:h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZjJFE=",
        "SHA256:h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZj FE",
        "MD5:8c:f3:5d:5b:00:00:00:00:00:00:00:00:00:00:00:00",
    ] {
        assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
    }
}

#[test]
fn a_key_is_written_as_it_was_read() {
    for (name, text) in PUBLIC_KEYS {
        let (key, comment) = PublicKey::from_text(text).unwrap();
        assert_eq!(key.to_text(&comment.unwrap()), text.trim_end(), "{name}");
        assert_eq!(PublicKey::from_blob(key.blob()), Ok(key));
    }
    for name in [SK_ED25519, SK_ECDSA] {
        let key = PublicKey::from_blob(section(SIGNATURES, name).field("blob")).unwrap();
        assert_eq!(PublicKey::from_text(&key.to_text("yubi")), Ok((key, Some("yubi".to_owned()))));
    }
    assert_eq!(key("ed25519").to_text("a\nssh-rsa b\u{1b}"), key("ed25519").to_text("a ssh-rsa b "));
    assert!(!key("ed25519").to_text("").ends_with(' '));
}

#[test]
fn keys_are_told_apart_by_their_blobs() {
    let keys: HashSet<PublicKey> = PUBLIC_KEYS.iter().flat_map(|(name, _)| [key(name), key(name).clone()]).collect();
    assert_eq!(keys.len(), PUBLIC_KEYS.len());
}

#[test]
fn every_kind_of_signature_of_another_implementation_is_accepted() {
    let mut seen = HashSet::new();
    for vector in sections(SIGNATURES) {
        match vector.name.split_once(' ') {
            Some((_, "ssh-rsa")) => continue,
            Some((name, algorithm)) => {
                let signature = vector.field("signature");
                assert_eq!(key(name).verify(algorithm.as_bytes(), MESSAGE, signature), Ok(()), "{}", vector.name);
                seen.insert(algorithm.to_owned());
            }
            None => {
                let key = PublicKey::from_blob(vector.field("blob")).unwrap();
                assert_eq!(key.key_type(), vector.name);
                for touched in ["touched", "touched_and_verified"] {
                    assert_eq!(key.verify(vector.name.as_bytes(), MESSAGE, vector.field(touched)), Ok(()), "{touched}");
                }
                seen.insert(vector.name);
            }
        }
    }
    // All that we tell clients we accept.
    assert_eq!(seen, PublicKey::signature_algorithms().iter().map(ToString::to_string).collect());
}

#[test]
fn a_security_key_must_have_been_touched() {
    for name in [SK_ED25519, SK_ECDSA] {
        let vector = section(SIGNATURES, name);
        let key = PublicKey::from_blob(vector.field("blob")).unwrap();
        for untouched in ["untouched", "verified_untouched"] {
            let verdict = key.verify(name.as_bytes(), MESSAGE, vector.field(untouched));
            assert_eq!(verdict, Err(SignatureError::NotTouched), "{name} {untouched}");
            // To set the flag afterwards does not help: it is signed.
            let mut claimed = vector.field(untouched).to_vec();
            let flags = claimed.len() - 5;
            claimed[flags] |= USER_PRESENT;
            assert_eq!(
                key.verify(name.as_bytes(), MESSAGE, &claimed),
                Err(SignatureError::Wrong),
                "{name} {untouched}"
            );
        }
    }
}

/// Made by hand from an Ed25519 key, so that every field can be varied.
#[test]
fn a_security_key_signs_its_application_flags_and_counter() {
    let device = HostKey::generate_ed25519().unwrap();
    let raw = &device.public_key().blob()[4 + SSH_ED25519.len() + 4..];
    let key = PublicKey::from_blob(&blob_of(&[SK_ED25519.as_bytes(), raw, b"ssh:home"])).unwrap();
    let touch = |application: &[u8], flags: u8, counter: u32| {
        let counter = counter.to_be_bytes();
        let signed = [&sha256(application)[..], &[flags], &counter, &sha256(MESSAGE)].concat();
        let signature = device.sign(SSH_ED25519, &signed).unwrap();
        let raw_signature = &signature[4 + SSH_ED25519.len() + 4..];
        signature_of(SK_ED25519, raw_signature, &[&[flags], &counter[..]].concat())
    };
    let verify = |signature: &[u8]| key.verify(SK_ED25519.as_bytes(), MESSAGE, signature);
    assert_eq!(verify(&touch(b"ssh:home", 1, 9)), Ok(()));
    assert_eq!(verify(&touch(b"ssh:home", 0, 9)), Err(SignatureError::NotTouched));
    assert_eq!(verify(&touch(b"ssh:work", 1, 9)), Err(SignatureError::Wrong));
    let mut other_counter = touch(b"ssh:home", 1, 9);
    *other_counter.last_mut().unwrap() = 10;
    assert_eq!(verify(&other_counter), Err(SignatureError::Wrong));
    let complete = touch(b"ssh:home", 1, 9);
    assert_eq!(verify(&complete[..complete.len() - 1]), Err(SignatureError::Malformed));
    assert_eq!(verify(&[&complete[..], &[0]].concat()), Err(SignatureError::Malformed));
    // A plain signature over the message itself is none of a security key.
    let plain = device.sign(SSH_ED25519, MESSAGE).unwrap();
    let plain = signature_of(SK_ED25519, &plain[4 + SSH_ED25519.len() + 4..], &[1, 0, 0, 0, 9]);
    assert_eq!(verify(&plain), Err(SignatureError::Wrong));
}

#[test]
fn one_flipped_bit_anywhere_spoils_a_signature() {
    for vector in sections(SIGNATURES) {
        let (key, algorithm, signature) = match vector.name.split_once(' ') {
            Some((_, "ssh-rsa")) => continue,
            Some((name, algorithm)) => (key(name), algorithm, vector.field("signature")),
            None => (PublicKey::from_blob(vector.field("blob")).unwrap(), &vector.name[..], vector.field("touched")),
        };
        for bit in 0..signature.len() * 8 {
            let mut tampered = signature.to_vec();
            tampered[bit / 8] ^= 1 << (bit % 8);
            assert!(key.verify(algorithm.as_bytes(), MESSAGE, &tampered).is_err(), "{} bit {bit}", vector.name);
        }
        assert_eq!(key.verify(algorithm.as_bytes(), b"what was signe", signature), Err(SignatureError::Wrong));
        for len in 0..signature.len() {
            assert!(key.verify(algorithm.as_bytes(), MESSAGE, &signature[..len]).is_err(), "{} {len}", vector.name);
        }
    }
}

/// Probe A, sign B: the signature's own algorithm must be the one announced, and the key must be able to make it.
#[test]
fn the_announced_algorithm_binds_the_signature() {
    let rsa = key("rsa2048_pem");
    let signed = |algorithm: &str| section(SIGNATURES, &format!("rsa2048_pem {algorithm}")).field("signature").to_vec();
    let (sha256, sha512, sha1) = (signed(RSA_SHA2_256), signed(RSA_SHA2_512), signed(SSH_RSA));
    assert_eq!(rsa.verify(b"rsa-sha2-256", MESSAGE, &sha512), Err(SignatureError::AlgorithmDiffers));
    assert_eq!(rsa.verify(b"rsa-sha2-512", MESSAGE, &sha256), Err(SignatureError::AlgorithmDiffers));
    assert_eq!(rsa.verify(b"rsa-sha2-512", MESSAGE, &sha1), Err(SignatureError::AlgorithmDiffers));
    // SHA-1 is refused although the signature is right.
    assert_eq!(rsa.verify(b"ssh-rsa", MESSAGE, &sha1), Err(SignatureError::AlgorithmRefused));
    // Renaming a signature does not make it one of another hash.
    let sha1_bytes = &sha1[4 + SSH_RSA.len() + 4..];
    let renamed = signature_of(RSA_SHA2_256, sha1_bytes, &[]);
    assert_eq!(rsa.verify(b"rsa-sha2-256", MESSAGE, &renamed), Err(SignatureError::Wrong));

    for (name, _) in PUBLIC_KEYS {
        let key = key(name);
        for algorithm in PublicKey::signature_algorithms().iter().chain(&["ssh-rsa", "ssh-dss", "none", ""]) {
            let fits = key.algorithms().contains(algorithm);
            assert_eq!(key.accepts_algorithm(algorithm.as_bytes()), fits);
            let verdict = key.verify(algorithm.as_bytes(), MESSAGE, &signature_of(algorithm, &[1; 64], &[]));
            assert_eq!(verdict == Err(SignatureError::AlgorithmRefused), !fits, "{name} {algorithm}");
        }
    }
}

/// A signature is a number, and some clients write it as short as it is (one in 256 begins with a zero byte).
#[test]
fn an_rsa_signature_may_lack_its_leading_zeros() {
    let rsa = HostKey::from_openssh(include_str!("../testdata/rsa2048_pem")).unwrap();
    // RSA signatures are deterministic, so this message always gives the same one.
    let (message, signature) = (0_u32..)
        .map(|i| (i.to_be_bytes(), rsa.sign(RSA_SHA2_256, &i.to_be_bytes()).unwrap()))
        .find(|(_, signature)| signature[4 + RSA_SHA2_256.len() + 4] == 0)
        .unwrap();
    let number = &signature[4 + RSA_SHA2_256.len() + 4..];
    for written in [number, &number[1..]] {
        let signature = signature_of(RSA_SHA2_256, written, &[]);
        assert_eq!(rsa.public_key().verify(RSA_SHA2_256.as_bytes(), &message, &signature), Ok(()));
    }
    let too_long = signature_of(RSA_SHA2_256, &[&[0], number].concat(), &[]);
    let verdict = rsa.public_key().verify(RSA_SHA2_256.as_bytes(), &message, &too_long);
    assert_eq!(verdict, Err(SignatureError::Malformed));
}

#[test]
fn an_ecdsa_signature_of_wrong_numbers_is_refused() {
    let key = key("ecdsa256");
    for (r, s) in [(&[][..], &[][..]), (&[0xff; 32], &[1]), (&[1; 33], &[1]), (&[1], &[0xff; 32])] {
        let mut numbers = Vec::new();
        wire::put_mpint(&mut numbers, r);
        wire::put_mpint(&mut numbers, s);
        let signature = signature_of(ECDSA_NISTP256, &numbers, &[]);
        assert!(key.verify(ECDSA_NISTP256.as_bytes(), MESSAGE, &signature).is_err(), "{r:?} {s:?}");
    }
}

#[test]
fn keys_we_do_not_accept_are_refused_by_name() {
    let ed25519 = key("ed25519");
    let raw = &ed25519.blob()[4 + SSH_ED25519.len() + 4..];
    let p256 = key("ecdsa256");
    let point = &p256.blob()[p256.blob().len() - 65..];
    let mut beside = point.to_vec();
    beside[64] ^= 1;
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    let refusal = |blob: &[u8]| PublicKey::from_blob(blob).unwrap_err();

    assert_eq!(refusal(&blob_of(&[b"ssh-dss", b"p", b"q", b"g", b"y"])), KeyError::Dsa);
    assert_eq!(refusal(&blob_of(&[b"ssh-ed25519-cert-v01@openssh.com", b"nonce", raw])), KeyError::Certificate);
    assert_eq!(refusal(&blob_of(&[b"ssh-ed448", &[1; 57]])), KeyError::Unsupported { key_type: "ssh-ed448".into() });
    assert_eq!(refusal(&[ed25519.blob(), &[0]].concat()), KeyError::TrailingBytes);
    assert!(matches!(refusal(&ed25519.blob()[..40]), KeyError::Malformed(_)));
    assert!(matches!(refusal(&[]), KeyError::Malformed(_)));
    assert_eq!(refusal(&blob_of(&[b"ssh-ed25519", &raw[1..]])), KeyError::InvalidNumbers);
    assert_eq!(refusal(&blob_of(&[b"ecdsa-sha2-nistp384", b"nistp256", point])), KeyError::InvalidNumbers);
    assert_eq!(refusal(&blob_of(&[b"ecdsa-sha2-nistp384", b"nistp384", point])), KeyError::InvalidNumbers);
    assert_eq!(refusal(&blob_of(&[b"ecdsa-sha2-nistp256", b"nistp256", &beside])), KeyError::InvalidNumbers);
    assert_eq!(refusal(&blob_of(&[b"ecdsa-sha2-nistp256", b"nistp256", &compressed])), KeyError::InvalidNumbers);
    assert_eq!(refusal(&blob_of(&[b"ecdsa-sha2-nistp256", b"nistp256", &[0]])), KeyError::InvalidNumbers);
    assert_eq!(refusal(&blob_of(&[SK_ECDSA.as_bytes(), b"nistp256", &beside, b"ssh:"])), KeyError::InvalidNumbers);
}

#[test]
fn rsa_keys_have_2048_to_8192_bits_and_a_plain_exponent() {
    let rsa = |exponent: &[u8], bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= (8 - bits % 8) % 8;
        PublicKey::from_blob(&rsa_blob(exponent, &modulus)).err()
    };
    assert_eq!(rsa(&[1, 0, 1], 2048), None);
    assert_eq!(rsa(&[3], 8192), None);
    for bits in [0, 1, 1024, 2047] {
        assert_eq!(rsa(&[1, 0, 1], bits.max(1)), Some(KeyError::ShortRsa { bits: bits.max(1) }));
    }
    assert_eq!(rsa(&[1, 0, 1], 8193), Some(KeyError::LongRsa { bits: 8193 }));
    for exponent in [&[][..], &[1], &[2], &[1, 0, 0], &[0xff; 5], &[0xff; 256]] {
        assert_eq!(rsa(exponent, 2048), Some(KeyError::InvalidNumbers), "{exponent:?}");
    }
    let mut even = vec![0xff; 256];
    even[255] = 0xfe;
    assert_eq!(PublicKey::from_blob(&rsa_blob(&[1, 0, 1], &even)), Err(KeyError::InvalidNumbers));
    // A modulus with a needless zero is a second way to write the same key.
    let mut padded = blob_of(&[b"ssh-rsa", &[1, 0, 1]]);
    wire::put_string(&mut padded, &[&[0, 0], &[0xff; 256][..]].concat());
    assert!(matches!(PublicKey::from_blob(&padded), Err(KeyError::Malformed(_))));
}

#[test]
fn an_unknown_type_is_named_harmlessly() {
    let error = PublicKey::from_blob(&blob_of(&["\u{1b}[31m\n".repeat(100).as_bytes()])).unwrap_err();
    let printed = error.to_string();
    assert!(!printed.contains(char::is_control) && printed.len() < 1000, "{printed:?}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_key_and_no_signature(bytes: Vec<u8>, kind in 0..8_usize) {
        let name = PublicKey::signature_algorithms()[kind];
        prop_assert!(PublicKey::from_blob(&bytes).is_err());
        let _ = PublicKey::from_blob(&[&blob_of(&[name.as_bytes()])[..], &bytes].concat());
        for (file, _) in PUBLIC_KEYS {
            let signature = [&blob_of(&[name.as_bytes()])[..], &bytes].concat();
            prop_assert!(key(file).verify(name.as_bytes(), MESSAGE, &signature).is_err());
        }
    }
}
