//! Tunnels as services of the system (`spec/service.md`), on machines that boot. What is typed and refused is in `service_input`, services of
//! users in `service_user`, and those without a systemd in `service_background`.

use std::collections::BTreeSet;
use std::time::Duration;

use adit_e2e::{Bastion, Finished, Machine, eventually};
use serde_json::Value;

use crate::SOON;
use crate::packaging::package;

/// The bastion's port in all stories.
pub(crate) const PORT: u16 = 2222;

/// The longest pause between two tries of a story's length, a login, and a forward.
pub(crate) const BACK: Duration = Duration::from_secs(60);

/// A dead connection is noticed within three probes of an interval, and that is told.
const NOTICED: Duration = Duration::from_secs(60);

/// The longest that a unit that does not come up may keep systemd in the state `starting`: what it grants by default, and some.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A workstation behind a bastion, with adit installed. `root` and `alice` have the key that the bastion lets in.
pub(crate) struct Stage {
    pub(crate) machine: Machine,
    pub(crate) bastion: Bastion,
}

impl Stage {
    /// Boots it; `None` where `ADIT_E2E_SKIP` excuses what it takes.
    pub(crate) fn set() -> Option<Stage> {
        Stage::behind(Bastion::start()?)
    }

    pub(crate) fn behind(bastion: Bastion) -> Option<Stage> {
        Stage::with(bastion, Machine::install_adit)
    }

    /// The same, with adit as people install it.
    fn packaged() -> Option<Stage> {
        Stage::with(Bastion::start()?, |machine| machine.install_deb(&package()))
    }

    fn with(bastion: Bastion, install: impl FnOnce(&Machine)) -> Option<Stage> {
        let machine = Machine::boot(&bastion, "workstation")?;
        install(&machine);
        let key = std::fs::read(bastion.key()).unwrap();
        for (user, home) in [("root", "/root"), ("alice", "/home/alice")] {
            machine.write_as(user, &format!("{home}/.ssh/id_ed25519"), &key);
        }
        Some(Stage { machine, bastion })
    }

    /// The command that sets the tunnel up, without what says which kind.
    pub(crate) fn command(&self) -> String {
        let fingerprint = self.bastion.fingerprint();
        format!("adit setup -p {PORT} -b root@bastion -s ~/.ssh/id_ed25519 --accept-host-key {fingerprint}")
    }

    /// Sets the tunnel up, which must succeed, and returns what was said of it.
    pub(crate) fn set_up(&self, user: &str, more: &str) -> Value {
        let line = format!("{} --json {more}", self.command());
        json(&self.machine.ask_as(user, &line))
    }

    /// What `adit status -p PORT` exits with, and what it says of the tunnel.
    pub(crate) fn status(&self, user: &str) -> (i32, Value) {
        let told = self.machine.run_as(user, &format!("adit status -p {PORT} --json"));
        (told.code(), json(&told.stdout)["tunnels"][0].clone())
    }

    /// Waits until `adit status` finds the tunnel in `state`, and returns what it says then.
    pub(crate) fn await_state(&self, user: &str, state: &str) -> Value {
        let mut last = Value::Null;
        eventually(NOTICED, &format!("the tunnel is {state}"), || {
            let (code, tunnel) = self.status(user);
            // Nobody needs to read JSON to know whether it works.
            assert_eq!(code == 0, tunnel["state"] == "connected", "exit {code} with {tunnel}");
            last = tunnel;
            last["state"] == state
        });
        last
    }

    /// Whether the workstation's SSH server greets whoever comes to the bastion's port.
    pub(crate) fn is_reachable(&self) -> bool {
        self.bastion.greeting_at(PORT).is_some()
    }

    pub(crate) fn await_reachable(&self, when: &str) {
        let back = eventually(BACK, &format!("reachable {when}"), || self.is_reachable());
        eprintln!("{when}: reachable in {back:?}");
    }

    /// All files of the machine that stay; what is known of hosts is the user's, and none of a tunnel's.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let found =
            self.machine.ask("find /etc /home /root /usr /var/lib /var/spool /tmp ! -type d ! -name known_hosts");
        found.lines().map(str::to_owned).collect()
    }

    /// No file was made since `before`.
    pub(crate) fn assert_files_as(&self, before: &BTreeSet<String>) {
        let made: Vec<String> = self.files().difference(before).cloned().collect();
        assert!(made.is_empty(), "{made:?}");
    }

    /// Nothing of a tunnel is left: no file beyond those of `before`, no unit, no process, no port.
    pub(crate) fn assert_nothing_left(&self, before: &BTreeSet<String>) {
        self.assert_files_as(before);
        let patterns = "'adit-tunnel-*' 'autossh-*'";
        let line = format!(
            "systemctl list-units --all --no-legend {patterns}; systemctl list-unit-files --no-legend {patterns}"
        );
        assert_eq!(self.machine.run(&line).stdout, "");
        assert_eq!(self.machine.run("pgrep --list-full --exact adit").stdout, "");
        eventually(SOON, "the bastion's port is free", || !self.is_reachable());
    }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whether it is told that the bastion does not give the port.
fn is_refused(tunnel: &Value) -> bool {
    tunnel["last_error"].as_str().is_some_and(|error| error.contains("its port is held by another"))
}

/// The last line that was written to stderr with `--json` says what went wrong.
pub(crate) fn error_code(finished: &Finished) -> String {
    json(finished.stderr.lines().last().unwrap_or_default())["code"].as_str().unwrap_or_default().to_owned()
}

/// Lines 1, 5, 6, 7 and 8: what a workstation's months bring, one after the other.
#[test]
fn a_workstation_stays_reachable() {
    let Some(mut stage) = Stage::packaged() else { return };
    let before = stage.files();
    stage.set_up("root", "");
    stage.await_reachable("after setup");

    stage.machine.reboot();
    stage.await_reachable("after a reboot");

    stage.bastion.stop();
    stage.await_state("root", "reconnecting");
    stage.bastion.start_again();
    stage.await_reachable("after the bastion was restarted");

    stage.machine.cut();
    stage.await_state("root", "reconnecting");
    stage.machine.heal();
    stage.await_reachable("after the network fell silent");

    // While nothing passes, somebody else takes the port.
    stage.machine.cut();
    stage.bastion.stop();
    stage.bastion.start_again();
    let other = stage.bastion.hold_port(PORT);
    stage.machine.heal();
    let refused = || is_refused(&stage.status("root").1);
    eventually(NOTICED, "the port is told to be refused", refused);
    assert_eq!(stage.status("root").0, 3);
    drop(other);
    stage.await_reachable("after the other session ended");
    stage.await_state("root", "connected");

    assert_eq!(stage.machine.run(&format!("adit remove -p {PORT}")).code(), 0);
    stage.assert_nothing_left(&before);
    assert_eq!(stage.machine.run(&format!("adit status -p {PORT}")).code(), 4);
    assert_eq!(stage.machine.run(&format!("adit remove -p {PORT}")).code(), 4);
}

/// Lines 2 and 3, and what programs read of it.
#[test]
fn it_is_a_unit_like_any_other() {
    let Some(stage) = Stage::set() else { return };
    let told = stage.set_up("root", "");
    let checks: Vec<&str> =
        told["checks"].as_array().unwrap().iter().filter_map(|check| check["check"].as_str()).collect();
    assert_eq!(checks, ["key", "target", "host key", "login", "port", "installed"]);
    assert_eq!(told["reach"], "ssh -J root@bastion:22 -p 2222 root@localhost");
    let tunnel = &told["tunnel"];
    let expected = [
        ("port", Value::from(PORT)),
        ("scope", "system".into()),
        ("unit", "adit-tunnel-2222.service".into()),
        ("path", "/etc/systemd/system/adit-tunnel-2222.service".into()),
        ("bastion", "root@bastion:22".into()),
        ("target", "localhost:22".into()),
        ("state", "connected".into()),
        ("restarts", 0.into()),
        ("last_error", Value::Null),
        ("linger", Value::Null),
    ];
    for (name, value) in expected {
        assert_eq!(tunnel[name], value, "{name} of {tunnel}");
    }
    assert!(tunnel["since"].is_u64() && tunnel["uptime_seconds"].is_u64(), "{tunnel}");

    let machine = &stage.machine;
    assert_eq!(machine.ask("systemctl is-active adit-tunnel-2222 autossh-tunnel-2222"), "active\nactive");
    assert_eq!(machine.ask("systemctl is-enabled adit-tunnel-2222 autossh-tunnel-2222"), "enabled\nalias");
    let shown = "Restart=always\nRestartUSec=3s\nStartLimitIntervalUSec=0\nType=notify";
    let properties =
        "systemctl show -p Type -p Restart -p RestartUSec -p StartLimitIntervalUSec adit-tunnel-2222 | sort";
    assert_eq!(machine.ask(properties), shown);
    // It runs as a user that exists as long as it does: systemd has these numbers for such (systemd.exec(5), `DynamicUser=`).
    let user = machine.ask("stat -c %u /proc/$(systemctl show -p MainPID --value adit-tunnel-2222)");
    assert!((61184..=65519).contains(&user.parse::<u32>().unwrap()), "it runs as {user}");

    let verified = machine.run("systemd-analyze verify --man=no /etc/systemd/system/adit-tunnel-2222.service");
    assert_eq!((verified.code(), verified.stderr.as_str(), verified.stdout.as_str()), (0, "", ""));
    let exposure = machine.run("systemd-analyze security --no-pager --threshold=20 adit-tunnel-2222.service");
    assert_eq!(exposure.code(), 0, "{}", exposure.stdout);
}

/// A bastion that is switched off must not keep a machine from being up, in the eyes of whoever waits for that.
#[test]
fn a_boot_does_not_wait_for_the_bastion() {
    let Some(mut stage) = Stage::set() else { return };
    stage.set_up("root", "");
    stage.bastion.stop();
    stage.machine.reboot();
    let targets = || stage.machine.run("systemctl is-active multi-user.target graphical.target").code() == 0;
    eventually(SOON, "all that is wanted at boot is started", targets);
    let state = || stage.machine.run("systemctl is-system-running").stdout == "running\n";
    eventually(START_TIMEOUT, "systemd says that the machine is up", state);
    assert_eq!(stage.status("root").0, 3);
    stage.bastion.start_again();
    stage.await_reachable("after the bastion was switched on");
}

/// Line 6: the power fails, and for the bastion the old session lives on.
#[test]
fn a_port_that_the_lost_session_holds_is_reported_and_taken_when_free() {
    let Some(mut stage) = Stage::set() else { return };
    stage.set_up("root", "");
    stage.machine.lose_power();
    stage.machine.power_on(&stage.bastion);
    let refused = || {
        let (code, tunnel) = stage.status("root");
        assert_eq!(code, 3, "never a silent “up”: {tunnel}");
        is_refused(&tunnel)
    };
    eventually(NOTICED, "the port is told to be refused", refused);
    assert_eq!(stage.machine.run("systemctl is-active adit-tunnel-2222").stdout, "activating\n");
    // The first visitor has the bastion ask the old connection, of which the workstation knows nothing.
    stage.await_reachable("after a power cut");
    stage.await_state("root", "connected");
}

/// Line 5, for a network that says that it is gone.
#[test]
fn a_cable_is_pulled_and_put_back() {
    let Some(stage) = Stage::set() else { return };
    stage.set_up("root", "");
    stage.machine.cable().pull();
    stage.await_state("root", "reconnecting");
    stage.machine.cable().put_back();
    stage.await_reachable("after the cable was put back");
}

/// Line 3: systemd starts anew what was killed, and what hangs.
#[test]
fn a_process_that_is_killed_or_hangs_is_started_anew() {
    let Some(stage) = Stage::set() else { return };
    stage.set_up("root", "");
    let pid = || stage.machine.ask("systemctl show -p MainPID --value adit-tunnel-2222");
    let first = pid();
    stage.machine.ask(&format!("kill -KILL {first}"));
    stage.await_reachable("after it was killed");
    let second = pid();
    assert_ne!(second, first);
    assert_eq!(stage.await_state("root", "connected")["restarts"], 1);

    // A watchdog that needs less patience than the real one.
    let folder = "/etc/systemd/system/adit-tunnel-2222.service.d";
    stage.machine.write(&format!("{folder}/quick.conf"), b"[Service]\nWatchdogSec=4\n");
    stage.machine.ask("systemctl daemon-reload && systemctl restart adit-tunnel-2222");
    let third = pid();
    stage.machine.ask(&format!("kill -STOP {third}"));
    eventually(BACK, "another process", || !["0", &third].contains(&pid().as_str()));
    stage.await_reachable("after it hung");
}

/// A service trusts no key but the one that was accepted (line 4).
#[test]
fn a_bastion_with_another_host_key_is_not_trusted() {
    let Some(mut stage) = Stage::set() else { return };
    stage.set_up("root", "");
    stage.bastion.change_host_key();
    let failed = stage.await_state("root", "failed");
    assert!(failed["last_error"].as_str().unwrap().contains("host key"), "{failed}");
    assert!(!stage.is_reachable());
    // Neither does whoever sets it up again, whatever fingerprint is given for it.
    let again = stage.machine.run(&format!("{} --json", stage.command()));
    assert_eq!(again.code(), 6, "{again:?}");
}

/// A port that somebody else has is refused at once, and a unit that waits for it is not “active”.
#[test]
fn a_busy_port_is_never_a_running_service() {
    let Some(stage) = Stage::set() else { return };
    let before = stage.files();
    let other = stage.bastion.hold_port(PORT);
    let refused = stage.machine.run(&format!("{} --json", stage.command()));
    assert_eq!((refused.code(), error_code(&refused).as_str()), (7, "port-busy"), "{refused:?}");
    stage.assert_files_as(&before);
    drop(other);

    stage.set_up("root", "");
    stage.machine.ask("systemctl stop adit-tunnel-2222");
    assert_eq!(stage.status("root").1["state"], "stopped");
    let other = stage.bastion.hold_port(PORT);
    stage.machine.ask("systemctl start --no-block adit-tunnel-2222");
    let waiting = stage.await_state("root", "reconnecting");
    assert!(is_refused(&waiting), "{waiting}");
    assert_eq!(stage.machine.run("systemctl is-active adit-tunnel-2222").stdout, "activating\n");
    drop(other);
    stage.await_reachable("when the port was free");
    eventually(SOON, "it is active", || stage.machine.run("systemctl is-active adit-tunnel-2222").code() == 0);
}

/// Line 1: what is published is what was asked for, where it was asked for.
#[test]
fn another_service_can_be_published_to_everybody() {
    let Some(bastion) = Bastion::start_with("GatewayPorts clientspecified\nPermitListen *:8080") else { return };
    let Some(stage) = Stage::behind(bastion) else { return };
    let fingerprint = stage.bastion.fingerprint();
    let line = format!(
        "adit setup -p 8080 -b root@bastion -s ~/.ssh/id_ed25519 --accept-host-key {fingerprint} --target 127.0.0.1:22 --bind '*' --json"
    );
    let told = json(&stage.machine.ask(&line));
    assert_eq!(told["tunnel"]["target"], "127.0.0.1:22");
    assert_eq!(told["reach"], "ssh -p 8080 root@bastion");
    // The workstation itself comes from outside, as everybody does.
    let greeting = stage.machine.ask("timeout 5 bash -c 'read -r line </dev/tcp/bastion/8080; echo $line'");
    assert!(greeting.starts_with("SSH-2.0-"), "{greeting}");
    // It may not listen elsewhere.
    let refused = stage.machine.run(&format!("{} --json", stage.command()));
    assert_eq!(refused.code(), 7, "{refused:?}");
    let status = stage.machine.run("adit status --json");
    assert_eq!(json(&status.stdout)["tunnels"].as_array().unwrap().len(), 1);
}

/// A tunnel of the same port is replaced, and never left half.
#[test]
fn setting_it_up_again_replaces_it() {
    let Some(stage) = Stage::set() else { return };
    stage.set_up("root", "");
    let pid = "systemctl show -p MainPID --value adit-tunnel-2222";
    let first = stage.machine.ask(pid);
    let told = stage.set_up("root", "--target 127.0.0.1:22");
    assert_eq!(told["tunnel"]["target"], "127.0.0.1:22");
    assert_ne!(stage.machine.ask(pid), first);
    stage.await_reachable("after it was replaced");
    // In another place it would fight with itself for the port.
    let elsewhere = stage.machine.run(&format!("{} --user --json", stage.command()));
    assert_eq!(error_code(&elsewhere), "tunnel-elsewhere", "{elsewhere:?}");
}
