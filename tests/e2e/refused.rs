//! What a jump host refuses (line 15). A canary counts who came through: nobody; and the tunnel of the very same
//! session serves on, which is why most of these go through a shared connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use adit_e2e::{
    CountingCanary, EchoService, Finished, JumpHost, Member, Netns, OpenSsh, Running, ServiceAddress, asks_and_hears,
    eventually, finish, require,
};

use crate::SOON;

/// A member's shared connection with one working tunnel.
struct Tunnel {
    master: Running,
    echo: EchoService,
    canary: CountingCanary,
    alice: Member,
    host: JumpHost,
}

impl Tunnel {
    fn open() -> Tunnel {
        Tunnel::open_with(|ssh| ssh)
    }

    fn open_with(more: impl FnOnce(OpenSsh) -> OpenSsh) -> Tunnel {
        let host = JumpHost::start();
        let alice = host.member("alice");
        let (echo, canary) = (EchoService::start(), CountingCanary::start());
        let ssh = OpenSsh::new(&host, &alice).no_session().master(&host.folder().join("master"));
        let master = more(ssh.forward(10080, echo.port())).spawn();
        host.await_port(10080);
        Tunnel { master, echo, canary, alice, host }
    }

    /// Another `ssh` in the same SSH session.
    fn ssh(&self) -> OpenSsh {
        OpenSsh::new(&self.host, &self.alice).through(&self.host.folder().join("master"))
    }

    /// One of OpenSSH's other tools in the same SSH session.
    fn tool(&self, name: &str, words: &[&str]) -> Finished {
        let mut command = Command::new(name);
        command.args(OpenSsh::new(&self.host, &self.alice).quiet_options()).arg("-o").arg("ProxyCommand=false");
        command.arg("-o").arg(format!("ControlPath={}", self.host.folder().join("master").display()));
        finish(command.args(words), SOON)
    }

    fn destination(&self, path: &str) -> String {
        format!("tunnel@{}:{path}", self.host.ssh().ip())
    }

    /// A local port of the client, free because its address is this test's own.
    fn local_address(&self) -> SocketAddr {
        SocketAddr::new(self.host.ssh().ip(), 1080)
    }

    fn assert_unharmed(&mut self) {
        assert_eq!(self.canary.connections(), 0, "the canary was reached");
        assert!(asks_and_hears(self.host.forwarded(10080), "hello", SOON), "the tunnel of the session serves on");
        assert!(self.master.is_running());
        assert!(self.echo.visitors() > 0);
    }
}

/// Connects to `address`, says `request` and returns what comes until the end of the connection, which must come.
fn hear_to_the_end(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request).unwrap();
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => heard,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => heard,
        Err(error) => panic!("the connection does not end: {error}"),
    }
}

#[test]
fn a_command() {
    let mut tunnel = Tunnel::open();
    let refused = tunnel.ssh().remote_command(["touch", "/tmp/adit-was-here"]).run(SOON);
    // A multiplexed client reports the status it was sent; one with a connection of its own, 255.
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert_eq!(refused.stdout, "");
    tunnel.assert_unharmed();
}

#[test]
fn a_command_in_a_session_of_its_own() {
    let mut tunnel = Tunnel::open();
    let refused = OpenSsh::new(&tunnel.host, &tunnel.alice).remote_command(["id"]).run(SOON);
    assert_eq!(refused.code(), 255, "{refused:?}");
    assert!(refused.stderr.contains("exec request failed on channel 0"), "{refused:?}");
    tunnel.assert_unharmed();
}

#[test]
fn sftp() {
    let mut tunnel = Tunnel::open();
    let refused = tunnel.tool("sftp", &[&tunnel.destination("")]);
    assert_eq!(refused.code(), 255, "{refused:?}");
    assert!(!refused.stdout.contains("sftp>"), "{refused:?}");
    tunnel.assert_unharmed();
}

#[test]
fn scp_both_protocols_both_ways() {
    let mut tunnel = Tunnel::open();
    let file = tunnel.host.folder().join("loot");
    std::fs::write(&file, "loot").unwrap();
    let (local, remote) = (file.to_str().unwrap(), tunnel.destination("/tmp/adit-loot"));
    for words in [[local, &remote], [&remote, local]] {
        for protocol in ["-s", "-O"] {
            let refused = tunnel.tool("scp", &[protocol, words[0], words[1]]);
            assert_ne!(refused.code(), 0, "scp {protocol} {words:?}: {refused:?}");
        }
    }
    assert!(!std::path::Path::new("/tmp/adit-loot").exists());
    tunnel.assert_unharmed();
}

#[test]
fn a_local_forward() {
    let mut tunnel = Tunnel::open();
    let local = tunnel.local_address();
    let spec = format!("{local}:127.0.0.1:{}", tunnel.canary.port());
    assert_eq!(tunnel.ssh().args(["-O", "forward", "-L", &spec]).run(SOON).code(), 0);
    assert_eq!(hear_to_the_end(local, b"hello"), b"");
    tunnel.master.await_stderr(SOON, "open failed: administratively prohibited");
    tunnel.assert_unharmed();
}

#[test]
fn a_local_forward_to_a_socket_file() {
    let mut tunnel = Tunnel::open();
    let canary = tunnel.host.folder().join("canary.sock");
    let listener = UnixListener::bind(&canary).unwrap();
    listener.set_nonblocking(true).unwrap();
    let local = tunnel.local_address();
    let spec = format!("{local}:{}", canary.display());
    assert_eq!(tunnel.ssh().args(["-O", "forward", "-L", &spec]).run(SOON).code(), 0);
    assert_eq!(hear_to_the_end(local, b"hello"), b"");
    assert_eq!(listener.accept().map(drop).map_err(|e| e.kind()), Err(std::io::ErrorKind::WouldBlock));
    tunnel.assert_unharmed();
}

#[test]
fn a_socks_forward() {
    let mut tunnel = Tunnel::open();
    let local = tunnel.local_address();
    assert_eq!(tunnel.ssh().args(["-O", "forward", "-D", &local.to_string()]).run(SOON).code(), 0);
    let [high, low] = tunnel.canary.port().to_be_bytes();
    // SOCKS4 CONNECT to the canary; OpenSSH answers "granted" by itself before it asks the server.
    hear_to_the_end(local, &[4, 1, high, low, 127, 0, 0, 1, 0]);
    tunnel.assert_unharmed();
}

#[test]
fn a_forward_of_stdin_and_stdout() {
    let mut tunnel = Tunnel::open();
    let refused = tunnel.ssh().args(["-W".to_owned(), format!("127.0.0.1:{}", tunnel.canary.port())]).run(SOON);
    assert_ne!(refused.code(), 0, "{refused:?}");
    tunnel.assert_unharmed();
}

#[test]
fn a_jump() {
    let mut tunnel = Tunnel::open();
    // `-J` hands no `-i` and no `-o` on to the inner `ssh`: both read this file, so both share the connection.
    let config = tunnel.host.folder().join("ssh_config");
    let folder = tunnel.host.folder().display();
    let text = format!(
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile {folder}/known_hosts\nIdentityFile {}\nBatchMode yes\n\
         Match host {}\nControlPath {folder}/master\n",
        tunnel.alice.key.display(),
        tunnel.host.ssh().ip()
    );
    std::fs::write(&config, text).unwrap();
    let jump = format!("tunnel@{}", tunnel.host.ssh());
    let mut command = Command::new("ssh");
    command.arg("-F").arg(&config).args(["-J", &jump, "-p", &tunnel.canary.port().to_string(), "root@127.0.0.1"]);
    let refused = finish(&mut command, SOON);
    assert_eq!(refused.code(), 255, "{refused:?}");
    tunnel.assert_unharmed();
}

/// OpenSSH asks for this without wanting a reply, so the proof is that no agent channel ever comes back. The agent that
/// it would forward is the canary; the one in its environment only has to answer, or it does not ask at all.
#[test]
fn the_authentication_agent() {
    let mut tunnel = Tunnel::open();
    let (present, canary) = (tunnel.host.folder().join("agent.sock"), tunnel.host.folder().join("canary.sock"));
    let _agent = Running::spawn(Command::new("ssh-agent").arg("-D").arg("-a").arg(&present));
    eventually(SOON, "the agent listens", || present.exists());
    let listener = UnixListener::bind(&canary).unwrap();
    listener.set_nonblocking(true).unwrap();
    let ssh = OpenSsh::new(&tunnel.host, &tunnel.alice).args(["-v"]).forward(10081, tunnel.echo.port());
    let mut command = ssh.option(&format!("ForwardAgent={}", canary.display())).command();
    let session = Running::spawn(command.env("SSH_AUTH_SOCK", present));
    session.await_stdout(SOON, "Tunnel-only access for alice.");
    assert!(session.stderr().contains("Requesting authentication agent forwarding"), "{}", session.stderr());
    assert!(asks_and_hears(tunnel.host.forwarded(10081), "hello", SOON));
    assert_eq!(listener.accept().map(drop).map_err(|e| e.kind()), Err(std::io::ErrorKind::WouldBlock));
    tunnel.assert_unharmed();
}

#[test]
fn x11() {
    let mut tunnel = Tunnel::open();
    if require("xauth").is_none() {
        return;
    }
    let mut command =
        OpenSsh::new(&tunnel.host, &tunnel.alice).args(["-Y"]).forward(10081, tunnel.echo.port()).command();
    command.env("DISPLAY", "127.0.0.1:77").env("XAUTHORITY", tunnel.host.folder().join("xauthority"));
    let session = Running::spawn(&mut command);
    session.await_stderr(SOON, "X11 forwarding request failed on channel 0");
    session.await_stdout(SOON, "Tunnel-only access for alice.");
    assert!(asks_and_hears(tunnel.host.forwarded(10081), "hello", SOON));
    tunnel.assert_unharmed();
}

#[test]
fn a_remote_forward_of_a_socket_file() {
    let path = PathBuf::from(format!("/tmp/adit-e2e-{}.sock", std::process::id()));
    let spec = format!("{}:localhost:9", path.display());
    let mut tunnel = Tunnel::open_with(|ssh| ssh.forward_spec(&spec));
    let warning = format!("Warning: remote port forwarding failed for listen path {}", path.display());
    tunnel.master.await_stderr(SOON, &warning);
    assert!(!path.exists());
    tunnel.assert_unharmed();
}

/// In a namespace, because the client makes its end of the tunnel device before it asks.
#[test]
fn a_tunnel_device() {
    let Some(netns) = Netns::make() else { return };
    let host = JumpHost::builder().inside(&netns, "127.0.0.1:2222", "127.0.0.1").start();
    let alice = host.member("alice");
    let echo = netns.inside(EchoService::start);
    let ssh = OpenSsh::new(&host, &alice).inside(&netns).no_session().args(["-w", "any:any"]);
    let mut tunnel = ssh.forward(10080, echo.port()).spawn();
    host.await_port(10080);
    eventually(SOON, "ssh is told that its device is refused", || tunnel.stderr().contains("open failed"));
    assert!(netns.inside(|| asks_and_hears(host.forwarded(10080), "hello", SOON)));
    assert!(tunnel.is_running());
}

/// `env` is ignored, not answered with an end of the session.
#[test]
fn an_environment_variable_is_ignored() {
    let tunnel = Tunnel::open();
    let session = tunnel.ssh().option("SetEnv=LC_ADIT=1").spawn();
    session.await_stdout(SOON, "Tunnel-only access for alice.\n");
}

/// A client that keeps asking for what it does not get loses nothing else, and the server stays small.
#[test]
fn a_hundred_refused_channels_leave_nothing_behind() {
    let mut tunnel = Tunnel::open();
    let local = tunnel.local_address();
    let spec = format!("{local}:127.0.0.1:{}", tunnel.canary.port());
    assert_eq!(tunnel.ssh().args(["-O", "forward", "-L", &spec]).run(SOON).code(), 0);
    hear_to_the_end(local, b"hello");
    let before = tunnel.host.descriptors();
    for _ in 0..100 {
        assert_eq!(hear_to_the_end(local, b"hello"), b"");
    }
    eventually(Duration::from_secs(2), "no descriptor is left", || tunnel.host.descriptors() <= before);
    tunnel.assert_unharmed();
}
