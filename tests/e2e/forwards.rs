//! Remote forwards as OpenSSH asks for them (lines 5 to 10).

use std::net::Ipv6Addr;
use std::time::Duration;

use adit_e2e::{
    EchoService, HttpService, JumpHost, OpenSsh, ServiceAddress, asks_and_hears, eventually, http_get, remains, within,
};

use crate::SOON;

fn warning(port: u16) -> String {
    format!("Warning: remote port forwarding failed for listen port {port}")
}

#[test]
fn both_ends_of_the_range_bind() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let ssh = OpenSsh::new(&host, &alice).no_session().option("ExitOnForwardFailure=yes");
    let _tunnel = ssh.forward(10000, echo.port()).forward(60000, echo.port()).spawn();
    for port in [10000, 60000] {
        host.await_port(port);
        assert!(asks_and_hears(host.forwarded(port), "hello", SOON), "port {port}");
    }
}

#[test]
fn outside_the_range_openssh_warns_and_the_session_stays() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let mut ssh = OpenSsh::new(&host, &alice).no_session();
    for port in [9999, 60001, 80, 65535] {
        ssh = ssh.forward(port, 9);
    }
    let mut tunnel = ssh.forward(10080, echo.port()).spawn();
    for port in [9999, 60001, 80, 65535] {
        tunnel.await_stderr(SOON, &warning(port));
        assert!(!host.listens_on(port), "port {port}");
    }
    host.await_port(10080);
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON), "the session's good forward serves");
    assert!(tunnel.is_running());
}

#[test]
fn a_narrower_range_is_kept() {
    let host = JumpHost::builder().flag("--ports", "20000-20001").start();
    let alice = host.member("alice");
    let ssh = OpenSsh::new(&host, &alice).no_session();
    let tunnel = ssh.forward(20000, 9).forward(20001, 9).forward(20002, 9).forward(10080, 9).spawn();
    tunnel.await_stderr(SOON, &warning(20002));
    tunnel.await_stderr(SOON, &warning(10080));
    assert!(host.listens_on(20000) && host.listens_on(20001));
}

#[test]
fn exit_on_forward_failure_exits_255() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let ssh = OpenSsh::new(&host, &alice).no_session().option("ExitOnForwardFailure=yes");
    let refused = ssh.forward(9999, 9).run(SOON);
    assert_eq!(refused.code(), 255, "{refused:?}");
    assert!(refused.stderr.contains("Error: remote port forwarding failed for listen port 9999"), "{refused:?}");
}

#[test]
fn a_port_in_use_is_refused_and_its_holder_loses_nothing() {
    let host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let page = HttpService::start("alice's page");
    let other = HttpService::start("bob's page");
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, page.port()).spawn();
    host.await_port(10080);
    let address = host.forwarded(10080);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let answered = (0..1_000).filter_map(|_| http_get(address, "jump", "/", SOON));
            answered.filter(|answer| answer.body == "alice's page").count()
        });
        let mut refusals = 0;
        while refusals < 3 || !visitor.is_finished() {
            let refused = OpenSsh::new(&host, &bob)
                .no_session()
                .option("ExitOnForwardFailure=yes")
                .forward(10080, other.port())
                .run(SOON);
            assert_eq!(refused.code(), 255, "{refused:?}");
            refusals += 1;
        }
        assert_eq!(visitor.join().unwrap(), 1_000, "requests answered by the holder while {refusals} were refused");
    });
    assert_eq!(other.requests().len(), 0);
}

#[test]
fn several_forwards_do_not_mix() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let services: Vec<_> = (0..5).map(|number| HttpService::start(&format!("service {number}"))).collect();
    let mut ssh = OpenSsh::new(&host, &alice).no_session();
    for (number, service) in (0..).zip(&services) {
        ssh = ssh.forward(10080 + number, service.port());
    }
    let _tunnel = ssh.spawn();
    host.await_port(10084);
    std::thread::scope(|scope| {
        for number in 0..5 {
            let address = host.forwarded(10080 + number);
            scope.spawn(move || {
                for _ in 0..40 {
                    let answer = http_get(address, "jump", "/", SOON).expect("an answer");
                    assert_eq!(answer.body, format!("service {number}"));
                }
            });
        }
    });
}

#[test]
fn port_0_is_chosen_inside_the_range_and_printed() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let services = [HttpService::start("first"), HttpService::start("second")];
    let mut ssh = OpenSsh::new(&host, &alice).no_session();
    for service in &services {
        ssh = ssh.forward(0, service.port());
    }
    let tunnel = ssh.spawn();
    for (service, body) in services.iter().zip(["first", "second"]) {
        let told = format!("for remote forward to localhost:{}", service.port());
        let port = within(SOON, "ssh prints the allocated port", || {
            let text = tunnel.stderr();
            let line = text.lines().find(|line| line.contains(&told))?.to_owned();
            line.strip_prefix("Allocated port ")?.split(' ').next()?.parse::<u16>().ok()
        });
        assert!((10000..=60000).contains(&port), "port {port}");
        let answer = http_get(host.forwarded(port), "jump", "/", SOON).expect("an answer");
        assert_eq!(answer.body, body);
    }
}

/// Line 9: every bind form means the mesh address, and OpenSSH knows its channel again by the address it sent.
fn binds_and_serves(bind: &str) {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let spec = format!("{bind}10080:localhost:{}", echo.port());
    let tunnel = OpenSsh::new(&host, &alice).no_session().forward_spec(&spec).spawn();
    host.await_port(10080);
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON), "-R {spec}: {}", tunnel.stderr());
}

#[test]
fn no_bind_address_serves() {
    binds_and_serves("");
}

#[test]
fn an_empty_bind_address_serves() {
    binds_and_serves(":");
}

#[test]
fn a_star_serves() {
    binds_and_serves("*:");
}

#[test]
fn localhost_serves() {
    binds_and_serves("localhost:");
}

#[test]
fn the_loopback_address_serves() {
    binds_and_serves("127.0.0.1:");
}

#[test]
fn the_ipv4_wildcard_serves() {
    binds_and_serves("0.0.0.0:");
}

#[test]
fn the_ipv6_wildcard_serves() {
    binds_and_serves("[::]:");
}

/// Line 9: one owner per port number, whatever address is asked for.
#[test]
fn one_port_number_has_one_owner() {
    let host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward_spec("127.0.0.1:10080:localhost:9").spawn();
    host.await_port(10080);
    for spec in ["*:10080:localhost:9", "[::]:10080:localhost:9", "0.0.0.0:10080:localhost:9"] {
        let ssh = OpenSsh::new(&host, &bob).no_session().option("ExitOnForwardFailure=yes");
        let refused = ssh.forward_spec(spec).run(SOON);
        assert_eq!(refused.code(), 255, "-R {spec}: {refused:?}");
    }
}

#[test]
fn one_session_asking_twice_gets_its_port_once() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let (first, second) = (HttpService::start("first"), HttpService::start("second"));
    let ssh = OpenSsh::new(&host, &alice).no_session().forward(10080, first.port());
    let mut tunnel = ssh.forward_spec(&format!("*:10080:localhost:{}", second.port())).spawn();
    tunnel.await_stderr(SOON, &warning(10080));
    assert_eq!(http_get(host.forwarded(10080), "jump", "/", SOON).unwrap().body, "first");
    assert!(tunnel.is_running());
}

/// A jump host whose mesh speaks IPv6 only. "Localhost" and "0.0.0.0" mean its mesh address there, too.
#[test]
fn an_ipv6_jump_host_serves() {
    let host = JumpHost::builder().on(Ipv6Addr::LOCALHOST.into()).start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let mut ssh = OpenSsh::new(&host, &alice).no_session().forward_spec("0:localhost:9");
    let ports = own_ports();
    for (bind, port) in ["", "*:", "0.0.0.0:", "[::]:"].iter().zip(ports) {
        ssh = ssh.forward_spec(&format!("{bind}{port}:localhost:{}", echo.port()));
    }
    let tunnel = ssh.spawn();
    for port in ports {
        let address = host.forwarded(port);
        eventually(SOON, "a visitor is served over IPv6", || asks_and_hears(address, "hello", SOON));
    }
    tunnel.await_stderr(SOON, "Allocated port ");
}

/// Ports of `::1` that other tests hardly use: the machine has one such address, so they are made of our process id.
fn own_ports() -> [u16; 4] {
    let first = 10_000 + (std::process::id() % 5_000) as u16 * 4;
    [first, first + 1, first + 2, first + 3]
}

/// `-R 10080` alone makes OpenSSH a SOCKS server for its visitors; the jump host sees an ordinary forward.
#[test]
fn a_dynamic_remote_forward_serves() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward_spec("10080").spawn();
    host.await_port(10080);
    let [high, low] = echo.port().to_be_bytes();
    // SOCKS4 CONNECT to 127.0.0.1: version 4, command 1, port, address, empty user.
    let request = [4, 1, high, low, 127, 0, 0, 1, 0];
    let mut visitor = std::net::TcpStream::connect(host.forwarded(10080)).unwrap();
    visitor.set_read_timeout(Some(SOON)).unwrap();
    std::io::Write::write_all(&mut visitor, &request).unwrap();
    let mut answer = [0; 8];
    std::io::Read::read_exact(&mut visitor, &mut answer).unwrap();
    assert_eq!(answer[..2], [0, 90], "90 is \"request granted\"");
    std::io::Write::write_all(&mut visitor, b"hello").unwrap();
    let mut echoed = [0; 5];
    std::io::Read::read_exact(&mut visitor, &mut echoed).unwrap();
    assert_eq!(&echoed, b"hello");
}

/// Limits: 20 forwards per account by default, over all its sessions; another account has its own.
#[test]
fn the_twenty_first_forward_of_an_account_is_refused() {
    let host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let mut ssh = OpenSsh::new(&host, &alice).no_session();
    for port in 10080..10100 {
        ssh = ssh.forward(port, 9);
    }
    let mut full = ssh.spawn();
    host.await_port(10099);
    let over = OpenSsh::new(&host, &alice).no_session().forward(10100, 9).spawn();
    over.await_stderr(SOON, &warning(10100));
    let _bobs = OpenSsh::new(&host, &bob).no_session().forward(10101, 9).spawn();
    host.await_port(10101);
    full.kill();
    eventually(Duration::from_secs(1), "the ports are free", || !host.listens_on(10099));
    let _again = OpenSsh::new(&host, &alice).no_session().forward(10100, 9).spawn();
    host.await_port(10100);
}

/// Limits: a session with no forward is closed after `idle_without_forward`, with a reason; one with a forward is not.
#[test]
fn a_session_without_a_forward_is_closed_with_a_reason() {
    let host = JumpHost::builder().setting("idle_without_forward", "1s").start();
    let alice = host.member("alice");
    let mut idle = OpenSsh::new(&host, &alice).no_session().spawn();
    let mut busy = OpenSsh::new(&host, &alice).no_session().forward(10080, 9).spawn();
    let ended = idle.wait_exit(SOON);
    assert_eq!(ended.code(), 255, "{ended:?}");
    assert!(ended.stderr.contains("forward"), "the reason is told: {ended:?}");
    remains(Duration::from_millis(1_500), "the session with a forward stays", || busy.is_running());
}
