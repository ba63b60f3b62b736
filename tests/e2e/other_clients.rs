//! Clients that are not OpenSSH: each logs in, carries 100 MB each way byte for byte, and is refused a command without
//! hanging (lines 9, 10 and 15).

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use adit_e2e::{
    JumpHost, KeyType, Member, PatternService, Running, ServiceAddress, exchange, finish, generate_key, peer_script,
    python, require, within,
};

use crate::SOON;

const HUNDRED_MB: u64 = 100_000_000;

/// A jump host, a member, and what the member shares.
struct Stage {
    host: JumpHost,
    service: PatternService,
}

impl Stage {
    fn new() -> Stage {
        Stage { host: JumpHost::start(), service: PatternService::start() }
    }

    /// A jump host that asks for new keys after every megabyte.
    fn with_frequent_rekeys() -> Stage {
        let host = JumpHost::builder().setting("rekey_bytes", "1MB").start();
        Stage { host, service: PatternService::start() }
    }

    /// Four flows at once, 10 MB each way each.
    fn carry_four_flows(&self, port: u16) {
        self.host.await_port(port);
        let address = self.host.forwarded(port);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || exchange(address, seed, 10_000_000));
            }
        });
        self.service.assert_no_failure();
    }

    fn address(&self) -> (String, String) {
        (self.host.ssh().ip().to_string(), self.host.ssh().port().to_string())
    }

    /// 100 MB each way through `port`, then a second and a third visitor at once.
    fn carry(&self, port: u16) {
        self.host.await_port(port);
        let address = self.host.forwarded(port);
        let start = Instant::now();
        exchange(address, 1, HUNDRED_MB);
        eprintln!("100 MB each way in {:?}", start.elapsed());
        std::thread::scope(|scope| {
            scope.spawn(|| exchange(address, 2, 1_000_003));
            scope.spawn(|| exchange(address, 3, 1_000_003));
        });
        self.service.assert_no_failure();
    }
}

/// dropbear's client with a key of dropbear's own making; `None` where it is excused.
fn dbclient(stage: &Stage) -> Option<Command> {
    let (dbclient, dropbearkey) = (require("dbclient")?, require("dropbearkey")?);
    let key = stage.host.folder().join("dropbear");
    let made = finish(Command::new(dropbearkey).args(["-t", "ed25519", "-f"]).arg(&key), SOON);
    let public = made.stdout.lines().find(|line| line.starts_with("ssh-ed25519 ")).expect("a public key").to_owned();
    std::fs::write(key.with_extension("pub"), public).unwrap();
    stage.host.admin(["account", "add", "alice"]);
    stage.host.save_key(&Member { name: "alice".to_owned(), key: key.clone() }, "router");
    let mut command = Command::new(dbclient);
    let (_, port) = stage.address();
    // Known hosts go to the home folder; this one ends with the test.
    command.env("HOME", stage.host.folder()).arg("-y").arg("-i").arg(key).args(["-p", &port, "-l", "tunnel"]);
    Some(command)
}

#[test]
fn dbclient_carries_100_mb() {
    let stage = Stage::new();
    let Some(mut command) = dbclient(&stage) else { return };
    command.args(["-N", "-R", &format!("10080:127.0.0.1:{}", stage.service.port()), &stage.address().0]);
    let _tunnel = Running::spawn(&mut command);
    stage.carry(10080);
}

/// dropbear opens its session before its forwards.
#[test]
fn dbclient_is_greeted() {
    let stage = Stage::new();
    let Some(mut command) = dbclient(&stage) else { return };
    command.args(["-T", "-R", &format!("10080:127.0.0.1:{}", stage.service.port()), &stage.address().0]);
    let tunnel = Running::spawn(&mut command);
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.\n");
    stage.host.await_port(10080);
    exchange(stage.host.forwarded(10080), 1, 1_000_000);
    stage.service.assert_no_failure();
}

#[test]
fn dbclient_on_a_terminal_ends_at_ctrl_c() {
    let stage = Stage::new();
    let Some(mut command) = dbclient(&stage) else { return };
    command.args(["-R", &format!("10080:127.0.0.1:{}", stage.service.port()), &stage.address().0]);
    let mut tunnel = Running::spawn_on_terminal(&mut command);
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.\r\n");
    stage.host.await_port(10080);
    exchange(stage.host.forwarded(10080), 1, 1_000_000);
    stage.service.assert_no_failure();
    tunnel.type_in(b"\x03");
    assert_eq!(tunnel.wait_exit(SOON).code(), 130);
    stage.host.await_port_free(10080, Duration::from_secs(1));
}

#[test]
fn dbclient_is_refused_a_command() {
    let stage = Stage::new();
    let Some(mut command) = dbclient(&stage) else { return };
    // On a failure without a close dropbear hangs for ever; on a close without a status it exits 0.
    let refused = finish(command.args([&stage.address().0, "id"]), SOON);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(refused.stdout, "");
}

/// PuTTY's client with a PuTTY key; `None` where it is excused.
fn plink(stage: &Stage) -> Option<Command> {
    let (plink, puttygen) = (require("plink")?, require("puttygen")?);
    let alice = stage.host.member("alice");
    let key = stage.host.folder().join("alice.ppk");
    let mut convert = Command::new(puttygen);
    convert.arg(&alice.key).args(["-O", "private", "-o"]).arg(&key).env("HOME", stage.host.folder());
    let converted = finish(&mut convert, SOON);
    assert!(converted.status.success(), "{converted:?}");
    let (address, port) = stage.address();
    let mut command = Command::new(plink);
    command.env("HOME", stage.host.folder()).args(["-ssh", "-batch", "-noagent", "-P", &port, "-i"]).arg(key);
    command.args(["-hostkey", &host_key_fingerprint(&address, &port), "-l", "tunnel"]);
    Some(command)
}

/// What the server shows to those who ask, so that PuTTY need not be asked.
fn host_key_fingerprint(address: &str, port: &str) -> String {
    let scanned = finish(Command::new("ssh-keyscan").args(["-T", "5", "-t", "ed25519", "-p", port, address]), SOON);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scanned");
    std::fs::write(&file, &scanned.stdout).unwrap();
    let listed = finish(Command::new("ssh-keygen").arg("-lf").arg(&file), SOON);
    let fingerprint = listed.stdout.split_whitespace().nth(1);
    fingerprint.unwrap_or_else(|| panic!("ssh-keyscan: {scanned:?}, ssh-keygen: {listed:?}")).to_owned()
}

#[test]
fn plink_carries_100_mb() {
    let stage = Stage::new();
    let Some(mut command) = plink(&stage) else { return };
    command.args(["-N", "-R", &format!("10080:127.0.0.1:{}", stage.service.port()), &stage.address().0]);
    let _tunnel = Running::spawn(&mut command);
    stage.carry(10080);
}

#[test]
fn plink_is_greeted() {
    let stage = Stage::new();
    let Some(mut command) = plink(&stage) else { return };
    command.args(["-R", &format!("10080:127.0.0.1:{}", stage.service.port()), &stage.address().0]);
    let tunnel = Running::spawn(&mut command);
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    stage.host.await_port(10080);
    exchange(stage.host.forwarded(10080), 1, 1_000_000);
    stage.service.assert_no_failure();
}

#[test]
fn plink_is_refused_a_command() {
    let stage = Stage::new();
    let Some(mut command) = plink(&stage) else { return };
    let refused = finish(command.args([&stage.address().0, "id"]), SOON);
    assert_ne!(refused.code(), 0, "{refused:?}");
    assert_eq!(refused.stdout, "");
}

/// A script of `peers/` with the arguments they share.
fn peer(stage: &Stage, script: &str) -> (Command, Member) {
    let alice = stage.host.member("alice");
    let (address, port) = stage.address();
    let mut command = Command::new(python());
    command.arg(peer_script(script)).args([&address, &port]).arg(&alice.key);
    (command, alice)
}

/// The port a script says it shares.
fn shared_port(tunnel: &Running) -> u16 {
    within(Duration::from_secs(20), "the script shares a port", || {
        tunnel.stdout().lines().find_map(|line| line.strip_prefix("sharing ")?.parse().ok())
    })
}

fn script_carries_100_mb(script: &str) {
    let stage = Stage::new();
    let (mut command, _) = peer(&stage, script);
    let tunnel = Running::spawn(command.args(["share", "10080", &stage.service.port().to_string()]));
    assert_eq!(shared_port(&tunnel), 10080);
    stage.carry(10080);
}

fn script_is_given_a_port(script: &str) {
    let stage = Stage::new();
    let (mut command, _) = peer(&stage, script);
    let tunnel = Running::spawn(command.args(["share", "0", &stage.service.port().to_string()]));
    let port = shared_port(&tunnel);
    assert!((10000..=60000).contains(&port), "port {port}");
    exchange(stage.host.forwarded(port), 1, 1_000_000);
    stage.service.assert_no_failure();
}

fn script_is_refused_a_command(script: &str) {
    let stage = Stage::new();
    let (mut command, _) = peer(&stage, script);
    let finished = finish(command.args(["exec", "id"]), Duration::from_secs(20));
    assert_eq!(finished.stdout, "refused\n", "{finished:?}");
}

#[test]
fn paramiko_carries_100_mb() {
    script_carries_100_mb("paramiko_share.py");
}

#[test]
fn paramiko_is_given_a_port() {
    script_is_given_a_port("paramiko_share.py");
}

#[test]
fn paramiko_is_refused_a_command() {
    script_is_refused_a_command("paramiko_share.py");
}

#[test]
fn asyncssh_carries_100_mb() {
    script_carries_100_mb("asyncssh_share.py");
}

#[test]
fn asyncssh_is_given_a_port() {
    script_is_given_a_port("asyncssh_share.py");
}

#[test]
fn asyncssh_is_refused_a_command() {
    script_is_refused_a_command("asyncssh_share.py");
}

#[test]
fn dbclient_follows_the_servers_rekeys() {
    let stage = Stage::with_frequent_rekeys();
    let Some(mut command) = dbclient(&stage) else { return };
    command.args(["-N", "-R", &format!("10080:127.0.0.1:{}", stage.service.port()), &stage.address().0]);
    let _tunnel = Running::spawn(&mut command);
    stage.carry_four_flows(10080);
}

#[test]
fn plink_follows_the_servers_rekeys() {
    let stage = Stage::with_frequent_rekeys();
    let Some(mut command) = plink(&stage) else { return };
    command.args(["-N", "-R", &format!("10080:127.0.0.1:{}", stage.service.port()), &stage.address().0]);
    let _tunnel = Running::spawn(&mut command);
    stage.carry_four_flows(10080);
}

fn script_follows_the_servers_rekeys(script: &str) {
    let stage = Stage::with_frequent_rekeys();
    let (mut command, _) = peer(&stage, script);
    let _tunnel = Running::spawn(command.args(["share", "10080", &stage.service.port().to_string()]));
    stage.carry_four_flows(10080);
}

#[test]
fn paramiko_follows_the_servers_rekeys() {
    script_follows_the_servers_rekeys("paramiko_share.py");
}

#[test]
fn asyncssh_follows_the_servers_rekeys() {
    script_follows_the_servers_rekeys("asyncssh_share.py");
}

/// Line 10: cancelled with the original address and the allocated port, and a reply is wanted.
#[test]
fn asyncssh_cancels_an_allocated_port() {
    let stage = Stage::new();
    let (mut command, _) = peer(&stage, "asyncssh_share.py");
    let mut tunnel = Running::spawn(command.args(["share", "0", &stage.service.port().to_string()]));
    let port = shared_port(&tunnel);
    stage.host.await_port(port);
    tunnel.type_in(b"close\n");
    tunnel.await_stdout(SOON, "closed");
    stage.host.await_port_free(port, Duration::from_secs(1));
    assert!(tunnel.is_running());
}

/// Line 9: the visitor's real numeric address and port, and the address asked for as it was asked for.
#[test]
fn paramiko_learns_who_visits_and_what_was_asked_for() {
    let stage = Stage::new();
    let (mut command, _) = peer(&stage, "paramiko_share.py");
    let tunnel = Running::spawn(command.args(["share", "0", &stage.service.port().to_string()]));
    let port = shared_port(&tunnel);
    let visitor = std::net::TcpStream::connect(stage.host.forwarded(port)).unwrap();
    let own = visitor.local_addr().unwrap();
    tunnel.await_stdout(SOON, &format!("visitor {} {} asked-for  {port}\n", own.ip(), own.port()));
}

/// One account, two keys, two kinds of client.
#[test]
fn two_clients_of_one_account_share_side_by_side() {
    let stage = Stage::new();
    let Some(mut first) = plink(&stage) else { return };
    let key: PathBuf = generate_key(stage.host.folder(), "script", KeyType::Ed25519);
    stage.host.save_key(&Member { name: "alice".to_owned(), key: key.clone() }, "script");
    let (address, port) = stage.address();
    let forward = format!("10080:127.0.0.1:{}", stage.service.port());
    let _first = Running::spawn(first.args(["-N", "-R", &forward, &address]));
    let mut second = Command::new(python());
    second.arg(peer_script("asyncssh_share.py")).args([&address, &port]).arg(key);
    let _second = Running::spawn(second.args(["share", "10081", &stage.service.port().to_string()]));
    stage.host.await_port(10080);
    stage.host.await_port(10081);
    exchange(stage.host.forwarded(10080), 1, 1_000_000);
    exchange(stage.host.forwarded(10081), 2, 1_000_000);
    stage.service.assert_no_failure();
}
