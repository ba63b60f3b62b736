//! Stories about the end of a relayed connection, and a walk through every order of events.

use std::collections::HashSet;

use adit_core::{HalfClose, RelayWish};

/// All that can happen to a relayed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    SocketEof,
    SocketError,
    PeerEof,
    PeerClose,
    BytesForChannel,
    ChannelDrained,
    BytesForSocket,
    SocketDrained,
}

use Fact::*;
use RelayWish::*;

const FACTS: [Fact; 8] =
    [SocketEof, SocketError, PeerEof, PeerClose, BytesForChannel, ChannelDrained, BytesForSocket, SocketDrained];

fn tell(relay: &mut HalfClose, fact: Fact) -> Vec<RelayWish> {
    match fact {
        SocketEof => relay.handle_socket_eof(),
        SocketError => relay.handle_socket_error(),
        PeerEof => relay.handle_peer_eof(),
        PeerClose => relay.handle_peer_close(),
        BytesForChannel => relay.handle_to_channel_drained(false),
        ChannelDrained => relay.handle_to_channel_drained(true),
        BytesForSocket => relay.handle_to_socket_drained(false),
        SocketDrained => relay.handle_to_socket_drained(true),
    }
    std::iter::from_fn(|| relay.poll_output()).collect()
}

/// Tells the facts one by one, and checks what each of them leads to.
fn story(steps: &[(Fact, &[RelayWish])]) -> HalfClose {
    let mut relay = HalfClose::new();
    for (number, (fact, wishes)) in steps.iter().enumerate() {
        assert_eq!(tell(&mut relay, *fact), *wishes, "at step {number}, {fact:?}");
    }
    relay
}

#[test]
fn a_visitor_who_has_asked_still_gets_the_answer() {
    let relay = story(&[
        (SocketEof, &[SendEof]),
        (BytesForSocket, &[]),
        (SocketDrained, &[]),
        (PeerEof, &[ShutdownSocketWrite, SendClose, DropSocket]),
        (PeerClose, &[]),
    ]);
    assert!(relay.is_over());
}

#[test]
fn a_service_that_has_said_all_still_hears_the_visitor() {
    let mut relay = story(&[(BytesForSocket, &[]), (PeerEof, &[]), (SocketDrained, &[ShutdownSocketWrite])]);
    assert!(relay.wants_socket_data() && !relay.wants_peer_data());
    assert_eq!(tell(&mut relay, BytesForChannel), []);
    assert_eq!(tell(&mut relay, SocketEof), []);
    assert_eq!(tell(&mut relay, ChannelDrained), [SendEof, SendClose, DropSocket]);
}

#[test]
fn eof_waits_for_the_bytes_before_it() {
    story(&[(BytesForChannel, &[]), (SocketEof, &[]), (ChannelDrained, &[SendEof])]);
}

#[test]
fn a_close_is_answered_at_once_and_the_last_bytes_are_still_written() {
    let relay = story(&[
        (BytesForSocket, &[]),
        (PeerClose, &[SendClose]),
        (SocketEof, &[]),
        (SocketDrained, &[ShutdownSocketWrite, DropSocket]),
    ]);
    assert!(relay.is_over());
}

#[test]
fn a_stopped_service_closes_its_visitor() {
    story(&[(PeerEof, &[ShutdownSocketWrite]), (PeerClose, &[SendClose, DropSocket])]);
}

#[test]
fn nothing_is_sent_after_a_close() {
    story(&[(BytesForChannel, &[]), (PeerClose, &[ShutdownSocketWrite, SendClose, DropSocket]), (ChannelDrained, &[])]);
}

#[test]
fn a_broken_socket_closes_the_channel_at_once() {
    let mut relay = story(&[
        (BytesForSocket, &[]),
        (BytesForChannel, &[]),
        (PeerEof, &[]),
        (SocketError, &[SendClose, DropSocket]),
        (SocketDrained, &[]),
        (ChannelDrained, &[]),
    ]);
    assert!(!relay.is_over(), "the peer may still send until its own CLOSE");
    assert!(!relay.wants_peer_data() && !relay.wants_socket_data());
    assert_eq!(tell(&mut relay, PeerClose), []);
    assert!(relay.is_over());
}

/// What has happened and what was wished so far, noted without looking into the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Witness {
    socket_eof: bool,
    socket_error: bool,
    peer_eof: bool,
    peer_close: bool,
    bytes_for_channel: bool,
    bytes_for_socket: bool,
    eof_sent: bool,
    write_shut: bool,
    close_sent: bool,
    dropped: bool,
}

impl Witness {
    fn notes_fact(&mut self, fact: Fact) {
        match fact {
            SocketEof => self.socket_eof = true,
            SocketError => self.socket_error = true,
            PeerEof => self.peer_eof = true,
            PeerClose => self.peer_close = true,
            BytesForChannel => self.bytes_for_channel = true,
            ChannelDrained => self.bytes_for_channel = false,
            BytesForSocket => self.bytes_for_socket = true,
            SocketDrained => self.bytes_for_socket = false,
        }
    }

    /// What a wish must never do.
    fn notes_wish(&mut self, wish: RelayWish) {
        match wish {
            SendEof => {
                assert!(!self.eof_sent && !self.close_sent, "EOF is sent once, and before CLOSE");
                assert!(self.socket_eof && !self.bytes_for_channel, "EOF stands behind the last byte");
                self.eof_sent = true;
            }
            ShutdownSocketWrite => {
                assert!(!self.write_shut && !self.dropped && !self.socket_error);
                assert!(self.peer_eof || self.peer_close);
                assert!(!self.bytes_for_socket, "FIN stands behind the last byte");
                self.write_shut = true;
            }
            SendClose => {
                assert!(!self.close_sent, "CLOSE is sent once");
                assert!(self.socket_error || self.peer_close || (self.eof_sent && self.write_shut));
                self.close_sent = true;
            }
            DropSocket => {
                assert!(!self.dropped, "a socket is dropped once");
                assert!(self.close_sent, "the peer learns first");
                assert!(self.socket_error || self.write_shut, "bytes for the socket would be lost");
                self.dropped = true;
            }
        }
    }

    /// What must have been wished by now.
    fn checks_nothing_is_owed(&self, relay: &HalfClose) {
        if self.socket_eof && !self.bytes_for_channel {
            assert!(self.eof_sent || self.close_sent);
        }
        if (self.peer_eof || self.peer_close) && !self.bytes_for_socket {
            assert!(self.write_shut || self.dropped);
        }
        if self.peer_close || self.socket_error || (self.eof_sent && self.write_shut) {
            assert!(self.close_sent);
        }
        if self.socket_error || (self.close_sent && self.write_shut) {
            assert!(self.dropped);
        }
        assert_eq!(relay.is_over(), self.close_sent && self.peer_close && self.dropped);
        assert_eq!(relay.wants_peer_data(), !self.write_shut && !self.socket_error);
        let heard = !self.socket_eof && !self.socket_error && !self.peer_close;
        assert_eq!(relay.wants_socket_data(), heard);
    }
}

/// Could this happen now? Each side ends once, and no bytes come behind an end.
fn is_possible(fact: Fact, so_far: &Witness) -> bool {
    let socket_gone = so_far.socket_error || so_far.dropped;
    match fact {
        SocketEof => !so_far.socket_eof && !socket_gone,
        SocketError => !socket_gone,
        PeerEof => !so_far.peer_eof && !so_far.peer_close,
        PeerClose => !so_far.peer_close,
        BytesForChannel => !so_far.socket_eof && !socket_gone,
        BytesForSocket => !so_far.peer_eof && !so_far.peer_close,
        ChannelDrained | SocketDrained => true,
    }
}

/// Follows every possible event from every state that any sequence can reach, so sequences of any length are covered.
#[test]
fn no_order_of_events_breaks_a_rule() {
    let start = (HalfClose::new(), Witness::default());
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    let mut over = 0;
    while let Some((relay, witness)) = open.pop() {
        for fact in FACTS.into_iter().filter(|&fact| is_possible(fact, &witness)) {
            let (mut relay, mut witness) = (relay.clone(), witness.clone());
            witness.notes_fact(fact);
            tell(&mut relay, fact).into_iter().for_each(|wish| witness.notes_wish(wish));
            witness.checks_nothing_is_owed(&relay);
            over += u32::from(relay.is_over());
            let next = (relay, witness);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    assert!(seen.len() > 50 && over > 10, "the walk saw {} states and {over} ends", seen.len());
}

/// A peer or a relay that repeats itself, or speaks behind an end, must not make us do so.
#[test]
fn even_impossible_orders_send_nothing_twice() {
    let start = (HalfClose::new(), Vec::new());
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some((relay, sent)) = open.pop() {
        for fact in FACTS {
            let (mut relay, mut sent) = (relay.clone(), sent.clone());
            for wish in tell(&mut relay, fact) {
                assert!(!sent.contains(&wish), "{wish:?} twice");
                assert!(wish != SendEof || !sent.contains(&SendClose), "EOF behind CLOSE");
                sent.push(wish);
            }
            let next = (relay, sent);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
}
