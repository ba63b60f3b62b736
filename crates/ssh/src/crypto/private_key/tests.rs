use proptest::prelude::*;

use super::file::armoured;
use super::*;

const ED25519: &str = include_str!("../testdata/ed25519");
const ECDSA: [&str; 3] = [
    include_str!("../testdata/ecdsa256"),
    include_str!("../testdata/ecdsa384"),
    // Its scalar begins with a zero byte, which the file leaves out.
    include_str!("../testdata/ecdsa521"),
];
const ECDSA_GCM: &str = include_str!("../testdata/ecdsa256_gcm_encrypted");
const ED25519_GCM: &str = include_str!("../testdata/ed25519_gcm_encrypted");
const ED25519_CBC: &str = include_str!("../testdata/ed25519_cbc_encrypted");
const RSA_CTR: &str = include_str!("../testdata/rsa2048_ctr_encrypted");
const RSA_PEM: &str = include_str!("../testdata/rsa2048_pem");
const RSA_PKCS8: &str = include_str!("../testdata/rsa2048_pkcs8");

fn public(text: &str) -> PublicKey {
    PublicKey::from_text(text).unwrap().0
}

#[test]
fn files_of_ssh_keygen_are_read() {
    for (private, public_text) in [
        (ED25519, include_str!("../testdata/ed25519.pub")),
        (ECDSA[0], include_str!("../testdata/ecdsa256.pub")),
        (ECDSA[1], include_str!("../testdata/ecdsa384.pub")),
        (ECDSA[2], include_str!("../testdata/ecdsa521.pub")),
        (RSA_PEM, include_str!("../testdata/rsa2048_pem.pub")),
        (RSA_PKCS8, include_str!("../testdata/rsa2048_pem.pub")),
        (include_str!("../testdata/rsa2048_openssh"), include_str!("../testdata/rsa2048_pem.pub")),
        (include_str!("../testdata/ecdsa384_pkcs8"), include_str!("../testdata/ecdsa384_pkcs8.pub")),
        (include_str!("../testdata/ecdsa384_sec1"), include_str!("../testdata/ecdsa384_pkcs8.pub")),
        (include_str!("../testdata/ed25519_pkcs8"), include_str!("../testdata/ed25519_pkcs8.pub")),
    ] {
        let key = PrivateKey::from_openssh(private).unwrap();
        assert_eq!(*key.public_key(), public(public_text));
        // As an editor on another system may have saved it.
        let saved_elsewhere = format!("\u{feff}{}", private.replace('\n', "\r\n"));
        assert_eq!(PrivateKey::from_openssh(&saved_elsewhere).unwrap().public_key(), key.public_key());
    }
}

#[test]
fn what_a_key_signs_its_public_half_verifies() {
    let new = PrivateKey::generate_ed25519().unwrap();
    let read = [ED25519, ECDSA[0], ECDSA[1], ECDSA[2], RSA_PEM].map(|text| PrivateKey::from_openssh(text).unwrap());
    for key in read.iter().chain([&new]) {
        for algorithm in key.algorithms() {
            let signature = key.sign(algorithm, b"message").unwrap();
            assert_eq!(key.public_key().verify(algorithm.as_bytes(), b"message", &signature), Ok(()), "{algorithm}");
        }
        for other in ["ssh-rsa", "ssh-dss", "", "sk-ssh-ed25519@openssh.com"] {
            assert_eq!(key.sign(other, b"message"), Err(SignError::AlgorithmRefused));
        }
    }
}

/// Ed25519 and RSA sign the same message always alike, so our signatures can be compared with asyncssh's.
#[test]
fn signatures_are_those_of_another_implementation() {
    let vectors = include_str!("../testdata/signatures.txt");
    for (text, file, algorithm) in [
        (ED25519, "ed25519", "ssh-ed25519"),
        (RSA_PEM, "rsa2048_pem", RSA_SHA2_256),
        (RSA_PKCS8, "rsa2048_pem", RSA_SHA2_512),
    ] {
        let vector = crate::crypto::testing::section(vectors, &format!("{file} {algorithm}"));
        let signature = PrivateKey::from_openssh(text).unwrap().sign(algorithm, b"what was signed").unwrap();
        assert_eq!(signature, vector.field("signature"), "{algorithm}");
    }
}

#[test]
fn a_key_is_read_as_it_was_written() {
    let new = PrivateKey::generate_ed25519().unwrap();
    let read = [ED25519, ECDSA[0], ECDSA[1], ECDSA[2]].map(|text| PrivateKey::from_openssh(text).unwrap());
    for key in read.iter().chain([&new]) {
        for comment in ["", "c", "host key of jump", "eight888", "zwölf Boxkämpfer"] {
            let written = key.to_openssh(comment).unwrap();
            assert_eq!(PrivateKey::from_openssh(&written).unwrap().public_key(), key.public_key());
        }
    }
    let rsa = PrivateKey::from_openssh(RSA_PEM).unwrap();
    assert_eq!(rsa.to_openssh("").unwrap_err(), PrivateKeyError::RsaNotWritten);
}

/// The same but for the check number, which is random: everything before it is the file of `ssh-keygen`.
#[test]
fn a_written_file_looks_like_one_of_ssh_keygen() {
    let written = PrivateKey::from_openssh(ED25519).unwrap().to_openssh("alice@example").unwrap();
    let decode = |text: &str| Base64::decode_vec(&armoured(text).unwrap().1).unwrap();
    let (mut ours, mut theirs) = (decode(&written), decode(ED25519));
    // The private section is the last 144 bytes.
    let check = ours.len() - 144..ours.len() - 136;
    ours[check.clone()].fill(0);
    theirs[check].fill(0);
    assert_eq!(ours, theirs);
    let line_lens = |text: &str| text.lines().map(str::len).collect::<Vec<_>>();
    assert_eq!(line_lens(&written), line_lens(ED25519));
}

#[test]
fn two_new_keys_differ() {
    let [one, other] = [(); 2].map(|()| PrivateKey::generate_ed25519().unwrap());
    assert_ne!(one.public_key(), other.public_key());
}

#[test]
fn files_that_cannot_be_used_say_why() {
    for (text, error) in [
        ("", PrivateKeyError::NotAPrivateKey),
        (include_str!("../testdata/ed25519.pub"), PrivateKeyError::NotAPrivateKey),
        (include_str!("../testdata/rsa_pkcs8.pub"), PrivateKeyError::NotAPrivateKey),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", PrivateKeyError::NotAPrivateKey),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n", PrivateKeyError::NotAPrivateKey),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n", PrivateKeyError::Damaged),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n****\n-----END OPENSSH PRIVATE KEY-----\n", PrivateKeyError::Damaged),
        (include_str!("../testdata/ed25519_encrypted"), PrivateKeyError::Encrypted),
        (include_str!("../testdata/rsa2048_pem_encrypted"), PrivateKeyError::Encrypted),
        (include_str!("../testdata/ed25519_pkcs8_encrypted"), PrivateKeyError::Encrypted),
        (include_str!("../testdata/dsa"), PrivateKeyError::Unacceptable(KeyError::Dsa)),
        ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", PrivateKeyError::Damaged),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", PrivateKeyError::Damaged),
    ] {
        assert_eq!(PrivateKey::from_openssh(text).unwrap_err(), error, "{text}");
    }
}

/// Each cipher that OpenSSH ever wrote by default, and both that authenticate.
#[test]
fn encrypted_files_of_ssh_keygen_are_read_with_their_passphrase_only() {
    for (private, passphrase, public_text) in [
        (include_str!("../testdata/ed25519_encrypted"), "secret", None),
        (ECDSA_GCM, "secret", Some(include_str!("../testdata/ecdsa256_gcm_encrypted.pub"))),
        (ED25519_GCM, "secret", Some(include_str!("../testdata/ed25519_gcm_encrypted.pub"))),
        (RSA_CTR, "secret", Some(include_str!("../testdata/rsa2048_ctr_encrypted.pub"))),
        (ED25519_CBC, "sécret ☂", Some(include_str!("../testdata/ed25519_cbc_encrypted.pub"))),
    ] {
        let key = PrivateKey::from_encrypted(private, passphrase).unwrap();
        if let Some(text) = public_text {
            assert_eq!(*key.public_key(), public(text));
        }
        let algorithm = key.algorithms()[0];
        let signature = key.sign(algorithm, b"message").unwrap();
        assert_eq!(key.public_key().verify(algorithm.as_bytes(), b"message", &signature), Ok(()));
        for wrong in ["Secret", "", "secret "] {
            let refused = PrivateKey::from_encrypted(private, wrong).unwrap_err();
            assert_eq!(refused, PrivateKeyError::WrongPassphrase, "{public_text:?}");
        }
        assert_eq!(PrivateKey::from_openssh(private).unwrap_err(), PrivateKeyError::Encrypted);
    }
}

#[test]
fn a_file_that_is_not_encrypted_takes_any_passphrase() {
    let key = PrivateKey::from_encrypted(ED25519, "whatever").unwrap();
    assert_eq!(*key.public_key(), public(include_str!("../testdata/ed25519.pub")));
}

#[test]
fn what_cannot_be_decrypted_says_how_it_is_encrypted() {
    let with_rounds = |rounds: u32| {
        let mut bytes = Base64::decode_vec(&armoured(ED25519_CBC).unwrap().1).unwrap();
        // Behind the magic, the cipher, "bcrypt", the length of both, and the salt of 16 bytes.
        let at = OPENSSH_MAGIC.len() + (4 + 10) + (4 + 6) + 4 + (4 + 16);
        assert_eq!(bytes[at..at + 4], 4_u32.to_be_bytes());
        bytes[at..at + 4].copy_from_slice(&rounds.to_be_bytes());
        armour(OPENSSH_LABEL, &bytes).to_string()
    };
    for (text, expected) in [
        (include_str!("../testdata/ed25519_chacha_encrypted"), "chacha20-poly1305@openssh.com"),
        (include_str!("../testdata/rsa2048_pem_encrypted"), "PEM"),
        (include_str!("../testdata/ed25519_pkcs8_encrypted"), "PEM"),
        // A file must not be able to hold a thread up for hours.
        (&with_rounds(u32::MAX), "bcrypt with 4294967295 rounds"),
    ] {
        let refused = PrivateKey::from_encrypted(text, "secret").unwrap_err();
        assert_eq!(refused, PrivateKeyError::UnsupportedEncryption { how: expected.into() });
    }
    assert_eq!(PrivateKey::from_encrypted(&with_rounds(0), "x").unwrap_err(), PrivateKeyError::Damaged);
}

#[test]
fn an_encrypted_file_cut_short_is_refused() {
    for text in [ECDSA_GCM, ED25519_CBC] {
        let bytes = Base64::decode_vec(&armoured(text).unwrap().1).unwrap();
        for len in (0..bytes.len()).step_by(7) {
            assert!(PrivateKey::from_encrypted(&armour(OPENSSH_LABEL, &bytes[..len]), "secret").is_err(), "{len}");
        }
    }
}

/// The file of a key on a token holds a handle, not a key.
#[test]
fn a_key_on_a_token_is_for_an_agent() {
    let mut private = [7; 8].to_vec();
    wire::put_string(&mut private, b"sk-ssh-ed25519@openssh.com");
    let mut file = OPENSSH_MAGIC.to_vec();
    for field in [&b"none"[..], b"none", b""] {
        wire::put_string(&mut file, field);
    }
    wire::put_u32(&mut file, 1);
    wire::put_string(&mut file, b"public");
    wire::put_string(&mut file, &private);
    let refused = PrivateKey::from_openssh(&armour(OPENSSH_LABEL, &file)).unwrap_err();
    assert_eq!(refused, PrivateKeyError::SecurityKey);
}

/// Numbers that are no key, where arithmetic is done before the provider looks at them.
#[test]
fn rsa_numbers_that_cannot_be_are_refused() {
    let bytes = Base64::decode_vec(&armoured(include_str!("../testdata/rsa2048_openssh")).unwrap().1).unwrap();
    // From behind the public key on; the last bytes are the comment and padding.
    for at in (bytes.len() - 1200..bytes.len() - 40).step_by(13) {
        for value in [0, 1, 0xff] {
            let mut changed = bytes.clone();
            if changed[at] == value {
                continue;
            }
            changed[at] = value;
            assert!(PrivateKey::from_openssh(&armour(OPENSSH_LABEL, &changed)).is_err(), "{at} {value}");
        }
    }
}

/// The public key stands three times in a file; whoever swaps one must not get a key that signs for another.
#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let other = PrivateKey::generate_ed25519().unwrap();
    let other = &other.public_key().blob()[19..];
    for text in [ED25519, ECDSA[0]] {
        let bytes = Base64::decode_vec(&armoured(text).unwrap().1).unwrap();
        let key = PrivateKey::from_openssh(text).unwrap();
        let raw = &key.public_key().blob()[key.public_key().blob().len() - 32..];
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(raw)).collect();
        assert!(places.len() >= 2);
        for place in places {
            let mut swapped = bytes.clone();
            swapped[place..place + 32].copy_from_slice(other);
            let refused = PrivateKey::from_openssh(&armour(OPENSSH_LABEL, &swapped));
            assert!(refused.is_err(), "{place}");
        }
    }
}

#[test]
fn a_file_cut_short_or_changed_is_refused() {
    for text in [ED25519, ECDSA[0], ECDSA[2]] {
        let bytes = Base64::decode_vec(&armoured(text).unwrap().1).unwrap();
        for len in 0..bytes.len() {
            assert!(PrivateKey::from_openssh(&armour(OPENSSH_LABEL, &bytes[..len])).is_err(), "{len}");
        }
    }
    // This comment leaves room for padding, which must count 1, 2, 3.
    let written = PrivateKey::from_openssh(ED25519).unwrap().to_openssh("ten  bytes").unwrap();
    let mut padded = Base64::decode_vec(&armoured(&written).unwrap().1).unwrap();
    assert!(padded.ends_with(&[1, 2, 3]));
    *padded.last_mut().unwrap() = 4;
    assert_eq!(PrivateKey::from_openssh(&armour(OPENSSH_LABEL, &padded)).unwrap_err(), PrivateKeyError::Damaged);
}

#[test]
fn what_is_printed_holds_no_secret() {
    let key = PrivateKey::from_openssh(ED25519).unwrap();
    assert_eq!(
        format!("{key:?}"),
        "PrivateKey { public: PublicKey(ssh-ed25519 SHA256:h8cfbFB7PWo8lqcn8XbTssmlbSUjVWyDamsoSeZjJFE), .. }"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_private_key(bytes: Vec<u8>, at in 0_usize..399, byte: u8) {
        let magic = [OPENSSH_MAGIC, &bytes].concat();
        prop_assert!(PrivateKey::from_openssh(&armour(OPENSSH_LABEL, &magic)).is_err());
        prop_assert!(PrivateKey::from_openssh(&armour("RSA PRIVATE KEY", &bytes)).is_err());
        // One byte of the text changed: an error or the same key, never a panic and never another key.
        let mut text = ED25519.as_bytes().to_vec();
        if let Some(place) = text.get_mut(at) {
            *place = byte & 0x7f;
        }
        if let Ok(key) = PrivateKey::from_openssh(&String::from_utf8(text).unwrap()) {
            prop_assert_eq!(key.public_key(), &public(include_str!("../testdata/ed25519.pub")));
        }
    }
}
