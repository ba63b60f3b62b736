//! A removed key, a kicked session: cut at once (line 21), and so that the client knows it was cut (line 16).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use adit_e2e::{EchoService, JumpHost, KeyType, OpenSsh, PatternService, ServiceAddress, asks_and_hears, eventually};

use crate::SOON;

/// Within this, everything that rests on a removed key is cut.
const CUT: Duration = Duration::from_secs(1);

/// A visitor inside, who was answered once.
fn visitor_inside(host: &JumpHost, port: u16) -> TcpStream {
    let mut visitor = TcpStream::connect(host.forwarded(port)).unwrap();
    visitor.set_read_timeout(Some(CUT)).unwrap();
    visitor.write_all(b"x").unwrap();
    visitor.read_exact(&mut [0]).unwrap();
    visitor
}

/// The visitor's connection ends within the time its reads may take.
fn assert_cut(visitor: &mut TcpStream) {
    match visitor.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => panic!("the visitor is still connected: {other:?}"),
    }
}

#[test]
fn a_removed_key_cuts_its_sessions_and_no_others() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    let laptop = host.member("alice");
    let phone = host.further_key("alice", "phone", KeyType::Ed25519);
    let echo = EchoService::start();
    let mut cut = OpenSsh::new(&host, &laptop).no_session().forward(10080, echo.port()).spawn();
    let mut cut_too = OpenSsh::new(&host, &laptop).forward(10081, echo.port()).spawn();
    let mut spared = OpenSsh::new(&host, &phone).no_session().forward(10082, echo.port()).spawn();
    for port in [10080, 10081, 10082] {
        host.await_port(port);
    }
    let mut visitors = [visitor_inside(&host, 10080), visitor_inside(&host, 10081)];
    let mut spared_visitor = visitor_inside(&host, 10082);

    host.remove_key(&laptop);
    eventually(CUT, "the ports of the key are closed", || !host.listens_on(10080) && !host.listens_on(10081));
    for visitor in &mut visitors {
        assert_cut(visitor);
    }
    for session in [&mut cut, &mut cut_too] {
        assert_eq!(session.wait_exit(CUT).code(), 255);
    }
    let refused = OpenSsh::new(&host, &laptop).no_session().run(SOON);
    assert!(refused.stderr.contains("Permission denied (publickey)."), "{refused:?}");

    spared_visitor.write_all(b"y").unwrap();
    spared_visitor.read_exact(&mut [0]).unwrap();
    assert!(asks_and_hears(host.forwarded(10082), "hello", SOON));
    assert!(spared.is_running());
}

/// The client is frozen and the server's writes to it are blocked; the cut does not wait for it.
#[test]
fn a_removed_key_cuts_a_frozen_client_with_uploads() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let service = PatternService::start();
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, service.port()).spawn();
    host.await_port(10080);
    let before = host.descriptors();
    let mut upload = TcpStream::connect(host.forwarded(10080)).unwrap();
    upload.write_all(&1_u64.to_be_bytes()).unwrap();
    upload.write_all(&(1_u64 << 40).to_be_bytes()).unwrap();
    tunnel.freeze();
    upload.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while upload.write(&[0; 65_536]).is_ok() {}

    host.remove_key(&alice);
    host.await_port_free(10080, CUT);
    eventually(CUT, "the visitor's descriptor is gone", || host.descriptors() < before + 1);
    upload.set_read_timeout(Some(CUT)).unwrap();
    let mut rest = Vec::new();
    let ended = upload.read_to_end(&mut rest);
    let still_open = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!ended.as_ref().is_err_and(still_open), "the visitor is still connected: {ended:?}");
    assert_eq!(host.sessions().len(), 0);
}

#[test]
fn a_removed_account_is_cut_and_gone() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let mut cut = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    let mut spared = OpenSsh::new(&host, &bob).no_session().forward(10081, 9).spawn();
    host.await_port(10080);
    host.await_port(10081);
    host.admin(["account", "remove", "alice"]);
    assert_eq!(cut.wait_exit(CUT).code(), 255);
    host.await_port_free(10080, CUT);
    assert!(spared.is_running() && host.listens_on(10081));
    let refused = OpenSsh::new(&host, &alice).no_session().run(SOON);
    assert!(refused.stderr.contains("Permission denied (publickey)."), "{refused:?}");
}

/// An administrator closes a session; its key stays good.
#[test]
fn a_kicked_session_exits_255_and_may_return() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let mut tunnel = OpenSsh::new(&host, &alice).forward(10080, 9).spawn();
    host.await_port(10080);
    let sessions = host.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["account"], "alice");
    let id = sessions[0]["id"].to_string();
    host.admin(["kick", id.trim_matches('"')]);
    assert_eq!(tunnel.wait_exit(CUT).code(), 255);
    host.await_port_free(10080, CUT);
    let _again = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    let unknown = host.adit(["kick", id.trim_matches('"')]);
    assert!([1, 2].contains(&unknown.code()) && !unknown.stderr.is_empty(), "{unknown:?}");
}
