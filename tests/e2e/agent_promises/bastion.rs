//! A stock sshd in a world of its own: files of `/etc` that it alone sees, or a namespace that the test joined to another.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use adit_e2e::{KeyType, Member, Netns, Running, ServiceAddress, eventually, finish, generate_key, require};
use tempfile::TempDir;

use crate::SOON;
use crate::free_port::free_port;

/// The server, and one key it lets in. It needs root.
pub(super) struct Bastion {
    folder: TempDir,
    address: SocketAddr,
    server: Running,
}

impl Bastion {
    /// Inside `netns`, at `address` there, with that namespace's `/etc`.
    pub(super) fn inside(netns: &Netns, address: Ipv4Addr) -> Option<Bastion> {
        let program = require("sshd")?;
        let address = SocketAddr::from((address, 2222));
        let folder = prepared(address, "UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no");
        let server = Running::spawn(netns.command(program.to_str().unwrap()).args(arguments(folder.path())));
        netns.inside(|| eventually(SOON, "sshd answers", || TcpStream::connect(address).is_ok()));
        Some(Bastion { folder, address, server })
    }

    /// On loopback, with these files in place of those of the machine, and with these settings.
    pub(super) fn seeing(files: &[(&str, &str)], settings: &str) -> Option<Bastion> {
        let program = require("sshd")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let folder = prepared(address, settings);
        let mut serve = Command::new("unshare");
        let mounts: Vec<String> = files
            .iter()
            .enumerate()
            .map(|(number, (place, text))| {
                let file = folder.path().join(format!("etc-{number}"));
                fs::write(&file, text).unwrap();
                format!("mount --bind '{}' '{place}'", file.display())
            })
            .collect();
        let script = format!("{} && exec \"$@\"", mounts.join(" && "));
        serve.args(["--mount", "sh", "-c", &script, "sh"]).arg(program).args(arguments(folder.path()));
        let server = Running::spawn(&mut serve);
        eventually(SOON, "sshd answers", || TcpStream::connect(address).is_ok());
        Some(Bastion { folder, address, server })
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("login")
    }

    pub(super) fn log(&self) -> String {
        self.server.stderr()
    }

    /// Its host key's, as `ssh-keygen -l` shows it.
    pub(super) fn fingerprint(&self) -> String {
        Member { name: "host".to_owned(), key: self.folder.path().join("host") }.fingerprint()
    }

    /// Encrypts the key that it lets in.
    pub(super) fn encrypt_key(&self, passphrase: &str) {
        let set = ["-q", "-p", "-P", "", "-N", passphrase, "-f"];
        assert_eq!(finish(Command::new("ssh-keygen").args(set).arg(self.key()), SOON).code(), 0);
    }
}

impl ServiceAddress for Bastion {
    fn port(&self) -> u16 {
        self.address.port()
    }
}

fn prepared(address: SocketAddr, settings: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let host_key = generate_key(folder.path(), "host", KeyType::Ed25519);
    generate_key(folder.path(), "login", KeyType::Ed25519);
    let authorized = folder.path().join("login.pub");
    let text = format!(
        "{settings}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
         PermitRootLogin yes\nLogLevel DEBUG1\n",
        host_key.display(),
        authorized.display()
    );
    fs::write(folder.path().join("sshd_config"), text).unwrap();
    // Its privilege separation wants this folder, which Debian makes only at boot.
    let _ = fs::create_dir_all("/run/sshd");
    folder
}

fn arguments(folder: &Path) -> [String; 4] {
    ["-D".to_owned(), "-e".to_owned(), "-f".to_owned(), folder.join("sshd_config").display().to_string()]
}
