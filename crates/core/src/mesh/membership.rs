//! Knows who is a member now: certificates that the root stands behind, less what it has taken back, one agent for each invitation.

use std::collections::BTreeMap;

use super::certificate::{Certificate, Judge, Member, Refusal, Revocations, Root, UnixTime, agent_id, may_still_join};
use super::id::{AgentId, InvitationId};

/// The members that an agent knows. What of it must outlive a restart is [`pins`](Self::pins) and the list of revocations.
#[derive(Debug)]
pub struct Membership {
    root: Root,
    members: BTreeMap<AgentId, Member>,
    /// Which agent was the first to show an invitation.
    pins: BTreeMap<InvitationId, AgentId>,
    revocations: Revocations,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Its agent is at the other end of a link.
    InPerson,
    /// Another member passed it on, and has known its agent in time.
    ByAMember,
}

impl Membership {
    /// Nobody is a member yet.
    pub fn new(root: Root) -> Membership {
        Membership { root, members: BTreeMap::new(), pins: BTreeMap::new(), revocations: Revocations::default() }
    }

    /// The mesh's root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Takes what an earlier run of this agent knew.
    pub fn restore_pins(&mut self, pins: impl IntoIterator<Item = (InvitationId, AgentId)>) {
        self.pins.extend(pins);
    }

    /// Which agent has used which invitation.
    pub fn pins(&self) -> &BTreeMap<InvitationId, AgentId> {
        &self.pins
    }

    /// The list that counts now.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Admits who shows a certificate, if the root stands behind it, it is not revoked, and nobody else has used its invitation.
    ///
    /// # Errors
    /// Why not. Nothing has changed then.
    pub fn admit(
        &mut self,
        judge: &impl Judge,
        certificate: &Certificate,
        shown: Shown,
        now: UnixTime,
    ) -> Result<&Member, Refusal> {
        let member = self.look_at(judge, certificate, shown, now)?;
        self.pins.insert(member.invitation(), member.id());
        Ok(self.members.entry(member.id()).insert_entry(member).into_mut())
    }

    /// What [`admit`](Self::admit) would say; changes nothing.
    ///
    /// # Errors
    /// Why not.
    pub fn look_at(
        &self,
        judge: &impl Judge,
        certificate: &Certificate,
        shown: Shown,
        now: UnixTime,
    ) -> Result<Member, Refusal> {
        let known = self.members.get(&agent_id(judge, &certificate.identity));
        let member = match known.filter(|known| known.certificate() == certificate && !has_expired(known, now)) {
            // Its signatures have been looked at.
            Some(known) => known.clone(),
            None => self.root.admit(judge, certificate, now)?,
        };
        if self.revocations.contain(member.invitation()) {
            return Err(Refusal::Revoked);
        }
        match self.pins.get(&member.invitation()) {
            Some(user) if *user != member.id() => Err(Refusal::InvitationUsed),
            None if shown == Shown::InPerson && !may_still_join(&member, now) => Err(Refusal::TooLate),
            _ => Ok(member),
        }
    }

    /// Takes a list of revocations that the root has signed; whoever stands in it is no member from now on. Answers who that was, or
    /// `None` when the list is no newer than the one that counts.
    pub fn handle_revocations(&mut self, revocations: Revocations) -> Option<Vec<AgentId>> {
        if revocations.number <= self.revocations.number {
            return None;
        }
        self.revocations = revocations;
        let revoked = |member: &Member| self.revocations.contain(member.invitation());
        let gone: Vec<AgentId> = self.members.values().filter(|member| revoked(member)).map(Member::id).collect();
        self.members.retain(|id, _| gone.binary_search(id).is_err());
        Some(gone)
    }

    /// Forgets whose membership has expired, by the same rule that admits nobody any more, and answers who that was.
    pub fn handle_time(&mut self, now: UnixTime) -> Vec<AgentId> {
        self.members.extract_if(.., |_, member| has_expired(member, now)).map(|(agent, _)| agent).collect()
    }

    /// The member with this id.
    pub fn get(&self, agent: AgentId) -> Option<&Member> {
        self.members.get(&agent)
    }

    /// Every member, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }
}

fn has_expired(member: &Member, now: UnixTime) -> bool {
    member.certificate().invitation.invitation.has_expired(now)
}
