//! Secrets of the agent (`spec/agent.md`, lines 33 and 35): they come in unseen, are kept sealed, and are shown by nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use adit_e2e::{Agent, Desktop, Running, ServiceAddress, Sshd, finish};
use serde_json::json;

use crate::SOON;
use crate::free_port::free_port;

const PASSPHRASE: &str = "open sesame 4711";
const PASSWORD: &str = "hunter2-and-more";
const VAULT: &str = "lock of the vault";

/// Encrypts the key that `sshd` lets in.
fn encrypt_key(sshd: &Sshd) {
    let set = ["-q", "-p", "-P", "", "-N", PASSPHRASE, "-f"];
    assert_eq!(finish(Command::new("ssh-keygen").args(set).arg(sshd.key()), SOON).code(), 0);
}

/// Where one of the secrets stands in the clear, among these bytes.
#[track_caller]
fn assert_none_in(place: &str, bytes: &[u8]) {
    for secret in [PASSPHRASE, PASSWORD, VAULT] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret:?} is in {place}");
    }
}

fn assert_none_on_disk(folder: &Path) {
    let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!entries.is_empty());
    for path in entries {
        assert_none_in(&path.display().to_string(), &fs::read(&path).unwrap());
    }
}

fn assert_none_in_process(pid: u32) {
    for name in ["cmdline", "environ"] {
        let path = format!("/proc/{pid}/{name}");
        assert_none_in(&path, &fs::read(&path).unwrap());
    }
}

#[test]
fn after_a_run_with_secrets_they_are_nowhere() {
    let Some(sshd) = Sshd::start_with("PasswordAuthentication yes") else { return };
    encrypt_key(&sshd);
    let mut agent = Agent::start();
    let me = finish(Command::new("id").arg("-un"), SOON).stdout.trim().to_owned();

    // Once at a terminal, once through a pipe.
    let key = sshd.key().display().to_string();
    let words = ["add", "key", "--user", &me, "--key", &key];
    let mut asked = Running::spawn_on_terminal(&mut agent.command("profile", words));
    asked.await_stderr(SOON, "Passphrase of ");
    assert_none_in_process(asked.pid());
    asked.type_in(format!("{PASSPHRASE}\n").as_bytes());
    let told = asked.wait_exit(SOON);
    assert_eq!(told.code(), 0, "{told:?}");
    assert_none_in("the command's output", format!("{told:?}").as_bytes());
    let told = agent.adit_with_input(&format!("profile add pass --user {me} --password-file -"), PASSWORD);
    assert_eq!(told.code(), 0, "{told:?}");

    let via = format!("--via 127.0.0.1:{}", sshd.port());
    agent.ok(&format!("tunnel add by-key {via} --profile key -D {}", free_port()));
    agent.ok(&format!("tunnel add by-password {via} --profile pass -D {} --no-reconnect", free_port()));
    agent.ok(&format!("tunnel start by-key --accept-host-key {}", sshd.fingerprint()));
    assert_eq!(agent.adit("tunnel start by-password").code(), 5, "it is not this machine's password");
    assert!(sshd.log().contains("Accepted publickey") && sshd.log().contains("Failed password"), "{}", sshd.log());

    let token = agent.token();
    for path in
        ["/profiles", "/tunnels", "/tunnels/log", "/secrets", "/settings", "/sessions", "/metrics", "/openapi.json"]
    {
        let (status, body) = agent.curl(&token, &[], path);
        assert_eq!(status, 200, "{path}");
        assert_none_in(path, body.as_bytes());
    }
    for line in ["profile list", "profile show pass", "tunnel list", "tunnel logs"] {
        assert_none_in(line, agent.ok(line).as_bytes());
    }
    assert_none_in_process(agent.running().pid());
    assert_none_in("the log", agent.log().as_bytes());
    assert_none_on_disk(&agent.data());
    agent.kill();
    assert_none_on_disk(&agent.data());
}

#[test]
fn wrong_secrets_are_told_before_anything_is_saved() {
    let Some(sshd) = Sshd::start() else { return };
    encrypt_key(&sshd);
    let agent = Agent::start();
    let add = format!("profile add key --user me --key {} --passphrase-file -", sshd.key().display());
    let told = agent.adit_with_input(&add, "open saysme");
    assert_eq!(told.code(), 2, "{told:?}");
    let told = agent.adit(&format!("profile add key --user me --key {}", sshd.key().display()));
    assert_eq!(told.code(), 2, "nobody is there to ask: {told:?}");
    let told = agent.adit_with_input("profile add pass --user me --password-file -", "");
    assert_eq!((told.code(), told.stderr.contains("first line is empty")), (2, true), "{told:?}");
    assert_eq!(agent.adit("profile add pass --user me --password hunter2").code(), 2, "a secret is no argument");
    assert_eq!(agent.json("profile list"), json!([]));

    assert_eq!(agent.adit_with_input(&add, PASSPHRASE).code(), 0);
    assert_eq!(agent.json("profile show key")["has_passphrase"], true);
    agent.ok("profile edit key --forget-passphrase");
    assert_eq!(agent.json("profile show key")["has_passphrase"], false);
}

#[test]
fn locked_secrets_keep_shut_what_needs_them_until_they_are_opened() {
    let Some(sshd) = Sshd::start() else { return };
    encrypt_key(&sshd);
    let mut agent = Agent::start();
    let me = finish(Command::new("id").arg("-un"), SOON).stdout.trim().to_owned();
    let add = format!("profile add key --user {me} --key {} --passphrase-file -", sshd.key().display());
    assert_eq!(agent.adit_with_input(&add, PASSPHRASE).code(), 0);
    agent.ok(&format!(
        "tunnel add socks --via 127.0.0.1:{} --profile key -D {} --auto-start",
        sshd.port(),
        free_port()
    ));
    agent.ok(&format!("tunnel start socks --accept-host-key {}", sshd.fingerprint()));
    assert_eq!(agent.adit_with_input("secrets passphrase --passphrase-file -", VAULT).code(), 0);
    assert_eq!(agent.json("secrets show"), json!({"locked": false, "key": "passphrase"}));
    agent.stop();

    agent.start_again();
    agent.running().await_stdout(SOON, "locked; open them with: adit secrets --data");
    assert_eq!(agent.json("secrets show"), json!({"locked": true, "key": "passphrase"}));
    let told = agent.adit("tunnel start socks --json");
    assert!(told.code() == 1 && told.stderr.contains("VAULT_LOCKED"), "{told:?}");
    let told = agent.adit_with_input("secrets unlock --passphrase-file -", "another one");
    assert!(told.code() == 1 && told.stderr.contains("the passphrase is wrong"), "{told:?}");
    assert_eq!(agent.adit_with_input("secrets unlock --passphrase-file -", VAULT).code(), 0);
    adit_e2e::eventually(SOON, "what could not start without them is up", || agent.status("socks") == "connected");
    assert_none_on_disk(&agent.data());
    agent.stop();

    agent.start_on_terminal("Passphrase of the agent's secrets", VAULT);
    adit_e2e::eventually(SOON, "it starts by itself", || agent.status("socks") == "connected");
    agent.stop();

    let file = agent.home().join("passphrase");
    fs::write(&file, "another one\n").unwrap();
    let told = agent.adit(&format!("agent --listen 127.0.0.1:0 --json --passphrase-file {}", file.display()));
    assert!(told.code() == 1 && told.stderr.contains("wrong-passphrase"), "{told:?}");
    fs::write(&file, format!("{VAULT}\n")).unwrap();
    agent.start_as(&["--passphrase-file", file.to_str().unwrap()]);
    adit_e2e::eventually(SOON, "it starts by itself", || agent.status("socks") == "connected");
    assert_none_in_process(agent.running().pid());
    agent.ok("secrets file");
    agent.stop();
    agent.start_again();
    assert_eq!(agent.json("secrets show"), json!({"locked": false, "key": "file"}));
}

#[test]
fn on_a_desktop_the_key_of_the_secrets_lies_in_its_keyring() {
    let (Some(sshd), Some(mut desktop)) = (Sshd::start(), Desktop::start()) else { return };
    encrypt_key(&sshd);
    let mut agent = Agent::start_on(&desktop);
    assert_eq!(agent.json("secrets show"), json!({"locked": false, "key": null}));
    let me = finish(Command::new("id").arg("-un"), SOON).stdout.trim().to_owned();
    let add = format!("profile add key --user {me} --key {} --passphrase-file -", sshd.key().display());
    assert_eq!(agent.adit_with_input(&add, PASSPHRASE).code(), 0);
    assert_eq!(agent.json("secrets show"), json!({"locked": false, "key": "keyring"}));
    assert!(!agent.data().join("secrets.key").exists());
    let socks = format!("tunnel add socks --via 127.0.0.1:{} --profile key -D {}", sshd.port(), free_port());
    agent.ok(&format!("{socks} --auto-start"));
    agent.ok(&format!("tunnel start socks --accept-host-key {}", sshd.fingerprint()));
    assert_none_on_disk(&agent.data());
    assert_none_in("the keyring", &desktop.keyring_files());
    agent.stop();
    agent.start_again();
    adit_e2e::eventually(SOON, "it starts by itself", || agent.status("socks") == "connected");
    agent.stop();

    // An agent that starts before its person logs in waits for them.
    desktop.log_out();
    agent.start_again();
    agent.running().await_stdout(SOON, "locked; open them with: adit secrets --data");
    assert_eq!(agent.json("secrets show"), json!({"locked": true, "key": "keyring"}));
    let told = agent.adit("tunnel start socks --json");
    assert!(told.code() == 1 && told.stderr.contains("VAULT_LOCKED"), "{told:?}");
    let told = agent.adit("secrets unlock");
    assert!(told.code() == 1 && told.stderr.contains("none is there"), "{told:?}");
    desktop.lock();
    adit_e2e::eventually(SOON, "the keyring wants its password, which nobody types", || {
        agent.adit("secrets unlock").stderr.contains("it is locked: log in to the desktop")
    });
    assert_eq!(agent.adit_with_input("profile edit key --passphrase-file -", PASSPHRASE).code(), 1);
    assert_eq!(agent.status("socks"), "failed");
    desktop.log_in();
    adit_e2e::eventually(SOON, "it starts by itself", || agent.status("socks") == "connected");

    // Back to a file, for a machine that nobody logs in to.
    agent.ok("secrets file");
    agent.stop();
    drop(desktop);
    agent.start_again();
    assert_eq!(agent.json("secrets show"), json!({"locked": false, "key": "file"}));
    adit_e2e::eventually(SOON, "it starts by itself", || agent.status("socks") == "connected");
    let told = agent.adit("secrets keyring");
    assert!(told.code() == 1 && told.stderr.contains("none is there"), "{told:?}");
}
