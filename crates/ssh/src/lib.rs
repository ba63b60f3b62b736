//! The SSH-2 engine without I/O: packets in, packets out, events.
//!
//! [`Connection`] is one connection, either side; its module tells the calling contract. It owns no socket, starts no task
//! and reads no clock: whoever drives it brings bytes and the time. Two of them can be joined back to back in a test.
//!
//! It does what tunnels need and nothing else: a server's peer can log in with a key (RFC 4252), ask for remote forwards
//! (RFC 4254 §7) and hold a session open; there is no code here that could start a program or open a file. Who may
//! log in and which port may be opened is decided elsewhere; the engine asks.
//!
//! A [`Client`] asks too: whether the host key is the right one, how to log in (key, outside signer, password, questions), and it
//! opens connections to targets, remote forwards, and sessions that only show whether anybody is there. [`Connection::client`]
//! is one that knows all the answers.
//!
//! * Data is opened and sealed in place, in buffers whose storage is lent ([`Buffer`]); no packet allocates.
//! * A channel's window is credited by what was written on, never by what was received ([`Connection::credit`]).
//! * Replies to global requests keep their order, however long an answer takes.
//! * A peer is alive when it was heard, and only then; whether a write is blocked does not matter.

mod auth;
mod buffer;
mod bulk;
mod channel;
mod channels;
mod client;
mod config;
mod connection;
pub mod crypto;
mod disconnect;
mod flight;
mod forwards;
mod handshake;
mod holding;
mod messages;
mod negotiation;
mod outlet;
mod packet;
mod replies;
#[cfg(test)]
mod tests;
mod wire;

pub use auth::{AuthOutcome, AuthRequest};
pub use buffer::{Buffer, Payload};
pub use channel::{ChannelId, RECEIVE_WINDOW};
pub use channels::{Arrival, Target};
pub use client::{
    AuthFailure, AuthMethod, AuthRefusal, ClientEvent, ClientSettings, Credential, OpenFailureCode, OpenRefusal,
    ProbeAnswer, Prompt, Prompts, SignatureRequest,
};
pub use config::{ClientConfig, Event, ForwardDenied, Limits, OpenFailure, ServerConfig};
pub use connection::{Client, Connection, OUTPUT_LOW};
pub use disconnect::{Disconnect, DisconnectCode, EndedBy};
pub use negotiation::{Algorithms, Side};
pub use packet::MAX_DATA_SLOTS;
pub use replies::ReplyId;
