//! The local agent: tunnels and sessions that start, stop and heal, on SSH links that they share.
//!
//! | Room | What it does |
//! |---|---|
//! | [`agent`] | the agent as its front doors see it: records, tunnels, sessions, and a board that shows how all stands |
//! | `supervisor` | one task that owns all tunnels and their pool of connections, and does what `core` decides |
//! | [`records`] | what the saved records mean, and which may be saved |
//! | [`vault`] | secrets at rest |
//! | [`folder`] | what lies where in the data folder |
//! | [`link`] | one task owns one SSH connection with the sockets of all connections it carries |
//! | [`listener`] | a local port, open for as long as its tunnel runs, whichever link serves it |
//! | [`dial`] | brings a link up, hop by hop, and tells which stage failed |
//! | [`credentials`] | what a profile logs in with, in which order |
//! | [`known_hosts`] | which host keys are known, in OpenSSH's file |
//! | [`ssh_agent`] | asks an ssh-agent to sign |
//! | [`ssh_config`] | records of what a person has in `~/.ssh/config` |
//!
//! When a tunnel starts, stops and tries again is decided by `core`; what is remembered, by `store`. People are asked through
//! [`dial::Person`]. HTTP, JSON and pages are for a room above.

pub mod agent;
mod busy_port;
pub mod credentials;
pub mod dial;
pub mod folder;
pub mod known_hosts;
pub mod link;
pub mod listener;
mod plain_file;
pub mod records;
pub mod ssh_agent;
pub mod ssh_config;
mod supervisor;
pub mod vault;
