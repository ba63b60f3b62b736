//! The server's side of a SOCKS 5 handshake (RFC 1928): no authentication, CONNECT, and an honest reply.
//!
//! Which target may be reached, and how, is for the caller to find out; nothing is looked up here. What a client sends behind
//! its request is for the target: it is never taken, so it stays with the caller, who passes it on.

mod wire;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use crate::Target;
use wire::{Parsed, Request};

/// One handshake.
///
/// Hand in what the client sent with [`handle_input`](Self::handle_input), and how the connection went with
/// [`handle_outcome`](Self::handle_outcome); act on [`poll_output`](Self::poll_output) until it answers `None`. It holds one
/// unfinished message at most: 262 bytes.
#[derive(Debug)]
pub struct Socks5 {
    stage: Stage,
    /// The beginning of the message that is awaited.
    held: Vec<u8>,
    wishes: VecDeque<SocksWish>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The methods a client knows (§3).
    Greeting,
    /// What it wants (§4).
    Request,
    /// Whether it can have it.
    Outcome,
    Over,
}

/// What the caller shall do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocksWish {
    /// Send these bytes to the client.
    Send(Vec<u8>),
    /// Connect to this target, and tell how that went. What the client sends from here on is for the target.
    Connect(Target),
    /// The handshake is done: from here on both sides only hear each other.
    Relay,
    /// End the connection, once what was to be sent is through. A client that goes on sending must be read meanwhile, or
    /// the reset that answers it may overtake the reply.
    HangUp(SocksRefusal),
}

/// How connecting to the target went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectOutcome {
    /// It is connected.
    Connected,
    /// It is not.
    Failed(ConnectFailure),
}

/// Why a target was not reached, as far as SOCKS can tell (§6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectFailure {
    /// Nobody listens there.
    Refused,
    /// Whoever would have to connect may not.
    Prohibited,
    /// There is no way to the host.
    HostUnreachable,
    /// There is no way to its network.
    NetworkUnreachable,
    /// Anything else.
    Other,
}

impl ConnectFailure {
    /// From a refused channel: the reason code (RFC 4254 §5.1), and the text beside it, which tells more. Servers put the
    /// words of their system there: OpenSSH alone, dropbear and others with words of their own around.
    pub fn from_channel_open(reason: u32, description: &str) -> ConnectFailure {
        const ADMINISTRATIVELY_PROHIBITED: u32 = 1;
        let says = |words: &str| description.to_ascii_lowercase().contains(words);
        match reason {
            ADMINISTRATIVELY_PROHIBITED => ConnectFailure::Prohibited,
            _ if says("refused") => ConnectFailure::Refused,
            _ if says("no route to host") || says("host is unreachable") => ConnectFailure::HostUnreachable,
            _ if says("network is unreachable") => ConnectFailure::NetworkUnreachable,
            _ => ConnectFailure::Other,
        }
    }

    fn reply(self) -> u8 {
        match self {
            ConnectFailure::Other => wire::GENERAL_FAILURE,
            ConnectFailure::Prohibited => 0x02,
            ConnectFailure::NetworkUnreachable => 0x03,
            ConnectFailure::HostUnreachable => 0x04,
            ConnectFailure::Refused => 0x05,
        }
    }
}

/// Why a client got no connection. Its `Display` is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocksRefusal {
    /// It speaks something else; this is its first byte.
    NotSocks5(u8),
    /// It insists on authentication.
    NoAcceptableMethod,
    /// It asked for this, which is not CONNECT.
    Command(u8),
    /// It named its target in this way, which RFC 1928 does not know.
    AddressType(u8),
    /// The target it named can be none: an empty or unprintable name, or port 0.
    Target,
    /// The target was not reached.
    NotConnected(ConnectFailure),
}

impl fmt::Display for SocksRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocksRefusal::NotSocks5(4) => f.write_str("Client speaks SOCKS 4, and only SOCKS 5 is served"),
            // GET, POST, CONNECT, …: an HTTP proxy was expected here.
            SocksRefusal::NotSocks5(b'A'..=b'Z') => f.write_str("Client speaks HTTP, and only SOCKS 5 is served"),
            SocksRefusal::NotSocks5(first) => {
                write!(f, "Client does not speak SOCKS 5: its first byte is {first:#04x}")
            }
            SocksRefusal::NoAcceptableMethod => f.write_str("Client does not support no-auth method"),
            SocksRefusal::Command(0x02) => f.write_str("Client asked for BIND, and only CONNECT is served"),
            SocksRefusal::Command(0x03) => f.write_str("Client asked for UDP ASSOCIATE, and only CONNECT is served"),
            SocksRefusal::Command(other) => write!(f, "Client asked for the unknown command {other:#04x}"),
            SocksRefusal::AddressType(other) => {
                write!(f, "Client named its target by the unknown address type {other:#04x}")
            }
            SocksRefusal::Target => f.write_str("Client named a target that can be none"),
            SocksRefusal::NotConnected(ConnectFailure::Refused) => f.write_str("the target refused the connection"),
            SocksRefusal::NotConnected(ConnectFailure::Prohibited) => f.write_str("the SSH server forbids this target"),
            SocksRefusal::NotConnected(ConnectFailure::HostUnreachable) => {
                f.write_str("the target's host is unreachable")
            }
            SocksRefusal::NotConnected(ConnectFailure::NetworkUnreachable) => {
                f.write_str("the target's network is unreachable")
            }
            SocksRefusal::NotConnected(ConnectFailure::Other) => f.write_str("the target could not be reached"),
        }
    }
}

impl Error for SocksRefusal {}

impl Default for Socks5 {
    fn default() -> Socks5 {
        Socks5::new()
    }
}

impl Socks5 {
    /// A client has connected, and said nothing yet.
    pub fn new() -> Socks5 {
        Socks5 { stage: Stage::Greeting, held: Vec::new(), wishes: VecDeque::new() }
    }

    /// Takes from `input` what belongs to the handshake, and says how many bytes that was. The rest is the target's, once
    /// there is one.
    pub fn handle_input(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            let missing = match self.stage {
                Stage::Greeting => match wire::greeting(&self.held) {
                    Parsed::Needs(missing) => missing,
                    Parsed::Whole(no_authentication) => {
                        self.greet(no_authentication);
                        continue;
                    }
                    Parsed::Wrong(refusal) => return self.refuse(refusal, taken),
                },
                Stage::Request => match wire::request(&self.held) {
                    Parsed::Needs(missing) => missing,
                    Parsed::Whole(Request { command: wire::CONNECT, target: Some(target) }) => {
                        self.held = Vec::new();
                        self.stage = Stage::Outcome;
                        self.wishes.push_back(SocksWish::Connect(target));
                        return taken;
                    }
                    Parsed::Whole(Request { command: wire::CONNECT, target: None }) => {
                        return self.refuse(SocksRefusal::Target, taken);
                    }
                    Parsed::Whole(Request { command, .. }) => {
                        return self.refuse(SocksRefusal::Command(command), taken);
                    }
                    Parsed::Wrong(refusal) => return self.refuse(refusal, taken),
                },
                Stage::Outcome | Stage::Over => return taken,
            };
            let rest = &input[taken..];
            if rest.is_empty() {
                return taken;
            }
            let now = missing.min(rest.len());
            self.held.extend_from_slice(&rest[..now]);
            taken += now;
        }
    }

    /// How connecting to the target went. Counts only while that is awaited.
    pub fn handle_outcome(&mut self, outcome: ConnectOutcome) {
        if self.stage != Stage::Outcome {
            return;
        }
        self.stage = Stage::Over;
        match outcome {
            ConnectOutcome::Connected => {
                self.wishes.push_back(SocksWish::Send(wire::reply(wire::SUCCEEDED)));
                self.wishes.push_back(SocksWish::Relay);
            }
            ConnectOutcome::Failed(failure) => {
                self.refuse(SocksRefusal::NotConnected(failure), 0);
            }
        }
    }

    /// The next thing to do; `None` until something else happens.
    pub fn poll_output(&mut self) -> Option<SocksWish> {
        self.wishes.pop_front()
    }

    fn greet(&mut self, no_authentication: bool) {
        self.held.clear();
        if no_authentication {
            self.stage = Stage::Request;
            self.wishes.push_back(SocksWish::Send(wire::method(wire::NO_AUTHENTICATION)));
        } else {
            self.refuse(SocksRefusal::NoAcceptableMethod, 0);
        }
    }

    /// Gives `taken` back, so that a refusal is one line where input is read.
    fn refuse(&mut self, refusal: SocksRefusal, taken: usize) -> usize {
        let answer = match (refusal, self.stage) {
            // Not its language: nothing we say would be understood.
            (SocksRefusal::NotSocks5(_), Stage::Greeting) => None,
            (SocksRefusal::NotSocks5(_), _) | (SocksRefusal::Target, _) => Some(wire::reply(wire::GENERAL_FAILURE)),
            (SocksRefusal::NoAcceptableMethod, _) => Some(wire::method(wire::NO_ACCEPTABLE_METHOD)),
            (SocksRefusal::Command(_), _) => Some(wire::reply(wire::COMMAND_NOT_SUPPORTED)),
            (SocksRefusal::AddressType(_), _) => Some(wire::reply(wire::ADDRESS_TYPE_NOT_SUPPORTED)),
            (SocksRefusal::NotConnected(failure), _) => Some(wire::reply(failure.reply())),
        };
        self.wishes.extend(answer.map(SocksWish::Send));
        self.wishes.push_back(SocksWish::HangUp(refusal));
        self.stage = Stage::Over;
        self.held = Vec::new();
        taken
    }
}
