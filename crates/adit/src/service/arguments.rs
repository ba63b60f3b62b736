//! What can be typed behind `adit setup`, `adit status` and `adit remove`, and what units and background processes are started with.

use std::path::PathBuf;

use adit_core::Port;
use adit_service::Place;
use clap::Args;

use super::variables::Variables;
use crate::arguments::LogFormat;
use crate::failure::Failure;
use crate::log;
use crate::oneoff::{LocalService, ServerAddress};

/// What is published where nobody says otherwise: SSH.
pub(crate) const TARGET: &str = "localhost:22";

/// Where the bastion listens where nobody says otherwise: for itself alone.
pub(crate) const BIND: &str = "127.0.0.1";

const SETUP_HELP: &str = "\
Examples:
  sudo adit setup -p 2222 -b me@bastion.example.org -s ~/.ssh/id_ed25519
      the bastion's port 2222 leads to this machine's SSH server, from boot on
  adit setup -p 2222 -b me@bastion.example.org -s ~/.ssh/id_ed25519 --user
      the same as a service of your own, without root
  adit setup -p 2222 -b me@bastion.example.org -s ~/.ssh/id_ed25519 --cron
      the same where there is no systemd: in the background, and from boot on by cron
  adit setup -p 8080 -b me@bastion.example.org -s KEY --target localhost:3000 --print
      shows what would be installed, and installs nothing

Before anything is written: the key is read (it has no passphrase, since nobody is there to type one), the service answers, the
bastion's host key is known (you are asked once, and the tunnel takes no other from then on), it lets you in, and its port is free.
A tunnel of the same port is replaced.

Environment:
  ADIT_BASTION_SERVER     the bastion, where -b is not given
  ADIT_SECRET_KEY_PATH    the private key, where -s is not given
  ADIT_DEBUG_MODE         1: tell everything that is done, on stderr
  SCITEX_TUNNEL_BASTION_SERVER, SCITEX_TUNNEL_SECRET_KEY_PATH and SCITEX_TUNNEL_DEBUG_MODE are read where those are not set.

Exit codes: 0 done and connected, 1 failed, 2 bad input, 3 installed and not connected yet, 5 the bastion does not let the key in,
6 its host key is not known or another one, 7 its port is not free.
With --json an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

const STATUS_HELP: &str = "\
Exit codes: 0 all of them are connected, 1 failed, 2 bad input, 3 one is not connected, 4 there is no tunnel of this port.
With --json an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

const REMOVE_HELP: &str = "\
Exit codes: 0 removed, 1 failed, 2 bad input, 4 there is no tunnel of this port.
With --json an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

/// `adit setup`
#[derive(Debug, Args)]
#[command(after_help = SETUP_HELP)]
pub(crate) struct SetUp {
    /// The port of the bastion that is to lead here
    #[arg(short, long)]
    pub(super) port: Port,

    /// The SSH server that others reach [default: ADIT_BASTION_SERVER; default port: 22]
    #[arg(short, long, value_name = "[USER@]HOST[:PORT]", value_parser = ServerAddress::parse)]
    pub(super) bastion: Option<ServerAddress>,

    /// The private key to log in with [default: ADIT_SECRET_KEY_PATH]
    #[arg(short, long, value_name = "FILE")]
    pub(super) secret_key: Option<PathBuf>,

    /// What the port leads to: a service of this machine
    #[arg(long, value_name = "[HOST:]PORT", default_value = TARGET, value_parser = LocalService::parse)]
    pub(super) target: LocalService,

    /// Where the bastion is to listen: an address of its own, `localhost`, or `*` for everywhere, which OpenSSH's server allows where
    /// GatewayPorts says so
    #[arg(long, value_name = "ADDRESS", default_value = BIND)]
    pub(super) bind: String,

    #[command(flatten)]
    pub(super) scope: Scope,

    /// As --supervise, and from boot on by a line of your crontab
    #[arg(long, conflicts_with_all = ["system", "user"])]
    pub(super) cron: bool,

    /// Print what would be installed, and install nothing
    #[arg(long)]
    pub(super) print: bool,

    /// Take the bastion's host key if it has this fingerprint and is not known
    #[arg(long, value_name = "FINGERPRINT")]
    pub(super) accept_host_key: Vec<String>,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// `adit status`
#[derive(Debug, Args)]
#[command(after_help = STATUS_HELP)]
pub(crate) struct Status {
    /// Only the tunnel of this port
    #[arg(short, long)]
    pub(super) port: Option<Port>,

    #[command(flatten)]
    pub(super) scope: Scope,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// `adit remove`
#[derive(Debug, Args)]
#[command(after_help = REMOVE_HELP)]
pub(crate) struct Remove {
    /// The port of the tunnel
    #[arg(short, long)]
    pub(super) port: Port,

    #[command(flatten)]
    pub(super) scope: Scope,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// Who keeps the tunnel running.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Scope {
    /// As a service of the system, which takes root [default for setup]
    #[arg(long)]
    system: bool,

    /// As a service of your own
    #[arg(long)]
    user: bool,

    /// As a process in the background, where there is no systemd
    #[arg(long)]
    supervise: bool,
}

impl Scope {
    pub(super) fn place(&self) -> Option<Place> {
        let given = [(self.system, Place::System), (self.user, Place::User), (self.supervise, Place::Supervised)];
        given.into_iter().find_map(|(is_given, place)| is_given.then_some(place))
    }
}

/// What holds for all of them.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Read variables that the environment does not set from this file
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Tell everything that is done, on stderr
    #[arg(short, long)]
    pub(super) verbose: bool,
}

impl Common {
    /// What the log says of a command.
    pub(crate) fn log(&self) -> Result<&'static str, Failure> {
        let tells_all = self.verbose || Variables::load(self.env_file.as_deref())?.debug_mode();
        Ok(if tells_all { log::DEBUG } else { log::COMMAND })
    }
}

/// `adit keep`: what a unit runs.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    #[arg(long)]
    pub(super) port: Port,

    #[arg(long, value_parser = ServerAddress::parse)]
    pub(super) bastion: ServerAddress,

    #[arg(long, value_parser = LocalService::parse)]
    pub(super) target: LocalService,

    #[arg(long)]
    pub(super) bind: String,

    /// A host key of the bastion, as it stands in known_hosts behind the name
    #[arg(long)]
    pub(super) host_key: Vec<String>,

    /// The private key [default: the credential `key` that systemd hands over]
    #[arg(long)]
    pub(super) key: Option<PathBuf>,

    /// Where it is told how the tunnel is, for one that no systemd watches
    #[arg(long)]
    pub(super) folder: Option<PathBuf>,

    /// How the log on stderr is written
    #[arg(long, value_enum, default_value_t, env = "ADIT_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// `adit supervise`: what a crontab runs.
#[derive(Debug, Args)]
pub(crate) struct Supervise {
    /// The tunnel's folder
    #[arg(long)]
    pub(super) folder: PathBuf,
}
