//! Peers that come in numbers, or hold on to what they have (lines 29, 30 and 36, and the limits). The full sizes run in `bench/`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use adit_e2e::{
    EchoService, JumpHost, JumpHostBuilder, Member, OpenSsh, ServiceAddress, asks_and_hears, eventually, generate_key,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::SOON;

/// Connects from a chosen loopback address, so that one machine can be many sources.
fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// Waits up to `bound` for the end of the connection and returns what came before.
fn read_to_its_end(stream: &mut TcpStream, bound: Duration) -> Option<Vec<u8>> {
    let deadline = Instant::now() + bound;
    let mut heard = Vec::new();
    let mut chunk = [0; 512];
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut chunk) {
            Ok(0) => return Some(heard),
            Ok(count) => heard.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
            Err(_) => return Some(heard),
        }
    }
    None
}

fn without_login_limits(login_grace: &str) -> JumpHostBuilder {
    JumpHost::builder()
        .setting("login_grace", login_grace)
        .setting("penalty_exempt", "[127.0.0.0/8]")
        .limit("unauthenticated_per_source", 0)
        .limit("unauthenticated_total", 0)
}

#[test]
fn five_hundred_silent_connections_hinder_no_login_and_are_closed() {
    let host = without_login_limits("3s").start();
    let alice = host.member("alice");
    let (descriptors, memory) = (host.descriptors(), host.memory());
    let mut silent: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(host.ssh()).unwrap()).collect();
    let came = Instant::now();
    let tunnel = OpenSsh::new(&host, &alice).forward(10080, 9).spawn();
    tunnel.await_stdout(Duration::from_secs(1), "Tunnel-only access for alice.");
    // 200 MB are promised for 5,000 of them.
    let grown = host.memory().saturating_sub(memory);
    assert!(grown <= 20_000_000, "500 silent connections cost {grown} bytes");
    for stream in &mut silent {
        assert!(read_to_its_end(stream, Duration::from_secs(4)).is_some(), "open after {:?}", came.elapsed());
    }
    assert!(came.elapsed() < Duration::from_secs(5), "the last was closed after {:?}", came.elapsed());
    eventually(Duration::from_secs(1), "their descriptors are free", || host.descriptors() <= descriptors + 4);
}

/// A byte now and then buys no time: the grace is one for all of the login.
#[test]
fn a_slow_drip_is_closed_at_the_grace_time() {
    let host = without_login_limits("3s").start();
    let mut drip = TcpStream::connect(host.ssh()).unwrap();
    drip.set_nodelay(true).unwrap();
    let came = Instant::now();
    let mut banner = b"SSH-2.0-drip_".iter().chain(std::iter::repeat(&b'x'));
    eventually(Duration::from_secs(5), "the drip is closed", || {
        let byte = [*banner.next().unwrap()];
        drip.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut chunk = [0; 512];
        let ended = matches!(drip.read(&mut chunk), Ok(0));
        ended || drip.write_all(&byte).is_err()
    });
    assert!(came.elapsed() >= Duration::from_millis(2_500), "closed already after {:?}", came.elapsed());
}

/// Endless lines before the version (RFC 4253 §4.2 is about servers only) and endless versions cost little and end.
#[test]
fn nonsense_instead_of_a_version_is_closed() {
    let host = without_login_limits("3s").start();
    let garbage: [&[u8]; 4] = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-1.5-old\r\n", &[0; 4096], &[b'x'; 70_000]];
    for bytes in garbage {
        let mut stream = TcpStream::connect(host.ssh()).unwrap();
        let _ = stream.write_all(bytes);
        assert!(read_to_its_end(&mut stream, Duration::from_secs(4)).is_some());
    }
    assert!(host.sessions().is_empty());
}

/// 20 who have not logged in are allowed per address; who is in stays in, and another address is not concerned.
#[test]
fn a_source_may_hold_twenty_before_login() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    let flood = [127, 9, 9, 9];
    let mut held: Vec<TcpStream> = (0..20).map(|_| connect_from(flood, host.ssh())).collect();
    for stream in &mut held {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut banner = [0; 4];
        stream.read_exact(&mut banner).expect("the server's version");
        assert_eq!(&banner, b"SSH-");
    }
    let mut refused = connect_from(flood, host.ssh());
    assert!(read_to_its_end(&mut refused, Duration::from_secs(2)).is_some(), "the twenty-first is closed");
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON), "an established tunnel serves on");
    let other = OpenSsh::new(&host, &alice).spawn();
    other.await_stdout(SOON, "Tunnel-only access for alice.");
    drop(held);
    eventually(SOON, "the source is let in again", || {
        let mut again = connect_from(flood, host.ssh());
        again.set_read_timeout(Some(SOON)).unwrap();
        again.read(&mut [0]).is_ok_and(|count| count == 1)
    });
}

#[test]
fn a_port_takes_no_more_visitors_than_its_limit() {
    let host = JumpHost::builder().limit("visitors_per_port", 3).start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    let mut inside: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(host.forwarded(10080)).unwrap()).collect();
    for visitor in &mut inside {
        visitor.set_read_timeout(Some(SOON)).unwrap();
        visitor.write_all(b"x").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
    }
    let mut fourth = TcpStream::connect(host.forwarded(10080)).unwrap();
    assert!(read_to_its_end(&mut fourth, Duration::from_secs(2)).is_some(), "the fourth is closed");
    inside.pop();
    eventually(SOON, "a place is free again", || asks_and_hears(host.forwarded(10080), "hello", SOON));
}

#[test]
fn an_account_takes_no_more_visitors_than_its_limit() {
    let host = JumpHost::builder().limit("visitors_per_account", 3).start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let echo = EchoService::start();
    let ssh = OpenSsh::new(&host, &alice).no_session();
    let _alices = ssh.forward(10080, echo.port()).forward(10081, echo.port()).spawn();
    let _bobs = OpenSsh::new(&host, &bob).no_session().forward(10082, echo.port()).spawn();
    host.await_port(10081);
    host.await_port(10082);
    let mut inside: Vec<TcpStream> =
        [10080, 10080, 10081].into_iter().map(|port| TcpStream::connect(host.forwarded(port)).unwrap()).collect();
    for visitor in &mut inside {
        visitor.set_read_timeout(Some(SOON)).unwrap();
        visitor.write_all(b"x").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
    }
    let mut fourth = TcpStream::connect(host.forwarded(10081)).unwrap();
    assert!(read_to_its_end(&mut fourth, Duration::from_secs(2)).is_some(), "the fourth is closed");
    assert!(asks_and_hears(host.forwarded(10082), "hello", SOON), "another account is not concerned");
}

/// Line 29: from elsewhere the connection is refused or closed before a byte is said, on SSH and on a forwarded port alike.
#[test]
fn only_allowed_networks_come_in() {
    let host = JumpHost::builder().setting("allow_networks", "[127.0.0.1/32, 127.64.0.0/10]").start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON), "an allowed visitor");
    for address in [host.ssh(), host.forwarded(10080), host.web()] {
        let mut stranger = connect_from([127, 9, 9, 9], address);
        let _ = stranger.write_all(b"GET /health HTTP/1.0\r\n\r\n");
        let heard = read_to_its_end(&mut stranger, Duration::from_secs(2));
        assert_eq!(heard.as_deref(), Some(&b""[..]), "a stranger at {address}");
    }
    assert_eq!(echo.visitors(), 1);
}

/// Line 36: out of descriptors, the server keeps what it has and takes new logins within a second of relief.
#[test]
fn the_accept_loop_recovers_from_descriptor_exhaustion() {
    let mut host = without_login_limits("30s").start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    let limit = host.descriptors() as u64 + 10;
    host.limit_descriptors(limit);
    // Many more than there are descriptors: those who come later stand behind all that have given up meanwhile.
    let flood: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(host.ssh()).unwrap()).collect();
    eventually(SOON, "every descriptor is taken", || host.descriptors() as u64 >= limit);
    assert!(host.server().is_running());
    drop(flood);
    let relief = Instant::now();
    let login = OpenSsh::new(&host, &alice).spawn();
    login.await_stdout(Duration::from_secs(1), "Tunnel-only access for alice.");
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON), "the tunnel serves: {}", tunnel.stderr());
    assert!(relief.elapsed() < Duration::from_secs(1), "{:?}", relief.elapsed());
}

/// The same for visitors: those who gave up before there was a descriptor for them keep nobody waiting.
#[test]
fn visitors_are_served_soon_after_descriptors_are_free_again() {
    let host = without_login_limits("30s").start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    let port = host.forwarded(10080);
    let limit = host.descriptors() as u64 + 10;
    host.limit_descriptors(limit);
    let flood: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(port).unwrap()).collect();
    eventually(SOON, "every descriptor is taken", || host.descriptors() as u64 >= limit);
    drop(flood);
    let relief = Instant::now();
    assert!(asks_and_hears(port, "hello", SOON), "the tunnel serves: {}", tunnel.stderr());
    assert!(relief.elapsed() < Duration::from_secs(1), "{:?}", relief.elapsed());
}

/// Line 30: a source that fails over and over is turned away for a while; one that is exempt is not, and no one else is.
#[test]
fn a_source_that_keeps_failing_is_turned_away() {
    let host = JumpHost::builder().setting("penalty_exempt", "[127.8.0.0/16]").start();
    let alice = host.member("alice");
    let stranger =
        Member { name: "x".to_owned(), key: generate_key(host.folder(), "stranger", adit_e2e::KeyType::Ed25519) };
    let fail_from = |source: &str| {
        let bind = format!("BindAddress={source}");
        OpenSsh::new(&host, &stranger).no_session().option(&bind).run(SOON).stderr
    };
    eventually(Duration::from_secs(20), "the source is turned away", || {
        !fail_from("127.9.9.9").contains("Permission denied (publickey).")
    });
    for _ in 0..20 {
        let heard = fail_from("127.8.8.8");
        assert!(heard.contains("Permission denied (publickey)."), "an exempt source: {heard}");
    }
    let tunnel = OpenSsh::new(&host, &alice).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
}
