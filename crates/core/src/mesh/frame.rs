//! The messages between two neighbours, and those at the beginning of a circuit. PROTOCOL.md shows each as bytes.
//!
//! On a link's control stream each message stands behind its length in four bytes. A circuit is a stream of its own: an [`Open`] and the
//! first message of the handshake from the listener's side, an [`Answer`] from the other; what follows is sealed from end to end.

use std::fmt;

use super::certificate::{Certificate, Refusal};
use super::id::{AgentId, CircuitId, MeshId, ResumeId, RoutingKey};
use super::node::{MAX_AGENTS, Message};
use super::record::{Kind, MAX_RECORD, Protocol, RecordName, Version};
use super::routes::MAX_HOPS;
use super::wire::{Malformed, Reader, Writer};

/// The protocol that this is: the name in TLS (ALPN, RFC 7301), and the beginning of every handshake's prologue.
pub const PROTOCOL: &[u8] = b"adit-mesh/1";

/// The longest message of a control stream, in bytes.
pub const MAX_FRAME: usize = if MAX_DIGEST > MAX_RECORD { MAX_DIGEST } else { MAX_RECORD } + 64;
const MAX_DIGEST: usize = (3 * MAX_AGENTS + 1) * DIGEST_ENTRY;
const DIGEST_ENTRY: usize = 33;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSED: u8 = 3;
const DIGEST: u8 = 4;
const RECORD: u8 = 5;
const PING: u8 = 6;
const PONG: u8 = 7;

/// A message of a link's control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Who we are. The first message of both.
    Hello(Box<Hello>),
    /// The link counts from now on. Of several between two agents the one with the greatest number does, and numbers are given by the
    /// agent with the smaller id.
    Welcome(u64),
    /// There will be no link, and why.
    Refused(LinkRefused),
    /// Which records the sender has.
    Digest(Vec<(RecordName, Version)>),
    /// A record, to be judged by who gets it.
    Record(Vec<u8>),
    /// Are you there? To be answered with a `Pong` of the same number.
    Ping(u64),
    /// Yes.
    Pong(u64),
}

/// Who an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Of which mesh.
    pub mesh: MeshId,
    /// That it is a member of it. Its key is the one of the TLS session.
    pub certificate: Certificate,
}

/// Why there is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkRefused {
    /// It is another mesh.
    OtherMesh,
    /// You are no member: your certificate is forged, or says nothing of you.
    NoMember,
    /// You are I.
    Myself,
    /// There is a newer link between us.
    Replaced,
    /// I have as many links as I may.
    Full,
    /// I end.
    Leaving,
    /// Your membership is over.
    Expired,
    /// Your membership was taken back.
    Revoked,
    /// Another agent has used your invitation before.
    InvitationUsed,
    /// You have not used your invitation in time.
    TooLate,
}

impl LinkRefused {
    const ALL: [LinkRefused; 10] = [
        LinkRefused::OtherMesh,
        LinkRefused::NoMember,
        LinkRefused::Myself,
        LinkRefused::Replaced,
        LinkRefused::Full,
        LinkRefused::Leaving,
        LinkRefused::Expired,
        LinkRefused::Revoked,
        LinkRefused::InvitationUsed,
        LinkRefused::TooLate,
    ];

    /// Will it be the same the next time?
    pub fn is_lasting(self) -> bool {
        match self {
            LinkRefused::Myself | LinkRefused::Replaced | LinkRefused::Full | LinkRefused::Leaving => false,
            LinkRefused::OtherMesh
            | LinkRefused::NoMember
            | LinkRefused::Expired
            | LinkRefused::Revoked
            | LinkRefused::InvitationUsed
            | LinkRefused::TooLate => true,
        }
    }

    /// Its number on the wire, also as a QUIC application error (RFC 9000 §20.2).
    pub fn code(self) -> u8 {
        LinkRefused::ALL.iter().position(|refused| *refused == self).map_or(0, |index| index as u8 + 1)
    }

    /// The one with this number.
    pub fn from_code(code: u8) -> Option<LinkRefused> {
        LinkRefused::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl From<Refusal> for LinkRefused {
    fn from(why: Refusal) -> LinkRefused {
        match why {
            Refusal::Forged => LinkRefused::NoMember,
            Refusal::Expired => LinkRefused::Expired,
            Refusal::Revoked => LinkRefused::Revoked,
            Refusal::InvitationUsed => LinkRefused::InvitationUsed,
            Refusal::TooLate => LinkRefused::TooLate,
        }
    }
}

impl fmt::Display for LinkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NOT_TAKEN: &str = "the other agent does not take our certificate";
        let join_again =
            |f: &mut fmt::Formatter<'_>, why: Refusal| write!(f, "{NOT_TAKEN}: {why}; join again with a new token");
        match self {
            LinkRefused::OtherMesh => f.write_str("the other agent belongs to another mesh"),
            LinkRefused::NoMember => f.write_str(NOT_TAKEN),
            LinkRefused::Myself => f.write_str("the address is our own"),
            LinkRefused::Replaced => f.write_str("there is a newer link to the same agent"),
            LinkRefused::Full => f.write_str("the other agent has as many links as it may"),
            LinkRefused::Leaving => f.write_str("the other agent ends"),
            LinkRefused::Expired => join_again(f, Refusal::Expired),
            LinkRefused::Revoked => join_again(f, Refusal::Revoked),
            LinkRefused::InvitationUsed => join_again(f, Refusal::InvitationUsed),
            LinkRefused::TooLate => join_again(f, Refusal::TooLate),
        }
    }
}

impl Frame {
    /// The message with its length in front.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Frame::Hello(hello) => {
                Writer::default().u8(HELLO).bytes(&hello.mesh.0).bytes(&hello.certificate.encode()).done()
            }
            Frame::Welcome(number) => Writer::default().u8(WELCOME).u64(*number).done(),
            Frame::Refused(refused) => Writer::default().u8(REFUSED).u8(refused.code()).done(),
            Frame::Digest(digest) => {
                let entry = |writer: Writer, (name, version): &(RecordName, Version)| {
                    let writer = writer.u8(name.kind.number()).bytes(&name.origin.0);
                    writer.u64(version.epoch).u64(version.sequence)
                };
                Writer::default().u8(DIGEST).list(digest, entry).done()
            }
            Frame::Record(record) => Writer::default().u8(RECORD).bytes(record).done(),
            Frame::Ping(number) => Writer::default().u8(PING).u64(*number).done(),
            Frame::Pong(number) => Writer::default().u8(PONG).u64(*number).done(),
        };
        Writer::default().u32(u32::try_from(body.len()).unwrap_or(u32::MAX)).bytes(&body).done()
    }

    /// Reads a message, without the length that stood in front of it.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(body: &[u8]) -> Result<Frame, Malformed> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let frame = match kind {
            HELLO => {
                let mesh = MeshId(reader.array()?);
                let certificate = Certificate::decode(reader.bytes(reader.left())?)?;
                Frame::Hello(Box::new(Hello { mesh, certificate }))
            }
            WELCOME => Frame::Welcome(reader.u64()?),
            REFUSED => {
                let refused = LinkRefused::from_code(reader.u8()?);
                Frame::Refused(refused.ok_or(Malformed("a refusal has a number that is not known"))?)
            }
            DIGEST => {
                let count = reader.left() / DIGEST_ENTRY;
                Frame::Digest(reader.list(count, |reader| {
                    let name = RecordName { kind: Kind::read(reader)?, origin: AgentId(reader.array()?) };
                    Ok((name, Version { epoch: reader.u64()?, sequence: reader.u64()? }))
                })?)
            }
            RECORD => Frame::Record(reader.bytes(reader.left())?.to_vec()),
            PING => Frame::Ping(reader.u64()?),
            PONG => Frame::Pong(reader.u64()?),
            _ => return Err(Malformed("a message is of no kind that is known")),
        };
        reader.end()?;
        Ok(frame)
    }
}

impl From<&Message> for Frame {
    fn from(message: &Message) -> Frame {
        match message {
            Message::Digest(digest) => Frame::Digest(digest.clone()),
            Message::Record(record) => Frame::Record(record.encode()),
        }
    }
}

/// The first message of a circuit, which each agent on the way shortens by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Drawn by the listener's agent.
    pub circuit: CircuitId,
    /// The listener's agent.
    pub origin: AgentId,
    /// Which endpoint is asked for.
    pub key: RoutingKey,
    /// And which of that key: for one that takes connections, or one that takes datagrams.
    pub protocol: Protocol,
    /// The agents behind the one that reads this; none at the endpoint's.
    pub hops: Vec<AgentId>,
    /// The first message of the handshake (Noise §7.5, IK), for the endpoint's agent alone.
    pub handshake: Vec<u8>,
}

impl Open {
    /// The longest there is, in bytes, behind its length.
    pub const MAX_LENGTH: usize = 48 * 1024;

    /// With its length in front, in two bytes.
    pub fn encode(&self) -> Vec<u8> {
        let hops = &self.hops[..self.hops.len().min(MAX_HOPS)];
        let writer = Writer::default().bytes(&self.circuit.0).bytes(&self.origin.0).text(self.key.as_str());
        let writer = writer.u8(self.protocol.number());
        let writer = writer.u8(hops.len() as u8).list(hops, |writer, hop| writer.bytes(&hop.0));
        let body = writer.block(&self.handshake).done();
        Writer::default().block(&body).done()
    }

    /// Reads one, without the length in front.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(body: &[u8]) -> Result<Open, Malformed> {
        let mut reader = Reader::new(body);
        let (circuit, origin, key) = (CircuitId(reader.array()?), AgentId(reader.array()?), reader.word()?);
        let protocol = Protocol::read(&mut reader)?;
        let count = usize::from(reader.u8()?);
        if count > MAX_HOPS {
            return Err(Malformed("a way is too long"));
        }
        let hops = reader.list(count, |reader| Ok(AgentId(reader.array()?)))?;
        let handshake = reader.block()?.to_vec();
        reader.end()?;
        Ok(Open { circuit, origin, key, protocol, hops, handshake })
    }

    /// What both ends put before the handshake, so that whoever changes one of these on the way ends it.
    pub fn prologue(&self, mesh: MeshId) -> Vec<u8> {
        let writer = Writer::default().bytes(PROTOCOL).bytes(&mesh.0).bytes(&self.circuit.0);
        writer.bytes(&self.origin.0).text(self.key.as_str()).u8(self.protocol.number()).done()
    }
}

/// What comes back for an [`Open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The second message of the handshake, by the endpoint's agent.
    Accepted(Vec<u8>),
    /// This agent of the way does not go on with it. Whoever passes circuits on could as well not answer, so it is not signed.
    Refused {
        /// Who says so.
        by: AgentId,
        /// Why.
        why: CircuitRefused,
    },
}

/// Why a circuit was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CircuitRefused {
    /// The next agent on the way is no neighbour.
    NoLink,
    /// The agent has no right of transit.
    NoTransit,
    /// The agent has as many circuits as it may.
    Full,
    /// Nobody here publishes this key.
    UnknownKey,
    /// The handshake does not fit: another key, another mesh, or somebody changed it on the way.
    BadHandshake,
    /// The same handshake was here before, or it is too old.
    Replayed,
    /// The listener's agent is no member, or has no right to listen on this key.
    NoRight,
}

impl CircuitRefused {
    const ALL: [CircuitRefused; 7] = [
        CircuitRefused::NoLink,
        CircuitRefused::NoTransit,
        CircuitRefused::Full,
        CircuitRefused::UnknownKey,
        CircuitRefused::BadHandshake,
        CircuitRefused::Replayed,
        CircuitRefused::NoRight,
    ];

    /// Its number on the wire.
    pub fn code(self) -> u8 {
        CircuitRefused::ALL.iter().position(|refused| *refused == self).map_or(0, |index| index as u8 + 1)
    }

    fn from_code(code: u8) -> Option<CircuitRefused> {
        CircuitRefused::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// As a label of a metric.
    pub fn label(self) -> &'static str {
        match self {
            CircuitRefused::NoLink => "no_link",
            CircuitRefused::NoTransit => "no_transit",
            CircuitRefused::Full => "full",
            CircuitRefused::UnknownKey => "unknown_key",
            CircuitRefused::BadHandshake => "bad_handshake",
            CircuitRefused::Replayed => "replayed",
            CircuitRefused::NoRight => "no_right",
        }
    }
}

impl fmt::Display for CircuitRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CircuitRefused::NoLink => "the next agent on the way is not its neighbour",
            CircuitRefused::NoTransit => "it has no right of transit",
            CircuitRefused::Full => "it has as many circuits as it may",
            CircuitRefused::UnknownKey => "it publishes no such key",
            CircuitRefused::BadHandshake => "the handshake does not fit",
            CircuitRefused::Replayed => "the handshake was used before, or is too old",
            CircuitRefused::NoRight => "the listener's agent has no right to this key",
        })
    }
}

const ACCEPTED: u8 = 1;
const TURNED_DOWN: u8 = 2;

impl Answer {
    /// The longest there is, in bytes, behind its length.
    pub const MAX_LENGTH: usize = 1024;

    /// With its length in front, in two bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Answer::Accepted(handshake) => Writer::default().u8(ACCEPTED).bytes(handshake).done(),
            Answer::Refused { by, why } => Writer::default().u8(TURNED_DOWN).bytes(&by.0).u8(why.code()).done(),
        };
        Writer::default().block(&body).done()
    }

    /// Reads one, without the length in front.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(body: &[u8]) -> Result<Answer, Malformed> {
        let mut reader = Reader::new(body);
        let answer = match reader.u8()? {
            ACCEPTED => Answer::Accepted(reader.bytes(reader.left())?.to_vec()),
            TURNED_DOWN => {
                let (by, code) = (AgentId(reader.array()?), reader.u8()?);
                let why =
                    CircuitRefused::from_code(code).ok_or(Malformed("a refusal has a number that is not known"))?;
                Answer::Refused { by, why }
            }
            _ => return Err(Malformed("an answer is of no kind that is known")),
        };
        reader.end()?;
        Ok(answer)
    }
}

/// What the listener's agent wants of the endpoint's, inside the first message of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When it was made, in milliseconds since 1970.
    pub made_at: u64,
    /// What for.
    pub purpose: Purpose,
    /// Who asks: its session key is the one of the handshake.
    pub certificate: Certificate,
}

/// What a circuit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A connection to the target.
    Connect,
    /// To see whether the target takes one.
    Probe,
    /// A connection to the target that can go on over another way, if the endpoint's agent keeps such ones.
    Begin(ResumeId),
    /// To go on with one.
    Resume {
        /// Which.
        connection: ResumeId,
        /// The listener's agent has everything before this position.
        taken: u64,
    },
}

impl Request {
    /// As it is sealed.
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::default().u64(self.made_at);
        let writer = match self.purpose {
            Purpose::Connect => writer.u8(1),
            Purpose::Probe => writer.u8(2),
            Purpose::Begin(connection) => writer.u8(3).bytes(&connection.0),
            Purpose::Resume { connection, taken } => writer.u8(4).bytes(&connection.0).u64(taken),
        };
        writer.bytes(&self.certificate.encode()).done()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Request, Malformed> {
        let mut reader = Reader::new(bytes);
        let made_at = reader.u64()?;
        let purpose = match reader.u8()? {
            1 => Purpose::Connect,
            2 => Purpose::Probe,
            3 => Purpose::Begin(ResumeId(reader.array()?)),
            4 => Purpose::Resume { connection: ResumeId(reader.array()?), taken: reader.u64()? },
            _ => return Err(Malformed("a circuit is for nothing that is known")),
        };
        let certificate = Certificate::decode(reader.bytes(reader.left())?)?;
        reader.end()?;
        Ok(Request { made_at, purpose, certificate })
    }
}
