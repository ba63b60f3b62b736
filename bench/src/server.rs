//! The two servers that are compared, each started afresh for each measurement, on loopback, with a key of this run only.
//!
//! Both have their limits lifted and nothing else: what is measured is their defaults.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adit_ssh::crypto::{Cipher, HostKey, KexAlgorithm};
use adit_ssh::{Algorithms, ClientConfig, Limits};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::adit;
use crate::failure::{Doing, Failure};
use crate::process::{Process, await_bounded, free_address};
use crate::process_tree::ProcessTree;
use crate::report::Measured;

/// OpenSSH's server insists on being called by its full path.
const SSHD: &str = "/usr/sbin/sshd";
/// Below the ports that Linux gives to outgoing connections: thousands of clients on the same machine take whole runs of those.
const FORWARDS: &str = "10000-32000";
/// The account of adit whose key logs in.
const ACCOUNT: &str = "bench";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Our jump host.
    Adit,
    /// OpenSSH's server.
    Sshd,
}

impl Subject {
    /// In the order of a pair.
    pub(crate) const PAIR: [Self; 2] = [Self::Adit, Self::Sshd];
}

impl Measured for Subject {
    const OURS: Self = Self::Adit;
    const PEERS: &'static [Self] = &[Self::Sshd];

    fn name(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::Sshd => "sshd",
        }
    }
}

/// A running server. Dropping it ends it and removes its folder; its clients should be gone by then.
pub(crate) struct Server {
    // Before its folder, so that it has ended when that goes.
    process: Process,
    ssh: SocketAddr,
    user: String,
    host_key: HostKey,
    folder: TempDir,
}

impl Server {
    /// Starts one and waits until it can be logged in to.
    pub(crate) fn start(subject: Subject) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-").tempdir().doing("make a folder")?;
        write_key(&folder.path().join("key"))?;
        match subject {
            Subject::Adit => Self::start_adit(folder),
            Subject::Sshd => Self::start_sshd(folder),
        }
        .doing(format!("start {}", subject.name()))
    }

    fn start_adit(folder: TempDir) -> Result<Self, Failure> {
        let (data, config) = (folder.path().join("data"), folder.path().join("config.yaml"));
        fs::DirBuilder::new().mode(0o700).create(&data).doing("make the data folder")?;
        let limits = [
            "forwards_per_account",
            "visitors_per_port",
            "visitors_per_account",
            "unauthenticated_per_source",
            "unauthenticated_total",
        ];
        let limits: String = limits.iter().map(|limit| format!("    {limit}: 0\n")).collect();
        let text = format!("jumphost:\n  penalty_exempt: [127.0.0.0/8]\n  limits:\n{limits}");
        fs::write(&config, text).doing("write the configuration")?;
        let mut command = adit::command("jumphost")?;
        command.arg("--data").arg(&data).args(["--ssh", "127.0.0.1:0", "--web", "127.0.0.1:0"]);
        command.args(["--forward-address", "127.0.0.1", "--ports", FORWARDS, "--config"]).arg(&config);
        let mut process = Process::start(&mut command, folder.path().join("log"))?;
        let ssh = process.await_start(|_| address(&fs::read(data.join("addresses.json")).ok()?, "ssh"))?;
        let key = folder.path().join("key.pub");
        adit::finish(adit::command("jumphost")?.arg("--data").arg(&data).args(["account", "add", ACCOUNT]))?;
        adit::finish(adit::command("jumphost")?.arg("--data").arg(&data).args(["key", "add", ACCOUNT]).arg(&key))?;
        let host_key = read_key(&data.join("host_key_ed25519"))?;
        Ok(Self { process, ssh, user: "tunnel".to_owned(), host_key, folder })
    }

    fn start_sshd(folder: TempDir) -> Result<Self, Failure> {
        let file = |name: &str| folder.path().join(name);
        write_key(&file("host_key"))?;
        let ssh = free_address()?;
        let text = format!(
            "ListenAddress {ssh}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             GatewayPorts clientspecified\nMaxStartups 100000\nMaxSessions 100000\n",
            file("host_key").display(),
            file("key.pub").display(),
        );
        let config = file("sshd_config");
        // 9.8 and later penalise sources, and then the benchmark is one; older ones do not know the word.
        for text in [format!("{text}PerSourcePenalties no\n"), text] {
            fs::write(&config, text).doing("write the configuration")?;
            let tested = Command::new(SSHD).arg("-t").arg("-f").arg(&config).output().doing(format!("run {SSHD}"))?;
            if tested.status.success() {
                break;
            }
        }
        let process = run_sshd(&folder, ssh)?;
        let user = Command::new("id").arg("-un").output().doing("ask for this user's name")?;
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let host_key = read_key(&file("host_key"))?;
        Ok(Self { process, ssh, user, host_key, folder })
    }

    /// Ends each session of sshd without a word, and no more than the sessions. Returns when they have ended.
    pub(crate) fn kill_sessions(&self) -> Result<(), Failure> {
        let sessions = self.signal_sessions(Signal::KILL);
        let gone = |tree: &ProcessTree| sessions.iter().all(|session| !tree.pids().contains(session));
        await_bounded(|| gone(&self.processes())).then_some(()).ok_or_else(|| Failure::new("a killed session lives on"))
    }

    /// Lets each session of sshd stand still, as a machine does whose network has gone. New ones are served.
    pub(crate) fn freeze_sessions(&self) {
        self.signal_sessions(Signal::STOP);
    }

    fn signal_sessions(&self, signal: Signal) -> Vec<u32> {
        let sessions = self.processes().pids().split_off(1);
        for pid in sessions.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
        sessions
    }

    /// sshd and all its sessions are away for so long, and then it is there again with the same address and keys.
    pub(crate) fn away_for(self, time: Duration) -> Result<Self, Failure> {
        self.kill_sessions()?;
        let Self { process, ssh, user, host_key, folder } = self;
        drop(process);
        thread::sleep(time);
        Ok(Self { process: run_sshd(&folder, ssh)?, ssh, user, host_key, folder })
    }

    /// Where it listens.
    pub(crate) fn ssh(&self) -> SocketAddr {
        self.ssh
    }

    /// The login name.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The private key that may log in.
    pub(crate) fn identity(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// Where the dashboard of adit answers.
    pub(crate) fn dashboard(&self) -> Result<SocketAddr, Failure> {
        let addresses = fs::read(self.data().join("addresses.json")).doing("read where the dashboard is")?;
        let address = address(&addresses, "web");
        address.ok_or_else(|| Failure::new("the server does not say where its dashboard is"))
    }

    /// The account of adit that all log in as.
    pub(crate) fn account(&self) -> &str {
        ACCOUNT
    }

    /// A link with which the holder of that account sets its password, which ends its sessions at the dashboard.
    pub(crate) fn password_link(&self) -> Result<String, Failure> {
        let words = ["account", "password-link", ACCOUNT, "--json"];
        let answer = adit::finish(adit::command("jumphost")?.arg("--data").arg(self.data()).args(words))?;
        let link: Value = serde_json::from_slice(&answer).doing("read a password link")?;
        let url = link["url"].as_str().ok_or_else(|| Failure::new("a password link has no address"))?;
        Ok(url.to_owned())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it costs.
    pub(crate) fn processes(&self) -> ProcessTree {
        self.process.tree()
    }

    /// How the engine's client logs in here, with one key exchange and one cipher, so that both servers do the same work.
    pub(crate) fn client_config(&self, kex: KexAlgorithm) -> Result<Arc<ClientConfig>, Failure> {
        Ok(Arc::new(ClientConfig {
            user: self.user.clone(),
            identity: read_key(&self.identity())?,
            host_key: self.host_key.public_key().clone(),
            algorithms: Algorithms { kex: vec![kex], ciphers: vec![Cipher::Aes128Gcm], ..Algorithms::default() },
            limits: Limits::default(),
        }))
    }
}

/// Runs what [`Server::start_sshd`] has configured in `folder`.
fn run_sshd(folder: &TempDir, ssh: SocketAddr) -> Result<Process, Failure> {
    // Its privilege separation wants this folder, which some systems make only at boot.
    let _ = fs::create_dir_all("/run/sshd");
    let file = |name: &str| folder.path().join(name);
    let mut process =
        Process::start(Command::new(SSHD).args(["-D", "-e", "-f"]).arg(file("sshd_config")), file("log"))?;
    process.await_start(|_| TcpStream::connect(ssh).ok())?;
    Ok(process)
}

/// One of the addresses in what adit writes when it has bound them.
fn address(addresses: &[u8], of: &str) -> Option<SocketAddr> {
    let addresses: Value = serde_json::from_slice(addresses).ok()?;
    addresses.get(of)?.as_str()?.parse().ok()
}

/// Makes an Ed25519 key pair: `path` and `path.pub`.
fn write_key(path: &Path) -> Result<(), Failure> {
    let key = HostKey::generate_ed25519().doing("make a key")?;
    let private = key.to_openssh("bench").doing("write a key")?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).doing("write a key")?;
    std::io::Write::write_all(&mut file, private.as_bytes()).doing("write a key")?;
    fs::write(path.with_extension("pub"), key.public_key().to_text("bench") + "\n").doing("write a public key")
}

fn read_key(path: &Path) -> Result<HostKey, Failure> {
    let doing = || format!("read the key {}", path.display());
    let text = fs::read_to_string(path).doing(doing())?;
    HostKey::from_openssh(&text).doing(doing())
}
