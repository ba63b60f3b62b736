//! The jump host: anyone whose key an account holds opens ports here with plain `ssh -R`, and others reach what is behind them.
//!
//! # What stands where
//!
//! | File | Does |
//! |---|---|
//! | [`config`] | what people type, checked into what the program runs on |
//! | [`data_dir`] | the folder: its lock, host keys, where the server can be reached |
//! | [`directory`] | who may log in, in memory, following the store |
//! | [`registry`] | who is logged in, what they hold open, and how they are cut |
//! | `listener`, `gate`, `session`, `ports` | SSH connections and the forwards' sockets |
//! | `bandwidth` | what the sessions of one account may move together |
//! | [`audit`], [`metrics`] | what is kept and what is counted |
//! | [`signin`] | who is at the dashboard: passwords, links, tokens, and the right they give |
//! | [`member`] | what a member can do with what is theirs |
//! | [`admin`] | what an administrator can do, also while no server runs |
//! | [`changes`], `listing`, `refusals`, `traffic` | what pages show of what is live and was lately |
//! | [`server`] | all of it together: build, run, drain |
//!
//! # A session and the rest
//!
//! One task owns an SSH session with all its sockets. It shares nothing with another session but `shared`, and
//! touches that only with short locks and atomics: nothing here can make one session wait for another. What ends a session from
//! outside is a [`CutSignal`](registry::CutSignal).
//!
//! HTTP and JSON over HTTP are `adit-api`'s, SQL is `adit-store`'s; neither is spoken here.

pub mod admin;
pub mod audit;
mod bandwidth;
pub mod changes;
pub mod config;
pub mod data_dir;
pub mod directory;
mod gate;
mod listener;
mod listing;
pub mod member;
pub mod metrics;
mod ports;
mod refusals;
pub mod registry;
pub mod search;
pub mod server;
mod session;
mod shared;
pub mod signin;
mod traffic;

pub use config::{Config, RawConfig};
pub use data_dir::DataDir;
pub use server::{JumpHost, StartError};

/// An error and all its causes on one line, for people.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        // A transparent error repeats its cause.
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}
