//! The edge: every error ends here, is printed once, and becomes an exit code.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use adit_agent::agent::{AddError, SecretChangeError, StartError as TunnelError};
use adit_agent::vault::VaultError;
use adit_api::Failure as Told;
use adit_api::agent::TokenError;
use adit_api::agent::client::{AskError, FindError};
use adit_api::control::{CallError, ConnectError};
use adit_core::Printable;
use adit_jumphost::admin::{Fault, FaultKind};
use adit_jumphost::config::{ConfigError, Origin};
use adit_jumphost::data_dir::DataDirError;
use adit_jumphost::{StartError, error_chain};
use adit_net::data_folder::DataFolderError;
use adit_ssh::crypto::{KeyTextError, PrivateKeyError};
use adit_store::{OpenError, StoreError};
use thiserror::Error;

use crate::oneoff::AddressError;

/// `EX_CONFIG` of sysexits.h: the one code that tells a service manager not to try again.
const BAD_CONFIG_FILE: u8 = 78;
const BAD_INPUT: u8 = 2;
const FAILED: u8 = 1;
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
    NotConnected { why: String },
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
    /// A trial that was shown up to the stage that failed.
    #[error("{told}")]
    Trial { told: Told },
    /// Of several that were to be started; a sentence of each.
    #[error("{told}")]
    SomeFailed { told: String },
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

    pub(crate) fn from_fault(fault: &impl Fault) -> Self {
        Self::Fault { kind: fault.kind(), told: Told::from_fault(fault) }
    }

    /// Prints the error on stderr; standard output is for answers.
    pub(crate) fn report(self, json: bool) -> ExitCode {
        let (exit, code) = (self.exit(), self.code().to_owned());
        if exit == INTERRUPTED {
            return ExitCode::from(exit);
        }
        let told = Told { error: self.sentence(), code, retry_after: None };
        match serde_json::to_string(&told) {
            Ok(line) if json => eprintln!("{line}"),
            _ => eprintln!("adit: {told}"),
        }
        ExitCode::from(exit)
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
            Self::Setting(_) | Self::LogFilter { .. } | Self::KeyText { .. } | Self::Expires { .. } => BAD_INPUT,
            Self::KeyFile { .. } | Self::ClaimFile { .. } | Self::PrivateKey { .. } => BAD_INPUT,
            Self::NothingTyped | Self::NameTaken { .. } | Self::NotAName | Self::Usage { .. } => BAD_INPUT,
            // As shells count a program that SIGINT ended.
            Self::Interrupted => INTERRUPTED,
            Self::SecretFile { .. } | Self::NothingToChange { .. } | Self::NoMethod | Self::TypedDifferently => {
                BAD_INPUT
            }
            Self::Ask(AskError::Refused { status, .. }) if status.as_u16() == BAD_REQUEST => BAD_INPUT,
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
            Self::NotConnected { .. } => "not-connected",
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
            Self::Trial { told } => &told.code,
            Self::NoSuch { .. } => "not-found",
            Self::Ambiguous { .. } => "ambiguous-name",
            Self::NothingToChange { .. } => "nothing-to-change",
            Self::NoMethod => "no-method",
            Self::UnknownHostKey { .. } => "unknown-host-key",
            Self::ChangedHostKey { .. } => "changed-host-key",
            Self::OtherHostKey { .. } => "other-host-key",
            Self::HostKeyDeclined { .. } => "host-key-declined",
            Self::SomeFailed { .. } => "some-failed",
            Self::Runtime(_) => "cannot-start",
            Self::Output(_) => "cannot-write",
        }
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
