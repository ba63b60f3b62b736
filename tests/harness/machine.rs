//! A machine that boots: a Debian with its own systemd, in a folder tree that `scripts/prepare` makes, joined to a bastion by a cable.
//!
//! Each test boots a tree of its own, laid over the shared one: what it writes is there after a reboot and gone with the test. Commands
//! run in real login sessions, over the machine's own `sshd` and its loopback, so that they work while the cable is cut. What is beyond
//! the cable is the bastion's ([`Bastion`]).

mod bastion;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

pub use self::bastion::Bastion;
use crate::jump_host::adit_binary;
use crate::member::{KeyType, generate_key};
use crate::netns::{Cable, Netns};
use crate::process::{Finished, Running, finish};
use crate::tools::{is_excused, require};
use crate::wait::{eventually, settles, within};

/// It takes a second, unless services take the time that they are granted to stop.
const BOOT: Duration = Duration::from_secs(60);

/// The longest that a command of a story may take: beyond any time-out of adit's.
const COMMAND: Duration = Duration::from_secs(90);

/// What `systemd-nspawn` exits with when the machine wants to be started again and nspawn is not to do it itself (`--keep-unit`).
const WANTS_TO_REBOOT: i32 = 133;

/// Lays a folder over the shared tree and boots it. All mounts are in a namespace of the process and end with it. The cgroup is its own,
/// because with `--keep-unit` two machines of one cgroup would share one for their contents, and each systemd would take the other's
/// processes for its own.
const BOOT_SCRIPT: &str = r#"
set -e
tree=$1 own=$2 cgroup=$3
shift 3
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$cgroup"
    echo $$ >"$hierarchy/$cgroup/cgroup.procs"
done
mkdir -p /run/systemd/nspawn
mount -t tmpfs nspawn /run/systemd/nspawn
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$own/written,workdir=$own/work" "$own/root"
exec systemd-nspawn --directory="$own/root" "$@"
"#;

/// A running machine, with users `root` and `alice`. To it, the bastion is `bastion`.
pub struct Machine {
    tree: PathBuf,
    folder: TempDir,
    name: String,
    /// What this machine's cgroup is called, which no other on this machine is.
    cgroup: String,
    /// Which of the bastion's cables is its own.
    place: u8,
    console: Option<Running>,
    cable: Cable,
    netns: Netns,
}

impl Machine {
    /// Boots one that is called `name` behind a cable to `bastion`; `None` where `ADIT_E2E_SKIP` excuses `machine`. Needs root.
    pub fn boot(bastion: &Bastion, name: &str) -> Option<Machine> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tree = find_tree()?;
        require("systemd-nspawn")?;
        let netns = Netns::make()?;
        let place = bastion.next_place();
        let cable = bastion.join(place, &netns);
        let folder = tempfile::Builder::new().prefix("adit-e2e-").tempdir().unwrap();
        for part in ["written", "work", "root"] {
            fs::create_dir(folder.path().join(part)).unwrap();
        }
        let cgroup = format!("adit-e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let name = name.to_owned();
        let mut machine = Machine { tree, folder, name, cgroup, place, console: None, cable, netns };
        machine.install();
        machine.start();
        Some(machine)
    }

    /// Writes what makes this machine differ from the shared tree, before it first boots.
    fn install(&self) {
        generate_key(self.folder.path(), "console", KeyType::Ed25519);
        let public_key = fs::read_to_string(self.folder.path().join("console.pub")).unwrap();
        let bastion = bastion::address(self.place);
        let hosts = format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {}\n{bastion} bastion\n", self.name);
        let files = [
            ("hostname", self.name.as_str()),
            ("hosts", &hosts),
            ("ssh/console_key", &public_key),
            // Not in anybody's home, which is the story's own.
            ("ssh/sshd_config.d/console.conf", "AuthorizedKeysFile /etc/ssh/console_key .ssh/authorized_keys\n"),
        ];
        for (path, text) in files {
            let file = self.folder.path().join("written/etc").join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
    }

    /// Starts it, and waits until people can log in.
    fn start(&mut self) {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", BOOT_SCRIPT, "boot"]);
        command.arg(&self.tree).arg(self.folder.path()).arg(&self.cgroup);
        command.args(["--boot", "--quiet", "--console=read-only", "--register=no", "--keep-unit"]);
        command.args(["--link-journal=no", "--resolv-conf=off"]);
        command.arg(format!("--machine={}", self.cgroup)).arg(format!("--hostname={}", self.name));
        command.arg(format!("--network-namespace-path=/run/netns/{}", self.netns.name()));
        let console = self.console.insert(Running::spawn(&mut command));
        let netns = &self.netns;
        within(BOOT, "the machine's sshd answers", || {
            assert!(console.is_running(), "the machine ended at once:\n{}{}", console.stdout(), console.stderr());
            netns.inside(|| std::net::TcpStream::connect(("127.0.0.1", 22))).ok()
        });
        // For root it is open before.
        eventually(BOOT, "the machine is open", || self.run("systemctl is-active systemd-user-sessions").code() == 0);
    }

    /// Asks systemd for a reboot, as `reboot` does, and waits until people can log in again.
    pub fn reboot(&mut self) {
        // Its answer may be lost with the session.
        finish(&mut self.shell("root", "systemctl reboot"), COMMAND);
        let mut console = self.console.take().expect("it is running");
        assert_eq!(console.wait_exit(BOOT).code(), WANTS_TO_REBOOT);
        self.start();
    }

    /// Ends it between two instructions: no service is stopped, and whoever was connected hears nothing.
    pub fn lose_power(&mut self) {
        self.cut();
        self.end();
        eventually(BOOT, "nothing runs on the machine", || self.netns.pids().is_empty());
    }

    /// Boots it again after [`Machine::lose_power`], and waits until people can log in.
    pub fn power_on(&mut self, bastion: &Bastion) {
        // In the old namespace the kernel goes on closing the connections of programs that have died; that must not be heard.
        self.cable.take_away();
        self.netns = Netns::make().expect("there was one");
        self.cable = bastion.join(self.place, &self.netns);
        self.start();
    }

    fn end(&mut self) {
        let Some(mut console) = self.console.take() else { return };
        // The kernel ends a machine with its first process. That is nspawn's only child, and outlives nspawn.
        let _ = Command::new("pkill").args(["-KILL", "-P", &console.pid().to_string()]).output();
        console.kill();
    }

    /// Drops all packets between it and the bastion, and tells neither.
    pub fn cut(&self) {
        self.netns.fall_silent();
    }

    /// Ends what [`Machine::cut`] began.
    pub fn heal(&self) {
        self.netns.speak_again();
    }

    /// The cable to the bastion, to be pulled so that the machine sees its link go down.
    pub fn cable(&self) -> &Cable {
        &self.cable
    }

    /// Its network: what a program on the machine sees, this machine's programs see in there.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Runs a line of shell as root, to its end.
    pub fn run(&self, line: &str) -> Finished {
        self.run_as("root", line)
    }

    /// Runs a line of shell in a login session of `user`'s own, to its end.
    pub fn run_as(&self, user: &str, line: &str) -> Finished {
        let finished = finish(&mut self.shell(user, line), COMMAND);
        // What ssh says of itself; no command of a story ends so.
        assert_ne!(finished.code(), 255, "{user} cannot log in: {finished:?}");
        finished
    }

    /// Runs a line of shell as root that must succeed, and returns what it wrote, without the last line's end.
    pub fn ask(&self, line: &str) -> String {
        self.ask_as("root", line)
    }

    /// The same in a login session of `user`'s own.
    pub fn ask_as(&self, user: &str, line: &str) -> String {
        let finished = self.run_as(user, line);
        assert_eq!(finished.code(), 0, "{line}: {finished:?}");
        finished.stdout.trim_end_matches('\n').to_owned()
    }

    /// A login session that lasts until the value is dropped.
    pub fn log_in(&self, user: &str) -> Running {
        let session = Running::spawn(&mut self.shell(user, "echo welcome; cat"));
        session.await_stdout(COMMAND, "welcome");
        session
    }

    /// Installs the program under test as `/usr/bin/adit`.
    pub fn install_adit(&self) {
        self.copy_in(&adit_binary(), "/usr/bin/adit");
    }

    /// Copies a file of this machine to `path`, with the folders that it takes: root's, and for all to read and execute.
    pub fn copy_in(&self, file: &Path, path: &str) {
        self.install_file(path, "755", &fs::read(file).unwrap());
    }

    /// Writes a file of root's, for all to read, with the folders that it takes.
    pub fn write(&self, path: &str, content: &[u8]) {
        self.install_file(path, "644", content);
    }

    fn install_file(&self, path: &str, mode: &str, content: &[u8]) {
        let line = format!("install -D -m {mode} /dev/stdin {}", quoted(path));
        self.feed(&mut self.shell("root", &line), content);
    }

    /// Writes a file as `user`, for nobody else to read, with the folders that it takes.
    pub fn write_as(&self, user: &str, path: &str, content: &[u8]) {
        let path = quoted(path);
        let line = format!("umask 077 && mkdir -p \"$(dirname {path})\" && cat >{path}");
        self.feed(&mut self.shell(user, &line), content);
    }

    fn feed(&self, command: &mut Command, content: &[u8]) {
        let mut running = Running::spawn(command);
        running.type_in(content);
        running.close_stdin();
        let finished = running.wait_exit(COMMAND);
        assert_eq!(finished.code(), 0, "copying to {}: {finished:?}", self.name);
    }

    /// Installs a package with `dpkg`, which must succeed.
    pub fn install_deb(&self, package: &Path) {
        self.copy_in(package, "/var/tmp/package.deb");
        self.ask("dpkg --install /var/tmp/package.deb");
    }

    /// The command that runs `line` in a new login session.
    fn shell(&self, user: &str, line: &str) -> Command {
        let mut command = self.netns.command("ssh");
        command.args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        command.arg("-i").arg(self.folder.path().join("console")).arg("-l").arg(user).args(["127.0.0.1", line]);
        command.env_remove("SSH_AUTH_SOCK");
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.folder.path().join("written/var/log/journal");
            let mut command = Command::new("journalctl");
            command.args(["--no-pager", "--lines=200", "--directory"]).arg(journal);
            eprintln!("--- journal of {}", self.name);
            // Beside the test's own words; a journal that cannot be read must not hide them.
            let _ = command.stdout(std::io::stderr()).status();
        }
        self.end();
        // A cgroup can be removed once all that died in it is forgotten.
        settles(BOOT, || {
            let mut hierarchies = ["", "unified", "systemd"].iter();
            hierarchies.all(|hierarchy| remove_cgroup(&Path::new("/sys/fs/cgroup").join(hierarchy).join(&self.cgroup)))
        });
    }
}

/// A word that the shell takes as it is.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Where `scripts/prepare` has made the tree; `None` where `ADIT_E2E_SKIP` excuses `machine`.
fn find_tree() -> Option<PathBuf> {
    if is_excused("machine") {
        return None;
    }
    let tree = env::var_os("ADIT_MACHINE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/machine"), PathBuf::from);
    let made = tree.join("usr/lib/systemd/systemd").is_file();
    assert!(made, "{} is missing: run scripts/prepare, or set ADIT_E2E_SKIP=machine", tree.display());
    // `lowerdir` is relative to nobody's folder.
    Some(tree.canonicalize().unwrap())
}

/// Removes a cgroup with those below it, and says whether it is gone. A folder of the kernel's is removed by itself alone, whatever
/// files it shows.
fn remove_cgroup(folder: &Path) -> bool {
    for below in fs::read_dir(folder).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&below.path());
        }
    }
    fs::remove_dir(folder).is_ok() || !folder.exists()
}
