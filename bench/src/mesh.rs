//! A mesh as people run it: four agents in a line, each a process of its own, joined over loopback. Clients connect at
//! one end; the service has a key at each of the others.
//!
//! All is at its defaults; ports are those that the system gives.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::adit;
use crate::failure::{Doing, Failure};
use crate::forwarding::{Hops, Way};
use crate::process::Process;

const LOOPBACK: &str = "127.0.0.1:0";

/// A running mesh. Dropping it ends it and removes its folder.
pub(crate) struct Mesh {
    listener: Agent,
    /// From the listener's neighbour on.
    others: Vec<Agent>,
    _folder: TempDir,
}

/// A member that runs.
struct Agent {
    process: Process,
    data: PathBuf,
    /// What it told at its start.
    told: Value,
}

impl Mesh {
    /// Starts one that leads to `service`, and waits until both ways are there.
    pub(crate) fn start(service: SocketAddr) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("adit-bench-").tempdir().doing("make a folder")?;
        adit::finish(adit::command("mesh")?.args(["init", "--root"]).arg(folder.path().join("root")))?;
        let start = |name: &str, peers: &[&str], forward: String| {
            Agent::start(folder.path(), name, peers, &forward).doing(format!("start the agent {name}"))
        };
        let publish = |hops: Hops| format!("  endpoints: [{{ key: {}, target: \"{service}\" }}]\n", key(hops));
        let listen = |hops: Hops| format!("    - {{ key: {}, address: \"{LOOPBACK}\" }}\n", key(hops));
        let mut others: Vec<Agent> = Vec::new();
        for hops in Hops::ALL.into_iter().rev() {
            let peers = others.last().map(Agent::listens).transpose()?;
            others.push(start(key(hops), peers.as_slice(), publish(hops))?);
        }
        others.reverse();
        let listeners: String = Hops::ALL.map(listen).concat();
        let neighbour = others.first().map(Agent::listens).transpose()?;
        let listener = start("listener", neighbour.as_slice(), format!("  listeners:\n{listeners}"))?;
        let mut mesh = Self { listener, others, _folder: folder };
        mesh.await_ways()?;
        Ok(mesh)
    }

    /// Where clients connect for a way of so many hops, and who carries them.
    pub(crate) fn way(&self, hops: Hops) -> Result<Way, Failure> {
        let listeners = self.listener.told["listeners"].as_array().into_iter().flatten();
        let mut ours = listeners.filter(|listener| listener["key"] == key(hops));
        let address = ours.next().and_then(|listener| listener["address"].as_str()?.parse::<SocketAddr>().ok());
        let address = address.ok_or_else(|| Failure::new("an agent does not say where its listener is"))?;
        let tree = |agent: &Agent| agent.process.tree();
        let on_the_way = &self.others[..hops.count() as usize];
        let (endpoint, transits) = match on_the_way {
            [transits @ .., endpoint] => (Some(tree(endpoint)), transits),
            [] => (None, [].as_slice()),
        };
        Ok(Way { port: address.port(), listener: tree(&self.listener), transit: transits.first().map(tree), endpoint })
    }

    /// Waits until a connection for each key finds its target, as many hops away as it is to be; over QUIC, which is
    /// the default, and what is measured.
    fn await_ways(&mut self) -> Result<(), Failure> {
        let Agent { process, data, .. } = &mut self.listener;
        for hops in Hops::ALL {
            let found = |_: &Process| ask(data, &["probe", key(hops)]).ok()?["hop_count"].as_u64();
            let found = process.await_start(found).doing(format!("find {}", key(hops)))?;
            if found != hops.count() {
                return Err(Failure::new(format!("{} is {found} hops away", key(hops))));
            }
        }
        // Each but the last is linked to both its neighbours.
        for agent in &self.others[..self.others.len() - 1] {
            let links = ask(&agent.data, &["peers"])?;
            let links = links.as_array().map(Vec::as_slice).unwrap_or_default();
            if links.iter().filter(|link| link["carrier"] == "quic").count() != 2 {
                return Err(Failure::new(format!("the links are not two over QUIC: {links:?}")));
            }
        }
        Ok(())
    }
}

impl Agent {
    /// Invites, joins and runs an agent that takes others in at any port, and waits until it says where.
    fn start(folder: &Path, name: &str, peers: &[&str], forward: &str) -> Result<Self, Failure> {
        let (data, config) = (folder.join(name), folder.join(name).with_extension("yaml"));
        let rights = ["--publish", "*", "--listen", "*", "--transit", "--root"];
        let token = adit::finish(adit::command("mesh")?.args(["invite", name]).args(rights).arg(folder.join("root")))?;
        let token = String::from_utf8_lossy(&token);
        adit::finish(adit::command("mesh")?.args(["join", token.trim_end(), "--data"]).arg(&data))?;
        let peers = peers.join(", ");
        let mesh = format!("mesh:\n  listen: {LOOPBACK}\n  http: {LOOPBACK}\n  peers: [{peers}]\n");
        fs::write(&config, format!("{mesh}forward:\n{forward}")).doing("write the configuration")?;
        let mut command = adit::command("mesh")?;
        command.args(["run", "--json", "--data"]).arg(&data).arg("--config").arg(&config);
        let mut process = Process::start(&mut command, data.with_extension("log"))?;
        let told = |process: &Process| process.said().lines().find_map(|line| serde_json::from_str(line).ok());
        let told = process.await_start(told)?;
        Ok(Self { process, data, told })
    }

    /// Where it takes others in.
    fn listens(&self) -> Result<&str, Failure> {
        self.told["listen"].as_str().ok_or_else(|| Failure::new("an agent does not say where it listens"))
    }
}

/// What stands in the configuration.
fn key(hops: Hops) -> &'static str {
    match hops {
        Hops::One => "one",
        Hops::Two => "two",
        Hops::Three => "three",
    }
}

/// Asks the agent that runs on this folder.
fn ask(data: &Path, words: &[&str]) -> Result<Value, Failure> {
    let answer = adit::finish(adit::command("mesh")?.args(words).args(["--json", "--data"]).arg(data))?;
    serde_json::from_slice(&answer).doing("read an agent's answer")
}
