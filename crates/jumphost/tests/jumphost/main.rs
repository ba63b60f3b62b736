//! The jump host in one process, over loopback sockets: a real server, and members whose SSH client is the engine's own.
//! What unmodified clients see is proved end to end elsewhere; here is what needs many of them, or a client that misbehaves.

#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

mod bandwidth;
mod client;
mod dashboard;
mod host;
mod limits;
mod listing;
mod member;
mod rights;
mod sessions;
mod sign_in;
mod visitors;
