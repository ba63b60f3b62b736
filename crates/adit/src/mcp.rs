//! `adit mcp`: lets a language model set up tunnels, over standard input and output or over HTTP on loopback.
//!
//! | File | Does |
//! |---|---|
//! | `arguments` | what can be typed |
//! | `acting` | carries out what a model asks for, by the functions of the commands |
//! | `doctor` | whether all is there that this takes |
//! | `installation` | what a client is to be told, so that it starts this |
//!
//! The protocol is spoken in `adit_api::mcp`.

mod acting;
pub(crate) mod arguments;
mod doctor;
mod installation;

use std::path::Path;

use adit_api::agent::{KeptToken, token_at};
use adit_api::mcp::{Desk, address_of, serve, serve_stdio, tools};
use adit_net::data_folder;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::failure::Failure;
use crate::oneoff::data_path;
use crate::output::Output;
use crate::signals::Signals;
use crate::{block_on, log, manage};
use acting::Acting;
use arguments::{Arguments, Command, Http, Start, Transport};

/// Of this door, in the agent's folder: who may use the agent need not be who may have services installed.
const TOKEN: &str = "mcp-token";

/// Of a server whose standard error most clients keep: what went wrong, of the protocol too.
const LOG: &str = "info,rmcp=warn";

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Start(arguments) => {
            log::start(arguments.log_format, LOG)?;
            block_on(Builder::new_multi_thread(), start(arguments))
        }
        Command::ListTools(arguments) => list_tools(arguments.verbose, Output::new(arguments.json)),
        Command::Doctor(arguments) => manage(log::COMMAND, doctor::run(arguments)),
        Command::Installation(arguments) => installation::run(arguments),
    }
}

/// Serves until its client closes the streams, or until a signal. What a client has begun is finished; a second signal ends at once.
async fn start(arguments: Start) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let folder = data_path(arguments.data.as_deref())?;
    let (acting, rules) = Acting::new(&arguments.conduct, folder.clone())?;
    let desk = Desk::new(acting, rules);
    match arguments.transport {
        Transport::Stdio => {
            let served = serve_stdio(desk.clone(), signals.stop()).await;
            served.map_err(Failure::McpClient)?;
        }
        Transport::Http => {
            let Http { host, port } = arguments.http;
            let listen = (host.ip(), port).into();
            let (token, is_new) = kept_token(&folder)?;
            let listener = TcpListener::bind(listen).await;
            let listener = listener.map_err(|source| Failure::McpListen { address: listen, source })?;
            let address = listener.local_addr().map_err(Failure::Runtime)?;
            let serving = serve(&desk, listener, &token).map_err(Failure::Runtime)?;
            announce(&Started::new(address_of(address), &token), is_new, Output::new(arguments.json))?;
            signals.stop().await;
            serving.stop().await;
        }
    }
    tokio::select! {
        () = desk.finish() => {}
        () = signals.stop() => tracing::warn!("ended at once; what was under way may be half done"),
    }
    Ok(())
}

/// What a server over HTTP says of itself.
#[derive(Debug, Serialize)]
struct Started<'a> {
    url: String,
    token_file: &'a Path,
    pid: u32,
    version: &'static str,
}

impl<'a> Started<'a> {
    fn new(url: String, token: &'a KeptToken) -> Self {
        Self { url, token_file: token.file(), pid: std::process::id(), version: env!("CARGO_PKG_VERSION") }
    }
}

fn announce(started: &Started<'_>, is_new: bool, output: Output) -> Result<(), Failure> {
    output.answer(started, |started| {
        let made = if is_new { " (made just now: whoever reads it can set up tunnels)" } else { "" };
        let facts = [
            ("address", started.url.clone()),
            ("token", format!("{}{made}", started.token_file.display())),
            ("clients", "adit mcp installation --transport http prints what they are to be told".to_owned()),
        ];
        output.facts(&facts)
    })
}

/// The token of this door, made where there is none, and whether that was just now.
fn kept_token(folder: &Path) -> Result<(KeptToken, bool), Failure> {
    data_folder::make(folder)?;
    data_folder::check(folder)?;
    Ok(token_at(folder.join(TOKEN))?)
}

fn list_tools(verbose: u8, output: Output) -> Result<(), Failure> {
    output.answer(&tools(), |tools| {
        let shown = |tool: &adit_api::mcp::ToolView| match verbose {
            0 => tool.name().to_owned(),
            1 => format!("{}\n  {}", output.bold(&tool.signature), tool.description()),
            _ => serde_json::to_string_pretty(tool).unwrap_or_default(),
        };
        let between = if verbose == 0 { "\n" } else { "\n\n" };
        tools.iter().map(shown).collect::<Vec<_>>().join(between)
    })
}
