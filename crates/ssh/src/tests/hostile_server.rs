//! A server that breaks the rules against a client, before it has let it in and after.

use zeroize::Zeroizing;

use super::driven::Driven;
use super::message::Message;
use super::pair::Setup;
use crate::crypto::PrivateKey;
use crate::wire::put_string;
use crate::{ClientEvent, Credential, Event};

const ECDSA: &str = include_str!("../crypto/testdata/ecdsa256");

/// Each moment of a login in which a server may say something, with what it may not say then.
#[test]
fn nobody_is_in_who_did_not_ask() {
    type Step = fn(&mut Driven);
    let moments: [(&str, Step); 6] = [
        ("before a method", |_| {}),
        ("after a refusal", |driven| {
            driven.authenticate(Credential::None);
            driven.server_says(Message::new(51).names(&["password"]).boolean(false));
        }),
        ("asked about a key", |driven| {
            let key = driven.identity.clone();
            driven.authenticate(Credential::Key { key, probe: true });
        }),
        ("waiting for a signer", |driven| {
            let key = driven.identity.public_key().clone();
            driven.authenticate(Credential::Signer { key, probe: false });
        }),
        ("waiting for answers", |driven| {
            driven.authenticate(Credential::KeyboardInteractive);
            driven.server_says(Message::new(60).string("").string("").string("").u32(1).string("?").boolean(true));
        }),
        ("waiting for the service", |_| {}),
    ];
    for (moment, prepare) in moments {
        let mut driven = match moment {
            "waiting for the service" => {
                let mut driven = Driven::new().with_keys();
                driven.server.go_deaf();
                driven.client.accept_host_key(driven.now).unwrap();
                driven.settle();
                driven
            }
            _ => Driven::new().ready(),
        };
        prepare(&mut driven);
        driven.take_events();
        driven.server_heard();
        driven.server_says(Message::new(52));
        assert!(driven.ended.is_some(), "{moment}");
        assert!(!driven.client.connection().is_open(), "{moment}");
        assert_eq!(
            (driven.take_events(), driven.server_heard().len()),
            (vec![], 1),
            "{moment}: only the reason goes out"
        );
    }
}

/// libssh's and Erlang's holes from the other side: nothing of the connection exists before the login.
#[test]
fn no_connection_message_is_taken_before_login() {
    for number in (5..=6).chain(20..=52).chain(54..=127) {
        let mut driven = Driven::new().ready();
        driven.server_says(Message::new(number).string("forwarded-tcpip").u32(0).u32(1 << 20).u32(1 << 15));
        assert!(driven.ended.is_some(), "{number}");
        assert_eq!(driven.take_events(), []);
    }
}

/// RFC 4252 §7: the answer names the key and the algorithm it is about.
#[test]
fn a_key_that_was_not_offered_is_never_signed_with() {
    let other = PrivateKey::generate_ed25519().unwrap();
    type Answer = fn(Message, &[u8], &[u8]) -> Message;
    let answers: [Answer; 4] = [
        |message, _, other| message.string("ssh-ed25519").string(other),
        |message, own, _| message.string("rsa-sha2-512").string(own),
        |message, own, _| message.string("ssh-ed25519").string(own).u32(0),
        |message, own, _| message.string("ssh-ed25519").string(&own[1..]),
    ];
    for answer in answers {
        let mut driven = Driven::new().ready();
        let own = driven.identity.clone();
        driven.authenticate(Credential::Key { key: own.clone(), probe: true });
        driven.server_heard();
        driven.server_says(answer(Message::new(60), own.public_key().blob(), other.public_key().blob()));
        assert!(driven.ended.is_some());
        assert!(driven.server_heard().iter().all(|message| message.0[0] == 1));
    }
}

/// A server that was asked nothing, or something else, asks nothing (60 means three things).
#[test]
fn a_question_out_of_turn_ends_the_connection() {
    let question = || Message::new(60).string("").string("").string("").u32(0);
    for credential in [None, Some(Credential::None)] {
        let mut driven = Driven::new().ready();
        if let Some(credential) = credential {
            driven.authenticate(credential);
        }
        driven.server_says(question());
        assert!(driven.ended.is_some());
        assert_eq!(driven.take_events(), []);
    }
}

#[test]
fn questions_without_end_are_not_answered() {
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::KeyboardInteractive);
    let mut rounds = 0;
    while driven.ended.is_none() {
        driven.server_says(Message::new(60).string("").string("").string("").u32(1).string("again?").boolean(true));
        driven.client.answer_prompts(&[Zeroizing::new("yes".into())], driven.now).unwrap();
        rounds += 1;
        assert!(rounds <= 40);
    }
    assert_eq!(driven.end(), "the server asks without end");
}

#[test]
fn a_round_of_questions_is_bounded() {
    for (count, told) in [(u32::MAX, "the server asks too many questions at once"), (2, "malformed")] {
        let mut driven = Driven::new().ready();
        driven.authenticate(Credential::KeyboardInteractive);
        driven.server_says(Message::new(60).string("").string("").string("").u32(count).string("?").boolean(true));
        assert!(driven.ended.is_some(), "{told}");
        assert_eq!(driven.take_events(), []);
    }
    let mut driven = Driven::new().ready();
    driven.authenticate(Credential::KeyboardInteractive);
    let long = [b'?'; 30_000];
    driven.server_says(Message::new(60).string("").string("").string("").u32(1).string(long).boolean(true));
    let ClientEvent::Prompts(asked) = driven.event() else { panic!() };
    assert_eq!(asked.prompts[0].text.len(), 4096);
}

/// RFC 8308 §2.4 knows two places for it. The server of these tests has used one.
#[test]
fn extensions_are_told_twice_at_most() {
    let mut driven = Driven::new().ready();
    let told = || Message::new(7).u32(1).string("server-sig-algs").string("ssh-ed25519");
    driven.server_says(told());
    assert_eq!(driven.ended, None);
    driven.server_says(told());
    assert_eq!(driven.end(), "the server tells its extensions again and again");
    for broken in [Message::new(7).u32(u32::MAX), Message::new(7).u32(0).u32(0), Message::new(7).u32(1).string("x")] {
        let mut driven = Driven::new().ready();
        driven.server_says(broken);
        assert!(driven.ended.is_some());
    }
}

#[test]
fn a_flood_before_login_is_bounded() {
    for flood in [
        Message::new(53).string([0; 30_000]).string(""),
        Message::new(4).boolean(true).string("x").string(""),
        Message::new(2).string([0; 30_000]),
        Message::new(192).string("ping"),
    ] {
        let mut driven = Driven::new().ready();
        let mut sent = 0;
        while driven.ended.is_none() {
            driven.server_says(flood.clone());
            sent += 1;
            assert!(sent <= 256);
        }
        assert!(driven.client.connection().output_buffer().capacity() < 64 * 1024);
    }
}

#[test]
fn a_second_key_exchange_before_login_ends_the_connection() {
    let mut driven = Driven::new().ready();
    driven.server_says(Message::new(20).raw(&[0; 16]));
    assert_eq!(driven.end(), "a second key exchange before login");
}

/// RFC 4254 §7.2: "Implementations MUST reject these messages unless they have previously requested a remote TCP/IP port
/// forwarding with the given port number."
#[test]
fn a_forward_never_asked_for_carries_nothing() {
    let mut driven = Driven::new().with_deaf_server();
    driven.client.connection().assume_forward("localhost", 10_080);
    let open = |kind: &str, port: u32| {
        let open = Message::new(90).string(kind).u32(7).u32(1 << 20).u32(1 << 15);
        open.string("localhost").u32(port).string("192.0.2.1").u32(1)
    };
    for (kind, port) in [("forwarded-tcpip", 10_081), ("forwarded-tcpip", 10_080 + (1 << 16)), ("forwarded-tcpip", 0)] {
        driven.server_says(open(kind, port));
        let refusal = Message::new(92).u32(7).u32(1).string("this forward was not asked for").string("");
        assert_eq!(driven.server_heard(), [refusal]);
        assert!(matches!(driven.event(), ClientEvent::Connection(Event::Refused { .. })));
    }
    for kind in ["session", "direct-tcpip", "x11", "auth-agent@openssh.com", "forwarded-streamlocal@openssh.com", ""] {
        driven.server_says(open(kind, 10_080));
        let heard = driven.server_heard();
        assert_eq!((heard.len(), &heard[0].0[..9]), (1, &[92, 0, 0, 0, 7, 0, 0, 0, 1][..]), "{kind}");
        driven.take_events();
    }
    assert_eq!(driven.ended, None);
}

#[test]
fn a_storm_of_channels_meets_the_limit() {
    let mut driven = Driven::with(Setup::default(), |settings| settings.limits.channels = 3).with_deaf_server();
    driven.client.connection().assume_forward("localhost", 10_080);
    for number in 0..1000 {
        let open = Message::new(90).string("forwarded-tcpip").u32(number).u32(1 << 20).u32(1 << 15);
        driven.server_says(open.string("localhost").u32(10_080).string("192.0.2.1").u32(1));
    }
    let heard = driven.server_heard();
    assert_eq!(heard.len(), 997);
    assert!(heard.iter().all(|message| message.0[..1] == [92] && message.0[5..9] == [0, 0, 0, 4]));
    let offered = |event: &ClientEvent| matches!(event, ClientEvent::Connection(Event::ForwardedConnection { .. }));
    assert_eq!(driven.take_events().iter().filter(|event| offered(event)).count(), 3);
}

/// OpenSSH PROTOCOL §2.5.
#[test]
fn an_honest_servers_host_keys_are_learnt() {
    let (own, ecdsa) = (PrivateKey::generate_ed25519().unwrap(), PrivateKey::from_openssh(ECDSA).unwrap());
    let mut setup = Setup::default();
    setup.server.host_keys = vec![own.clone(), ecdsa.clone()];
    let mut driven = Driven::with(setup, |_| {}).with_keys();
    driven.client.accept_host_key(driven.now).unwrap();
    driven.settle();
    driven.take_events();
    driven.authenticate(Credential::Key { key: driven.identity.clone(), probe: false });
    let proven = vec![own.public_key().clone(), ecdsa.public_key().clone()];
    let logged_in = ClientEvent::Connection(Event::LoggedIn);
    assert_eq!(driven.take_events(), [logged_in, ClientEvent::HostKeysProven(proven)]);
}

/// Announced is not proven: a key that somebody else holds is never told, and nobody has to prove twice.
#[test]
fn a_host_key_that_the_server_does_not_hold_is_not_learnt() {
    let (ecdsa, other) = (PrivateKey::from_openssh(ECDSA).unwrap(), PrivateKey::generate_ed25519().unwrap());
    let announced = ecdsa.public_key().blob();
    for (signer, algorithm, is_learnt) in [(&ecdsa, "ecdsa-sha2-nistp256", true), (&other, "ssh-ed25519", false)] {
        let mut driven = Driven::new().ready();
        driven.authenticate(Credential::None);
        driven.server_says(Message::new(52));
        driven.take_events();
        driven.server_heard();
        let announcement = Message::new(80).string("hostkeys-00@openssh.com").boolean(false);
        driven.server_says(announcement.string("unknown kind of key").string(announced).string(announced));
        let question = Message::new(80).string("hostkeys-prove-00@openssh.com").boolean(true).string(announced);
        assert_eq!(driven.server_heard(), [question]);
        let mut proof = Vec::new();
        put_string(&mut proof, b"hostkeys-prove-00@openssh.com");
        put_string(&mut proof, driven.server.connection.session_id().unwrap());
        put_string(&mut proof, announced);
        driven.server_says(Message::new(81).string(signer.sign(algorithm, &proof).unwrap()));
        let learnt = vec![ClientEvent::HostKeysProven(vec![ecdsa.public_key().clone()])];
        assert_eq!(driven.take_events(), if is_learnt { learnt } else { vec![] });
        for _ in 0..100 {
            driven.server_says(Message::new(80).string("hostkeys-00@openssh.com").boolean(false).string(announced));
        }
        assert_eq!((driven.server_heard(), driven.take_events(), &driven.ended), (vec![], vec![], &None));
    }
}
