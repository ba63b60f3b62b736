//! From the version line to a login.

use super::message::Message;
use super::pair::{Pair, Pieces, Setup};
use crate::crypto::{Cipher, HostKey, KexAlgorithm, Mac, PublicKey};
use crate::wire::{Reader, put_string};
use crate::{Algorithms, AuthOutcome, DisconnectCode, EndedBy, Event};

/// Every method, cipher and MAC there is, with cuts anywhere: both ends get in, and bytes cross both ways.
#[test]
fn every_combination_of_algorithms_logs_in_and_carries_bytes() {
    let mut seed = 0;
    for kex in KexAlgorithm::ALL {
        for cipher in Cipher::ALL {
            for mac in if cipher.is_aead() { vec![Mac::HmacSha256] } else { Mac::ALL.to_vec() } {
                seed += 1;
                let mut setup = Setup { seed, pieces: Pieces::UpTo(400), ..Setup::default() };
                setup.server.algorithms = Algorithms::default();
                setup.client.algorithms =
                    Algorithms { kex: vec![kex], ciphers: vec![cipher], macs: vec![mac], ..Algorithms::default() };
                let mut pair = setup.log_in();
                let (at_server, at_client) = pair.visit();
                // Sizes around a cipher block, and one of several packets.
                for len in (1..40).chain([100_000]) {
                    let bytes = vec![len as u8; len];
                    assert_eq!(pair.server.connection.send_data(at_server, &bytes, pair.now), Ok(len));
                    assert_eq!(pair.client.connection.send_data(at_client, &bytes, pair.now), Ok(len));
                    pair.settle();
                    assert_eq!(pair.client.data.remove(&at_client), Some(bytes.clone()), "{kex:?} {cipher:?} {mac:?}");
                    assert_eq!(pair.server.data.remove(&at_server), Some(bytes), "{kex:?} {cipher:?} {mac:?}");
                }
                pair.server.connection.rekey(pair.now).unwrap();
                pair.settle();
                assert_eq!(pair.server.event(), Event::Rekeyed);
                assert_eq!(pair.client.event(), Event::Rekeyed);
            }
        }
    }
}

#[test]
fn a_login_arrives_byte_by_byte() {
    let mut pair = Setup { pieces: Pieces::UpTo(1), ..Setup::default() }.log_in();
    assert_eq!(pair.server.logins.pop().map(|(_, outcome)| outcome), Some(AuthOutcome::LoggedIn));
    assert!(pair.client.connection.peer_version().starts_with(b"SSH-2.0-adit_"));
}

#[test]
fn a_wrong_name_and_an_unknown_key_get_the_same_bytes() {
    let known = HostKey::generate_ed25519().unwrap();
    let unknown = HostKey::generate_ed25519().unwrap();
    let answers = |name: &str, key: &HostKey| {
        let mut login = Login::new();
        login.pair.server.accounts.push(known.public_key().clone());
        login.ask(name, key);
        login.sign(name, key);
        login.pair.client.heard()
    };
    let refusal = Message::new(51).names(&["publickey"]).boolean(false);
    assert_eq!(answers("root", &known), [refusal.clone(), refusal.clone()]);
    assert_eq!(answers("tunnel", &unknown), [refusal.clone(), refusal]);
    assert_eq!(answers("tunnel", &known)[1], Message::new(52));
}

#[test]
fn a_refused_client_says_which_methods_are_left() {
    let mut setup = Setup::default();
    setup.accounts.clear();
    let mut pair = setup.join();
    pair.settle();
    assert_eq!(pair.client.ended.map(|end| end.message), Some("permission denied (publickey)".into()));
}

/// RFC 4252 §7: asking about one key gives no right to another.
#[test]
fn asking_about_one_key_and_signing_with_another_is_a_login_of_the_other() {
    let (asked, signed) = (HostKey::generate_ed25519().unwrap(), HostKey::generate_ed25519().unwrap());
    let mut login = Login::new();
    login.pair.server.accounts.extend([asked.public_key().clone(), signed.public_key().clone()]);
    login.ask("tunnel", &asked);
    login.sign("tunnel", &signed);
    let (request, outcome) = login.pair.server.logins.pop().unwrap();
    assert_eq!((&request.key, outcome), (signed.public_key(), AuthOutcome::LoggedIn));
}

#[test]
fn a_signature_of_one_key_is_no_login_of_another() {
    let (account, other) = (HostKey::generate_ed25519().unwrap(), HostKey::generate_ed25519().unwrap());
    let mut login = Login::new();
    login.pair.server.accounts.push(account.public_key().clone());
    login.ask("tunnel", &account);
    let message = login.request("tunnel", &account, true);
    let signature = other.sign("ssh-ed25519", &login.signed("tunnel", &account)).unwrap();
    login.send(message.string(signature));
    assert_eq!(login.outcome(), Some(AuthOutcome::Refused));
    assert!(!login.pair.server.connection.is_open());
}

/// RFC 4252 §5: what was agreed under one name is nothing under another.
#[test]
fn asking_under_one_name_gives_no_right_under_another() {
    let key = HostKey::generate_ed25519().unwrap();
    let mut login = Login::new();
    login.pair.server.accounts.push(key.public_key().clone());
    login.ask("tunnel", &key);
    assert_eq!(login.outcome(), Some(AuthOutcome::MaySign));
    login.sign("root", &key);
    assert_eq!(login.outcome(), Some(AuthOutcome::Refused));
    let signature = key.sign("ssh-ed25519", &login.signed("root", &key)).unwrap();
    let message = login.request("tunnel", &key, true).string(signature);
    login.send(message);
    assert_eq!(login.outcome(), Some(AuthOutcome::Refused));
}

/// A signature is over the session it was made in (RFC 4252 §7).
#[test]
fn a_signature_from_another_session_is_refused() {
    let key = HostKey::generate_ed25519().unwrap();
    let (elsewhere, mut login) = (Login::new(), Login::new());
    login.pair.server.accounts.push(key.public_key().clone());
    let signature = key.sign("ssh-ed25519", &elsewhere.signed("tunnel", &key)).unwrap();
    let message = login.request("tunnel", &key, true).string(signature);
    login.send(message);
    assert_eq!(login.outcome(), Some(AuthOutcome::Refused));
}

/// An agent's keys are asked about one by one, after a request for no method at all; the last may be the right one.
#[test]
fn the_twentieth_key_of_an_agent_logs_in() {
    let keys: Vec<_> = (0..20).map(|_| HostKey::generate_ed25519().unwrap()).collect();
    let mut login = Login::new();
    login.pair.server.accounts.push(keys[19].public_key().clone());
    login.send(Message::new(50).string("tunnel").string("ssh-connection").string("none"));
    for key in &keys {
        login.ask("tunnel", key);
    }
    assert_eq!(login.outcome(), Some(AuthOutcome::MaySign));
    login.sign("tunnel", &keys[19]);
    assert_eq!(login.outcome(), Some(AuthOutcome::LoggedIn));
}

/// paramiko signs with each key without asking first.
#[test]
fn twenty_unknown_signatures_are_borne_and_more_are_not() {
    let mut login = Login::new();
    for count in 0..=20 {
        assert_eq!(login.pair.server.ended, None, "after {count}");
        login.sign("tunnel", &HostKey::generate_ed25519().unwrap());
    }
    assert_eq!(login.pair.server_end(), "Too many authentication failures");
}

#[test]
fn a_walk_through_keys_is_cut_short() {
    let mut login = Login::new();
    let key = HostKey::generate_ed25519().unwrap();
    for count in 0..21 {
        login.ask("tunnel", &key);
        assert_eq!(login.pair.server.ended, None, "after {count}");
    }
    login.ask("tunnel", &key);
    assert_eq!(login.pair.server_end(), "Too many authentication failures");
}

#[test]
fn six_wrong_signatures_end_the_connection() {
    let key = HostKey::generate_ed25519().unwrap();
    let mut login = Login::new();
    login.pair.server.accounts.push(key.public_key().clone());
    for count in 0..6 {
        assert_eq!(login.pair.server.ended, None, "after {count}");
        let signature = key.sign("ssh-ed25519", b"something else").unwrap();
        let message = login.request("tunnel", &key, true).string(signature);
        login.send(message);
    }
    assert_eq!(login.pair.server_end(), "Too many authentication failures");
}

/// RFC 8332 §3.2, and no SHA-1: nobody is even asked about such a request.
#[test]
fn an_algorithm_the_key_cannot_sign_with_is_refused_unasked() {
    for algorithm in ["ssh-rsa", "rsa-sha2-512", "ecdsa-sha2-nistp256", "none", ""] {
        let key = HostKey::generate_ed25519().unwrap();
        let mut login = Login::new();
        login.pair.server.accounts.push(key.public_key().clone());
        let message = Message::new(50).string("tunnel").string("ssh-connection").string("publickey").boolean(false);
        login.send(message.string(algorithm).string(key.public_key().blob()));
        assert_eq!((login.outcome(), &login.pair.server.ended), (None, &None), "{algorithm}");
    }
}

#[test]
fn other_methods_are_refused_and_other_services_end_the_connection() {
    let mut login = Login::new();
    for method in ["password", "keyboard-interactive", "hostbased", "gssapi-with-mic"] {
        login.send(
            Message::new(50).string("tunnel").string("ssh-connection").string(method).boolean(false).string("secret"),
        );
        assert_eq!((login.outcome(), &login.pair.server.ended), (None, &None), "{method}");
    }
    login.send(Message::new(50).string("tunnel").string("ssh-shell").string("none"));
    assert!(login.pair.server.ended.is_some());
}

#[test]
fn a_name_of_any_length_and_any_bytes_is_only_a_wrong_name() {
    let key = HostKey::generate_ed25519().unwrap();
    for name in ["tunnel\0", "\u{1b}[2J", "", &"x".repeat(30_000)] {
        let mut login = Login::new();
        login.pair.server.accounts.push(key.public_key().clone());
        login.sign(name, &key);
        assert!(!login.pair.server.connection.is_open() && login.pair.server.ended.is_none());
    }
}

#[test]
fn another_host_key_than_the_one_expected_ends_it_before_anything_is_sent() {
    let mut setup = Setup::default();
    setup.client.host_key = HostKey::generate_ed25519().unwrap().public_key().clone();
    let mut pair = setup.join();
    pair.settle();
    assert_eq!(pair.client.ended.map(|end| end.code), Some(DisconnectCode::HostKeyNotVerifiable));
    assert!(pair.server.logins.is_empty());
    assert_eq!(pair.server.ended.map(|end| end.by), Some(EndedBy::Peer));
}

#[test]
fn two_ends_without_a_common_algorithm_say_so() {
    let mut setup = Setup::default();
    setup.server.algorithms.ciphers = vec![Cipher::Aes128Gcm];
    setup.client.algorithms.ciphers = vec![Cipher::Chacha20Poly1305];
    let mut pair = setup.join();
    pair.settle();
    assert_eq!(pair.server.ended.as_ref().map(|end| end.code), Some(DisconnectCode::KeyExchangeFailed));
    assert!(pair.server_end().starts_with("no common cipher"));
}

/// OpenSSH asks for proof of the keys it was told about, and learns them only with it (OpenSSH PROTOCOL §2.5).
#[test]
fn a_server_proves_the_host_keys_it_announces_and_no_others() {
    let setup = Setup::default();
    let own = setup.client.host_key.blob().to_vec();
    let other = HostKey::generate_ed25519().unwrap().public_key().blob().to_vec();
    let mut pair = setup.log_in();
    pair.client.go_deaf();
    let mut proven = Vec::new();
    put_string(&mut proven, b"hostkeys-prove-00@openssh.com");
    put_string(&mut proven, pair.client.connection.session_id().unwrap());
    put_string(&mut proven, &own);
    let mut ask = |blobs: &[&[u8]]| {
        let ask = Message::new(80).string("hostkeys-prove-00@openssh.com").boolean(true);
        pair.client_sends(blobs.iter().fold(ask, Message::string));
        pair.client.heard().remove(0).0
    };
    let proof = ask(&[&own]);
    let mut fields = Reader::new(&proof[1..]);
    assert_eq!(PublicKey::from_blob(&own).unwrap().verify(b"ssh-ed25519", &proven, fields.string().unwrap()), Ok(()));
    assert_eq!(fields.end(), Ok(()));
    for blobs in [&[&other[..]][..], &[&own, &other], &[&own, &own], &[b""]] {
        assert_eq!(ask(blobs), [82]);
    }
}

/// A client that has its keys and now sends what it likes.
struct Login {
    pair: Pair,
}

impl Login {
    fn new() -> Self {
        let mut setup = Setup::default();
        setup.accounts.clear();
        Self { pair: setup.join_until_keys() }
    }

    fn send(&mut self, message: Message) {
        self.pair.client_sends(message);
    }

    fn outcome(&mut self) -> Option<AuthOutcome> {
        self.pair.server.logins.last().map(|(_, outcome)| *outcome)
    }

    fn request(&self, user: &str, key: &HostKey, signed: bool) -> Message {
        let request = Message::new(50).string(user).string("ssh-connection").string("publickey").boolean(signed);
        request.string("ssh-ed25519").string(key.public_key().blob())
    }

    /// What a signature is made over (RFC 4252 §7).
    fn signed(&self, user: &str, key: &HostKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_string(&mut bytes, self.pair.client.connection.session_id().unwrap());
        bytes.extend(self.request(user, key, true).0);
        bytes
    }

    fn ask(&mut self, user: &str, key: &HostKey) {
        self.send(self.request(user, key, false));
    }

    fn sign(&mut self, user: &str, key: &HostKey) {
        let signature = key.sign("ssh-ed25519", &self.signed(user, key)).unwrap();
        self.send(self.request(user, key, true).string(signature));
    }
}
