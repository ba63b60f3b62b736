use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::crypto::HostKey;

const MESSAGE: &[u8] = b"what was signed";
const NAMESPACE: &str = "test";

/// A key, and its signature over [`MESSAGE`] by `ssh-keygen`.
const VECTORS: [(&str, &str); 6] = [
    (include_str!("../testdata/ed25519.pub"), include_str!("../testdata/ed25519.sig")),
    (include_str!("../testdata/ed25519.pub"), include_str!("../testdata/ed25519_sha256.sig")),
    (include_str!("../testdata/ecdsa256.pub"), include_str!("../testdata/ecdsa256.sig")),
    (include_str!("../testdata/ecdsa384.pub"), include_str!("../testdata/ecdsa384.sig")),
    (include_str!("../testdata/ecdsa521.pub"), include_str!("../testdata/ecdsa521.sig")),
    (include_str!("../testdata/rsa2048_pem.pub"), include_str!("../testdata/rsa2048_pem.sig")),
];

fn vectors() -> impl Iterator<Item = (PublicKey, &'static str)> {
    VECTORS.into_iter().map(|(key, signature)| (PublicKey::from_text(key).unwrap().0, signature))
}

fn armored(blob: &[u8]) -> String {
    format!("{BEGIN}\n{}\n{END}\n", Base64::encode_string(blob))
}

/// A signature of which every field can be varied.
struct Draft {
    magic: &'static [u8],
    version: u32,
    key: Vec<u8>,
    namespace: &'static str,
    reserved: &'static str,
    hash: &'static str,
}

impl Draft {
    fn of(key: &PublicKey) -> Self {
        let key = key.blob().to_vec();
        Self { magic: b"SSHSIG", version: 1, key, namespace: NAMESPACE, reserved: "", hash: "sha512" }
    }

    /// What is signed, as `PROTOCOL.sshsig` has it.
    fn signed(&self) -> Vec<u8> {
        let hash = if self.hash == "sha256" { &digest::SHA256 } else { &digest::SHA512 };
        let mut signed = b"SSHSIG".to_vec();
        for field in [self.namespace.as_bytes(), self.reserved.as_bytes(), self.hash.as_bytes()] {
            wire::put_string(&mut signed, field);
        }
        wire::put_string(&mut signed, digest::digest(hash, MESSAGE).as_ref());
        signed
    }

    fn with_signature(&self, signature: &[u8]) -> String {
        let mut blob = self.magic.to_vec();
        wire::put_u32(&mut blob, self.version);
        let fields =
            [&self.key[..], self.namespace.as_bytes(), self.reserved.as_bytes(), self.hash.as_bytes(), signature];
        for field in fields {
            wire::put_string(&mut blob, field);
        }
        armored(&blob)
    }

    fn sign(&self, key: &HostKey) -> String {
        self.with_signature(&key.sign("ssh-ed25519", &self.signed()).unwrap())
    }
}

#[test]
fn what_ssh_keygen_signs_is_accepted() {
    for (key, signature) in vectors() {
        assert_eq!(key.verify_sshsig(NAMESPACE, MESSAGE, signature), Ok(()), "{key:?}");
        // As it looks after a mail or a Windows editor.
        let carried = format!("\r\n{}\r\n", signature.replace('\n', "\r\n"));
        assert_eq!(key.verify_sshsig(NAMESPACE, MESSAGE, &carried), Ok(()), "{key:?}");
    }
}

#[test]
fn another_message_namespace_or_key_is_refused() {
    let keys: HashSet<PublicKey> = vectors().map(|(key, _)| key).collect();
    for (key, signature) in vectors() {
        let wrong = Err(SshsigError::Signature(SignatureError::Wrong));
        assert_eq!(key.verify_sshsig(NAMESPACE, b"what was signe", signature), wrong);
        assert_eq!(key.verify_sshsig(NAMESPACE, b"", signature), wrong);
        let elsewhere = Err(SshsigError::Namespace { expected: "git".to_owned() });
        assert_eq!(key.verify_sshsig("git", MESSAGE, signature), elsewhere);
        for other in keys.iter().filter(|other| **other != key) {
            assert_eq!(other.verify_sshsig(NAMESPACE, MESSAGE, signature), Err(SshsigError::OtherKey));
        }
    }
}

#[test]
fn every_field_is_checked() {
    let key = HostKey::generate_ed25519().unwrap();
    let public = key.public_key();
    let verdict = |draft: &Draft| public.verify_sshsig(NAMESPACE, MESSAGE, &draft.sign(&key));
    assert_eq!(verdict(&Draft::of(public)), Ok(()));
    assert_eq!(verdict(&Draft { hash: "sha256", ..Draft::of(public) }), Ok(()));
    assert_eq!(verdict(&Draft { reserved: "of the future", ..Draft::of(public) }), Ok(()), "signed, not understood");

    assert_eq!(verdict(&Draft { magic: b"SSHSIH", ..Draft::of(public) }), Err(SshsigError::Damaged));
    for version in [0, 2, u32::MAX] {
        assert_eq!(verdict(&Draft { version, ..Draft::of(public) }), Err(SshsigError::Version { version }));
    }
    for hash in ["sha1", "md5", "SHA512", ""] {
        assert_eq!(verdict(&Draft { hash, ..Draft::of(public) }), Err(SshsigError::Hash));
    }
    assert!(matches!(verdict(&Draft { namespace: "", ..Draft::of(public) }), Err(SshsigError::Namespace { .. })));
    let stranger = HostKey::generate_ed25519().unwrap();
    let forged = Draft::of(public).sign(&stranger);
    let wrong = Err(SshsigError::Signature(SignatureError::Wrong));
    assert_eq!(public.verify_sshsig(NAMESPACE, MESSAGE, &forged), wrong, "the key it states did not sign");
}

/// A signature of the bare message, as a login or a certificate would have it, is none of a file.
#[test]
fn the_preamble_keeps_other_signatures_away() {
    let key = HostKey::generate_ed25519().unwrap();
    let draft = Draft::of(key.public_key());
    let bare = draft.with_signature(&key.sign("ssh-ed25519", MESSAGE).unwrap());
    let verdict = key.public_key().verify_sshsig(NAMESPACE, MESSAGE, &bare);
    assert_eq!(verdict, Err(SshsigError::Signature(SignatureError::Wrong)));
}

#[test]
fn sha1_signatures_of_rsa_are_refused() {
    let key = PublicKey::from_text(include_str!("../testdata/rsa2048_pem.pub")).unwrap().0;
    for algorithm in ["ssh-rsa", "ssh-dss", "none", ""] {
        let mut signature = Vec::new();
        wire::put_string(&mut signature, algorithm.as_bytes());
        wire::put_string(&mut signature, &[1; 256]);
        let verdict = key.verify_sshsig(NAMESPACE, MESSAGE, &Draft::of(&key).with_signature(&signature));
        assert_eq!(verdict, Err(SshsigError::Signature(SignatureError::AlgorithmRefused)), "{algorithm}");
    }
}

/// Made by hand from an Ed25519 key (`PROTOCOL.u2f`): the device signs its application, flags and counter around the message.
#[test]
fn a_security_key_must_have_been_touched() {
    let sk_ed25519 = "sk-ssh-ed25519@openssh.com";
    let device = HostKey::generate_ed25519().unwrap();
    let raw = |blob: &[u8]| blob[4 + "ssh-ed25519".len() + 4..].to_vec();
    let mut blob = Vec::new();
    for field in [sk_ed25519.as_bytes(), &raw(device.public_key().blob()), b"ssh:"] {
        wire::put_string(&mut blob, field);
    }
    let key = PublicKey::from_blob(&blob).unwrap();
    let draft = Draft::of(&key);
    let touched = |flags: u8| {
        let sha256 = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
        let tail = [flags, 0, 0, 0, 9];
        let signed = [sha256(b"ssh:").as_ref(), &tail, sha256(&draft.signed()).as_ref()].concat();
        let mut signature = Vec::new();
        wire::put_string(&mut signature, sk_ed25519.as_bytes());
        wire::put_string(&mut signature, &raw(&device.sign("ssh-ed25519", &signed).unwrap()));
        draft.with_signature(&[&signature[..], &tail].concat())
    };
    assert_eq!(key.verify_sshsig(NAMESPACE, MESSAGE, &touched(1)), Ok(()));
    let untouched = Err(SshsigError::Signature(SignatureError::NotTouched));
    assert_eq!(key.verify_sshsig(NAMESPACE, MESSAGE, &touched(0)), untouched);
}

#[test]
fn one_flipped_bit_or_lost_byte_anywhere_spoils_it() {
    for (key, signature) in vectors() {
        let blob = unarmored(signature).unwrap();
        let verify = |blob: &[u8]| key.verify_sshsig(NAMESPACE, MESSAGE, &armored(blob));
        assert_eq!(verify(&blob), Ok(()));
        for bit in 0..blob.len() * 8 {
            let mut tampered = blob.clone();
            tampered[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&tampered).is_err(), "{key:?} bit {bit}");
        }
        for len in 0..blob.len() {
            assert!(verify(&blob[..len]).is_err(), "{key:?} {len}");
        }
        assert_eq!(verify(&[&blob[..], &[0]].concat()), Err(SshsigError::Damaged));
    }
}

#[test]
fn a_text_that_is_no_signature_is_told_so() {
    let (key, signature) = vectors().next().unwrap();
    let verdict = |text: &str| key.verify_sshsig(NAMESPACE, MESSAGE, text);
    for text in ["", "what was signed", &key.to_text("me"), "-----BEGIN PGP SIGNATURE-----"] {
        assert_eq!(verdict(text), Err(SshsigError::NotArmored), "{text}");
    }
    let body = signature.lines().nth(1).unwrap();
    for text in [BEGIN, &format!("{BEGIN}{END}"), &format!("{BEGIN}\n{END}"), &format!("{BEGIN}\n{body}\n")] {
        assert_eq!(verdict(text), Err(SshsigError::Damaged), "{text}");
    }
    assert_eq!(verdict(&signature.replacen(body, "!!!!", 1)), Err(SshsigError::Damaged));
    assert_eq!(verdict(&format!("{signature}{signature}")), Err(SshsigError::Damaged));
    assert_eq!(verdict(&"\n".repeat(LONGEST_TEXT + 1)), Err(SshsigError::TooLong));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_signature(bytes: Vec<u8>, text: String) {
        for (key, _) in vectors() {
            prop_assert!(key.verify_sshsig(NAMESPACE, MESSAGE, &armored(&bytes)).is_err());
            prop_assert!(key.verify_sshsig(NAMESPACE, MESSAGE, &text).is_err());
        }
    }
}
