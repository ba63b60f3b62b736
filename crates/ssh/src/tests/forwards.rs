//! Remote forwards and other global requests (RFC 4254 §4 and §7).

use proptest::prelude::*;

use super::message::Message;
use super::pair::{Pair, Random};
use crate::{Arrival, Event, ForwardDenied, RECEIVE_WINDOW, ReplyId};

/// What the documents' commands send, and what no command sends: the engine has no opinion on an address.
#[test]
fn an_address_arrives_and_returns_byte_for_byte() {
    for address in [&b"localhost"[..], b"", b"*", b"127.0.0.1", b"0.0.0.0", b"::", b"\xff\xfe \0", &[b'a'; 20_000]] {
        let mut pair = Pair::new();
        pair.client.go_deaf();
        pair.client_sends(Message::new(80).string("tcpip-forward").boolean(true).string(address).u32(10_080));
        let Event::ForwardRequest { reply, address: asked, port: 10_080 } = pair.server.event() else { panic!() };
        assert_eq!(asked, address);
        pair.server.connection.answer_forward(reply, Ok(None)).unwrap();
        let arrival =
            Arrival { address: &asked, port: 10_080, originator: "[::ffff:192.0.2.7]:50123".parse().unwrap() };
        pair.server.connection.open_forwarded(arrival, pair.now).unwrap().unwrap();
        pair.settle();
        let announced = Message::new(90).string("forwarded-tcpip").u32(0).u32(RECEIVE_WINDOW).u32(32 * 1024);
        let announced = announced.string(address).u32(10_080).string("192.0.2.7").u32(50_123);
        assert_eq!(pair.client.heard(), [Message::new(81), announced]);
    }
}

#[test]
fn a_port_beyond_the_last_one_is_the_callers_to_refuse() {
    let mut pair = Pair::new();
    pair.client_sends(Message::new(80).string("tcpip-forward").boolean(true).string("").u32(u32::MAX));
    assert!(matches!(pair.server.event(), Event::ForwardRequest { port: u32::MAX, .. }));
}

#[test]
fn a_port_is_named_only_where_any_was_asked_for() {
    let mut pair = Pair::new();
    pair.client.go_deaf();
    for (port, answered, reply) in [(0, Some(10_000), Message::new(81).u32(10_000)), (10_080, None, Message::new(81))] {
        let place = ask(&mut pair, port);
        assert_eq!(answer(&mut pair, place, Ok(answered)), [reply]);
    }
}

/// RFC 4254 §7.1: OpenSSH asks for no reply to a cancel; asyncssh and paramiko do.
#[test]
fn a_forward_is_taken_back_with_and_without_a_reply() {
    let mut pair = Pair::new();
    pair.client.go_deaf();
    pair.client_sends(Message::new(80).string("cancel-tcpip-forward").boolean(false).string("localhost").u32(10_080));
    let Event::ForwardCancel { reply, address, port: 10_080 } = pair.server.event() else { panic!() };
    assert_eq!(address, b"localhost");
    assert_eq!(answer(&mut pair, reply, Ok(None)), []);
    pair.client.connection.cancel_forward("localhost", 10_080).unwrap();
    pair.settle();
    let Event::ForwardCancel { reply, .. } = pair.server.event() else { panic!() };
    assert_eq!(answer(&mut pair, reply, Ok(None)), [Message::new(81)]);
}

/// `ssh -v` shows debug messages, and plain SSH has no other place for a reason.
#[test]
fn a_refusal_is_preceded_by_its_reason() {
    let mut pair = Pair::new();
    pair.client.go_deaf();
    let place = ask(&mut pair, 80);
    let reason = "port 80 is outside 10000-60000";
    let debug = Message::new(4).boolean(false).string(reason).string("");
    assert_eq!(answer(&mut pair, place, Err(reason)), [debug, Message::new(82)]);
}

#[test]
fn a_client_hears_of_a_refusal() {
    let mut pair = Pair::new();
    let place = ask(&mut pair, 80);
    pair.server.connection.answer_forward(place, Err("no")).unwrap();
    pair.settle();
    assert_eq!(pair.client.event(), Event::ForwardAnswered(Err(ForwardDenied)));
}

#[test]
fn a_forward_with_bytes_behind_its_fields_ends_the_connection() {
    let mut pair = Pair::new();
    pair.client_sends(Message::new(80).string("tcpip-forward").boolean(true).string("").u32(0).u32(0));
    assert_eq!(pair.server_end(), "bytes after the last field");
}

#[test]
fn what_is_not_done_here_is_refused_and_told() {
    let mut pair = Pair::new();
    for name in ["streamlocal-forward@openssh.com", "tun@openssh.com", "x@example.org", ""] {
        pair.client_sends(Message::new(80).string(name).boolean(true).string("/tmp/socket"));
        assert_eq!(pair.server.event(), Event::Refused { what: name.into() });
    }
    for name in ["keepalive@openssh.com", "no-more-sessions@openssh.com"] {
        pair.client_sends(Message::new(80).string(name).boolean(true));
        assert_eq!(pair.server.take_events(), []);
    }
    assert!(pair.server.ended.is_none() && pair.client.ended.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A storm of requests, wanted or not, answered at once, later, or in any order: replies come one per wish, in order.
    #[test]
    fn replies_come_in_the_order_of_requests(seed in any::<u64>()) {
        let mut random = Random(seed);
        let mut pair = Pair::new();
        let mut unanswered: Vec<(ReplyId, u32)> = Vec::new();
        let mut expected = Vec::new();
        for number in 1..=150u16 {
            match random.below(5) {
                // The port tells the answers apart: an even one is granted.
                0 | 1 => {
                    pair.client.connection.request_forward("", 0).unwrap();
                    expected.push(Event::ForwardAnswered(if number % 2 == 0 { Ok(Some(u32::from(number))) } else { Err(ForwardDenied) }));
                }
                2 => pair.client.connection.cancel_forward("", number).unwrap(),
                3 => pair.client.connection.probe().unwrap(),
                _ => pair.client.send_raw(Message::new(80).string("nothing@example.org").boolean(false)),
            }
            pair.settle();
            for event in pair.server.take_events() {
                match event {
                    Event::ForwardRequest { reply, .. } => unanswered.push((reply, u32::from(number))),
                    Event::ForwardCancel { reply, .. } => unanswered.push((reply, 2)),
                    event => prop_assert!(matches!(event, Event::Refused { .. }), "{:?}", event),
                }
            }
            while !unanswered.is_empty() && (random.below(3) == 0 || number == 150) {
                let (reply, port) = unanswered.swap_remove(random.below(unanswered.len()));
                let answer = if port % 2 == 0 { Ok(Some(port as u16)) } else { Err("odd") };
                pair.server.connection.answer_forward(reply, answer).unwrap();
            }
        }
        pair.settle();
        prop_assert_eq!(pair.client.take_events(), expected);
        prop_assert_eq!(pair.client.ended, None);
    }
}

/// What the client is told when a request is answered.
fn answer(pair: &mut Pair, reply: ReplyId, answer: Result<Option<u16>, &str>) -> Vec<Message> {
    pair.server.connection.answer_forward(reply, answer).unwrap();
    pair.settle();
    pair.client.heard()
}

/// The client asks for a forward; the place its answer will take.
fn ask(pair: &mut Pair, port: u16) -> ReplyId {
    pair.client.connection.request_forward("", port).unwrap();
    pair.settle();
    let Event::ForwardRequest { reply, .. } = pair.server.event() else { panic!("no request arrived") };
    reply
}
