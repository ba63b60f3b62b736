//! What the way of a byte costs, counted and not timed, so that it is the same on a slow machine: instructions of the engine, and system
//! calls of the jump host. A change that costs more than a small part is seen here, whatever else the machine does; what it does to rates is
//! `bench/`'s to say.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use adit_e2e::{
    EchoService, JumpHost, OpenSsh, PatternService, Running, ServiceAddress, Signal, beside_the_tests, exchange,
    finish, require,
};

use crate::SOON;

const MIB: u64 = 1 << 20;

/// Instructions that the engine takes for so many bytes and messages, beside so many idle channels, as valgrind's callgrind counts them. Its
/// processor is the same one everywhere, but for what it takes over of the machine's own.
fn instructions(bytes: u64, messages: u64, channels: u64) -> Option<u64> {
    let mut command = Command::new(require("valgrind")?);
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(beside_the_tests("adit-bench"));
    let finished =
        finish(command.arg("engine").args([bytes, messages, channels].map(|count| count.to_string())), 10 * SOON);
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let line = finished.stderr.lines().find(|line| line.contains("Collected :")).expect("callgrind's sum").to_owned();
    Some(line.split_whitespace().last().unwrap().parse().unwrap())
}

/// Both ends of a session, joined by memory: sealing, opening, windows and nothing else. Logging in is in both runs, and so in neither
/// difference.
#[test]
fn a_byte_and_a_message_take_so_many_instructions() {
    let Some(least) = instructions(8 * MIB, 500, 0) else { return };
    let more_bytes = instructions(16 * MIB, 500, 0).unwrap();
    let more_messages = instructions(8 * MIB, 1_500, 0).unwrap();
    let crowd = instructions(8 * MIB, 500, 1_000).unwrap();
    let more_in_a_crowd = instructions(8 * MIB, 1_500, 1_000).unwrap();
    let byte = (more_bytes - least) as f64 / (8 * MIB) as f64;
    let message = (more_messages - least) as f64 / 1_000.0;
    let in_a_crowd = (more_in_a_crowd - crowd) as f64 / 1_000.0;
    eprintln!(
        "{byte:.2} instructions for each byte, {message:.0} for each message of 64 bytes, {in_a_crowd:.0} beside 1,000 idle channels"
    );
    // Counted with the test profile: 6.65 and 6,468, each time. Another processor has other instructions for a cipher.
    assert!(byte < 7.2, "{byte:.2} instructions for each byte");
    assert!(message < 7_000.0, "{message:.0} instructions for each message");
    assert!(in_a_crowd < 1.02 * message, "{in_a_crowd:.0} instructions for each message beside 1,000 idle channels");
}

/// strace(1) on a process, until it is told to stop.
struct Tracer {
    strace: Running,
    folder: tempfile::TempDir,
}

impl Tracer {
    fn attach(pid: u32, how: &[&str]) -> Option<Tracer> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(require("strace")?);
        command.arg("-f").args(how).arg("-o").arg(folder.path().join("calls")).args(["-p", &pid.to_string()]);
        let strace = Running::spawn(&mut command);
        strace.await_stderr(SOON, "attached");
        Some(Tracer { strace, folder })
    }

    /// What it has written.
    fn finish(mut self) -> String {
        self.strace.signal(Signal::INT);
        self.strace.wait_exit(SOON);
        fs::read_to_string(self.folder.path().join("calls")).unwrap()
    }
}

/// The same, which counts.
struct Counter(Tracer);

impl Counter {
    fn attach(pid: u32) -> Option<Counter> {
        Tracer::attach(pid, &["-c"]).map(Counter)
    }

    /// All calls since, with their names for whoever reads a failure.
    fn finish(self) -> (f64, String) {
        let table = self.0.finish();
        let sum = table.lines().find(|line| line.trim_end().ends_with("total")).expect("strace's sum");
        (sum.split_whitespace().nth(3).unwrap().parse().unwrap(), table)
    }
}

/// Who leaves Nagle's algorithm on, as OpenSSH's client does while it logs in, need not wait for the kernel to acknowledge what has no
/// answer: 40 ms for each login, which nobody would count.
#[test]
fn who_logs_in_is_acknowledged_at_once() {
    const LOGINS: u16 = 4;
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let Some(tracer) = Tracer::attach(host.pid(), &["-e", "trace=setsockopt"]) else { return };
    for port in 10080..10080 + LOGINS {
        let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(port, echo.port()).spawn();
        host.await_port(port);
    }
    let calls = tracer.finish();
    let acknowledged = calls.lines().filter(|call| call.contains("TCP_QUICKACK")).count();
    assert!(acknowledged >= usize::from(LOGINS), "{acknowledged} for {LOGINS} logins\n{calls}");
}

/// A message there and back: both sockets are waited for, read and written, and the visitor's is found empty.
#[test]
fn a_ping_takes_so_many_system_calls() {
    const PINGS: usize = 1_000;
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, echo.port()).spawn();
    host.await_port(10080);
    let mut visitor = TcpStream::connect(host.forwarded(10080)).unwrap();
    visitor.set_nodelay(true).unwrap();
    visitor.set_read_timeout(Some(SOON)).unwrap();
    let mut ping = || {
        let mut message = [7; 64];
        visitor.write_all(&message).unwrap();
        visitor.read_exact(&mut message).unwrap();
    };
    ping();
    let Some(counter) = Counter::attach(host.pid()) else { return };
    (0..PINGS).for_each(|_| ping());
    let (calls, table) = counter.finish();
    let each = calls / PINGS as f64;
    eprintln!("{each:.2} system calls for each ping");
    // Seven, and up to 0.2 of what goes on beside them.
    assert!(each < 8.0, "{each:.2} system calls for each ping\n{table}");
}

/// A pattern to and from a service at once.
#[test]
fn a_mebibyte_takes_so_many_system_calls() {
    const BULK: u64 = 64 * MIB;
    let host = JumpHost::start();
    let alice = host.member("alice");
    let service = PatternService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, service.port()).spawn();
    host.await_port(10080);
    exchange(host.forwarded(10080), 1, MIB);
    let Some(counter) = Counter::attach(host.pid()) else { return };
    exchange(host.forwarded(10080), 2, BULK);
    let (calls, table) = counter.finish();
    let each = calls / (2 * BULK / MIB) as f64;
    eprintln!("{each:.2} system calls for each MiB");
    // 15 to 20 were counted, on a busy machine too: how much lies in a socket is the kernel's affair.
    assert!(each < 30.0, "{each:.2} system calls for each MiB\n{table}");
    service.assert_no_failure();
}
