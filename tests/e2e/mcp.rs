//! `adit mcp` (`spec/service.md`, lines 18 to 20): language models' protocol, spoken by the client of its own Python SDK.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use adit_e2e::{
    Agent, Finished, JumpHost, KeyType, Netns, Running, ServiceAddress, Signal, Sshd, adit_as, adit_inside, finish,
    generate_key, peer_script, python,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::SOON;
use crate::agent_command::{add_profile, curl, refused};
use crate::free_port::free_port;

/// The current revision, and the one before.
const REVISIONS: [&str; 2] = ["2026-07-28", "2025-11-25"];

/// A set-up logs in, and waits for the tunnel that it has started.
const LONG: Duration = Duration::from_secs(90);

/// Somebody's home, with a key in its place.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        generate_key(&home.path(".ssh"), "id", KeyType::Ed25519);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command as somebody types it who has nothing else.
    fn at_home(&self, mut command: Command) -> Command {
        command.env("HOME", self.0.path()).env_remove("XDG_STATE_HOME").env_remove("SSH_AUTH_SOCK");
        command.env_remove("XDG_RUNTIME_DIR").env("USER", "somebody");
        command
    }

    /// `adit ROLE words…`, whose words have blanks between them.
    fn adit(&self, line: &str) -> Finished {
        let (role, words) = line.split_once(' ').unwrap();
        finish(self.at_home(adit_as(role)).args(words.split(' ')), LONG)
    }

    /// `adit mcp start words…`
    fn server(&self, words: &[&str]) -> Command {
        let mut command = self.at_home(adit_as("mcp"));
        command.arg("start").args(words);
        command
    }
}

/// What came of the steps, by a client that starts the server itself.
#[track_caller]
fn speak(revision: &str, server: &Command, steps: &Value) -> Vec<Value> {
    let mut client = Command::new(python());
    client.arg(peer_script("mcp_client.py")).args([revision, &steps.to_string(), "stdio"]);
    client.arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => client.env(name, value),
            None => client.env_remove(name),
        };
    }
    answers(revision, client)
}

/// The same over HTTP.
#[track_caller]
fn speak_http(revision: &str, url: &str, authorization: &str, steps: &Value) -> Vec<Value> {
    let mut client = Command::new(python());
    client.arg(peer_script("mcp_client.py")).args([revision, &steps.to_string(), "http", url, authorization]);
    answers(revision, client)
}

#[track_caller]
fn answers(revision: &str, mut client: Command) -> Vec<Value> {
    let told = finish(&mut client, LONG);
    let spoken: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("the client failed: {told:?}"));
    assert_eq!(spoken["revision"], revision, "{told:?}");
    spoken["answers"].as_array().unwrap().clone()
}

/// The sentence and the code of a result that is a failure.
#[track_caller]
fn failure(answer: &Value) -> (String, String) {
    assert_eq!(answer["isError"], true, "{answer}");
    let told = answer["content"][0]["text"].as_str().unwrap();
    assert_eq!(answer["structuredContent"]["error"], told, "{answer}");
    (told.to_owned(), answer["structuredContent"]["code"].as_str().unwrap().to_owned())
}

#[track_caller]
fn success(answer: &Value) -> &Value {
    assert_eq!(answer["isError"], false, "{answer}");
    &answer["structuredContent"]
}

fn call(tool: &str, arguments: Value) -> Value {
    json!(["call_tool", tool, arguments])
}

/// What the command line says of the same, as sentence and code.
#[track_caller]
fn command_line(told: &Finished, exit: i32) -> (String, String) {
    let error: Value = serde_json::from_str(&told.stderr).unwrap_or_else(|_| panic!("{told:?}"));
    let code = error["code"].as_str().unwrap();
    (refused(told, exit, code), code.to_owned())
}

/// What holds over either transport: what is told of the tools, and what they say when something is wrong.
#[track_caller]
fn holds_for_everybody(home: &Home, speak: impl Fn(&Value) -> Vec<Value>) {
    let outside = home.path("key-elsewhere");
    fs::write(&outside, "-----BEGIN OPENSSH PRIVATE KEY-----").unwrap();
    let steps = json!([
        ["list_tools"],
        call("tunnel_status", json!({})),
        call("tunnel_remove", json!({"port": 2222})),
        call("tunnel_status", json!({"port": 2222})),
        call("tunnel_setup", json!({"port": 2222, "secret_key_path": "~/.ssh/id"})),
        call("tunnel_setup", json!({"port": 2222, "bastion_server": "me@127.0.0.1", "secret_key_path": outside})),
        call(
            "tunnel_setup",
            json!({"port": 2222, "bastion_server": "me@127.0.0.1", "secret_key_path": home.path("nothing")})
        ),
        call("tunnel_setup", json!({"port": "2222", "bastion_server": "me@127.0.0.1"})),
        call("tunnel_status", json!({"port": 0})),
        call("tunnel_remove", json!({"port": 70_000})),
        call("tunnel_remove", json!({"port": 2222, "force": true})),
        call("agent_tunnels_list", json!({})),
        ["read_resource", "adit://tunnels"],
        ["read_resource", "adit://tunnels/2222"],
        ["list_resources"],
        ["list_resource_templates"],
    ]);
    let answers = speak(&steps);
    let committed: Value = serde_json::from_str(include_str!("../../crates/api/mcp-tools.json")).unwrap();
    assert_eq!(answers[0]["tools"], committed);
    assert_eq!(success(&answers[1]), &json!({"tunnels": []}));
    let absent = command_line(&home.adit("remove -p 2222 --json"), 4);
    assert_eq!((failure(&answers[2]), failure(&answers[3])), (absent.clone(), absent.clone()));
    let no_bastion = command_line(&home.adit("setup -p 2222 -s ~/.ssh/id --user --json"), 2);
    assert_eq!(failure(&answers[4]), no_bastion);
    assert!(no_bastion.0.contains("ADIT_BASTION_SERVER"), "{no_bastion:?}");
    let (elsewhere, missing) = (failure(&answers[5]), failure(&answers[6]));
    assert_eq!((&*elsewhere.1, &*missing.1), ("key-not-allowed", "key-not-allowed"));
    assert_eq!(elsewhere.0.replace("key-elsewhere", "nothing"), missing.0, "what is there is told from what is not");
    for (answer, words) in [
        (&answers[7], "`port` has to be"),
        (&answers[8], "1 to 65535"),
        (&answers[9], "1 to 65535"),
        (&answers[10], "“force”"),
    ] {
        let (told, code) = failure(answer);
        assert!(code == "usage" && told.contains(words), "{told}");
    }
    let no_agent = command_line(&home.adit("tunnel list --json"), 8);
    assert_eq!(failure(&answers[11]), no_agent);
    let read: Value = serde_json::from_str(answers[12]["contents"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(read, json!({"tunnels": []}));
    assert_eq!(answers[13]["error"]["message"], absent.0);
    assert_eq!(answers[14]["resources"].as_array().unwrap().len(), 2);
    assert_eq!(answers[15]["resourceTemplates"][0]["uriTemplate"], "adit://tunnels/{port}");
    assert!(!home.path(".config/systemd").exists() && !home.path(".local/state/adit/services").exists());
}

#[test]
fn both_revisions_over_standard_input_and_output() {
    let home = Home::new();
    for revision in REVISIONS {
        holds_for_everybody(&home, |steps| speak(revision, &home.server(&[]), steps));
    }
}

/// A server over HTTP, and what it says of itself.
fn serve(home: &Home) -> (Running, Value) {
    let server = Running::spawn(&mut home.server(&["--transport", "http", "--port", "0", "--json"]));
    server.await_stdout(SOON, "}\n");
    let started = serde_json::from_str(&server.stdout()).unwrap();
    (server, started)
}

fn header(started: &Value) -> String {
    let file = started["token_file"].as_str().unwrap();
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    format!("Bearer {}", fs::read_to_string(file).unwrap().trim_end())
}

#[test]
fn both_revisions_over_http() {
    let home = Home::new();
    let (mut server, started) = serve(&home);
    let (url, authorization) = (started["url"].as_str().unwrap(), header(&started));
    for revision in REVISIONS {
        holds_for_everybody(&home, |steps| speak_http(revision, url, &authorization, steps));
    }
    server.signal(Signal::TERM);
    let ended = server.wait_exit(SOON);
    assert_eq!(ended.code(), 0, "{ended:?}");
    let (_server, again) = serve(&home);
    assert_eq!(header(&again), authorization, "clients go on after a restart");
}

#[test]
fn strangers_are_refused_over_http() {
    let home = Home::new();
    let (_server, started) = serve(&home);
    let (url, authorization) = (started["url"].as_str().unwrap(), header(&started));
    let port = url.rsplit_once(':').unwrap().1.trim_end_matches("/mcp");
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "curl", "version": "1"}}});
    let hello = hello.to_string();
    let ask = |authorization: &str, header: &str| {
        let headers =
            ["Content-Type: application/json", "Accept: application/json, text/event-stream", authorization, header];
        let mut words = vec!["-o", "/dev/null", "-w", "%{http_code}", "--data", &hello];
        words.extend(headers.iter().flat_map(|header| ["-H", *header]));
        words.push(url);
        curl(&words).stdout
    };
    let known = format!("Authorization: {authorization}");
    let own = url.trim_end_matches("/mcp");
    assert_eq!(ask(&known, "X-Nothing: 1"), "200");
    assert_eq!(ask(&known, &format!("Origin: {own}")), "200");
    for header in [
        "Origin: http://evil.example",
        "Origin: null",
        &format!("Origin: http://localhost:{port}"),
        "Host: evil.example",
        &format!("Host: evil.example:{port}"),
        &format!("Host: localhost:{port}"),
    ] {
        assert_eq!(ask(&known, header), "403", "{header}");
    }
    for wrong in
        ["X-Nothing: 1", "Authorization: Bearer 0123456789abcdef0123456789abcdef", &known.replace("Bearer", "Basic")]
    {
        assert_eq!(ask(wrong, "X-Nothing: 1"), "401", "{wrong}");
    }
    let anywhere = home.adit("mcp start --transport http --host 0.0.0.0 --port 0");
    assert!(anywhere.code() == 2 && anywhere.stderr.contains("loopback"), "{anywhere:?}");
}

#[test]
fn a_model_sets_up_a_tunnel_and_removes_it() {
    let Some(netns) = Netns::make() else { return };
    let host = JumpHost::builder().inside(&netns, "127.0.0.1:2200", "127.0.0.1").start();
    let alice = host.member("alice");
    let home = Home::new();
    fs::copy(&alice.key, home.path(".ssh/alice")).unwrap();
    let mut server = home.at_home(adit_inside(&netns, "mcp"));
    server.args(["start", "--supervise"]).env("ADIT_SECRET_KEY_PATH", home.path(".ssh/alice"));
    let arguments = json!({"port": 10_022, "bastion_server": "tunnel@127.0.0.1:2200"});
    let set_up = json!([call("tunnel_setup", arguments)]);
    let speak = |steps: &Value| speak(REVISIONS[0], &server, steps);

    let (told, code) = failure(&speak(&set_up)[0]);
    assert_eq!(code, "no-service", "{told}");
    // What the tunnel leads to: SSH of this machine.
    let ssh = netns.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 22))).unwrap();
    thread::spawn(move || {
        ssh.incoming().flatten().for_each(|mut visitor| drop(visitor.write_all(b"SSH-2.0-here\r\n")))
    });
    let (told, code) = failure(&speak(&set_up)[0]);
    assert!(
        code == "unknown-host-key" && told.contains("SHA256:"),
        "nobody is asked, and nothing is trusted: {code} {told}"
    );

    let host_key = finish(Command::new("ssh-keygen").arg("-yf").arg(host.data().join("host_key_ed25519")), SOON);
    fs::write(home.path(".ssh/known_hosts"), format!("[127.0.0.1]:2200 {}", host_key.stdout)).unwrap();
    let answers = speak(&json!([set_up[0], call("tunnel_status", json!({"port": 10_022}))]));
    let done = success(&answers[0]);
    assert_eq!(
        (&done["tunnel"]["state"], &done["tunnel"]["scope"]),
        (&json!("connected"), &json!("supervised")),
        "{done}"
    );
    assert_eq!(success(&answers[1])["tunnels"][0]["state"], "connected");
    assert!(!answers[0].to_string().contains("PRIVATE KEY"), "{}", answers[0]);
    let heard = netns.inside(|| {
        let mut banner = String::new();
        let mut visitor = TcpStream::connect(host.forwarded(10_022)).unwrap();
        visitor.read_to_string(&mut banner).unwrap();
        banner
    });
    assert_eq!(heard, "SSH-2.0-here\r\n");

    let answers =
        speak(&json!([call("tunnel_remove", json!({"port": 10_022})), call("tunnel_remove", json!({"port": 10_022}))]));
    assert_eq!(success(&answers[0])["removed"]["port"], 10_022);
    assert_eq!(failure(&answers[1]).1, "no-such-tunnel");
    assert!(!home.path(".local/state/adit/services/10022").exists());

    // Held by somebody else.
    host.await_port_free(10_022, SOON);
    let bob = host.member("bob");
    let mut held = netns.command("ssh");
    held.args([
        "-F",
        "none",
        "-N",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    held.arg("-i").arg(&bob.key).args(["-R", "10022:localhost:22", "-p", "2200", "tunnel@127.0.0.1"]);
    let _held = Running::spawn(&mut held);
    host.await_port(10_022);
    let (told, code) = failure(&speak(&set_up)[0]);
    assert!(code == "port-busy" && told.contains("10022"), "{code} {told}");
    assert!(!home.path(".local/state/adit/services/10022").exists(), "nothing is installed that cannot work");
}

#[test]
fn tunnels_of_the_agent_are_steered() {
    let Some(sshd) = Sshd::start() else { return };
    let agent = Agent::start();
    add_profile(&agent, &sshd);
    let via = format!("--via 127.0.0.1:{} --profile me", sshd.port());
    agent.ok(&format!("tunnel add web {via} -D {}", free_port()));
    let server = agent.command("mcp", ["start"]);
    let order = |order: &str, tunnel: &str| call(&format!("agent_tunnel_{order}"), json!({"tunnel": tunnel}));

    let answers = speak(
        REVISIONS[0],
        &server,
        &json!([call("agent_tunnels_list", json!({})), order("start", "web"), order("start", "other")]),
    );
    assert_eq!(success(&answers[0])["tunnels"][0]["name"], "web");
    let (told, code) = failure(&answers[1]);
    assert!(code == "unknown-host-key" && told.contains(&sshd.fingerprint()), "{told}");
    assert_eq!(failure(&answers[2]).1, "not-found");

    let host = agent.json("host list")[0]["host"].as_str().unwrap().to_owned();
    agent.ok(&format!("host trust {host} --accept-host-key {}", sshd.fingerprint()));
    let id = success(&answers[0])["tunnels"][0]["id"].as_str().unwrap();
    let steps = json!([
        order("start", "web"),
        order("reconnect", id),
        ["read_resource", "adit://agent/tunnels"],
        order("stop", id)
    ]);
    let answers = speak(REVISIONS[1], &server, &steps);
    let status = |answer: &Value| success(answer)["tunnel"]["status"].clone();
    assert_eq!((status(&answers[0]), status(&answers[1])), (json!("connected"), json!("connected")));
    let read: Value = serde_json::from_str(answers[2]["contents"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(read["tunnels"][0]["status"], "connected");
    assert_eq!(status(&answers[3]), "disconnected");
    assert_eq!(agent.status("web"), "disconnected");
}

#[test]
fn a_client_is_told_what_starts_the_server() {
    let home = Home::new();
    fs::create_dir(home.path("more keys")).unwrap();
    let told = finish(
        home.at_home(adit_as("mcp")).args(["installation", "--supervise", "--key-folder"]).arg(home.path("more keys")),
        SOON,
    );
    let settings: Value = serde_json::from_str(&told.stdout).unwrap();
    let this = &settings["mcpServers"]["adit"];
    let program = PathBuf::from(this["command"].as_str().unwrap());
    assert!(program.is_absolute() && program.is_file(), "{settings}");
    let mut server = home.at_home(Command::new(program));
    server.args(this["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap())).current_dir("/");
    let elsewhere = json!([call(
        "tunnel_setup",
        json!({"port": 1, "bastion_server": "a@127.0.0.1", "secret_key_path": "~/.ssh/id"})
    )]);
    let (told, code) = failure(&speak(REVISIONS[0], &server, &elsewhere)[0]);
    assert!(code == "key-not-allowed" && told.contains("more keys"), "{told}");

    let told = home.adit("mcp installation --transport http --port 7999 --json");
    let settings: Value = serde_json::from_str(&told.stdout).unwrap();
    let this = &settings["mcpServers"]["adit"];
    assert_eq!((&this["type"], &this["url"]), (&json!("http"), &json!("http://127.0.0.1:7999/mcp")));
    let (_server, started) = serve(&home);
    assert_eq!(this["headers"]["Authorization"], header(&started), "the token is that of the server");
}

#[test]
fn the_tools_are_listed_for_people_too() {
    let home = Home::new();
    let names = home.adit("mcp list-tools").stdout;
    assert!(names.starts_with("tunnel_setup\ntunnel_status\ntunnel_remove\n") && names.lines().count() == 7, "{names}");
    let told = home.adit("mcp list-tools -v").stdout;
    assert!(told.contains("tunnel_setup(port: integer, bastion_server?: string, secret_key_path?: string)"), "{told}");
    for schemas in [home.adit("mcp list-tools -vv").stdout, home.adit("mcp list-tools --json").stdout] {
        assert!(schemas.contains("additionalProperties") && schemas.contains("destructiveHint"), "{schemas}");
    }
}

#[test]
fn the_doctor_says_what_is_missing_and_what_to_do() {
    let home = Home::new();
    let sick = home.adit("mcp doctor --json");
    assert_eq!(refused(&sick, 1, "not-ready"), "1 check found something wrong");
    let checks: Value = serde_json::from_str(&sick.stdout).unwrap();
    let check = |name: &str| checks["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).unwrap();
    assert_eq!((&check("binary")["state"], &check("keys")["state"]), (&json!("ok"), &json!("ok")));
    assert_eq!((&check("services")["state"], &check("agent")["state"]), (&json!("wrong"), &json!("note")));
    assert!(check("services")["told"].as_str().unwrap().contains("--supervise"), "{checks}");
    let well = home.adit("mcp doctor --supervise");
    assert!(well.code() == 0 && well.stdout.contains("✓ services"), "{well:?}");
    fs::remove_dir_all(home.path(".ssh")).unwrap();
    let without = home.adit("mcp doctor --supervise");
    assert!(
        without.code() == 1 && without.stdout.contains("✗ keys") && without.stdout.contains("mkdir -m 700"),
        "{without:?}"
    );
}

#[test]
fn it_ends_with_its_client_and_with_a_signal() {
    let home = Home::new();
    let mut left = Running::spawn(&mut home.server(&[]));
    left.close_stdin();
    let ended = left.wait_exit(SOON);
    assert_eq!((ended.code(), &*ended.stdout, &*ended.stderr), (0, "", ""));
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = Running::spawn(&mut home.server(&[]));
        running.type_in(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
        running.await_stdout(SOON, "\n");
        running.signal(signal);
        let ended = running.wait_exit(SOON);
        assert_eq!(ended.code(), 0, "{ended:?}");
    }
    let mut noise = Running::spawn(&mut home.server(&["--json"]));
    noise.type_in(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
    assert_eq!(refused(&noise.wait_exit(SOON), 1, "bad-client").lines().count(), 1);
}
