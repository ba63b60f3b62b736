//! Tunnels as services of a user's own systemd (`spec/service.md`, line 2), with and without lingering.

use std::time::Duration;

use adit_e2e::{Machine, eventually, quoted};
use serde_json::{Value, json};

use crate::service::{PORT, Stage, error_code};

/// systemd keeps a user's manager for 10 s after the last session, and the bastion hears of the end at once.
const LOGGED_OUT: Duration = Duration::from_secs(30);

/// As administrators of shared machines have it.
const NO_LINGERING: &str = r#"polkit.addRule(function(action, subject) {
    if (action.id == "org.freedesktop.login1.set-self-linger") { return polkit.Result.NO; }
});
"#;

fn forbid_lingering(machine: &Machine) {
    machine.write("/etc/polkit-1/rules.d/10-no-lingering.rules", NO_LINGERING.as_bytes());
}

#[test]
fn a_user_who_may_linger_is_reachable_after_a_reboot() {
    let Some(mut stage) = Stage::set() else { return };
    let before = stage.files();
    let told = stage.set_up("alice", "--user");
    assert_eq!(told["tunnel"]["scope"], "user");
    assert_eq!(told["tunnel"]["linger"], "enabled");
    assert_eq!(told["tunnel"]["path"], "/home/alice/.config/systemd/user/adit-tunnel-2222.service");
    stage.await_reachable("after setup");
    let verified = stage
        .machine
        .run_as("alice", "systemd-analyze --user verify --man=no ~/.config/systemd/user/adit-tunnel-2222.service");
    assert_eq!((verified.code(), verified.stderr.as_str()), (0, ""));
    assert_eq!(stage.machine.ask_as("alice", "systemctl --user is-active autossh-tunnel-2222"), "active");

    stage.machine.reboot();
    stage.await_reachable("after a reboot, with nobody logged in");
    assert_eq!(stage.await_state("alice", "connected")["linger"], "enabled");

    stage.machine.ask_as("alice", &format!("adit remove -p {PORT}"));
    // To linger is alice's own decision by now, and no part of the tunnel.
    stage.machine.ask("loginctl disable-linger alice");
    stage.assert_nothing_left(&before);
    assert_eq!(stage.machine.run_as("alice", &format!("adit status -p {PORT}")).code(), 4);
}

#[test]
fn a_user_who_may_not_linger_is_told_the_administrators_command() {
    let Some(mut stage) = Stage::set() else { return };
    forbid_lingering(&stage.machine);
    let session = stage.machine.log_in("alice");
    let told = stage.machine.ask_as("alice", &format!("{} --user", stage.command()));
    assert!(told.contains("linger: disabled") && told.contains("\n  sudo loginctl enable-linger alice\n"), "{told}");
    stage.await_reachable("after setup");
    assert_eq!(stage.status("alice").1["linger"], "disabled");

    drop(session);
    eventually(LOGGED_OUT, "the tunnel ends with the last session", || !stage.is_reachable());
    let session = stage.machine.log_in("alice");
    stage.await_reachable("after the next login");
    drop(session);

    // The administrator types what was told.
    stage.machine.ask("loginctl enable-linger alice");
    stage.machine.reboot();
    stage.await_reachable("after a reboot, with nobody logged in");
    assert_eq!(stage.await_state("alice", "connected")["linger"], "enabled");
}

#[test]
fn the_system_is_not_a_users_to_change() {
    let Some(stage) = Stage::set() else { return };
    let before = stage.files();
    let refused = stage.machine.run_as("alice", &stage.command());
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("sudo") && refused.stderr.contains("--user"), "{}", refused.stderr);
    stage.assert_files_as(&before);

    stage.set_up("root", "");
    // Everybody may look.
    assert_eq!(stage.status("alice").0, 0);
    let refused = stage.machine.run_as("alice", &format!("adit remove -p {PORT} --json"));
    assert_eq!((refused.code(), error_code(&refused).as_str()), (1, "not-root"), "{refused:?}");
    assert!(stage.is_reachable());
}

/// A user without a manager, as in a container or under `su` on some machines, is told what helps.
#[test]
fn a_user_without_a_manager_is_told_what_to_do() {
    let Some(stage) = Stage::set() else { return };
    stage.machine.ask("useradd --create-home --shell /bin/bash bob");
    stage.machine.write("/home/bob/key", &std::fs::read(stage.bastion.key()).unwrap());
    stage.machine.ask("chown bob /home/bob/key && chmod 600 /home/bob/key");
    let line = format!("{} --user --json", stage.command().replace("~/.ssh/id_ed25519", "/home/bob/key"));
    let refused = stage
        .machine
        .run(&format!("setpriv --reuid=bob --regid=bob --clear-groups env -u XDG_RUNTIME_DIR HOME=/home/bob {line}"));
    assert_eq!((refused.code(), error_code(&refused).as_str()), (1, "no-systemd"), "{refused:?}");
    assert!(refused.stderr.contains("--supervise"), "{}", refused.stderr);
}

/// Lines 18 and 19: what a model gets of a machine with a systemd, over standard input.
#[test]
fn a_model_has_services_of_its_user_and_leaves_the_systems_alone() {
    let Some(stage) = Stage::set() else { return };
    let remove = json!({"port": PORT});
    // A person has judged the host key.
    stage.set_up("alice", "--user");
    stage.machine.ask_as("alice", &format!("adit remove -p {PORT}"));

    let wanted =
        json!({"port": PORT, "bastion_server": "root@bastion", "secret_key_path": "/home/alice/.ssh/id_ed25519"});
    let done = call(&stage, "alice", "", "tunnel_setup", &wanted);
    let tunnel = &done["structuredContent"]["tunnel"];
    assert_eq!((&tunnel["scope"], &tunnel["state"]), (&json!("user"), &json!("connected")), "{done}");
    stage.await_reachable("after a model's set-up");
    assert_eq!(stage.status("alice").0, 0);
    assert_eq!(call(&stage, "alice", "", "tunnel_remove", &remove)["isError"], false);
    assert_eq!(stage.machine.run_as("alice", &format!("adit status -p {PORT}")).code(), 4);

    stage.set_up("root", "");
    let refused = call(&stage, "root", "", "tunnel_remove", &remove);
    assert_eq!(
        (&refused["isError"], &refused["structuredContent"]["code"]),
        (&json!(true), &json!("not-allowed")),
        "{refused}"
    );
    stage.await_reachable("after a model was refused");
    assert_eq!(call(&stage, "root", "--allow-system", "tunnel_remove", &remove)["isError"], false);
    assert_eq!(stage.machine.run(&format!("adit status -p {PORT}")).code(), 4);
}

/// The result of one call to a server of this user's. Its input stays open until the answer is there.
fn call(stage: &Stage, user: &str, flags: &str, tool: &str, arguments: &Value) -> Value {
    let client = json!({"name": "story", "version": "1"});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let messages = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}),
    ];
    let said: Vec<String> = messages.iter().map(|message| quoted(&message.to_string())).collect();
    let line = format!(
        "done=$(mktemp -u) && mkfifo $done && (printf '%s\\n' {}; cat $done) | adit mcp start {flags} | \
         {{ grep --max-count=1 '\"id\":2'; echo >$done; }}; rm $done",
        said.join(" ")
    );
    let told: Value = serde_json::from_str(&stage.machine.ask_as(user, &line)).unwrap();
    told["result"].clone()
}
