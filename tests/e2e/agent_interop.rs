//! The agent's engine with servers that are not OpenSSH's, and what people send through it (`spec/agent.md`, lines 1 to 3, 10 and 24).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use adit_e2e::{
    EchoService, HttpService, KeyType, Postgres, Running, ServiceAddress, Sshd, adit_as, asks_and_hears, eventually,
    finish, generate_key, peer_script, python, require, within,
};
use tempfile::TempDir;

use crate::SOON;
use crate::agent_command::curl;
use crate::free_port::free_port;

/// A server that somebody logs in to with a key, and its programs.
struct Server {
    running: Running,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// dropbear's. It takes keys from the home of whoever logs in alone, so it gets one of its own to see there; that needs root.
    fn dropbear() -> Option<Server> {
        let (dropbear, dropbearkey) = (require("dropbear")?, require("dropbearkey")?);
        let folder = prepared();
        let host_key = folder.path().join("host_key");
        let made = finish(Command::new(dropbearkey).args(["-t", "ed25519", "-f"]).arg(&host_key), SOON);
        assert_eq!(made.code(), 0, "{made:?}");
        let home = folder.path().join("home");
        fs::create_dir_all(home.join(".ssh")).unwrap();
        fs::copy(folder.path().join("login.pub"), home.join(".ssh/authorized_keys")).unwrap();
        let port = free_port();
        let mut serve = Command::new("unshare");
        // Where the system says that home is: `HOME` may say something else.
        let script = "mount --bind \"$1\" \"$(getent passwd \"$(id -u)\" | cut -d: -f6)\" && shift && exec \"$@\"";
        serve.args(["--mount", "sh", "-c", script, "sh"]).arg(&home).arg(dropbear);
        serve.args(["-F", "-E", "-s", "-p", &format!("127.0.0.1:{port}"), "-r"]).arg(&host_key);
        let running = Running::spawn(&mut serve);
        eventually(SOON, "dropbear answers", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Some(Server { running, port, folder })
    }

    /// asyncssh's.
    fn asyncssh() -> Server {
        let folder = prepared();
        let mut serve = Command::new(python());
        let running = Running::spawn(serve.arg(peer_script("asyncssh_server.py")).arg(folder.path().join("login.pub")));
        let port = within(SOON, "asyncssh tells its port", || {
            running.stdout().strip_prefix("listening ")?.lines().next()?.parse().ok()
        });
        Server { running, port, folder }
    }

    /// `adit forward` through it, with nothing on the PATH.
    fn forward(&self, words: &[&str]) -> Running {
        forward(self.folder.path(), self.port, &self.folder.path().join("login"), words)
    }
}

/// A folder with a key to log in with.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate_key(folder.path(), "login", KeyType::Ed25519);
    folder
}

fn forward(home: &std::path::Path, port: u16, key: &std::path::Path, words: &[&str]) -> Running {
    let me = finish(Command::new("id").arg("-un"), SOON).stdout;
    let mut command = adit_as("forward");
    command.env("HOME", home).env("PATH", "").env_remove("SSH_AUTH_SOCK").arg("--data").arg(home.join("data"));
    command.args(["--host-keys", "accept-new", "--via", &format!("{}@127.0.0.1:{port}", me.trim()), "-i"]).arg(key);
    Running::spawn(command.args(words))
}

/// A local forward, a SOCKS proxy and a remote forward, all at once: each brings the page, by one login.
fn serves_all_kinds(server: &Server, logins: impl Fn(&Running) -> usize) {
    let page = HttpService::start("from the other side");
    let (local, socks, remote) = (free_port(), free_port(), free_port());
    let to_page = format!("127.0.0.1:{}", page.port());
    let (left, right) = (format!("{local}:{to_page}"), format!("{remote}:{to_page}"));
    let mut running = server.forward(&["-L", &left, "-D", &socks.to_string(), "-R", &right]);
    running.await_stdout(SOON, &format!("127.0.0.1:{local} → {to_page}"));
    running.await_stdout(SOON, &format!("127.0.0.1:{socks} SOCKS5"));
    running.await_stdout(SOON, &format!("127.0.0.1:{remote} → {to_page} here"));
    let proxy = format!("127.0.0.1:{socks}");
    for words in [
        vec![format!("http://127.0.0.1:{local}/")],
        vec!["--socks5-hostname".to_owned(), proxy, format!("http://localhost:{}/", page.port())],
        vec![format!("http://127.0.0.1:{remote}/")],
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(curl(&words).stdout, "from the other side", "{words:?}");
    }
    assert_eq!(logins(&server.running), 1);
    running.signal(adit_e2e::Signal::INT);
    assert_eq!(running.wait_exit(SOON).code(), 0);
    eventually(SOON, "nobody listens any more", || TcpListener::bind((Ipv4Addr::LOCALHOST, remote)).is_ok());
}

#[test]
fn dropbears_server_carries_every_kind_of_forward() {
    let Some(server) = Server::dropbear() else { return };
    serves_all_kinds(&server, |running| running.stderr().matches("Pubkey auth succeeded").count());
}

#[test]
fn asyncsshs_server_carries_every_kind_of_forward() {
    serves_all_kinds(&Server::asyncssh(), |running| running.stdout().matches("login ").count());
}

/// 10,000 connections one after the other and 500 at once: none is lost, and nothing of them stays.
#[test]
fn a_crowd_leaves_nothing_behind() {
    let Some(sshd) = Sshd::start() else { return };
    let (home, echo) = (tempfile::tempdir().unwrap(), EchoService::start());
    let port = free_port();
    let forward = forward(home.path(), sshd.port(), &sshd.key(), &["-L", &format!("{port}:127.0.0.1:{}", echo.port())]);
    forward.await_stdout(SOON, &format!("127.0.0.1:{port} →"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let idle = forward.descriptors();
    let one_after_the_other = |count: usize| {
        for number in 0..count {
            assert!(asks_and_hears(address, &format!("visitor {number}"), SOON), "visitor {number} is lost");
        }
    };
    let all_at_once = || {
        let mut crowd: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(address).unwrap()).collect();
        crowd.iter_mut().for_each(|visitor| visitor.write_all(b"hello").unwrap());
        for visitor in &mut crowd {
            visitor.set_read_timeout(Some(SOON)).unwrap();
            let mut heard = [0; 5];
            visitor.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"hello");
        }
    };
    let is_idle = || forward.descriptors() <= idle;
    // What the first crowd makes the allocator keep, the next one uses again.
    all_at_once();
    eventually(SOON, "the first crowd is gone", is_idle);
    let before = forward.memory();
    one_after_the_other(10_000);
    all_at_once();
    eventually(SOON, "no descriptor is left", is_idle);
    let grown = forward.memory().saturating_sub(before);
    eprintln!("{} KiB more than the {} KiB before", grown / 1024, before / 1024);
    assert!(grown < 4 << 20, "{grown} bytes stay");
}

#[test]
fn a_browser_goes_through_the_socks_proxy() {
    let (Some(sshd), Some(chromium)) = (Sshd::start(), require("chromium")) else { return };
    let (home, page) = (tempfile::tempdir().unwrap(), HttpService::start("seen from over there"));
    let port = free_port();
    let forward = forward(home.path(), sshd.port(), &sshd.key(), &["-D", &port.to_string()]);
    forward.await_stdout(SOON, &format!("127.0.0.1:{port} SOCKS5"));
    let mut browser = Command::new(chromium);
    browser.env("HOME", home.path()).args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    browser.arg(format!("--user-data-dir={}", home.path().join("browser").display()));
    // Without the second, a browser asks nobody for what is on its own machine.
    browser.args([&format!("--proxy-server=socks5://127.0.0.1:{port}"), "--proxy-bypass-list=<-loopback>"]);
    browser.args(["--dump-dom", &format!("http://localhost:{}/", page.port())]);
    let told = finish(&mut browser, 3 * SOON);
    assert!(told.stdout.contains("seen from over there"), "{told:?}");
    drop(forward);
    let told = finish(&mut browser, 3 * SOON);
    assert!(!told.stdout.contains("seen from over there"), "it went another way: {told:?}");
}

#[test]
fn a_database_behind_the_server_is_used_as_if_it_were_here() {
    let (Some(sshd), Some(database)) = (Sshd::start(), Postgres::start()) else { return };
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let spec = format!("{port}:127.0.0.1:{}", database.port());
    let forward = forward(home.path(), sshd.port(), &sshd.key(), &["-L", &spec]);
    forward.await_stdout(SOON, &format!("127.0.0.1:{port} →"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let digest = "SELECT count(*), md5(string_agg(returned::text, '' ORDER BY i)) FROM returned";
    let lines = [
        "CREATE TABLE shelf AS SELECT i, repeat('ü', i % 60) AS text FROM generate_series(1, 50000) i",
        "CREATE TABLE returned (LIKE shelf)",
        "\\copy shelf TO 'rows.txt'",
        "\\copy returned FROM 'rows.txt'",
        digest,
        &digest.replace("returned", "shelf"),
    ];
    let told = database.psql_via(address, &lines);
    let rows: Vec<&str> = told.stdout.lines().collect();
    assert!(told.code() == 0 && rows.len() == 2 && rows[0].starts_with("50000|"), "{told:?}");
    assert_eq!(rows[0], rows[1]);
    for words in [&["--initialize", "--quiet"][..], &["--client=8", "--jobs=2", "--transactions=50"]] {
        let run = database.pgbench_via(address, words);
        assert_eq!(run.code(), 0, "{run:?}");
    }
}
