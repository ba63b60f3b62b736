//! The local agent's acting half below its supervisor: SSH links, and everything needed to bring one up.
//!
//! | Room | What it does |
//! |---|---|
//! | [`link`] | one task owns one SSH connection with the sockets of all connections it carries |
//! | [`listener`] | a local port, open for as long as its tunnel runs, whichever link serves it |
//! | [`dial`] | brings a link up, hop by hop, and tells which stage failed |
//! | [`credentials`] | what a profile logs in with, in which order |
//! | [`known_hosts`] | which host keys are known, in OpenSSH's file |
//! | [`ssh_agent`] | asks an ssh-agent to sign |
//!
//! When a tunnel starts, stops and tries again is decided by `core` and carried out by the supervisor. Secrets are kept
//! elsewhere and come through [`credentials::SecretSource`]; people are asked through [`dial::Person`].

pub mod credentials;
pub mod dial;
pub mod known_hosts;
pub mod link;
pub mod listener;
pub mod ssh_agent;
