//! What can be typed behind `adit mcp`.

use std::path::PathBuf;

use adit_core::LoopbackAddress;
use clap::{Args, Subcommand, ValueEnum};

use crate::arguments::LogFormat;

/// Where it answers over HTTP if nobody says otherwise: next to the agent.
pub(super) const PORT: u16 = 7071;

const HELP: &str = "\
Examples:
  adit mcp installation
      what to put into the settings of an MCP client, which then starts `adit mcp start` by itself
  adit mcp start --transport http
      serves clients over HTTP on loopback, with a token, until Ctrl-C
  adit mcp list-tools -v
      what a model can do with it
  adit mcp doctor
      whether all is there that it takes

Tunnels are made as services of your own. --allow-system has them made as services of the system, which takes root. A model names keys by
their path, from ~/.ssh alone unless --key-folder names others, and sees none of them.

Environment:
  ADIT_BASTION_SERVER     the bastion, where a model names none
  ADIT_SECRET_KEY_PATH    the private key, where a model names none; it has to lie in a folder for keys too

Exit codes: 0 ended by its client, Ctrl-C or SIGTERM, 1 failed, 2 bad input.
With --json an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

/// `adit mcp`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Arguments {
    /// Whether errors are told as JSON.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Command::Start(arguments) => arguments.json,
            Command::ListTools(arguments) => arguments.json,
            Command::Doctor(arguments) => arguments.json,
            // What it prints is JSON in any case.
            Command::Installation(arguments) => arguments.json,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve a client over standard input and output, or clients over HTTP
    Start(Start),
    /// List the tools that a model gets: -v with what they take and do, -vv with their schemas
    ListTools(ListTools),
    /// Look whether all is there that this takes
    Doctor(Doctor),
    /// Print what a client is to be told, as JSON
    Installation(Installation),
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// How clients reach it
    #[arg(long, value_enum, default_value_t)]
    pub(super) transport: Transport,

    #[command(flatten)]
    pub(super) http: Http,

    #[command(flatten)]
    pub(super) conduct: Conduct,

    /// The folder of the agent [default: in the XDG state folder]
    #[arg(long, value_name = "DIR", env = "ADIT_AGENT_DATA")]
    pub(super) data: Option<PathBuf>,

    /// Over HTTP, print where it answers as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// How the log on stderr is written; ADIT_LOG says what is in it, as `debug` or `rmcp=trace`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, env = "ADIT_LOG_FORMAT")]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    /// The client starts it, and speaks with it alone
    #[default]
    Stdio,
    /// Streamable HTTP at /mcp, with a token
    Http,
}

/// Where it answers over HTTP.
#[derive(Debug, Args)]
pub(super) struct Http {
    /// Over HTTP, the loopback address to listen at
    #[arg(long, value_name = "ADDRESS", default_value_t)]
    pub(super) host: LoopbackAddress,

    /// Over HTTP, the port; 0 lets the system choose
    #[arg(long, default_value_t = PORT)]
    pub(super) port: u16,
}

/// What a model may do.
#[derive(Debug, Args)]
pub(super) struct Conduct {
    /// Make tunnels as services of the system, and let those of the system be removed; takes root
    #[arg(long, conflicts_with = "supervise")]
    pub(super) allow_system: bool,

    /// Make tunnels as processes in the background, where there is no systemd
    #[arg(long)]
    pub(super) supervise: bool,

    /// A folder with keys that a model may name; can be given again [default: ~/.ssh]
    #[arg(long = "key-folder", value_name = "DIR")]
    pub(super) key_folders: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ListTools {
    /// Also what they take and do; twice, all of it as JSON
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    pub(super) conduct: Conduct,

    /// The folder of the agent [default: in the XDG state folder]
    #[arg(long, value_name = "DIR", env = "ADIT_AGENT_DATA")]
    pub(super) data: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Installation {
    /// How the client is to reach it
    #[arg(long, value_enum, default_value_t)]
    pub(super) transport: Transport,

    #[command(flatten)]
    pub(super) http: Http,

    #[command(flatten)]
    pub(super) conduct: Conduct,

    /// The folder of the agent [default: in the XDG state folder]
    #[arg(long, value_name = "DIR", env = "ADIT_AGENT_DATA")]
    pub(super) data: Option<PathBuf>,

    /// Print JSON on one line
    #[arg(long)]
    pub(super) json: bool,
}
