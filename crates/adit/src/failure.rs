//! The edge: every error ends here, is printed once, and becomes an exit code.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use adit_agent::agent::{AddError, SecretChangeError, StartError as TunnelError};
use adit_agent::dial::{DialError, DialFailure};
use adit_agent::known_hosts::HostKeyError;
use adit_agent::vault::VaultError;
use adit_api::Failure as Told;
use adit_api::agent::TokenError;
use adit_api::agent::client::{AskError, FindError};
use adit_api::control::{CallError, ConnectError};
use adit_core::{Obstacle, Port, Printable};
use adit_jumphost::admin::{Fault, FaultKind};
use adit_jumphost::config::{ConfigError, Origin};
use adit_jumphost::data_dir::DataDirError;
use adit_jumphost::{StartError, error_chain};
use adit_mesh::MeshError;
use adit_mesh::enrolment::{BadToken, RootError};
use adit_mesh::folder::FolderError;
use adit_mesh::keys::NoRandomness;
use adit_net::data_folder::DataFolderError;
use adit_service::supervised::SupervisedError;
use adit_service::{BadText, InstallError, RemoveError};
use adit_ssh::crypto::{KeyTextError, PrivateKeyError};
use adit_store::{OpenError, StoreError};
use thiserror::Error;

use crate::oneoff::AddressError;

/// `EX_CONFIG` of sysexits.h: the one code that tells a service manager not to try again.
const BAD_CONFIG_FILE: u8 = 78;
const BAD_INPUT: u8 = 2;
const FAILED: u8 = 1;
/// A tunnel that is asked about does not forward.
const INACTIVE: u8 = 3;
const NO_SUCH_TUNNEL: u8 = 4;
const NOT_LET_IN: u8 = 5;
const HOST_KEY: u8 = 6;
const PORT_BUSY: u8 = 7;
const AGENT_UNREACHABLE: u8 = 8;
/// 128 and SIGINT's number.
const INTERRUPTED: u8 = 130;

/// What the agent refuses because of how it was asked (RFC 9110 §15.5.1).
const BAD_REQUEST: u16 = 400;

/// Why `adit` did not do what it was asked for.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Setting(ConfigError),
    #[error("{setting} ({path})")]
    SettingInFile { path: PathBuf, setting: ConfigError },
    #[error("cannot read the configuration file {path}")]
    ConfigFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the configuration file {path} is not understood: {reason}")]
    ConfigSyntax { path: PathBuf, reason: String },
    #[error("{place} is {typed:?}, which is no log filter ({reason}); write it like info or adit_jumphost=debug")]
    LogFilter { place: &'static str, typed: String, reason: String },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    #[error(
        "there is no jump host in {path} yet; start one with `adit jumphost`, or name another folder with --data DIR"
    )]
    NoJumpHost { path: PathBuf },
    #[error("there are two jump hosts here, in {service} and in {usual}; say which one with --data DIR")]
    TwoJumpHosts { usual: PathBuf, service: PathBuf },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Call(#[from] CallError),
    /// The error of an operation that ran here, on the store alone.
    #[error("{told}")]
    Fault { kind: FaultKind, told: Told },
    #[error("cannot read the key from {path}")]
    KeyFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no key to add: {source}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
    KeyText { path: PathBuf, source: KeyTextError, hint: Option<String> },
    /// A statement or a signature.
    #[error("cannot {action} {path}")]
    ClaimFile {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--expires is {typed:?}, expected a duration such as 12h or 30d")]
    Expires { typed: String },
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("nobody says who logs in at {host}: write USER@{host}")]
    NoUser { host: String },
    #[error("there is nothing to log in with: name a key with -i KEY, or load one into an ssh-agent")]
    NoLogin,
    #[error(
        "a secret is asked for at the terminal, and there is none: give it in a file, or through standard input (-)"
    )]
    NoTerminal,
    #[error("nothing was typed; nothing was changed")]
    NothingTyped,
    /// Ended by whoever started it, who need not be told.
    #[error("interrupted")]
    Interrupted,
    #[error("a {kind} is called “{}” already: choose another name, or change that one", Printable::from(name.as_str()))]
    NameTaken { kind: &'static str, name: String },
    #[error("no tunnel can be called “all”: the word stands for every tunnel")]
    NotAName,
    /// What was typed is no command.
    #[error("{told}")]
    Usage { told: String },
    #[error("cannot use the key {path}: {source}")]
    PrivateKey { path: PathBuf, source: PrivateKeyError },
    #[error("cannot make the key {path}")]
    MakeKey {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The login of a forward; a sentence with the server in it.
    #[error("{why}")]
    NotConnected { why: String, obstacle: Option<Obstacle> },
    #[error(transparent)]
    Dial(DialError),
    #[error("nobody says which {what} is meant: give {flag}, or set {variable}")]
    Missing { what: &'static str, flag: &'static str, variable: &'static str },
    #[error("{name}: {source}")]
    BadVariable { name: String, source: AddressError },
    #[error("cannot read variables from {path}: {why}")]
    EnvFile { path: PathBuf, why: String },
    #[error(
        "{host} does not show the host key that this tunnel was set up with: somebody may be listening in between, or the server was set up anew. \
         Nothing was sent. If its new key is right, have it known to you, and run `adit setup -p {port}` again"
    )]
    PinnedHostKey { host: String, port: Port },
    #[error(
        "port {port} is held by the tunnel of this port that is installed here, under another name of the bastion: \
         `adit remove -p {port}` takes it away"
    )]
    PortIsOurs { port: Port },
    #[error("{path} is not there any more: start adit from where it is now")]
    ProgramGone { path: PathBuf },
    #[error(transparent)]
    Text(#[from] BadText),
    #[error(
        "the key {path} has a passphrase, which nobody types for a service: make one of its own for this with \
         `ssh-keygen -t ed25519 -N '' -f FILE`, and have the bastion take it for this port alone (restrict,port-forwarding,permitlisten=…)"
    )]
    KeyWithPassphrase { path: PathBuf },
    #[error("nothing answers on {service}: start the service first, or name another with --target [HOST:]PORT")]
    NoService { service: String },
    #[error(
        "{bastion} does not listen on port {port} for us: another session holds it, or it is not allowed there (AllowTcpForwarding, \
         PermitListen); end what holds it, or choose another port with -p"
    )]
    PortRefused { port: Port, bastion: String },
    #[error("{bastion} does not answer the request for port {port}")]
    PortUnanswered { port: Port, bastion: String },
    #[error("port {port} has a tunnel already ({place}): `adit remove -p {port}` takes it away")]
    ElsewhereAlready { port: Port, place: String },
    #[error("there is no tunnel of port {port}; `adit status` shows what there is")]
    NoTunnel { port: Port },
    #[error("port {port} has several tunnels: say which one is meant ({places})")]
    InSeveralPlaces { port: Port, places: String },
    #[error(
        "the tunnel of port {port} is installed, and not connected yet{}; it goes on trying, and `adit status -p {port}` tells how it is",
        why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    NotUpYet { port: Port, why: Option<String> },
    /// What was asked about was told already.
    #[error("not connected")]
    Inactive,
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Uninstall(#[from] RemoveError),
    #[error(transparent)]
    Supervise(#[from] SupervisedError),
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    #[error(transparent)]
    Record(#[from] AddError),
    #[error(transparent)]
    Secret(#[from] SecretChangeError),
    #[error(transparent)]
    Records(#[from] StoreError),
    #[error("cannot listen on {address} for the agent; choose another with --listen ADDR:PORT")]
    AgentListen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("cannot read a secret from {path}")]
    SecretFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("what was typed first and second is not the same; nothing was changed")]
    TypedDifferently,
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the agent has ended")]
    AgentEnded,
    #[error("there is no {kind} “{}”; `{list}` shows what there is", Printable::from(typed.as_str()))]
    NoSuch { kind: &'static str, typed: String, list: &'static str },
    #[error("more than one {kind} is called “{}”: name one by its id ({ids})", Printable::from(typed.as_str()))]
    Ambiguous { kind: &'static str, typed: String, ids: String },
    #[error("nothing says what to change; `{command} --help` shows what there is")]
    NothingToChange { command: &'static str },
    #[error("nothing says how it logs in: give --key FILE, --password, --ssh-agent or --keyboard-interactive")]
    NoMethod,
    #[error(
        "the host key of {host} is not known: it shows {key_type} {shown}. Compare that with the server's own, then give \
         --accept-host-key {shown}, or use a terminal to be asked"
    )]
    UnknownHostKey { host: String, key_type: String, shown: String },
    #[error(
        "{host} is known by {known}, and shows {key_type} {shown} now. Compare that with the server's own, then give \
         --replace --accept-host-key {shown}, or --replace at a terminal to be asked"
    )]
    ChangedHostKey { host: String, known: String, key_type: String, shown: String },
    #[error("the host key of {host} is {shown}, which is not the accepted one; nothing was remembered")]
    OtherHostKey { host: String, shown: String },
    #[error("the host key of {host} was declined; nothing was remembered")]
    HostKeyDeclined { host: String },
    /// A tunnel of the agent did not come up; its code, where it is one of those that the agent has for it.
    #[error("{why}")]
    NotUp { why: String, code: Option<String> },
    /// A trial that was shown up to the stage that failed.
    #[error("{told}")]
    Trial { told: Told, stage: Option<String> },
    /// Of several that were to be started; a sentence of each.
    #[error("{told}")]
    SomeFailed { told: String },
    #[error("cannot write manual pages to {folder}")]
    ManualPages {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen on {address} for language models; choose another port with --port")]
    McpListen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// A program that was to be a client of language models' protocol.
    #[error("the client does not speak the Model Context Protocol")]
    McpClient(#[source] io::Error),
    #[error("a client has to know the port: give the one that `adit mcp start --transport http` has with --port")]
    NoMcpPort,
    #[error(
        "the tunnel of port {port} is one of the system, which only whoever starts the server may have removed: `adit mcp start --allow-system`"
    )]
    SystemTunnel { port: Port },
    #[error("{told} found something wrong")]
    NotReady { told: String },
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error(transparent)]
    MeshRoot(#[from] RootError),
    #[error(transparent)]
    MeshFolder(#[from] FolderError),
    #[error(transparent)]
    MeshToken(#[from] BadToken),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("{}{error}", InFile(path))]
    MeshSetting { path: PathBuf, error: adit_mesh::ConfigError },
    #[error("cannot listen on {address} for the dashboard; choose another address in `mesh.http`, or `off`")]
    MeshHttp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no mesh agent runs on {folder}; start one with `adit mesh run`, or name its folder with --data DIR")]
    NoMeshAgent { folder: PathBuf },
    #[error(
        "the mesh agent of {folder} hears no commands, since `mesh.http` is `off` in its configuration; set an address there and restart it"
    )]
    DeafMeshAgent { folder: PathBuf },
    #[error("cannot use the list of revocations {path}")]
    RevocationFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("an agent without any right is good for nothing: give --publish, --listen or --transit")]
    NoRights,
    #[error("{folder} belongs to a member of another mesh; name another folder for this one with --data DIR")]
    OtherMesh { folder: PathBuf },
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
}

impl Failure {
    /// A setting that cannot be used; one that stands in the configuration file is told with the file's path.
    pub(crate) fn from_setting(source: ConfigError, file: PathBuf) -> Self {
        match source.origin {
            Origin::File => Self::SettingInFile { path: file, setting: source },
            Origin::Flag | Origin::Environment => Self::Setting(source),
        }
    }

    /// What was typed is no command. Its first paragraph says so; the others teach, and have no place in one line.
    pub(crate) fn from_usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let first: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
        let told = first.join(" ");
        Self::Usage { told: told.strip_prefix("error: ").unwrap_or(&told).to_owned() }
    }

    /// A login of this command's own. What is to be done about a host key that is not known is what somebody can do here.
    pub(crate) fn from_dial(error: DialError) -> Self {
        match *error.why {
            DialFailure::HostKey(HostKeyError::Unknown { host, key, .. }) => Self::UnknownHostKey {
                host: host.to_string(),
                key_type: key.key_type().to_owned(),
                shown: key.fingerprint().to_string(),
            },
            DialFailure::HostKey(HostKeyError::Declined { host, fingerprint }) => {
                Self::OtherHostKey { host: host.to_string(), shown: fingerprint.to_string() }
            }
            why => Self::Dial(DialError { why: Box::new(why), ..error }),
        }
    }

    pub(crate) fn from_fault(fault: &impl Fault) -> Self {
        Self::Fault { kind: fault.kind(), told: Told::from_fault(fault) }
    }

    /// Is it that an agent is not, or no longer, a member of a mesh?
    pub(crate) fn is_no_member(&self) -> bool {
        matches!(
            self,
            Self::Mesh(MeshError::NoMember { .. } | MeshError::Folder(FolderError::NotEnrolled { .. }))
                | Self::MeshFolder(FolderError::NotEnrolled { .. })
        )
    }

    /// Prints the error on stderr; standard output is for answers.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        let exit = self.exit();
        if exit == INTERRUPTED || matches!(self, Self::Inactive) {
            return ExitCode::from(exit);
        }
        let told = self.told();
        match serde_json::to_string(&told) {
            Ok(line) if json => eprintln!("{line}"),
            _ => eprintln!("adit: {told}"),
        }
        ExitCode::from(exit)
    }

    /// The error as programs hear it.
    pub(crate) fn told(&self) -> Told {
        Told { error: self.sentence(), code: self.code().to_owned(), retry_after: None }
    }

    /// The error with its causes.
    pub(crate) fn sentence(&self) -> String {
        match self {
            // These have said their cause already.
            Self::Fault { told, .. } | Self::Call(CallError::Fault { failure: told, .. }) => told.error.clone(),
            Self::KeyText { .. } | Self::PrivateKey { .. } | Self::Trial { .. } => self.to_string(),
            other => error_chain(other),
        }
    }

    fn exit(&self) -> u8 {
        match self {
            Self::ConfigFile { .. } | Self::ConfigSyntax { .. } | Self::SettingInFile { .. } => BAD_CONFIG_FILE,
            Self::MeshSetting { .. } | Self::Mesh(MeshError::Config(_) | MeshError::NoRight { .. }) => BAD_CONFIG_FILE,
            Self::MeshToken(_) | Self::NoRights | Self::OtherMesh { .. } => BAD_INPUT,
            Self::MeshRoot(RootError::NameTaken { .. } | RootError::NoSuchName { .. } | RootError::TooManyPatterns) => {
                BAD_INPUT
            }
            Self::NoMeshAgent { .. } | Self::DeafMeshAgent { .. } => AGENT_UNREACHABLE,
            Self::MeshHttp { source, .. } | Self::Mesh(MeshError::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                PORT_BUSY
            }
            Self::Mesh(MeshError::Listener(error)) if error.is_busy() => PORT_BUSY,
            Self::Setting(_) | Self::LogFilter { .. } | Self::KeyText { .. } | Self::Expires { .. } => BAD_INPUT,
            Self::KeyFile { .. } | Self::ClaimFile { .. } | Self::PrivateKey { .. } => BAD_INPUT,
            Self::NothingTyped | Self::NameTaken { .. } | Self::NotAName | Self::Usage { .. } => BAD_INPUT,
            Self::TwoJumpHosts { .. } | Self::NoMcpPort => BAD_INPUT,
            // As shells count a program that SIGINT ended.
            Self::Interrupted => INTERRUPTED,
            Self::SecretFile { .. } | Self::NothingToChange { .. } | Self::NoMethod | Self::TypedDifferently => {
                BAD_INPUT
            }
            Self::Ask(AskError::Refused { status, .. }) if status.as_u16() == BAD_REQUEST => BAD_INPUT,
            Self::Missing { .. } | Self::BadVariable { .. } | Self::EnvFile { .. } | Self::Text(_) => BAD_INPUT,
            Self::KeyWithPassphrase { .. }
            | Self::InSeveralPlaces { .. }
            | Self::Install(InstallError::Program(_) | InstallError::Text(_)) => BAD_INPUT,
            Self::NotUpYet { .. } | Self::Inactive => INACTIVE,
            Self::NoTunnel { .. } | Self::NoSuch { kind: "tunnel", .. } => NO_SUCH_TUNNEL,
            Self::NotConnected { obstacle: Some(obstacle), .. } => of_obstacle(*obstacle),
            Self::Dial(error) => error.obstacle().map_or(FAILED, of_obstacle),
            Self::NotUp { code, .. } => match code.as_deref() {
                Some("HOST_KEY") => HOST_KEY,
                Some("LOGIN") => NOT_LET_IN,
                Some("PORT_BUSY") => PORT_BUSY,
                _ => FAILED,
            },
            Self::Trial { stage, .. } => match stage.as_deref() {
                Some("host_key") => HOST_KEY,
                Some("credentials" | "login") => NOT_LET_IN,
                _ => FAILED,
            },
            Self::Ask(AskError::Refused { failure, .. }) if failure.code == "PORT_BUSY" => PORT_BUSY,
            Self::UnknownHostKey { .. } | Self::ChangedHostKey { .. } | Self::OtherHostKey { .. } => HOST_KEY,
            Self::HostKeyDeclined { .. } | Self::HostKey(_) | Self::PinnedHostKey { .. } => HOST_KEY,
            Self::PortIsOurs { .. } | Self::PortRefused { .. } | Self::Tunnel(TunnelError::NotBound(_)) => PORT_BUSY,
            Self::AgentListen { source, .. } | Self::Start(StartError::Bind { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                PORT_BUSY
            }
            Self::Find(FindError::Token(_)) => FAILED,
            Self::Find(_) | Self::AgentEnded | Self::Ask(AskError::Lost { .. }) => AGENT_UNREACHABLE,
            Self::Address(_) | Self::NoUser { .. } | Self::Record(AddError::Invalid(_)) => BAD_INPUT,
            Self::Fault { kind, .. } | Self::Call(CallError::Fault { kind, .. }) => match kind {
                FaultKind::BadInput => BAD_INPUT,
                FaultKind::NotFound | FaultKind::Conflict | FaultKind::Internal => FAILED,
                FaultKind::SignedOut | FaultKind::Forbidden | FaultKind::TooMany => FAILED,
            },
            _ => FAILED,
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Setting(_) | Self::SettingInFile { .. } => "bad-setting",
            Self::ConfigFile { .. } | Self::ConfigSyntax { .. } => "bad-config-file",
            Self::LogFilter { .. } => "bad-log-filter",
            Self::DataDir(error) | Self::Start(StartError::DataDir(error)) => data_dir_code(error),
            Self::DataFolder(error) => data_folder_code(error),
            Self::NoJumpHost { .. } => "no-jump-host",
            Self::TwoJumpHosts { .. } => "two-jump-hosts",
            Self::Store(_) | Self::Start(StartError::Store(_) | StartError::Directory(_)) => "store-unusable",
            Self::Start(StartError::OidcSecret { .. }) => "unreadable-oidc-secret",
            Self::Start(StartError::Bind { .. } | StartError::ForwardAddress { .. }) => "cannot-listen",
            Self::Start(StartError::Control { .. }) => "no-control-socket",
            Self::Connect(_) => "control-socket-unreachable",
            Self::Call(CallError::Lost { .. }) => "no-answer",
            Self::Fault { told, .. } | Self::Call(CallError::Fault { failure: told, .. }) => &told.code,
            Self::KeyFile { .. } => "unreadable-key-file",
            Self::KeyText { .. } => "bad-key",
            Self::ClaimFile { .. } => "claim-file-unusable",
            Self::Expires { .. } => "bad-expiry",
            Self::Address(_) => "bad-address",
            Self::NoUser { .. } => "no-user",
            Self::NoLogin => "no-key",
            Self::NoTerminal => "no-terminal",
            Self::NothingTyped => "nothing-typed",
            Self::Interrupted => "interrupted",
            Self::NameTaken { .. } => "name-taken",
            Self::NotAName => "bad-name",
            Self::Usage { .. } => "usage",
            Self::PrivateKey { .. } => "bad-key",
            Self::MakeKey { .. } => "cannot-write-key",
            Self::NotConnected { obstacle, .. } => obstacle.map_or("not-connected", obstacle_code),
            Self::Dial(error) => error.obstacle().map_or("not-connected", obstacle_code),
            Self::Missing { .. } => "missing-setting",
            Self::BadVariable { .. } => "bad-address",
            Self::EnvFile { .. } => "unreadable-env-file",
            Self::Text(_) | Self::Install(InstallError::Program(_) | InstallError::Text(_)) => "bad-text",
            Self::KeyWithPassphrase { .. } => "key-has-passphrase",
            Self::NoService { .. } => "no-service",
            Self::PortRefused { .. } | Self::PortIsOurs { .. } => "port-busy",
            Self::ProgramGone { .. } => "cannot-start",
            Self::PinnedHostKey { .. } => "host-key",
            Self::PortUnanswered { .. } => "no-answer",
            Self::ElsewhereAlready { .. } => "tunnel-elsewhere",
            Self::NoTunnel { .. } => "no-such-tunnel",
            Self::InSeveralPlaces { .. } => "several-tunnels",
            Self::NotUpYet { .. } | Self::Inactive => "not-connected",
            Self::HostKey(_) => "host-key",
            Self::Install(InstallError::NotRoot) | Self::Uninstall(RemoveError::NotRoot { .. }) => "not-root",
            Self::Install(InstallError::NoSystemd(_)) => "no-systemd",
            Self::Install(_) | Self::Supervise(_) => "cannot-install",
            Self::Uninstall(_) => "cannot-remove",
            Self::Tunnel(TunnelError::NotBound(_)) => "cannot-listen",
            Self::Tunnel(_) | Self::Record(_) | Self::Secret(_) | Self::Records(_) => "cannot-forward",
            Self::AgentListen { .. } => "cannot-listen",
            Self::Token(_) | Self::Find(FindError::Token(_)) => "token-unusable",
            Self::Vault(VaultError::WrongPassphrase(_)) => "wrong-passphrase",
            Self::Vault(_) => "secrets-unusable",
            Self::SecretFile { .. } => "unreadable-secret-file",
            Self::TypedDifferently => "typed-differently",
            Self::Find(FindError::NotRunning { .. }) | Self::AgentEnded => "no-agent",
            Self::Find(_) => "agent-unreachable",
            Self::Ask(AskError::Refused { failure, .. }) => &failure.code,
            Self::Ask(AskError::Lost { .. }) => "no-answer",
            Self::NotUp { .. } => "not-connected",
            Self::Trial { told, .. } => &told.code,
            Self::NoSuch { .. } => "not-found",
            Self::Ambiguous { .. } => "ambiguous-name",
            Self::NothingToChange { .. } => "nothing-to-change",
            Self::NoMethod => "no-method",
            Self::UnknownHostKey { .. } => "unknown-host-key",
            Self::ChangedHostKey { .. } => "changed-host-key",
            Self::OtherHostKey { .. } => "other-host-key",
            Self::HostKeyDeclined { .. } => "host-key-declined",
            Self::SomeFailed { .. } => "some-failed",
            Self::McpListen { .. } => "cannot-listen",
            Self::McpClient(_) => "bad-client",
            Self::NoMcpPort => "usage",
            Self::SystemTunnel { .. } => "not-allowed",
            Self::NotReady { .. } => "not-ready",
            Self::MeshSetting { .. } | Self::Mesh(MeshError::Config(_)) => "bad-setting",
            Self::Mesh(MeshError::NoRight { .. }) => "no-right",
            Self::Mesh(MeshError::NoMember { .. }) => "no-member",
            Self::Mesh(MeshError::Listen { .. } | MeshError::Listener(_)) | Self::MeshHttp { .. } => "cannot-listen",
            Self::Mesh(MeshError::System(_)) => "cannot-start",
            Self::Mesh(MeshError::Folder(error)) | Self::MeshFolder(error) => mesh_folder_code(error),
            Self::MeshRoot(error) => match error {
                RootError::Folder(error) => data_folder_code(error),
                RootError::Exists { .. } => "root-exists",
                RootError::Missing { .. } => "no-root",
                RootError::NameTaken { .. } => "name-taken",
                RootError::NoSuchName { .. } => "not-found",
                _ => "root-unusable",
            },
            Self::MeshToken(_) => "bad-token",
            Self::NoMeshAgent { .. } | Self::DeafMeshAgent { .. } => "no-agent",
            Self::RevocationFile { .. } => "list-unusable",
            Self::NoRights => "no-right",
            Self::OtherMesh { .. } => "other-mesh",
            Self::NoRandomness(_) => "cannot-start",
            Self::Runtime(_) => "cannot-start",
            Self::Output(_) | Self::ManualPages { .. } => "cannot-write",
        }
    }
}

fn obstacle_code(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::HostKey => "host-key",
        Obstacle::Credentials => "not-let-in",
        Obstacle::Records => "not-connected",
    }
}

fn of_obstacle(obstacle: Obstacle) -> u8 {
    match obstacle {
        Obstacle::HostKey => HOST_KEY,
        Obstacle::Credentials => NOT_LET_IN,
        Obstacle::Records => FAILED,
    }
}

fn mesh_folder_code(error: &FolderError) -> &'static str {
    match error {
        FolderError::Folder(error) => data_folder_code(error),
        FolderError::NotEnrolled { .. } => "not-joined",
        FolderError::Broken { .. } => "data-folder-unusable",
    }
}

/// Which file a setting stands in, where one was read.
struct InFile<'a>(&'a std::path::Path);

impl std::fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.as_os_str().is_empty() { Ok(()) } else { write!(f, "{}: ", self.0.display()) }
    }
}

fn data_dir_code(error: &DataDirError) -> &'static str {
    match error {
        DataDirError::Folder(error) => data_folder_code(error),
        DataDirError::BrokenHostKey { .. } => "broken-host-key",
        DataDirError::MakeHostKey(_) => "data-folder-unusable",
    }
}

fn data_folder_code(error: &DataFolderError) -> &'static str {
    match error {
        DataFolderError::Busy { .. } => "already-running",
        _ => "data-folder-unusable",
    }
}
