//! The log: facts with fields, on stderr, as text for people or as JSON for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::LogFormat;
use crate::failure::Failure;

/// Of a server, where ADIT_LOG says nothing: what an operator wants to know in the morning.
pub(crate) const SERVER: &str = "info";

/// Of a command that tells by itself what a person wants to know.
pub(crate) const COMMAND: &str = "off";

/// Of a command that is to tell everything: what is ours, since libraries tell more than anybody reads.
pub(crate) const DEBUG: &str = "info,adit=debug,adit_agent=debug,adit_service=debug,adit_ssh=debug,adit_net=debug";

/// Starts logging, as `usual` where ADIT_LOG says nothing: what the configuration file says, or what fits the command. Called once.
pub(crate) fn start(format: LogFormat, usual: &str) -> Result<(), Failure> {
    let variable = std::env::var("ADIT_LOG").ok();
    let place = if variable.is_some() { "ADIT_LOG" } else { "`log` in the configuration file" };
    let typed = variable.unwrap_or_else(|| usual.to_owned());
    let filter = EnvFilter::try_new(&typed).map_err(|error| Failure::LogFilter {
        place,
        typed: typed.clone(),
        reason: error.to_string(),
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colours).with_target(false).finish().try_init()
        }
        LogFormat::Json => lines.json().finish().try_init(),
    };
    started.map_err(|error| Failure::Runtime(io::Error::other(error)))
}
