//! OpenSSH's client as a person runs it: `ssh -N -R`, the same for both servers.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::failure::{Doing, Failure};
use crate::server::Server;

/// A cipher by its name in RFC 5647 and OpenSSH's PROTOCOL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CipherName {
    /// AES-128 in Galois/Counter Mode.
    Aes128Gcm,
    /// ChaCha20 with Poly1305, OpenSSH's way.
    Chacha20,
}

impl CipherName {
    /// What `ssh -c` wants.
    fn option(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes128-gcm@openssh.com",
            Self::Chacha20 => "chacha20-poly1305@openssh.com",
        }
    }

    /// In a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes128-gcm",
            Self::Chacha20 => "chacha20",
        }
    }
}

/// A running client with one remote forward.
pub(crate) struct OpenSsh {
    client: Child,
    port: u16,
}

impl OpenSsh {
    /// Logs in, forwards a port that the server chooses to `service`, and waits until the forward stands.
    pub(crate) fn forward(server: &Server, cipher: CipherName, service: SocketAddr) -> Result<Self, Failure> {
        let mut command = Command::new("ssh");
        let settings = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "ControlPath=none",
            "ExitOnForwardFailure=yes",
        ];
        command
            .args(["-F", "none", "-N", "-c", cipher.option()])
            .args(settings.iter().flat_map(|setting| ["-o", setting]));
        command.arg("-i").arg(server.identity()).args(["-p", &server.ssh().port().to_string()]);
        command.args(["-R", &format!("127.0.0.1:0:{service}"), &format!("{}@{}", server.user(), server.ssh().ip())]);
        command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut client = command.spawn().doing("run ssh")?;
        let mut errors = BufReader::new(client.stderr.take().ok_or_else(|| Failure::new("ssh has no stderr"))?);
        let mut said = String::new();
        let port = loop {
            let before = said.len();
            if errors.read_line(&mut said).doing("hear what ssh says")? == 0 {
                let _ = client.wait();
                return Err(Failure::new(format!("ssh ended: {said}")));
            }
            if let Some(port) = allocated_port(&said[before..]) {
                break port;
            }
        };
        // Whatever it says later must not fill the pipe and hold it up.
        thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Ok(Self { client, port })
    }

    /// The forwarded port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn allocated_port(line: &str) -> Option<u16> {
    line.strip_prefix("Allocated port ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_what_ssh_prints() {
        assert_eq!(allocated_port("Allocated port 40123 for remote forward to 127.0.0.1:80\r\n"), Some(40123));
        assert_eq!(allocated_port("Warning: Permanently added something\r\n"), None);
    }
}
