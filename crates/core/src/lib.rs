//! Decides. Everything the jump host and the local agent have to judge stands here as plain values and small state
//! machines: which port an account may hold, who may knock at the door, how a relayed connection comes to its end, when a
//! tunnel that broke is tried again.
//!
//! Facts and the time go in, wishes come out. Nothing here opens a socket, reads a clock, or knows a runtime: an
//! [`Instant`](std::time::Instant) only ever arrives as an argument, so a test owns the time and a bug can be replayed.
//! The rooms above (`adit-net`, `adit-jumphost`, `adit-agent`) act on the wishes.
//!
//! The machines share one calling contract:
//!
//! 1. hand in a fact with a `handle_` method, together with the time where the decision depends on it;
//! 2. call `poll_output` until it answers `None`, and act on each wish;
//! 3. where there is a `poll_timeout`, set an alarm for it and call `handle_timeout` when it rings.
//!
//! What stands where:
//!
//! | File | Decides |
//! |---|---|
//! | [`port`](Port) | what a port and a range of ports are |
//! | [`name`](AccountName) | how accounts and sessions are called |
//! | [`printable`](Printable) | what of a stranger's text may reach a log, a terminal or a page |
//! | [`forward`](BindRequest) | what the address of a `tcpip-forward` means |
//! | [`port_table`](PortTable) | who holds which port, and when it moves |
//! | [`login_gate`](LoginGate) | which connection may try to log in |
//! | [`visitor_limits`](VisitorLimits) | how many visitors a port and an account may have |
//! | [`allowance`](Allowance) | how many bytes an account may move now |
//! | [`half_close`](HalfClose) | when a relayed connection sends EOF and CLOSE, and when its socket goes |
//! | [`target`](Target) | where the last hop of a forward goes |
//! | [`loopback`](LoopbackAddress) | where a local listener may stand |
//! | [`forward_spec`](ForwardSpec) | what `-L`, `-D` and `-R` ask for, and how it is shown |
//! | [`socks5`](Socks5) | what a SOCKS client wants, and what it is told |
//! | [`tunnel`](Tunnel) | what a tunnel of the local agent does next, from start to stop |
//! | [`pool`](Pool) | which SSH connections the agent has, who shares them, which are dead |
//! | [`backoff`](Backoff) | how long to pause before a retry, and how often |
//! | [`clocks`](Clocks) | whether the machine was asleep |
//! | [`mesh`] | who is a member of a mesh, what its agents know of each other, and which way a connection goes |

mod allowance;
mod backoff;
mod clocks;
mod forward;
mod forward_spec;
mod half_close;
mod login_gate;
mod loopback;
pub mod mesh;
mod name;
mod pool;
mod port;
mod port_table;
mod printable;
mod socks5;
mod target;
mod tunnel;
mod visitor_limits;

pub use allowance::{Allowance, BandwidthRules, ByteRate, Sharer, Turn};
pub use backoff::{Backoff, ReconnectPolicy};
pub use clocks::Clocks;
pub use forward::{BindRequest, ForwardRefused};
pub use forward_spec::{ForwardKind, ForwardSpec, LocalListen, ParseForwardError, RemoteListen};
pub use half_close::{HalfClose, RelayWish};
pub use login_gate::{Admission, AdmissionId, LoginGate, LoginRules, Outcome, Penalties, Source, Turned};
pub use loopback::{LoopbackAddress, NotLoopback};
pub use name::{AccountId, AccountName, ParseAccountNameError, ParseSessionIdError, SessionId};
pub use pool::{ConnectionId, ConnectionKey, Jump, LoginFailure, LossReason, Obstacle, Pool, PoolWish, RecordId};
pub use port::{ParsePortError, ParsePortRangeError, Port, PortRange};
pub use port_table::{
    ForwardRequest, Holding, PortLease, PortRules, PortTable, PortWish, RefuseReason, RequestId, Takeover,
};
pub use printable::{AtMost, Printable};
pub use socks5::{ConnectFailure, ConnectOutcome, Socks5, SocksRefusal, SocksWish};
pub use target::{BadHost, Target};
pub use tunnel::{AlreadyRunning, Attempt, BindFailure, PortHolder, Setback, Tunnel, TunnelStatus, TunnelWish};
pub use visitor_limits::{Visit, VisitorLimits, VisitorRefused, VisitorRules};
