//! What a logged-in client does: connections to targets, probes, and forwards it asked for (RFC 4254 §5 and §7).

use std::time::Duration;

use super::driven::Driven;
use super::message::Message;
use crate::{
    ChannelId, ClientEvent, Event, ForwardDenied, OpenFailureCode, OpenRefusal, ProbeAnswer, RECEIVE_WINDOW, Target,
};

const TIME_OUT: Duration = Duration::from_secs(10);
/// The server's number for what is opened.
const THEIRS: u32 = 9;

#[test]
fn a_target_and_where_the_connection_comes_from_are_named() {
    let mut driven = Driven::new().with_deaf_server();
    let channel = open(&mut driven, "db.internal", TIME_OUT);
    let message = Message::new(90).string("direct-tcpip").u32(channel.0).u32(RECEIVE_WINDOW).u32(32 * 1024);
    let message = message.string("db.internal").u32(5432).string("127.0.0.1").u32(40_000);
    assert_eq!(driven.server_heard(), [message]);
}

#[test]
fn each_side_of_a_connection_ends_by_itself() {
    for client_ends_first in [true, false] {
        let (mut driven, channel) = connected();
        assert_eq!(driven.client.connection().send_data(channel, b"request", driven.now), Ok(7));
        if client_ends_first {
            driven.client.connection().send_eof(channel).unwrap();
        }
        assert_eq!(driven.server_heard().len(), 1 + usize::from(client_ends_first));
        driven.server_says(Message::new(94).u32(channel.0).string("reply"));
        driven.server_says(Message::new(96).u32(channel.0));
        assert_eq!(driven.event(), told(Event::Eof(channel)));
        assert_eq!(driven.data[&channel], b"reply");
        if !client_ends_first {
            assert_eq!(driven.client.connection().send_data(channel, b"more", driven.now), Ok(4));
            driven.client.connection().send_eof(channel).unwrap();
            let more = Message::new(94).u32(THEIRS).string("more");
            assert_eq!(driven.server_heard(), [more, Message::new(96).u32(THEIRS)]);
        }
        driven.server_says(Message::new(97).u32(channel.0));
        assert_eq!(driven.event(), told(Event::Closed(channel)));
    }
}

/// What is not written on earns no window, so that a stalled program stops its own connection and no other.
#[test]
fn a_window_is_credited_by_what_was_written_on() {
    let (mut driven, channel) = connected();
    driven.server_heard();
    for _ in 0..RECEIVE_WINDOW / 16 / 1024 {
        driven.server_says(Message::new(94).u32(channel.0).string([1; 1024]));
    }
    // The driver of these tests writes everything on.
    assert_eq!(driven.server_heard(), [Message::new(93).u32(THEIRS).u32(RECEIVE_WINDOW / 16)]);
}

#[test]
fn a_refusal_says_why_in_words_that_can_be_shown() {
    let mut driven = Driven::new().with_deaf_server();
    for (number, code) in [
        (1, OpenFailureCode::AdministrativelyProhibited),
        (2, OpenFailureCode::ConnectFailed),
        (3, OpenFailureCode::UnknownChannelType),
        (4, OpenFailureCode::ResourceShortage),
        (77, OpenFailureCode::Other(77)),
    ] {
        let channel = open(&mut driven, "h", TIME_OUT);
        let words = [b"no \"route\" \x1b[2J\n\xe2\x80\xae\xff".as_slice(), &[b'x'; 1000]].concat();
        driven.server_says(Message::new(92).u32(channel.0).u32(number).string(words).string("en"));
        let ClientEvent::OpenFailed { channel: failed, why: OpenRefusal::Refused { code: told, text } } =
            driven.event()
        else {
            panic!()
        };
        assert_eq!((failed, told), (channel, code));
        assert!(text.starts_with("no \"route\" \\u{1b}[2J\\n\\u{202e}\u{fffd}xxx") && text.len() < 400, "{text}");
    }
    // The engine's own server reaches nothing.
    let mut driven = Driven::new().logged_in();
    let channel = open(&mut driven, "h", TIME_OUT);
    let ClientEvent::OpenFailed { channel: failed, why } = driven.event() else { panic!() };
    assert_eq!(failed, channel);
    let prohibited = OpenFailureCode::AdministrativelyProhibited;
    assert!(matches!(why, OpenRefusal::Refused { code, .. } if code == prohibited));
}

/// A black-holed target waits by itself: others open, and are given up, at their own times.
#[test]
fn each_open_has_a_time_of_its_own() {
    let mut driven = Driven::new().with_deaf_server();
    let slow = open(&mut driven, "slow", Duration::from_secs(30));
    let quick = open(&mut driven, "quick", Duration::from_secs(5));
    let open_at_once = open(&mut driven, "here", Duration::from_secs(20));
    driven.server_says(confirmation(open_at_once));
    assert_eq!(driven.event(), told(Event::Opened(open_at_once)));
    for (seconds, given_up) in [(4, None), (2, Some(quick)), (23, None), (2, Some(slow))] {
        keep_alive(&mut driven);
        driven.advance(Duration::from_secs(seconds));
        let expected = given_up.map(|channel| ClientEvent::OpenFailed { channel, why: OpenRefusal::Unanswered });
        assert_eq!(driven.take_events(), Vec::from_iter(expected));
    }
    driven.server_heard();
    // A late yes is answered by a close, and nobody hears of it.
    driven.server_says(confirmation(quick));
    assert_eq!((driven.server_heard(), driven.take_events()), (vec![Message::new(97).u32(THEIRS)], vec![]));
}

#[test]
fn an_open_that_was_given_up_is_closed_when_it_comes() {
    let mut driven = Driven::new().with_deaf_server();
    let channel = open(&mut driven, "h", TIME_OUT);
    driven.client.connection().release(channel).unwrap();
    driven.server_heard();
    driven.server_says(confirmation(channel));
    assert_eq!(driven.server_heard(), [Message::new(97).u32(THEIRS)]);
    driven.server_says(Message::new(97).u32(channel.0));
    driven.advance(TIME_OUT + TIME_OUT);
    assert_eq!(driven.take_events(), []);
    assert_eq!(open(&mut driven, "h", TIME_OUT), channel);
}

/// No pty, no shell, no exec: opened and closed.
#[test]
fn a_probe_opens_a_session_and_closes_it() {
    let mut driven = Driven::new().logged_in();
    for _ in 0..3 {
        let channel = probe(&mut driven);
        assert_eq!(driven.event(), ClientEvent::SessionProbed { channel, answer: ProbeAnswer::Opened });
        // The number is free again, so everything was closed.
        assert_eq!(channel, ChannelId(0));
    }
    driven.server.go_deaf();
    let channel = probe(&mut driven);
    driven.server_says(confirmation(channel));
    let session = Message::new(90).string("session").u32(channel.0).u32(RECEIVE_WINDOW).u32(32 * 1024);
    assert_eq!(driven.server_heard(), [session, Message::new(97).u32(THEIRS)]);
    // What a shell would have said meanwhile means nothing.
    driven.server_says(Message::new(94).u32(channel.0).string("Welcome"));
    driven.server_says(Message::new(98).u32(channel.0).string("exit-status").boolean(false).u32(0));
    driven.server_says(Message::new(97).u32(channel.0));
    let answer = ProbeAnswer::Opened;
    assert_eq!(driven.take_events(), [ClientEvent::SessionProbed { channel, answer }]);
    assert_eq!(driven.ended, None);
}

/// `MaxSessions 0` and forced commands refuse; whoever refuses is there.
#[test]
fn a_refused_probe_is_a_sign_of_life() {
    let mut driven = Driven::new().with_deaf_server();
    let channel = probe(&mut driven);
    driven.server_says(Message::new(92).u32(channel.0).u32(1).string("open failed").string(""));
    assert_eq!(driven.event(), ClientEvent::SessionProbed { channel, answer: ProbeAnswer::Refused });
}

#[test]
fn silence_is_no_answer_to_a_probe() {
    let mut driven = Driven::new().with_deaf_server();
    driven.advance(Duration::from_secs(3));
    let channel = probe(&mut driven);
    driven.advance(TIME_OUT - Duration::from_millis(1));
    assert_eq!(driven.take_events(), []);
    driven.advance(Duration::from_millis(1));
    assert_eq!(driven.event(), ClientEvent::SessionProbed { channel, answer: ProbeAnswer::Silent });
    // Anything that comes meanwhile is life, and the question stays open.
    keep_alive(&mut driven);
    let channel = probe(&mut driven);
    driven.advance(Duration::from_secs(9));
    keep_alive(&mut driven);
    driven.advance(Duration::from_secs(9));
    assert_eq!(driven.take_events(), []);
    driven.advance(Duration::from_secs(1));
    assert_eq!(driven.event(), ClientEvent::SessionProbed { channel, answer: ProbeAnswer::Silent });
}

/// A peer that is stopped takes nothing and says nothing, while we still have things to say.
#[test]
fn a_probe_that_cannot_leave_is_silent_all_the_same() {
    let mut driven = Driven::new().with_deaf_server();
    let channel = driven.client.connection().probe_session(TIME_OUT, driven.now).unwrap().unwrap();
    let until = driven.now + TIME_OUT;
    driven.client.connection().handle_timeout(until).unwrap();
    driven.now = until;
    driven.settle();
    assert_eq!(driven.event(), ClientEvent::SessionProbed { channel, answer: ProbeAnswer::Silent });
}

#[test]
fn forwards_are_answered_in_their_order() {
    let mut driven = Driven::new().with_deaf_server();
    let connection = driven.client.connection();
    connection.request_forward("localhost", 8080).unwrap();
    connection.request_forward("", 0).unwrap();
    connection.probe().unwrap();
    connection.cancel_forward("localhost", 8080).unwrap();
    connection.request_forward("*", 80).unwrap();
    let forward =
        |name: &str, address: &str, port| Message::new(80).string(name).boolean(true).string(address).u32(port);
    let keepalive = Message::new(80).string("keepalive@openssh.com").boolean(true);
    assert_eq!(
        driven.server_heard(),
        [
            forward("tcpip-forward", "localhost", 8080),
            forward("tcpip-forward", "", 0),
            keepalive,
            forward("cancel-tcpip-forward", "localhost", 8080),
            forward("tcpip-forward", "*", 80),
        ]
    );
    for reply in [Message::new(81), Message::new(81).u32(40_123), Message::new(82), Message::new(81), Message::new(82)]
    {
        driven.server_says(reply);
    }
    assert_eq!(
        driven.take_events(),
        [
            told(Event::ForwardAnswered(Ok(None))),
            told(Event::ForwardAnswered(Ok(Some(40_123)))),
            ClientEvent::ForwardCancelled(Ok(())),
            told(Event::ForwardAnswered(Err(ForwardDenied))),
        ]
    );
    // Only what was granted and not taken back carries connections.
    for (address, port, is_announced) in [("", 40_123, true), ("localhost", 8080, false), ("*", 80, false)] {
        driven.server_says(arrival(address, port, "2001:db8::7", 50_000));
        let announced = driven.take_events().into_iter().find_map(|event| match event {
            ClientEvent::Connection(Event::ForwardedConnection { address, port, originator, .. }) => {
                Some((address, port, originator))
            }
            _ => None,
        });
        let expected = (address.to_owned(), port as u16, "[2001:db8::7]:50000".parse().ok());
        assert_eq!(announced, is_announced.then_some(expected));
    }
}

#[test]
fn a_port_that_is_none_is_not_granted() {
    for reply in [Message::new(81).u32(0), Message::new(81).u32(65_536), Message::new(81)] {
        let mut driven = Driven::new().with_deaf_server();
        driven.client.connection().request_forward("", 0).unwrap();
        driven.server_says(reply);
        assert!(driven.ended.is_some());
        assert_eq!(driven.take_events(), []);
    }
}

#[test]
fn an_arrival_is_taken_or_turned_away_with_a_reason() {
    let mut driven = Driven::new().with_deaf_server();
    driven.client.connection().assume_forward("localhost", 8080);
    for (originator, port, parsed) in [
        ("192.0.2.1", 1, "192.0.2.1:1".parse().ok()),
        ("visitor.example", 1, None),
        ("192.0.2.1", 65_536, None),
        ("\u{1b}[2J", 1, None),
    ] {
        driven.server_says(arrival("localhost", 8080, originator, port));
        let ClientEvent::Connection(Event::ForwardedConnection { channel, originator, .. }) = driven.event() else {
            panic!()
        };
        assert_eq!(originator, parsed);
        let code = OpenFailureCode::ConnectFailed;
        driven.client.connection().refuse(channel, code, "connection refused").unwrap();
        assert_eq!(
            driven.server_heard(),
            [Message::new(92).u32(THEIRS).u32(2).string("connection refused").string("")]
        );
    }
    driven.server_says(arrival("localhost", 8080, "192.0.2.1", 1));
    let ClientEvent::Connection(Event::ForwardedConnection { channel, .. }) = driven.event() else { panic!() };
    driven.client.connection().accept(channel).unwrap();
    assert_eq!(driven.server_heard().remove(0).0[0], 91);
    driven.server_says(Message::new(94).u32(channel.0).string("hello"));
    assert_eq!(driven.data[&channel], b"hello");
}

#[test]
fn keepalives_are_answered_and_sent() {
    let mut driven = Driven::new().with_deaf_server();
    driven.server_says(Message::new(80).string("keepalive@openssh.com").boolean(true));
    assert_eq!(driven.server_heard(), [Message::new(82)]);
    driven.advance(Duration::from_secs(15));
    assert_eq!(driven.server_heard(), [Message::new(80).string("keepalive@openssh.com").boolean(true)]);
    driven.advance(Duration::from_secs(30));
    assert_eq!(driven.end(), "the peer is silent");
}

/// A client with one connection to a target; the server is deaf.
fn connected() -> (Driven, ChannelId) {
    let mut driven = Driven::new().with_deaf_server();
    let channel = open(&mut driven, "h", TIME_OUT);
    driven.server_says(confirmation(channel));
    assert_eq!(driven.event(), told(Event::Opened(channel)));
    driven.server_heard();
    (driven, channel)
}

fn open(driven: &mut Driven, host: &str, time_out: Duration) -> ChannelId {
    let target = Target { host, port: 5432, originator: ([127, 0, 0, 1], 40_000).into() };
    let channel = driven.client.connection().open_direct(target, time_out, driven.now).unwrap().expect("there is room");
    driven.settle();
    channel
}

fn probe(driven: &mut Driven) -> ChannelId {
    let channel = driven.client.connection().probe_session(TIME_OUT, driven.now).unwrap().expect("there is room");
    driven.settle();
    channel
}

fn confirmation(channel: ChannelId) -> Message {
    Message::new(91).u32(channel.0).u32(THEIRS).u32(1 << 21).u32(1 << 15)
}

fn arrival(address: &str, port: u32, originator: &str, originator_port: u32) -> Message {
    let open = Message::new(90).string("forwarded-tcpip").u32(THEIRS).u32(1 << 20).u32(1 << 15);
    open.string(address).u32(port).string(originator).u32(originator_port)
}

/// The server says something that means nothing.
fn keep_alive(driven: &mut Driven) {
    driven.server_says(Message::new(2).string(""));
}

fn told(event: Event) -> ClientEvent {
    ClientEvent::Connection(event)
}
