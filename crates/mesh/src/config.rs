//! What a person writes about the mesh in the configuration file, and what an agent runs on.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use adit_core::mesh::{Endpoint, MAX_SERVICES, Protocol, RoutingKey};
use adit_core::{Port, Printable, Target};
use serde::Deserialize;
use thiserror::Error;

/// The `forward:` map, as it was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawForward {
    endpoints: Vec<RawEndpoint>,
    listeners: Vec<RawListener>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEndpoint {
    key: String,
    protocol: Option<String>,
    target: String,
    #[serde(default)]
    priority: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListener {
    key: String,
    protocol: Option<String>,
    address: String,
    #[serde(default)]
    max_connections: usize,
}

/// The `mesh:` map, as it was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMesh {
    /// Where other agents connect, over UDP and TCP.
    pub listen: Option<String>,
    /// Other agents to connect to.
    pub peers: Option<Vec<String>>,
    /// The data folder.
    pub data: Option<PathBuf>,
    /// Whether connections go on over another way when their own breaks.
    pub resume: Option<bool>,
    /// Where the dashboard is.
    pub http: Option<String>,
    /// As ADIT_LOG has it.
    pub log: Option<String>,
}

/// So much of a value is repeated, in characters: all of a key, and of a name that anybody has.
const SHOWN: usize = 256;

/// A value cannot be used; nothing of the file has been taken over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place} is “{typed}”: {problem}")]
pub struct ConfigError {
    /// Which value.
    pub place: String,
    /// What stands there.
    pub typed: String,
    /// What is wrong with it, and what was expected.
    pub problem: String,
}

/// What an agent does for the mesh, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where other agents connect; without it, this agent connects to others alone.
    pub listen: Option<SocketAddr>,
    /// Agents to connect to, beside those of the token that this agent joined with.
    pub peers: Vec<Target>,
    /// Connections go on over another way when their own breaks, where the other end does so too.
    pub resume: bool,
    /// Endpoints and listeners.
    pub forward: Forward,
}

/// The endpoints and listeners of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// In the order of their keys, then of their protocols and targets.
    pub endpoints: Vec<EndpointConfig>,
    /// As they were typed.
    pub listeners: Vec<ListenerConfig>,
}

/// A service that this agent reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// What listeners ask for.
    pub key: RoutingKey,
    /// What it speaks.
    pub protocol: Protocol,
    /// Looked up at each connection, and for each client of datagrams.
    pub target: Target,
    /// The lower one is taken first.
    pub priority: u8,
}

impl EndpointConfig {
    /// What no other endpoint of the agent has, and their order in a record.
    pub(crate) fn place(&self) -> EndpointPlace {
        (self.key.clone(), self.protocol, self.target.to_string())
    }
}

/// Which endpoint of an agent: its key, its protocol, its target as it is shown.
pub(crate) type EndpointPlace = (RoutingKey, Protocol, String);

/// A place where this agent takes connections or datagrams.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerConfig {
    /// What they are for.
    pub key: RoutingKey,
    /// What they speak.
    pub protocol: Protocol,
    /// Where clients connect, or send to.
    pub address: ListenAddress,
    /// How many connections, or clients of datagrams, at a time; 0: no limit.
    pub max_connections: usize,
}

/// Where a listener is: at one address, or at all of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAddress {
    /// `:8080`
    Everywhere(u16),
    /// `127.0.0.1:8080`
    At(SocketAddr),
}

impl ListenAddress {
    pub(crate) fn port(self) -> u16 {
        match self {
            ListenAddress::Everywhere(port) => port,
            ListenAddress::At(address) => address.port(),
        }
    }

    fn parse(typed: &str) -> Option<ListenAddress> {
        let (host, port) = typed.rsplit_once(':')?;
        let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten()?;
        let host = match host {
            "" => return Some(ListenAddress::Everywhere(port)),
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            host => match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some(inside) => IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?),
                None => IpAddr::V4(host.parse().ok()?),
            },
        };
        Some(ListenAddress::At((host, port).into()))
    }
}

/// `host:port` as people write it, with brackets around IPv6 addresses.
fn parse_target(typed: &str) -> Result<Target, String> {
    let expected = || "expected HOST:PORT, such as localhost:80 or [::1]:80".to_owned();
    let (host, port) = typed.rsplit_once(':').ok_or_else(expected)?;
    let port: Port = port.parse().map_err(|error| format!("{error}"))?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return Err(expected());
    }
    Target::new(bracketed.unwrap_or(host), port).map_err(|error| error.to_string())
}

fn parse_protocol(typed: Option<&str>, place: impl Fn(&str) -> String) -> Result<Protocol, ConfigError> {
    typed.map_or(Ok(Protocol::default()), |typed| typed.parse().map_err(|error| wrong(place("protocol"), typed, error)))
}

fn wrong(place: String, typed: &str, problem: impl ToString) -> ConfigError {
    ConfigError { place, typed: Printable::from(typed).at_most(SHOWN).to_string(), problem: problem.to_string() }
}

impl RawForward {
    /// Nothing is there.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.listeners.is_empty()
    }

    /// Checks all of it.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self) -> Result<Forward, ConfigError> {
        let mut endpoints = Vec::new();
        for (index, typed) in self.endpoints.iter().enumerate() {
            let place = |field: &str| format!("`forward.endpoints[{index}].{field}`");
            let key = typed.key.parse().map_err(|error| wrong(place("key"), &typed.key, error))?;
            let target = parse_target(&typed.target).map_err(|error| wrong(place("target"), &typed.target, error))?;
            let protocol = parse_protocol(typed.protocol.as_deref(), place)?;
            endpoints.push(EndpointConfig { key, protocol, target, priority: typed.priority });
        }
        endpoints.sort_by_cached_key(EndpointConfig::place);
        let twice = endpoints.windows(2).find(|pair| pair[0].place() == pair[1].place());
        if let Some([endpoint, ..]) = twice {
            let problem = format!("the key “{}” has this target twice; remove one", endpoint.key);
            return Err(wrong("`forward.endpoints`".to_owned(), &endpoint.target.to_string(), problem));
        }
        let (mut listeners, mut taken) = (Vec::new(), BTreeSet::new());
        for (index, typed) in self.listeners.iter().enumerate() {
            let place = |field: &str| format!("`forward.listeners[{index}].{field}`");
            let key: RoutingKey = typed.key.parse().map_err(|error| wrong(place("key"), &typed.key, error))?;
            let address = ListenAddress::parse(&typed.address).ok_or_else(|| {
                let expected = "expected :PORT for all addresses of this machine, or one of them in numbers with a port, \
                                such as 127.0.0.1:8080 or [::1]:8080";
                wrong(place("address"), &typed.address, expected)
            })?;
            let port = match address {
                ListenAddress::Everywhere(port) => port,
                ListenAddress::At(address) => address.port(),
            };
            let protocol = parse_protocol(typed.protocol.as_deref(), place)?;
            // Where the system gives the port, each key has its own.
            if !taken.insert((protocol, address, (port == 0).then(|| key.clone()))) {
                return Err(wrong(
                    place("address"),
                    &typed.address,
                    "another listener has it already; choose another port",
                ));
            }
            listeners.push(ListenerConfig { key, protocol, address, max_connections: typed.max_connections });
        }
        if endpoints.len() + listeners.len() > MAX_SERVICES {
            let count = (endpoints.len() + listeners.len()).to_string();
            let problem = format!("at most {MAX_SERVICES} endpoints and listeners are possible in one agent");
            return Err(wrong("the number of entries in `forward`".to_owned(), &count, problem));
        }
        Ok(Forward { endpoints, listeners })
    }
}

impl RawMesh {
    /// Checks all of it, with what is forwarded.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self, forward: &RawForward) -> Result<Config, ConfigError> {
        let listen = match &self.listen {
            None => None,
            Some(typed) => match ListenAddress::parse(typed) {
                Some(ListenAddress::Everywhere(port)) => Some((Ipv6Addr::UNSPECIFIED, port).into()),
                Some(ListenAddress::At(address)) => Some(address),
                None => {
                    let expected = "expected an address in numbers and a port, such as 0.0.0.0:4433, or :4433 for all";
                    return Err(wrong("`mesh.listen`".to_owned(), typed, expected));
                }
            },
        };
        let peers = self.peers.iter().flatten().enumerate().map(|(index, typed)| {
            parse_target(typed).map_err(|error| wrong(format!("`mesh.peers[{index}]`"), typed, error))
        });
        let (peers, resume) = (peers.collect::<Result<_, _>>()?, self.resume.unwrap_or(false));
        Ok(Config { listen, peers, resume, forward: forward.check()? })
    }
}

/// Reads the address of a peer, `HOST:PORT`.
///
/// # Errors
/// Why it is none.
pub fn parse_peer(typed: &str) -> Result<Target, ConfigError> {
    parse_target(typed).map_err(|error| wrong("the peer's address".to_owned(), typed, error))
}

impl Forward {
    pub(crate) fn has(&self, place: &EndpointPlace) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.place() == *place)
    }

    /// What of it is told to the mesh, with the state of each target; listeners are told by those who have bound them.
    pub(crate) fn endpoints(&self, is_up: impl Fn(&EndpointConfig) -> bool) -> Vec<Endpoint> {
        let told = self.endpoints.iter().map(|endpoint| Endpoint {
            key: endpoint.key.clone(),
            protocol: endpoint.protocol,
            target: endpoint.target.to_string(),
            priority: endpoint.priority,
            is_up: is_up(endpoint),
        });
        told.collect()
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddress::Everywhere(port) => write!(f, ":{port}"),
            ListenAddress::At(address) => address.fmt(f),
        }
    }
}
