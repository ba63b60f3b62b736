//! Stories of SOCKS clients, byte by byte (RFC 1928); and what the fuzzers found worth keeping.

use std::path::Path;

use adit_core::{ConnectFailure, ConnectOutcome, Socks5, SocksRefusal, SocksWish};
use proptest::prelude::*;

#[path = "../../../../fuzz/src/core_targets.rs"]
mod core_targets;

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// The greeting of a client that needs no authentication.
const GREETING: &str = "05 01 00";
const WELCOME: &str = "05 00";

/// A client and the wishes it caused.
struct Client {
    socks: Socks5,
    wishes: Vec<SocksWish>,
}

impl Client {
    fn new() -> Client {
        Client { socks: Socks5::new(), wishes: Vec::new() }
    }

    /// A client that was welcomed.
    fn greeted() -> Client {
        let mut client = Client::new();
        assert_eq!(client.says(GREETING), 3);
        assert_eq!(std::mem::take(&mut client.wishes), [SocksWish::Send(hex(WELCOME))]);
        client
    }

    fn says(&mut self, text: &str) -> usize {
        let taken = self.socks.handle_input(&hex(text));
        self.collect();
        taken
    }

    fn collect(&mut self) {
        self.wishes.extend(std::iter::from_fn(|| self.socks.poll_output()));
    }

    /// What was answered, as bytes, before the connection was ended, and why it was.
    fn hung_up(&self) -> (Vec<u8>, SocksRefusal) {
        match &self.wishes[..] {
            [SocksWish::Send(bytes), SocksWish::HangUp(refusal)] => (bytes.clone(), *refusal),
            [SocksWish::HangUp(refusal)] => (Vec::new(), *refusal),
            other => panic!("not hung up: {other:?}"),
        }
    }

    fn target(&self) -> String {
        match &self.wishes[..] {
            [SocksWish::Connect(target)] => target.to_string(),
            other => panic!("no target: {other:?}"),
        }
    }
}

#[test]
fn a_target_is_named_in_three_ways() {
    for (request, target) in [
        ("05 01 00 01  0a 00 00 05  01 bb", "10.0.0.5:443"),
        ("05 01 00 03  09 6c 6f 63 61 6c 68 6f 73 74  00 50", "localhost:80"),
        ("05 01 00 04  20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 05  00 16", "[2001:db8::5]:22"),
    ] {
        let mut client = Client::greeted();
        assert_eq!(client.says(request), hex(request).len());
        assert_eq!(client.target(), target);
    }
}

#[test]
fn a_connection_is_told_and_then_relayed() {
    let mut client = Client::greeted();
    client.says("05 01 00 01 0a 00 00 05 01 bb");
    client.wishes.clear();
    client.socks.handle_outcome(ConnectOutcome::Connected);
    client.collect();
    assert_eq!(client.wishes, [SocksWish::Send(hex("05 00 00 01  00 00 00 00  00 00")), SocksWish::Relay]);
    client.socks.handle_outcome(ConnectOutcome::Failed(ConnectFailure::Other));
    client.collect();
    assert_eq!(client.wishes.len(), 2, "a second outcome is no news");
}

#[test]
fn what_stands_behind_the_request_is_left_for_the_target() {
    let mut client = Client::new();
    let all = "05 01 00  05 01 00 01 0a 00 00 05 01 bb  47 45 54 20";
    assert_eq!(client.says(all), 13, "GET is not ours");
    assert_eq!(client.says("47 45 54 20"), 0);
    let asked = client.wishes.pop();
    assert!(matches!(asked, Some(SocksWish::Connect(_))), "{asked:?}");
    client.socks.handle_outcome(ConnectOutcome::Connected);
    assert_eq!(client.says("47 45 54 20"), 0);
}

#[test]
fn a_client_that_insists_on_authentication_is_told() {
    for greeting in ["05 01 02", "05 00", "05 02 01 02", "05 01 ff"] {
        let mut client = Client::new();
        client.says(greeting);
        assert_eq!(client.hung_up(), (hex("05 ff"), SocksRefusal::NoAcceptableMethod));
    }
    assert_eq!(SocksRefusal::NoAcceptableMethod.to_string(), "Client does not support no-auth method");
    let mut client = Client::new();
    client.says("05 03 02 01 00");
    assert_eq!(client.wishes, [SocksWish::Send(hex(WELCOME))], "it offered the method, if last");
}

#[test]
fn what_is_not_served_is_told_by_its_number() {
    let reply = |code: &str| hex(&format!("05 {code} 00 01 00 00 00 00 00 00"));
    for (request, code, refusal) in [
        ("05 02 00 01 0a 00 00 05 01 bb", "07", SocksRefusal::Command(2)),
        ("05 03 00 03 01 61 01 bb", "07", SocksRefusal::Command(3)),
        ("05 09 00 7f", "07", SocksRefusal::Command(9)),
        ("05 01 00 02", "08", SocksRefusal::AddressType(2)),
        ("05 01 00 03 00 00 50", "01", SocksRefusal::Target),
        ("05 01 00 03 01 20 00 50", "01", SocksRefusal::Target),
        ("05 01 00 03 01 ff 00 50", "01", SocksRefusal::Target),
        ("05 01 00 01 0a 00 00 05 00 00", "01", SocksRefusal::Target),
        ("04", "01", SocksRefusal::NotSocks5(4)),
    ] {
        let mut client = Client::greeted();
        client.says(request);
        assert_eq!(client.hung_up(), (reply(code), refusal), "{request}");
    }
}

#[test]
fn a_command_is_refused_when_all_of_it_was_read() {
    let mut client = Client::greeted();
    assert_eq!(client.says("05 02 00 01 0a 00"), 6);
    assert_eq!(client.wishes, []);
    assert_eq!(client.says("00 05 01 bb"), 4);
    assert_eq!(client.hung_up().1, SocksRefusal::Command(2));
}

#[test]
fn another_language_is_recognised_by_its_first_byte() {
    for (said, told) in [
        ("04 01 00 50 0a 00 00 05 00", "Client speaks SOCKS 4, and only SOCKS 5 is served"),
        ("43 4f 4e 4e 45 43 54", "Client speaks HTTP, and only SOCKS 5 is served"),
        ("16 03 01", "Client does not speak SOCKS 5: its first byte is 0x16"),
    ] {
        let mut client = Client::new();
        assert_eq!(client.says(said), 1);
        let (answer, refusal) = client.hung_up();
        assert_eq!((answer, refusal.to_string()), (Vec::new(), told.to_owned()));
        assert_eq!(client.says("05 01 00"), 0, "it is over");
    }
}

#[test]
fn a_failure_has_its_own_reply() {
    for (failure, code) in [
        (ConnectFailure::Other, 0x01),
        (ConnectFailure::Prohibited, 0x02),
        (ConnectFailure::NetworkUnreachable, 0x03),
        (ConnectFailure::HostUnreachable, 0x04),
        (ConnectFailure::Refused, 0x05),
    ] {
        let mut client = Client::greeted();
        client.says("05 01 00 01 0a 00 00 05 01 bb");
        client.wishes.clear();
        client.socks.handle_outcome(ConnectOutcome::Failed(failure));
        client.collect();
        let (answer, refusal) = client.hung_up();
        assert_eq!((answer[1], answer.len(), refusal), (code, 10, SocksRefusal::NotConnected(failure)));
    }
}

#[test]
fn a_refused_channel_says_why() {
    let failure = ConnectFailure::from_channel_open;
    assert_eq!(failure(1, "open failed"), ConnectFailure::Prohibited);
    assert_eq!(failure(2, "Connection refused"), ConnectFailure::Refused);
    assert_eq!(failure(2, "Error connecting: Connection refused"), ConnectFailure::Refused);
    assert_eq!(failure(2, "No route to host"), ConnectFailure::HostUnreachable);
    assert_eq!(failure(2, "Network is unreachable"), ConnectFailure::NetworkUnreachable);
    assert_eq!(failure(2, "Connection timed out"), ConnectFailure::Other);
    assert_eq!(failure(2, ""), ConnectFailure::Other);
    assert_eq!(failure(4, "resource shortage"), ConnectFailure::Other);
}

#[test]
fn the_corpus_is_borne() {
    for (target, body) in core_targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut count = 0;
        for file in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            body(&std::fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes that look like a handshake more often than chance would have it.
    #[test]
    fn any_bytes_are_borne(outcome: u8, pieces in prop::collection::vec(piece(), 0..6)) {
        let mut data = vec![outcome];
        data.extend(pieces.concat());
        core_targets::ALL[0].1(&data);
    }

    #[test]
    fn any_forward_is_borne(kind: u8, typed in "[0-9a-z:.*/\\[\\]%\\x{1b} ]{0,40}") {
        let mut data = vec![kind];
        data.extend(typed.into_bytes());
        core_targets::ALL[1].1(&data);
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(hex(GREETING)),
        2 => prop::collection::vec(any::<u8>(), 0..4).prop_map(|methods| {
            let mut greeting = vec![5, methods.len() as u8];
            greeting.extend(methods);
            greeting
        }),
        4 => (1_u8..5, any::<u8>(), 0_u8..6, prop::collection::vec(any::<u8>(), 0..24))
            .prop_map(|(command, reserved, kind, rest)| [vec![5, command, reserved, kind], rest].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}
