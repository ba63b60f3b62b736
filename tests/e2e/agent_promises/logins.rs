//! Old equipment: spoken with where the profile says so, with a key that an ssh-agent holds, and with no other.

use std::process::Command;

use adit_e2e::{
    Agent, HttpService, KeyType, Running, ServiceAddress, finish, generate_key, peer_script, python, remains, require,
    within,
};
use serde_json::json;

use super::{AT_ONCE, ask, me};
use crate::SOON;
use crate::agent_command::curl;
use crate::free_port::free_port;

#[test]
fn old_equipment_is_spoken_with_where_the_profile_says_so() {
    let Some(ssh_agent) = require("ssh-agent") else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = generate_key(folder.path(), "login", KeyType::Rsa(2048));
    let mut serve = Command::new(python());
    let server = Running::spawn(serve.arg(peer_script("asyncssh_server.py")).arg(key.with_extension("pub")).arg("old"));
    let port: u16 = within(2 * SOON, "the server tells its port", || {
        server.stdout().strip_prefix("listening ")?.lines().next()?.parse().ok()
    });
    let socket = folder.path().join("agent");
    let _holder = Running::spawn(Command::new(ssh_agent).arg("-D").arg("-a").arg(&socket));
    within(SOON, "the ssh-agent listens", || socket.exists().then_some(()));
    let added = finish(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket), SOON);
    assert_eq!(added.code(), 0, "{added:?}");

    let mut agent = Agent::start();
    assert_eq!(ask(&agent, "PUT", "/settings", &json!({"host_key_policy": "accept-new"})).0, 200);
    let (service, web) = (HttpService::start("an old switch"), free_port());
    agent.ok(&format!("profile add me --user {} --ssh-agent", me()));
    let spec = format!("-L {web}:127.0.0.1:{} --no-reconnect", service.port());
    agent.ok(&format!("tunnel add web --via 127.0.0.1:{port} --profile me {spec}"));
    agent.stop();
    // The same agent, as somebody starts it who has an ssh-agent.
    let mut program = agent.command("agent", ["--listen", "127.0.0.1:0"]);
    let _running = Running::spawn(program.env("SSH_AUTH_SOCK", &socket));
    within(SOON, "the agent answers", || agent.adit("tunnel list").status.success().then_some(()));

    let told = agent.adit("tunnel start web");
    assert_eq!(told.code(), 1, "{told:?}");
    assert!(told.stderr.contains("web: "), "{told:?}");
    remains(AT_ONCE, "nobody logged in", || !server.stdout().contains("login"));
    assert_eq!(agent.status("web"), "failed");

    agent.ok("profile edit me --legacy true");
    agent.ok("tunnel start web");
    assert_eq!(curl(&[&format!("http://127.0.0.1:{web}/")]).stdout, "an old switch");
    assert!(server.stdout().contains(&format!("login {}", me())), "{}", server.stdout());
}
