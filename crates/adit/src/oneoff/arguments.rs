//! What can be typed behind `adit forward` and `adit share`.

use std::path::PathBuf;

use adit_core::{ForwardKind, ForwardSpec, ParseForwardError, Port};
use adit_store::agent::HostKeyPolicy;
use clap::{ArgGroup, Args, ValueEnum};
use serde::Deserialize;

use super::address::{LocalService, ServerAddress};
use crate::arguments::LogFormat;

const FORWARD_HELP: &str = "\
Examples:
  adit forward -L 8080:intranet:80 --via alice@bastion
      then open http://localhost:8080
  adit forward -D 1080 --via bastion
      then curl -x socks5h://localhost:1080 http://intranet
  adit forward -R 9000:localhost:3000 --via bastion
      the bastion's port 9000 leads to port 3000 here
  adit forward -L 5432:db:5432 -L 6379:cache:6379 --via gate -J bastion:2222
      two forwards, one login, by way of a jump

Specs are those of ssh(1). What listens here listens on loopback alone: 127.0.0.1 unless the spec names another.

The first connection has to succeed. After that it is kept up: when it is lost it is made again, for as long as it takes.
Without -i the keys of the ssh-agent log in, else the first of ~/.ssh/id_ed25519, id_ecdsa and id_rsa, else the server's questions
are asked.

Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad input, 5 the server does not let us in, 6 its host key
is not known or another one, 7 a port is busy.
With --json every change is one line on stdout, and an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

const SHARE_HELP: &str = "\
Examples:
  adit share 8000 --via jump.example.org
      publishes http://localhost:8000 at a port the jump host chooses
  adit share 8000 --via jump.example.org --port 10080
      at this port
  adit share 127.0.0.1:22 --via alice@bastion:22
      through any SSH server

The first run makes a key and shows it, with a QR code on a terminal, and waits until the server lets it in. Start your service
before or after, as you like. The share is kept up until you end it.

Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad input, 6 the host key is not known or another one.
With --json every change is one line on stdout, and an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

#[derive(Debug, Args)]
#[command(after_help = FORWARD_HELP)]
#[command(group = ArgGroup::new("forwards").required(true).multiple(true).args(["local", "dynamic", "remote"]))]
pub(crate) struct Forward {
    #[command(flatten)]
    pub(crate) specs: Specs,

    /// The private key to log in with, at the jumps too
    #[arg(short = 'i', value_name = "KEY")]
    pub(crate) identity: Option<PathBuf>,

    /// Log in with passwords: one is asked for the server, and one for each jump
    #[arg(long, conflicts_with = "identity")]
    pub(crate) password: bool,

    #[command(flatten)]
    pub(crate) way: Way,
}

/// Any number of forwards.
#[derive(Debug, Args)]
pub(crate) struct Specs {
    /// Listen here; lead to HOST as the server sees it
    #[arg(short = 'L', value_name = "[ADDR:]PORT:HOST:PORT", value_parser = local)]
    local: Vec<ForwardSpec>,

    /// Listen here as a SOCKS 5 proxy; lead to what each client asks for
    #[arg(short = 'D', value_name = "[ADDR:]PORT", value_parser = dynamic)]
    dynamic: Vec<ForwardSpec>,

    /// Let the server listen; lead to a service of this machine. With port 0 the server chooses one
    #[arg(short = 'R', value_name = "[ADDR:]PORT:localhost:PORT", value_parser = remote)]
    remote: Vec<ForwardSpec>,
}

impl Specs {
    pub(crate) fn all(&self) -> impl Iterator<Item = &ForwardSpec> {
        self.local.iter().chain(&self.dynamic).chain(&self.remote)
    }
}

#[derive(Debug, Args)]
#[command(after_help = SHARE_HELP)]
pub(crate) struct Share {
    /// What to publish: a port of this machine, or a loopback address and port
    #[arg(value_name = "[HOST:]PORT", value_parser = LocalService::parse)]
    pub(crate) service: LocalService,

    /// The port others use [default: the server chooses one]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<Port>,

    /// The private key to log in with; made if it is not there [default: share_key in the data folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) way: Way,
}

/// The way to the server, and what holds for both commands.
#[derive(Debug, Args)]
pub(crate) struct Way {
    /// The SSH server [default user: yours, and `tunnel` to share; default port: 22, and 2222 to share]
    #[arg(long, value_name = "[USER@]HOST[:PORT]", value_parser = ServerAddress::parse)]
    pub(crate) via: ServerAddress,

    /// Reach it through these servers, the first one first
    #[arg(short = 'J', long = "jump", value_name = "JUMP,…", value_delimiter = ',', value_parser = ServerAddress::parse)]
    pub(crate) jumps: Vec<ServerAddress>,

    /// What to do about a host key that is not known; one that has changed is always refused
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(crate) host_keys: HostKeys,

    /// The folder with `known_hosts` and the key of `share` [default: in the XDG state folder]; ~/.ssh/known_hosts is read too
    #[arg(long, value_name = "DIR", env = "ADIT_AGENT_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// How the log on stderr is written; ADIT_LOG says what is in it, as `info` or `adit_agent=debug` [default: nothing]
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, env = "ADIT_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HostKeys {
    /// Ask, where there is a terminal; else refuse
    #[default]
    Ask,
    /// Take and remember it
    AcceptNew,
    /// Refuse
    Strict,
}

impl From<HostKeys> for HostKeyPolicy {
    fn from(typed: HostKeys) -> Self {
        match typed {
            HostKeys::Ask => Self::Ask,
            HostKeys::AcceptNew => Self::AcceptNew,
            HostKeys::Strict => Self::Strict,
        }
    }
}

pub(crate) fn local(typed: &str) -> Result<ForwardSpec, ParseForwardError> {
    ForwardSpec::parse(ForwardKind::Local, typed)
}

pub(crate) fn dynamic(typed: &str) -> Result<ForwardSpec, ParseForwardError> {
    ForwardSpec::parse(ForwardKind::Dynamic, typed)
}

pub(crate) fn remote(typed: &str) -> Result<ForwardSpec, String> {
    let spec = ForwardSpec::parse(ForwardKind::Remote, typed).map_err(|error| error.to_string())?;
    if let ForwardSpec::Remote { target, .. } = &spec {
        // The same rule as for `adit share`, told at once.
        LocalService::new(target.host(), target.port()).map_err(|error| error.to_string())?;
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::arguments::{Arguments, Role};

    fn refused(line: &str) -> String {
        Arguments::try_parse_from(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn the_commands_of_the_help_are_understood() {
        for line in [
            "adit forward -L 8080:intranet:80 --via alice@bastion",
            "adit forward -D 1080 --via bastion",
            "adit forward -R 9000:localhost:3000 --via bastion",
            "adit forward -R 0:[::1]:3000 --via bastion --json --host-keys strict --data /d",
            "adit forward -L 5432:db:5432 -L 6379:cache:6379 --via gate -J bastion:2222",
            "adit forward -D 1080 --via gate -J alice@bastion:2222,other",
            "adit forward -L 8080:intranet:80 -i id_ed25519 --via [::1]:2222",
            "adit forward -L 8080:intranet:80 --password --via bastion",
            "adit share 8000 --via jump.example.org",
            "adit share 8000 --via tunnel@jump.example.org:2222 --port 10080 --key id",
            "adit share 127.0.0.1:22 --via alice@bastion:22",
        ] {
            Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn all_specs_of_a_line_are_taken() {
        let line = "adit forward -R 3:localhost:3 -L 1:a:1 -L 2:b:2 -D 4 --via bastion";
        let Ok(Arguments { role: Role::Forward(forward) }) = Arguments::try_parse_from(line.split(' ')) else {
            panic!("{line}")
        };
        let shown: Vec<String> = forward.specs.all().map(ToString::to_string).collect();
        assert_eq!(shown, ["L :1 → a:1", "L :2 → b:2", "D :4 SOCKS5", "R :3 → localhost:3"]);
    }

    #[test]
    fn what_would_open_a_door_to_the_lan_is_refused() {
        for address in ["0.0.0.0", "[::]", "localhost", "127.1", "192.168.1.7", "[::ffff:127.0.0.1]"] {
            for spec in [format!("-L {address}:8080:intranet:80"), format!("-D {address}:1080")] {
                let told = refused(&format!("adit forward {spec} --via bastion"));
                assert!(told.contains("must be a loopback address (127.0.0.0/8 or ::1)"), "{spec}: {told}");
            }
        }
    }

    #[test]
    fn only_services_of_this_machine_are_published() {
        for line in ["adit share 192.168.1.7:80 --via jump", "adit forward -R 80:192.168.1.7:80 --via jump"] {
            assert!(refused(line).contains("“192.168.1.7” is not this machine"), "{line}");
        }
    }

    #[test]
    fn something_has_to_be_forwarded_somewhere() {
        assert!(refused("adit forward --via bastion").contains("-L"));
        assert!(refused("adit forward -D 1080").contains("--via"));
        assert!(refused("adit share --via jump").contains("PORT"));
    }
}
