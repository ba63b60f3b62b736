//! Tunnels that no systemd watches (`spec/service.md`, line 12): a process in the background, and cron to start it with the machine.

use std::time::Duration;

use adit_e2e::{eventually, remains};

use crate::SOON;
use crate::service::{PORT, Stage};

/// The processes of alice's tunnel: one that watches, and one that forwards.
fn processes(stage: &Stage, command: &str) -> Vec<String> {
    let found = stage.machine.run(&format!("pgrep --uid alice --full 'adit {command}'"));
    found.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn it_runs_in_the_background_and_outlives_the_login() {
    let Some(mut stage) = Stage::set() else { return };
    let before = stage.files();
    let told = stage.set_up("alice", "--supervise");
    let tunnel = &told["tunnel"];
    assert_eq!((&tunnel["scope"], &tunnel["unit"]), (&"supervised".into(), &serde_json::Value::Null));
    assert_eq!(tunnel["path"], "/home/alice/.local/state/adit/services/2222");
    // What lies there is alice's alone.
    assert_eq!(stage.machine.ask("stat -c '%U %a' /home/alice/.local/state/adit/services/2222"), "alice 700");
    // Alice has logged out; systemd remembers her for the sake of what runs.
    let state = || stage.machine.run("loginctl show-user --property=State --value alice").stdout;
    eventually(SOON, "alice is not logged in", || state() == "closing\n");
    assert!(stage.is_reachable());

    // What is killed is started anew, by the one that watches.
    let watcher = processes(&stage, "supervise");
    let first = processes(&stage, "keep");
    assert_eq!((watcher.len(), first.len()), (1, 1), "{watcher:?} {first:?}");
    stage.machine.ask(&format!("kill -KILL {}", first[0]));
    stage.await_reachable("after the process that forwards was killed");
    assert_ne!(processes(&stage, "keep"), first);
    assert_eq!(processes(&stage, "supervise"), watcher);

    // With the one that watches, it ends; nothing is left that nobody watches.
    stage.machine.ask(&format!("kill -KILL {}", watcher[0]));
    eventually(SOON, "what forwards has ended too", || processes(&stage, "keep").is_empty());
    let (code, tunnel) = stage.status("alice");
    assert_eq!((code, &tunnel["state"]), (3, &"stopped".into()));

    // Setting it up again is how it is started again; a second time replaces it and leaves one.
    for _ in 0..2 {
        stage.set_up("alice", "--supervise");
        stage.await_reachable("after it was set up again");
        assert_eq!((processes(&stage, "supervise").len(), processes(&stage, "keep").len()), (1, 1));
    }

    // A machine that was started has nothing in its background. That is told when it is set up, and afterwards.
    stage.machine.reboot();
    assert_eq!(stage.status("alice").0, 3);
    assert_eq!(stage.machine.run_as("alice", &format!("adit remove -p {PORT}")).code(), 0);
    stage.assert_nothing_left(&before);
    assert_eq!(stage.machine.run_as("alice", &format!("adit remove -p {PORT}")).code(), 4);
}

/// A line of a crontab and a login script may start the same tunnel at the same time.
#[test]
fn it_starts_once() {
    let Some(stage) = Stage::set() else { return };
    stage.set_up("alice", "--supervise");
    let first = processes(&stage, "supervise");
    let line = "adit supervise --folder=$HOME/.local/state/adit/services/2222";
    assert_eq!(stage.machine.run_as("alice", line).code(), 0);
    remains(Duration::from_secs(1), "there is one process", || processes(&stage, "supervise") == first);
    assert!(stage.is_reachable());
}

#[test]
fn cron_starts_it_with_the_machine() {
    let Some(mut stage) = Stage::set() else { return };
    let theirs = "# alice's own\n0 4 * * * true\n";
    stage.machine.ask_as("alice", &format!("printf {} | crontab -", adit_e2e::quoted(theirs)));
    let before = stage.files();
    let told = stage.set_up("alice", "--cron");
    assert_eq!((&told["tunnel"]["scope"], &told["tunnel"]["cron"]), (&"supervised".into(), &true.into()));
    let crontab = stage.machine.ask_as("alice", "crontab -l");
    assert!(crontab.starts_with(theirs) && crontab.lines().last().unwrap().starts_with("@reboot "), "{crontab}");

    stage.machine.reboot();
    stage.await_reachable("after a reboot, with nobody logged in");
    stage.await_state("alice", "connected");
    assert_eq!(processes(&stage, "supervise").len(), 1);

    // Setting it up again has one line, not two.
    stage.set_up("alice", "--cron");
    assert_eq!(stage.machine.ask_as("alice", "crontab -l"), crontab);
    assert_eq!(stage.machine.run_as("alice", &format!("adit remove -p {PORT}")).code(), 0);
    assert_eq!(stage.machine.ask_as("alice", "crontab -l"), theirs.trim_end());
    stage.assert_nothing_left(&before);
}

/// Where there was no crontab, there is none afterwards.
#[test]
fn an_empty_crontab_goes_with_its_only_line() {
    let Some(stage) = Stage::set() else { return };
    let before = stage.files();
    stage.set_up("alice", "--cron");
    stage.machine.ask_as("alice", &format!("adit remove -p {PORT}"));
    assert_eq!(stage.machine.run_as("alice", "crontab -l").code(), 1);
    stage.assert_nothing_left(&before);
}
