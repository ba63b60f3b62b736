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
//! | `pooling` | tunnels of an agent that share connections |
//! | `ports` | local ports that are busy, and given back; remote ones that are held |
//! | `life` | losses, pauses, and what ends them |
//! | `traffic` | what tunnels carry, and who does not hold up whom |
//! | `floods` | programs that come by the hundred and say nothing |
//! | `sessions` | tunnels that come and go with a session |
//! | `following` | records that change while tunnels run, and restarts |
//! | `ssh_config` | what is imported from OpenSSH's configuration |
//! | `secrets` | what profiles keep in the vault |
//! | `promises` | keys on hardware, old equipment, and who does not wait for whom |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects")]

mod bulk;
mod corpus;
mod desk;
mod floods;
mod following;
mod forwards;
#[path = "../../../../tests/free_port.rs"]
mod free_port;
mod health;
mod home;
mod host_keys;
mod jumps;
mod life;
mod logins;
mod pooling;
mod ports;
mod promises;
mod secrets;
mod services;
mod sessions;
mod ssh_config;
mod sshd;
mod traffic;
