//! What a session without `-N` says and how it ends (lines 13 and 14).

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use adit_e2e::{EchoService, JumpHost, OpenSsh, Running, ServiceAddress, Share, asks_and_hears, eventually, remains};
use rustix::process::{Pid, Signal, kill_process};

use crate::SOON;

/// Long enough to see a second greeting or a session that ends on its own.
const A_WHILE: Duration = Duration::from_millis(800);

#[test]
fn the_greeting_comes_once_and_then_silence() {
    let share = Share::with(JumpHost::start(), EchoService::start(), |ssh| ssh);
    share.tunnel.await_stdout(SOON, "Tunnel-only access for alice.\n");
    assert!(asks_and_hears(share.address(), "hello", SOON));
    remains(A_WHILE, "nothing follows the greeting", || share.tunnel.stdout() == "Tunnel-only access for alice.\n");
}

#[test]
fn on_a_terminal_the_greeting_ends_with_a_carriage_return() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let mut tunnel = OpenSsh::new(&host, &alice).forward(10080, echo.port()).spawn_on_terminal();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.\r\n");
    tunnel.type_in(b"ls -l\r");
    remains(A_WHILE, "typing is answered by nothing", || tunnel.stdout() == "Tunnel-only access for alice.\r\n");
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON));
}

#[test]
fn ctrl_c_on_a_terminal_ends_the_session_with_130() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let mut tunnel = OpenSsh::new(&host, &alice).forward(10080, 9).spawn_on_terminal();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    tunnel.type_in(b"\x03");
    let ended = tunnel.wait_exit(SOON);
    assert_eq!(ended.code(), 130, "{ended:?}");
    host.await_port_free(10080, Duration::from_secs(1));
}

#[test]
fn a_forced_terminal_is_granted() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    // `-tt` makes a refused pty-req fatal.
    let tunnel = OpenSsh::new(&host, &alice).args(["-tt"]).forward(10080, 9).spawn();
    tunnel.await_stdout(SOON, "Tunnel-only access for alice.\r\n");
    host.await_port(10080);
}

#[test]
fn end_of_file_on_stdin_does_not_end_the_tunnel() {
    let mut share = Share::with(JumpHost::start(), EchoService::start(), |ssh| ssh);
    share.tunnel.close_stdin();
    share.tunnel.await_stdout(SOON, "Tunnel-only access for alice.");
    remains(A_WHILE, "the client lives on", || share.tunnel.is_running());
    assert!(asks_and_hears(share.address(), "hello", SOON));
}

#[test]
fn without_a_session_nothing_is_printed() {
    let share = Share::of(EchoService::start());
    assert!(asks_and_hears(share.address(), "hello", SOON));
    assert_eq!(share.tunnel.stdout(), "");
    assert!(!share.tunnel.stderr().contains("Tunnel-only"), "{}", share.tunnel.stderr());
}

#[test]
fn in_the_background_the_tunnel_serves() {
    let mut host = JumpHost::start();
    let alice = host.member("alice");
    let echo = EchoService::start();
    let daemon = Daemon::of(&host);
    let ssh = OpenSsh::new(&host, &alice).args(["-f"]).no_session().forward(10080, echo.port());
    // `ssh -f` leaves a daemon that keeps our pipes; it must not keep this test.
    let mut command = ssh.command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    host.await_port(10080);
    assert!(asks_and_hears(host.forwarded(10080), "hello", SOON));
    assert_eq!(daemon.processes().len(), 1);
    // Its terminal is gone, so the server's end is what ends the daemon.
    host.stop();
    eventually(SOON, "the daemon ends with the server", || daemon.processes().is_empty());
}

/// An `ssh` that went to the background: nobody's child, known by the file of known hosts it was started with.
struct Daemon {
    marker: String,
}

impl Daemon {
    fn of(host: &JumpHost) -> Daemon {
        Daemon { marker: host.folder().join("known_hosts").to_string_lossy().into_owned() }
    }

    fn processes(&self) -> Vec<Pid> {
        let is_ours = |pid: &i32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).into_owned();
            arguments.starts_with("ssh\0") && arguments.contains(&self.marker)
        };
        let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
        let pids = names.filter_map(|name| name.to_str()?.parse().ok());
        pids.filter(is_ours).filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn several_sessions_of_one_connection_are_each_greeted_once() {
    let share = Share::by_master(EchoService::start());
    let sessions: Vec<Running> = (0..2).map(|_| share.through_master().spawn()).collect();
    for session in &sessions {
        session.await_stdout(SOON, "Tunnel-only access for alice.\n");
    }
}

#[test]
fn more_than_ten_session_channels_are_refused_and_the_tunnel_serves_on() {
    let share = Share::by_master(EchoService::start());
    let sessions: Vec<Running> = (0..10).map(|_| share.through_master().spawn()).collect();
    for session in &sessions {
        session.await_stdout(SOON, "Tunnel-only access for alice.");
    }
    let eleventh = share.through_master().run(SOON);
    assert_ne!(eleventh.code(), 0, "{eleventh:?}");
    assert!(asks_and_hears(share.address(), "hello", SOON));
}
