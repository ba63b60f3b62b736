//! Decides. Everything the jump host has to judge stands here as plain values and small state machines: which port an
//! account may hold, what a bind address means, who may knock at the door, how a relayed connection comes to its end.
//!
//! Facts and the time go in, wishes come out. Nothing here opens a socket, reads a clock, or knows a runtime: an
//! [`Instant`](std::time::Instant) only ever arrives as an argument, so a test owns the time and a bug can be replayed.
//! The rooms above (`adit-ssh`, `adit-net`, `adit-jumphost`) act on the wishes.
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
//! | [`half_close`](HalfClose) | when a relayed connection sends EOF and CLOSE, and when its socket goes |

mod forward;
mod half_close;
mod login_gate;
mod name;
mod port;
mod port_table;
mod printable;
mod visitor_limits;

pub use forward::{BindRequest, ForwardRefused};
pub use half_close::{HalfClose, RelayWish};
pub use login_gate::{Admission, AdmissionId, LoginGate, LoginRules, Outcome, Penalties, Source, Turned};
pub use name::{AccountId, AccountName, ParseAccountNameError, ParseSessionIdError, SessionId};
pub use port::{ParsePortError, ParsePortRangeError, Port, PortRange};
pub use port_table::{
    ForwardRequest, Holding, PortLease, PortRules, PortTable, PortWish, RefuseReason, RequestId, Takeover,
};
pub use printable::{AtMost, Printable};
pub use visitor_limits::{Visit, VisitorLimits, VisitorRefused, VisitorRules};
