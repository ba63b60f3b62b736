//! OpenSSH's client as a person would call it, minus this machine's own configuration and known hosts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::debian::Trixie;
use crate::jump_host::JumpHost;
use crate::member::Member;
use crate::netns::Netns;
use crate::process::{Finished, Running, finish};

/// One call of `ssh`. The destination stands last, as in the documents.
pub struct OpenSsh {
    user: String,
    host: String,
    port: u16,
    key: PathBuf,
    known_hosts: PathBuf,
    arguments: Vec<OsString>,
    remote_command: Vec<OsString>,
    /// What the client is started through.
    start_through: Vec<OsString>,
}

impl OpenSsh {
    /// `ssh -p PORT -i KEY tunnel@ADDRESS` for this member.
    pub fn new(host: &JumpHost, member: &Member) -> OpenSsh {
        OpenSsh {
            user: "tunnel".to_owned(),
            host: host.ssh().ip().to_string(),
            port: host.ssh().port(),
            key: member.key.clone(),
            known_hosts: host.folder().join("known_hosts"),
            arguments: Vec::new(),
            remote_command: Vec::new(),
            start_through: Vec::new(),
        }
    }

    /// Logs in under another name than `tunnel`.
    pub fn user(mut self, user: &str) -> OpenSsh {
        user.clone_into(&mut self.user);
        self
    }

    /// Runs the client inside a namespace.
    pub fn inside(mut self, netns: &Netns) -> OpenSsh {
        self.start_through = ["ip", "netns", "exec", netns.name()].map(OsString::from).into();
        self
    }

    /// Takes the client of another Debian.
    pub fn of(mut self, debian: &Trixie) -> OpenSsh {
        self.start_through = debian.enter();
        self
    }

    /// Calls the jump host by another address than the one it printed.
    pub fn address(mut self, address: &str) -> OpenSsh {
        address.clone_into(&mut self.host);
        self
    }

    /// Appends words as they stand.
    pub fn args<I: IntoIterator<Item: Into<OsString>>>(mut self, words: I) -> OpenSsh {
        self.arguments.extend(words.into_iter().map(Into::into));
        self
    }

    /// `-N`: no session, only forwards.
    pub fn no_session(self) -> OpenSsh {
        self.args(["-N"])
    }

    /// `-R remote:localhost:local`.
    pub fn forward(self, remote: u16, local: u16) -> OpenSsh {
        self.args(["-R".to_owned(), format!("{remote}:localhost:{local}")])
    }

    /// `-R` with a specification of the caller's.
    pub fn forward_spec(self, spec: &str) -> OpenSsh {
        self.args(["-R", spec])
    }

    /// `-o setting`.
    pub fn option(self, setting: &str) -> OpenSsh {
        self.args(["-o", setting])
    }

    /// Master of a shared connection behind `socket` (`-M -S socket`).
    pub fn master(self, socket: &Path) -> OpenSsh {
        self.args(["-M".into(), "-S".into(), socket.as_os_str().to_owned()])
    }

    /// Goes through the shared connection behind `socket`, and fails rather than open one of its own.
    pub fn through(self, socket: &Path) -> OpenSsh {
        self.option("ProxyCommand=false").args(["-S".into(), socket.as_os_str().to_owned()])
    }

    /// Asks for a command to be run.
    pub fn remote_command<I: IntoIterator<Item: Into<OsString>>>(mut self, words: I) -> OpenSsh {
        self.remote_command.extend(words.into_iter().map(Into::into));
        self
    }

    /// The options every OpenSSH tool of this test needs: nothing from this machine's own folders, no questions asked.
    pub fn quiet_options(&self) -> Vec<OsString> {
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        let settings = [
            known_hosts.as_str(),
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=accept-new",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
        ];
        let mut words: Vec<OsString> = vec!["-F".into(), "none".into(), "-i".into(), self.key.clone().into()];
        words.extend(settings.into_iter().flat_map(|setting| [OsString::from("-o"), OsString::from(setting)]));
        words
    }

    /// The whole command.
    pub fn command(&self) -> Command {
        let mut words = self.start_through.iter().cloned().chain(["ssh".into()]);
        let mut command = Command::new(words.next().expect("ssh at least"));
        command.args(words);
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY");
        command.args(self.quiet_options()).args(["-p", &self.port.to_string()]);
        command.args(&self.arguments).arg(format!("{}@{}", self.user, self.host)).args(&self.remote_command);
        command
    }

    /// Starts it with an open standard input that is no terminal.
    pub fn spawn(&self) -> Running {
        Running::spawn(&mut self.command())
    }

    /// Starts it on a terminal.
    pub fn spawn_on_terminal(&self) -> Running {
        Running::spawn_on_terminal(&mut self.command())
    }

    /// Runs it to its end with an empty standard input.
    pub fn run(&self, bound: Duration) -> Finished {
        finish(&mut self.command(), bound)
    }
}
