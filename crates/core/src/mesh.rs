//! The mesh's decisions: who is a member, what all agents know of each other, the shortest ways, and which endpoint a connection
//! goes to.
//!
//! | File | Decides |
//! |---|---|
//! | [`id`](AgentId) | how agents, meshes and services are called |
//! | [`certificate`](Certificate) | who is a member, and what a member may do |
//! | [`membership`](Membership) | who is one now: revocations, expiry, one agent for each invitation |
//! | [`record`](Record) | what an agent says of itself to all others |
//! | [`node`](Node) | which record is the newest, and which neighbour has yet to hear of it |
//! | [`pace`](Pace) | how fast others may make an agent work |
//! | [`routes`](Graph) | the shortest ways |
//! | [`selection`](Experience) | where a connection goes, and where it goes next when that failed |
//! | [`retained`](Retained) | what is sent anew when a connection goes on over another way |
//! | [`flow`](Flow) | when datagrams that belong together have come to their end |
//! | [`turns`](Turns) | when datagrams make room for connections |
//! | [`window`](Window) | which datagram was here before |
//! | [`frame`](Frame) | the messages between two agents |
//!
//! There is no cryptography here: a [`Judge`] hashes and looks at signatures, [`Keys`] makes them.

mod certificate;
mod flow;
mod frame;
mod id;
mod membership;
mod node;
mod pace;
mod record;
mod retained;
mod routes;
mod selection;
mod turns;
mod window;
mod wire;

pub use certificate::{
    Certificate, Invitation, Judge, MAX_PATTERNS, MAX_REVOKED, Member, Refusal, Revocations, Rights, Root,
    SignedInvitation, UnixTime, agent_id, mesh_id,
};
pub use flow::{Flow, IDLE, IDLE_UNANSWERED, SILENT, UNPROVEN};
pub use frame::{Answer, CircuitRefused, Frame, Hello, LinkRefused, MAX_FRAME, Open, PROTOCOL, Purpose, Request};
pub use id::{
    AgentId, AgentName, BadWord, CircuitId, InvitationId, KeyPattern, MeshId, NotAnAgentId, PublicKey, ResumeId,
    RoutingKey, SessionKey, Signature,
};
pub use membership::{Membership, Shown};
pub use node::{Kept, Keys, MAX_AGENTS, Message, Node, Rejected, Wish};
pub use pace::Pace;
pub use record::{
    Body, Endpoint, Kind, LinkClaim, Listener, MAX_LINKS, MAX_RECORD, MAX_SERVICES, Protocol, Record, RecordName,
    Services, UnknownProtocol, Version,
};
pub use retained::{NextSent, OutOfStep, RETAINED, Retained, Taken};
pub use routes::{Graph, MAX_HOPS, Route, Routes};
pub use selection::{Experience, Failed, MAX_TRIES, NoRoute, Plan, TRY_TIME, Tries};
pub use turns::{LONGEST_TURN, STREAMS_BUSY, Sending, TURN, Turns, UNUSED};
pub use window::{WINDOW, Window};
pub use wire::Malformed;
