//! What can be typed behind `adit mesh`.

use std::path::PathBuf;
use std::time::Duration;

use adit_core::Target;
use adit_core::mesh::{AgentName, KeyPattern};
use adit_jumphost::config::parse_duration;
use clap::{Args, Subcommand};

use crate::arguments::LogFormat;

/// What every command's help ends with.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\nExit codes: 0 done, 1 failed, 2 bad input, 7 a port is busy, 8 no agent is reached,\n\
             78 bad configuration file.\n\
             With --json an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}"
        )
    };
}

const HELP: &str = help!(
    "Examples:
  adit mesh init
      makes the root of a new mesh; it can lie in a drawer afterwards
  adit mesh invite hq --publish 'my-*' --transit
      prints a token with which one agent can join
  adit mesh join TOKEN
      on the machine of that agent
  adit mesh run --config mesh.yaml
      runs the agent until Ctrl-C
  adit mesh probe my-files
      whether a connection for a key finds its target, and on which way"
);

const RUN_HELP: &str = help!(
    "Examples:
  adit mesh run --config mesh.yaml
      runs until Ctrl-C; SIGHUP reads `forward:` of the file anew

In the configuration file:
  forward:
    endpoints:                    # services that this machine reaches
      - key: \"my-files\"
        target: \"localhost:80\"
        priority: 0               # optional: the lower one is taken first
    listeners:                    # where clients connect
      - key: \"my-files\"
        address: \":8000\"          # or 127.0.0.1:8000
        max_connections: 100      # optional; 0: no limit
  mesh:
    # for other agents, over UDP and TCP; without it this one dials only
    listen: 0.0.0.0:4433
    peers: [hq.example.org:4433]  # beside those of the token
    # the dashboard, which `adit mesh status` asks; `off` for neither
    http: 127.0.0.1:8080
    # at both ends: connections survive the death of an agent on their way
    resume: true
    data: /var/lib/adit-mesh
    log: info

The dashboard is for everybody on this machine: curl http://localhost:8080/api/dashboard | jq .forward_routes"
);

const INVITE_HELP: &str = help!(
    "Examples:
  adit mesh invite hq --publish 'my-*' --transit --lasts 365d
      may publish the keys that begin with my-, and others' connections may go through it
  adit mesh invite branch --listen my-files --peer hq.example.org:4433
      may listen on one key, and connects to hq
  adit mesh invite relay --transit --peer hq.example.org:4433
      an agent between others: without --transit nobody's connections go through

The token is a secret until it is used: the first agent that comes with it is the member."
);

const REVOKE_HELP: &str = help!(
    "Examples:
  adit mesh revoke branch
      writes the list of what is revoked, and hands it to the agent that runs here, which passes it on
  adit mesh revoke --list revocations.txt
      hands a list that was made elsewhere to the agent that runs here

Whatever the member has is cut within seconds wherever the list arrives, and it cannot come back."
);

/// `adit mesh`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The folder of the mesh agent [default: `mesh.data` of the configuration file, or in the XDG state folder]
    #[arg(long, global = true, value_name = "DIR", env = "ADIT_MESH_DATA")]
    pub(super) data: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the root of a new mesh
    Init(Root),
    /// Make a token with which one agent can join
    Invite(Invite),
    /// List whom the root has invited
    Members(Root),
    /// Take a membership back
    Revoke(Revoke),
    /// Join a mesh with a token
    Join(Join),
    /// Run the agent of this machine
    Run(Run),
    /// Show the running agent: who it is, what it carries, which listener leads where
    Status,
    /// List the links of the running agent
    Peers,
    /// List the agents that the running one can reach, and the way to each
    Routes,
    /// See whether a connection for a key finds its target, and on which way
    Probe(Probe),
    /// Have the running agent read `forward:` of its configuration file anew
    Reload,
}

#[derive(Debug, Args)]
pub(super) struct Root {
    /// The folder of the root [env: ADIT_MESH_ROOT] [default: in the XDG state folder]
    // The variable is not for clap to read: it would take one that is set for a flag that was typed beside `--list`.
    #[arg(long = "root", value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Root {
    /// The folder that was named, by the flag or by the variable.
    pub(super) fn named(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os("ADIT_MESH_ROOT").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        self.folder.clone().or_else(variable)
    }
}

#[derive(Debug, Args)]
#[command(after_help = INVITE_HELP)]
pub(super) struct Invite {
    /// What the agent will be called
    pub(super) name: AgentName,
    /// A key that it may publish; * stands for any characters; can be given again
    #[arg(long, value_name = "PATTERN")]
    pub(super) publish: Vec<KeyPattern>,
    /// A key that it may listen on; can be given again
    #[arg(long, value_name = "PATTERN")]
    pub(super) listen: Vec<KeyPattern>,
    /// Others' connections may go through it
    #[arg(long)]
    pub(super) transit: bool,
    /// An agent that it connects to; can be given again
    #[arg(long = "peer", value_name = "HOST:PORT", value_parser = peer)]
    pub(super) peers: Vec<Target>,
    /// How long the token can be used; five minutes more are given to clocks that differ
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h")]
    pub(super) within: Duration,
    /// How long the membership lasts, with the same five minutes
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "365d")]
    pub(super) lasts: Duration,
    #[command(flatten)]
    pub(super) root: Root,
}

#[derive(Debug, Args)]
#[command(after_help = REVOKE_HELP)]
pub(super) struct Revoke {
    /// Who
    #[arg(required_unless_present = "list")]
    pub(super) name: Option<AgentName>,
    /// A list that was made elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "folder"])]
    pub(super) list: Option<PathBuf>,
    #[command(flatten)]
    pub(super) root: Root,
}

#[derive(Debug, Args)]
pub(super) struct Join {
    /// The token, or - to read it from standard input, where no list of processes shows it
    pub(super) token: String,
}

#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub(super) struct Run {
    /// The configuration file [default: adit/config.yaml in the XDG configuration folder, if it is there]
    #[arg(long, value_name = "FILE", env = "ADIT_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// How the log on stderr is written; ADIT_LOG says what is in it, as `debug` or `adit_mesh=trace`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, env = "ADIT_LOG_FORMAT")]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Args)]
pub(super) struct Probe {
    /// The routing key
    pub(super) key: String,
    /// An endpoint that takes datagrams, instead of one that takes connections
    #[arg(long)]
    pub(super) udp: bool,
}

fn peer(typed: &str) -> Result<Target, String> {
    adit_mesh::config::parse_peer(typed).map_err(|error| error.problem)
}

fn duration(typed: &str) -> Result<Duration, String> {
    let duration = parse_duration(typed).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "expected a number and a unit, such as 30m, 24h or 365d".to_owned())
}
