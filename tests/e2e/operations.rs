//! What an administrator sees and does: health, metrics, listings, the audit trail, stopping.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use adit_e2e::{EchoService, JumpHost, KeyType, OpenSsh, ServiceAddress, Share, asks_and_hears, eventually, http_get};

use crate::SOON;

/// What the person who started it reads: where it is, what it is called by its key, and what to do next.
#[test]
fn the_first_words_say_where_and_what_next() {
    let mut host = JumpHost::start();
    let (ssh, web) = (host.ssh().to_string(), host.web().to_string());
    let data = host.data().to_string_lossy().into_owned();
    for part in [ssh.as_str(), web.as_str(), data.as_str(), "SHA256:", "account add"] {
        host.server().await_stdout(SOON, part);
    }
}

#[test]
fn health_answers() {
    let host = JumpHost::start();
    let answer = http_get(host.web(), &host.web().to_string(), "/health", SOON).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Prometheus text, and it moves with what happens.
#[test]
fn metrics_count_sessions_forwards_and_bytes() {
    let host = JumpHost::start();
    let web = host.web();
    let scrape = || http_get(web, &web.to_string(), "/metrics", SOON).expect("an answer");
    let sum = |text: &str, name: &str| -> f64 {
        let name = format!("adit_jumphost_{name}");
        let lines =
            text.lines().filter(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let before = scrape();
    assert_eq!(before.status, 200);
    assert!(before.body.contains("# TYPE adit_jumphost_sessions gauge"), "{}", before.body);
    assert_eq!(sum(&before.body, "sessions"), 0.0, "{}", before.body);

    let share = Share::with(host, EchoService::start(), OpenSsh::no_session);
    assert!(asks_and_hears(share.address(), &"x".repeat(10_000), SOON));
    eventually(SOON, "the metrics tell of a session and its bytes", || {
        let text = scrape().body;
        let gauges = (sum(&text, "sessions"), sum(&text, "forwards"), sum(&text, "visitors_accepted_total"));
        gauges == (1.0, 1.0, 1.0) && sum(&text, "relayed_bytes_total") >= 20_000.0
    });
    // Who shares what is not for everyone who may read metrics.
    assert!(!scrape().body.contains("alice"));
}

#[test]
fn a_live_session_is_listed_with_who_where_and_what() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let phone = host.further_key("alice", "phone", KeyType::Ed25519);
    let echo = EchoService::start();
    let _one = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).forward(10081, 9).spawn();
    let _two = OpenSsh::new(&host, &phone).no_session().forward(10082, echo.port()).spawn();
    host.await_port(10081);
    host.await_port(10082);
    let sessions = host.sessions();
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    for row in &sessions {
        assert_eq!(row["account"], "alice", "{row}");
        assert!(row.to_string().contains("127."), "the client's address: {row}");
    }
    let text = format!("{sessions:?}");
    for part in ["10080", "10081", "10082", &alice.fingerprint(), &phone.fingerprint()] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let ports = format!("{:?}", host.ports());
    for part in ["10080", "10081", "10082"] {
        assert!(ports.contains(part), "{part} is missing in {ports}");
    }
}

#[test]
fn the_audit_trail_tells_the_story() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    let alice = host.member("alice");
    let fingerprint = alice.fingerprint();
    let mut tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).forward(9999, 9).spawn();
    host.await_port(10080);
    tunnel.await_stderr(SOON, "listen port 9999");
    tunnel.kill();
    host.await_port_free(10080, SOON);
    OpenSsh::new(&host, &alice).user("root").no_session().run(SOON);
    host.remove_key(&alice);
    eventually(SOON, "every event is written", || {
        let trail = host.json(&["audit"]).to_string();
        ["alice", &fingerprint, "10080", "9999", "127."].iter().all(|part| trail.contains(part))
            && ["account", "key", "login", "forward"].iter().all(|part| trail.contains(part))
    });
}

/// Line 16: a stop is no `ssh` that exits 0, and the server itself ends well.
#[test]
fn a_stopped_server_exits_0_and_its_clients_255() {
    let mut host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let mut quiet = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    let mut greeted = OpenSsh::new(&host, &bob).forward(10081, 9).spawn();
    host.await_port(10080);
    host.await_port(10081);
    let stopped = host.stop();
    assert_eq!(stopped.code(), 0, "{stopped:?}");
    for tunnel in [&mut quiet, &mut greeted] {
        assert_eq!(tunnel.wait_exit(SOON).code(), 255);
    }
    assert!(TcpStream::connect(host.ssh()).is_err());
}

/// An echo service behind a server that gives those inside so long when it stops.
fn shared_with_grace(grace: &str) -> Share<EchoService> {
    let host = JumpHost::builder().setting("drain_grace", grace).start();
    Share::with(host, EchoService::start(), OpenSsh::no_session)
}

/// Drain: who is inside may finish, nobody new comes in, and a client that never leaves is cut.
#[test]
fn a_stopping_server_lets_visitors_finish() {
    let mut share = shared_with_grace("10s");
    let mut visitor = TcpStream::connect(share.address()).unwrap();
    visitor.set_read_timeout(Some(SOON)).unwrap();
    let mut ask = |text: &[u8]| {
        visitor.write_all(text).unwrap();
        let mut echoed = vec![0; text.len()];
        visitor.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, text);
    };
    ask(b"before");
    share.host.server().signal(adit_e2e::Signal::TERM);
    let ssh = share.host.ssh();
    eventually(SOON, "no new login is taken", || TcpStream::connect(ssh).is_err());
    ask(b"after");
    drop(visitor);
    let ended = share.host.server().wait_exit(Duration::from_secs(5));
    assert_eq!(ended.code(), 0, "it does not wait for the rest of its grace: {ended:?}");
    assert_eq!(share.tunnel.wait_exit(SOON).code(), 255);
}

/// Whoever does not leave within the grace is cut, and the server has stopped all the same.
#[test]
fn a_visitor_that_stays_is_cut_after_the_grace() {
    let mut share = shared_with_grace("1s");
    let mut visitor = TcpStream::connect(share.address()).unwrap();
    visitor.set_read_timeout(Some(SOON)).unwrap();
    visitor.write_all(b"x").unwrap();
    visitor.read_exact(&mut [0]).unwrap();
    share.host.server().signal(adit_e2e::Signal::TERM);
    assert_eq!(share.host.server().wait_exit(Duration::from_secs(3)).code(), 0);
    assert_eq!(share.tunnel.wait_exit(SOON).code(), 255);
    assert_eq!(visitor.read(&mut [0]).unwrap_or(0), 0);
}

/// A second signal does not wait for the grace.
#[test]
fn a_second_signal_stops_at_once() {
    let mut share = shared_with_grace("60s");
    let _visitor = TcpStream::connect(share.address()).unwrap();
    eventually(SOON, "the visitor is inside", || share.service.visitors() == 1);
    let ssh = share.host.ssh();
    share.host.server().signal(adit_e2e::Signal::TERM);
    eventually(SOON, "it is stopping", || TcpStream::connect(ssh).is_err());
    share.host.server().signal(adit_e2e::Signal::INT);
    share.host.server().wait_exit(Duration::from_secs(2));
    assert_eq!(share.tunnel.wait_exit(SOON).code(), 255);
}

/// Administrators work the same whether a server runs or not.
#[test]
fn the_store_is_administered_without_a_server_too() {
    let mut host = JumpHost::start();
    host.stop();
    let alice = host.member("alice");
    let listed = host.json(&["account", "list"]).to_string();
    assert!(listed.contains("alice"), "{listed}");
    host.start_again();
    let tunnel = OpenSsh::new(&host, &alice).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
}

/// A crash leaves nothing that keeps the next start from working.
#[test]
fn a_killed_server_starts_again() {
    let mut host = JumpHost::start();
    let alice = host.member("alice");
    let mut before = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    host.kill();
    assert_eq!(before.wait_exit(SOON).code(), 255);
    host.start_again();
    let _after = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    assert_eq!(host.sessions().len(), 1, "no row of the past");
}

/// The data folder holds the host key and who is who: nobody but its owner may look inside.
#[test]
fn the_data_folder_is_its_owners_alone() {
    let host = JumpHost::start();
    host.member("alice");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&host.data()), 0o700);
    for file in std::fs::read_dir(host.data()).unwrap().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("host_key") && !name.ends_with(".pub") {
            assert_eq!(mode(&file.path()), 0o600, "{name}");
        }
    }
}

/// Logs for machines: every line is an object, whatever happens.
#[test]
fn a_json_log_is_json_on_every_line() {
    let mut host = JumpHost::builder().flag("--log-format", "json").start();
    let alice = host.member("alice");
    let mut tunnel = OpenSsh::new(&host, &alice).forward(10080, 9).forward(9999, 9).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    host.await_port(10080);
    drop(TcpStream::connect(host.forwarded(10080)).unwrap());
    tunnel.kill();
    host.await_port_free(10080, SOON);
    let log = host.stop().stderr;
    assert!(!log.is_empty());
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object()), "{line:?}");
    }
}
