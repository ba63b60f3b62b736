//! Lines 4 and 32: what somebody has for `ssh` is understood, and left as it is; where there is no `ssh`, it is said.

use std::fs;
use std::process::Command;

use adit_e2e::{Agent, Running, ServiceAddress, Sshd, finish, within};
use serde_json::json;

use super::{ask, me};
use crate::SOON;
use crate::agent_command::add_profile;
use crate::free_port::free_port;

/// `ssh-keygen`'s hashed names, OpenSSH's markers, and a file that both programs may use.
#[test]
fn known_hosts_are_those_of_openssh() {
    let Some(sshd) = Sshd::start() else { return };
    let agent = Agent::start();
    add_profile(&agent, &sshd);
    assert_eq!(ask(&agent, "PUT", "/settings", &json!({"host_key_policy": "strict"})).0, 200);
    agent.ok(&format!("tunnel add socks --via 127.0.0.1:{} --profile me -D {}", sshd.port(), free_port()));
    assert!(agent.adit("tunnel start socks").stderr.contains("is not known"));

    let (folder, key) = (agent.home().join(".ssh"), fs::read_to_string(sshd.key().with_file_name("host.pub")).unwrap());
    fs::create_dir(&folder).unwrap();
    let theirs = folder.join("known_hosts");
    fs::write(&theirs, format!("[127.0.0.1]:{} {key}", sshd.port())).unwrap();
    assert_eq!(finish(Command::new("ssh-keygen").arg("-Hf").arg(&theirs), SOON).code(), 0);
    let hashed = fs::read_to_string(&theirs).unwrap();
    assert!(hashed.starts_with("|1|") && !hashed.contains("127.0.0.1"), "{hashed}");
    agent.ok("tunnel start socks");
    agent.ok("tunnel stop socks");

    let revoked = format!("{hashed}@revoked * {key}");
    fs::write(&theirs, &revoked).unwrap();
    for policy in ["strict", "accept-new"] {
        assert_eq!(ask(&agent, "PUT", "/settings", &json!({"host_key_policy": policy})).0, 200);
        let told = agent.adit("tunnel start socks");
        assert_eq!((told.code(), told.stderr.contains("is revoked by")), (6, true), "{told:?}");
        assert_eq!(agent.json("host list"), json!([]), "whose key is known needs no judgement");
        let row = agent.json("tunnel show socks");
        assert!(row["last_error"].as_str().is_some_and(|told| told.contains("is revoked by ")), "{row}");
        assert_eq!(row["status"], "failed");
    }
    assert_eq!(fs::read_to_string(&theirs).unwrap(), revoked, "it is theirs");

    // What the agent learns is in a file of its own, which ssh believes.
    fs::remove_file(&theirs).unwrap();
    agent.ok("tunnel start socks");
    assert!(!theirs.exists());
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"]);
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", agent.data().join("known_hosts").display()));
    ssh.arg("-o").arg("GlobalKnownHostsFile=/dev/null").arg("-i").arg(sshd.key());
    ssh.args(["-p", &sshd.port().to_string(), &format!("{}@127.0.0.1", me()), "echo", "believed"]);
    let told = finish(ssh.env_remove("SSH_AUTH_SOCK"), SOON);
    assert_eq!(told.stdout, "believed\n", "{told:?}");
}

#[test]
fn without_ssh_an_import_says_what_it_lacks() {
    let mut agent = Agent::start();
    fs::create_dir(agent.home().join(".ssh")).unwrap();
    fs::write(agent.home().join(".ssh/config"), "Host far\n  LocalForward 8080 db:1\n").unwrap();
    agent.stop();
    let _running = Running::spawn(agent.command("agent", ["--listen", "127.0.0.1:0"]).env("PATH", ""));
    within(SOON, "the agent answers", || agent.adit("tunnel list").status.success().then_some(()));
    assert_eq!(agent.ok("import --list"), "far\n");
    let told = agent.adit("import far");
    assert!(told.code() == 1 && told.stderr.contains("ssh is not on the PATH"), "{told:?}");
    assert_eq!(agent.json("session list"), json!([]));
}
