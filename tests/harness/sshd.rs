//! Debian's `sshd`, as the private service of someone who shares a login ("ssh in ssh").

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::member::{KeyType, Member, generate_key};
use crate::process::{Running, finish};
use crate::services::ServiceAddress;
use crate::tools::require;
use crate::wait::eventually;

/// A stock server on a loopback port that lets in the user who runs the tests, with one key.
pub struct Sshd {
    folder: TempDir,
    port: u16,
    program: PathBuf,
    server: Running,
}

impl Sshd {
    /// Starts it; `None` where `ADIT_E2E_SKIP` excuses `sshd`.
    pub fn start() -> Option<Sshd> {
        Sshd::start_with("")
    }

    /// The same, with lines of `sshd_config` that count before its own.
    pub fn start_with(settings: &str) -> Option<Sshd> {
        let program = require("sshd")?;
        let folder = tempfile::tempdir().unwrap();
        let host_key = generate_key(folder.path(), "host", KeyType::Ed25519);
        generate_key(folder.path(), "login", KeyType::Ed25519);
        fs::copy(folder.path().join("login.pub"), folder.path().join("authorized_keys")).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let config = folder.path().join("sshd_config");
        let text = format!(
            "{settings}\nListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            host_key.display(),
            folder.path().join("authorized_keys").display()
        );
        fs::write(&config, text).unwrap();
        // Its privilege separation wants this folder, which Debian makes only at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let server = launch(&program, folder.path(), port);
        Some(Sshd { folder, port, program, server })
    }

    /// The private key that it lets in.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("login")
    }

    /// What it has logged since it last started.
    pub fn log(&self) -> String {
        self.server.stderr()
    }

    /// Ends it and every session of it, as a power cut would.
    pub fn kill(&mut self) {
        // Each session is a process of its own, and outlives the one that listens.
        let pid = self.server.pid().to_string();
        finish(Command::new("pkill").args(["-KILL", "-P", &pid]), Duration::from_secs(10));
        self.server.kill();
    }

    /// Starts it again after [`Sshd::kill`], on the same port with the same keys.
    pub fn start_again(&mut self) {
        self.server = launch(&self.program, self.folder.path(), self.port);
    }

    /// Its host key's fingerprint, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        Member { name: "host".to_owned(), key: self.folder.path().join("host") }.fingerprint()
    }

    /// Starts it anew with another host key, as after a new installation.
    pub fn change_host_key(&mut self) {
        self.kill();
        for name in ["host", "host.pub"] {
            fs::remove_file(self.folder.path().join(name)).unwrap();
        }
        generate_key(self.folder.path(), "host", KeyType::Ed25519);
        self.start_again();
    }

    /// `ssh` that logs in here through another address, `port` on `host`.
    pub fn login_via(&self, host: &str, port: u16) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]);
        command.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "GlobalKnownHostsFile=/dev/null"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.folder.path().join("known_hosts").display()));
        command.arg("-i").arg(self.folder.path().join("login")).args(["-p", &port.to_string(), host]);
        command.env_remove("SSH_AUTH_SOCK");
        command
    }
}

fn launch(program: &Path, folder: &Path, port: u16) -> Running {
    let mut command = Command::new(program);
    command.arg("-D").arg("-e").arg("-f").arg(folder.join("sshd_config"));
    let server = Running::spawn(&mut command);
    eventually(Duration::from_secs(10), "sshd answers", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    server
}

impl ServiceAddress for Sshd {
    fn port(&self) -> u16 {
        self.port
    }
}
