//! What can be typed on the command line. Values stay text here: they are read together with those of the environment and the
//! file, by `adit_jumphost::config`.

use std::path::PathBuf;

use adit_jumphost::RawConfig;
use adit_jumphost::admin::LimitChange;
use adit_jumphost::config::{Origin, Typed, parse_size};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::oneoff::arguments as oneoff;
use crate::{agent, client, completions, man, mcp, mesh, python_apis, service};

const HELP: &str = "\
`adit --help-recursive` prints the help of every command.

Exit codes: 0 done, 1 failed, 2 bad input, 3 a tunnel that is asked about is not connected,
4 there is no such tunnel, 5 a server does not let us in, 6 its host key is not known or another one,
7 a port is busy, 8 no agent is reached, 78 bad configuration file.";

/// Publishes and reaches services that have no public address.
#[derive(Debug, Parser)]
#[command(name = "adit", version, arg_required_else_help = true, after_help = HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) role: Role,
}

/// What this machine is to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Run a jump host: others share their services through it with plain `ssh -R`
    Jumphost(Jumphost),
    /// Forward ports through an SSH server for as long as the command runs: -L, -D and -R as with ssh
    Forward(oneoff::Forward),
    /// Publish a service of this machine at a port of a jump host
    Share(oneoff::Share),
    /// Keep a port of a bastion leading here, from boot on: as a systemd unit, or without systemd
    Setup(service::arguments::SetUp),
    /// Show how the tunnels of `adit setup` are
    Status(service::arguments::Status),
    /// Take a tunnel of `adit setup` away
    Remove(service::arguments::Remove),
    /// Run a local agent: saved tunnels that start, heal and are scriptable
    Agent(agent::arguments::Arguments),
    /// Open the agent's page in a browser
    Open(client::open::Arguments),
    /// Save, start, test and watch tunnels of the agent
    Tunnel(client::tunnel::Arguments),
    /// Save who logs in, and with what
    Profile(client::profile::Arguments),
    /// Save servers that others are reached through
    Jump(client::jump::Arguments),
    /// Save hosts with forwards that come and go with the connection
    Session(client::session::Arguments),
    /// Save what ~/.ssh/config has: hosts, their forwards and their jumps
    Import(client::import::Arguments),
    /// Judge host keys that are not known, or have changed
    Host(client::host::Arguments),
    /// Lock and unlock the agent's passwords and passphrases
    Secrets(client::secrets::Arguments),
    /// Change what holds for the agent as a whole
    Settings(client::settings::Arguments),
    /// Join machines into a mesh: services reached by routing keys, over many hops
    Mesh(mesh::arguments::Arguments),
    /// Let a language model set up tunnels: a server of the Model Context Protocol
    Mcp(mcp::arguments::Arguments),
    /// Print what the Python module adit has
    ListPythonApis(python_apis::Arguments),
    /// Print a script with which a shell completes all of this
    Completions(completions::Arguments),
    /// Keep one tunnel up: what a unit runs
    #[command(hide = true)]
    Keep(service::arguments::Keep),
    /// Watch one tunnel in the background: what a crontab runs
    #[command(hide = true)]
    Supervise(service::arguments::Supervise),
    /// Print the help of every command
    #[command(hide = true, long_flag = "help-recursive")]
    HelpRecursive,
    /// Write a manual page for every command
    #[command(hide = true)]
    Man(man::Arguments),
}

impl Role {
    /// Whether errors are told as JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Role::Jumphost(arguments) => arguments.json,
            Role::Forward(arguments) => arguments.way.json,
            Role::Share(arguments) => arguments.way.json,
            Role::Agent(arguments) => arguments.json,
            Role::Open(arguments) => arguments.common.json,
            Role::Tunnel(arguments) => arguments.common.json,
            Role::Profile(arguments) => arguments.common.json,
            Role::Jump(arguments) => arguments.common.json,
            Role::Session(arguments) => arguments.common.json,
            Role::Import(arguments) => arguments.common.json,
            Role::Host(arguments) => arguments.common.json,
            Role::Secrets(arguments) => arguments.common.json,
            Role::Settings(arguments) => arguments.common.json,
            Role::Mcp(arguments) => arguments.json(),
            Role::Mesh(arguments) => arguments.common.json,
            Role::Setup(arguments) => arguments.common.json,
            Role::Status(arguments) => arguments.common.json,
            Role::Remove(arguments) => arguments.common.json,
            Role::Keep(_) | Role::Supervise(_) => false,
            Role::ListPythonApis(arguments) => arguments.json,
            Role::Completions(_) | Role::HelpRecursive | Role::Man(_) => false,
        }
    }
}

const AFTER_HELP: &str = "\
Every setting can also stand in the configuration file, under `jumphost:`, or in the environment: \
`limits.visitors_per_port` is ADIT_JUMPHOST_LIMITS_VISITORS_PER_PORT. \
Flags win over the environment, the environment over the file.

Exit codes: 0 done, 1 failed, 2 bad input, 78 bad configuration file.
With --json an error is one line on stderr: {\"error\": \"a sentence\", \"code\": \"a-stable-name\"}";

const CLAIM_HELP: &str = "\
Three steps, within 15 minutes; the second runs where the private key is:
  adit jumphost key claim bob id.pub
  ssh-keygen -Y sign -n adit-key-claim -f id id.pub.claim
  adit jumphost key claim bob id.pub --signature id.pub.claim.sig
The sessions that the other account has with the key are ended.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Jumphost {
    /// The folder with the host key, the accounts and all else it keeps [default: in the XDG state folder]
    #[arg(long, global = true, value_name = "DIR", env = "ADIT_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// How the log on stderr is written; ADIT_LOG says what is in it, as `debug` or `adit_jumphost=trace`
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t, env = "ADIT_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,

    #[command(flatten)]
    pub(crate) run: RunFlags,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Flags of the server itself; they make no sense before a command.
#[derive(Debug, Args)]
pub(crate) struct RunFlags {
    /// Where SSH clients log in; port 0 lets the system choose [default: 127.0.0.1:2222]
    #[arg(long, value_name = "ADDR:PORT")]
    ssh: Option<String>,

    /// Where the dashboard, /health and /metrics answer [default: 127.0.0.1:8022]
    #[arg(long, value_name = "ADDR:PORT")]
    web: Option<String>,

    /// The dashboard's address for people, where a reverse proxy stands before it, such as https://jump.example.org
    #[arg(long, value_name = "URL")]
    web_url: Option<String>,

    /// The address of this machine where forwarded ports listen [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    forward_address: Option<String>,

    /// The name or address of this machine in commands for other people
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,

    /// The ports that clients may ask for [default: 10000-60000]
    #[arg(long, value_name = "FIRST-LAST")]
    ports: Option<String>,

    /// The configuration file [default: adit/config.yaml in the XDG configuration folder, if it is there]
    #[arg(long, value_name = "FILE", env = "ADIT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add, list, change or remove accounts
    #[command(subcommand)]
    Account(AccountCommand),
    /// Make a link with which somebody makes an account at the dashboard
    Invite(InviteArguments),
    /// List, set or remove tiers: what the accounts of one may use
    #[command(subcommand)]
    Tier(TierCommand),
    /// Add, list or remove the keys of accounts
    #[command(subcommand)]
    Key(KeyCommand),
    /// Who is logged in
    Sessions,
    /// Which ports are open, and whose they are
    Ports,
    /// End one session
    Kick {
        /// Its number, as `sessions` shows it
        session: u64,
    },
    /// What happened, the newest first
    Audit {
        /// At most so many events
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Add an account
    Add {
        /// Its name: a-z, 0-9, and . _ - after the first
        name: String,
        /// Its tier [default: community]
        #[arg(long)]
        tier: Option<String>,
        /// It may administer the jump host
        #[arg(long)]
        admin: bool,
    },
    /// List the accounts
    List,
    /// Change an account; live sessions follow at once
    Change(AccountChanges),
    /// Make a link with which the holder of an account sets its password
    PasswordLink {
        /// Its name
        name: String,
    },
    /// Remove an account with its keys, and end its sessions
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InviteArguments {
    /// The account's name [default: the guest chooses one]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// Its tier [default: community]
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// It may administer the jump host
    #[arg(long)]
    pub(crate) admin: bool,
    /// How long the link is good, 30d at most [default: 7d]
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires: Option<String>,
}

/// What is not given stays as it is; at least one is.
#[derive(Debug, Args)]
pub(crate) struct AccountChanges {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) to: AccountSettings,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct AccountSettings {
    /// Its tier
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// Whether it may administer the jump host
    #[arg(long, value_name = "BOOL")]
    pub(crate) admin: Option<bool>,
    /// Whether it is locked out, which ends its sessions
    #[arg(long, value_name = "BOOL")]
    pub(crate) disabled: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TierCommand {
    /// List the tiers and their limits
    List,
    /// Make a tier, or change limits of one; live sessions follow at once
    Set(TierLimits),
    /// Remove a tier that no account is on
    Remove {
        /// Its name
        name: String,
    },
}

/// What is not given stays as it is. `default` is what the configuration file says for all tiers; 0 is no limit.
#[derive(Debug, Args)]
pub(crate) struct TierLimits {
    /// Its name: a-z, 0-9, and . _ - after the first
    pub(crate) name: String,
    /// Remote forwards an account holds at a time; 0 is no limit, `default` the server's
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    pub(crate) forwards: Option<LimitChange>,
    /// Visitors at a time at one port
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    pub(crate) visitors_per_port: Option<LimitChange>,
    /// Visitors at a time at all ports of an account
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    pub(crate) visitors: Option<LimitChange>,
    /// What all visitors of an account send to its services, in bytes per second
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    pub(crate) bandwidth_to_owner: Option<LimitChange>,
    /// What the services of an account send to all its visitors, in bytes per second
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    pub(crate) bandwidth_to_visitors: Option<LimitChange>,
}

fn limit(typed: &str) -> Result<LimitChange, &'static str> {
    let number = || typed.parse().map(LimitChange::Limit);
    if typed == "default" { Ok(LimitChange::Default) } else { number().map_err(|_| "a whole number, or `default`") }
}

fn rate(typed: &str) -> Result<LimitChange, &'static str> {
    let number = || parse_size(typed).map(LimitChange::Limit);
    if typed == "default" {
        Ok(LimitChange::Default)
    } else {
        number().ok_or("bytes per second, such as 1000000 or 1MB, or `default`")
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Give an account a public key
    Add {
        /// The account
        account: String,
        /// What you call the key [default: its comment]
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
        /// How long it may log in, such as 12h or 30d [default: until it is removed]
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
        /// The only ports it may ask for
        #[arg(long, value_name = "FIRST-LAST")]
        ports: Option<String>,
        /// The `.pub` file, or - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Move a key that another account holds, with a signature made with it
    Claim(ClaimArguments),
    /// List the keys of an account, or of all
    List {
        /// The account
        account: Option<String>,
    },
    /// Take a key from an account, and end the sessions that logged in with it
    Remove {
        /// The account
        account: String,
        /// The key, as `key list` shows it
        fingerprint: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = CLAIM_HELP)]
pub(crate) struct ClaimArguments {
    /// The account that is to have the key
    pub(crate) account: String,
    /// The `.pub` file
    pub(crate) file: PathBuf,
    /// The signature; without one the statement to sign is written, and the next commands are shown
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// The statement [default: the `.pub` file's name and `.claim`]
    #[arg(long, value_name = "FILE")]
    pub(crate) statement: Option<PathBuf>,
    /// What you call the key [default: its comment]
    #[arg(long, value_name = "TEXT", requires = "signature")]
    pub(crate) label: Option<String>,
    /// How long it may log in, such as 12h or 30d [default: until it is removed]
    #[arg(long, value_name = "DURATION", requires = "signature")]
    pub(crate) expires: Option<String>,
    /// The only ports it may ask for
    #[arg(long, value_name = "FIRST-LAST", requires = "signature")]
    pub(crate) ports: Option<String>,
}

impl Jumphost {
    /// A flag of the server before a command would be silently without effect; clap cannot tell the two apart, because it would
    /// refuse the global flags as well. Ends the program where there is one.
    pub(crate) fn refuse_misplaced_flags(&self) {
        if let (Some(_), Some(flag)) = (&self.command, self.run.first_given()) {
            let told = format!("{flag} is for running the jump host; a command takes --data, --json and --log-format");
            Arguments::command().error(ErrorKind::ArgumentConflict, told).exit();
        }
    }
}

impl RunFlags {
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--ssh", &self.ssh),
            ("--web", &self.web),
            ("--web-url", &self.web_url),
            ("--forward-address", &self.forward_address),
            ("--advertise", &self.advertise),
            ("--ports", &self.ports),
        ];
        given.into_iter().find(|(_, value)| value.is_some()).map(|(flag, _)| flag)
    }

    /// The flags as settings.
    pub(crate) fn settings(&self) -> RawConfig {
        let typed = |value: &Option<String>| value.as_ref().map(|text| Typed::new(text, Origin::Flag));
        RawConfig {
            ssh: typed(&self.ssh),
            web: typed(&self.web),
            web_url: typed(&self.web_url),
            forward_address: typed(&self.forward_address),
            advertise: typed(&self.advertise),
            ports: typed(&self.ports),
            ..RawConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Jumphost, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| match arguments.role {
            Role::Jumphost(jumphost) => jumphost,
            other => panic!("{line}: {other:?}"),
        })
    }

    #[test]
    fn the_definitions_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn data_and_json_stand_before_or_after_a_command() {
        for line in [
            "adit jumphost --data /d --json account add alice --tier pro --admin",
            "adit jumphost account add alice --tier pro --admin --data /d --json",
            "adit jumphost account --json add --data /d alice --admin --tier pro",
        ] {
            let arguments = parse(line).unwrap();
            assert!(arguments.json, "{line}");
            assert_eq!(arguments.data.as_deref(), Some("/d".as_ref()), "{line}");
            let Some(Command::Account(AccountCommand::Add { name, tier, admin })) = arguments.command else {
                panic!("{line}")
            };
            assert_eq!((name.as_str(), tier.as_deref(), admin), ("alice", Some("pro"), true));
        }
    }

    #[test]
    fn a_key_comes_from_a_file_or_from_standard_input() {
        for (line, expected) in [
            ("adit jumphost key add alice", "-"),
            ("adit jumphost key add alice -", "-"),
            ("adit jumphost key add alice --label laptop id.pub", "id.pub"),
        ] {
            let Some(Command::Key(KeyCommand::Add { file, .. })) = parse(line).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!(file, PathBuf::from(expected), "{line}");
        }
    }

    #[test]
    fn the_commands_of_the_manual_are_understood() {
        for line in [
            "adit jumphost",
            "adit jumphost --ssh 0.0.0.0:2222 --web 127.0.0.1:0 --forward-address 10.8.0.1 --advertise jump --ports 10000-60000",
            "adit jumphost --data /d --config /c.yaml",
            "adit jumphost account list",
            "adit jumphost account change alice --tier pro --admin true --disabled false",
            "adit jumphost tier list",
            "adit jumphost tier set pro",
            "adit jumphost tier set pro --forwards 50 --visitors-per-port 0 --visitors default",
            "adit jumphost tier set pro --bandwidth-to-owner 1000000 --bandwidth-to-visitors 2MB",
            "adit jumphost tier remove pro",
            "adit jumphost --web-url https://jump.example.org",
            "adit jumphost account remove alice",
            "adit jumphost account password-link alice",
            "adit jumphost invite",
            "adit jumphost invite --account alice --tier pro --admin --expires 7d",
            "adit jumphost key list",
            "adit jumphost key list alice",
            "adit jumphost key remove alice SHA256:x",
            "adit jumphost key claim bob id.pub",
            "adit jumphost key claim bob id.pub --statement s --signature s.sig --label x --expires 1h --ports 1-2",
            "adit jumphost sessions",
            "adit jumphost ports",
            "adit jumphost kick 7",
            "adit jumphost audit",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn a_limit_is_a_number_or_the_default() {
        let set = |line: &str| match parse(line).unwrap().command {
            Some(Command::Tier(TierCommand::Set(limits))) => limits,
            _ => panic!("{line}"),
        };
        let limits = set("adit jumphost tier set pro --forwards 0 --visitors default --bandwidth-to-owner 2MB");
        assert_eq!((limits.forwards, limits.visitors), (Some(LimitChange::Limit(0)), Some(LimitChange::Default)));
        assert_eq!(
            (limits.bandwidth_to_owner, limits.bandwidth_to_visitors),
            (Some(LimitChange::Limit(2_000_000)), None)
        );
        for bad in ["--forwards -1", "--forwards 1MB", "--bandwidth-to-owner fast", "--visitors"] {
            assert!(parse(&format!("adit jumphost tier set pro {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_of_an_account_says_what() {
        for bad in ["", " --admin", " --admin maybe", " --disabled 2"] {
            assert!(parse(&format!("adit jumphost account change alice{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flag_of_the_server_is_seen_before_a_command() {
        assert_eq!(parse("adit jumphost --ports 1-2 sessions").unwrap().run.first_given(), Some("--ports"));
        assert_eq!(parse("adit jumphost --data /d sessions").unwrap().run.first_given(), None);
    }
}
