//! Clients that break the rules of the protocol (lines 31 and 33). The engine's own tests go through every message; here
//! a real client's engine breaks out of line at one point, over a real socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use adit_e2e::{
    EchoService, JumpHost, KeyType, Member, OpenSsh, ServiceAddress, asks_and_hears, eventually, finish, generate_key,
    peer_script, python,
};

use crate::SOON;

/// Line 31: before authentication, only authentication. Nothing opens, nobody is in, and members are not disturbed.
#[test]
fn the_connection_protocol_before_authentication_disconnects() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10081, echo.port()).spawn();
    host.await_port(10081);
    let attacks = [
        "success",
        "channel-open",
        "channel-request",
        "global-request",
        "connection-service",
        "unknown-service",
        "newkeys",
    ];
    for attack in attacks {
        let mut command = Command::new(python());
        command.arg(peer_script("paramiko_attack.py"));
        command.args([&host.ssh().ip().to_string(), &host.ssh().port().to_string(), attack]);
        let finished = finish(&mut command, Duration::from_secs(20));
        assert_eq!(finished.stdout, "disconnected\n", "{attack}: {finished:?}");
        assert!(!host.listens_on(10080), "{attack} opened a port");
    }
    assert_eq!(host.sessions().len(), 1);
    assert!(asks_and_hears(host.forwarded(10081), "hello", SOON));
}

/// Line 31: a probe is no login. Given a `.pub` file, OpenSSH offers that key, hears that it would be welcome, cannot sign,
/// and goes on with the next.
#[test]
fn the_key_that_signs_is_the_identity() {
    let host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let ssh = OpenSsh::new(&host, &Member { key: alice.public_key(), ..alice.clone() }).args(["-v"]);
    let tunnel = ssh.args(["-i".into(), bob.key.clone().into_os_string()]).forward(10080, 9).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for bob.");
    assert!(tunnel.stderr().matches("Server accepts key").count() >= 2, "both were probed: {}", tunnel.stderr());
    assert_eq!(host.sessions()[0]["account"], "bob");
}

/// A key that is saved nowhere gets no further by being signed with.
#[test]
fn a_strangers_signature_opens_nothing() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    let key = generate_key(host.folder(), "stranger", KeyType::Ecdsa(256));
    let stranger = Member { name: "stranger".to_owned(), key };
    for _ in 0..3 {
        let refused = OpenSsh::new(&host, &stranger).no_session().forward(10080, 9).run(SOON);
        assert!(refused.stderr.contains("Permission denied (publickey)."), "{refused:?}");
    }
    assert!(host.sessions().is_empty() && !host.listens_on(10080));
}

/// Line 33: a version string cannot steer the terminal of whoever reads the log.
#[test]
fn control_characters_in_a_version_are_escaped_in_the_log() {
    let host = JumpHost::start();
    let mut stream = TcpStream::connect(host.ssh()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"SSH-2.0-evil\x1b]0;owned\x07\x1b[31m\r\n").unwrap();
    let mut banner = [0; 8];
    stream.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    drop(stream);
    let alice = host.member("alice");
    let tunnel = OpenSsh::new(&host, &alice).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    assert!(!host.log().contains("\x1b]0;owned") && !host.log().contains('\x07'), "{}", host.log());
}

/// Packets cut short, or longer than any packet may be, end their connection and nothing else.
#[test]
fn malformed_packets_end_their_connection_only() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.0.0.0/8]").start();
    let memory = host.memory();
    let lengths: [u32; 6] = [0, 1, 5, 35_001, 0x7FFF_FFFF, 0xFFFF_FFFF];
    for length in lengths {
        let mut stream = TcpStream::connect(host.ssh()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut bytes = b"SSH-2.0-test\r\n".to_vec();
        bytes.extend(length.to_be_bytes());
        bytes.extend([0x14; 4096]);
        stream.write_all(&bytes).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let still_open = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!ended.as_ref().is_err_and(still_open), "a packet of {length} bytes is waited for");
    }
    eventually(SOON, "nobody is left", || host.sessions().is_empty());
    assert!(host.memory() < memory + (8 << 20), "memory grew by {}", host.memory() - memory);
}
