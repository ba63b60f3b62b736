//! Network namespaces: machines of their own on this machine, joined by cables, and able to fall silent.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::finish;
use crate::tools::require;

/// Setting up a namespace or a cable takes milliseconds; a busy machine gets seconds.
const SETUP: Duration = Duration::from_secs(10);
const PREFIX: &str = "adit-e2e";

/// A cable between two namespaces.
pub struct Cable {
    netns: String,
    end: String,
}

impl Cable {
    /// Pulls it out of the namespace that was joined to the other: both see their link go down.
    pub fn pull(&self) {
        ip(&["-n", &self.netns, "link", "set", &self.end, "down"]);
    }

    /// Puts it back after [`Cable::pull`].
    pub fn put_back(&self) {
        ip(&["-n", &self.netns, "link", "set", &self.end, "up"]);
    }

    /// Takes it away for good, with the addresses at both its ends.
    pub fn take_away(&self) {
        ip(&["-n", &self.netns, "link", "delete", &self.end]);
    }
}

/// A network namespace with its loopback up, and files of its own in place of some of `/etc`.
///
/// Its name carries the process id of its maker, so that leftovers of a killed run are recognised and swept.
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes a namespace; `None` where `ADIT_E2E_SKIP` excuses `ip`. Needs root.
    pub fn make() -> Option<Netns> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        require("ip")?;
        sweep();
        let name = format!("{PREFIX}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        ip(&["netns", "add", &name]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Some(Netns { name })
    }

    /// A command that will run inside, seeing this namespace's `/etc` files.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Puts `text` in place of `/etc/PATH` for everything run by [`Netns::command`]; the machine's own stays as it is.
    pub fn write_etc(&self, path: &str, text: &str) {
        let file = etc_folder(&self.name).join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Runs `work` on a thread inside: sockets it opens belong to this namespace for good.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let outcome = thread::scope(|scope| {
            let visitor = scope.spawn(|| {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            visitor.join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Joins this namespace and `far` by a cable, giving each end its address (`"10.9.1.1"`, in a /24).
    pub fn join(&self, address: &str, far: &Netns, far_address: &str) -> Cable {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        // Fifteen bytes are all an interface may be called; both ends are born inside, so only our own can collide.
        let (near_end, far_end) = (format!("near{number}"), format!("far{number}"));
        let cable = ["type", "veth", "peer", "name", &far_end, "netns", &far.name];
        ip(&[&["-n", &self.name, "link", "add", &near_end][..], &cable].concat());
        for (netns, end, address) in [(self, &near_end, address), (far, &far_end, far_address)] {
            ip(&["-n", &netns.name, "address", "add", &format!("{address}/24"), "dev", end]);
            ip(&["-n", &netns.name, "link", "set", end, "up"]);
        }
        Cable { netns: self.name.clone(), end: near_end }
    }

    /// What `ip netns` calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Drops every packet that comes or goes from now on, loopback aside, and tells nobody: a network that is gone
    /// without a FIN.
    pub fn fall_silent(&self) {
        let rules = "add table inet silence; \
            add chain inet silence in { type filter hook input priority 0; policy drop; }; \
            add chain inet silence out { type filter hook output priority 0; policy drop; }; \
            add rule inet silence in iif lo accept; add rule inet silence out oif lo accept";
        self.nft(rules);
    }

    /// Lets packets through again after [`Netns::fall_silent`].
    pub fn speak_again(&self) {
        self.nft("delete table inet silence");
    }

    /// Loses so many of a hundred UDP datagrams that come in from now on, by chance and in place of what it lost
    /// before; loopback is no exception. All hundred are a network that lets no UDP through.
    pub fn lose_udp(&self, percent: u8) {
        // Below a hundred is what nft has for a number drawn of a hundred.
        let drawn = if percent < 100 { format!("numgen random mod 100 < {percent}") } else { String::new() };
        let rules = format!(
            "add table inet loss; delete table inet loss; add table inet loss; \
            add chain inet loss in {{ type filter hook input priority 0; }}; \
            add rule inet loss in meta l4proto udp {drawn} drop"
        );
        self.nft(&rules);
    }

    /// Whoever runs inside, as process ids of this machine.
    pub(crate) fn pids(&self) -> Vec<String> {
        pids(&self.name)
    }

    fn nft(&self, rules: &str) {
        let outcome = finish(self.command("nft").arg(rules), SETUP);
        assert!(outcome.status.success(), "nft: {outcome:?}");
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes what runs of the past left behind when they were killed.
fn sweep() {
    let made = fs::read_dir("/run/netns").into_iter().flatten();
    let configured = fs::read_dir("/etc/netns").into_iter().flatten();
    let names: BTreeSet<String> =
        made.chain(configured).flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    for name in names {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1)?.parse::<u32>().ok());
        if maker.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}

fn remove(name: &str) {
    // What still runs inside was started by our test, `ssh -f` for one; it would keep the namespace alive.
    for pid in pids(name) {
        let _ = Command::new("kill").args(["-KILL", &pid]).output();
    }
    let _ = Command::new("ip").args(["netns", "del", name]).output();
    let _ = fs::remove_dir_all(etc_folder(name));
}

fn pids(name: &str) -> Vec<String> {
    let Ok(inside) = Command::new("ip").args(["netns", "pids", name]).output() else { return Vec::new() };
    String::from_utf8_lossy(&inside.stdout).lines().map(str::to_owned).collect()
}

fn etc_folder(name: &str) -> PathBuf {
    PathBuf::from("/etc/netns").join(name)
}

fn ip(arguments: &[&str]) {
    let outcome = finish(Command::new("ip").args(arguments), SETUP);
    assert!(outcome.status.success(), "ip {arguments:?} (the tests with namespaces need root): {outcome:?}");
}
