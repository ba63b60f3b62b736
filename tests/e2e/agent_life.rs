//! The agent as a program (`spec/agent.md`, lines 5, 31 and 34): its folder, its token, its start, its end and what it survives.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use adit_e2e::{Agent, HttpService, ServiceAddress, Signal, Sshd, adit_as, eventually, finish};
use serde_json::Value;

use crate::SOON;
use crate::agent_command::{add_profile, curl};
use crate::free_port::free_port;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_killed_agent_restores_what_was_saved_and_starts_what_is_to_start() {
    let Some(sshd) = Sshd::start() else { return };
    let (mut agent, service) = (Agent::start(), HttpService::start("behind the bastion"));
    add_profile(&agent, &sshd);
    let (web, idle) = (free_port(), free_port());
    let via = format!("--via 127.0.0.1:{} --profile me", sshd.port());
    agent.ok(&format!("tunnel add web {via} -L {web}:127.0.0.1:{} --auto-start", service.port()));
    agent.ok(&format!("tunnel add idle {via} -D {idle}"));
    agent.ok(&format!("tunnel start web --accept-host-key {}", sshd.fingerprint()));
    agent.ok("tunnel start idle");
    let url = format!("http://127.0.0.1:{web}/");
    assert_eq!(curl(&[&url]).stdout, "behind the bastion");
    let before = agent.json("tunnel list");

    agent.kill();
    let told = agent.adit("tunnel list");
    assert_eq!(told.code(), 8);
    assert!(told.stderr.contains("no agent runs on") && told.stderr.contains("`adit agent`"), "{told:?}");

    agent.start_again();
    eventually(SOON, "the tunnel is up again by itself", || agent.status("web") == "connected");
    assert_eq!(curl(&[&url]).stdout, "behind the bastion");
    assert_eq!(agent.status("idle"), "disconnected", "it was not to start with the agent");
    let saved = |all: &Value| -> Vec<Value> {
        let fields = ["id", "name", "host", "port", "profile_id", "local_port", "auto_start", "created_at"];
        let row = |row: &Value| fields.map(|field| row[field].clone()).to_vec().into();
        all.as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(saved(&agent.json("tunnel list")), saved(&before));
}

#[test]
fn an_agent_that_is_asked_to_end_says_goodbye_and_leaves_no_address() {
    let Some(sshd) = Sshd::start() else { return };
    let mut agent = Agent::start();
    add_profile(&agent, &sshd);
    let port = free_port();
    agent.ok(&format!("tunnel add socks --via 127.0.0.1:{} --profile me -D {port}", sshd.port()));
    agent.ok(&format!("tunnel start socks --accept-host-key {}", sshd.fingerprint()));
    let ended = agent.stop();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(!agent.data().join("addresses.json").exists());
    eventually(SOON, "sshd hears our goodbye", || sshd.log().contains("Received disconnect"));
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
}

#[test]
fn a_folder_has_one_agent_and_one_owner() {
    let agent = Agent::start();
    assert_eq!(mode(&agent.data()), 0o700);
    for file in ["token", "store.sqlite"] {
        assert_eq!(mode(&agent.data().join(file)), 0o600, "{file}");
    }
    let second = agent.adit("agent --listen 127.0.0.1:0");
    assert_eq!(second.code(), 1, "{second:?}");
    let first = format!("another agent already runs on {} (pid {})", agent.data().display(), agent.running().pid());
    assert!(second.stderr.contains(&first) && second.stderr.contains("--data DIR"), "{second:?}");
    assert_eq!(agent.json("tunnel list"), Value::Array(Vec::new()), "the first one goes on");
}

#[test]
fn the_token_is_made_once_and_only_it_opens_the_door() {
    let mut agent = Agent::start();
    let token = agent.token();
    agent.running().await_stdout(SOON, "made just now");
    assert_eq!(agent.curl(&token, &[], "/tunnels"), (200, "[]".to_owned()));
    for wrong in ["", "0", &token[1..], &token.to_uppercase(), &format!("{token}0")] {
        let (status, body) = agent.curl(wrong, &[], "/tunnels");
        assert_eq!(status, 401, "{wrong:?}: {body}");
    }
    assert_eq!(agent.curl("", &[], "/health").0, 200);
    assert_eq!(agent.curl(&token, &["-H", "Host: evil.example"], "/tunnels").0, 403);
    assert_eq!(agent.curl(&token, &["-H", "Origin: https://evil.example"], "/tunnels").0, 403);
    assert!(!agent.log().contains(&token), "it is shown by its file alone");

    agent.stop();
    agent.start_again();
    assert_eq!(agent.token(), token);
    fs::set_permissions(agent.data().join("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = agent.adit("tunnel list");
    assert_eq!(told.code(), 1);
    assert!(told.stderr.contains("others may read the token"), "{told:?}");
}

/// Line 31: every spelling of an address that others reach, on every way in.
#[test]
fn nothing_listens_where_others_reach_it() {
    let agent = Agent::start();
    let key = agent.home().join("key");
    finish(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&key), SOON);
    agent.ok("profile add me --user alice --key key");
    let profile = agent.json("profile show me")["id"].as_str().unwrap().to_owned();
    for address in ["0.0.0.0", "::", "192.168.1.7", "localhost", "127.1", "::ffff:127.0.0.1"] {
        let bracketed = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let mut listen = adit_as("agent");
        listen.args(["--listen", &format!("{bracketed}:0"), "--data"]).arg(agent.home().join("other"));
        let told = finish(&mut listen, SOON);
        assert_eq!(told.code(), 2, "{address}: {told:?}");
        assert!(told.stderr.contains("loopback address (127.0.0.0/8 or ::1)"), "{told:?}");
        assert!(!agent.home().join("other").exists(), "nothing was begun");

        for (command, spec) in [("tunnel", "-D"), ("session", "-D")] {
            let told = agent.adit(&format!("{command} add x --via bastion --profile me {spec} {bracketed}:1080"));
            assert_eq!(told.code(), 2, "{command} {address}: {told:?}");
            assert!(told.stderr.contains("must be a loopback address (127.0.0.0/8 or ::1)"), "{told:?}");
        }
        let body = serde_json::json!({
            "name": "x", "host": "bastion", "profile_id": profile, "forward_type": "dynamic", "local_port": 1080,
            "bind_address": address,
        });
        let words = ["-H", "Content-Type: application/json", "-d", &body.to_string()];
        let (status, body) = agent.curl(&agent.token(), &words, "/tunnels");
        assert_eq!(status, 400, "{address}: {body}");
    }
    assert_eq!(agent.json("tunnel list"), Value::Array(Vec::new()));
}

#[test]
fn the_configuration_file_is_read_and_its_faults_are_told() {
    let home = tempfile::tempdir().unwrap();
    let (data, file) = (home.path().join("data"), home.path().join("config.yaml"));
    let run = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = adit_as("agent");
        command.env("HOME", home.path()).arg("--config").arg(&file).arg("--json");
        command
    };
    for (text, told) in [
        ("agent:\n  listen: 0.0.0.0:7070\n", "`agent.listen`"),
        ("agent:\n  port: 7070\n", "port"),
        ("agent:\n  host_keys: never\n", "never"),
    ] {
        let ended = finish(&mut run(text), SOON);
        assert_eq!(ended.code(), 78, "{ended:?}");
        assert!(ended.stderr.contains(told) && ended.stderr.contains("config.yaml"), "{ended:?}");
    }
    let text = format!(
        "agent:\n  data: {}\n  listen: '[::1]:0'\n  log: 'off'\n  host_keys: strict\n  controller_mode: true\n",
        data.display()
    );
    let mut agent = adit_e2e::Running::spawn(&mut run(&text));
    agent.await_stdout(SOON, "\n");
    let addresses: Value = serde_json::from_str(&agent.stdout()).unwrap();
    assert!(addresses["url"].as_str().unwrap().starts_with("http://[::1]:"), "{addresses}");
    assert_eq!(addresses, serde_json::from_slice::<Value>(&fs::read(data.join("addresses.json")).unwrap()).unwrap());
    let mut list = adit_as("tunnel");
    list.args(["list", "--json"]).env("HOME", home.path()).env("ADIT_CONFIG", &file);
    assert_eq!(finish(&mut list, SOON).stdout, "[]\n", "commands find the folder through the file");
    let token = fs::read_to_string(data.join("token")).unwrap();
    let header = format!("Authorization: Bearer {}", token.trim_end());
    let settings = curl(&["-H", &header, &format!("{}/settings", addresses["url"].as_str().unwrap())]).stdout;
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings, serde_json::json!({"controller_mode": true, "host_key_policy": "strict"}));
    agent.signal(Signal::INT);
    let ended = agent.wait_exit(SOON);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""), "{ended:?}");
}
