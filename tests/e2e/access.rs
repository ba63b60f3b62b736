//! Who gets in: the name is always `tunnel`, the key is the identity (lines 1, 3 and 35).

use std::time::Duration;

use adit_e2e::{Finished, JumpHost, KeyType, Member, OpenSsh, generate_key};

use crate::SOON;

/// A key that nobody saved.
fn stranger(host: &JumpHost) -> Member {
    Member { name: "stranger".to_owned(), key: generate_key(host.folder(), "stranger", KeyType::Ed25519) }
}

fn exempt_from_penalties() -> JumpHost {
    JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start()
}

/// Everything the server said, as packet types in order.
fn packets_received(finished: &Finished) -> Vec<&str> {
    finished.stderr.lines().filter_map(|line| line.trim().strip_prefix("debug3: receive packet: type ")).collect()
}

#[test]
fn another_name_and_an_unknown_key_are_refused_alike() {
    let host = exempt_from_penalties();
    let alice = host.member("alice");
    let stranger = stranger(&host);
    // The known hosts file is written first, or the first of the two would have a line more.
    OpenSsh::new(&host, &stranger).no_session().run(SOON);
    let attempt = |member: &Member, user: &str| OpenSsh::new(&host, member).user(user).args(["-N", "-vvv"]).run(SOON);
    let refusals = [
        ("root", attempt(&alice, "root")),
        ("alice", attempt(&alice, "alice")),
        ("tunnel", attempt(&stranger, "tunnel")),
        ("root", attempt(&stranger, "root")),
    ];
    for (user, refused) in &refusals {
        assert_eq!(refused.code(), 255, "{user}");
        let text = format!("{user}@{}: Permission denied (publickey).", host.ssh().ip());
        assert!(refused.stderr.contains(&text), "{user}: {}", refused.stderr);
        assert_eq!(packets_received(refused), packets_received(&refusals[0].1), "{user}: the same packets");
    }
}

#[test]
fn publickey_is_the_only_method() {
    let host = exempt_from_penalties();
    let alice = host.member("alice");
    let ssh = OpenSsh::new(&host, &alice).args(["-N", "-v"]);
    let methods = "PreferredAuthentications=none,password,keyboard-interactive,hostbased,gssapi-with-mic";
    let refused = ssh.option(methods).run(SOON);
    assert_eq!(refused.code(), 255);
    let offers = refused.stderr.lines().filter(|line| line.contains("Authentications that can continue:"));
    let offers: Vec<&str> = offers.map(|line| line.trim_start_matches("debug1: ").trim()).collect();
    assert!(!offers.is_empty());
    assert!(offers.iter().all(|offer| *offer == "Authentications that can continue: publickey"), "{offers:?}");
}

/// Key probes cost nothing (PK_OK), and agents hold many keys.
#[test]
fn the_right_key_is_found_behind_fifteen_others() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let mut ssh =
        OpenSsh::new(&host, &Member { key: generate_key(host.folder(), "0", KeyType::Ed25519), ..alice.clone() });
    for number in 1..15 {
        let other = generate_key(host.folder(), &number.to_string(), KeyType::Ed25519);
        ssh = ssh.args(["-i".into(), other.into_os_string()]);
    }
    let tunnel = ssh.args(["-i".into(), alice.key.clone().into_os_string()]).forward(10080, 9).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
}

#[test]
fn the_host_key_survives_a_restart() {
    let mut host = JumpHost::start();
    let alice = host.member("alice");
    let mut before = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    host.await_port(10080);
    host.stop();
    before.wait_exit(SOON);
    host.start_again();
    let strict = OpenSsh::new(&host, &alice).args(["-o", "StrictHostKeyChecking=yes"]);
    // The first setting on OpenSSH's command line wins, so the strict one must stand before the harness's.
    let mut command = std::process::Command::new("ssh");
    command.args(["-o", "StrictHostKeyChecking=yes"]).args(strict.no_session().forward(10080, 9).command().get_args());
    let _after = adit_e2e::Running::spawn(&mut command);
    host.await_port(10080);
}

/// RSA keys sign with SHA-2; a client that insists on SHA-1 is refused.
#[test]
fn an_rsa_key_signs_with_sha2_only() {
    let host = exempt_from_penalties();
    host.admin(["account", "add", "alice"]);
    let rsa = host.further_key("alice", "rsa", KeyType::Rsa(2048));
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let accepted = format!("PubkeyAcceptedAlgorithms={algorithm}");
        let tunnel = OpenSsh::new(&host, &rsa).option(&accepted).spawn();
        tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    }
    let refused = OpenSsh::new(&host, &rsa).no_session().option("PubkeyAcceptedAlgorithms=ssh-rsa").run(SOON);
    assert_eq!(refused.code(), 255);
    assert!(refused.stderr.contains("Permission denied (publickey)."), "{refused:?}");
}

/// Every key exchange that both sides have leads to a login.
#[test]
fn every_key_exchange_works() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let known = adit_e2e::finish(std::process::Command::new("ssh").args(["-Q", "kex"]), SOON).stdout;
    let ours = [
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
    ];
    // OpenSSH learned mlkem768x25519-sha256 in 9.9; an older client cannot be asked for it.
    for kex in ours.into_iter().filter(|kex| known.lines().any(|line| line == *kex)) {
        let setting = format!("KexAlgorithms={kex}");
        let tunnel = OpenSsh::new(&host, &alice).option(&setting).spawn();
        tunnel.await_stdout(Duration::from_secs(5), "Tunnel-only access for alice.");
    }
}

/// Line 35: no weak key exchange, no compression, strict key exchange (Terrapin).
#[test]
fn weak_choices_are_not_offered() {
    let host = exempt_from_penalties();
    let alice = host.member("alice");
    for weak in [
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "Ciphers=aes128-cbc",
        "MACs=hmac-sha1",
        "HostKeyAlgorithms=ssh-rsa",
    ] {
        let ssh = OpenSsh::new(&host, &alice).no_session();
        // The MAC only matters where the cipher has none of its own.
        let refused =
            if weak.starts_with("MACs") { ssh.option("Ciphers=aes128-ctr") } else { ssh }.option(weak).run(SOON);
        assert_eq!(refused.code(), 255, "{weak}");
        assert!(refused.stderr.contains("Unable to negotiate"), "{weak}: {refused:?}");
    }
    let session = OpenSsh::new(&host, &alice).args(["-C", "-vvv"]).spawn();
    session.await_stdout(SOON, "Tunnel-only access for alice.");
    assert!(session.stderr().contains("will use strict KEX ordering"));
    assert!(session.stderr().contains("compression: none"));
}
