//! Those who bring a client's connection to the service: the mesh, and what it is compared with. Each is started
//! afresh for each measurement.

use std::net::SocketAddr;

use crate::failure::{Doing, Failure};
use crate::mesh::Mesh;
use crate::process_tree::ProcessTree;
use crate::rathole::{Rathole, Transport};
use crate::relay::Relay;
use crate::report::Measured;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarder {
    /// Our mesh.
    Adit,
    /// rathole as it is by default: its two processes speak plain TCP.
    Rathole,
    /// rathole with Noise between its two processes: what is nearest to one hop of a mesh.
    RatholeNoise,
    /// One process that copies: what forwarding costs at least.
    Relay,
}

impl Forwarder {
    /// In the order of a turn.
    pub(crate) const ALL: [Self; 4] = [Self::Adit, Self::Rathole, Self::RatholeNoise, Self::Relay];
}

impl Measured for Forwarder {
    const OURS: Self = Self::Adit;
    const PEERS: &'static [Self] = &[Self::Rathole, Self::RatholeNoise, Self::Relay];

    fn name(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::Rathole => "rathole",
            Self::RatholeNoise => "rathole with Noise",
            Self::Relay => "TCP relay",
        }
    }
}

/// How many links a connection goes over. Only the mesh knows more than one kind: the others are measured once beside
/// each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hops {
    /// From the listener's agent to the endpoint's.
    One,
    /// With one agent between them.
    Two,
}

impl Hops {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::One, Self::Two];

    /// As a number.
    pub(crate) fn count(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// In a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "1 hop",
            Self::Two => "2 hops",
        }
    }

    /// Where the processes of such a way stand.
    pub(crate) fn places(self) -> &'static [Place] {
        match self {
            Self::One => &[Place::Listener, Place::Endpoint],
            Self::Two => &[Place::Listener, Place::Transit, Place::Endpoint],
        }
    }
}

/// Where on a way a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Clients connect to it.
    Listener,
    /// It knows neither clients nor the service.
    Transit,
    /// It connects to the service.
    Endpoint,
}

impl Place {
    /// In a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Transit => "transit",
            Self::Endpoint => "endpoint",
        }
    }
}

/// A way from a port to the service, and the processes on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) port: u16,
    pub(crate) listener: ProcessTree,
    pub(crate) transit: Option<ProcessTree>,
    pub(crate) endpoint: Option<ProcessTree>,
}

impl Way {
    /// The process at a place, if this way has one there.
    pub(crate) fn process(self, place: Place) -> Option<ProcessTree> {
        match place {
            Place::Listener => Some(self.listener),
            Place::Transit => self.transit,
            Place::Endpoint => self.endpoint,
        }
    }
}

/// A forwarder that runs, until it is dropped.
pub(crate) enum Running {
    Mesh(Box<Mesh>),
    Rathole(Rathole),
    Relay(Relay),
}

impl Running {
    /// Starts one that leads to `service`, and waits until it does.
    pub(crate) fn start(forwarder: Forwarder, service: SocketAddr) -> Result<Self, Failure> {
        match forwarder {
            Forwarder::Adit => Mesh::start(service).map(|mesh| Self::Mesh(Box::new(mesh))),
            Forwarder::Rathole => Rathole::start(Transport::Tcp, service).map(Self::Rathole),
            Forwarder::RatholeNoise => Rathole::start(Transport::Noise, service).map(Self::Rathole),
            Forwarder::Relay => Relay::start(service).map(Self::Relay),
        }
        .doing(format!("start {}", forwarder.name()))
    }

    /// Its way of so many hops; the only one of those who have one.
    pub(crate) fn way(&self, hops: Hops) -> Result<Way, Failure> {
        match self {
            Self::Mesh(mesh) => mesh.way(hops),
            Self::Rathole(rathole) => Ok(rathole.way()),
            Self::Relay(relay) => Ok(relay.way()),
        }
    }
}
