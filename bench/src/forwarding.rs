//! Those who bring a client's connection to the service: the mesh, and what it is compared with. Each is started
//! afresh for each measurement.

use std::net::SocketAddr;

use crate::bore::Bore;
use crate::failure::{Doing, Failure};
use crate::mesh::Mesh;
use crate::process_tree::ProcessTree;
use crate::rathole::{Rathole, Transport};
use crate::relay::{Copying, Relay};
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
    /// bore, whose two processes speak plain TCP.
    Bore,
    /// One process that copies, as it is written in a few lines of tokio.
    Relay,
}

impl Forwarder {
    /// In the order of a turn.
    pub(crate) const ALL: [Self; 5] = [Self::Adit, Self::Rathole, Self::RatholeNoise, Self::Bore, Self::Relay];
}

impl Measured for Forwarder {
    const OURS: Self = Self::Adit;
    const PEERS: &'static [Self] = &[Self::Rathole, Self::RatholeNoise, Self::Bore, Self::Relay];

    fn name(self) -> &'static str {
        match self {
            Self::Adit => "adit",
            Self::Rathole => "rathole",
            Self::RatholeNoise => "rathole with Noise",
            Self::Bore => "bore",
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
    /// With two agents between them.
    Three,
}

impl Hops {
    /// All that are measured.
    pub(crate) const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// As a number.
    pub(crate) fn count(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// In a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "1 hop",
            Self::Two => "2 hops",
            Self::Three => "3 hops",
        }
    }

    /// Where the processes of such a way stand.
    pub(crate) fn places(self) -> &'static [Place] {
        match self {
            Self::One => &[Place::Listener, Place::Endpoint],
            Self::Two | Self::Three => &[Place::Listener, Place::Transit, Place::Endpoint],
        }
    }
}

/// Where on a way a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Clients connect to it.
    Listener,
    /// It knows neither clients nor the service; of several the first.
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
    Bore(Bore),
    Relay(Relay),
}

impl Running {
    /// Starts one that leads to `service`, and waits until it does.
    pub(crate) fn start(forwarder: Forwarder, service: SocketAddr) -> Result<Self, Failure> {
        match forwarder {
            Forwarder::Adit => Mesh::start(service).map(|mesh| Self::Mesh(Box::new(mesh))),
            Forwarder::Rathole => Rathole::start(Transport::Tcp, service).map(Self::Rathole),
            Forwarder::RatholeNoise => Rathole::start(Transport::Noise, service).map(Self::Rathole),
            Forwarder::Bore => Bore::start(service).map(Self::Bore),
            Forwarder::Relay => Relay::start(Copying::Tokio, service).map(Self::Relay),
        }
        .doing(format!("start {}", forwarder.name()))
    }

    /// Its way of so many hops; the only one of those who have one.
    pub(crate) fn way(&self, hops: Hops) -> Result<Way, Failure> {
        match self {
            Self::Mesh(mesh) => mesh.way(hops),
            Self::Rathole(rathole) => Ok(rathole.way()),
            Self::Bore(bore) => Ok(bore.way()),
            Self::Relay(relay) => Ok(relay.way()),
        }
    }
}
