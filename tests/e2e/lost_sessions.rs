//! Sessions that end without a word (line 12): killed, frozen with data under way, or cut off from the network.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use adit_e2e::{
    EchoService, HttpService, JumpHost, Netns, OpenSsh, PatternService, ServiceAddress, Signal, asks_and_hears,
    eventually, http_get, require,
};

use crate::SOON;

/// What line 12 grants a silent peer.
const SILENT_PEER_IS_GONE: Duration = Duration::from_secs(45);

#[test]
fn a_killed_client_frees_its_ports_within_a_second() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let before = host.descriptors();
    for signal in [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP] {
        let echo = EchoService::start();
        let ssh = OpenSsh::new(&host, &alice).no_session();
        let mut tunnel = ssh.forward(10080, echo.port()).forward(10081, echo.port()).spawn();
        host.await_port(10081);
        assert!(asks_and_hears(host.forwarded(10080), "hello", SOON));
        tunnel.signal(signal);
        host.await_port_free(10080, Duration::from_secs(1));
        host.await_port_free(10081, Duration::from_secs(1));
        tunnel.wait_exit(SOON);
        eventually(Duration::from_secs(1), "the session's row is gone", || host.sessions().is_empty());
    }
    eventually(Duration::from_secs(2), "no descriptor is left", || host.descriptors() <= before + 1);
}

/// A process that dies with unread data in its socket sends a reset instead of a FIN.
#[test]
fn a_reset_connection_frees_its_port_within_a_second() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let service = PatternService::start();
    let mut tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, service.port()).spawn();
    host.await_port(10080);
    tunnel.freeze();
    let mut upload = TcpStream::connect(host.forwarded(10080)).unwrap();
    let sessions = host.sessions();
    assert_eq!(sessions.len(), 1);
    upload.write_all(&[0; 100_000]).unwrap();
    eventually(SOON, "the visitor is at the server", || host.sessions()[0]["visitors"].as_u64() == Some(1));
    tunnel.kill();
    host.await_port_free(10080, Duration::from_secs(1));
}

/// The next attempt has the port: nobody waits for a TIME_WAIT.
#[test]
fn a_freed_port_is_bound_again_at_once() {
    let host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let page = HttpService::start("page");
    for round in 0..5 {
        let member = if round % 2 == 0 { &alice } else { &bob };
        let ssh = OpenSsh::new(&host, member).no_session().option("ExitOnForwardFailure=yes");
        let mut tunnel = ssh.forward(10080, page.port()).spawn();
        host.await_port(10080);
        assert_eq!(http_get(host.forwarded(10080), "jump", "/", SOON).unwrap().body, "page");
        tunnel.kill();
        host.await_port_free(10080, Duration::from_secs(1));
    }
}

/// The client is stopped while a visitor uploads: the server's writes to it are blocked, and a keepalive cannot even be
/// sent. It is gone all the same, with its listener, its visitors and every descriptor.
#[test]
fn a_frozen_client_with_uploads_is_gone_within_45_s() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let before = host.descriptors();
    let service = PatternService::start();
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, service.port()).spawn();
    host.await_port(10080);
    let mut uploads: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(host.forwarded(10080)).unwrap()).collect();
    for upload in &mut uploads {
        upload.write_all(&1_u64.to_be_bytes()).unwrap();
        upload.write_all(&(1_u64 << 40).to_be_bytes()).unwrap();
    }
    eventually(SOON, "the session is listed", || host.sessions().len() == 1);
    tunnel.freeze();
    // Until nothing more fits in: now every buffer on the way is full.
    for upload in &mut uploads {
        upload.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        while upload.write(&[0; 65_536]).is_ok() {}
    }
    let gone = eventually(SILENT_PEER_IS_GONE, "the frozen session is gone", || host.sessions().is_empty());
    eprintln!("gone after {gone:?}");
    host.await_port_free(10080, Duration::from_secs(1));
    drop(uploads);
    eventually(Duration::from_secs(2), "no descriptor is left", || host.descriptors() <= before + 1);
}

/// The laptop's network dies without a FIN; the member logs in again from another network (lines 11 and 12).
#[test]
fn a_dead_network_costs_four_seconds() {
    let (Some(mesh), Some(home), Some(train)) = (Netns::make(), Netns::make(), Netns::make()) else { return };
    if require("nft").is_none() {
        return;
    }
    mesh.join("10.77.1.1", &home, "10.77.1.2");
    mesh.join("10.77.2.1", &train, "10.77.2.2");
    let host = JumpHost::builder().inside(&mesh, "0.0.0.0:2222", "127.0.0.1").start();
    let alice = host.member("alice");
    let page_at_home = home.inside(|| HttpService::start("at home"));
    let page_on_train = train.inside(|| HttpService::start("on the train"));
    let visit = || mesh.inside(|| http_get(host.forwarded(10080), "jump", "/", Duration::from_millis(500)));
    let ssh = |address: &str, netns: &Netns| OpenSsh::new(&host, &alice).address(address).inside(netns).no_session();

    let _old = ssh("10.77.1.1", &home).forward(10080, page_at_home.port()).spawn();
    host.await_port(10080);
    assert_eq!(visit().map(|answer| answer.body).as_deref(), Some("at home"));
    home.fall_silent();

    let new = ssh("10.77.2.1", &train).forward(10080, page_on_train.port()).spawn();
    let moved = eventually(Duration::from_secs(5), "the port serves the new session", || {
        visit().is_some_and(|answer| answer.body == "on the train")
    });
    assert!(moved <= Duration::from_secs(4), "the port moved after {moved:?}");
    assert!(!new.stderr().contains("Warning: remote"), "{}", new.stderr());
    let gone = eventually(SILENT_PEER_IS_GONE, "the old session's row is gone", || host.sessions().len() == 1);
    eprintln!("the port moved after {moved:?}, the old session was gone {gone:?} later");
}

/// The same without a newcomer: the listener goes too.
#[test]
fn a_dead_network_frees_the_port_within_45_s() {
    let (Some(mesh), Some(home)) = (Netns::make(), Netns::make()) else { return };
    if require("nft").is_none() {
        return;
    }
    mesh.join("10.77.1.1", &home, "10.77.1.2");
    let host = JumpHost::builder().inside(&mesh, "0.0.0.0:2222", "127.0.0.1").start();
    let alice = host.member("alice");
    let before = host.descriptors();
    let _old = OpenSsh::new(&host, &alice).address("10.77.1.1").inside(&home).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    home.fall_silent();
    let freed = host.await_port_free(10080, SILENT_PEER_IS_GONE);
    eprintln!("free after {freed:?}");
    eventually(Duration::from_secs(1), "row and descriptors are gone", || {
        host.sessions().is_empty() && host.descriptors() <= before + 1
    });
}

/// Line 12: a visitor of a session that is lost learns it at once.
#[test]
fn visitors_inside_are_closed_with_the_session() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let mut tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    let mut visitor = TcpStream::connect(host.forwarded(10080)).unwrap();
    visitor.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    visitor.write_all(b"x").unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(&mut visitor, &mut byte).unwrap();
    tunnel.kill();
    let ended = std::io::Read::read(&mut visitor, &mut byte);
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(ended.as_ref().is_ok_and(|count| *count == 0) || ended.as_ref().is_err_and(reset), "{ended:?}");
}

/// Line 20: a client that never answers a channel open costs its visitor 10 s, not the 45 s until the session is given up.
#[test]
fn a_visitor_nobody_answers_is_closed_after_10_s() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON));
    tunnel.freeze();
    let mut visitor = TcpStream::connect(host.forwarded(10080)).unwrap();
    let came = Instant::now();
    visitor.set_read_timeout(Some(Duration::from_secs(12))).unwrap();
    let ended = std::io::Read::read(&mut visitor, &mut [0]);
    assert_eq!(ended.unwrap_or(0), 0);
    let waited = came.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(12)).contains(&waited), "closed after {waited:?}");
    tunnel.thaw();
    eventually(SOON, "the thawed client serves", || asks_and_hears(host.forwarded(10080), "hello", SOON));
}
