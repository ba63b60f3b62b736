//! A client's login, one question after the other (RFC 4252, RFC 4256).

use std::time::Duration;

use zeroize::Zeroizing;

use super::driven::Driven;
use super::message::Message;
use super::pair::Setup;
use crate::crypto::{HostKeyAlgorithm, KexAlgorithm, Mac, PrivateKey};
use crate::wire::put_string;
use crate::{
    Algorithms, AuthFailure, AuthMethod, AuthRefusal, ClientEvent, Credential, DisconnectCode, EndedBy, Event, Limits,
    Prompt, Prompts, ServerConfig,
};

const ECDSA: &str = include_str!("../crypto/testdata/ecdsa256");
const RSA: &str = include_str!("../crypto/testdata/rsa2048_pem");

#[test]
fn nothing_about_the_user_is_sent_before_the_host_key_is_accepted() {
    let mut driven = Driven::new();
    driven.settle();
    let ClientEvent::HostKey(key) = driven.event() else { panic!("the host key is told first") };
    assert_eq!(driven.client.host_key(), Some(&key));
    driven.server.go_deaf();
    // Whoever asks a person waits for as long as it takes, and no call gets around the question.
    driven.advance(Duration::from_secs(3600));
    driven.authenticate(Credential::Password(secret("hunter2")));
    driven.client.connection().probe_session(Duration::from_secs(1), driven.now).unwrap();
    driven.client.answer_signature(Some(b"x"), driven.now).unwrap();
    driven.client.answer_prompts(&[], driven.now).unwrap();
    assert_eq!((driven.server_heard(), driven.take_events(), &driven.ended), (vec![], vec![], &None));
    driven.client.accept_host_key(driven.now).unwrap();
    assert_eq!(driven.server_heard(), [Message::new(5).string("ssh-userauth")]);
}

#[test]
fn what_the_server_says_before_the_verdict_waits() {
    let mut driven = Driven::new().with_keys();
    for number in [6, 7, 52, 80, 94] {
        driven.server_says(Message::new(number).u32(0));
    }
    assert_eq!((driven.take_events(), &driven.ended), (vec![], &None));
    driven.client.accept_host_key(driven.now).unwrap();
    driven.settle();
    assert!(driven.ended.is_some());
}

#[test]
fn a_rejected_host_key_ends_the_connection_and_the_server_hears_why() {
    let mut driven = Driven::new().with_keys();
    driven.client.reject_host_key();
    driven.settle();
    let end = driven.server.ended.clone().unwrap();
    assert_eq!((end.code, end.by), (DisconnectCode::HostKeyNotVerifiable, EndedBy::Peer));
    assert!(driven.server.logins.is_empty());
    assert!(driven.client.receive(&mut crate::Buffer::new(), driven.now).is_err());
}

/// A server with several keys shows the one that is known.
#[test]
fn a_known_keys_type_is_asked_for_first() {
    for prefers in [true, false] {
        let (mut setup, ecdsa) = (Setup::default(), PrivateKey::from_openssh(ECDSA).unwrap());
        let known = ecdsa.public_key().clone();
        setup.server.host_keys.push(ecdsa);
        let mut driven = Driven::with(setup, |settings| {
            if prefers {
                settings.algorithms.prefer_host_keys([&known]);
                assert_eq!(settings.algorithms.host_keys.len(), HostKeyAlgorithm::ALL.len());
            }
        });
        driven.settle();
        let ClientEvent::HostKey(shown) = driven.event() else { panic!() };
        assert_eq!(shown == known, prefers);
    }
}

#[test]
fn another_host_key_at_a_rekey_ends_the_connection() {
    let mut driven = Driven::new().logged_in();
    let other = ServerConfig {
        host_keys: vec![PrivateKey::generate_ed25519().unwrap()],
        algorithms: Algorithms::default(),
        limits: Limits::default(),
    };
    driven.server.connection.pose_as(other);
    driven.client.connection().rekey(driven.now).unwrap();
    driven.settle();
    assert_eq!(driven.end(), "the server's host key is not the one it began with");
    assert_eq!(driven.ended.map(|end| end.code), Some(DisconnectCode::HostKeyNotVerifiable));
}

#[test]
fn the_same_host_key_at_a_rekey_is_not_asked_about_again() {
    let mut driven = Driven::new().logged_in();
    driven.client.connection().rekey(driven.now).unwrap();
    driven.settle();
    assert_eq!(driven.event(), ClientEvent::Connection(Event::Rekeyed));
}

#[test]
fn none_tells_the_methods_and_a_key_logs_in() {
    for probe in [true, false] {
        let mut driven = Driven::new().with_keys();
        driven.client.accept_host_key(driven.now).unwrap();
        driven.settle();
        assert_eq!(driven.event(), ClientEvent::AuthReady);
        driven.authenticate(Credential::None);
        assert_eq!(driven.event(), failed(AuthMethod::None, AuthRefusal::Refused, &["publickey"]));
        let stranger = PrivateKey::generate_ed25519().unwrap();
        let tried = AuthMethod::PublicKey(stranger.public_key().clone());
        driven.authenticate(Credential::Key { key: stranger, probe });
        let why = if probe { AuthRefusal::KeyRefused } else { AuthRefusal::Refused };
        assert_eq!(driven.event(), failed(tried, why, &["publickey"]));
        driven.authenticate(Credential::Key { key: driven.identity.clone(), probe });
        assert_eq!(driven.take_events()[0], ClientEvent::Connection(Event::LoggedIn));
        assert!(driven.client.connection().is_open());
        // The stranger was asked about and signed, or only asked about; then the question and the login, or the login alone.
        let signed: Vec<_> = driven.server.logins.iter().map(|(request, _)| request.signed).collect();
        assert_eq!(signed, if probe { vec![false, false, true] } else { vec![true, true] });
    }
}

/// RFC 4252 §7: the session, the name, the algorithm and the key are signed.
#[test]
fn an_outside_signer_signs_this_login_and_no_other() {
    for probe in [true, false] {
        let mut driven = Driven::new().with_keys();
        driven.client.accept_host_key(driven.now).unwrap();
        driven.settle();
        driven.take_events();
        let key = driven.identity.public_key().clone();
        driven.authenticate(Credential::Signer { key: key.clone(), probe });
        let ClientEvent::SignatureWanted(wanted) = driven.event() else { panic!("a signature is wanted") };
        assert_eq!((&wanted.key, wanted.algorithm), (&key, "ssh-ed25519"));
        let mut expected = Vec::new();
        put_string(&mut expected, driven.server.connection.session_id().unwrap());
        let request = Message::new(50).string("tunnel").string("ssh-connection").string("publickey").boolean(true);
        expected.extend(request.string("ssh-ed25519").string(key.blob()).0);
        assert_eq!(wanted.message, expected);
        // A person may take long to touch the key.
        driven.advance(Duration::from_secs(600));
        assert_eq!(driven.ended, None);
        let signature = driven.identity.sign(wanted.algorithm, &wanted.message).unwrap();
        driven.client.answer_signature(Some(&signature), driven.now).unwrap();
        driven.settle();
        assert_eq!(driven.take_events()[0], ClientEvent::Connection(Event::LoggedIn));
    }
}

/// Old agents sign with SHA-1 whatever they are asked for.
#[test]
fn a_signature_by_another_algorithm_is_not_sent() {
    let rsa = PrivateKey::from_openssh(RSA).unwrap();
    let sha1 = Message(Vec::new()).string("ssh-rsa").string([7; 256]).0;
    for answer in [None, Some(&sha1[..]), Some(b""), Some(&[0xff; 4])] {
        let mut driven = Driven::new().ready();
        driven.authenticate(Credential::Signer { key: rsa.public_key().clone(), probe: false });
        assert!(matches!(driven.event(), ClientEvent::SignatureWanted(_)));
        driven.client.answer_signature(answer, driven.now).unwrap();
        let heard = driven.server_heard();
        let tried = AuthMethod::PublicKey(rsa.public_key().clone());
        assert_eq!((driven.event(), heard), (failed(tried, AuthRefusal::NotSigned, &[]), vec![]));
        // Asked once, answered once.
        driven.client.answer_signature(Some(&sha1), driven.now).unwrap();
        assert_eq!((driven.server_heard(), driven.take_events()), (vec![], vec![]));
    }
}

/// RFC 8332 §3.3. The server of these tests said nothing about RSA before it went deaf: what it verifies is told anew.
#[test]
fn an_rsa_key_signs_with_the_best_algorithm_the_server_verifies() {
    let rsa = PrivateKey::from_openssh(RSA).unwrap();
    let held = || Credential::Key { key: rsa.clone(), probe: true };
    let outside = || Credential::Signer { key: rsa.public_key().clone(), probe: true };
    for (list, sha1_logins, credential, chosen) in [
        ("ssh-ed25519,rsa-sha2-256,rsa-sha2-512", false, held(), Some("rsa-sha2-512")),
        ("rsa-sha2-256,ssh-rsa", false, held(), Some("rsa-sha2-256")),
        ("rsa-sha2-256,ssh-rsa", true, outside(), Some("rsa-sha2-256")),
        ("ssh-rsa,ssh-ed25519", false, outside(), None),
        ("ssh-rsa,ssh-ed25519", true, outside(), Some("ssh-rsa")),
        // The library signs nothing over SHA-1.
        ("ssh-rsa", true, held(), None),
        ("", true, outside(), None),
    ] {
        let mut driven =
            Driven::with(Setup::default(), |settings| settings.algorithms.sha1_logins = sha1_logins).ready();
        driven.server_says(Message::new(7).u32(2).string("x").string("y").string("server-sig-algs").string(list));
        driven.authenticate(credential);
        match chosen {
            Some(algorithm) => {
                let request = Message::new(50).string("tunnel").string("ssh-connection").string("publickey");
                let request = request.boolean(false).string(algorithm).string(rsa.public_key().blob());
                assert_eq!(driven.server_heard(), [request], "{list}");
            }
            None => {
                let tried = AuthMethod::PublicKey(rsa.public_key().clone());
                assert_eq!(driven.event(), failed(tried, AuthRefusal::NoSignatureAlgorithm, &[]), "{list}");
                assert_eq!(driven.server_heard(), []);
            }
        }
    }
}

#[test]
fn a_password_is_sent_once_and_its_expiry_is_told() {
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::Password(secret("pässword")));
    let request = Message::new(50).string("tunnel").string("ssh-connection").string("password");
    assert_eq!(driven.server_heard(), [request.boolean(false).string("pässword")]);
    driven.server_says(Message::new(60).string("change it\x1b[2J").string("en"));
    let why = AuthRefusal::PasswordExpired { prompt: "change it\u{1b}[2J".into() };
    assert_eq!(driven.event(), failed(AuthMethod::Password, why, &[]));
    driven.authenticate(Credential::Password(secret("other")));
    assert_eq!(driven.server_heard().len(), 1);
    driven.server_says(Message::new(52));
    assert_eq!(driven.event(), ClientEvent::Connection(Event::LoggedIn));
}

/// RFC 4252 §5.1: a key and then a password.
#[test]
fn a_method_that_succeeds_in_part_is_followed_by_another() {
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::Key { key: driven.identity.clone(), probe: false });
    driven.server_says(Message::new(51).names(&["password", "keyboard-interactive"]).boolean(true));
    let tried = AuthMethod::PublicKey(driven.identity.public_key().clone());
    let left = ["password", "keyboard-interactive"];
    assert_eq!(driven.event(), failed(tried, AuthRefusal::PartialSuccess, &left));
    driven.authenticate(Credential::Password(secret("x")));
    driven.server_says(Message::new(52));
    assert_eq!(driven.event(), ClientEvent::Connection(Event::LoggedIn));
}

#[test]
fn questions_are_told_and_their_answers_sent_in_order() {
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::KeyboardInteractive);
    let request = Message::new(50).string("tunnel").string("ssh-connection").string("keyboard-interactive");
    assert_eq!(driven.server_heard(), [request.string("").string("")]);
    let round = Message::new(60).string("Login").string("Two things").string("");
    driven.server_says(round.u32(2).string("Password: ").boolean(false).string("Code: ").boolean(true));
    let prompts = vec![Prompt { text: "Password: ".into(), echo: false }, Prompt { text: "Code: ".into(), echo: true }];
    let asked = Prompts { name: "Login".into(), instruction: "Two things".into(), prompts };
    assert_eq!(driven.event(), ClientEvent::Prompts(asked));
    // Whoever looks for a token finds the question still open.
    driven.advance(Duration::from_secs(600));
    // A missing answer is empty, a surplus one is nobody's business.
    driven.client.answer_prompts(&[secret("hunter2")], driven.now).unwrap();
    assert_eq!(driven.server_heard(), [Message::new(61).u32(2).string("hunter2").string("")]);
    // A round of no questions wants its answer (RFC 4256 §3.4).
    driven.server_says(Message::new(60).string("").string("Almost there").string("").u32(0));
    assert!(matches!(driven.event(), ClientEvent::Prompts(asked) if asked.prompts.is_empty()));
    driven.client.answer_prompts(&[secret("a"), secret("b")], driven.now).unwrap();
    assert_eq!(driven.server_heard(), [Message::new(61).u32(0)]);
    driven.server_says(Message::new(52));
    assert_eq!(driven.event(), ClientEvent::Connection(Event::LoggedIn));
}

/// RFC 4252 §5: a client may go on to another method at any time.
#[test]
fn questions_may_be_left_for_another_method() {
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::KeyboardInteractive);
    driven.server_says(Message::new(60).string("").string("").string("").u32(1).string("?").boolean(true));
    driven.take_events();
    driven.authenticate(Credential::Password(secret("x")));
    driven.client.answer_prompts(&[secret("late")], driven.now).unwrap();
    assert_eq!(driven.server_heard().len(), 2);
    driven.server_says(Message::new(51).names(&["password"]).boolean(false));
    assert_eq!(driven.event(), failed(AuthMethod::Password, AuthRefusal::Refused, &["password"]));
}

#[test]
fn a_method_is_tried_only_when_it_is_our_turn() {
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::None);
    driven.authenticate(Credential::Password(secret("too early")));
    driven.client.accept_host_key(driven.now).unwrap();
    assert_eq!(driven.server_heard(), [Message::new(50).string("tunnel").string("ssh-connection").string("none")]);
}

#[test]
fn banners_are_told_raw_and_without_end_they_are_not() {
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::None);
    driven.server_says(Message::new(53).string(b"Beware \x1b[31m\xff").string("en"));
    assert_eq!(driven.event(), ClientEvent::Banner("Beware \u{1b}[31m\u{fffd}".into()));
    for _ in 0..50 {
        driven.server_says(Message::new(53).string([b'x'; 30_000]).string(""));
    }
    let told: usize = driven
        .take_events()
        .iter()
        .map(|event| match event {
            ClientEvent::Banner(text) => text.len(),
            event => panic!("{event:?}"),
        })
        .sum();
    assert!((10_000..=16 * 1024).contains(&told), "{told}");
    driven.server_says(Message::new(52));
    assert_eq!(driven.event(), ClientEvent::Connection(Event::LoggedIn));
}

#[test]
fn a_server_that_lets_us_wait_is_left() {
    let mut driven = Driven::new().ready();
    driven.advance(Duration::from_secs(3600));
    driven.authenticate(Credential::None);
    driven.advance(Duration::from_secs(29));
    assert_eq!(driven.ended, None);
    driven.advance(Duration::from_secs(2));
    assert_eq!(driven.end(), "nobody logged in in time");
}

/// Only where they were switched on; and then they carry a connection.
#[test]
fn old_algorithms_are_never_offered_unasked() {
    let old = [KexAlgorithm::Group14Sha256, KexAlgorithm::Group14Sha1];
    for kex in old {
        let mut setup = Setup::default();
        setup.server.algorithms = Algorithms::default().with_old();
        setup.server.algorithms.kex = vec![kex];
        setup.server.algorithms.macs = vec![Mac::HmacSha1];
        setup.server.algorithms.ciphers = vec![crate::crypto::Cipher::Aes128Ctr];
        let mut driven =
            Driven::with(setup, |settings| settings.algorithms = Algorithms::default().with_old()).logged_in();
        driven.client.connection().rekey(driven.now).unwrap();
        driven.settle();
        assert_eq!(driven.event(), ClientEvent::Connection(Event::Rekeyed));
    }
    let offered = |algorithms: Algorithms| {
        let names = algorithms.host_keys.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>();
        let offer = crate::negotiation::write_kexinit(crate::Side::Client, &algorithms, &names, [0; 16], true);
        let offer = String::from_utf8_lossy(&offer).into_owned();
        ["group14", "sha1", "ssh-rsa", "cbc", "ssh-dss"].map(|name| offer.contains(name))
    };
    assert_eq!(offered(Algorithms::default()), [false; 5]);
    assert_eq!(offered(Algorithms::default().with_old()), [true, true, true, false, false]);
}

#[test]
fn what_is_printed_holds_no_secret() {
    assert_eq!(format!("{:?}", Credential::Password(secret("hunter2"))), "Password");
    let key = PrivateKey::from_openssh(ECDSA).unwrap();
    let printed = format!("{:?}", Credential::Key { key, probe: true });
    assert!(printed.starts_with("PublicKey(PublicKey(ecdsa-sha2-nistp256 SHA256:"), "{printed}");
}

/// The way of a byte: what is told of it is as small as before there were clients.
#[test]
fn an_event_is_no_larger_for_a_clients_sake() {
    assert_eq!(size_of::<crate::connection::Told>(), size_of::<Event>());
}

fn failed(tried: AuthMethod, why: AuthRefusal, methods_left: &[&str]) -> ClientEvent {
    let methods_left = methods_left.iter().map(ToString::to_string).collect();
    ClientEvent::AuthFailed(AuthFailure { tried, why, methods_left })
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}
