//! What happens as time goes by. The clock is the test's.

use std::time::Duration;

use super::message::Message;
use super::pair::{Pair, Pieces, Setup};
use crate::{EndedBy, Event, Limits};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(14);

#[test]
fn a_silent_peer_is_asked_at_each_interval() {
    let mut setup = Setup::default();
    setup.client.limits.keepalive_interval = 10 * INTERVAL;
    let mut pair = setup.log_in();
    pair.client.go_deaf();
    pair.advance(INTERVAL - SECOND);
    assert_eq!(pair.client.heard(), []);
    for wait in [SECOND, INTERVAL] {
        pair.advance(wait);
        assert_eq!(pair.client.heard(), [Message::new(80).string("keepalive@openssh.com").boolean(true)]);
    }
}

#[test]
fn a_tunnel_without_traffic_lives_for_hours() {
    let mut pair = Pair::new();
    pair.advance(Duration::from_secs(8 * 3600));
    assert!(pair.server.ended.is_none() && pair.client.ended.is_none());
    assert!((pair.now - pair.server.connection.last_heard()) <= INTERVAL);
}

#[test]
fn a_dead_network_is_noticed_after_three_intervals() {
    let mut pair = Pair::new();
    (pair.server.link.is_cut, pair.client.link.is_cut) = (true, true);
    assert_dies_after(&mut pair, 3 * INTERVAL);
}

/// A frozen client: its socket takes nothing more, and visitors upload.
#[test]
fn a_dead_peer_is_noticed_while_output_is_blocked() {
    let mut pair = Pair::new();
    let (channel, _) = pair.visit();
    pair.server.link.is_blocked = true;
    pair.client.link.is_blocked = true;
    while pair.server.connection.send_data(channel, &[1; 50_000], pair.now).unwrap() > 0 {}
    assert_eq!(pair.server.connection.sendable(channel), 0);
    assert_dies_after(&mut pair, 3 * INTERVAL);
}

#[test]
fn a_dead_peer_is_noticed_while_a_key_exchange_is_stalled() {
    // Longer than the silence, so that it is the silence that is noticed.
    let mut pair = Setup::default().limits(|limits| limits.kex_time = Duration::from_secs(600)).log_in();
    pair.client.link.is_blocked = true;
    pair.server.connection.rekey(pair.now).unwrap();
    assert_dies_after(&mut pair, 3 * INTERVAL);
}

/// A peer that talks but never finishes the exchange holds up everything.
#[test]
fn a_stalled_key_exchange_ends_the_connection() {
    let mut pair = Pair::new();
    pair.client.go_deaf();
    pair.server.connection.rekey(pair.now).unwrap();
    for _ in 0..119 {
        pair.client.send_raw(Message::new(2).string("still here"));
        pair.advance(SECOND);
        assert_eq!(pair.server.ended, None);
    }
    pair.advance(SECOND);
    assert_eq!(pair.server_end(), "the key exchange stalled");
}

/// A whole packet may take longer than an interval on a slow line.
#[test]
fn any_byte_is_a_sign_of_life() {
    let mut pair = Pair::new();
    let (_, channel) = pair.visit();
    assert_eq!(pair.client.connection.send_data(channel, &[1; 30_000], pair.now), Ok(30_000));
    let packet = pair.client.take_output();
    pair.client.link.is_cut = true;
    for byte in &packet[..10] {
        pair.advance(3 * INTERVAL - SECOND);
        assert_eq!(pair.server.ended, None);
        pair.server.feed(&[*byte], pair.now);
        assert_eq!(pair.server.connection.last_heard(), pair.now);
    }
    // Being asked without new bytes is no sign of life.
    pair.advance(SECOND);
    pair.server.feed(&[], pair.now);
    assert_eq!((pair.now - pair.server.connection.last_heard()), SECOND);
    assert_dies_after(&mut pair, 3 * INTERVAL - SECOND);
}

/// The driver itself was stopped: what the peer said meanwhile lies unread in the socket.
#[test]
fn a_driver_that_was_held_up_asks_before_it_gives_a_peer_up() {
    let mut pair = Pair::new();
    pair.now += Duration::from_secs(3600);
    pair.server.connection.handle_timeout(pair.now).unwrap();
    pair.settle();
    assert_eq!(pair.server.connection.last_heard(), pair.now);
}

#[test]
fn a_probe_is_answered_at_once() {
    let mut pair = Setup { delay: Duration::from_millis(40), ..Setup::default() }.log_in();
    pair.advance(10 * SECOND);
    let asked = pair.now;
    pair.server.connection.probe().unwrap();
    pair.settle();
    assert_eq!(pair.server.connection.last_heard(), asked + Duration::from_millis(80));
}

#[test]
fn nobody_stays_without_a_login() {
    let grace = Limits::default().login_grace;
    for (name, until) in [("silent", 0), ("after the version", 21), ("within the key exchange", 300)] {
        let mut pair = Setup::default().join();
        let hello = pair.client.take_output();
        pair.server.feed(&hello[..until], pair.now);
        (pair.client.link.is_cut, pair.server.link.is_cut) = (true, true);
        pair.advance(grace - SECOND);
        assert_eq!(pair.server.ended, None, "{name}");
        pair.advance(SECOND);
        assert_eq!(pair.server.ended.map(|end| end.by), Some(EndedBy::Timeout), "{name}");
    }
}

/// The grace is for the whole login, however busily it is drawn out.
#[test]
fn a_slow_drip_does_not_prolong_the_grace() {
    let mut pair = Setup { delay: 3 * SECOND / 2, pieces: Pieces::UpTo(1), ..Setup::default() }.join();
    pair.client.link.delay = 20 * SECOND;
    pair.advance(Limits::default().login_grace);
    assert_eq!(pair.server.ended.map(|end| end.message), Some("nobody logged in in time".into()));
}

#[test]
fn a_visitor_whose_open_is_not_answered_is_given_up_at_ten_seconds() {
    let mut pair = Pair::new();
    let channel = pair.knock();
    pair.settle();
    let Event::ForwardedConnection { channel: at_client, .. } = pair.client.event() else { panic!() };
    pair.advance(10 * SECOND - Duration::from_millis(1));
    assert_eq!(pair.server.take_events(), []);
    pair.advance(Duration::from_millis(1));
    assert!(matches!(pair.server.event(), Event::OpenFailed { channel: failed, .. } if failed == channel));
    // The late answer finds nobody: the client is told so, and the number comes free.
    pair.client.connection.accept(at_client).unwrap();
    pair.settle();
    assert_eq!((pair.server.take_events(), pair.client.event()), (vec![], Event::Closed(at_client)));
    pair.client.connection.release(at_client).unwrap();
    assert_eq!(pair.knock(), channel);
}

/// On a slow link the question may wait for longer than an answer may take.
#[test]
fn an_open_that_has_not_left_is_not_given_up() {
    let mut pair = talkative();
    let (busy, _) = pair.visit();
    pair.server.link.is_blocked = true;
    while pair.server.connection.send_data(busy, &[1; 50_000], pair.now).unwrap() > 0 {}
    let channel = pair.knock();
    talk_for(&mut pair, 3);
    assert_eq!(pair.server.take_events(), []);
    pair.server.link.is_blocked = false;
    pair.settle();
    talk_for(&mut pair, 2);
    assert!(matches!(pair.server.event(), Event::OpenFailed { channel: failed, .. } if failed == channel));
}

#[test]
fn a_peer_that_talks_and_never_reads_is_ended() {
    let mut pair = talkative();
    let (busy, _) = pair.visit();
    pair.server.link.is_blocked = true;
    while pair.server.connection.send_data(busy, &[1; 50_000], pair.now).unwrap() > 0 {}
    talk_for(&mut pair, 4);
    assert_eq!(pair.server.ended, None);
    talk_for(&mut pair, 2);
    assert_eq!(pair.server.ended.map(|end| end.message), Some("the peer takes nothing".into()));
}

/// A client that does not mind silence.
fn talkative() -> Pair {
    let mut setup = Setup::default();
    setup.client.limits.keepalive_interval = 100 * INTERVAL;
    setup.log_in()
}

/// The client says something every ten seconds.
fn talk_for(pair: &mut Pair, times: u32) {
    for _ in 0..times {
        pair.client.connection.send_raw(&Message::new(2).string("still here").0).unwrap();
        pair.advance(10 * SECOND);
    }
}

/// A number comes back within ten seconds when visits are short; the new visit has ten of its own.
#[test]
fn a_number_used_again_does_not_inherit_a_deadline() {
    let mut pair = Pair::new();
    let unanswered = pair.knock();
    pair.settle();
    pair.client.take_events();
    pair.advance(SECOND);
    let (short, at_client) = pair.visit();
    pair.server.connection.release(short).unwrap();
    pair.settle();
    assert_eq!(pair.client.event(), Event::Closed(at_client));
    pair.client.connection.release(at_client).unwrap();
    pair.advance(8 * SECOND);
    assert_eq!(pair.knock(), short);
    pair.advance(9 * SECOND);
    let given_up: Vec<_> = pair.server.take_events();
    assert!(matches!(given_up[..], [Event::OpenFailed { channel, .. }] if channel == unanswered), "{given_up:?}");
}

#[test]
fn keys_are_renewed_as_time_goes_by() {
    let mut pair = Setup::default().limits(|limits| limits.rekey_time = Duration::from_secs(60)).log_in();
    pair.advance(Duration::from_secs(301));
    assert_eq!(pair.server.take_events(), [const { Event::Rekeyed }; 5]);
    assert_eq!(pair.client.take_events(), [const { Event::Rekeyed }; 5]);
}

/// The server ends exactly now, having been there a second before.
fn assert_dies_after(pair: &mut Pair, silence: Duration) {
    pair.advance(silence - SECOND);
    assert_eq!(pair.server.ended, None);
    pair.advance(SECOND);
    let end = pair.server.ended.as_ref().expect("the peer counts as dead");
    assert_eq!((&*end.message, end.by), ("the peer is silent", EndedBy::Timeout));
}
