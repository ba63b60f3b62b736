//! The command line from outside: what people type wrong, and what they are told. Every refusal is one sentence with a next
//! step, a code for programs, an exit code, and nothing overwritten.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects")]

mod mesh;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::json;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `adit jumphost` on this folder, with nothing of the outer environment in its way.
    fn adit(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        command.arg("jumphost").arg("--data").arg(self.path("data")).args(arguments);
        command.env_clear().env("HOME", self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(&self.adit(arguments).output().unwrap())
    }

    fn serve(&self) -> Server {
        let mut child = self
            .adit(&["--ssh", "127.0.0.1:0", "--web", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let addresses = serde_json::from_str(&line).expect("the addresses, once it serves");
        Server { child, _stdout: stdout, addresses }
    }
}

struct Answer {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        Self {
            exit: output.status.code().expect("no signal"),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// The refusal is this exit code and one line that says all of `told`.
    #[track_caller]
    fn refused(&self, exit: i32, told: &[&str]) {
        assert_eq!(self.exit, exit, "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        for part in told {
            assert!(self.stderr.contains(part), "{part:?} is missing in {}", self.stderr);
        }
    }
}

struct Server {
    child: Child,
    /// Kept open: a server that cannot print is another test.
    _stdout: BufReader<ChildStdout>,
    addresses: serde_json::Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const BODY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";

fn private_key() -> String {
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}\n-----END OPENSSH PRIVATE KEY-----\n")
}

#[test]
fn bad_key_text_is_refused_before_the_folder_is_touched() {
    let folder = Folder::new();
    let file = folder.write("id.pub", "ssh-ed25519 AAAA truncated");
    folder.run(&["key", "add", "alice", file.to_str().unwrap()]).refused(2, &["id.pub", "copy the whole line"]);
    assert!(!folder.path("data").exists());
}

#[test]
fn a_private_key_is_refused_and_shown_nowhere() {
    let folder = Folder::new();
    let file = folder.write("id_ed25519", &private_key());
    let answer = folder.run(&["key", "add", "alice", file.to_str().unwrap(), "--json"]);
    answer.refused(2, &["private key", r#""code":"bad-key""#]);
    assert!(!answer.stderr.contains(&BODY[..20]));

    let mut child =
        folder.adit(&["key", "add", "alice", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(private_key().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&output.stderr).contains(&BODY[..20]));
}

#[test]
fn a_bad_port_range_tells_where_it_was_typed() {
    let folder = Folder::new();
    folder.run(&["--ports", "60000-10000"]).refused(2, &["--ports", "60000-10000", "such as 10000-60000"]);
    let file = folder.write("config.yaml", "jumphost:\n  ports: 60000-10000\n");
    folder.run(&["--config", file.to_str().unwrap()]).refused(78, &["`ports`", "60000-10000"]);
    let answer = Answer::of(&folder.adit(&[]).env("ADIT_JUMPHOST_PORTS", "x").output().unwrap());
    answer.refused(2, &["ADIT_JUMPHOST_PORTS", "\"x\""]);
    assert!(!folder.path("data").exists());
}

#[test]
fn a_configuration_file_that_is_not_understood_is_78() {
    let folder = Folder::new();
    let file = folder.write("config.yaml", "jumphost:\n  prots: 1-2\n");
    folder.run(&["--config", file.to_str().unwrap()]).refused(78, &["config.yaml", "prots", "line 2"]);
    folder.run(&["--config", "/nonexistent/config.yaml"]).refused(78, &["/nonexistent/config.yaml"]);
}

#[test]
fn a_data_folder_that_is_none_is_told_with_a_way_out() {
    let folder = Folder::new();
    folder.write("data", "a file");
    folder.run(&[]).refused(1, &["data folder", "--data DIR"]);
    assert_eq!(std::fs::read_to_string(folder.path("data")).unwrap(), "a file");
}

#[test]
fn a_corrupt_store_and_a_broken_host_key_are_left_as_they_are() {
    for (name, content) in [("store.sqlite", "this is no database"), ("host_key_ed25519", "this is no key")] {
        let folder = Folder::new();
        std::fs::create_dir(folder.path("data")).unwrap();
        let file = folder.write(&format!("data/{name}"), content);
        folder.run(&["--ssh", "127.0.0.1:0", "--web", "127.0.0.1:0"]).refused(1, &[name, "backup"]);
        assert_eq!(std::fs::read_to_string(file).unwrap(), content);
    }
}

#[test]
fn a_busy_port_names_the_flag_for_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Folder::new().run(&["--ssh", &address]).refused(7, &[&address, "--ssh"]);
}

#[test]
fn a_second_server_names_the_first() {
    let folder = Folder::new();
    let server = folder.serve();
    let pid = format!("pid {}", server.child.id());
    folder.run(&["--ssh", "127.0.0.1:0", "--web", "127.0.0.1:0"]).refused(1, &["already runs", &pid]);
}

#[test]
fn commands_work_with_and_without_a_server_and_see_the_same() {
    let folder = Folder::new();
    folder.run(&["account", "list"]).refused(1, &["no jump host", "--data DIR"]);
    assert_eq!(folder.run(&["account", "add", "alice"]).exit, 0);
    let alone = folder.run(&["account", "list", "--json"]);

    let server = folder.serve();
    assert_eq!(folder.run(&["account", "list", "--json"]).stdout, alone.stdout);
    assert_eq!(folder.run(&["sessions"]).stdout, "Nobody is logged in.\n");
    folder.run(&["kick", "7"]).refused(1, &["session 7", "sessions"]);
    folder.run(&["account", "add", "Alice!"]).refused(2, &["Alice!"]);
    let written: serde_json::Value = read_json(&folder.path("data/addresses.json"));
    let mut told = server.addresses.clone();
    told.as_object_mut().unwrap().remove("first_administrator");
    assert_eq!(written, told);
}

#[test]
fn links_are_whole_beside_a_server_and_wait_for_its_address_without_one() {
    let folder = Folder::new();
    let alone = folder.run(&["invite", "--account", "alice", "--expires", "2d"]);
    assert_eq!(alone.exit, 0, "{}", alone.stderr);
    for part in ["DASHBOARD/#/invite/", "makes the account alice", "once, within 2d", "start one"] {
        assert!(alone.stdout.contains(part), "{part:?} is missing in {}", alone.stdout);
    }
    folder.run(&["account", "password-link", "alice"]).refused(1, &["no account", "account list"]);
    folder.run(&["invite", "--expires", "soon"]).refused(2, &["--expires", "\"soon\""]);

    let server = folder.serve();
    let dashboard = server.addresses["dashboard"].as_str().unwrap();
    let first = server.addresses["first_administrator"]["url"].as_str().unwrap();
    assert!(first.starts_with(&format!("{dashboard}/#/invite/")), "{first}");
    assert!(!std::fs::read_to_string(folder.path("data/addresses.json")).unwrap().contains("invite"));
    let link = |arguments: &[&str]| -> String {
        let made: serde_json::Value = serde_json::from_str(&folder.run(arguments).stdout).unwrap();
        made["url"].as_str().unwrap().to_owned()
    };
    assert!(link(&["invite", "--admin", "--json"]).starts_with(&format!("{dashboard}/#/invite/")));
    assert_eq!(folder.run(&["account", "add", "bob"]).exit, 0);
    assert!(link(&["account", "password-link", "bob", "--json"]).starts_with(dashboard));
    assert!(folder.run(&["account", "password-link", "bob"]).stdout.contains("sets the password of bob"));
}

#[test]
fn tiers_are_set_and_accounts_moved_with_and_without_a_server() {
    let folder = Folder::new();
    assert_eq!(folder.run(&["account", "add", "alice"]).exit, 0);
    let set = folder.run(&["tier", "set", "gold", "--forwards", "50", "--bandwidth-to-visitors", "1MB"]);
    assert!(set.stdout.contains("gold  50        default        default   default   1.0 MB/s"), "{}", set.stdout);
    let _server = folder.serve();
    let changed = folder.run(&["tier", "set", "gold", "--forwards", "default", "--visitors", "0", "--json"]);
    let changed: serde_json::Value = serde_json::from_str(&changed.stdout).unwrap();
    assert_eq!(changed["bandwidth_to_visitors"], 1_000_000);
    assert_eq!((&changed["forwards_per_account"], &changed["visitors_per_account"]), (&json!(null), &json!(0)));

    folder
        .run(&["account", "change", "alice", "--tier", "silver"])
        .refused(2, &["silver", "community, gold, plus, pro"]);
    folder.run(&["account", "change", "bob", "--tier", "gold"]).refused(1, &["no account", "bob"]);
    let moved = folder.run(&["account", "change", "alice", "--tier", "gold", "--disabled", "true", "--json"]);
    let moved: serde_json::Value = serde_json::from_str(&moved.stdout).unwrap();
    assert_eq!((&moved["tier"], &moved["disabled"], &moved["admin"]), (&json!("gold"), &json!(true), &json!(false)));
    folder.run(&["tier", "remove", "gold"]).refused(1, &["gold", "account change NAME --tier OTHER"]);
    assert_eq!(folder.run(&["account", "remove", "alice"]).exit, 0);
    assert_eq!(folder.run(&["tier", "remove", "gold"]).stdout, "Tier gold is removed.\n");
    folder.run(&["tier", "set", "Gold"]).refused(2, &["Gold", "a-z"]);
}

#[test]
fn a_flag_of_the_server_does_not_go_with_a_command() {
    let answer = Folder::new().run(&["--ssh", "127.0.0.1:0", "sessions"]);
    assert_eq!(answer.exit, 2);
    assert!(answer.stderr.contains("--ssh"), "{}", answer.stderr);
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
