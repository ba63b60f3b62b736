//! Keepalives in both directions (lines 13 to 15).

use std::time::Duration;

use adit_e2e::{EchoService, JumpHost, OpenSsh, ServiceAddress, asks_and_hears, eventually};

use crate::SOON;

/// `ServerAliveCountMax=1` makes OpenSSH leave at the first probe that is not answered.
#[test]
fn ten_client_keepalives_are_answered() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let ssh = OpenSsh::new(&host, &alice).no_session().args(["-vvv"]).forward(10080, echo.port());
    let mut tunnel = ssh.option("ServerAliveInterval=1").option("ServerAliveCountMax=1").spawn();
    host.await_port(10080);
    // 82 is SSH_MSG_REQUEST_FAILURE, 81 SSH_MSG_REQUEST_SUCCESS (RFC 4250 §4.1.2); both are a reply (RFC 4254 §4).
    eventually(Duration::from_secs(20), "ten keepalives are answered", || {
        let text = tunnel.stderr();
        let probes = text.matches("send packet: type 80").count();
        let replies = text.matches("receive packet: type 82").count() + text.matches("receive packet: type 81").count();
        probes > 10 && replies > 10
    });
    assert!(tunnel.is_running());
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON));
}

/// The server sends its own, and a client that answers them is left alone.
#[test]
fn the_server_probes_and_an_answering_client_stays() {
    let host = JumpHost::builder().setting("keepalive_interval", "200ms").start();
    let alice = host.member("alice");
    let mut tunnel = OpenSsh::new(&host, &alice).no_session().args(["-vvv"]).forward(10080, 9).spawn();
    eventually(SOON, "the server has probed five times", || {
        tunnel.stderr().matches("client_input_global_request: rtype keepalive@openssh.com want_reply 1").count() >= 5
    });
    assert!(tunnel.is_running());
}
