//! The server in the middle: Debian's `sshd` at port 22 of a network of its own, to which machines are joined.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::netns::{Cable, Netns};
use crate::process::Running;
use crate::sshd::Sshd;
use crate::wait::eventually;

/// A login and a forward, on a machine that runs other tests.
const LOGIN: Duration = Duration::from_secs(10);

/// What a visitor who is answered at all is answered within: less than a story's patience, so that it can ask again.
const VISIT: Duration = Duration::from_secs(1);

/// A stock `sshd` that lets in `root` with one key. Its forwards are at its own loopback, unless its settings say otherwise.
pub struct Bastion {
    sshd: Sshd,
    netns: Netns,
    machines: AtomicU8,
}

impl Bastion {
    /// Starts it; `None` where `ADIT_E2E_SKIP` excuses what it takes. Needs root.
    pub fn start() -> Option<Bastion> {
        Bastion::start_with("")
    }

    /// The same, with lines of `sshd_config` that count before its own.
    pub fn start_with(settings: &str) -> Option<Bastion> {
        let netns = Netns::make()?;
        let sshd = netns.inside(|| Sshd::start_with(&format!("{settings}\nListenAddress 0.0.0.0:22")))?;
        Some(Bastion { sshd, netns, machines: AtomicU8::new(0) })
    }

    /// The private key that it lets in.
    pub fn key(&self) -> PathBuf {
        self.sshd.key()
    }

    /// Its host key's fingerprint, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.sshd.fingerprint()
    }

    /// What it has logged since it last started.
    pub fn log(&self) -> String {
        self.sshd.log()
    }

    /// Ends it and every session of it; whoever was connected is told.
    pub fn stop(&mut self) {
        self.sshd.kill();
    }

    /// Starts it again after [`Bastion::stop`], at the same port with the same keys.
    pub fn start_again(&mut self) {
        self.netns.inside(|| self.sshd.start_again());
    }

    /// Starts it anew with another host key, as after a new installation.
    pub fn change_host_key(&mut self) {
        self.netns.inside(|| self.sshd.change_host_key());
    }

    /// Its network.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// What the SSH server behind port `port` of the bastion's loopback greets with; `None` while nobody does.
    pub fn greeting_at(&self, port: u16) -> Option<String> {
        self.netns.inside(|| {
            let visitor = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
            visitor.set_read_timeout(Some(VISIT)).ok()?;
            let mut line = String::new();
            BufReader::new(visitor).read_line(&mut line).ok()?;
            line.starts_with("SSH-2.0-").then(|| line.trim_end().to_owned())
        })
    }

    /// A session of somebody else that holds `port` until the value is dropped. Whoever visits the port is not answered.
    pub fn hold_port(&self, port: u16) -> Running {
        let mut command = self.sshd.login_via("127.0.0.1", 22);
        command.args(["-N", "-o", "ExitOnForwardFailure=yes", "-R", &format!("{port}:127.0.0.1:9")]);
        let mut session = self.netns.inside(|| Running::spawn(&mut command));
        eventually(LOGIN, "another session holds the port", || {
            assert!(session.is_running(), "the other session ended: {}", session.stderr());
            self.netns.inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        });
        session
    }

    /// A place for one more machine.
    pub(super) fn next_place(&self) -> u8 {
        self.machines.fetch_add(1, Ordering::SeqCst)
    }

    /// Lays the cable of a place to the network of a machine.
    pub(super) fn join(&self, place: u8, machine: &Netns) -> Cable {
        machine.join(&format!("10.88.{place}.2"), &self.netns, &address(place))
    }
}

/// The bastion's address on the cable of a place.
pub(super) fn address(place: u8) -> String {
    format!("10.88.{place}.1")
}
