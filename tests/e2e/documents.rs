//! The commands of the documents, character for character: host name, port, key file and all.
//!
//! They run in a network namespace whose `/etc/hosts` knows `jump.ring.nekotopia.io`, with an `/etc/ssh/ssh_config` that
//! answers the question about the host key, which a person would answer with "yes".

use std::process::Command;
use std::time::Duration;

use adit_e2e::{HttpService, JumpHost, Member, Netns, Running, eventually, finish, generate_key, http_get, require};
use adit_e2e::{KeyType, remains};

use crate::SOON;

const JUMP_HOST: &str = "jump.ring.nekotopia.io";

/// Someone's laptop and the jump host, on a mesh of their own.
///
/// Field order is the order of their end: clients, services and the host go before the network.
struct Mesh {
    host: JumpHost,
    netns: Netns,
}

impl Mesh {
    fn with_member(name: &str) -> Option<(Mesh, Member)> {
        require("ssh")?;
        let netns = Netns::make()?;
        let host = JumpHost::builder().inside(&netns, "127.0.0.1:2222", "127.0.0.1").start();
        host.admin(["account", "add", name]);
        let home = host.folder().join("home");
        let key = generate_key(&home.join(".ssh"), "nekotopia_jump", KeyType::Ed25519);
        let member = Member { name: name.to_owned(), key };
        host.save_key(&member, "my-laptop");
        netns.write_etc("hosts", &format!("127.0.0.1 localhost {JUMP_HOST}\n"));
        let config = format!(
            "StrictHostKeyChecking accept-new\nUserKnownHostsFile {}\nIdentityFile {}\n",
            host.folder().join("known_hosts").display(),
            member.key.display()
        );
        netns.write_etc("ssh/ssh_config", &config);
        Some((Mesh { host, netns }, member))
    }

    /// Serves `body` on the member's `localhost:port`.
    fn serve(&self, port: u16, body: &str) -> HttpService {
        self.netns.inside(|| HttpService::start_on(port, body))
    }

    /// The command as a shell would be given it; `~` and `/home/youruser` are the member's home.
    fn command(&self, text: &str) -> Command {
        let home = self.host.folder().join("home");
        let text = text.replace("/home/youruser", home.to_str().unwrap());
        let mut command = self.netns.command("sh");
        // autossh gives up for good when its first `ssh` ends within 30 s, which is how long a test must not wait.
        command.arg("-c").arg(format!("exec {text}")).env("HOME", home).env("AUTOSSH_GATETIME", "0");
        command.env_remove("SSH_AUTH_SOCK");
        command
    }

    /// What a visitor reads at `jump.ring.nekotopia.io:port`.
    fn visit(&self, port: u16) -> Option<String> {
        let address = self.host.forwarded(port);
        let name = format!("{JUMP_HOST}:{port}");
        self.netns.inside(|| http_get(address, &name, "/", SOON)).map(|answer| answer.body)
    }

    fn await_visit(&self, port: u16, body: &str) {
        self.host.await_port(port);
        assert_eq!(self.visit(port).as_deref(), Some(body), "on port {port}");
    }
}

/// Runs `command`, sees one visitor reach localhost:8000 through port 10080, and returns the running client.
fn shares_a_web_app(mesh: &Mesh, command: &str) -> Running {
    let tunnel = Running::spawn(&mut mesh.command(command));
    mesh.await_visit(10080, "from the laptop");
    tunnel
}

const HOW_IT_WORKS: &str = "ssh -p 2222 -R 10080:localhost:3000 tunnel@jump.ring.nekotopia.io";

const STEP_4: &str = r"ssh -i ~/.ssh/nekotopia_jump \
-p 2222 \
-R 10080:localhost:8000 \
tunnel@jump.ring.nekotopia.io";

const KEEPING_THE_TUNNEL_ALIVE: &str = r"ssh -i ~/.ssh/nekotopia_jump \
-p 2222 \
-R 10080:localhost:8000 \
-o ServerAliveInterval=30 \
-o ServerAliveCountMax=3 \
tunnel@jump.ring.nekotopia.io";

const AUTOSSH: &str = r"autossh -M 0 \
-i ~/.ssh/nekotopia_jump \
-p 2222 \
-R 10080:localhost:8000 \
-o ServerAliveInterval=30 \
-o ServerAliveCountMax=3 \
-N \
tunnel@jump.ring.nekotopia.io";

const MULTIPLE_SERVICES: &str = r"ssh -i ~/.ssh/nekotopia_jump \
-p 2222 \
-R 10080:localhost:3000 \
-R 10081:localhost:8080 \
-R 10082:localhost:5432 \
tunnel@jump.ring.nekotopia.io";

const SECOND_EDITION_STEP_3: &str =
    "ssh -p 2222 -R 10080:localhost:8000 -i ~/.ssh/nekotopia_jump tunnel@jump.ring.nekotopia.io";

const SECOND_EDITION_AUTOSSH: &str = r#"autossh -M 0 \
-o "ServerAliveInterval 30" \
-o "ServerAliveCountMax 3" \
-p 2222 -R 10080:localhost:8000 \
-i ~/.ssh/nekotopia_jump \
tunnel@jump.ring.nekotopia.io"#;

const SYSTEMD_EXEC_START: &str = r"/usr/bin/autossh -M 0 -N \
-o ServerAliveInterval=30 \
-o ExitOnForwardFailure=yes \
-p 2222 -R 10080:localhost:8000 \
-i /home/youruser/.ssh/nekotopia_jump \
tunnel@jump.ring.nekotopia.io";

/// The example under "Traffic Flow", with the member's default key.
#[test]
fn the_first_example_shares_port_3000() {
    let Some((mesh, _)) = Mesh::with_member("alice") else { return };
    let _app = mesh.serve(3000, "the node app");
    let _tunnel = Running::spawn(&mut mesh.command(HOW_IT_WORKS));
    mesh.await_visit(10080, "the node app");
}

/// Step 1 to step 5; the greeting is the one the document shows.
#[test]
fn step_4_greets_and_shares() {
    let Some((mesh, _)) = Mesh::with_member("your_username") else { return };
    let app = mesh.serve(8000, "from the laptop");
    let tunnel = shares_a_web_app(&mesh, STEP_4);
    tunnel.await_stdout(SOON, "Tunnel-only access for your_username.");
    assert!(app.requests()[0].contains("Host: jump.ring.nekotopia.io:10080\r\n"), "18: the host header is untouched");
}

#[test]
fn the_keepalive_example_shares() {
    let Some((mesh, _)) = Mesh::with_member("alice") else { return };
    let _app = mesh.serve(8000, "from the laptop");
    shares_a_web_app(&mesh, KEEPING_THE_TUNNEL_ALIVE);
}

#[test]
fn the_second_editions_step_3_shares() {
    let Some((mesh, _)) = Mesh::with_member("alice") else { return };
    let _app = mesh.serve(8000, "from the laptop");
    shares_a_web_app(&mesh, SECOND_EDITION_STEP_3);
}

/// Line 8, as the document writes it.
#[test]
fn the_multiple_services_example_shares_three() {
    let Some((mesh, _)) = Mesh::with_member("alice") else { return };
    let _apps = [(3000, "web"), (8080, "admin"), (5432, "database")].map(|(port, body)| mesh.serve(port, body));
    let _tunnel = Running::spawn(&mut mesh.command(MULTIPLE_SERVICES));
    mesh.await_visit(10080, "web");
    mesh.await_visit(10081, "admin");
    mesh.await_visit(10082, "database");
}

/// Line 17: the server is restarted, and autossh has the tunnel back within 15 s.
fn survives_a_restart(command: &str) {
    let Some((mut mesh, _)) = Mesh::with_member("alice") else { return };
    if require("autossh").is_none() {
        return;
    }
    let _app = mesh.serve(8000, "from the laptop");
    let mut tunnel = shares_a_web_app(&mesh, command);
    mesh.host.stop();
    mesh.host.start_again();
    let back = eventually(Duration::from_secs(15), "the tunnel is back after a restart", || {
        mesh.host.listens_on(10080) && mesh.visit(10080).as_deref() == Some("from the laptop")
    });
    eprintln!("serving again after {back:?}");
    assert!(tunnel.is_running(), "autossh never gave up");
}

#[test]
fn the_autossh_example_survives_a_restart() {
    survives_a_restart(AUTOSSH);
}

#[test]
fn the_second_editions_autossh_survives_a_restart() {
    survives_a_restart(SECOND_EDITION_AUTOSSH);
}

#[test]
fn the_systemd_units_command_survives_a_restart() {
    survives_a_restart(SYSTEMD_EXEC_START);
}

/// "They must be on the mesh": on any other address of the machine nothing listens (line 29).
#[test]
fn nothing_listens_off_the_mesh() {
    let Some((mesh, _)) = Mesh::with_member("alice") else { return };
    let _app = mesh.serve(8000, "from the laptop");
    let _tunnel = shares_a_web_app(&mesh, STEP_4);
    let elsewhere = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 2], port));
    for port in [2222, 10080] {
        let outcome = mesh.netns.inside(|| std::net::TcpStream::connect(elsewhere(port)));
        assert_eq!(outcome.map(drop).map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionRefused));
    }
}

/// "Closing the SSH session tears the tunnel down", "the forward dies, port frees up" (line 12).
#[test]
fn closing_the_session_frees_the_port() {
    let Some((mesh, _)) = Mesh::with_member("alice") else { return };
    let _app = mesh.serve(8000, "from the laptop");
    let tunnel = shares_a_web_app(&mesh, STEP_4);
    drop(tunnel);
    mesh.host.await_port_free(10080, Duration::from_secs(1));
    remains(Duration::from_millis(200), "the port stays free", || !mesh.host.listens_on(10080));
}

/// Troubleshooting, "Permission denied (publickey)": the key was never uploaded.
#[test]
fn a_key_nobody_uploaded_is_refused_as_the_document_says() {
    let Some((mesh, member)) = Mesh::with_member("alice") else { return };
    mesh.host.remove_key(&member);
    let refused = finish(&mut mesh.command(STEP_4), SOON);
    assert_eq!(refused.code(), 255, "{refused:?}");
    assert!(refused.stderr.contains("tunnel@jump.ring.nekotopia.io: Permission denied (publickey)."), "{refused:?}");
}
