//! A visitor that stops reading slows nobody else (line 19). This is what our own flow control is for: a channel's window
//! is credited by what was written on, so a stalled visitor stops its own channel and nothing more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use adit_e2e::{
    EchoService, HttpService, JumpHost, OpenSsh, PatternService, Running, ServiceAddress, eventually, http_get,
    long_runs_wanted,
};

use crate::SOON;

/// What line 19 promises the others.
const PROMPT: Duration = Duration::from_millis(100);
/// A machine that runs other tests takes the processor away for longer than that now and then. The fault looked for here,
/// a session that waits for its stalled visitor, lasts as long as the visitor does.
const INTERRUPTED: Duration = Duration::from_secs(1);
/// One channel's window, and as much again for the allocator and what else a working session does meanwhile.
const MEMORY: u64 = 4 << 20;

fn span() -> Duration {
    Duration::from_secs(if long_runs_wanted() { 60 } else { 10 })
}

/// Asks the echo at `address` over and over for the whole span: answers are prompt.
fn assert_prompt_answers(address: SocketAddr, mut meanwhile: impl FnMut()) {
    let mut visitor = TcpStream::connect(address).unwrap();
    visitor.set_nodelay(true).unwrap();
    visitor.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < span() {
        let asked = Instant::now();
        let question = times.len().to_be_bytes();
        visitor.write_all(&question).unwrap();
        let mut answer = [0; 8];
        visitor.read_exact(&mut answer).unwrap();
        assert_eq!(answer, question);
        times.push(asked.elapsed());
        meanwhile();
    }
    times.sort();
    let (most, slowest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
    eprintln!("{} answers, 99 of 100 within {most:?}, the slowest in {slowest:?}", times.len());
    assert!(most <= PROMPT && slowest <= INTERRUPTED, "99 of 100 within {most:?}, the slowest in {slowest:?}");
}

/// Visits a service that sends for ever, and does not read.
fn stalled_visitor(address: SocketAddr) -> TcpStream {
    let mut visitor = TcpStream::connect(address).unwrap();
    visitor.write_all(&7_u64.to_be_bytes()).unwrap();
    visitor.write_all(&(1_u64 << 40).to_be_bytes()).unwrap();
    visitor
}

fn two_forwards(host: &JumpHost, first: u16, second: u16) -> Running {
    let alice = host.member("alice");
    let ssh = OpenSsh::new(host, &alice).no_session().args(["-vvv"]).option("ServerAliveInterval=1");
    let tunnel = ssh.option("ServerAliveCountMax=2").forward(10080, first).forward(10081, second).spawn();
    host.await_port(10081);
    tunnel
}

#[test]
fn other_tunnels_of_the_session_answer_promptly() {
    let host = JumpHost::start();
    let (endless, echo) = (PatternService::start(), EchoService::start());
    let mut tunnel = two_forwards(&host, endless.port(), echo.port());
    let before = host.memory();
    let stalled = stalled_visitor(host.forwarded(10080));
    let mut most = before;
    assert_prompt_answers(host.forwarded(10081), || most = most.max(host.memory()));
    assert!(most - before <= MEMORY, "memory grew by {} KiB", (most - before) / 1024);
    assert!(tunnel.is_running());
    drop(stalled);
}

/// OpenSSH sends its keepalives into silence only, so here nobody else speaks.
#[test]
fn keepalives_go_on_beside_a_stalled_visitor() {
    let host = JumpHost::start();
    let (endless, echo) = (PatternService::start(), EchoService::start());
    let mut tunnel = two_forwards(&host, endless.port(), echo.port());
    let _stalled = stalled_visitor(host.forwarded(10080));
    let answered = || tunnel.stderr().matches("receive packet: type 82").count();
    let before = answered();
    eventually(Duration::from_secs(15), "five keepalives are answered", || answered() >= before + 5);
    assert!(tunnel.is_running());
}

/// The same visitor beside others of the very same port.
#[test]
fn other_visitors_of_the_port_are_untouched() {
    let host = JumpHost::start();
    let (endless, page) = (PatternService::start(), HttpService::start("page"));
    let _tunnel = two_forwards(&host, endless.port(), page.port());
    let _stalled: Vec<_> = (0..4).map(|_| stalled_visitor(host.forwarded(10080))).collect();
    for seed in 0..4 {
        adit_e2e::exchange(host.forwarded(10080), seed, 5 << 20);
        assert_eq!(http_get(host.forwarded(10081), "jump", "/", SOON).unwrap().body, "page");
    }
}

/// The mirror image: a service that stops reading what its visitor uploads.
#[test]
fn a_service_that_stops_reading_slows_nobody() {
    let host = JumpHost::start();
    let (deaf, echo) = (TcpListener::bind("127.0.0.1:0").unwrap(), EchoService::start());
    let _tunnel = two_forwards(&host, deaf.local_addr().unwrap().port(), echo.port());
    let before = host.memory();
    let mut upload = TcpStream::connect(host.forwarded(10080)).unwrap();
    let _unread = deaf.accept().unwrap();
    upload.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while upload.write(&[0; 65_536]).is_ok() {}
    assert_prompt_answers(host.forwarded(10081), || {});
    assert!(host.memory() - before <= MEMORY, "memory grew by {} KiB", (host.memory() - before) / 1024);
}

/// Once it reads again, it gets every byte.
#[test]
fn a_visitor_that_resumes_gets_every_byte() {
    let host = JumpHost::start();
    let (service, echo) = (PatternService::start(), EchoService::start());
    let _tunnel = two_forwards(&host, service.port(), echo.port());
    let total = 40_u64 << 20;
    let visitor = TcpStream::connect(host.forwarded(10080)).unwrap();
    visitor.set_read_timeout(Some(SOON)).unwrap();
    (&visitor).write_all(&7_u64.to_be_bytes()).unwrap();
    (&visitor).write_all(&total.to_be_bytes()).unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| adit_e2e::send_pattern(&visitor, 7, total));
        // It reads nothing until its whole upload is through: by then its download has long filled its window.
        eventually(SOON, "the upload is through although nothing is read", || sender.is_finished());
        assert_eq!(adit_e2e::receive_pattern(&visitor, !7).unwrap(), total);
        sender.join().unwrap().unwrap();
    });
    service.assert_no_failure();
}
