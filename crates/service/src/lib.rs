//! Tunnels that survive reboots: who starts them, who keeps them running, and what is known of them.
//!
//! | File | What it does |
//! |---|---|
//! | [`settings`] | what one tunnel is, as the arguments of the program that keeps it |
//! | [`unit`] | the same as a systemd unit, quoted so that no value can become a directive |
//! | [`place`] | where a tunnel is installed: for the system, for a user, or where there is no systemd |
//! | [`installed`] | installs, lists and removes tunnels in all those places |
//! | [`live`] | what a running tunnel tells of itself, to systemd and to whoever asks |
//! | [`supervised`] | keeps a tunnel running where no systemd does |
//! | `systemctl`, `crontab`, `linger` | ask the programs that own those things |
//!
//! The tunnel itself is the local agent's engine, in a process of its own; what it does is not known here. Neither is a login or a host
//! key judged here: whoever installs a tunnel has done that.

mod command;
mod crontab;
pub mod installed;
mod linger;
pub mod live;
pub mod place;
pub mod settings;
pub mod supervised;
mod systemctl;
pub mod unit;

pub use command::CommandError;
pub use installed::{Began, InstallError, Installer, RemoveError, TunnelReport};
pub use linger::Linger;
pub use live::{LiveState, TunnelState};
pub use place::{Folders, Place};
pub use settings::{BadText, Text, TunnelSettings};
