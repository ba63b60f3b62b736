//! What is typed to `adit setup`, `status` and `remove`: refused or quoted, never obeyed (`spec/service.md`, lines 4, 9, 10, 11, 12 and 14).

use adit_e2e::{Finished, Machine, quoted};

use crate::service::{PORT, Stage, error_code, json};

/// What a unit, a crontab or a shell might obey. Each would leave a file that nobody has asked for.
const EVIL: [&str; 8] = [
    "x\nExecStartPre=/usr/bin/touch /evil",
    "x\n[Service]\nExecStartPre=/usr/bin/touch /evil",
    "x\r\nExecStartPre=/usr/bin/touch /evil",
    "x\u{2028}ExecStartPre=/usr/bin/touch /evil",
    "x\u{b}y",
    "-oProxyCommand=touch /evil",
    "",
    " ",
];

/// Line 10. A refusal says on one line what was wrong, and comes before anything is written.
#[test]
fn nothing_that_is_typed_becomes_a_directive() {
    let Some(stage) = Stage::set() else { return };
    let before = stage.files();
    let places = [
        ("-b", "root@{}"),
        ("-b", "{}@bastion"),
        ("-b", "bastion:{}"),
        ("-s", "{}"),
        ("-s", "/root/{}\n"),
        ("--target", "{}"),
        ("--target", "localhost:{}"),
        ("--bind", "{}"),
        ("-p", "{}"),
        ("-p", "2222{}"),
    ];
    for (flag, place) in places {
        let typed = EVIL.iter().map(|evil| place.replace("{}", evil));
        // What a path begins with is the folder, and 2222 with nothing behind it is a port.
        let typed = typed.filter(|typed| (flag != "-s" || !typed.starts_with('-')) && typed != "2222");
        let lines = typed.flat_map(|typed| {
            let line = with(&stage.command(), flag, &typed);
            ["", "--user", "--cron", "--print"].map(|kind| format!("{line} {kind} --json"))
        });
        assert_refused(&stage.machine, &lines.collect::<Vec<_>>());
    }
    stage.assert_nothing_left(&before);
    assert_eq!(stage.machine.run("ls /evil").code(), 2);
}

/// `line`, with another value of `flag`, or with one.
fn with(line: &str, flag: &str, value: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let at = words.iter().position(|word| *word == flag);
    let kept = words.iter().enumerate().filter(|(index, _)| at.is_none_or(|at| *index != at && *index != at + 1));
    let kept: Vec<&str> = kept.map(|(_, word)| *word).collect();
    let separator = if flag.starts_with("--") { "=" } else { "" };
    format!("{} {flag}{separator}{}", kept.join(" "), quoted(value))
}

/// Each of the commands is refused as bad input, in one line; they share a login.
fn assert_refused(machine: &Machine, lines: &[String]) {
    let script: Vec<String> = lines.iter().map(|line| format!("told=$({line} 2>&1); echo \"$? $told\"")).collect();
    let told = machine.ask(&script.join("\n"));
    assert_eq!(told.lines().count(), lines.len(), "{lines:?}: {told}");
    for (line, told) in lines.iter().zip(told.lines()) {
        let error = told.strip_prefix("2 ").map(|told| json(told)["error"].as_str().map(str::to_owned));
        let is_plain = |error: &String| !error.is_empty() && !error.contains(['\n', '\r', '\u{1b}']);
        assert!(error.flatten().as_ref().is_some_and(is_plain), "{line:?}: {told}");
    }
}

/// Lines 9 and 14: what is no port is none anywhere.
#[test]
fn what_is_no_port_is_refused() {
    let Some(stage) = Stage::set() else { return };
    for port in ["0", "65536", "70000", "-1", "22.0", "0x16", "ssh", "''", "' 22'", "2222x"] {
        let lines = [
            stage.command().replace("-p 2222", &format!("-p {port} --json")),
            format!("adit status -p {port} --json"),
            format!("adit remove -p {port} --json"),
        ];
        assert_refused(&stage.machine, &lines);
    }
}

/// Line 10: a path may hold what systemd, a shell and cron would read otherwise.
#[test]
fn a_key_may_lie_at_a_strange_path() {
    let Some(stage) = Stage::set() else { return };
    let key = std::fs::read(stage.bastion.key()).unwrap();
    let names =
        ["my keys", "100% %h %%n", "$HOME ${USER} $$", r#"it's "quoted" \ \x20 a"#, "#comment; & | `id` *", "ключ 🔑"];
    for name in names {
        for (user, kind) in [("root", ""), ("alice", "--user"), ("alice", "--cron")] {
            let home = if user == "root" { "/root" } else { "/home/alice" };
            let path = format!("{home}/{name}/id");
            stage.machine.write_as(user, &path, &key);
            let line = with(&stage.command(), "-s", &path);
            let told = json(&stage.machine.ask_as(user, &format!("{line} {kind} --json")));
            assert_eq!(told["tunnel"]["state"], "connected", "{told}");
            if user == "root" {
                let verified =
                    stage.machine.run("systemd-analyze verify --man=no /etc/systemd/system/adit-tunnel-2222.service");
                assert_eq!((verified.code(), verified.stderr.as_str()), (0, ""), "{path}");
                // What the key is read from is the file itself, whenever the service starts.
                stage.machine.ask("systemctl restart adit-tunnel-2222");
            }
            stage.await_reachable(&format!("with a key at {path}"));
            stage.machine.ask_as(user, &format!("adit remove -p {PORT}"));
        }
    }
}

/// Line 11: what was not typed stands in the environment, or in a file that was named; what was typed wins.
#[test]
fn the_environment_is_read() {
    let Some(stage) = Stage::set() else { return };
    let machine = &stage.machine;
    machine
        .write("/root/tunnel.env", b"ADIT_BASTION_SERVER=root@from-file\nADIT_SECRET_KEY_PATH=/root/.ssh/id_ed25519\n");
    machine.write("/root/.env", b"ADIT_BASTION_SERVER=root@nobody-asked\nADIT_SECRET_KEY_PATH=/root/.ssh/id_ed25519\n");
    let print = format!("adit setup -p {PORT} --print");
    let key = "ADIT_SECRET_KEY_PATH=/root/.ssh/id_ed25519";
    for (line, bastion) in [
        (format!("{key} ADIT_BASTION_SERVER=root@ours {print}"), "root@ours:22"),
        (format!("{key} SCITEX_TUNNEL_BASTION_SERVER=root@theirs {print}"), "root@theirs:22"),
        (
            format!("{key} ADIT_BASTION_SERVER=root@ours SCITEX_TUNNEL_BASTION_SERVER=root@theirs {print}"),
            "root@ours:22",
        ),
        (format!("{key} ADIT_BASTION_SERVER=root@ours {print} -b root@typed"), "root@typed:22"),
        (format!("{print} --env-file tunnel.env"), "root@from-file:22"),
        (format!("ADIT_BASTION_SERVER=root@ours {print} --env-file tunnel.env"), "root@ours:22"),
        (format!("SCITEX_TUNNEL_SECRET_KEY_PATH=/root/.ssh/id_ed25519 {print} -b root@typed"), "root@typed:22"),
    ] {
        let unit = machine.ask(&line);
        assert!(unit.contains(&format!("\"--bastion={bastion}\"")), "{line}: {unit}");
        assert!(unit.contains("\nLoadCredential=key:/root/.ssh/id_ed25519\n"), "{line}: {unit}");
    }
    // A variable is typed by somebody too.
    let evil = quoted("x\nExecStartPre=/usr/bin/touch /evil");
    let lines = [
        format!("{key} ADIT_BASTION_SERVER={evil} {print} --json"),
        format!("ADIT_SECRET_KEY_PATH={evil} {print} -b root@bastion --json"),
    ];
    assert_refused(machine, &lines);
}

/// Line 9: the flag and the variable, by name; a file `.env` that lies about is not read.
#[test]
fn what_is_missing_is_named() {
    let Some(stage) = Stage::set() else { return };
    stage
        .machine
        .write("/root/.env", b"ADIT_BASTION_SERVER=root@bastion\nADIT_SECRET_KEY_PATH=/root/.ssh/id_ed25519\n");
    for (line, flag, variable) in [
        (format!("adit setup -p {PORT} -s ~/.ssh/id_ed25519"), "-b", "ADIT_BASTION_SERVER"),
        (format!("adit setup -p {PORT} -b root@bastion"), "-s", "ADIT_SECRET_KEY_PATH"),
        (format!("ADIT_BASTION_SERVER= adit setup -p {PORT} -s ~/.ssh/id_ed25519"), "-b", "ADIT_BASTION_SERVER"),
    ] {
        let refused = stage.machine.run(&line);
        assert_eq!(refused.code(), 2, "{line}: {refused:?}");
        assert!(refused.stderr.contains(flag) && refused.stderr.contains(variable), "{line}: {}", refused.stderr);
    }
}

/// Line 11: the variable does what its name says.
#[test]
fn debug_mode_tells_everything() {
    let Some(stage) = Stage::set() else { return };
    let told = |before: &str, after: &str| -> Finished {
        let finished = stage.machine.run(&format!("{before} {} --json {after}", stage.command()));
        assert_eq!(finished.code(), 0, "{finished:?}");
        // What programs read is not mixed with it.
        json(&finished.stdout);
        finished
    };
    assert_eq!(told("", "").stderr, "");
    assert_eq!(told("ADIT_DEBUG_MODE=0", "").stderr, "");
    for loud in [told("ADIT_DEBUG_MODE=1", ""), told("SCITEX_TUNNEL_DEBUG_MODE=1", ""), told("", "-v")] {
        assert!(loud.stderr.contains("DEBUG") && loud.stderr.contains("systemctl"), "{}", loud.stderr);
        assert!(!loud.stderr.contains("PRIVATE KEY"));
    }
}

/// Line 12: what would be installed is shown to whoever asks, and nothing is installed.
#[test]
fn what_would_be_installed_is_printed() {
    let Some(stage) = Stage::set() else { return };
    let before = stage.files();
    for (kind, line) in [
        ("", "\nWantedBy=multi-user.target\n"),
        ("--user", "\nWantedBy=default.target\n"),
        ("--supervise", "adit keep "),
        ("--cron", "@reboot "),
    ] {
        let printed = stage.machine.ask_as("alice", &format!("{} --print {kind}", stage.command()));
        assert!(format!("{printed}\n").contains(line), "{kind}: {printed}");
    }
    stage.assert_nothing_left(&before);

    // What is shown is what is written then.
    stage.set_up("root", "");
    let written = stage.machine.ask("cat /etc/systemd/system/adit-tunnel-2222.service");
    assert_eq!(stage.machine.ask(&format!("{} --print", stage.command())), written);
}

/// Line 14. 0, 3 and 4 are in `service`.
#[test]
fn each_failure_has_its_exit_code() {
    let Some(stage) = Stage::set() else { return };
    let before = stage.files();
    let machine = &stage.machine;
    machine.ask("ssh-keygen -q -t ed25519 -N '' -f /tmp/stranger && ssh-keygen -q -t ed25519 -N secret -f /tmp/locked && touch /tmp/empty");
    let setup = stage.command();
    let key = "~/.ssh/id_ed25519";
    let other_fingerprint = format!("SHA256:{}", "A".repeat(43));
    for (line, code, name) in [
        (setup.replace(key, "/tmp/absent"), 2, "unreadable-key-file"),
        (setup.replace(key, "/tmp/empty"), 2, "bad-key"),
        (setup.replace(key, "/tmp/locked"), 2, "key-has-passphrase"),
        (format!("{setup} --target 9"), 1, "no-service"),
        (setup.replace("root@bastion", "root@nowhere.invalid"), 1, "not-connected"),
        (setup.replace("root@bastion", "root@bastion:9"), 1, "not-connected"),
        (format!("adit setup -p {PORT} -b root@bastion -s {key}"), 6, "unknown-host-key"),
        (
            format!("adit setup -p {PORT} -b root@bastion -s {key} --accept-host-key {other_fingerprint}"),
            6,
            "other-host-key",
        ),
        (setup.replace(key, "/tmp/stranger"), 5, "not-let-in"),
        ("adit tunnel list".to_owned(), 8, "no-agent"),
        (format!("adit status -p {PORT}"), 4, "no-such-tunnel"),
        (format!("adit remove -p {PORT}"), 4, "no-such-tunnel"),
        (format!("{setup} --user --cron"), 2, "usage"),
    ] {
        let refused = machine.run(&format!("{line} --json"));
        assert_eq!((refused.code(), error_code(&refused).as_str()), (code, name), "{line}: {refused:?}");
    }
    machine.write("/root/bad.yaml", b"jumphost: [");
    assert_eq!(machine.run("adit jumphost --config bad.yaml").code(), 78);
    machine.ask("rm /root/bad.yaml /tmp/stranger* /tmp/locked* /tmp/empty");
    stage.assert_nothing_left(&before);
}
