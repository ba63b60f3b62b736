//! Who is a member of a mesh, and what a member may do.
//!
//! The root of a mesh signs an [`Invitation`]: a name and its rights, for whoever holds the invitation's key. An agent that joins
//! signs its own two keys with that key, which makes a [`Certificate`]. So the root can lie in a drawer while agents join, and no
//! private key of an agent ever leaves its machine.

use std::fmt;

use super::id::{AgentId, AgentName, InvitationId, KeyPattern, MeshId, PublicKey, RoutingKey, SessionKey, Signature};
use super::wire::{Malformed, Reader, Writer};

/// Hashes and looks at signatures for `core`, which has no cryptography of its own.
pub trait Judge {
    /// SHA-256.
    fn hash(&self, message: &[u8]) -> [u8; 32];
    /// Is this the signature of `key` over `message` (RFC 8032 §5.1.7)?
    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;
}

/// Seconds since 1970 by the wall clock: what certificates are dated with.
pub type UnixTime = u64;

const INVITATION_CONTEXT: &[u8] = b"adit mesh invitation 1";
const CERTIFICATE_CONTEXT: &[u8] = b"adit mesh certificate 1";

/// Clocks of agents may differ by so many seconds.
const CLOCK_SKEW: u64 = 300;

/// The most patterns in one right.
pub const MAX_PATTERNS: usize = 64;
/// The most invitations that can be revoked; a new root is due long before.
pub const MAX_REVOKED: usize = 4096;

/// The id of a mesh, from its root's key.
pub fn mesh_id(judge: &impl Judge, root: &PublicKey) -> MeshId {
    MeshId(half(judge.hash(root)))
}

/// The id of an agent, from its key.
pub fn agent_id(judge: &impl Judge, identity: &PublicKey) -> AgentId {
    AgentId(half(judge.hash(identity)))
}

fn invitation_id(judge: &impl Judge, key: &PublicKey) -> InvitationId {
    InvitationId(half(judge.hash(key)))
}

fn half(hash: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// What a member may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// The keys that it may have endpoints for.
    pub publish: Vec<KeyPattern>,
    /// The keys that it may have listeners for.
    pub listen: Vec<KeyPattern>,
    /// Whether others' connections may go through it.
    pub transit: bool,
}

impl Rights {
    /// May it have an endpoint for this key?
    pub fn may_publish(&self, key: &RoutingKey) -> bool {
        self.publish.iter().any(|pattern| pattern.covers(key))
    }

    /// May it have a listener for this key?
    pub fn may_listen(&self, key: &RoutingKey) -> bool {
        self.listen.iter().any(|pattern| pattern.covers(key))
    }
}

/// The root's word that the holder of a key may become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Whoever has its private half is invited.
    pub key: PublicKey,
    /// What the member will be called.
    pub name: AgentName,
    /// What it will be allowed.
    pub rights: Rights,
    /// Until when it may be used for joining.
    pub redeem_until: UnixTime,
    /// Until when the membership lasts.
    pub expires: UnixTime,
}

impl Invitation {
    /// What the root signs.
    pub fn to_sign(&self) -> Vec<u8> {
        let patterns = |writer: Writer, patterns: &[KeyPattern]| {
            let patterns = &patterns[..patterns.len().min(MAX_PATTERNS)];
            writer.u8(patterns.len() as u8).list(patterns, |writer, pattern| writer.text(pattern.as_str()))
        };
        let writer = Writer::default().bytes(INVITATION_CONTEXT).bytes(&self.key).text(self.name.as_str());
        let writer = patterns(patterns(writer, &self.rights.publish), &self.rights.listen);
        writer.flag(self.rights.transit).u64(self.redeem_until).u64(self.expires).done()
    }

    /// Is the membership over, also by a clock that is late?
    pub(super) fn has_expired(&self, now: UnixTime) -> bool {
        now >= self.expires.saturating_add(CLOCK_SKEW)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Invitation, Malformed> {
        let patterns = |reader: &mut Reader<'_>| {
            let count = usize::from(reader.u8()?);
            if count > MAX_PATTERNS {
                return Err(Malformed("a right has too many patterns"));
            }
            reader.list(count, Reader::word)
        };
        if reader.bytes(INVITATION_CONTEXT.len())? != INVITATION_CONTEXT {
            return Err(Malformed("it is no invitation"));
        }
        Ok(Invitation {
            key: reader.array()?,
            name: reader.word()?,
            rights: Rights { publish: patterns(reader)?, listen: patterns(reader)?, transit: reader.flag()? },
            redeem_until: reader.u64()?,
            expires: reader.u64()?,
        })
    }
}

/// An invitation with the root's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInvitation {
    /// What was signed.
    pub invitation: Invitation,
    /// By the root.
    pub signature: Signature,
}

impl SignedInvitation {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        Writer::default().bytes(&self.invitation.to_sign()).bytes(&self.signature).done()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<SignedInvitation, Malformed> {
        let mut reader = Reader::new(bytes);
        let invitation = Invitation::read(&mut reader)?;
        let signature = reader.array()?;
        reader.end()?;
        Ok(SignedInvitation { invitation, signature })
    }
}

/// An agent's keys, signed with the key of its invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What makes it a member.
    pub invitation: SignedInvitation,
    /// The agent's Ed25519 key, which is who it is.
    pub identity: PublicKey,
    /// The agent's X25519 key, to which connections from end to end are encrypted.
    pub session_key: SessionKey,
    /// With the invitation's key.
    pub signature: Signature,
}

impl Certificate {
    /// The longest certificate, in bytes.
    pub const MAX_LENGTH: usize = 40 * 1024;

    /// What is signed with the invitation's key: the agent's two keys, for this invitation.
    pub fn to_sign(invitation: &SignedInvitation, identity: &PublicKey, session_key: &SessionKey) -> Vec<u8> {
        let writer = Writer::default().bytes(CERTIFICATE_CONTEXT).bytes(&invitation.signature);
        writer.bytes(identity).bytes(session_key).done()
    }

    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::default().block(&self.invitation.encode());
        writer.bytes(&self.identity).bytes(&self.session_key).bytes(&self.signature).done()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Certificate, Malformed> {
        let mut reader = Reader::new(bytes);
        let certificate = Certificate {
            invitation: SignedInvitation::decode(reader.block()?)?,
            identity: reader.array()?,
            session_key: reader.array()?,
            signature: reader.array()?,
        };
        reader.end()?;
        Ok(certificate)
    }
}

/// The root's list of invitations that are worth nothing any more. A list with a higher number stands in the place of a lower one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    /// Counts the lists of this root.
    pub number: u64,
    /// In ascending order.
    pub invitations: Vec<InvitationId>,
}

impl Revocations {
    /// Is this invitation among them?
    pub fn contain(&self, invitation: InvitationId) -> bool {
        self.invitations.binary_search(&invitation).is_ok()
    }
}

/// A member of the mesh. Only [`Root::admit`] makes one, so whoever is called a member was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    id: AgentId,
    invitation: InvitationId,
    certificate: Certificate,
}

impl Member {
    /// Which agent.
    pub fn id(&self) -> AgentId {
        self.id
    }

    /// What it was invited with.
    pub fn invitation(&self) -> InvitationId {
        self.invitation
    }

    /// What it is called.
    pub fn name(&self) -> &AgentName {
        &self.certificate.invitation.invitation.name
    }

    /// What it may do.
    pub fn rights(&self) -> &Rights {
        &self.certificate.invitation.invitation.rights
    }

    /// Its Ed25519 key.
    pub fn identity(&self) -> &PublicKey {
        &self.certificate.identity
    }

    /// Its X25519 key.
    pub fn session_key(&self) -> &SessionKey {
        &self.certificate.session_key
    }

    /// When it is none any more, by its own clock; others wait for as long as clocks may differ.
    pub fn expires(&self) -> UnixTime {
        self.certificate.invitation.invitation.expires
    }

    /// Until when its invitation could be used.
    pub fn redeem_until(&self) -> UnixTime {
        self.certificate.invitation.invitation.redeem_until
    }

    /// What shows that it is one.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// A mesh's root, as its members know it.
#[derive(Debug, Clone)]
pub struct Root {
    key: PublicKey,
    mesh: MeshId,
}

impl Root {
    /// The root with this key.
    pub fn new(judge: &impl Judge, key: PublicKey) -> Root {
        Root { key, mesh: mesh_id(judge, &key) }
    }

    /// The mesh of this root.
    pub fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// Its Ed25519 key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Who shows this certificate is a member, as far as the certificate says; whether it was revoked meanwhile is
    /// [`Membership`](super::Membership)'s to know.
    ///
    /// # Errors
    /// A signature is not the one it should be, or the certificate has expired.
    pub fn admit(&self, judge: &impl Judge, certificate: &Certificate, now: UnixTime) -> Result<Member, Refusal> {
        let signed = &certificate.invitation;
        let invitation = &signed.invitation;
        let keys = Certificate::to_sign(signed, &certificate.identity, &certificate.session_key);
        if !judge.verifies(&self.key, &invitation.to_sign(), &signed.signature)
            || !judge.verifies(&invitation.key, &keys, &certificate.signature)
        {
            return Err(Refusal::Forged);
        }
        if invitation.has_expired(now) {
            return Err(Refusal::Expired);
        }
        Ok(Member {
            id: agent_id(judge, &certificate.identity),
            invitation: invitation_id(judge, &invitation.key),
            certificate: certificate.clone(),
        })
    }
}

/// May an invitation that nobody is known to have used be used now?
pub(super) fn may_still_join(member: &Member, now: UnixTime) -> bool {
    now < member.redeem_until().saturating_add(CLOCK_SKEW)
}

/// Why somebody is no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A signature is not the root's, or not the invitation's.
    Forged,
    /// The membership is over.
    Expired,
    /// The root has taken the membership back.
    Revoked,
    /// Another agent has used the invitation before.
    InvitationUsed,
    /// The invitation was not used in time.
    TooLate,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Forged => "the certificate is not signed by this mesh's root",
            Refusal::Expired => "the certificate has expired",
            Refusal::Revoked => "the certificate has been revoked",
            Refusal::InvitationUsed => "another agent has used this invitation before",
            Refusal::TooLate => "the invitation was not used in time",
        })
    }
}

impl std::error::Error for Refusal {}
