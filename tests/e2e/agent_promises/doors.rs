//! Line 31: every spelling of an address that others reach, on every way in, with the sentence as it is promised.

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::process::Command;

use adit_e2e::{Agent, ServiceAddress, Sshd, adit_as, finish};
use serde_json::{Value, json};

use super::ask;
use crate::SOON;
use crate::agent_command::add_profile;
use crate::free_port::free_port;

const ELSEWHERE: [&str; 6] = ["0.0.0.0", "::", "192.168.1.7", "localhost", "127.1", "::ffff:127.0.0.1"];

fn refusal(address: &str) -> String {
    format!(
        "bind_address '{address}' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback exposes \
         them to the LAN with no auth"
    )
}

/// As it stands in a spec.
fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// An agent with a profile, a tunnel `t` and a session `s`.
fn agent() -> Agent {
    let agent = Agent::start();
    agent.ok("profile add me --user alice --ssh-agent");
    agent.ok("tunnel add t --via bastion --profile me -D 1080");
    agent.ok("session add s --via bastion --profile me -D 1081");
    agent
}

/// What is saved, but for how it stands.
fn saved(agent: &Agent) -> (Value, Value) {
    (agent.json("tunnel list"), agent.json("session list"))
}

#[test]
fn the_api_refuses_every_spelling() {
    let agent = agent();
    let (before, profile) = (saved(&agent), agent.json("profile show me")["id"].clone());
    let tunnel = format!("/tunnels/{}", agent.json("tunnel show t")["id"].as_str().unwrap());
    let session = format!("/sessions/{}", agent.json("session show s")["id"].as_str().unwrap());
    for address in ELSEWHERE {
        let expected = json!({"error": refusal(address), "code": "VALIDATION"});
        for kind in ["local", "dynamic", "remote"] {
            let forward = json!({
                "forward_type": kind, "local_port": 1082, "bind_address": address, "remote_host": "localhost", "remote_port": 80,
            });
            let record = json!({"name": "x", "host": "bastion", "profile_id": profile});
            let mut new_tunnel = record.clone();
            new_tunnel.as_object_mut().unwrap().extend(forward.as_object().unwrap().clone());
            let mut new_session = record;
            new_session["forwards"] = json!([forward]);
            for (method, path, body) in [
                ("POST", "/tunnels", new_tunnel),
                ("PUT", &tunnel, json!({"bind_address": address})),
                ("PUT", &tunnel, forward.clone()),
                ("POST", "/sessions", new_session),
                ("PUT", &session, json!({"forwards": [forward]})),
            ] {
                assert_eq!(
                    ask(&agent, method, path, &body),
                    (400, expected.clone()),
                    "{method} {path} {kind} {address}"
                );
            }
        }
    }
    assert_eq!(saved(&agent), before, "nothing was saved");
}

#[test]
fn the_commands_refuse_every_spelling() {
    let agent = agent();
    let before = saved(&agent);
    for address in ELSEWHERE {
        let at = bracketed(address);
        for (role, words) in [
            ("tunnel", "add x --via bastion --profile me"),
            ("tunnel", "edit t"),
            ("session", "add x --via bastion --profile me"),
            ("session", "edit s"),
            ("forward", "--via bastion"),
        ] {
            for spec in [format!("-D {at}:1082"), format!("-L {at}:1082:db:5432")] {
                let told = agent.adit(&format!("{role} {words} {spec}"));
                assert_eq!(told.code(), 2, "{role} {words} {spec}: {told:?}");
                assert!(told.stderr.contains(&refusal(address)), "{role} {words} {spec}: {told:?}");
            }
        }
    }
    assert_eq!(saved(&agent), before, "nothing was saved");
}

#[test]
fn an_import_leaves_every_spelling_out() {
    let agent = Agent::start();
    let mut text = String::from("Host far\n  HostName bastion\n  User alice\n");
    for (number, address) in ELSEWHERE.iter().enumerate() {
        let at = bracketed(address);
        text += &format!("  LocalForward {at}:{} db:1\n  DynamicForward {at}:{}\n", 8080 + number, 8180 + number);
    }
    fs::create_dir(agent.home().join(".ssh")).unwrap();
    fs::write(agent.home().join(".ssh/config"), text).unwrap();
    let imported = agent.json("import far");
    let left_out = imported[0]["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), 2 * ELSEWHERE.len(), "{imported}");
    for address in ELSEWHERE {
        let told = left_out.iter().filter(|left| left["why"] == refusal(address)).count();
        assert_eq!(told, 2, "{address}: {imported}");
    }
    assert_eq!(agent.json("tunnel list"), json!([]));
}

/// The agent's own door.
#[test]
fn the_agent_listens_on_no_spelling() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.yaml");
    for address in ELSEWHERE {
        let listen = format!("{}:0", bracketed(address));
        fs::write(&file, format!("agent:\n  listen: '{listen}'\n")).unwrap();
        let run = |flag: &str, value: &str| {
            let mut command: Command = adit_as("agent");
            command.env("HOME", home.path()).arg("--data").arg(home.path().join("data")).args([flag, value]);
            finish(&mut command, SOON)
        };
        for (told, exit) in [(run("--config", file.to_str().unwrap()), 78), (run("--listen", &listen), 2)] {
            assert_eq!(told.code(), exit, "{listen}: {told:?}");
            assert!(told.stderr.contains("loopback address (127.0.0.0/8 or ::1)"), "{told:?}");
        }
    }
    assert!(!home.path().join("data").exists(), "nothing was begun");
}

/// And nothing beside it: neither another address of loopback nor another family.
#[test]
fn the_literal_that_was_asked_for_is_bound() {
    let Some(sshd) = Sshd::start() else { return };
    let agent = Agent::start();
    add_profile(&agent, &sshd);
    assert_eq!(ask(&agent, "PUT", "/settings", &json!({"host_key_policy": "accept-new"})).0, 200);
    let all = ["127.0.0.1", "127.3.2.1", "127.255.255.254", "::1"].map(|text| text.parse::<IpAddr>().unwrap());
    for address in all {
        let (port, at) = (free_port(), bracketed(&address.to_string()));
        agent.ok(&format!("tunnel add here --via 127.0.0.1:{} --profile me -D {at}:{port}", sshd.port()));
        agent.ok("tunnel start here");
        let open: Vec<IpAddr> = all.into_iter().filter(|ip| TcpStream::connect((*ip, port)).is_ok()).collect();
        assert_eq!(open, [address]);
        agent.ok("tunnel remove here");
    }
}
