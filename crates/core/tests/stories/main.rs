//! Stories about the deciding parts, each with its own clock and its own wire.

// A helper that finds the story broken ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod agent_model;
mod allowance;
mod half_close;
mod host;
mod login_gate;
mod mesh_datagrams;
mod mesh_identity;
mod mesh_keys;
mod mesh_model;
mod mesh_net;
mod mesh_selection;
mod mesh_sync;
mod mesh_wire;
mod pool;
mod port_model;
mod port_table;
mod socks5;
mod tunnel;
