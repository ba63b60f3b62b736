//! What people really send through a tunnel (line 18): a database, WebSockets, another SSH.

use std::fs;
use std::process::Command;
use std::time::Duration;

use adit_e2e::{
    Finished, PatternWriter, Postgres, Running, ServiceAddress, Share, Sshd, finish, peer_script, python, within,
};

use crate::SOON;

/// Long enough for megabytes through a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command that must succeed printed.
fn printed(finished: &Finished) -> &str {
    assert_eq!(finished.code(), 0, "{finished:?}");
    finished.stdout.trim()
}

#[test]
fn postgresql_copies_rows_out_and_in_unchanged() {
    let Some(database) = Postgres::start() else { return };
    let share = Share::of(database);
    let psql = |lines: &[&str]| printed(&share.service.psql_via(share.address(), lines)).to_owned();
    // 50,000 rows of some 100 bytes; text with what COPY has to escape.
    psql(&[
        "CREATE TABLE shelf AS SELECT i, md5(i::text) || E'\\t\\\\' || repeat('ü', i % 60) AS text \
         FROM generate_series(1, 50000) i",
        "CREATE TABLE returned (LIKE shelf)",
        "\\copy shelf TO 'rows.txt'",
        "\\copy returned FROM 'rows.txt'",
    ]);
    let digest =
        |table: &str| psql(&[&format!("SELECT count(*), md5(string_agg({table}::text, '' ORDER BY i)) FROM {table}")]);
    let original = digest("shelf");
    assert!(original.starts_with("50000|"), "{original}");
    assert_eq!(digest("returned"), original);
}

#[test]
fn postgresql_serves_many_connections_at_once() {
    let Some(database) = Postgres::start() else { return };
    let share = Share::of(database);
    let pgbench = |words: &[&str]| {
        let finished = share.service.pgbench_via(share.address(), words);
        printed(&finished);
        finished
    };
    pgbench(&["--initialize", "--quiet"]);
    let run = pgbench(&["--client=8", "--jobs=2", "--transactions=50"]);
    assert!(run.stdout.contains("processed: 400/400"), "{run:?}");
}

/// A WebSocket server of Python's, which tells its port.
struct WebSocketService {
    _server: Running,
    port: u16,
}

impl WebSocketService {
    fn start() -> WebSocketService {
        let server = Running::spawn(Command::new(python()).arg(peer_script("websocket_peer.py")).arg("serve"));
        let port = within(SOON, "the WebSocket server tells its port", || {
            server.stdout().strip_prefix("listening ")?.strip_suffix('\n')?.parse().ok()
        });
        WebSocketService { _server: server, port }
    }
}

impl ServiceAddress for WebSocketService {
    fn port(&self) -> u16 {
        self.port
    }
}

#[test]
fn websockets_carry_every_kind_of_message_and_the_host_header_is_the_visitors() {
    let share = Share::of(WebSocketService::start());
    let address = share.address();
    let name = "jump.example:10080";
    let mut visit = Command::new(python());
    visit.arg(peer_script("websocket_peer.py")).args(["visit", &address.ip().to_string(), &address.port().to_string()]);
    let visited = finish(visit.arg(name), PATIENCE);
    let mut lines = printed(&visited).lines();
    assert_eq!(lines.next(), Some(name), "{visited:?}");
    assert_eq!(lines.next(), Some("all came back"), "{visited:?}");
}

/// What a person reaches through a tunnel may be a login on the machine behind it.
#[test]
fn ssh_in_ssh_runs_a_command() {
    let Some(sshd) = Sshd::start() else { return };
    let share = Share::of(sshd);
    let address = share.address();
    let mut login = share.service.login_via(&address.ip().to_string(), address.port());
    let finished = finish(login.arg("printf 'hello from %s' \"$USER\"; head -c 3000000 /dev/zero | wc -c >&2"), SOON);
    assert!(printed(&finished).starts_with("hello from "), "{finished:?}");
    assert!(finished.stderr.contains("3000000"), "{finished:?}");
}

#[test]
fn ssh_in_ssh_takes_a_stream_unchanged() {
    let Some(sshd) = Sshd::start() else { return };
    let share = Share::of(sshd);
    let address = share.address();
    let file = share.host.folder().join("stream");
    let mut noise = vec![0; 20_000_000];
    PatternWriter::new(1).fill(&mut noise);
    fs::write(&file, &noise).unwrap();
    let here = finish(Command::new("sha256sum").arg(&file), SOON);
    let mut login = share.service.login_via(&address.ip().to_string(), address.port());
    let mut there = Running::spawn(login.arg("sha256sum"));
    there.type_in(&noise);
    there.close_stdin();
    let there = there.wait_exit(PATIENCE);
    assert_eq!(printed(&there).split_whitespace().next(), printed(&here).split_whitespace().next());
}
