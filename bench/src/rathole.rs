//! rathole, a tunnel to one service behind NAT: a server that clients connect to, and a client beside the service.
//! `bench/run` installs it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::failure::{Doing, Failure};
use crate::forwarding::Way;
use crate::peers;
use crate::process::{Process, free_address};
use crate::visitor::ask_once;

/// What its server and its client speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Nothing but TCP.
    Tcp,
    /// The Noise protocol, over TCP.
    Noise,
}

/// A server and a client. Dropping it ends both.
pub(crate) struct Rathole {
    port: u16,
    server: Process,
    client: Process,
    _folder: TempDir,
}

impl Rathole {
    /// Starts both, and waits until a connection is answered by `service`.
    pub(crate) fn start(transport: Transport, service: SocketAddr) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-").tempdir().doing("make a folder")?;
        let (control, visitors) = (free_address()?, free_address()?);
        let (of_server, of_client) = match transport {
            Transport::Tcp => (String::new(), String::new()),
            Transport::Noise => noise()?,
        };
        let start = |side: &str, settings: String| {
            let config = folder.path().join(side).with_extension("toml");
            fs::write(&config, settings).doing("write the configuration")?;
            Process::start(Command::new(binary()?).arg(&config), config.with_extension("log"))
        };
        let service_of =
            |side: &str, address: String| format!("[{side}.services.bench]\ntoken = \"bench\"\n{address}\n");
        let settings = service_of("server", format!("bind_addr = \"{visitors}\""));
        let server = start("server", format!("[server]\nbind_addr = \"{control}\"\n{of_server}{settings}"))?;
        let settings = service_of("client", format!("local_addr = \"{service}\""));
        let mut client = start("client", format!("[client]\nremote_addr = \"{control}\"\n{of_client}{settings}"))?;
        client.await_start(|_| ask_once(visitors.port()).ok())?;
        Ok(Self { port: visitors.port(), server, client, _folder: folder })
    }

    /// Where clients connect, and who carries them.
    pub(crate) fn way(&self) -> Way {
        Way { port: self.port, listener: self.server.tree(), transit: None, endpoint: Some(self.client.tree()) }
    }
}

/// What the files of the server and of the client have of Noise: a key pair of this run, and for the rest what is
/// default.
fn noise() -> Result<(String, String), Failure> {
    let output = Command::new(binary()?).arg("--genkey").output().doing("make a key pair")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (private, public) = key_pair(&text).ok_or_else(|| Failure::new(format!("this is no key pair: {text}")))?;
    let settings = |side: &str, key: &str, value: &str| {
        format!("[{side}.transport]\ntype = \"noise\"\n[{side}.transport.noise]\n{key} = \"{value}\"\n")
    };
    Ok((settings("server", "local_private_key", private), settings("client", "remote_public_key", public)))
}

/// The private and the public key in what `rathole --genkey` prints: each stands below its title.
fn key_pair(text: &str) -> Option<(&str, &str)> {
    let below = |title: &str| text.lines().skip_while(|line| *line != title).nth(1);
    Some((below("Private Key:")?, below("Public Key:")?))
}

/// Its version, as it says it.
pub(crate) fn version() -> Result<String, Failure> {
    let output = Command::new(binary()?).arg("--version").output().doing("ask rathole for its version")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().find_map(|line| line.strip_prefix("Build Version:"));
    Ok(version.map_or_else(|| text.trim().to_owned(), |version| version.trim().to_owned()))
}

fn binary() -> Result<PathBuf, Failure> {
    peers::find("RATHOLE_BIN", "rathole")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_is_read_from_what_rathole_prints() {
        let printed = "Private Key:\ncHJpdmF0ZQ==\n\nPublic Key:\ncHVibGlj\n";
        assert_eq!(key_pair(printed), Some(("cHJpdmF0ZQ==", "cHVibGlj")));
        assert_eq!(key_pair("Private Key:\ncHJpdmF0ZQ==\n"), None);
    }
}
