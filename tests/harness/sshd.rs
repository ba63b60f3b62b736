//! Debian's `sshd`, as the private service of someone who shares a login ("ssh in ssh").

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::member::{KeyType, generate_key};
use crate::process::Running;
use crate::services::ServiceAddress;
use crate::tools::require;
use crate::wait::eventually;

/// A stock server on a loopback port that lets in the user who runs the tests, with one key.
pub struct Sshd {
    folder: TempDir,
    port: u16,
    _server: Running,
}

impl Sshd {
    /// Starts it; `None` where `ADIT_E2E_SKIP` excuses `sshd`.
    pub fn start() -> Option<Sshd> {
        let program = require("sshd")?;
        let folder = tempfile::tempdir().unwrap();
        let host_key = generate_key(folder.path(), "host", KeyType::Ed25519);
        generate_key(folder.path(), "login", KeyType::Ed25519);
        fs::copy(folder.path().join("login.pub"), folder.path().join("authorized_keys")).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let config = folder.path().join("sshd_config");
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            host_key.display(),
            folder.path().join("authorized_keys").display()
        );
        fs::write(&config, text).unwrap();
        // Its privilege separation wants this folder, which Debian makes only at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let mut command = Command::new(program);
        command.arg("-D").arg("-e").arg("-f").arg(&config);
        let server = Running::spawn(&mut command);
        eventually(Duration::from_secs(10), "sshd answers", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Some(Sshd { folder, port, _server: server })
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

impl ServiceAddress for Sshd {
    fn port(&self) -> u16 {
        self.port
    }
}
