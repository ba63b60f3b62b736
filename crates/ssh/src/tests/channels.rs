//! Opening, half-closing, closing, and the numbers in between (RFC 4254 §5).

use super::message::Message;
use super::pair::{Pair, Setup};
use crate::{ChannelId, Event, OpenFailure, OpenFailureCode, RECEIVE_WINDOW};

#[test]
fn a_half_closed_channel_carries_bytes_the_other_way() {
    let mut pair = Pair::new();
    let (at_server, at_client) = pair.visit();
    pair.server.connection.send_data(at_server, b"request", pair.now).unwrap();
    pair.server.connection.send_eof(at_server).unwrap();
    pair.settle();
    assert_eq!((pair.client.event(), &pair.client.data[&at_client][..]), (Event::Eof(at_client), &b"request"[..]));
    assert_eq!(pair.server.connection.send_data(at_server, b"more", pair.now), Ok(0));
    pair.client.connection.send_data(at_client, &[7; 3_000_000][..RECEIVE_WINDOW as usize], pair.now).unwrap();
    pair.settle();
    pair.client.connection.send_data(at_client, b"end", pair.now).unwrap();
    pair.client.connection.send_eof(at_client).unwrap();
    pair.settle();
    assert!(pair.server.data[&at_server].ends_with(b"end"));
    assert_eq!(pair.server.event(), Event::Eof(at_server));
}

#[test]
fn bytes_sent_before_a_close_arrive_before_it() {
    let mut pair = Pair::new();
    let (at_server, at_client) = pair.visit();
    pair.client.connection.send_data(at_client, b"last words", pair.now).unwrap();
    pair.client.connection.close(at_client).unwrap();
    pair.settle();
    assert_eq!(
        (pair.server.event(), &pair.server.data[&at_server][..]),
        (Event::Closed(at_server), &b"last words"[..])
    );
    assert_eq!(pair.client.event(), Event::Closed(at_client));
}

#[test]
fn a_number_is_used_again_only_after_both_sides_closed() {
    let mut pair = Pair::new();
    let (first, at_client) = pair.visit();
    // We let go; the client's CLOSE is on its way.
    pair.client.link.is_blocked = true;
    pair.server.connection.release(first).unwrap();
    pair.settle();
    let second = pair.knock();
    assert_ne!(second, first);
    pair.client.link.is_blocked = false;
    pair.settle();
    assert_eq!(pair.server.take_events(), []);
    assert_eq!(pair.knock(), first);
    // The client let go of nothing yet, so its next number is another one.
    let numbers: Vec<_> = pair.client.take_events().iter().filter_map(forwarded).collect();
    assert!(!numbers.contains(&at_client), "{numbers:?}");
}

/// The client closed and sends no more; the caller still holds the number.
#[test]
fn a_closed_channel_keeps_its_number_until_it_is_released() {
    let mut pair = Pair::new();
    let (at_server, at_client) = pair.visit();
    pair.client.connection.release(at_client).unwrap();
    pair.settle();
    assert_eq!(pair.server.event(), Event::Closed(at_server));
    assert_ne!(pair.knock(), at_server);
    pair.server.connection.release(at_server).unwrap();
    assert_eq!(pair.knock(), at_server);
}

#[test]
fn a_refused_visitor_is_told_why() {
    let mut pair = Pair::new();
    let channel = pair.knock();
    pair.settle();
    let at_client = forwarded(&pair.client.event()).unwrap();
    let code = OpenFailureCode::ConnectFailed;
    pair.client.connection.refuse(at_client, code, "connection refused").unwrap();
    pair.settle();
    assert_eq!(
        pair.server.event(),
        Event::OpenFailed { channel, why: OpenFailure::Refused("connection refused".into()) }
    );
    assert_eq!(pair.knock(), channel);
}

/// A visitor who leaves before the client answered costs the client one CLOSE and the server no event.
#[test]
fn a_visitor_who_left_is_closed_when_the_client_answers() {
    let mut pair = Pair::new();
    let channel = pair.knock();
    pair.server.connection.release(channel).unwrap();
    pair.settle();
    let at_client = forwarded(&pair.client.event()).unwrap();
    pair.client.connection.accept(at_client).unwrap();
    pair.client.connection.send_data(at_client, b"hello", pair.now).unwrap();
    pair.settle();
    assert_eq!((pair.client.event(), pair.server.take_events()), (Event::Closed(at_client), vec![]));
    assert!(pair.server.data.is_empty());
}

#[test]
fn a_client_that_lets_go_of_a_visitor_unanswered_refuses_it() {
    let mut pair = Pair::new();
    let channel = pair.knock();
    pair.settle();
    let at_client = forwarded(&pair.client.event()).unwrap();
    pair.client.connection.release(at_client).unwrap();
    pair.settle();
    assert!(matches!(pair.server.event(), Event::OpenFailed { channel: failed, .. } if failed == channel));
    pair.knock();
    pair.settle();
    assert_eq!(forwarded(&pair.client.event()), Some(at_client));
}

#[test]
fn no_more_channels_are_opened_than_allowed() {
    let mut pair = Setup::default().limits(|limits| limits.channels = 3).log_in();
    let channels: Vec<_> = (0..3).map(|_| pair.visit().0).collect();
    assert_eq!(try_to_knock(&mut pair), None);
    pair.server.connection.release(channels[1]).unwrap();
    pair.settle();
    assert_eq!(try_to_knock(&mut pair), Some(channels[1]));
}

/// Visitors must not be able to end a session whose client stalls a key exchange, nor one that does not read.
#[test]
fn a_crowd_of_visitors_is_turned_away_while_nothing_can_go_out() {
    for stalls_keys in [true, false] {
        let mut pair = Pair::new();
        pair.client.link.is_blocked = true;
        pair.server.link.is_blocked = true;
        if stalls_keys {
            pair.server.connection.rekey(pair.now).unwrap();
        }
        let taken = (0..60_000).take_while(|_| try_to_knock(&mut pair).is_some()).count();
        assert!((1000..60_000).contains(&taken), "{taken}");
        (pair.client.link.is_blocked, pair.server.link.is_blocked) = (false, false);
        pair.settle();
        assert_eq!(pair.server.ended, None);
        assert_eq!(pair.client.take_events().iter().filter_map(forwarded).count(), taken);
    }
}

#[test]
fn nothing_goes_out_on_a_channel_that_is_not_open() {
    let mut pair = Pair::new();
    let asked = pair.knock();
    for channel in [asked, ChannelId(99), ChannelId(u32::MAX)] {
        assert_eq!(pair.server.connection.sendable(channel), 0);
        assert_eq!(pair.server.connection.send_data(channel, b"early", pair.now), Ok(0));
    }
    pair.settle();
    assert!(matches!(pair.client.event(), Event::ForwardedConnection { .. }));
    assert!(pair.client.data.is_empty());
}

/// A client that takes only small packets gets small packets.
#[test]
fn no_packet_is_larger_than_the_peer_takes() {
    let mut pair = Pair::new();
    let channel = pair.knock();
    pair.client.go_deaf();
    pair.settle();
    pair.client_sends(Message::new(91).u32(channel.0).u32(5).u32(1000).u32(300));
    assert_eq!(pair.server.event(), Event::Opened(channel));
    pair.client.heard();
    assert_eq!(pair.server.connection.send_data(channel, &[1; 2000], pair.now), Ok(1000));
    pair.settle();
    let sizes: Vec<_> = pair.client.heard().iter().map(|message| message.0.len() - 9).collect();
    assert_eq!(sizes, [300, 300, 300, 100]);
    assert_eq!(pair.server.connection.sendable(channel), 0);
    pair.client_sends(Message::new(93).u32(channel.0).u32(1));
    assert_eq!((pair.server.event(), pair.server.connection.sendable(channel)), (Event::Sendable(channel), 1));
}

fn try_to_knock(pair: &mut Pair) -> Option<ChannelId> {
    let originator = ([192, 0, 2, 8], 1).into();
    let arrival = crate::Arrival { address: b"localhost", port: 10_080, originator };
    pair.server.connection.open_forwarded(arrival, pair.now).unwrap()
}

fn forwarded(event: &Event) -> Option<ChannelId> {
    match event {
        Event::ForwardedConnection { channel, .. } => Some(*channel),
        _ => None,
    }
}
