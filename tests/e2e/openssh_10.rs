//! The client of Debian 13: OpenSSH 10, which is what people have next (line 35).

use std::fs;

use adit_e2e::{
    EchoService, JumpHost, KeyType, OpenSsh, PatternService, Share, Trixie, asks_and_hears, eventually, exchange,
    generate_key,
};

use crate::SOON;

/// A newer client that finds the key exchange old says so in capitals; there must be nothing for it to say.
fn assert_content(said: &str) {
    assert!(!said.contains("WARNING") && !said.contains("post-quantum"), "{said}");
}

#[test]
fn the_client_is_openssh_10() {
    let Some(trixie) = Trixie::find() else { return };
    let host = JumpHost::start();
    let version = OpenSsh::new(&host, &host.member("alice")).of(&trixie).args(["-V"]).run(SOON);
    assert!(version.stderr.starts_with("OpenSSH_10."), "{version:?}");
}

#[test]
fn it_logs_in_with_a_post_quantum_key_exchange_and_no_warning() {
    let Some(trixie) = Trixie::find() else { return };
    let share = Share::with(JumpHost::start(), EchoService::start(), |ssh| ssh.of(&trixie).args(["-v"]));
    share.tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    assert!(asks_and_hears(share.address(), "hello", SOON));
    let said = share.tunnel.stderr();
    assert!(said.contains("kex: algorithm: mlkem768x25519-sha256"), "{said}");
    assert!(said.contains("kex: host key algorithm: ssh-ed25519"), "{said}");
    assert_content(&said);
}

#[test]
fn it_carries_10_mb_each_way() {
    let Some(trixie) = Trixie::find() else { return };
    let share = Share::with(JumpHost::start(), PatternService::start(), |ssh| ssh.of(&trixie).no_session());
    exchange(share.address(), 1, 10_000_000);
    share.service.assert_no_failure();
    assert_content(&share.tunnel.stderr());
}

#[test]
fn a_command_is_refused() {
    let Some(trixie) = Trixie::find() else { return };
    let host = JumpHost::start();
    let refused = OpenSsh::new(&host, &host.member("alice")).of(&trixie).remote_command(["id"]).run(SOON);
    assert_eq!(refused.code(), 255, "{refused:?}");
    assert!(refused.stderr.contains("exec request failed on channel 0"), "{refused:?}");
    assert_eq!(refused.stdout, "");
}

#[test]
fn a_refused_forward_ends_it_only_where_it_was_told_to_end() {
    let Some(trixie) = Trixie::find() else { return };
    let host = JumpHost::start();
    let alice = host.member("alice");
    let ssh = || OpenSsh::new(&host, &alice).of(&trixie).no_session().forward(9999, 9);
    let ended = ssh().option("ExitOnForwardFailure=yes").run(SOON);
    assert_eq!(ended.code(), 255, "{ended:?}");
    assert!(ended.stderr.contains("Error: remote port forwarding failed for listen port 9999"), "{ended:?}");

    let mut goes_on = ssh().forward(10080, 9).spawn();
    goes_on.await_stderr(SOON, "Warning: remote port forwarding failed for listen port 9999");
    host.await_port(10080);
    assert!(goes_on.is_running());
}

/// Whoever moves to a new host key serves both for a while, and the clients learn the new one (`hostkeys-00@openssh.com`).
#[test]
fn it_learns_the_next_host_key() {
    let Some(trixie) = Trixie::find() else { return };
    let mut host = JumpHost::start();
    let alice = host.member("alice");
    let log_in = |host: &JumpHost, settings: &[&str]| {
        let ssh = OpenSsh::new(host, &alice).of(&trixie);
        let session = settings.iter().fold(ssh, |ssh, setting| ssh.option(setting)).spawn();
        session.await_stdout(SOON, "Tunnel-only access for alice.");
        session
    };
    drop(log_in(&host, &[]));
    host.stop();
    let next = generate_key(&host.data(), "host_key_next", KeyType::Ecdsa(256));
    host.start_again();
    let session = log_in(&host, &["StrictHostKeyChecking=yes", "UpdateHostKeys=yes"]);
    let public = fs::read_to_string(next.with_extension("pub")).unwrap();
    let key = public.split_whitespace().nth(1).unwrap();
    let known_hosts = host.folder().join("known_hosts");
    let known = || fs::read_to_string(&known_hosts).is_ok_and(|known| known.contains(key));
    eventually(SOON, "the client has learnt the next key", known);
    drop(session);

    // With the next key alone it is the same host.
    host.stop();
    fs::rename(&next, host.data().join("host_key_ed25519")).unwrap();
    host.start_again();
    log_in(&host, &["StrictHostKeyChecking=yes"]);
}
