//! The client's end of an SSH session as people run it: OpenSSH's client, and ours. Each is started with one forward and has no
//! other work.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::adit;
use crate::failure::{Doing, Failure};
use crate::line::Line;
use crate::process::{Process, free_address};
use crate::process_tree::ProcessTree;
use crate::report::Measured;
use crate::server::Server;
use crate::visitor::{Door, ask_once};

/// A cipher by its name in RFC 4344, RFC 5647 and OpenSSH's PROTOCOL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CipherName {
    /// AES-128 in Galois/Counter Mode.
    Aes128Gcm,
    /// AES-256 in Galois/Counter Mode.
    Aes256Gcm,
    /// ChaCha20 with Poly1305, OpenSSH's way.
    Chacha20,
    /// AES-128 in counter mode, with HMAC-SHA-256 over what was encrypted.
    Aes128Ctr,
}

impl CipherName {
    /// All that are measured, the default of our client first.
    pub(crate) const ALL: [Self; 4] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::Chacha20, Self::Aes128Ctr];

    /// What `ssh -c` wants.
    fn option(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes128-gcm@openssh.com",
            Self::Aes256Gcm => "aes256-gcm@openssh.com",
            Self::Chacha20 => "chacha20-poly1305@openssh.com",
            Self::Aes128Ctr => "aes128-ctr",
        }
    }

    /// In a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes128-gcm",
            Self::Aes256Gcm => "aes256-gcm",
            Self::Chacha20 => "chacha20",
            Self::Aes128Ctr => "aes128-ctr, hmac-sha2-256-etm",
        }
    }
}

/// Whose client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// Ours: `adit forward`, the agent's engine in one command.
    Adit,
    /// OpenSSH's: `ssh -N`, as a master of connections (ControlMaster).
    OpenSsh,
    /// OpenSSH's, started anew by autossh whenever it ends, with the keepalives that its users are told to switch on.
    Autossh,
}

impl Client {
    /// In the order of a pair.
    pub(crate) const PAIR: [Self; 2] = [Self::Adit, Self::OpenSsh];

    /// What the names of rows say of it beside a server: of OpenSSH's nothing, since most rows are made with it.
    pub(crate) fn beside_a_server(self) -> &'static str {
        match self {
            Self::Adit => " with our client",
            Self::OpenSsh | Self::Autossh => "",
        }
    }
}

impl Measured for Client {
    const OURS: Self = Self::Adit;
    const PEERS: &'static [Self] = &[Self::OpenSsh];

    fn name(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::OpenSsh => "ssh",
            Self::Autossh => "autossh",
        }
    }
}

/// Which kind of forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The client listens, and the server connects.
    Local,
    /// The client listens and is asked where to over SOCKS5, and the server connects.
    Dynamic,
    /// The server listens, and the client connects.
    Remote,
}

impl Forward {
    /// All.
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::Dynamic, Self::Remote];

    /// As both clients spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "-L",
            Self::Dynamic => "-D",
            Self::Remote => "-R",
        }
    }
}

/// A client that is logged in and holds one forward that leads to a service. Dropping it ends it.
pub(crate) struct Tunnel {
    door: Door,
    process: Process,
    _folder: TempDir,
}

impl Tunnel {
    /// What most rows go through: `ssh -R` with AES-128-GCM, the same for both servers.
    pub(crate) fn of_ssh(server: &Server, service: SocketAddr) -> Result<Self, Failure> {
        Self::of_ssh_with(CipherName::Aes128Gcm, server, service)
    }

    /// The same with another cipher.
    pub(crate) fn of_ssh_with(cipher: CipherName, server: &Server, service: SocketAddr) -> Result<Self, Failure> {
        Self::start(Client::OpenSsh, Forward::Remote, cipher, (server, server.ssh()), service)
    }

    /// The same over a line that leads to the server.
    pub(crate) fn of_ssh_over(line: &Line, server: &Server, service: SocketAddr) -> Result<Self, Failure> {
        Self::start(Client::OpenSsh, Forward::Remote, CipherName::Aes128Gcm, (server, line.address()), service)
    }

    /// Logs in with AES-128-GCM, which ours prefers and OpenSSH's is told to take, and waits until the service answers through the forward.
    pub(crate) fn of(client: Client, forward: Forward, server: &Server, service: SocketAddr) -> Result<Self, Failure> {
        Self::start(client, forward, CipherName::Aes128Gcm, (server, server.ssh()), service)
    }

    fn start(
        client: Client,
        forward: Forward,
        cipher: CipherName,
        (server, at): (&Server, SocketAddr),
        service: SocketAddr,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-").tempdir().doing("make a folder")?;
        let listens = match forward {
            // The server finds one.
            Forward::Remote => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Forward::Local | Forward::Dynamic => free_address()?,
        };
        let words = match forward {
            Forward::Dynamic => listens.to_string(),
            Forward::Local => format!("{listens}:{service}"),
            // Ours publishes services of its own machine, by this name.
            Forward::Remote => format!("{listens}:localhost:{}", service.port()),
        };
        let mut command = match client {
            Client::Adit => ours(server, at, &folder)?,
            Client::OpenSsh => openssh(cipher, server, at, &folder),
            Client::Autossh => autossh(server, at),
        };
        command.args([forward.name(), &words]);
        let mut process = Process::start(&mut command, folder.path().join("log"))?;
        let told = |process: &Process| match (client, forward) {
            (Client::OpenSsh | Client::Autossh, Forward::Remote) => process.said().lines().find_map(allocated_port),
            (Client::Adit, Forward::Remote) => process.said().lines().find_map(told_port),
            (_, Forward::Local | Forward::Dynamic) => Some(listens.port()),
        };
        let port = process.await_start(told).doing(format!("start {} {}", client.name(), forward.name()))?;
        let door = match forward {
            Forward::Dynamic => Door::Socks { proxy: port, service },
            Forward::Local | Forward::Remote => Door::Port(port),
        };
        // Who listens by itself does so when it is logged in.
        process.await_start(|_| ask_once(door).ok()).doing(format!("go through {}", client.name()))?;
        Ok(Self { door, process, _folder: folder })
    }

    /// Where visitors enter.
    pub(crate) fn door(&self) -> Door {
        self.door
    }

    /// What the client costs.
    pub(crate) fn processes(&self) -> ProcessTree {
        self.process.tree()
    }
}

/// `adit forward`, to which the forward is added.
fn ours(server: &Server, at: SocketAddr, folder: &TempDir) -> Result<Command, Failure> {
    let data = folder.path().join("data");
    fs::DirBuilder::new().mode(0o700).create(&data).doing("make the data folder")?;
    let mut command = adit::command("forward")?;
    command.args(["--json", "--host-keys", "accept-new", "--data"]).arg(data).arg("-i").arg(server.identity());
    command.args(["--via", &format!("{}@{at}", server.user())]);
    Ok(command)
}

/// `ssh -N`, to which the forward is added.
fn openssh(cipher: CipherName, server: &Server, at: SocketAddr, folder: &TempDir) -> Command {
    let mut command = Command::new("ssh");
    openssh_settings(&mut command, server, at);
    command.args(["-N", "-M", "-c", cipher.option(), "-m", "hmac-sha2-256-etm@openssh.com", "-S"]);
    command.arg(folder.path().join("control"));
    command
}

/// `autossh`, to which the forward is added. Without monitoring ports of its own, as its manual advises for clients with keepalives.
fn autossh(server: &Server, at: SocketAddr) -> Command {
    let mut command = Command::new("autossh");
    command.env("AUTOSSH_GATETIME", "0").args(["-M", "0"]);
    openssh_settings(&mut command, server, at);
    command.args(["-N", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]);
    command
}

/// How OpenSSH's client finds and trusts a server of this run, without what the machine's files say.
fn openssh_settings(command: &mut Command, server: &Server, at: SocketAddr) {
    let settings = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ExitOnForwardFailure=yes",
    ];
    command.args(["-F", "none"]).args(settings.iter().flat_map(|setting| ["-o", setting]));
    command.arg("-i").arg(server.identity()).args(["-p", &at.port().to_string()]);
    command.arg(format!("{}@{}", server.user(), at.ip())).env_remove("SSH_AUTH_SOCK");
}

/// What OpenSSH's client prints when the server has found a port.
fn allocated_port(line: &str) -> Option<u16> {
    line.strip_prefix("Allocated port ")?.split(' ').next()?.parse().ok()
}

/// What ours does.
fn told_port(line: &str) -> Option<u16> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["event"] == "listening").then(|| event["listen"].as_str()?.parse::<SocketAddr>().ok())?.map(|at| at.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_what_clients_print() {
        assert_eq!(allocated_port("Allocated port 40123 for remote forward to 127.0.0.1:80\r\n"), Some(40123));
        assert_eq!(allocated_port("Warning: Permanently added something\r\n"), None);
        let line =
            r#"{"event":"listening","forward":"R :0 → localhost:9","listen":"127.0.0.1:39579","via":"127.0.0.1"}"#;
        assert_eq!(told_port(line), Some(39579));
        assert_eq!(told_port(r#"{"event":"connected"}"#), None);
    }
}
