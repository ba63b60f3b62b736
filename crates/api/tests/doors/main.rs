//! The front doors over real sockets: what a browser, a program, or somebody who means no good gets to hear.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects")]

mod administration;
mod agent;
mod assets;
mod audit;
mod browser;
mod connections;
mod cookies;
mod corpus;
mod document;
mod events;
mod flood;
#[path = "../../../../tests/free_port.rs"]
mod free_port;
mod gate;
mod held_back;
mod host;
mod idle;
mod mcp;
mod members;
mod mesh;
mod oidc;
mod provider;
mod proxies;
mod rights;
mod session_key;
mod sign_in;
mod tokens;
