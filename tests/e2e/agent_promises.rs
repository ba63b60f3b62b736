//! Promises of the agent that want a scene of their own (`spec/agent.md`): a machine from which nothing else leaves, a server with
//! passwords, the times of every pause and probe, and every way in for an address that others reach.

mod apart;
mod bastion;
mod doors;
mod logins;
mod own_files;
mod times;
mod unseen;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use adit_e2e::{
    Agent, HttpService, JumpHost, OpenSsh, Running, ServiceAddress, Sshd, adit_as, eventually, finish, within,
};
use serde_json::{Value, json};

use crate::SOON;
use crate::agent_command::{add_profile, curl};
use crate::free_port::free_port;

/// For what nothing has to be waited for, on a machine that runs other tests.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Asks the agent's API, without a word of the body on a command line.
#[track_caller]
fn ask(agent: &Agent, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), body.to_string()).unwrap();
    let data = format!("@{}", file.path().display());
    let words = ["-X", method, "-H", "Content-Type: application/json", "--data-binary", &data];
    let (status, text) = agent.curl(&agent.token(), if body.is_null() { &words[..2] } else { &words }, path);
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn me() -> String {
    finish(Command::new("id").arg("-un"), SOON).stdout.trim().to_owned()
}

/// An agent with a profile `me` at `sshd`, and a proxy `socks` that runs; and the proxy's port.
fn with_proxy(sshd: &Sshd) -> (Agent, u16) {
    let (agent, port) = (Agent::start(), free_port());
    add_profile(&agent, sshd);
    agent.ok(&format!("tunnel add socks --via 127.0.0.1:{} --profile me -D {port}", sshd.port()));
    agent.ok(&format!("tunnel start socks --accept-host-key {}", sshd.fingerprint()));
    (agent, port)
}

/// The numbers of the messages that came to a server with `LogLevel DEBUG3`.
fn heard(sshd: &Sshd) -> Vec<u8> {
    let log = sshd.log();
    let number = |line: &str| line.split_once("receive packet: type ")?.1.split_whitespace().next()?.parse().ok();
    log.lines().filter_map(number).collect()
}

/// Line 32. What a server hears whose key has changed, or that is behind a jump whose key has: the key exchange, and goodbye.
#[test]
fn a_changed_host_key_hears_nothing_of_us() {
    const NOTHING_BUT_THE_KEYS: [u8; 4] = [20, 30, 21, 1];
    let settings = "LogLevel DEBUG3";
    let (Some(mut sshd), Some(behind)) = (Sshd::start_with(settings), Sshd::start_with(settings)) else { return };
    let (agent, _) = with_proxy(&sshd);
    agent.ok("tunnel stop socks");
    agent.ok(&format!("jump add edge --host 127.0.0.1:{} --profile me", sshd.port()));
    let way = format!("--via 127.0.0.1:{} --profile me --jump edge", behind.port());
    agent.ok(&format!("tunnel add deep {way} -D {}", free_port()));
    let known = sshd.fingerprint();
    sshd.change_host_key();
    let mut expected = Vec::new();
    for policy in ["strict", "ask", "accept-new"] {
        assert_eq!(ask(&agent, "PUT", "/settings", &json!({"host_key_policy": policy})).0, 200);
        for tunnel in ["socks", "deep"] {
            let told = agent.adit(&format!("tunnel start {tunnel}"));
            assert_eq!(told.code(), 6, "{told:?}");
            for fingerprint in [&known, &sshd.fingerprint()] {
                assert!(told.stderr.contains(fingerprint.as_str()), "{fingerprint}: {told:?}");
            }
            assert_eq!(agent.status(tunnel), "failed", "it is not tried again");
            expected.extend(NOTHING_BUT_THE_KEYS);
            eventually(SOON, "the server hears goodbye", || heard(&sshd).len() >= expected.len());
            assert_eq!(heard(&sshd), expected, "{policy} {tunnel}");
        }
    }
    assert!(!sshd.log().contains("userauth") && !sshd.log().contains(&format!("user {}", me())), "{}", sshd.log());
    assert_eq!(heard(&behind), [0; 0], "nobody came through");
}

/// Lines 18 and 24, over the API: ten tunnels in the same moment, each of them twice.
#[test]
fn ten_orders_at_once_are_one_login() {
    let Some(sshd) = Sshd::start() else { return };
    let (agent, _) = with_proxy(&sshd);
    agent.ok("tunnel stop socks");
    let before = sshd.log().matches("Accepted publickey").count();
    let profile = agent.json("profile show me")["id"].clone();
    let paths: Vec<String> = (0..10)
        .map(|number| {
            let tunnel = json!({
                "name": format!("t{number}"), "host": "127.0.0.1", "port": sshd.port(), "profile_id": profile,
                "forward_type": "dynamic", "local_port": free_port(),
            });
            let (status, saved) = ask(&agent, "POST", "/tunnels", &tunnel);
            assert_eq!(status, 201, "{saved}");
            format!("/tunnels/{}", saved["id"].as_str().unwrap())
        })
        .collect();
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let twice = paths.iter().chain(&paths).map(|path| format!("{path}/start"));
        let agent = &agent;
        let asked: Vec<_> = twice.map(|path| scope.spawn(move || ask(agent, "POST", &path, &Value::Null))).collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let refused = json!({"error": "Tunnel is already running", "code": "CONFLICT"});
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 10, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == (409, refused.clone())).count(), 10, "{answers:?}");
    eventually(SOON, "all are up", || {
        let (_, all) = ask(&agent, "GET", "/tunnels/status", &Value::Null);
        all.as_array().unwrap().iter().filter(|row| row["status"] == "connected").count() == 10
    });
    assert_eq!(sshd.log().matches("Accepted publickey").count(), before + 1, "{}", sshd.log());
    assert_eq!(ask(&agent, "POST", "/tunnels/stop-all", &Value::Null).0, 200);
    eventually(SOON, "the last one closes it", || sshd.log().matches("Disconnected from user").count() == before + 1);
}

// ── SOCKS ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Bytes as people write them.
fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// All that is answered to this, by a proxy that then hangs up.
fn answered(proxy: u16, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(said).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// Lines 29 and 30: each refusal has its own reply, and the log says who wanted to log in.
#[test]
fn a_socks_client_is_told_what_went_wrong() {
    let permitted = "PermitOpen 127.0.0.1:* [::1]:* nowhere.invalid:*";
    let Some(sshd) = Sshd::start_with(permitted) else { return };
    let (agent, proxy) = with_proxy(&sshd);
    let dead = free_port().to_be_bytes().map(|byte| format!("{byte:02x}")).join(" ");
    let name = b"nowhere.invalid".map(|byte| format!("{byte:02x}")).join(" ");
    assert_eq!(answered(proxy, &hex("05 01 02")), hex("05 ff"));
    agent.running().await_stderr(SOON, "Client does not support no-auth method");
    for (request, reply, what) in [
        ("05 02 00 01 7f 00 00 01 00 50", "07", "BIND"),
        ("05 03 00 01 7f 00 00 01 00 50", "07", "UDP"),
        ("05 01 00 02 7f 00 00 01 00 50", "08", "no such type of address"),
        (&format!("05 01 00 01 7f 00 00 01 {dead}"), "05", "nobody listens"),
        ("05 01 00 01 7f 00 00 02 00 50", "02", "not permitted"),
        (&format!("05 01 00 03 0f {name} 00 50"), "01", "no such name"),
    ] {
        let expected = format!("05 00  05 {reply} 00 01 00 00 00 00 00 00");
        assert_eq!(answered(proxy, &hex(&format!("05 01 00 {request}"))), hex(&expected), "{what}");
    }
    // IPv6 by its number.
    let service = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy)).unwrap();
    let address = [&hex("05 01 00  05 01 00 04")[..], &Ipv6Addr::LOCALHOST.octets(), &service.port().to_be_bytes()];
    client.write_all(&address.concat()).unwrap();
    service.set_nonblocking(true).unwrap();
    let (mut served, _) = within(SOON, "the service is reached", || service.accept().ok());
    served.write_all(b"six").unwrap();
    drop(served);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, [&hex("05 00  05 00 00 01 00 00 00 00 00 00")[..], b"six"].concat());
    assert_eq!(agent.status("socks"), "connected");
}

// ── remote forwards ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Line 10, at our own jump host: what another account holds is waited for, on one login.
#[test]
fn a_port_that_another_holds_at_the_jump_host_is_asked_for_until_it_is_free() {
    let host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let mut holder = OpenSsh::new(&host, &bob).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    let (agent, service) = (Agent::start(), HttpService::start("alice's"));
    assert_eq!(ask(&agent, "PUT", "/settings", &json!({"host_key_policy": "accept-new"})).0, 200);
    agent.ok(&format!("profile add tunnel --user tunnel --key {}", alice.key.display()));
    agent.ok(&format!("tunnel add demo --via {} --profile tunnel -R 10080:localhost:{}", host.ssh(), service.port()));
    let told = agent.adit("tunnel start demo");
    assert_eq!(told.code(), 7, "it is never silently up: {told:?}");
    eventually(SOON, "it is asked for again", || {
        let row = agent.json("tunnel show demo");
        let error = row["last_error"].as_str().unwrap_or_default();
        assert!(row["status"] == "reconnecting" && error.contains("refused the remote forward"), "{row}");
        row["retry_count"].as_u64().is_some_and(|count| count >= 2)
    });
    assert_eq!(host.sessions().len(), 2, "the connection is kept");
    holder.kill();
    // The next try is 8 s away at most.
    eventually(2 * SOON, "it is alice's", || agent.status("demo") == "connected");
    let url = format!("http://{}/", host.forwarded(10080));
    assert_eq!(curl(&[&url]).stdout, "alice's");
    assert_eq!(agent.json("tunnel show demo")["retry_count"], 0);
}

/// Line 10, with a server that takes `localhost` for "one of both": the tunnel asks for one address, and has it or not.
#[test]
fn a_port_that_is_half_taken_at_the_server_is_not_up() {
    let Some(sshd) = Sshd::start() else { return };
    let (agent, service) = (Agent::start(), HttpService::start("whole"));
    add_profile(&agent, &sshd);
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let spec = format!("-R {port}:localhost:{}", service.port());
    agent.ok(&format!("tunnel add demo --via 127.0.0.1:{} --profile me {spec}", sshd.port()));
    let told = agent.adit(&format!("tunnel start demo --accept-host-key {}", sshd.fingerprint()));
    assert!(told.code() == 7 && told.stderr.contains("refused the remote forward"), "{told:?}");
    assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_err(), "nor is the other half");
    drop(holder);
    eventually(2 * SOON, "it is up", || agent.status("demo") == "connected");
    assert_eq!(curl(&[&format!("http://127.0.0.1:{port}/")]).stdout, "whole");
}

/// "Beyond the seed": a share goes through any SSH server, with a key that is made at the first run.
#[test]
fn a_share_through_a_stock_server_makes_a_key_shows_it_and_waits() {
    let Some(sshd) = Sshd::start() else { return };
    let (home, service, port) = (tempfile::tempdir().unwrap(), HttpService::start("by sshd"), free_port());
    let mut command = adit_as("share");
    command.env("HOME", home.path()).env_remove("SSH_AUTH_SOCK").arg("--data").arg(home.path().join("data"));
    command.args(["--via", &format!("{}@127.0.0.1:{}", me(), sshd.port()), "--host-keys", "ask"]);
    let mut share =
        Running::spawn_on_terminal(command.args(["--port", &port.to_string(), &service.port().to_string()]));
    share.await_stderr(SOON, "Is this its host key? (yes/no) ");
    share.type_in(b"yes\n");
    share.await_stdout(SOON, "does not let this key in yet");
    // A terminal takes it in pieces, of which this is the last.
    share.await_stdout(SOON, "Waiting until it is let in");
    let public = fs::read_to_string(home.path().join("data/share_key.pub")).unwrap();
    let shown = share.stdout();
    assert!(shown.contains(public.trim()), "{shown}");
    let is_code = |line: &&str| line.chars().filter(|c| "█▀▄".contains(*c)).count() > 15;
    assert!(shown.lines().filter(is_code).count() > 15, "a QR code: {shown}");

    let mut authorized =
        fs::OpenOptions::new().append(true).open(sshd.key().with_file_name("authorized_keys")).unwrap();
    authorized.write_all(public.as_bytes()).unwrap();
    eventually(3 * SOON, "it is published", || curl(&[&format!("http://127.0.0.1:{port}/")]).stdout == "by sshd");
    share.await_stdout(SOON, &format!(":{port}"));
    drop(service);
    assert_ne!(curl(&[&format!("http://127.0.0.1:{port}/")]).status.code(), Some(0));
    share.await_stderr(SOON, "a visitor was turned away: ");
    share.await_stderr(SOON, "connection refused");
    assert_eq!(share.stderr().matches("Is this its host key?").count(), 1, "asked once");
}
