//! The jump host under test: the real binary on a data folder and a loopback address of its own.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::member::{KeyType, Member, generate_key};
use crate::netns::Netns;
use crate::process::{self, Finished, Running, finish};
use crate::wait::{eventually, within};

/// From the start of the program to `addresses.json`; generous, because a debug build starts beside other tests.
const START: Duration = Duration::from_secs(15);
/// How long an administrator's command may take.
const COMMAND: Duration = Duration::from_secs(15);
/// Promise 16: a stopped server drains and is gone.
const STOP: Duration = Duration::from_secs(15);

/// A running jump host. Dropping it stops it and removes its folder.
pub struct JumpHost {
    // Before the folder, so that the program ends first; `None` while it is stopped.
    server: Option<Running>,
    builder: JumpHostBuilder,
    addresses: Addresses,
    folder: TempDir,
}

/// What the jump host wrote to `addresses.json`.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Where SSH clients log in.
    pub ssh: SocketAddr,
    /// Where `/health` and `/metrics` answer.
    pub web: SocketAddr,
    /// Where forwarded ports are bound.
    pub forward_address: IpAddr,
}

/// How a jump host is to be started.
#[derive(Clone, Debug)]
pub struct JumpHostBuilder {
    ssh: SocketAddr,
    web: SocketAddr,
    forward: IpAddr,
    flags: Vec<String>,
    settings: Vec<String>,
    limits: Vec<String>,
    netns: Option<String>,
}

impl JumpHost {
    /// Starts one with all defaults.
    pub fn start() -> JumpHost {
        JumpHost::builder().start()
    }

    /// Prepares one on free ports of a loopback address that no other running test has.
    ///
    /// Addresses of their own let all tests bind the ports of the documents at the same time.
    pub fn builder() -> JumpHostBuilder {
        let address = IpAddr::V4(own_loopback_address());
        JumpHostBuilder {
            ssh: SocketAddr::new(address, 0),
            web: SocketAddr::new(address, 0),
            forward: address,
            flags: Vec::new(),
            settings: Vec::new(),
            limits: Vec::new(),
            netns: None,
        }
    }

    /// Where SSH clients log in.
    pub fn ssh(&self) -> SocketAddr {
        self.addresses.ssh
    }

    /// Where the web address answers.
    pub fn web(&self) -> SocketAddr {
        self.addresses.web
    }

    /// Where a visitor finds a forwarded port.
    pub fn forwarded(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses.forward_address, port)
    }

    /// A folder of this test for keys, sockets and known hosts.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The program.
    pub fn server(&mut self) -> &mut Running {
        self.server.as_mut().expect("the jump host runs")
    }

    /// What the program has logged so far.
    pub fn log(&self) -> String {
        let server = self.server.as_ref().expect("the jump host runs");
        format!("{}{}", server.stdout(), server.stderr())
    }

    /// Runs `adit jumphost --data DATA words…` to its end.
    pub fn adit<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, words: I) -> Finished {
        finish(adit(None).arg("--data").arg(self.data()).args(words), COMMAND)
    }

    /// Runs an administrator's command that must succeed.
    pub fn admin<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(&self, words: I) -> String {
        let finished = self.adit(words);
        assert!(finished.status.success(), "an administrator's command failed: {finished:?}");
        finished.stdout
    }

    /// Runs an administrator's command with `--json` and returns what it printed.
    pub fn json(&self, words: &[&str]) -> Value {
        let text = self.admin(words.iter().chain(&["--json"]));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?} --json printed {text:?}: {error}"))
    }

    /// The live sessions.
    pub fn sessions(&self) -> Vec<Value> {
        rows(self.json(&["sessions"]))
    }

    /// The ports in use and the registered ones.
    pub fn ports(&self) -> Vec<Value> {
        rows(self.json(&["ports"]))
    }

    /// Adds an account with one ed25519 key.
    pub fn member(&self, name: &str) -> Member {
        self.admin(["account", "add", name]);
        self.further_key(name, "laptop", KeyType::Ed25519)
    }

    /// Makes another key and saves it for an account that exists.
    pub fn further_key(&self, name: &str, label: &str, key_type: KeyType) -> Member {
        let key = generate_key(self.folder.path(), &format!("{name}-{label}"), key_type);
        let member = Member { name: name.to_owned(), key };
        self.save_key(&member, label);
        member
    }

    /// Saves the public key of `member`, who may never have had one.
    pub fn save_key(&self, member: &Member, label: &str) {
        let file = member.public_key();
        self.admin(["key", "add", &member.name, "--label", label, file.to_str().unwrap()]);
    }

    /// Removes the key of `member`.
    pub fn remove_key(&self, member: &Member) {
        self.admin(["key", "remove", &member.name, &member.fingerprint()]);
    }

    /// Whether the program listens on this forwarded port. Looks at the kernel's table, so nobody is visited.
    pub fn listens_on(&self, port: u16) -> bool {
        let pid = self.server.as_ref().map_or(0, Running::pid);
        let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
        let IpAddr::V4(address) = self.addresses.forward_address else { panic!("tests forward on IPv4") };
        let wanted = format!("{:08X}:{port:04X}", u32::from_be_bytes(address.octets()).swap_bytes());
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            // State 0A is LISTEN (include/net/tcp_states.h).
            fields.next() == Some(&wanted) && fields.nth(1) == Some("0A")
        })
    }

    /// Waits until a forwarded port is open.
    pub fn await_port(&self, port: u16) {
        eventually(Duration::from_secs(10), &format!("port {port} is open"), || self.listens_on(port));
    }

    /// Waits until a forwarded port is closed, and says how long that took.
    pub fn await_port_free(&self, port: u16, bound: Duration) -> Duration {
        eventually(bound, &format!("port {port} is free"), || !self.listens_on(port))
    }

    /// How many descriptors the program has open.
    pub fn descriptors(&self) -> usize {
        process::descriptors(self.pid())
    }

    /// The program's memory without files, in bytes.
    pub fn memory(&self) -> u64 {
        process::memory(self.pid())
    }

    /// Asks the program to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> Finished {
        let mut server = self.server.take().expect("the jump host runs");
        server.signal(Signal::TERM);
        server.wait_exit(STOP)
    }

    /// Ends the program as a power cut would.
    pub fn kill(&mut self) {
        self.server.take().expect("the jump host runs").kill();
    }

    /// Lets the running program have no more than `count` descriptors.
    pub fn limit_descriptors(&self, count: u64) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        let limit = Rlimit { current: Some(count), maximum: Some(count) };
        prlimit(pid, Resource::Nofile, limit).unwrap();
    }

    /// Starts it again on the same folder and the same addresses.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "stop it first");
        let builder = JumpHostBuilder { ssh: self.addresses.ssh, web: self.addresses.web, ..self.builder.clone() };
        let (server, addresses) = builder.launch(&self.folder);
        self.server = Some(server);
        self.addresses = addresses;
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the jump host runs").pid()
    }
}

impl Drop for JumpHost {
    /// No peer may make the program panic, not even in a task that nobody waits for: then the test has failed too.
    fn drop(&mut self) {
        let Some(server) = self.server.take().filter(|_| !std::thread::panicking()) else { return };
        let log = format!("{}{}", server.stdout(), server.stderr());
        drop(server);
        assert!(!log.contains("panicked at"), "the jump host panicked:\n{log}");
    }
}

impl JumpHostBuilder {
    /// Adds a flag and its value.
    pub fn flag(mut self, name: &str, value: &str) -> JumpHostBuilder {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Adds a line to the `jumphost:` map of the configuration file.
    pub fn setting(mut self, name: &str, value: &str) -> JumpHostBuilder {
        self.settings.push(format!("{name}: {value}"));
        self
    }

    /// Adds a line to `jumphost: limits:` of the configuration file.
    pub fn limit(mut self, name: &str, value: u64) -> JumpHostBuilder {
        self.limits.push(format!("{name}: {value}"));
        self
    }

    /// Runs all of it on free ports of `address`.
    pub fn on(mut self, address: IpAddr) -> JumpHostBuilder {
        self.ssh = SocketAddr::new(address, 0);
        self.web = SocketAddr::new(address, 0);
        self.forward = address;
        self
    }

    /// Runs it in a namespace, SSH on `ssh`, forwards on `forward`.
    pub fn inside(mut self, netns: &Netns, ssh: &str, forward: &str) -> JumpHostBuilder {
        self.ssh = ssh.parse().unwrap();
        self.forward = forward.parse().unwrap();
        self.web = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        self.netns = Some(netns.name().to_owned());
        self
    }

    /// Starts it and waits until its addresses are known.
    pub fn start(self) -> JumpHost {
        let folder = tempfile::Builder::new().prefix("adit-e2e-").tempdir().unwrap();
        let (server, addresses) = self.launch(&folder);
        JumpHost { server: Some(server), builder: self, addresses, folder }
    }

    /// The command that would start it on `data`.
    pub fn command(&self, data: &Path) -> Command {
        let mut command = adit(self.netns.as_deref());
        command.arg("--data").arg(data);
        command.args(["--ssh", &self.ssh.to_string(), "--web", &self.web.to_string()]);
        command.args(["--forward-address", &self.forward.to_string()]).args(&self.flags);
        command
    }

    fn launch(&self, folder: &TempDir) -> (Running, Addresses) {
        let data = folder.path().join("data");
        let announced = data.join("addresses.json");
        let _ = fs::remove_file(&announced);
        let mut command = self.command(&data);
        if !(self.settings.is_empty() && self.limits.is_empty()) {
            let path = folder.path().join("jumphost.yaml");
            fs::write(&path, self.config_text()).unwrap();
            command.arg("--config").arg(path);
        }
        let mut server = Running::spawn(&mut command);
        let addresses = within(START, "the jump host announces its addresses", || {
            assert!(server.is_running(), "the jump host ended at once:\n{}{}", server.stdout(), server.stderr());
            Addresses::read(&announced)
        });
        (server, addresses)
    }

    fn config_text(&self) -> String {
        let mut text = String::from("jumphost:\n");
        for line in &self.settings {
            writeln!(text, "  {line}").unwrap();
        }
        if !self.limits.is_empty() {
            text.push_str("  limits:\n");
        }
        for line in &self.limits {
            writeln!(text, "    {line}").unwrap();
        }
        text
    }
}

impl Addresses {
    /// Reads the file; `None` while it is missing or not whole.
    pub fn read(file: &Path) -> Option<Addresses> {
        let value: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        let address = |name: &str| value.get(name)?.as_str()?.parse().ok();
        let forward_address = value.get("forward_address")?.as_str()?.parse().ok()?;
        Some(Addresses { ssh: address("ssh")?, web: address("web")?, forward_address })
    }
}

/// The program under test: `ADIT_BIN`, else the one that was built with these tests.
pub(crate) fn adit_binary() -> PathBuf {
    if let Some(path) = env::var_os("ADIT_BIN") {
        return PathBuf::from(path);
    }
    beside_the_tests("adit")
}

/// A program of this workspace as it was built with these tests.
pub fn beside_the_tests(program: &str) -> PathBuf {
    let ours = env::current_exe().unwrap();
    let built = ours.parent().and_then(Path::parent).unwrap().join(program);
    assert!(built.is_file(), "{} is missing: `cargo build -p {program}` first", built.display());
    built
}

/// `adit jumphost`, in a namespace or not, with none of the settings that whoever runs the tests may have made.
pub fn adit(netns: Option<&str>) -> Command {
    let mut command = bare_adit(netns);
    command.arg("jumphost");
    command
}

/// `adit` in another role, likewise.
pub fn adit_as(role: &str) -> Command {
    adit_in(None, role)
}

/// The same in a namespace.
pub fn adit_inside(netns: &Netns, role: &str) -> Command {
    adit_in(Some(netns.name()), role)
}

fn adit_in(netns: Option<&str>, role: &str) -> Command {
    let mut command = bare_adit(netns);
    command.arg(role);
    command
}

fn bare_adit(netns: Option<&str>) -> Command {
    let mut command = match netns {
        None => Command::new(adit_binary()),
        Some(name) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(adit_binary());
            command
        }
    };
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ADIT_")) {
        command.env_remove(name);
    }
    // The default configuration file is looked for here, and nothing is there.
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("XDG_STATE_HOME", "/nonexistent");
    command
}

/// The rows of a listing: a bare array, or the only array of an object.
fn rows(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        Value::Object(fields) => fields.into_values().find_map(|field| field.as_array().cloned()).unwrap_or_default(),
        other => panic!("a listing is an array: {other}"),
    }
}

/// An address of 127.0.0.0/8 made of our process id and a counter: distinct among all tests that run now.
pub(crate) fn own_loopback_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let count = COUNT.fetch_add(1, Ordering::SeqCst) % 64;
    Ipv4Addr::new(127, 64 + count as u8, high, low)
}
