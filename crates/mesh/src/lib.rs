//! The mesh: agents joined over QUIC; endpoints and listeners matched by routing keys over many hops, each connection encrypted from end
//! to end.
//!
//! | Room | What it does |
//! |---|---|
//! | [`agent`] | an agent at work: built, asked, changed while it runs, brought to its end |
//! | [`config`] | the `mesh:` and `forward:` maps of the configuration |
//! | [`enrolment`] | the root, its invitations, joining |
//! | [`folder`] | what lies where in an agent's data folder |
//! | [`keys`], `tls`, `noise` | cryptography at work: who somebody is, links, connections from end to end |
//! | `transport`, `stream` | QUIC and TLS over TCP as one |
//! | `handshake`, `link` | a connection becomes a link, and is one until it ends |
//! | `door`, `connector` | agents come, and are dialled |
//! | `ingress`, `circuit`, `pump` | a client's connection: to its endpoint, through here, and carried |
//! | `lane`, `flow` | the same for datagrams |
//! | `services`, `hub` | what is configured, and what the tasks share |
//! | [`view`], [`counters`] | what is shown |
//!
//! Who is a member, which way is the shortest and which endpoint is taken is decided by `core`. HTTP, JSON and pages are for a room above.

pub mod agent;
mod circuit;
pub mod config;
mod connector;
#[cfg(test)]
mod corpus_tests;
pub mod counters;
mod door;
pub mod enrolment;
mod flow;
pub mod folder;
mod handshake;
mod hex;
#[cfg(test)]
mod hostile_tests;
mod hub;
mod ingress;
pub mod keys;
mod lane;
mod link;
mod noise;
mod pump;
mod replay;
mod services;
mod stall;
mod stream;
// The stories within have the helpers of those outside, and need not all of them.
#[cfg(test)]
#[allow(dead_code)]
#[path = "../tests/mesh/net.rs"]
mod test_net;
mod tls;
mod transport;
mod turn;
pub mod view;

#[cfg(test)]
extern crate self as adit_mesh;

pub use agent::{Drained, Mesh, MeshError};
pub use config::{Config, ConfigError, RawForward, RawMesh};
pub use folder::MeshFolder;
pub use ingress::Listening;
pub use transport::Carrier;
