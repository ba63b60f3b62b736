//! What a connection is told at its beginning, and what it tells as it goes. What only a client's driver hears is in `client`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::auth::AuthRequest;
use crate::buffer::Payload;
use crate::channel::ChannelId;
use crate::crypto::{HostKey, PrivateKey, PublicKey};
use crate::negotiation::Algorithms;
use crate::replies::ReplyId;

/// What bounds a connection in time and amount. The defaults are a jump host's.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte to a login, in all.
    pub login_grace: Duration,
    /// Silence after which a keepalive asks whether the peer lives. The third unanswered one ends the connection, so that a
    /// peer is declared dead after three times this.
    pub keepalive_interval: Duration,
    /// Bytes in one direction after which new keys are agreed (RFC 4253 §9).
    pub rekey_bytes: u64,
    /// Time after which new keys are agreed.
    pub rekey_time: Duration,
    /// How long a key exchange may take once logged in; traffic is held up meanwhile.
    pub kex_time: Duration,
    /// How long the peer may take to answer a channel open.
    pub open_time: Duration,
    /// Session channels open at one time. 0: no limit.
    pub session_channels: u32,
    /// Channels of any kind at one time.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            login_grace: Duration::from_secs(30),
            // 3 × 14 s = 42 s: a dead peer's ports are free within the 45 s promised.
            keepalive_interval: Duration::from_secs(14),
            // RFC 4253 §9 speaks of 1 GB; AES-GCM and ChaCha20 would bear far more.
            rekey_bytes: 1 << 30,
            rekey_time: Duration::from_secs(3600),
            // Behind a full send buffer on a slow link a key exchange takes its time; a peer that is gone is noticed sooner.
            kex_time: Duration::from_secs(120),
            open_time: Duration::from_secs(10),
            session_channels: 10,
            channels: 65_536,
        }
    }
}

/// A server: who it is and what it bears. Shared by all its connections.
#[derive(Debug)]
pub struct ServerConfig {
    /// Private host keys, the preferred first.
    pub host_keys: Vec<HostKey>,
    /// What is offered.
    pub algorithms: Algorithms,
    /// What is borne.
    pub limits: Limits,
}

/// A client whose every answer is known beforehand: one server, one key. It asks its driver nothing.
#[derive(Debug)]
pub struct ClientConfig {
    /// The login name.
    pub user: String,
    /// The key to log in with.
    pub identity: PrivateKey,
    /// The server's key; another one ends the connection before anything about the user is sent.
    pub host_key: PublicKey,
    /// What is offered.
    pub algorithms: Algorithms,
    /// What is borne.
    pub limits: Limits,
}

/// Something happened that the driver of a connection has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Server: somebody wants to log in. Nothing more is received until [`answer_auth`](crate::Connection::answer_auth).
    AuthRequest(Box<AuthRequest>),
    /// Client: the server let us in.
    LoggedIn,
    /// Server: the peer asks for a remote forward (RFC 4254 §7.1), to be answered by
    /// [`answer_forward`](crate::Connection::answer_forward), now or later.
    ForwardRequest {
        /// The reply's place.
        reply: ReplyId,
        /// The address as typed, byte for byte: it must be echoed so.
        address: Vec<u8>,
        /// The port asked for; 0 asks for any. May be over 65,535.
        port: u32,
    },
    /// Server: the peer takes a remote forward back, to be answered like the request.
    ForwardCancel {
        /// The reply's place.
        reply: ReplyId,
        /// The address as typed.
        address: Vec<u8>,
        /// The port, the allocated one where any was asked for.
        port: u32,
    },
    /// Server: something was asked for that is not done here. The peer has been refused already.
    Refused {
        /// What it was: a channel type, or a request's name, raw.
        what: Vec<u8>,
    },
    /// The peer confirmed a channel we asked for: data may flow.
    Opened(ChannelId),
    /// The peer refused a channel we asked for, or took too long. The id is free again.
    OpenFailed {
        /// The channel asked for.
        channel: ChannelId,
        /// Why.
        why: OpenFailure,
    },
    /// Client: a connection arrived at a remote forward, to be answered by [`accept`](crate::Connection::accept) or
    /// [`refuse`](crate::Connection::refuse).
    ForwardedConnection {
        /// The new channel.
        channel: ChannelId,
        /// The address of the forward, as we asked for it.
        address: String,
        /// The port connected to.
        port: u16,
        /// Where the connection comes from, as the server says; `None` where that is no address and port.
        originator: Option<SocketAddr>,
    },
    /// Client: the answer to the oldest remote forward asked for: its port where one was allocated, or a refusal.
    ForwardAnswered(Result<Option<u32>, ForwardDenied>),
    /// Bytes arrived. They are to be credited once they were written on.
    Data {
        /// On this channel.
        channel: ChannelId,
        /// Where they lie in the buffer given to [`receive`](crate::Connection::receive).
        payload: Payload,
    },
    /// The peer will send no more data on a channel.
    Eof(ChannelId),
    /// The peer has closed a channel; ours is closed with it. The id stays taken until it is released.
    Closed(ChannelId),
    /// A channel on which nothing could be sent, for want of window or because enough was in flight, can send again.
    Sendable(ChannelId),
    /// A key exchange is over: channels may send again.
    Rekeyed,
}

/// Why a channel did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenFailure {
    /// The peer refused it, in these words (raw): mostly, nothing listens at the service's address.
    Refused(String),
    /// The peer did not answer in time.
    Unanswered,
}

/// The server would not open a remote forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardDenied;
