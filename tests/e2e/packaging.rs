//! What is given to people: the Debian package on a machine that boots, its units, manual pages and completions, and the recipes for others.
//!
//! The package is made of the program that these tests test, by the same rule of the `Makefile` that makes the real one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use adit_e2e::{Bastion, Machine, adit, adit_as, eventually, finish, http_get, python, require};

use crate::SOON;

/// Stripping and packing some hundred megabytes, perhaps after another test that does the same.
const PACKING: Duration = Duration::from_secs(120);

/// The addresses that a jump host has when nothing is set.
const DASHBOARD: &str = "127.0.0.1:8022";

/// Makes what a rule of the `Makefile` makes, once for all tests, and returns where it is.
pub(crate) fn made(rule: &str) -> PathBuf {
    let root = root();
    let program = adit_as("--version").get_program().to_owned();
    let mut command = Command::new("flock");
    command.current_dir(&root).args(["target/.packaging.lock", "make", "--no-print-directory", rule, "PROFILE=dev"]);
    // What only a test unpacks need not be small.
    command.env("XZ_OPT", "-0");
    let finished = finish(command.arg(format!("BINARY={}", Path::new(&program).display())), PACKING);
    assert_eq!(finished.code(), 0, "{finished:?}");
    root.join(rule)
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The Debian package of the program that is tested.
pub(crate) fn package() -> PathBuf {
    let architecture = finish(Command::new("dpkg").arg("--print-architecture"), SOON).stdout;
    made(&format!("target/dist-dev/adit_{}-1_{}.deb", env!("CARGO_PKG_VERSION"), architecture.trim()))
}

/// A machine with the package.
fn installed() -> Option<Machine> {
    let bastion = Bastion::start()?;
    let machine = Machine::boot(&bastion, "server")?;
    machine.install_deb(&package());
    Some(machine)
}

fn dashboard(machine: &Machine, path: &str) -> Option<u16> {
    let address: SocketAddr = DASHBOARD.parse().unwrap();
    machine.netns().inside(|| http_get(address, DASHBOARD, path, SOON)).map(|answer| answer.status)
}

/// Every file that somebody would notice, without those that change by themselves and those in which others keep notes.
const FILES: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log \
                     -o -path /var/lib/systemd -o -path /var/cache -o -path '/var/lib/dpkg/*' -o -path /root -o -path /home \\) -prune \
                     -o ! -path '/etc/*-' -print | sort";

#[test]
fn a_jump_host_is_installed_started_administered_and_purged() {
    let Some(bastion) = Bastion::start() else { return };
    let Some(mut machine) = Machine::boot(&bastion, "server") else { return };
    let before = machine.ask(FILES);
    machine.install_deb(&package());
    assert_eq!(machine.run("systemctl is-active adit-jumphost").stdout, "inactive\n", "nothing is started by itself");
    assert_eq!(machine.run("systemctl is-enabled adit-jumphost").stdout, "disabled\n");

    machine.ask("systemctl enable --now adit-jumphost");
    eventually(SOON, "the dashboard answers", || dashboard(&machine, "/health") == Some(200));
    assert_eq!(dashboard(&machine, "/"), Some(200), "the page");
    assert_eq!(machine.ask("ps -o user= -C adit"), "adit");
    assert_eq!(machine.ask("stat -c '%U %G %a' /var/lib/adit/jumphost"), "adit adit 700");
    let log = machine.ask("journalctl --unit adit-jumphost --output cat");
    assert!(!log.contains("works once"), "the link for the first administrator is in the journal: {log}");

    // Root's commands find the service by themselves, while it runs and while it does not.
    machine.ask("adit jumphost account add alice");
    machine.ask("ssh-keygen -q -t ed25519 -N '' -f /root/key && adit jumphost key add alice --label key /root/key.pub");
    machine.ask("systemctl stop adit-jumphost && adit jumphost account add bob && systemctl start adit-jumphost");
    assert_eq!(machine.ask("find /var/lib/adit/jumphost ! -user adit"), "", "what root wrote is the service's");
    let accounts = machine.ask("adit jumphost account list --json");
    assert!(["alice", "bob"].iter().all(|name| accounts.contains(name)), "{accounts}");
    machine.reboot();
    eventually(SOON, "the dashboard answers after a reboot", || dashboard(&machine, "/health") == Some(200));

    let tunnel = "ssh -i /root/key -p 2222 -o StrictHostKeyChecking=no -N -R 10080:localhost:22 tunnel@127.0.0.1";
    machine.ask(&format!("systemd-run --quiet --unit=member {tunnel}"));
    eventually(SOON, "what a member shares is reached", || {
        machine.run("timeout 2 bash -c 'head -c 4 </dev/tcp/127.0.0.1/10080'").stdout == "SSH-"
    });
    machine.ask("systemctl stop member");

    // A second package takes the place of the first, and of what runs.
    let process = machine.ask("systemctl show --value --property MainPID adit-jumphost");
    machine.install_deb(&package());
    eventually(SOON, "the new program runs", || {
        machine.ask("systemctl show --value --property MainPID adit-jumphost") != process
            && dashboard(&machine, "/health") == Some(200)
    });

    machine.ask("dpkg --remove adit");
    assert_eq!(machine.run("pgrep adit").stdout, "", "the service ends with its program");
    machine.ask("test -e /etc/adit/config.yaml && test -e /var/lib/adit/jumphost/store.sqlite");
    machine.ask("dpkg --purge adit");
    assert_eq!(machine.run("getent passwd adit; getent group adit").stdout, "");
    let after = machine.ask(FILES);
    let left: Vec<&str> = after.lines().filter(|file| !before.lines().any(|there| there == *file)).collect();
    assert_eq!(left, Vec::<&str>::new(), "purged means gone");
}

/// As the settings say it is done.
#[test]
fn a_packaged_jump_host_joins_a_mesh() {
    let Some(machine) = installed() else { return };
    machine.ask("systemctl start adit-jumphost");
    machine.ask("adit mesh init --root /root/root --data /root/agent");
    let token = machine.ask("adit mesh invite jump --transit --root /root/root --data /root/agent");
    machine.ask(&format!("runuser -u adit -- adit mesh join --data /var/lib/adit/mesh {token}"));
    let written = machine.ask("cat /etc/adit/config.yaml");
    let example = "\n#mesh: {listen: \"0.0.0.0:4433\", peers: [hq.example.org:4433]}";
    assert!(written.contains(example), "{written}");
    let wanted = written.replace(example, "\nmesh: {listen: \"127.0.0.1:4433\"}");
    machine.write("/etc/adit/config.yaml", wanted.as_bytes());
    machine.ask("systemctl restart adit-jumphost");
    eventually(SOON, "the dashboard answers", || dashboard(&machine, "/health") == Some(200));
    eventually(SOON, "the mesh's port is open", || {
        machine.run("timeout 2 bash -c '</dev/tcp/127.0.0.1/4433'").code() == 0
    });
    assert!(machine.ask("adit mesh status --data /var/lib/adit/mesh").contains("jump"));
    assert_eq!(machine.ask("stat -c '%U %a' /var/lib/adit/mesh /var/lib/adit/mesh/state.json"), "adit 700\nadit 600");
}

#[test]
fn the_units_are_sound_and_let_out_little() {
    let Some(machine) = installed() else { return };
    // The machine has no `man` to look for the pages with.
    let told = machine.run("systemd-analyze --man=no verify adit-jumphost.service");
    assert_eq!((told.code(), told.stderr.as_str()), (0, ""));
    let told =
        machine.run_as("alice", "systemd-analyze --user --man=no verify /usr/lib/systemd/user/adit-agent.service");
    assert_eq!((told.code(), told.stderr.as_str()), (0, ""));
    // The threshold is ten times the exposure that is told.
    let told = machine.run("systemd-analyze security --no-pager --threshold=20 adit-jumphost.service");
    assert_eq!(told.code(), 0, "{}", told.stdout);
}

#[test]
fn a_setting_that_is_wrong_is_told_once_and_not_tried_again() {
    let Some(machine) = installed() else { return };
    machine.write("/etc/adit/config.yaml", b"jumphost:\n  prots: 1-2\n");
    machine.run("systemctl start adit-jumphost");
    eventually(SOON, "systemd has given up", || machine.run("systemctl is-failed adit-jumphost").stdout == "failed\n");
    let told = machine.ask("systemctl show --property ExecMainStatus,NRestarts adit-jumphost");
    assert_eq!(told, "NRestarts=0\nExecMainStatus=78");
    assert!(machine.ask("journalctl --unit adit-jumphost --output cat").contains("prots"));
}

#[test]
fn an_agent_is_a_service_of_its_user() {
    let Some(machine) = installed() else { return };
    let _session = machine.log_in("alice");
    machine.ask_as("alice", "systemctl --user enable --now adit-agent");
    eventually(SOON, "the agent answers", || machine.run_as("alice", "adit tunnel list").code() == 0);
    assert_eq!(machine.ask("ps -o user= -C adit"), "alice");
    machine.ask_as("alice", "systemctl --user disable --now adit-agent");
    assert_eq!(machine.run("pgrep adit").stdout, "");
}

/// The tunnels of `adit setup` are the administrator's: the package tells of them and leaves them.
#[test]
fn tunnels_that_stay_behind_are_told() {
    let Some(machine) = installed() else { return };
    let unit = "/etc/systemd/system/adit-tunnel-2222.service";
    machine.write(unit, b"[Service]\nExecStart=/usr/bin/adit keep\n");
    let told = machine.run("dpkg --purge adit").stderr;
    assert!(told.contains(unit) && told.contains("adit remove -p 2222"), "{told}");
    machine.ask(&format!("test -e {unit}"));
}

/// A program that prints nothing but faults.
fn finds_no_fault(command: &mut Command) {
    let finished = finish(command, SOON);
    assert_eq!((finished.code(), finished.stdout.as_str(), finished.stderr.as_str()), (0, "", ""), "{command:?}");
}

#[test]
fn pages_and_completions_are_read_without_fault() {
    let Some(mandoc) = require("mandoc") else { return };
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    finds_no_fault(adit_as("man").arg(&pages));
    let all: Vec<PathBuf> = std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(all.contains(&pages.join("adit-jumphost-key-add.1")), "{all:?}");
    finds_no_fault(Command::new(mandoc).args(["-T", "lint", "-W", "error"]).args(&all));

    let script = folder.path().join("adit.bash");
    std::fs::write(&script, finish(adit_as("completions").arg("bash"), SOON).stdout).unwrap();
    let complete =
        "source \"$0\"; COMP_WORDS=(adit jumphost ke); COMP_CWORD=2; _adit adit ke jumphost; echo \"${COMPREPLY[@]}\"";
    let told = finish(Command::new("bash").args(["-c", complete]).arg(&script), SOON);
    assert_eq!(told.stdout, "key\n", "{told:?}");
}

/// One text with the help of every command.
#[test]
fn the_help_of_all_commands_is_one_text() {
    let told = finish(&mut adit_as("--help-recursive"), SOON);
    assert_eq!((told.code(), told.stderr.as_str()), (0, ""));
    for part in ["=== adit ===", "=== adit jumphost key add ===", "Usage: adit tunnel list", "--max-retries <COUNT>"] {
        assert!(told.stdout.contains(part), "{part} is missing");
    }
    assert!(!told.stdout.contains("=== adit man ==="), "what is hidden is not told");
}

/// Somebody takes away the number signs; what is shown must be what is understood.
#[test]
fn the_settings_that_are_shown_can_be_set() {
    let text = std::fs::read_to_string(root().join("packaging/config.yaml")).unwrap();
    let set: String = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix('#').filter(|rest| rest.starts_with("jumphost:") || rest.starts_with("  "))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(set.lines().count() > 10, "{set}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, &set).unwrap();
    let mut command = adit(None);
    command.arg("--data").arg(folder.path().join("data")).arg("--config").arg(&file);
    let mut host = adit_e2e::Running::spawn(command.args(["--ssh", "127.0.0.1:0", "--web", "127.0.0.1:0"]));
    host.await_stdout(SOON, "https://jump.example.org");
    assert!(host.is_running());
}

/// For machines without a package of ours: a folder from which the program runs, with what belongs to it.
#[test]
fn an_archive_has_the_program_and_what_belongs_to_it() {
    let name = format!("adit-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let archive = made(&format!("target/dist-dev/{name}.tar.xz"));
    let folder = tempfile::tempdir().unwrap();
    finds_no_fault(
        Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(folder.path()),
    );
    let unpacked = folder.path().join(name);
    let told = finish(Command::new(unpacked.join("adit")).arg("--version"), SOON).stdout;
    assert_eq!(told, concat!("adit ", env!("CARGO_PKG_VERSION"), "\n"));
    for part in
        ["man/adit-setup.1.gz", "completions/bash", "adit-jumphost.service", "adit-agent.service", "LICENSE-MIT"]
    {
        assert!(unpacked.join(part).is_file(), "{part} is missing");
    }
    let licences = finish(Command::new("zcat").arg(unpacked.join("THIRD-PARTY-LICENSES.gz")), SOON).stdout;
    for library in ["tokio 1.", "aws-lc-sys 0.", "svelte 5."] {
        assert!(licences.contains(&format!("  {library}")), "{library} is missing");
    }
}

#[test]
fn the_containers_recipe_agrees_with_the_rest() {
    let program = adit_as("--version").get_program().to_owned();
    let told = finish(Command::new(python()).arg(root().join("packaging/check-dockerfile")).arg(program), SOON);
    assert_eq!((told.code(), told.stdout.as_str()), (0, ""), "{}", told.stderr);
}

#[test]
fn the_formula_is_ruby() {
    let Some(ruby) = require("ruby") else { return };
    let told = finish(Command::new(ruby).arg("-c").arg(root().join("packaging/homebrew/adit.rb")), SOON);
    assert_eq!(told.stdout, "Syntax OK\n", "{told:?}");
}

/// The Debian package says which version it is in a text of its own.
#[test]
fn the_packages_history_begins_with_this_version() {
    let text = std::fs::read_to_string(root().join("packaging/debian/changelog")).unwrap();
    assert!(text.starts_with(&format!("adit ({}-1) ", env!("CARGO_PKG_VERSION"))), "{text}");
}
