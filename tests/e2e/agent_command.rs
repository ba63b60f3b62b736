//! Commands for a running agent (`spec/agent.md`, lines 6 to 10, 17, 20 to 23, 26 and 32): what they save, start, try and tell.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use adit_e2e::{
    Agent, Finished, HttpService, JumpHost, Running, ServiceAddress, Sshd, adit_as, eventually, finish, remains,
};
use serde_json::{Value, json};

use crate::SOON;
use crate::free_port::free_port;

/// A profile `me` that logs in to `sshd`.
pub(crate) fn add_profile(agent: &Agent, sshd: &Sshd) {
    let me = finish(Command::new("id").arg("-un"), SOON).stdout;
    agent.ok(&format!("profile add me --user {} --key {}", me.trim(), sshd.key().display()));
}

pub(crate) fn curl(words: &[&str]) -> Finished {
    finish(Command::new("curl").args(["-s", "--noproxy", "", "--max-time", "10"]).args(words), 2 * SOON)
}

/// An agent that can log in to `sshd` with its profile `me`, and knows its host key.
fn acquainted(sshd: &Sshd) -> Agent {
    let agent = Agent::start();
    add_profile(&agent, sshd);
    let via = format!("--via 127.0.0.1:{} --profile me", sshd.port());
    agent.ok(&format!("tunnel add first {via} -D {}", free_port()));
    agent.ok(&format!("tunnel test first --accept-host-key {}", sshd.fingerprint()));
    agent.ok("tunnel remove first");
    agent
}

/// `{"error", "code"}` on one line of stderr.
#[track_caller]
pub(crate) fn refused(told: &Finished, exit: i32, code: &str) -> String {
    assert_eq!((told.code(), told.stderr.lines().count()), (exit, 1), "{told:?}");
    let error: Value = serde_json::from_str(&told.stderr).unwrap();
    assert_eq!((error.as_object().unwrap().len(), &error["code"]), (2, &json!(code)), "{told:?}");
    error["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_host_key_is_judged_before_anything_is_sent() {
    let Some(sshd) = Sshd::start() else { return };
    let (agent, service) = (Agent::start(), HttpService::start("behind the bastion"));
    add_profile(&agent, &sshd);
    let port = free_port();
    let spec = format!("-L {port}:127.0.0.1:{}", service.port());
    agent.ok(&format!("tunnel add web --via 127.0.0.1:{} --profile me {spec}", sshd.port()));
    let fingerprint = sshd.fingerprint();

    let told = refused(&agent.adit("tunnel start web --json"), 6, "unknown-host-key");
    assert!(told.contains(&format!("--accept-host-key {fingerprint}")), "{told}");
    let waiting = agent.json("host list");
    assert_eq!(waiting[0]["fingerprint"], fingerprint);
    let other = agent.adit("tunnel start web --json --accept-host-key SHA256:other");
    assert!(refused(&other, 6, "other-host-key").contains(&fingerprint));
    assert_eq!(agent.status("web"), "failed");
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());

    let mut asked = Running::spawn_on_terminal(&mut agent.command("tunnel", ["start", "web"]));
    asked.await_stderr(SOON, "Is this its host key? (yes/no) ");
    assert!(asked.stderr().contains(&fingerprint), "{}", asked.stderr());
    asked.type_in(b"yes\n");
    let ended = asked.wait_exit(2 * SOON);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(
        ended.stdout.contains(&format!("web is connected: L :{port} → 127.0.0.1:{} via 127.0.0.1", service.port()))
    );
    assert_eq!(curl(&[&format!("http://127.0.0.1:{port}/")]).stdout, "behind the bastion");
    assert_eq!(agent.json("host list"), json!([]));
    let row = agent.json("tunnel show web");
    assert_eq!((&row["status"], &row["last_error"]), (&json!("connected"), &Value::Null));
    let list = agent.ok("tunnel list");
    assert!(list.starts_with("NAME") && list.contains("web   connected  L :"), "{list}");
    assert_eq!(refused(&agent.adit("tunnel start web --json"), 1, "CONFLICT"), "Tunnel is already running");
}

#[test]
fn a_proxy_and_a_forward_by_commands_share_one_login() {
    let Some(sshd) = Sshd::start() else { return };
    let (agent, service) = (acquainted(&sshd), HttpService::start("through the proxy"));
    let before = sshd.log().matches("Accepted publickey").count();
    let via = format!("--via 127.0.0.1:{} --profile me", sshd.port());
    let (proxy, web) = (free_port(), free_port());
    agent.ok(&format!("tunnel add socks {via} -D {proxy}"));
    agent.ok(&format!("tunnel add web {via} -L {web}:localhost:{}", service.port()));
    assert_eq!(agent.ok("tunnel start all"), "2 tunnels up.\n");
    let url = format!("http://localhost:{}/", service.port());
    let through = curl(&["--socks5-hostname", &format!("127.0.0.1:{proxy}"), &url]);
    assert_eq!(through.stdout, "through the proxy");
    assert_eq!(curl(&[&format!("http://127.0.0.1:{web}/")]).stdout, "through the proxy");
    assert_eq!(sshd.log().matches("Accepted publickey").count(), before + 1, "{}", sshd.log());
    let again = agent.json("tunnel reconnect all");
    assert_eq!(again.as_array().unwrap().len(), 2, "{again}");
    agent.ok("tunnel stop all");
    assert_eq!((agent.status("socks"), agent.status("web")), ("disconnected".into(), "disconnected".into()));
    TcpListener::bind((Ipv4Addr::LOCALHOST, proxy)).expect("the port is free when stop has answered");
}

#[test]
fn a_remote_forward_at_our_jump_host() {
    let host = JumpHost::start();
    let (agent, service) = (Agent::start(), HttpService::start("from here"));
    let alice = host.member("alice");
    agent.ok(&format!("profile add tunnel --user tunnel --key {}", alice.key.display()));
    agent.ok(&format!("tunnel add demo --via {} --profile tunnel -R 10080:localhost:{}", host.ssh(), service.port()));
    let fingerprint = host_fingerprint(&host);
    let up = agent.ok(&format!("tunnel start demo --accept-host-key {fingerprint}"));
    assert!(up.contains(&format!("R :10080 → localhost:{}", service.port())), "{up}");
    let url = format!("http://{}/", host.forwarded(10080));
    assert_eq!(curl(&[&url]).stdout, "from here");
    assert_eq!(host.sessions().len(), 1);

    agent.ok("tunnel edit demo -R 0:localhost:1");
    eventually(SOON, "it is made anew, at a port the jump host chose", || {
        agent.json("tunnel show demo")["listening_port"].as_u64().is_some_and(|port| port != 10080)
    });
    host.await_port_free(10080, SOON);
    agent.ok("tunnel remove demo");
    eventually(SOON, "the jump host sees it leave", || host.sessions().is_empty());
}

fn host_fingerprint(host: &JumpHost) -> String {
    let addresses: Value = serde_json::from_slice(&std::fs::read(host.data().join("addresses.json")).unwrap()).unwrap();
    let key = addresses["host_keys"][0].as_str().unwrap();
    key.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap().to_owned()
}

#[test]
fn a_trial_is_told_stage_by_stage() {
    let Some(mut sshd) = Sshd::start() else { return };
    let (agent, service) = (acquainted(&sshd), HttpService::start("there"));
    let via = format!("--via 127.0.0.1:{} --profile me", sshd.port());
    agent.ok(&format!("tunnel add web {via} -L {}:127.0.0.1:{}", free_port(), service.port()));
    let told = agent.ok("tunnel test web");
    let stages: Vec<&str> = told.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(stages, ["credentials", "resolve", "connect", "host_key", "login", "target"], "{told}");
    assert!(told.lines().all(|line| line.starts_with('✓')), "{told}");

    drop(service);
    let told = agent.adit("tunnel test web");
    assert_eq!((told.code(), told.stdout.lines().count()), (1, 6), "{told:?}");
    assert!(told.stdout.lines().last().unwrap().starts_with("✗ target"), "{told:?}");

    let known = sshd.fingerprint();
    sshd.change_host_key();
    let told = agent.adit("tunnel test web --json");
    let error = refused(&told, 6, "SSH_REFUSED");
    assert!(error.contains("has CHANGED") && error.contains(&known) && error.contains(&sshd.fingerprint()), "{error}");
    let trial: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(trial["failed"]["stage"], "host_key", "{trial}");
    assert_eq!(trial["steps"].as_array().unwrap().len(), 3, "{trial}");
    let asked = agent.adit(&format!("tunnel test web --accept-host-key {}", sshd.fingerprint()));
    assert_eq!(asked.code(), 6, "a changed key is no unknown one: {asked:?}");
    assert!(!sshd.log().contains("Accepted"), "nothing was sent: {}", sshd.log());
}

/// Line 26: a tunnel that is stopped while it waits does not come back.
#[test]
fn a_stop_during_the_wait_is_final_and_the_log_tells_all_of_it() {
    let Some(mut sshd) = Sshd::start() else { return };
    let agent = acquainted(&sshd);
    let port = free_port();
    agent.ok(&format!("tunnel add socks --via 127.0.0.1:{} --profile me -D {port}", sshd.port()));
    let follow = Running::spawn(&mut agent.command("tunnel", ["logs", "socks", "--follow"]));
    sshd.kill();
    let told = refused(&agent.adit("tunnel start socks --json"), 1, "not-connected");
    assert!(told.starts_with("socks: ") && told.ends_with("it is tried again"), "{told}");
    assert_eq!(agent.ok("tunnel stop socks"), "socks is stopped.\n");
    sshd.start_again();
    // The next try would have been after a second or two. The port is free for others, who may be connected from it.
    let is_stopped =
        || agent.status("socks") == "disconnected" && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
    remains(Duration::from_millis(2500), "it stays stopped", is_stopped);

    let statuses = |entries: &Value| -> Vec<String> {
        entries.as_array().unwrap().iter().map(|entry| entry["status"].as_str().unwrap().to_owned()).collect()
    };
    let log = agent.json("tunnel logs socks");
    // On a busy machine the stop comes after another try.
    let mut seen = statuses(&log);
    seen.dedup();
    assert_eq!(seen, ["connecting", "reconnecting", "disconnected"], "{log}");
    assert!(log[1]["error"].as_str().unwrap().contains("connection refused"), "{log}");
    let text = agent.ok("tunnel logs");
    assert!(text.lines().any(|line| line.ends_with("socks  connecting")), "{text}");
    agent.ok("tunnel start socks");
    follow.await_stdout(SOON, "socks  connected");
    assert_eq!(follow.stdout().lines().count(), log.as_array().unwrap().len() + 2, "{}", follow.stdout());
}

#[test]
fn the_log_is_followed_until_the_agent_ends() {
    let mut agent = Agent::start();
    let mut follow = Running::spawn(&mut agent.command("tunnel", ["logs", "--follow"]));
    follow.close_stdin();
    assert!(follow.is_running());
    agent.stop();
    let ended = follow.wait_exit(SOON);
    assert_eq!(ended.code(), 8, "{ended:?}");
}

#[test]
fn a_session_brings_its_forwards_and_is_a_jump_for_others() {
    let (Some(outer), Some(inner)) = (Sshd::start(), Sshd::start()) else { return };
    let (agent, service) = (acquainted(&outer), HttpService::start("far behind"));
    let me = finish(Command::new("id").arg("-un"), SOON).stdout;
    agent.ok(&format!("profile add inner --user {} --key {}", me.trim(), inner.key().display()));
    agent.ok(&format!("jump add edge --host 127.0.0.1:{} --profile me", outer.port()));
    let (web, socks) = (free_port(), free_port());
    let via = format!("--via 127.0.0.1:{} --profile inner", inner.port());
    agent.ok(&format!("session add core {via} --jump edge -L {web}:127.0.0.1:{} -D {socks}", service.port()));
    let connected = agent.ok(&format!("session connect core --accept-host-key {}", inner.fingerprint()));
    assert!(
        connected.contains("core is connected") && connected.contains(&format!("D :{socks} SOCKS5")),
        "{connected}"
    );
    eventually(SOON, "its forwards are up", || {
        let all = agent.json("tunnel list");
        all.as_array().unwrap().iter().filter(|row| row["status"] == "connected").count() == 2
    });
    assert_eq!(curl(&[&format!("http://127.0.0.1:{web}/")]).stdout, "far behind");
    assert!(agent.ok("tunnel list").contains(&format!("Session forward :{web}")));
    assert!(inner.log().contains("Accepted publickey") && outer.log().contains("Accepted publickey"));

    let told = refused(&agent.adit("jump remove edge --json"), 1, "CONFLICT");
    assert!(told.contains("core"), "it says who needs it: {told}");
    agent.ok("session disconnect core");
    assert_eq!(agent.json("session show core")["status"], "disconnected");
    assert_eq!(agent.json("tunnel list"), json!([]));
    agent.ok(&format!("session edit core --no-forwards --name spare --via 127.0.0.1:{}", outer.port()));
    assert_eq!(agent.json("session show spare")["forwards"], json!([]));
    agent.ok("session remove spare");
    agent.ok("jump edit edge --name rim --enabled false");
    assert_eq!(agent.json("jump show rim")["enabled"], false);
    agent.ok("jump remove rim");
    assert_eq!((agent.json("session list"), agent.json("jump list")), (json!([]), json!([])));
}

#[test]
fn records_are_named_by_name_or_id_and_changed_field_by_field() {
    let agent = Agent::start();
    agent.ok("profile add me --user alice --ssh-agent");
    agent.ok("jump add edge --host edge.example:2222 --profile me");
    let saved =
        agent.json("tunnel add web --via bastion:2200 --profile me --jump edge -L 8443:10.0.0.5:443 --no-reconnect");
    let id = saved["id"].as_str().unwrap();
    assert_eq!(
        (&saved["port"], &saved["auto_reconnect"], &saved["max_retries"]),
        (&json!(2200), &json!(false), &json!(5))
    );
    let edge = agent.json("jump show edge")["id"].clone();
    assert_eq!(saved["jump_host_id"], edge);
    let changed =
        agent.json(&format!("tunnel edit {id} --jump inherit --auto-start true --max-retries 0 -D [::1]:1080"));
    let wanted = json!({
        "name": "web", "host": "bastion", "port": 2200, "jump_host_id": null, "forward_type": "dynamic", "local_port": 1080,
        "bind_address": "::1", "remote_host": null, "remote_port": null, "auto_start": true, "auto_reconnect": false,
        "max_retries": 0,
    });
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
    let shown = agent.ok("tunnel show web");
    assert!(shown.contains("[::1]:1080") && shown.contains("D :1080 SOCKS5"), "{shown}");

    refused(&agent.adit("tunnel add web --via other --profile me -D 1081 --json"), 2, "name-taken");
    refused(&agent.adit("tunnel add all --via other --profile me -D 1081 --json"), 2, "bad-name");
    refused(&agent.adit("profile add me --user bob --keyboard-interactive --json"), 2, "name-taken");
    refused(&agent.adit("tunnel add web --json"), 2, "usage");
    // Other programs need not care for names.
    let me = agent.json("profile show me")["id"].clone();
    let twin = json!({"name": "web", "host": "other", "profile_id": me, "forward_type": "dynamic", "local_port": 1081});
    let words = ["-X", "POST", "-H", "Content-Type: application/json", "-d", &twin.to_string()];
    assert_eq!(agent.curl(&agent.token(), &words, "/tunnels").0, 201);
    let told = refused(&agent.adit("tunnel show web --json"), 1, "ambiguous-name");
    assert!(told.contains(id), "the ids are told: {told}");
    let told = refused(&agent.adit("tunnel remove nobody --json"), 4, "not-found");
    assert!(told.contains("“nobody”") && told.contains("`adit tunnel list`"), "{told}");
    refused(&agent.adit("tunnel add x --via h --profile nobody -D 1 --json"), 1, "not-found");
    refused(&agent.adit(&format!("tunnel edit {id} --json")), 2, "nothing-to-change");
    refused(&agent.adit("profile add nobody --user alice --json"), 2, "no-method");
    let told = refused(&agent.adit("profile remove me --json"), 1, "CONFLICT");
    assert!(told.contains("edge") && told.contains("web"), "{told}");
    let told = agent.adit("tunnel add x --via alice@bastion --profile me -D 1");
    assert_eq!((told.code(), told.stderr.contains("said by the profile")), (2, true), "{told:?}");
    refused(&agent.adit("profile edit me --jump edge --json"), 2, "VALIDATION");
    agent.ok("profile add other --user eve --keyboard-interactive");
    agent.ok("profile edit other --user bob --name you --legacy true --jump edge");
    let you = agent.json("profile show you");
    assert_eq!(
        (&you["username"], &you["legacy_algorithms"], &you["jump_host_id"]),
        (&json!("bob"), &json!(true), &edge)
    );
}

/// "Beyond the seed": what somebody has for `ssh` works here too.
#[test]
fn an_ssh_config_becomes_tunnels_that_work() {
    let Some(sshd) = Sshd::start() else { return };
    let (agent, service) = (Agent::start(), HttpService::start("as ssh knows it"));
    let nothing = refused(&agent.adit("import --json"), 1, "NOT_FOUND");
    assert!(nothing.contains(".ssh/config"), "{nothing}");

    let me = finish(Command::new("id").arg("-un"), SOON).stdout;
    let (port, folder) = (free_port(), agent.home().join(".ssh"));
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "Host far\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  LocalForward {port} 127.0.0.1:{}\n  \
         LocalForward *:9 db:1\nHost other\n  ProxyCommand nc %h %p\n",
        sshd.port(),
        me.trim(),
        sshd.key().display(),
        service.port()
    );
    std::fs::write(folder.join("config"), text).unwrap();
    assert_eq!(agent.ok("import --list"), "far\nother\n");
    let told = agent.ok("import far");
    for line in
        ["added     session far", "added     tunnel far L", "left out  LocalForward [*]:9 [db]:1: bind_address '*'"]
    {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    let name = format!("far L :{port}");
    let start = ["start", &name, "--accept-host-key", &sshd.fingerprint()];
    let started = finish(&mut agent.command("tunnel", start), 2 * SOON);
    assert_eq!(started.code(), 0, "{started:?}");
    assert_eq!(curl(&[&format!("http://127.0.0.1:{port}/")]).stdout, "as ssh knows it");

    let again = agent.json("import");
    assert_eq!((again[0]["added"].as_array().unwrap().len(), again[0]["present"].as_array().unwrap().len()), (0, 3));
    assert_eq!(again[1]["left_out"][0]["what"], "ProxyCommand nc %h %p");
    assert_eq!(again[0]["present"][2]["name"], name);
    assert_eq!(agent.status(again[0]["present"][2]["id"].as_str().unwrap()), "connected");
}

#[test]
fn shells_understand_the_completions() {
    let script = |shell: &str| finish(adit_as("completions").arg(shell), SOON);
    let bash = script("bash");
    assert_eq!(bash.code(), 0, "{bash:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adit.bash");
    std::fs::write(&file, &bash.stdout).unwrap();
    assert_eq!(finish(Command::new("bash").arg("-n").arg(&file), SOON).code(), 0);
    let asks = format!(
        "source {}; COMP_WORDS=(adit tunnel st); COMP_CWORD=2; _adit adit st tunnel; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    assert_eq!(finish(Command::new("bash").args(["-c", &asks]), SOON).stdout, "start stop\n");
    assert!(script("zsh").stdout.starts_with("#compdef adit"));
    assert!(script("fish").stdout.contains("complete -c adit"));
    assert_eq!(script("tcsh").code(), 2);
}

#[test]
fn every_help_teaches_by_example() {
    for role in ["agent", "open", "tunnel", "profile", "jump", "session", "import", "host", "secrets", "completions"] {
        let told = finish(adit_as(role).arg("--help"), SOON);
        assert_eq!(told.code(), 0);
        assert!(told.stdout.contains(&format!("Examples:\n  adit {role}")), "{role}: {}", told.stdout);
    }
}
