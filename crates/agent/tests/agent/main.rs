//! Links against Debian's own `sshd`, `ssh-agent` and `ssh-keygen`, started by each test on loopback.
//!
//! | File | Tells of |
//! |---|---|
//! | `forwards` | L, D and R, half-close, what is refused, what ends when |
//! | `logins` | keys, passphrases, the ssh-agent, and what is told when there is none |
//! | `host_keys` | what becomes of a host that is not known, or has changed |
//! | `jumps` | a link carried by another |
//! | `health` | probes of accounts that may do little, and of a server that is frozen |
//! | `bulk` | many flows at once, with new keys in between |
//! | `corpus` | what the fuzzers begin with |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects")]

mod bulk;
mod corpus;
mod desk;
mod forwards;
mod health;
mod host_keys;
mod jumps;
mod logins;
mod services;
mod sshd;
