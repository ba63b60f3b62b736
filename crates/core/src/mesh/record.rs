//! What an agent says of itself to the whole mesh, in records that it signs and nobody else can change.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use super::certificate::{Certificate, Judge, MAX_REVOKED};
use super::id::{AgentId, InvitationId, MeshId, PublicKey, RoutingKey, Signature};
use super::wire::{Malformed, Reader, Writer};

/// The longest record, in bytes: 1,024 keys of the greatest length with the longest targets.
pub const MAX_RECORD: usize = 768 * 1024;
/// The most endpoints and listeners of one agent, together.
pub const MAX_SERVICES: usize = 1024;
/// The most links of one agent.
pub const MAX_LINKS: usize = 1024;

const RECORD_CONTEXT: &[u8] = b"adit mesh record 1";

/// What a record tells. Its number on the wire orders the records of an agent: the certificate comes before what it is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Which invitations are revoked; of the root, which signs it itself.
    Revocations,
    /// Who the agent is.
    Presence,
    /// Whom it has a link with.
    Links,
    /// What it publishes and where it listens.
    Services,
}

impl Kind {
    pub(super) fn number(self) -> u8 {
        match self {
            Kind::Revocations => 0,
            Kind::Presence => 1,
            Kind::Links => 2,
            Kind::Services => 3,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Kind, Malformed> {
        match reader.u8()? {
            0 => Ok(Kind::Revocations),
            1 => Ok(Kind::Presence),
            2 => Ok(Kind::Links),
            3 => Ok(Kind::Services),
            _ => Err(Malformed("a record is of no kind that is known")),
        }
    }
}

/// Which record: there is one of each kind for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName {
    /// Of what. It comes first, so that records in their order can be understood one after the other.
    pub kind: Kind,
    /// Whose.
    pub origin: AgentId,
}

/// How new a record is; the greater one counts. The epoch is kept on disk and rises with each start of the agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Of the run of the agent.
    pub epoch: u64,
    /// Within the run.
    pub sequence: u64,
}

/// A link from the agent that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkClaim {
    /// To whom.
    pub peer: AgentId,
    /// What it costs to take it; at least 1.
    pub cost: u16,
    /// How long a message takes there and back, in milliseconds.
    pub rtt_ms: u16,
}

/// What a service speaks below its own protocol. Endpoints and listeners of one key and of different protocols have nothing to do with each
/// other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Its number, as IP has it (RFC 790).
    pub(super) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Protocol, Malformed> {
        match reader.u8()? {
            6 => Ok(Protocol::Tcp),
            17 => Ok(Protocol::Udp),
            _ => Err(Malformed("a protocol is neither TCP nor UDP")),
        }
    }
}

/// The text names neither TCP nor UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownProtocol;

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected tcp or udp")
    }
}

impl Error for UnknownProtocol {}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Protocol, UnknownProtocol> {
        match text {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            _ => Err(UnknownProtocol),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A service that an agent reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What listeners ask for.
    pub key: RoutingKey,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where the service is, as the configuration has it: shown to people, and looked up by the agent alone.
    pub target: String,
    /// The lower one is taken first.
    pub priority: u8,
    /// The last attempt to reach the target did not fail.
    pub is_up: bool,
}

impl Endpoint {
    /// What no other endpoint of the agent has, and their order.
    fn place(&self) -> (&RoutingKey, Protocol, &str) {
        (&self.key, self.protocol, &self.target)
    }
}

/// A place where an agent takes connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What they are for.
    pub key: RoutingKey,
    /// What they speak.
    pub protocol: Protocol,
    /// Where clients connect, as the configuration has it.
    pub address: String,
}

impl Listener {
    /// What no other listener of the agent has, and their order.
    fn place(&self) -> (&RoutingKey, Protocol, &str) {
        (&self.key, self.protocol, &self.address)
    }
}

/// What an agent publishes and where it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// In the order of their keys, then of their protocols and targets.
    pub endpoints: Vec<Endpoint>,
    /// In the same order, of their addresses.
    pub listeners: Vec<Listener>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// [`Kind::Revocations`], in ascending order; the record's epoch is 0, its sequence the list's number from 1 on, and
    /// its signature the root's.
    Revocations(Vec<InvitationId>),
    /// [`Kind::Presence`].
    Presence(Box<Certificate>),
    /// [`Kind::Links`].
    Links(Vec<LinkClaim>),
    /// [`Kind::Services`].
    Services(Services),
}

impl Body {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Body::Revocations(_) => Kind::Revocations,
            Body::Presence(_) => Kind::Presence,
            Body::Links(_) => Kind::Links,
            Body::Services(_) => Kind::Services,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Body::Revocations(revoked) => {
                let revoked = &revoked[..revoked.len().min(MAX_REVOKED)];
                Writer::default().u16(revoked.len() as u16).list(revoked, |writer, id| writer.bytes(&id.0)).done()
            }
            Body::Presence(certificate) => certificate.encode(),
            Body::Links(links) => {
                let links = &links[..links.len().min(MAX_LINKS)];
                let write =
                    |writer: Writer, link: &LinkClaim| writer.bytes(&link.peer.0).u16(link.cost).u16(link.rtt_ms);
                Writer::default().u16(links.len() as u16).list(links, write).done()
            }
            Body::Services(services) => {
                let endpoints = &services.endpoints[..services.endpoints.len().min(MAX_SERVICES)];
                let listeners = &services.listeners[..services.listeners.len().min(MAX_SERVICES)];
                let endpoint = |writer: Writer, endpoint: &Endpoint| {
                    let writer =
                        writer.text(endpoint.key.as_str()).u8(endpoint.protocol.number()).text(&endpoint.target);
                    writer.u8(endpoint.priority).flag(endpoint.is_up)
                };
                let listener = |writer: Writer, listener: &Listener| {
                    writer.text(listener.key.as_str()).u8(listener.protocol.number()).text(&listener.address)
                };
                let writer = Writer::default().u16(endpoints.len() as u16).list(endpoints, endpoint);
                writer.u16(listeners.len() as u16).list(listeners, listener).done()
            }
        }
    }

    fn decode(kind: Kind, bytes: &[u8]) -> Result<Body, Malformed> {
        let mut reader = Reader::new(bytes);
        let body = match kind {
            Kind::Revocations => {
                let count = usize::from(reader.u16()?);
                let revoked = reader.list(count, |reader| Ok(InvitationId(reader.array()?)))?;
                if count > MAX_REVOKED || !revoked.is_sorted_by(|one, next| one < next) {
                    return Err(Malformed("a list of revocations is too long, or not in order"));
                }
                Body::Revocations(revoked)
            }
            Kind::Presence => return Ok(Body::Presence(Box::new(Certificate::decode(bytes)?))),
            Kind::Links => {
                let count = usize::from(reader.u16()?);
                let links = reader.list(count, |reader| {
                    Ok(LinkClaim { peer: AgentId(reader.array()?), cost: reader.u16()?, rtt_ms: reader.u16()? })
                })?;
                if count > MAX_LINKS || links.iter().any(|link| link.cost == 0) {
                    return Err(Malformed("a list of links is too long, or one costs nothing"));
                }
                Body::Links(links)
            }
            Kind::Services => {
                let count = usize::from(reader.u16()?);
                let endpoints = reader.list(count, |reader| {
                    Ok(Endpoint {
                        key: reader.word()?,
                        protocol: Protocol::read(reader)?,
                        target: reader.text()?.to_owned(),
                        priority: reader.u8()?,
                        is_up: reader.flag()?,
                    })
                })?;
                let count = usize::from(reader.u16()?);
                let listeners = reader.list(count, |reader| {
                    let (key, protocol) = (reader.word()?, Protocol::read(reader)?);
                    Ok(Listener { key, protocol, address: reader.text()?.to_owned() })
                })?;
                if endpoints.len() + listeners.len() > MAX_SERVICES {
                    return Err(Malformed("an agent has too many services"));
                }
                let are_in_order = endpoints.is_sorted_by(|one, next| one.place() < next.place())
                    && listeners.is_sorted_by(|one, next| one.place() < next.place());
                if !are_in_order {
                    return Err(Malformed("endpoints or listeners are not in order, or one is there twice"));
                }
                Body::Services(Services { endpoints, listeners })
            }
        };
        reader.end()?;
        Ok(body)
    }
}

/// A record as it travels: whose, what, how new, signed by its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub name: RecordName,
    /// How new.
    pub version: Version,
    /// What it says.
    pub body: Body,
    signature: Signature,
    signed: Vec<u8>,
}

impl Record {
    /// Writes a record; `sign` makes the origin's signature over what it is given.
    pub fn create(
        mesh: MeshId,
        origin: AgentId,
        version: Version,
        body: Body,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Record {
        let name = RecordName { origin, kind: body.kind() };
        let encoded = body.encode();
        let signed = Writer::default().bytes(&origin.0).u8(name.kind.number());
        let signed = signed.u64(version.epoch).u64(version.sequence);
        let signed = signed.u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX)).bytes(&encoded).done();
        let signature = sign(&in_context(mesh, &signed));
        Record { name, version, body, signature, signed }
    }

    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        [&self.signed[..], &self.signature].concat()
    }

    /// Reads what [`encode`](Self::encode) wrote. Nothing is believed yet: see [`is_signed_by`](Self::is_signed_by).
    ///
    /// # Errors
    /// The bytes are no record.
    pub fn decode(bytes: &[u8]) -> Result<Record, Malformed> {
        if bytes.len() > MAX_RECORD {
            return Err(Malformed("a record is too long"));
        }
        let mut reader = Reader::new(bytes);
        let name = RecordName { origin: AgentId(reader.array()?), kind: Kind::read(&mut reader)? };
        let version = Version { epoch: reader.u64()?, sequence: reader.u64()? };
        if name.kind == Kind::Revocations && (version.epoch != 0 || version.sequence == 0) {
            return Err(Malformed("a list of revocations has an epoch, or no number"));
        }
        let length = usize::try_from(reader.u32()?).map_err(|_| Malformed("a record is too long"))?;
        let body = Body::decode(name.kind, reader.bytes(length)?)?;
        let signature = reader.array()?;
        reader.end()?;
        let signed = bytes[..bytes.len() - signature.len()].to_vec();
        Ok(Record { name, version, body, signature, signed })
    }

    /// Did the holder of this key write it, for this mesh?
    pub fn is_signed_by(&self, judge: &impl Judge, mesh: MeshId, key: &PublicKey) -> bool {
        judge.verifies(key, &in_context(mesh, &self.signed), &self.signature)
    }
}

fn in_context(mesh: MeshId, signed: &[u8]) -> Vec<u8> {
    [RECORD_CONTEXT, &mesh.0, signed].concat()
}

const _: () = assert!(MAX_REVOKED * 16 + 128 < MAX_RECORD, "a full list of revocations is a record");
