//! A mesh of real agents: a root, and members that are invited, join and run `adit mesh run`, on a loopback address
//! that the mesh has to itself or in network namespaces.

use std::cell::Cell;
use std::fmt::{Display, Write as _};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::http_get;
use crate::jump_host::{adit_as, adit_inside, own_loopback_address};
use crate::netns::Netns;
use crate::process::{Finished, Running, finish};
use crate::wait::{eventually, within};

/// From the start of the program to the line that says where it listens; generous, because many start at once.
const START: Duration = Duration::from_secs(30);
/// How long a command or an answer of the dashboard may take.
const COMMAND: Duration = Duration::from_secs(30);
/// Five seconds are for connections that go on, and two for goodbyes.
const STOP: Duration = Duration::from_secs(15);
/// The first agent listens here for others, the next ones behind.
const FIRST_PORT: u16 = 4433;

/// A root, and the folders of its members.
pub struct Mesh {
    folder: TempDir,
    address: Ipv4Addr,
    agents: Cell<u16>,
}

impl Mesh {
    /// Makes the root of a new mesh.
    #[expect(clippy::new_without_default, reason = "it runs a program")]
    pub fn new() -> Mesh {
        let folder = tempfile::Builder::new().prefix("adit-e2e-").tempdir().unwrap();
        let mesh = Mesh { folder, address: own_loopback_address(), agents: Cell::new(0) };
        let made = mesh.adit(&["init"]);
        assert!(made.status.success(), "init: {made:?}");
        mesh
    }

    /// A folder of this test, in which are those of the root and of the agents.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A port of the loopback address that this mesh has to itself.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.into(), port)
    }

    /// Runs `adit mesh words…` beside the root to its end.
    pub fn adit(&self, words: &[&str]) -> Finished {
        finish(adit_mesh(self.folder(), None).args(words), COMMAND)
    }

    /// A token for `name`, with rights and more as `adit mesh invite` takes them.
    pub fn invite(&self, name: &str, words: &[&str]) -> String {
        let invited = self.adit(&[&["invite", name], words].concat());
        assert!(invited.status.success(), "invite {name} {words:?}: {invited:?}");
        invited.stdout.trim_end().to_owned()
    }

    /// A member with every right, which does not run yet.
    pub fn agent(&self, name: &str) -> MeshAgent {
        self.agent_with(name, &["--publish", "*", "--listen", "*", "--transit"])
    }

    /// One with the rights that `adit mesh invite` is given.
    pub fn agent_with(&self, name: &str, words: &[&str]) -> MeshAgent {
        self.joined(name, &self.invite(name, words))
    }

    /// Joins with this token, in a folder of this name.
    pub fn joined(&self, name: &str, token: &str) -> MeshAgent {
        let data = self.folder().join(name);
        let joined = finish(adit_mesh(self.folder(), None).args(["join", token, "--data"]).arg(&data), COMMAND);
        assert!(joined.status.success(), "join: {joined:?}");
        let number = self.agents.replace(self.agents.get() + 1);
        MeshAgent {
            running: None,
            name: name.to_owned(),
            config: data.with_extension("yaml"),
            data,
            netns: None,
            listen: self.at(FIRST_PORT + number).to_string(),
            http: Some("127.0.0.1:0"),
            settings: Vec::new(),
            peers: Vec::new(),
            endpoints: Vec::new(),
            listeners: Vec::new(),
            forward: None,
            dashboard: None,
            id: String::new(),
        }
    }
}

/// A member: first what it is to be, then running, and perhaps ended and started again on the same folder and
/// addresses.
pub struct MeshAgent {
    // Before the namespace, so that the program ends first; `None` while it does not run.
    running: Option<Running>,
    name: String,
    data: PathBuf,
    config: PathBuf,
    netns: Option<Arc<Netns>>,
    listen: String,
    http: Option<&'static str>,
    settings: Vec<String>,
    peers: Vec<String>,
    endpoints: Vec<String>,
    listeners: Vec<String>,
    forward: Option<String>,
    dashboard: Option<SocketAddr>,
    id: String,
}

impl MeshAgent {
    /// It will run in this namespace, and listen for others on all its addresses.
    pub fn inside(mut self, netns: &Arc<Netns>) -> MeshAgent {
        self.netns = Some(Arc::clone(netns));
        self.listens_for_agents_at(format!("0.0.0.0:{FIRST_PORT}"))
    }

    /// It will listen for others here.
    pub fn listens_for_agents_at(mut self, address: impl Display) -> MeshAgent {
        self.listen = address.to_string();
        self
    }

    /// It will dial another one.
    pub fn dials(self, peer: &MeshAgent) -> MeshAgent {
        self.dials_at(peer.listen_address())
    }

    /// It will dial whoever listens here.
    pub fn dials_at(mut self, address: impl Display) -> MeshAgent {
        self.peers.push(address.to_string());
        self
    }

    /// It will have an endpoint.
    pub fn publishes(mut self, key: &str, target: impl Display) -> MeshAgent {
        self.endpoints.push(format!("key: \"{key}\", target: \"{target}\""));
        self
    }

    /// It will have an endpoint of a service of this machine.
    pub fn publishes_port(self, key: &str, port: u16) -> MeshAgent {
        self.publishes(key, format!("127.0.0.1:{port}"))
    }

    /// It will have a listener.
    pub fn listens(mut self, key: &str, address: impl Display) -> MeshAgent {
        self.listeners.push(format!("key: \"{key}\", address: \"{address}\""));
        self
    }

    /// Its file will have this text instead, which is to be a `forward:` map.
    pub fn forwards(mut self, text: &str) -> MeshAgent {
        self.forward = Some(text.to_owned());
        self
    }

    /// Its dashboard will be where it is by default, not at a port that the system gives.
    pub fn with_usual_dashboard(mut self) -> MeshAgent {
        self.http = None;
        self
    }

    /// It will have this line more in the `mesh:` map of its file.
    pub fn with_setting(mut self, line: &str) -> MeshAgent {
        self.settings.push(line.to_owned());
        self
    }

    /// Starts it, and waits until it listens.
    pub fn start(mut self) -> MeshAgent {
        self.start_again();
        self
    }

    /// Starts it again on the same folder.
    pub fn start_again(&mut self) {
        self.launch();
        self.await_start();
    }

    /// Starts the program and does not wait; [`MeshAgent::await_start`] does.
    pub fn launch(&mut self) {
        assert!(self.running.is_none(), "stop it first");
        self.write_config();
        self.running = Some(Running::spawn(self.run_command().arg("--json")));
    }

    /// `adit mesh run` with its file, which is written.
    pub fn run_command(&self) -> Command {
        self.write_config();
        let mut command = self.command(&["run", "--config"]);
        command.arg(&self.config).env("ADIT_LOG", "info");
        command
    }

    /// Waits until the program says where it listens.
    pub fn await_start(&mut self) {
        let running = self.running.as_mut().expect("it was launched");
        let told = within(START, &format!("{} says where it listens", self.name), || {
            let is_running = running.is_running();
            let (said, log) = (running.stdout(), running.stderr());
            let line = said.split_once('\n').map(|(line, _)| line.to_owned());
            assert!(is_running || line.is_some(), "{} ended at once:\n{said}{log}", self.name);
            line
        });
        let told: Value = serde_json::from_str(&told).unwrap();
        let url = told["dashboard"].as_str().expect("it has a dashboard");
        self.dashboard = url.trim_start_matches("http://").trim_end_matches('/').parse().ok();
        self.id = told["id"].as_str().unwrap().to_owned();
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> Finished {
        self.ask_to_stop();
        self.await_end()
    }

    /// Asks it to stop (SIGTERM); [`MeshAgent::await_end`] waits for its end.
    pub fn ask_to_stop(&self) {
        self.running().signal(Signal::TERM);
    }

    /// Waits until it has ended.
    pub fn await_end(&mut self) -> Finished {
        self.running.take().expect("the agent runs").wait_exit(STOP)
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.running.take().expect("the agent runs").kill();
    }

    /// The program.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the agent runs")
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, as it was told at its start.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it listens for others.
    pub fn listen_address(&self) -> &str {
        &self.listen
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Does something where it runs: in its namespace, if it has one.
    pub fn inside_it<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.netns {
            Some(netns) => netns.inside(work),
            None => work(),
        }
    }

    /// `adit mesh words…` on its folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = adit_mesh(self.data.parent().expect("it is in the mesh's"), self.netns.as_deref());
        command.env("ADIT_MESH_DATA", &self.data).args(words);
        command
    }

    /// Runs a command on its folder to its end.
    pub fn adit(&self, words: &[&str]) -> Finished {
        finish(&mut self.command(words), COMMAND)
    }

    /// Runs a command that must succeed, with `--json`, and returns what it printed.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let finished = self.adit(&[words, &["--json"]].concat());
        assert!(finished.status.success(), "{words:?} at {}: {finished:?}", self.name);
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {finished:?}"))
    }

    /// Writes its file anew, with this `forward:` map; it is in force when it is read.
    pub fn write_forward(&mut self, text: &str) {
        self.forward = Some(text.to_owned());
        self.write_config();
    }

    fn write_config(&self) {
        let mut text = format!("mesh:\n  listen: \"{}\"\n", self.listen);
        if let Some(http) = self.http {
            writeln!(text, "  http: {http}").unwrap();
        }
        writeln!(text, "  peers: [{}]", self.peers.join(", ")).unwrap();
        for line in &self.settings {
            writeln!(text, "  {line}").unwrap();
        }
        match &self.forward {
            Some(forward) => text.push_str(forward),
            None if self.endpoints.is_empty() && self.listeners.is_empty() => {}
            None => {
                text.push_str("forward:\n");
                for (list, entries) in [("endpoints", &self.endpoints), ("listeners", &self.listeners)] {
                    let entries: Vec<String> = entries.iter().map(|entry| format!("    - {{ {entry} }}\n")).collect();
                    if !entries.is_empty() {
                        write!(text, "  {list}:\n{}", entries.concat()).unwrap();
                    }
                }
            }
        }
        fs::write(&self.config, text).unwrap();
    }

    /// `/api/dashboard`
    pub fn dashboard(&self) -> Value {
        let address = self.dashboard.expect("the agent was started");
        let asked = self.inside_it(|| http_get(address, &address.to_string(), "/api/dashboard", COMMAND));
        let answer = asked.unwrap_or_else(|| panic!("{}: the dashboard does not answer", self.name));
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{}: {error}: {answer:?}", self.name))
    }

    /// A number of `stats`.
    pub fn stat(&self, name: &str) -> u64 {
        self.dashboard()["stats"][name].as_u64().unwrap_or_else(|| panic!("stats.{name} is a number"))
    }

    /// What is counted of a key.
    pub fn key_stats(&self, key: &str) -> Value {
        let stats = self.dashboard()["stats"]["keys"].take();
        let of_key = stats.as_array().unwrap().iter().find(|stats| stats["key"] == key).cloned();
        of_key.unwrap_or(Value::Null)
    }

    /// The routes of a key.
    pub fn forward_routes(&self, key: &str) -> Vec<Value> {
        let Value::Array(mut routes) = self.dashboard()["forward_routes"].take() else { panic!("routes are an array") };
        routes.retain(|route| route["key"] == key);
        routes
    }

    /// Whether it sees a way to the agent of this name.
    pub fn reaches(&self, name: &str) -> bool {
        let board = self.dashboard();
        board["routes"].as_array().unwrap().iter().any(|route| route["agent"] == name)
    }

    /// Whether it has a link with the agent of this name.
    pub fn is_linked_to(&self, name: &str) -> bool {
        let board = self.dashboard();
        board["peers"].as_array().unwrap().iter().any(|peer| peer["name"] == name && peer["connected"] == true)
    }

    /// Waits until it sees as many listeners with an endpoint that takes connections as there are to be for a key.
    pub fn await_routes(&self, key: &str, count: usize) {
        eventually(START, &format!("{} sees {count} routes of {key}", self.name), || {
            let routes = self.forward_routes(key);
            routes.len() == count && routes.iter().all(|route| route["state"] == "up")
        });
    }
}

/// `adit mesh` beside the root in this folder, in a namespace or not.
fn adit_mesh(folder: &Path, netns: Option<&Netns>) -> Command {
    let mut command = netns.map_or_else(|| adit_as("mesh"), |netns| adit_inside(netns, "mesh"));
    command.env("ADIT_MESH_ROOT", folder.join("root")).env("HOME", folder).current_dir(folder);
    command
}

impl Drop for MeshAgent {
    /// No peer may make the program panic, not even in a task that nobody waits for: then the test has failed too.
    fn drop(&mut self) {
        let Some(running) = self.running.take().filter(|_| !std::thread::panicking()) else { return };
        let log = format!("{}{}", running.stdout(), running.stderr());
        drop(running);
        assert!(!log.contains("panicked at"), "the agent {} panicked:\n{log}", self.name);
    }
}
