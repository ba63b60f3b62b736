//! Stories about whole agents, in one process and on loopback.

// A helper that finds the story broken ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod datagrams;
mod failover;
mod forwarding;
mod links;
mod net;
mod reload;
mod resume;
mod rights;
mod wire;
