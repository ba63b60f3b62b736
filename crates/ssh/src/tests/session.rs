//! Session channels: `ssh -R` without `-N`, and everything that is refused.

use super::message::Message;
use super::pair::{Pair, Setup};
use crate::Event;

/// The client's number for its session.
const SESSION: u32 = 7;

#[test]
fn a_shell_on_a_terminal_is_granted_and_greeted_once() {
    let mut holder = Holder::new();
    holder.request("pty-req", true, |m| m.string("xterm").u32(80).u32(24).u32(0).u32(0).string(""));
    assert_eq!(holder.heard(), [reply(99)]);
    holder.request("env", false, |m| m.string("LANG").string("C"));
    assert_eq!(holder.heard(), [] as [Message; 0]);
    holder.request("shell", true, |m| m);
    assert_eq!(holder.heard(), [reply(99), data("Tunnel-only access for alice.\r\n")]);
    holder.request("shell", true, |m| m);
    assert_eq!(holder.heard(), [reply(100)]);
}

#[test]
fn without_a_terminal_a_line_ends_as_in_a_file() {
    let mut holder = Holder::new();
    holder.request("shell", true, |m| m);
    assert_eq!(holder.heard(), [reply(99), data("Tunnel-only access for alice.\n")]);
}

/// RFC 4254 §5.4: a request that wants no reply gets none.
#[test]
fn a_silent_shell_is_greeted_all_the_same() {
    let mut holder = Holder::new();
    holder.request("shell", false, |m| m);
    assert_eq!(holder.heard(), [data("Tunnel-only access for alice.\n")]);
}

/// dropbear waits for ever on the failure alone, and takes a close without a status for success.
#[test]
fn exec_and_subsystem_get_a_failure_a_status_and_a_close() {
    for (request, wants_reply) in [("exec", true), ("subsystem", true), ("exec", false)] {
        let mut holder = Holder::new();
        holder.request(request, wants_reply, |m| m.string("sftp"));
        let failure = wants_reply.then(|| reply(100));
        let status = Message::new(98).u32(SESSION).string("exit-status").boolean(false).u32(1);
        assert_eq!(holder.heard(), failure.into_iter().chain([status, reply(96), reply(97)]).collect::<Vec<_>>());
        assert_eq!(holder.pair.server.event(), Event::Refused { what: request.into() });
        holder.pair.client_sends(Message::new(97).u32(holder.channel));
        assert_eq!((holder.heard(), &holder.pair.server.ended), (vec![], &None));
    }
}

#[test]
fn whatever_else_a_session_asks_for_is_refused_and_the_session_lives() {
    for request in ["env", "x11-req", "auth-agent-req@openssh.com", "signal", "break", "xon-xoff", ""] {
        let mut holder = Holder::new();
        holder.request(request, true, |m| m.string("DISPLAY").string(":0"));
        assert_eq!(holder.heard(), [reply(100)], "{request}");
        assert_eq!(holder.pair.server.event(), Event::Refused { what: request.into() });
        holder.request("shell", true, |m| m);
        assert_eq!(holder.heard().len(), 2);
    }
}

#[test]
fn control_c_on_a_terminal_ends_the_session_with_130() {
    let mut holder = Holder::with_shell(true);
    holder.pair.client_sends(Message::new(94).u32(holder.channel).string("ls\r"));
    assert_eq!(holder.heard(), []);
    holder.pair.client_sends(Message::new(94).u32(holder.channel).string("\x03"));
    let status = Message::new(98).u32(SESSION).string("exit-status").boolean(false).u32(130);
    assert_eq!(holder.heard(), [status, reply(96), reply(97)]);
    // What was typed meanwhile changes nothing, and the number is free once the client has closed too.
    holder.pair.client_sends(Message::new(94).u32(holder.channel).string("\x03"));
    holder.pair.client_sends(Message::new(97).u32(holder.channel));
    assert_eq!((holder.heard(), &holder.pair.server.ended), (vec![], &None));
    assert_eq!(holder.open(), Some(holder.channel));
}

#[test]
fn the_same_byte_without_a_terminal_is_only_a_byte() {
    let mut holder = Holder::with_shell(false);
    holder.pair.client_sends(Message::new(94).u32(holder.channel).string("\x03"));
    assert_eq!(holder.heard(), []);
}

/// Standard input at /dev/null is an EOF at once; the tunnel lives on.
#[test]
fn an_eof_does_not_end_a_session() {
    let mut holder = Holder::with_shell(true);
    holder.pair.client_sends(Message::new(96).u32(holder.channel));
    assert_eq!((holder.heard(), holder.pair.server.take_events()), (vec![], vec![]));
    holder.pair.client.connection.request_forward("", 10_080).unwrap();
    holder.pair.settle();
    assert!(matches!(holder.pair.server.event(), Event::ForwardRequest { .. }));
}

#[test]
fn a_session_that_types_for_ever_gets_its_window_back() {
    let mut holder = Holder::with_shell(false);
    for _ in 0..3 * 64 {
        holder.pair.client.send_raw(Message::new(94).u32(holder.channel).string([b'x'; 32 * 1024]));
    }
    holder.pair.settle();
    assert_eq!(holder.pair.server.ended, None);
    let adjusted: u32 = holder.heard().iter().map(|m| u32::from_be_bytes(m.0[5..9].try_into().unwrap())).sum();
    assert!(adjusted >= 2 * crate::RECEIVE_WINDOW, "{adjusted}");
}

#[test]
fn the_eleventh_session_is_refused_and_a_closed_one_makes_room() {
    let mut holder = Holder::new();
    for _ in 1..10 {
        assert!(holder.open().is_some());
    }
    assert_eq!(holder.open(), None);
    assert_eq!(holder.pair.server.event(), Event::Refused { what: b"session beyond the limit".to_vec() });
    holder.pair.client_sends(Message::new(97).u32(holder.channel));
    assert_eq!(holder.heard(), [reply(97)]);
    assert_eq!(holder.open(), Some(holder.channel));
}

#[test]
fn every_other_channel_is_refused_and_told_and_nothing_opens() {
    let mut holder = Holder::new();
    for kind in [
        "direct-tcpip",
        "direct-streamlocal@openssh.com",
        "tun@openssh.com",
        "x11",
        "auth-agent@openssh.com",
        "forwarded-tcpip",
        "forwarded-streamlocal@openssh.com",
        "",
    ] {
        let open = Message::new(90).string(kind).u32(9).u32(1 << 21).u32(1 << 15);
        holder.pair.client_sends(open.string("canary").u32(80).string("127.0.0.1").u32(1));
        let refusal = Message::new(92).u32(9).u32(1).string("only remote forwards are done here").string("");
        assert_eq!(holder.heard(), [refusal], "{kind}");
        assert_eq!(holder.pair.server.take_events(), [Event::Refused { what: kind.into() }]);
    }
    holder.request("shell", true, |m| m);
    assert_eq!(holder.heard().len(), 2);
}

/// A client that holds a session open, by hand.
struct Holder {
    pair: Pair,
    /// The server's number for the session.
    channel: u32,
}

impl Holder {
    fn new() -> Self {
        let mut pair = Setup::default().log_in();
        pair.server.connection.set_greeting("Tunnel-only access for alice.");
        pair.client.go_deaf();
        let mut holder = Self { pair, channel: 0 };
        holder.channel = holder.open().expect("the first session is granted");
        holder
    }

    fn with_shell(on_terminal: bool) -> Self {
        let mut holder = Self::new();
        if on_terminal {
            holder.request("pty-req", true, |m| m.string("xterm").u32(80).u32(24).u32(0).u32(0).string(""));
        }
        holder.request("shell", true, |m| m);
        holder.heard();
        holder
    }

    /// Asks for a session; the server's number, if it is granted.
    fn open(&mut self) -> Option<u32> {
        self.pair.client_sends(Message::new(90).string("session").u32(SESSION).u32(1 << 21).u32(1 << 15));
        let answer = self.heard().pop().expect("an answer");
        (answer.0[0] == 91).then(|| u32::from_be_bytes(answer.0[5..9].try_into().unwrap()))
    }

    fn request(&mut self, name: &str, wants_reply: bool, fields: impl Fn(Message) -> Message) {
        let request = Message::new(98).u32(self.channel).string(name).boolean(wants_reply);
        self.pair.client_sends(fields(request));
    }

    /// The messages from the server since the last call.
    fn heard(&mut self) -> Vec<Message> {
        self.pair.client.heard()
    }
}

/// A message that names the session and nothing else.
fn reply(number: u8) -> Message {
    Message::new(number).u32(SESSION)
}

fn data(text: &str) -> Message {
    reply(94).string(text)
}
