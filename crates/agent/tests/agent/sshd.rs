//! Debian's `sshd` on a loopback port, with an account that has one key.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use adit_agent::credentials::{Credentials, Method};
use adit_agent::dial::{Hop, HopSettings};
use adit_agent::known_hosts::{HostKeys, Policy};
use adit_core::{Port, RecordId, Target};
use adit_ssh::crypto::PrivateKey;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::free_port::free_port;
use crate::services::eventually;

/// A server, and the account it lets in.
pub(crate) struct Sshd {
    folder: TempDir,
    port: u16,
    user: String,
    server: Child,
}

/// What is not as usual.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Lines of `sshd_config`; the first one of a kind counts.
    pub(crate) config: &'a str,
    /// What stands before the key in `authorized_keys`.
    pub(crate) key_options: &'a str,
    /// The account, where it is not the one that runs the tests.
    pub(crate) user: Option<&'a str>,
}

impl Sshd {
    pub(crate) async fn start() -> Sshd {
        Self::start_with(Setup::default()).await
    }

    pub(crate) async fn start_with(setup: Setup<'_>) -> Sshd {
        let folder = tempfile::tempdir().unwrap();
        // Keys are read as the account that logs in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make_key(folder.path(), "host", "ed25519", "");
        let login = PrivateKey::generate_ed25519().unwrap();
        fs::write(folder.path().join("login"), login.to_openssh("login").unwrap().as_bytes()).unwrap();
        let authorized = format!("{} {}\n", setup.key_options, login.public_key().to_text("login"));
        fs::write(folder.path().join("authorized_keys"), authorized.trim_start()).unwrap();
        // Its privilege separation wants this folder, which Debian makes only at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let user = setup.user.map_or_else(whoami, str::to_owned);
        let config = folder.path().join("sshd_config");
        for _ in 0..10 {
            let port = free_port();
            let text = format!(
                "{}\nListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
                 UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 LogLevel DEBUG1\n",
                setup.config,
                folder.path().join("host").display(),
                folder.path().join("authorized_keys").display()
            );
            fs::write(&config, text).unwrap();
            let mut command = Command::new("/usr/sbin/sshd");
            command.arg("-D").arg("-f").arg(&config).arg("-E").arg(folder.path().join("log"));
            let mut server = command.stdin(Stdio::null()).spawn().expect("sshd is installed");
            let listens = || log(folder.path()).contains("Server listening on");
            // Somebody else may have taken the port.
            let mut ended = || server.try_wait().unwrap().is_some();
            eventually("sshd listens, or gives up", || listens() || ended()).await;
            if listens() {
                return Sshd { folder, port, user, server };
            }
        }
        panic!("sshd does not start: {}", log(folder.path()));
    }

    /// As who, how and where one logs in here.
    pub(crate) fn hop(&self) -> Hop {
        Hop {
            host: "127.0.0.1".into(),
            port: self.port(),
            user: self.user.clone(),
            credentials: self.credentials(vec![Method::KeyFile { path: Some(self.path("login")) }]),
            host_keys: HostKeys { policy: Policy::AcceptNew, file: self.known_hosts(), others: Vec::new() },
            settings: HopSettings::default(),
        }
    }

    pub(crate) fn credentials(&self, methods: Vec<Method>) -> Credentials {
        Credentials { profile: "core".into(), id: RecordId::from("prof_1"), methods }
    }

    pub(crate) fn port(&self) -> Port {
        Port::new(self.port).unwrap()
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.path("known_hosts")
    }

    /// Lets one more key in.
    pub(crate) fn authorize(&self, public: &str) {
        let file = self.path("authorized_keys");
        fs::write(&file, fs::read_to_string(&file).unwrap() + public + "\n").unwrap();
    }

    /// Everything the server has said.
    pub(crate) fn log(&self) -> String {
        log(self.folder.path())
    }

    pub(crate) fn logins(&self) -> usize {
        self.log().matches("Accepted publickey for").count()
    }

    /// Stops the server and all its connections where they stand: sockets stay open and nobody reads them.
    pub(crate) fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Ends the connections, not the server.
    pub(crate) fn cut(&self) {
        for pid in descendants(self.server.id()) {
            signal(pid, Signal::KILL);
        }
    }

    /// How many connections it serves.
    pub(crate) fn connections(&self) -> usize {
        descendants(self.server.id()).len()
    }

    fn signal_all(&self, what: Signal) {
        signal(self.server.id(), what);
        descendants(self.server.id()).into_iter().for_each(|pid| signal(pid, what));
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- sshd\n{}", self.log());
        }
        self.cut();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn whoami() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// A key file of `ssh-keygen`, and its public half as text.
pub(crate) fn make_key(folder: &Path, name: &str, key_type: &str, passphrase: &str) -> String {
    let path = folder.join(name);
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", key_type, "-N", passphrase, "-f"]).arg(&path).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

fn signal(pid: u32, what: Signal) {
    // One that has just ended needs none.
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), what);
}

/// The processes that a process has started, and those they have.
fn descendants(of: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in brackets may hold anything; state and parent come behind it.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let (mut found, mut next) = (Vec::new(), vec![of]);
    while let Some(parent) = next.pop() {
        for (pid, _) in parents.iter().filter(|(_, of)| *of == parent) {
            found.push(*pid);
            next.push(*pid);
        }
    }
    found
}

/// A target on this machine.
pub(crate) fn here(port: u16) -> Target {
    Target::new("127.0.0.1", Port::new(port).unwrap()).unwrap()
}

/// A port of loopback that nobody listens on.
pub(crate) fn dead_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
