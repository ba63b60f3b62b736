//! bore, a tunnel to one service in some hundred lines: a server that clients connect to, and a client beside the service, with
//! plain TCP between them. `bench/run` installs it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use tempfile::TempDir;

use crate::failure::{Doing, Failure};
use crate::forwarding::Way;
use crate::peers;
use crate::process::{Process, free_address};
use crate::visitor::ask_once;

/// Where its server takes clients in; it knows no other port.
const CONTROL: u16 = 7835;

/// A server and a client. Dropping it ends both.
pub(crate) struct Bore {
    port: u16,
    server: Process,
    client: Process,
    _folder: TempDir,
}

impl Bore {
    /// Starts both, and waits until a connection is answered by `service`.
    pub(crate) fn start(service: SocketAddr) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-").tempdir().doing("make a folder")?;
        let (control, visitors) = (free_loopback()?.to_string(), free_address()?.port());
        let program = peers::find("BORE_BIN", "bore")?;
        let mut command = Command::new(&program);
        command.args(["server", "--bind-addr", &control, "--bind-tunnels", "127.0.0.1"]);
        let mut server = Process::start(&mut command, folder.path().join("server.log"))?;
        server.await_start(|_| std::net::TcpStream::connect((control.as_str(), CONTROL)).ok())?;
        let mut command = Command::new(&program);
        command.args(["local", &service.port().to_string(), "--local-host", "127.0.0.1", "--to", &control]);
        command.args(["--port", &visitors.to_string()]);
        let mut client = Process::start(&mut command, folder.path().join("client.log"))?;
        client.await_start(|_| ask_once(visitors).ok())?;
        Ok(Self { port: visitors, server, client, _folder: folder })
    }

    /// Where clients connect, and who carries them.
    pub(crate) fn way(&self) -> Way {
        Way { port: self.port, listener: self.server.tree(), transit: None, endpoint: Some(self.client.tree()) }
    }
}

/// Its version, as it says it.
pub(crate) fn version() -> Result<String, Failure> {
    let output = Command::new(peers::find("BORE_BIN", "bore")?).arg("--version").output();
    let output = output.doing("ask bore for its version")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A loopback address whose port [`CONTROL`] nobody has: another bore may run on this machine.
fn free_loopback() -> Result<IpAddr, Failure> {
    let free = |address: &Ipv4Addr| TcpListener::bind((*address, CONTROL)).is_ok();
    let address = (1..=254).map(|last| Ipv4Addr::new(127, 83, 1, last)).find(free);
    address.map(IpAddr::from).ok_or_else(|| Failure::new(format!("port {CONTROL} is taken at all loopback addresses")))
}
