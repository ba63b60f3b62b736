//! The stage on which `adit` and unmodified clients meet.
//!
//! Everything here starts real programs, watches them from outside and takes them away again. It knows nothing of the
//! product's insides: the command line, `addresses.json` and the wire are all it may use. What a test promises stands
//! in `e2e/`; this crate only keeps those stories short.
//!
//! A helper fails the test by panicking with a sentence that names what was awaited, because a test that returns an
//! error has lost its story; the captured output of every program is printed when that happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a harness fails tests by panicking")]

mod agent;
mod debian;
mod desktop;
mod http;
mod jump_host;
mod machine;
mod member;
mod mesh;
mod netns;
mod openssh;
mod pattern;
mod postgres;
mod process;
mod services;
mod share;
mod slow_way;
mod sshd;
mod tools;
mod wait;

pub use agent::Agent;
pub use debian::Trixie;
pub use desktop::Desktop;
pub use http::{HttpAnswer, http_get};
pub use jump_host::{Addresses, JumpHost, JumpHostBuilder, adit, adit_as, adit_inside, beside_the_tests};
pub use machine::{Bastion, Machine, quoted};
pub use member::{KeyType, Member, generate_key};
pub use mesh::{Mesh, MeshAgent};
pub use netns::{Cable, Netns};
pub use openssh::OpenSsh;
pub use pattern::{PatternReader, PatternWriter, bulk_bytes, exchange, receive_pattern, send_pattern, try_exchange};
pub use postgres::Postgres;
pub use process::{Finished, Running, finish, raise_descriptor_limit};
pub use rustix::process::Signal;
pub use services::{
    CountingCanary, EchoService, HttpService, PatternService, ServiceAddress, asks_and_hears, next_visitor,
};
pub use share::Share;
pub use slow_way::SlowWay;
pub use sshd::Sshd;
pub use tools::{long_runs_wanted, peer_script, python, require};
pub use wait::{eventually, remains, within};
