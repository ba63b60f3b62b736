//! `adit mcp installation`: what a client is to be told so that it starts this, or finds it over HTTP.

use std::net::SocketAddr;
use std::path::Path;

use adit_api::mcp::address_of;
use serde_json::{Value, json};

use super::arguments::{Conduct, Http, Installation, Transport};
use super::kept_token;
use crate::failure::Failure;
use crate::oneoff::data_path;
use crate::output::Output;

pub(super) fn run(arguments: Installation) -> Result<(), Failure> {
    let server = match arguments.transport {
        Transport::Stdio => {
            let program = std::env::current_exe().map_err(Failure::Runtime)?;
            json!({"command": program, "args": words(&arguments.conduct, arguments.data.as_deref())?})
        }
        Transport::Http => {
            let Http { host, port } = arguments.http;
            if port == 0 {
                return Err(Failure::NoMcpPort);
            }
            let (token, _) = kept_token(&data_path(arguments.data.as_deref())?)?;
            let address = address_of(SocketAddr::new(host.ip(), port));
            eprintln!("adit: this holds the token: keep it where nobody else reads it");
            json!({"type": "http", "url": address, "headers": {"Authorization": token.header().as_str()}})
        }
    };
    let settings = json!({"mcpServers": {"adit": server}});
    Output::new(arguments.json).answer(&settings, |settings| serde_json::to_string_pretty(settings).unwrap_or_default())
}

/// What the client types: paths from the root on, because it starts programs from anywhere.
fn words(conduct: &Conduct, data: Option<&Path>) -> Result<Vec<Value>, Failure> {
    let mut words = vec![json!("mcp"), json!("start")];
    let flags = [("--allow-system", conduct.allow_system), ("--supervise", conduct.supervise)];
    words.extend(flags.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| json!(flag)));
    if !conduct.key_folders.is_empty() {
        words.extend(conduct.keys()?.folders().iter().flat_map(|folder| [json!("--key-folder"), json!(folder)]));
    }
    if let Some(data) = data {
        words.extend([json!("--data"), json!(std::path::absolute(data).map_err(Failure::Runtime)?)]);
    }
    Ok(words)
}
