//! A client that may log in and then breaks the rules.

use super::message::Message;
use super::pair::{Pair, Setup};
use crate::{ChannelId, DisconnectCode, EndedBy, Event, RECEIVE_WINDOW};

/// The client's number for what it opens.
const THEIRS: u32 = 3;

#[test]
fn data_beyond_the_window_ends_the_connection() {
    let mut rogue = Rogue::with_channel();
    let full = Message::new(94).u32(rogue.channel).string([1; 32 * 1024]);
    for _ in 0..RECEIVE_WINDOW / (32 * 1024) {
        rogue.pair.client.send_raw(full.clone());
    }
    rogue.pair.settle();
    assert_eq!(rogue.pair.server.ended, None);
    rogue.is_ended_by(Message::new(94).u32(rogue.channel).string("1"), "data beyond the channel's window");
}

#[test]
fn messages_that_a_channel_cannot_take_end_the_connection() {
    let data = |len: usize| move |channel: u32| Message::new(94).u32(channel).string(vec![1; len]);
    let cases: [(&str, &dyn Fn(u32) -> Message); 12] = [
        ("a packet beyond the maximum", &data(32 * 1024 + 1)),
        ("extended data beyond the maximum", &|channel| {
            Message::new(95).u32(channel).u32(1).string(vec![1; 32 * 1024 + 1])
        }),
        ("a window of more than 2^32 - 1", &|channel| Message::new(93).u32(channel).u32(u32::MAX)),
        ("a second confirmation", &|channel| Message::new(91).u32(channel).u32(THEIRS).u32(1).u32(1)),
        ("a refusal after the confirmation", &|channel| Message::new(92).u32(channel).u32(1).string("").string("")),
        ("data with bytes behind it", &|channel| Message::new(94).u32(channel).string("x").u32(0)),
        ("data longer than its packet", &|channel| Message::new(94).u32(channel).u32(u32::MAX)),
        ("an adjustment without an amount", &|channel| Message::new(93).u32(channel)),
        ("a close with bytes behind it", &|channel| Message::new(97).u32(channel).u32(0)),
        ("a request without a name", &|channel| Message::new(98).u32(channel)),
        ("no channel number", &|_| Message::new(94)),
        ("a channel with packets of no bytes", &|_| Message::new(90).string("session").u32(0).u32(1).u32(0)),
    ];
    for (what, message) in cases {
        let mut rogue = Rogue::with_channel();
        rogue.pair.client_sends(message(rogue.channel));
        let end = rogue.pair.server.ended.as_ref().unwrap_or_else(|| panic!("{what}"));
        assert_eq!((end.code, end.by), (DisconnectCode::ProtocolError, EndedBy::Us), "{what}");
        assert!(rogue.pair.server.data.is_empty() && rogue.pair.server.take_events().is_empty(), "{what}");
    }
}

#[test]
fn a_channel_that_does_not_exist_takes_nothing() {
    for number in (91..=100).filter(|number| *number != 93) {
        for channel in [1, 1000, u32::MAX] {
            let mut rogue = Rogue::with_channel();
            rogue.pair.client_sends(Message::new(number).u32(channel).u32(1).string("x").boolean(true));
            assert_eq!(rogue.pair.server_end(), "a message to a channel that does not exist", "{number}");
        }
    }
}

/// Asked for, not answered: only the answer may come.
#[test]
fn an_unconfirmed_channel_takes_nothing_but_the_answer() {
    for message in [
        Message::new(94).u32(0).string("x"),
        Message::new(95).u32(0).u32(1).string("x"),
        Message::new(96).u32(0),
        Message::new(97).u32(0),
        Message::new(98).u32(0).string("eow@openssh.com").boolean(false),
    ] {
        let mut rogue = Rogue::new();
        assert_eq!(rogue.pair.knock(), ChannelId(0));
        rogue.pair.client_sends(message.clone());
        assert!(rogue.pair.server.ended.is_some(), "{message:?}");
        assert_eq!(rogue.pair.server.take_events(), []);
    }
}

#[test]
fn after_its_close_a_peer_is_silent_about_the_channel() {
    for number in [94, 95, 96, 97, 98] {
        let mut rogue = Rogue::with_channel();
        rogue.pair.client_sends(Message::new(97).u32(rogue.channel));
        assert_eq!(rogue.pair.server.event(), Event::Closed(ChannelId(rogue.channel)));
        let again = Message::new(number).u32(rogue.channel);
        rogue.pair.client_sends(match number {
            94 => again.string("x"),
            95 => again.u32(1).string("x"),
            98 => again.string("signal").boolean(false),
            _ => again,
        });
        assert!(rogue.pair.server.ended.is_some(), "{number}");
    }
}

/// paramiko can announce a window behind its CLOSE; OpenSSH drops it too.
#[test]
fn a_window_of_a_channel_that_is_not_open_is_no_window() {
    let mut rogue = Rogue::with_channel();
    let unconfirmed = rogue.pair.knock();
    for channel in [unconfirmed.0, 1000] {
        rogue.pair.client_sends(Message::new(93).u32(channel).u32(u32::MAX));
    }
    rogue.pair.client_sends(Message::new(91).u32(unconfirmed.0).u32(THEIRS).u32(1000).u32(1000));
    assert_eq!(rogue.pair.server.event(), Event::Opened(unconfirmed));
    assert_eq!(rogue.pair.server.connection.sendable(unconfirmed), 1000);
    rogue.pair.client_sends(Message::new(97).u32(rogue.channel));
    rogue.pair.client_sends(Message::new(93).u32(rogue.channel).u32(u32::MAX));
    assert_eq!(rogue.pair.server.event(), Event::Closed(ChannelId(rogue.channel)));
    assert_eq!(rogue.pair.server.ended, None);
}

#[test]
fn data_after_an_eof_ends_the_connection() {
    let mut rogue = Rogue::with_channel();
    rogue.pair.client_sends(Message::new(96).u32(rogue.channel));
    // Saying it twice is harmless, and told once.
    rogue.pair.client_sends(Message::new(96).u32(rogue.channel));
    assert_eq!(rogue.pair.server.event(), Event::Eof(ChannelId(rogue.channel)));
    rogue.is_ended_by(Message::new(94).u32(rogue.channel).string("x"), "data on a channel that is not open for it");
}

/// Bytes that crossed our CLOSE are dropped and earn no window.
#[test]
fn data_after_our_close_is_dropped_and_never_credited() {
    let mut rogue = Rogue::with_channel();
    rogue.pair.server.connection.release(ChannelId(rogue.channel)).unwrap();
    rogue.pair.settle();
    rogue.pair.client.heard();
    for _ in 0..RECEIVE_WINDOW / (32 * 1024) {
        rogue.pair.client_sends(Message::new(94).u32(rogue.channel).string([1; 32 * 1024]));
    }
    rogue.pair.client_sends(Message::new(98).u32(rogue.channel).string("exec").boolean(true).string("id"));
    assert_eq!((rogue.pair.client.heard(), rogue.pair.server.take_events()), (vec![], vec![]));
    assert!(rogue.pair.server.data.is_empty());
    rogue.is_ended_by(Message::new(94).u32(rogue.channel).string("x"), "data beyond the channel's window");
}

#[test]
fn answers_nobody_asked_for_do_nothing() {
    let mut rogue = Rogue::with_channel();
    for message in [
        Message::new(81),
        Message::new(81).u32(99),
        Message::new(82),
        Message::new(99).u32(rogue.channel),
        Message::new(100).u32(rogue.channel),
        Message::new(3).u32(5),
        Message::new(50).string("root").string("ssh-connection").string("none"),
    ] {
        rogue.pair.client_sends(message.clone());
        assert_eq!((rogue.pair.client.heard(), rogue.pair.server.take_events()), (vec![], vec![]), "{message:?}");
    }
    assert_eq!(rogue.pair.server.ended, None);
}

/// RFC 4253 §11.4: the number is that of the packet it answers.
#[test]
fn an_unknown_message_is_named_by_its_sequence_number() {
    let mut rogue = Rogue::new();
    rogue.pair.client_sends(Message::new(192).string("ping"));
    let first = rogue.pair.client.heard().remove(0);
    rogue.pair.client_sends(Message::new(255));
    let second = rogue.pair.client.heard().remove(0);
    let number = |message: &Message| u32::from_be_bytes(message.0[1..].try_into().unwrap());
    assert_eq!((first.0[0], number(&second)), (3, number(&first) + 1));
}

#[test]
fn authentication_is_over_after_login() {
    for number in [5, 6, 51, 52, 53, 60, 79] {
        let mut rogue = Rogue::new();
        rogue.pair.client_sends(Message::new(number).string("ssh-userauth"));
        assert!(rogue.pair.server.ended.is_some(), "{number}");
    }
}

/// Each costs the server an answer; the answers are not read.
#[test]
fn a_flood_without_reading_is_ended_before_it_costs_much() {
    for message in [
        Message::new(80).string("keepalive@openssh.com").boolean(true),
        Message::new(90).string("direct-tcpip").u32(0).u32(1).u32(1),
        Message::new(192),
        Message::new(98).u32(0).string("env").boolean(true),
        Message::new(80).string("hostkeys-prove-00@openssh.com").boolean(true),
    ] {
        let mut rogue = Rogue::with_channel();
        rogue.pair.server.link.is_blocked = true;
        let mut sent = 0;
        while rogue.pair.server.ended.is_none() {
            for _ in 0..1000 {
                rogue.pair.client.send_raw(message.clone());
            }
            rogue.pair.settle();
            sent += 1000;
            assert!(sent < 300_000, "{message:?}");
        }
        assert_eq!(rogue.pair.server_end(), "the peer asks more than it reads");
        assert!(rogue.pair.server.storage() < 10 << 20);
    }
}

/// The same while a key exchange that the client stalls holds the answers back: each has a price beyond its bytes.
#[test]
fn a_flood_during_a_stalled_key_exchange_is_ended_before_it_costs_much() {
    let mut rogue = Rogue::new();
    rogue.pair.server.connection.rekey(rogue.pair.now).unwrap();
    let mut sent = 0;
    while rogue.pair.server.ended.is_none() {
        for _ in 0..1000 {
            rogue.pair.client.send_raw(Message::new(80).string("keepalive@openssh.com").boolean(true));
        }
        rogue.pair.settle();
        sent += 1000;
        assert!(sent <= 30_000);
    }
    assert_eq!(rogue.pair.server_end(), "the peer asks more than it reads");
}

#[test]
fn requests_that_await_answers_are_counted() {
    let mut rogue = Rogue::new();
    for _ in 0..1024 {
        rogue.pair.client.send_raw(Message::new(80).string("tcpip-forward").boolean(true).string("").u32(0));
    }
    rogue.pair.settle();
    assert_eq!(rogue.pair.server.ended, None);
    let one_more = Message::new(80).string("keepalive@openssh.com").boolean(true);
    rogue.is_ended_by(one_more, "too many global requests await their replies");
}

/// Once both have said that they want new keys, nothing else has a place (RFC 4253 §7.1).
#[test]
fn traffic_within_a_key_exchange_ends_the_connection() {
    for message in [
        Message::new(94).u32(0).string("x"),
        Message::new(80).string("keepalive@openssh.com").boolean(true),
        Message::new(5).string("ssh-userauth"),
        Message::new(7).u32(0),
        Message::new(192),
        Message::new(21),
        Message::new(31),
        Message::new(20),
    ] {
        let mut rogue = Rogue::with_channel();
        rogue.pair.client.connection.rekey(rogue.pair.now).unwrap();
        rogue.pair.settle();
        assert_eq!(rogue.pair.server.ended, None);
        // These may come at any time.
        rogue.pair.client_sends(Message::new(2).string("padding"));
        rogue.pair.client_sends(Message::new(4).boolean(false).string("").string(""));
        assert_eq!(rogue.pair.server.ended, None);
        rogue.pair.client_sends(message.clone());
        assert!(rogue.pair.server.ended.is_some(), "{message:?}");
    }
}

/// Whoever reads only the socket must see why: the message goes out past everything that waits for the keys.
#[test]
fn a_disconnect_reaches_the_peer_within_a_key_exchange() {
    for from_server in [true, false] {
        let mut pair = Pair::new();
        pair.server.connection.rekey(pair.now).unwrap();
        pair.client.connection.rekey(pair.now).unwrap();
        let (ends, other) = match from_server {
            true => (&mut pair.server, &mut pair.client),
            false => (&mut pair.client, &mut pair.server),
        };
        ends.connection.probe().unwrap();
        ends.connection.disconnect(DisconnectCode::ByApplication, "your key was removed");
        let last_words = ends.take_output();
        other.feed(&last_words, pair.now);
        let end = other.ended.take().unwrap();
        assert_eq!(
            (end.code, &*end.message, end.by),
            (DisconnectCode::ByApplication, "your key was removed", EndedBy::Peer)
        );
        assert!(other.connection.output().len() < 4096);
    }
}

#[test]
fn nothing_is_received_after_a_disconnect() {
    let mut pair = Pair::new();
    pair.client.send_raw(Message::new(80).string("tcpip-forward").boolean(true).string("").u32(0));
    pair.server.connection.disconnect(DisconnectCode::ByApplication, "");
    pair.settle();
    assert!(pair.server.ended.is_some() && pair.server.take_events().is_empty());
    assert_eq!(pair.server.connection.poll_timeout(), None);
}

/// An error is the end whichever call returns it: the peer is told, and nothing goes on.
#[test]
fn an_error_of_any_call_ends_the_connection() {
    let mut pair = Pair::new();
    pair.server.link.is_blocked = true;
    let end = loop {
        if let Err(end) = pair.server.connection.probe() {
            break end;
        }
    };
    pair.server.link.is_blocked = false;
    pair.settle();
    assert_eq!(pair.client.ended.take().map(|heard| heard.message), Some(end.message));
    assert_eq!(pair.server.connection.poll_timeout(), None);
    pair.client.connection.send_raw(&[2]).unwrap();
    let late = pair.client.take_output();
    pair.server.feed(&late, pair.now);
    assert!(pair.server.ended.is_some());
}

#[test]
fn the_peers_reason_arrives_raw() {
    let mut rogue = Rogue::new();
    rogue.pair.client_sends(Message::new(1).u32(11).string(b"bye \x1b[2J\xff").string("en"));
    let end = rogue.pair.server.ended.unwrap();
    assert_eq!(
        (&*end.message, end.by, end.code),
        ("bye \u{1b}[2J\u{fffd}", EndedBy::Peer, DisconnectCode::ByApplication)
    );
    assert!(rogue.pair.server.connection.output().is_empty());
}

/// A logged-in client that acts on nothing it hears.
struct Rogue {
    pair: Pair,
    /// The server's number for the visitor that the client took.
    channel: u32,
}

impl Rogue {
    fn new() -> Self {
        let mut pair = Setup::default().log_in();
        pair.settle();
        pair.client.go_deaf();
        Self { pair, channel: 0 }
    }

    fn with_channel() -> Self {
        let mut rogue = Self::new();
        let channel = rogue.pair.knock();
        rogue.channel = channel.0;
        rogue.pair.server.writes_on = false;
        rogue.pair.client_sends(Message::new(91).u32(channel.0).u32(THEIRS).u32(1 << 21).u32(1 << 15));
        assert_eq!(rogue.pair.server.event(), Event::Opened(channel));
        rogue.pair.client.heard();
        rogue
    }

    fn is_ended_by(&mut self, message: Message, why: &str) {
        self.pair.client_sends(message);
        assert_eq!(self.pair.server_end(), why);
    }
}
