//! Stories about the deciding parts, each with its own clock and its own wire.

// A helper that finds the story broken ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod half_close;
mod host;
mod login_gate;
mod port_model;
mod port_table;
