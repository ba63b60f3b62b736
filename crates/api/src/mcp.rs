//! The door for language models: the Model Context Protocol, over standard input and output or over HTTP on loopback.
//!
//! | File | Does |
//! |---|---|
//! | `tools` | the tools: what each takes, promises and reads from what it was sent |
//! | `answers` | what they answer, as schemas |
//! | `resources` | what can be looked at without a tool |
//! | `keys` | from which folders a model may name a private key |
//! | `desk` | takes a call, has it carried out, and puts the outcome into words |
//! | `http` | which requests are let in: the gate, the token, the bounds |
//!
//! What a call does is done by [`Services`], which the command line's own functions are: a model is told what a person at a terminal
//! would be told. The messages themselves are `rmcp`'s.

mod answers;
mod desk;
mod http;
mod keys;
mod resources;
mod tools;

use std::path::PathBuf;

use adit_core::Port;
use serde_json::Value;

use crate::failure::Failure;

pub use desk::{Desk, serve_stdio, serve_streams};
pub use http::{address_of, serve};
pub use keys::KeyFolders;
pub use tools::{ToolView, document, tools};

/// The code of a failure that says: there is no tunnel at this port.
pub const NO_SUCH_TUNNEL: &str = "no-such-tunnel";

/// A tunnel that is to be set up. What is `None` was not given, and is what the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUp {
    /// The port of the bastion.
    pub port: Port,
    /// `[USER@]HOST[:PORT]`, as it was sent.
    pub bastion_server: Option<String>,
    /// The private key: a file in one of the allowed folders.
    pub secret_key_path: Option<PathBuf>,
}

/// What a tunnel of the agent is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentOrder {
    /// Log in, and stay connected.
    Start,
    /// End, whatever it waits for.
    Stop,
    /// Make a fresh connection at once.
    Reconnect,
}

/// Carries out what a model asks for. Each answer is what the command of the same name prints with `--json`, and each failure what it
/// prints instead. Nothing may ask a person: there is no terminal.
pub trait Services: Send + Sync + 'static {
    /// Installs a tunnel and starts it. Called once at a time, and carried to its end also when nobody waits for it any more.
    fn set_up(&self, asked: SetUp) -> impl Future<Output = Result<Value, Failure>> + Send;

    /// How the tunnel at a port stands, or how all do.
    fn status(&self, port: Option<Port>) -> impl Future<Output = Result<Value, Failure>> + Send;

    /// Stops and removes a tunnel. Never beside a [`Services::set_up`], and carried to its end like that.
    fn remove(&self, port: Port) -> impl Future<Output = Result<Value, Failure>> + Send;

    /// The tunnels of the running agent: a list.
    fn agent_tunnels(&self) -> impl Future<Output = Result<Value, Failure>> + Send;

    /// Gives an order to a tunnel of the running agent, named by its name or its id, and answers how it stands then.
    fn agent_order(&self, order: AgentOrder, tunnel: String) -> impl Future<Output = Result<Value, Failure>> + Send;
}

/// What a model may name, as whoever starts the door has it.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where keys may lie.
    pub keys: KeyFolders,
    /// The key where a call names none. It is held to the same folders.
    pub usual_key: Option<PathBuf>,
}
