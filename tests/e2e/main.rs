//! End to end: the real `adit` and the clients people really use, one module per subject of `spec/jumphost.md`, of `spec/agent.md` (those that
//! begin with `agent`), of `spec/service.md` (`service…`, `mcp`, `packaging`, `wheel`) and of `spec/mesh.md` (`mesh…`).
//!
//! A story names the promise it proves by its line there. Each starts a jump host of its own on addresses of its own,
//! so all of them may run at once; the stories about time on the network run in network namespaces, those about services on
//! machines that they boot, and both need root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by panicking")]

mod access;
mod agent_command;
mod agent_interop;
mod agent_life;
mod agent_network;
mod agent_oneoff;
mod agent_page;
mod agent_promises;
mod agent_secrets;
mod attacks;
mod bad_input;
mod costs;
mod data;
mod documents;
mod floods;
mod forwards;
#[path = "../free_port.rs"]
mod free_port;
mod greeting;
mod keepalive;
mod keys;
mod limits;
mod lost_sessions;
mod mcp;
mod mesh;
mod mesh_cables;
mod mesh_failures;
mod mesh_members;
mod mesh_scale;
mod multiplexing;
mod openssh_10;
mod operations;
mod other_clients;
mod packaging;
mod passengers;
mod refused;
mod rekey;
mod revocation;
mod service;
mod service_background;
mod service_input;
mod service_user;
mod stalled_visitor;
mod takeover;
mod wheel;

use std::time::Duration;

/// Long enough for a login and a forward on a machine that runs other tests.
const SOON: Duration = Duration::from_secs(10);
