//! Bytes through a tunnel (line 18): exact, both ways, whatever the service speaks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use adit_e2e::{
    EchoService, HttpService, JumpHost, OpenSsh, PatternService, ServiceAddress, Share, asks_and_hears, bulk_bytes,
    eventually, exchange, http_get, receive_pattern, send_pattern,
};

use crate::SOON;

const MIB: u64 = 1 << 20;

#[test]
fn openssh_carries_100_mb_each_way() {
    let share = Share::of(PatternService::start());
    exchange(share.address(), 1, 100_000_000);
    share.service.assert_no_failure();
}

/// Every cipher that both sides have, each with every MAC where the cipher has none of its own.
fn carries_with(ciphers: &[&str], macs: &[&str]) {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let service = PatternService::start();
    for cipher in ciphers {
        for mac in macs {
            let (cipher_setting, mac_setting) = (format!("Ciphers={cipher}"), format!("MACs={mac}"));
            let ssh = OpenSsh::new(&host, &alice).no_session().option(&cipher_setting).option(&mac_setting);
            let tunnel = ssh.args(["-v"]).forward(10080, service.port()).spawn();
            host.await_port(10080);
            exchange(host.forwarded(10080), 1, bulk_bytes(5 * MIB, 100 * MIB));
            service.assert_no_failure();
            assert!(tunnel.stderr().contains(&format!("cipher: {cipher}")), "{}", tunnel.stderr());
            drop(tunnel);
            host.await_port_free(10080, Duration::from_secs(1));
        }
    }
}

#[test]
fn ciphers_with_their_own_authentication_are_exact() {
    carries_with(
        &["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
        &["hmac-sha2-256"],
    );
}

#[test]
fn ciphers_with_every_mac_are_exact() {
    let macs = ["hmac-sha2-256", "hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"];
    carries_with(&["aes128-ctr"], &macs);
    carries_with(&["aes192-ctr", "aes256-ctr"], &macs[3..]);
}

/// A visitor's connection, at its end and at the service's.
fn both_ends(share: &Share<TcpListener>) -> (TcpStream, TcpStream) {
    let visitor = TcpStream::connect(share.address()).unwrap();
    let (service, _) = share.service.accept().unwrap();
    for stream in [&visitor, &service] {
        stream.set_read_timeout(Some(SOON)).unwrap();
    }
    (visitor, service)
}

/// A visitor that has said all it has to say still hears the whole answer.
#[test]
fn a_visitor_closes_its_half_first() {
    let share = Share::of(TcpListener::bind("127.0.0.1:0").unwrap());
    let (visitor, service) = both_ends(&share);
    send_pattern(&visitor, 1, 3 * MIB + 7).unwrap();
    assert_eq!(receive_pattern(&service, 1).unwrap(), 3 * MIB + 7, "the request, and then its end");
    send_pattern(&service, 2, 5 * MIB + 11).unwrap();
    assert_eq!(receive_pattern(&visitor, 2).unwrap(), 5 * MIB + 11, "the answer, and then its end");
}

/// A service that closes first still receives what the visitor goes on to say.
#[test]
fn a_service_closes_its_half_first() {
    let share = Share::of(TcpListener::bind("127.0.0.1:0").unwrap());
    let (visitor, service) = both_ends(&share);
    send_pattern(&service, 2, MIB + 1).unwrap();
    assert_eq!(receive_pattern(&visitor, 2).unwrap(), MIB + 1);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_pattern(&visitor, 1, 20 * MIB + 3));
        assert_eq!(receive_pattern(&service, 1).unwrap(), 20 * MIB + 3);
        sender.join().unwrap().unwrap();
    });
}

/// Nothing is left of connections that ended, in either order.
#[test]
fn ended_connections_leave_no_descriptor() {
    let share = Share::of(EchoService::start());
    assert!(asks_and_hears(share.address(), "hello", SOON));
    let before = share.host.descriptors();
    for _ in 0..5 {
        let visitors: Vec<_> = (0..40).map(|_| TcpStream::connect(share.address()).unwrap()).collect();
        for mut visitor in &visitors {
            visitor.set_read_timeout(Some(SOON)).unwrap();
            visitor.write_all(b"x").unwrap();
            visitor.read_exact(&mut [0]).unwrap();
        }
        // Some end politely, some with a reset, some by closing one half.
        for (number, visitor) in visitors.iter().enumerate() {
            match number % 3 {
                0 => visitor.shutdown(Shutdown::Write).unwrap(),
                1 => socket2::SockRef::from(visitor).set_linger(Some(Duration::ZERO)).unwrap(),
                _ => visitor.shutdown(Shutdown::Both).unwrap(),
            }
        }
    }
    eventually(Duration::from_secs(3), "no descriptor is left", || share.host.descriptors() <= before);
}

#[test]
fn two_hundred_visitors_at_once_are_served() {
    let share = Share::of(PatternService::start());
    let address = share.address();
    thread::scope(|scope| {
        for seed in 0..200 {
            scope.spawn(move || exchange(address, seed, 100_003));
        }
    });
    share.service.assert_no_failure();
}

/// A stopped service: its visitors are closed within 200 ms, the client says so, and the tunnel waits for its return.
#[test]
fn a_stopped_service_closes_its_visitors_and_may_return() {
    let Share { service: page, host, mut tunnel, .. } = Share::of(HttpService::start("before"));
    let port = page.port();
    assert_eq!(http_get(host.forwarded(10080), "jump", "/", SOON).unwrap().body, "before");
    drop(page);

    let mut visitor = TcpStream::connect(host.forwarded(10080)).unwrap();
    let connected = Instant::now();
    visitor.set_read_timeout(Some(SOON)).unwrap();
    let mut byte = [0];
    let ended = visitor.read(&mut byte);
    assert!(ended.as_ref().is_ok_and(|count| *count == 0) || ended.is_err(), "{ended:?}");
    assert!(connected.elapsed() <= Duration::from_millis(200), "closed after {:?}", connected.elapsed());
    tunnel.await_stderr(SOON, &format!("connect_to localhost port {port}: failed."));
    assert!(tunnel.is_running());

    let _page = HttpService::start_on(port, "after");
    assert_eq!(http_get(host.forwarded(10080), "jump", "/", SOON).unwrap().body, "after");
}

/// A service that dies with visitors inside: they are closed within 200 ms.
#[test]
fn a_killed_service_closes_the_visitors_inside() {
    let Share { service: echo, host, tunnel: _tunnel, .. } = Share::of(EchoService::start());
    let mut visitor = TcpStream::connect(host.forwarded(10080)).unwrap();
    visitor.set_read_timeout(Some(SOON)).unwrap();
    visitor.write_all(b"x").unwrap();
    visitor.read_exact(&mut [0]).unwrap();
    let killed = Instant::now();
    drop(echo);
    assert_eq!(visitor.read(&mut [0]).unwrap_or(0), 0);
    assert!(killed.elapsed() <= Duration::from_millis(200), "closed after {:?}", killed.elapsed());
}

/// The originator that OpenSSH is told is the visitor's own numeric address and port (line 9).
#[test]
fn the_client_learns_who_visits() {
    let share = Share::with(JumpHost::start(), EchoService::start(), |ssh| ssh.no_session().args(["-v"]));
    let visitor = TcpStream::connect(share.address()).unwrap();
    let own = visitor.local_addr().unwrap();
    share.tunnel.await_stderr(SOON, &format!("originator {} port {}", own.ip(), own.port()));
}
