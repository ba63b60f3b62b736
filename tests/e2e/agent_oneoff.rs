//! Forwards without a running agent: `adit forward` through a stock sshd, `adit share` at our jump host (`spec/agent.md`, lines 1,
//! 7, 8, 10, 26 and 31, and "beyond the seed").

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use adit_e2e::{
    Finished, HttpService, JumpHost, Member, Running, ServiceAddress, Signal, Sshd, adit_as, eventually, finish, within,
};
use tempfile::TempDir;

use crate::SOON;
use crate::free_port::free_port;

#[test]
fn a_forward_to_a_service_behind_the_server() {
    let Some(sshd) = Sshd::start() else { return };
    let (home, service) = (home(), HttpService::start("behind the bastion"));
    let port = free_port();
    let spec = format!("{port}:127.0.0.1:{}", service.port());
    let mut forward = Running::spawn(through(&sshd, &home, &["-L", &spec]).env("PATH", ""));
    forward.await_stdout(SOON, &format!("127.0.0.1:{port} → 127.0.0.1:{} via 127.0.0.1\n", service.port()));
    assert_eq!(curl(&["-s", &format!("http://127.0.0.1:{port}/")]).stdout, "behind the bastion");

    forward.signal(Signal::INT);
    let ended = forward.wait_exit(SOON);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""), "{ended:?}");
    eventually(SOON, "sshd hears our goodbye", || sshd.log().contains("Received disconnect"));
}

#[test]
fn a_proxy_and_a_remote_forward_share_one_login() {
    let Some(sshd) = Sshd::start() else { return };
    let (home, service) = (home(), HttpService::start("through the proxy"));
    let (port, back) = (free_port(), format!("0:localhost:{}", service.port()));
    let forward = Running::spawn(&mut through(&sshd, &home, &["-D", &port.to_string(), "-R", &back]));
    forward.await_stdout(SOON, &format!("127.0.0.1:{port} SOCKS5"));
    forward.await_stdout(SOON, " here\n");
    let proxy = format!("127.0.0.1:{port}");
    let url = format!("http://localhost:{}/", service.port());
    assert_eq!(curl(&["-s", "--noproxy", "", "--socks5-hostname", &proxy, &url]).stdout, "through the proxy");
    let remote = forward.stdout();
    let remote = remote.lines().find(|line| line.ends_with(" here")).and_then(|line| line.split(' ').next()).unwrap();
    assert_eq!(curl(&["-s", &format!("http://{remote}/")]).stdout, "through the proxy");
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
}

#[test]
fn a_killed_server_that_comes_back_is_found_again() {
    let Some(mut sshd) = Sshd::start() else { return };
    let (home, service) = (home(), HttpService::start("again"));
    let port = free_port();
    let forward = Running::spawn(&mut through(&sshd, &home, &["-L", &format!("{port}:127.0.0.1:{}", service.port())]));
    forward.await_stdout(SOON, " via ");
    sshd.kill();
    forward.await_stderr(SOON, "it is tried again");
    sshd.start_again();
    eventually(SOON, "the forward is told twice", || forward.stdout().matches(" via ").count() == 2);
    assert_eq!(curl(&["-s", &format!("http://127.0.0.1:{port}/")]).stdout, "again");
}

#[test]
fn what_keeps_a_forward_from_coming_up_is_told() {
    let Some(sshd) = Sshd::start() else { return };
    let home = home();
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let busy = format!("{}:127.0.0.1:1", held.port());
    for (exit, told, words) in [
        (7, "is in use by", vec!["-L", &busy]),
        (2, "bind_address '0.0.0.0' must be a loopback address", vec!["-D", "0.0.0.0:1080"]),
        (6, "is not known: it shows ssh-ed25519 SHA256:", vec!["-D", "1080", "--host-keys", "strict"]),
    ] {
        let ended = finish(command(&sshd, &home).args(&words), SOON);
        assert_eq!(ended.code(), exit, "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
}

#[test]
fn a_share_shows_its_key_and_waits_until_it_is_let_in() {
    let mut host = JumpHost::start();
    let (home, service) = (home(), HttpService::start("shared"));
    let via = host.ssh().to_string();
    let mut command = at_home(adit_as("share"), &home);
    command.args(["--via", &via, "--port", "10080", "--host-keys", "accept-new", &service.port().to_string()]);
    let mut share = Running::spawn(&mut command);
    share.await_stdout(SOON, "does not let this key in yet");

    let key = home.path().join("data/share_key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    assert!(share.stdout().contains(&public), "{}", share.stdout());
    host.admin(["account", "add", "demo"]);
    host.admin(["key", "add", "demo", key.with_extension("pub").to_str().unwrap()]);
    share.await_stdout(2 * SOON, &format!("localhost:{} is at {}:10080", service.port(), host.ssh().ip()));
    let url = format!("http://{}/", host.forwarded(10080));
    assert_eq!(curl(&["-s", &url]).stdout, "shared");

    host.kill();
    share.await_stderr(SOON, "it is tried again");
    host.start_again();
    eventually(2 * SOON, "the share is back", || curl(&["-s", &url]).stdout == "shared");

    host.remove_key(&Member { name: "demo".to_owned(), key });
    let asks_again = || share.stdout().matches("does not let this key in yet").count() == 2;
    eventually(2 * SOON, "the key is shown again when it was taken away", asks_again);
    host.await_port_free(10080, SOON);

    share.signal(Signal::TERM);
    assert_eq!(share.wait_exit(SOON).code(), 0);
}

#[test]
fn questions_are_asked_at_the_terminal() {
    let Some(sshd) = Sshd::start() else { return };
    let (home, port) = (home(), free_port());
    let set = ["-q", "-p", "-P", "", "-N", "open sesame", "-f"];
    assert_eq!(finish(Command::new("ssh-keygen").args(set).arg(sshd.key()), SOON).code(), 0);
    let mut forward = Running::spawn_on_terminal(command(&sshd, &home).args(["-D", &port.to_string()]));
    forward.await_stderr(SOON, "Passphrase of ");
    forward.type_in(b"open saysme\n");
    forward.await_stderr(SOON, "It is another one.");
    eventually(SOON, "it is asked for again", || forward.stderr().matches("Passphrase of ").count() == 2);
    forward.type_in(b"open sesame\n");
    forward.await_stderr(SOON, "Is this its host key? (yes/no) ");
    assert_eq!(forward.stdout(), "", "what is typed is not shown");
    forward.type_in(b"yes\n");
    forward.await_stdout(SOON, &format!("127.0.0.1:{port} SOCKS5"));
    assert!(forward.stdout().starts_with("yes"), "what is no secret is shown: {}", forward.stdout());
    assert!(fs::read_to_string(data(home.path()).join("known_hosts")).unwrap().contains("ssh-ed25519 "));
}

#[test]
fn a_share_says_that_nothing_listens() {
    let host = JumpHost::start();
    let (home, port) = (home(), free_port());
    let alice = host.member("alice");
    let mut command = at_home(adit_as("share"), &home);
    command.args(["--via", &host.ssh().to_string(), "--host-keys", "accept-new", "--json", "--key"]);
    let share = Running::spawn(command.arg(&alice.key).arg(port.to_string()));
    share.await_stdout(SOON, r#"{"event":"no_service""#);
    let listen = within(SOON, "the port that the server chose", || {
        let stdout = share.stdout();
        let change = stdout.lines().find(|line| line.contains(r#""event":"listening""#))?;
        let change: serde_json::Value = serde_json::from_str(change).ok()?;
        change["listen"].as_str()?.rsplit_once(':')?.1.parse::<u16>().ok()
    });
    assert_ne!(curl(&["-s", &format!("http://{}/", host.forwarded(listen))]).status.code(), Some(0));
    share.await_stdout(SOON, r#"{"event":"refused""#);
}

/// An empty home of the test's own.
fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn at_home(mut command: Command, home: &TempDir) -> Command {
    command.env("HOME", home.path()).env_remove("SSH_AUTH_SOCK");
    command.arg("--data").arg(data(home.path()));
    command
}

fn data(home: &Path) -> std::path::PathBuf {
    home.join("data")
}

/// `adit forward` through `sshd` as whoever runs the tests.
fn command(sshd: &Sshd, home: &TempDir) -> Command {
    let mut command = at_home(adit_as("forward"), home);
    let me = finish(Command::new("id").arg("-un"), SOON).stdout;
    command.args(["--via", &format!("{}@127.0.0.1:{}", me.trim(), sshd.port())]).arg("-i").arg(sshd.key());
    command
}

/// The same, with a host key that is taken unseen.
fn through(sshd: &Sshd, home: &TempDir, words: &[&str]) -> Command {
    let mut command = command(sshd, home);
    command.args(["--host-keys", "accept-new"]).args(words);
    command
}

fn curl(words: &[&str]) -> Finished {
    finish(Command::new("curl").args(["--max-time", "10"]).args(words), 2 * SOON)
}
