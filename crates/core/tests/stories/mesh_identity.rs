//! Who is believed in a mesh, what about, and how long.

use std::cell::Cell;
use std::time::Duration;

use adit_core::mesh::{
    AgentId, Body, Certificate, InvitationId, Judge, Keys, LinkClaim, Membership, MeshId, Node, Protocol, PublicKey,
    Record, Refusal, Rejected, Revocations, Rights, Root, Shown, Signature, Version,
};

use crate::mesh_keys::{DAWN, ToyKeys, YEAR, all_rights, invite, join, sign_invitation, without_transit};
use crate::mesh_model::mistake;
use crate::mesh_net::{TestMesh, WIRE, endpoint, millis, routing_key, services};

const FIRST: Version = Version { epoch: DAWN, sequence: 1 };

/// A record of `origin` with the signature of `signer`.
fn record(mesh: &TestMesh, origin: AgentId, signer: &ToyKeys, body: Body) -> Record {
    record_of(mesh, origin, signer, FIRST, body)
}

fn record_of(mesh: &TestMesh, origin: AgentId, signer: &ToyKeys, version: Version, body: Body) -> Record {
    Record::create(mesh.trusted_root().mesh(), origin, version, body, |message| signer.sign(message))
}

fn presence(certificate: &Certificate) -> Body {
    Body::Presence(Box::new(certificate.clone()))
}

/// The root's list with this number.
fn list(mesh: &TestMesh, number: u64, revoked: &[usize]) -> Record {
    let mut revoked: Vec<InvitationId> = revoked.iter().map(|agent| invitation_of(mesh, *agent)).collect();
    revoked.sort_unstable();
    let version = Version { epoch: 0, sequence: number };
    record_of(mesh, AgentId(mesh.trusted_root().mesh().0), &mesh.root, version, Body::Revocations(revoked))
}

fn invitation_of(mesh: &TestMesh, agent: usize) -> InvitationId {
    mesh.trusted_root().admit(&mesh.root, &mesh.agents[agent].certificate, DAWN).unwrap().invitation()
}

/// An agent that is a member, and does not run.
fn absent(mesh: &mut TestMesh) -> (AgentId, ToyKeys, Certificate) {
    let number = mesh.add(all_rights());
    let it = &mesh.agents[number];
    (it.id, it.keys, it.certificate.clone())
}

#[test]
fn a_record_is_its_origins_alone() {
    let mut mesh = TestMesh::line(2);
    let (absent, keys, certificate) = absent(&mut mesh);
    let liar = mesh.agents[1].keys;
    let of_liar = mesh.agents[1].certificate.clone();

    let early = record(&mesh, absent, &keys, Body::Services(services(&["a"])));
    assert_eq!(mesh.hand(0, Some(1), &early), Err(Rejected::Stranger), "nobody knows it yet");
    let borrowed = record(&mesh, absent, &liar, presence(&of_liar));
    assert_eq!(mesh.hand(0, Some(1), &borrowed), Err(Rejected::Forged), "another's certificate");
    let lie = record(&mesh, absent, &liar, presence(&certificate));
    assert_eq!(mesh.hand(0, Some(1), &lie), Err(Rejected::Forged), "another's signature");
    let stranger = ToyKeys::of("another root");
    let invited = ToyKeys::of("invited elsewhere");
    let elsewhere = join(invite(&stranger, &invited, all_rights()), &invited, &keys);
    let elsewhere = record(&mesh, absent, &keys, presence(&elsewhere));
    assert_eq!(mesh.hand(0, Some(1), &elsewhere), Err(Rejected::Refused(Refusal::Forged)), "another root");

    let true_one = record(&mesh, absent, &keys, presence(&certificate));
    assert_eq!(mesh.hand(0, Some(1), &true_one), Ok(true));
    assert_eq!(mesh.hand(0, Some(1), &true_one), Ok(false), "no news any more");
    let lie = record(&mesh, absent, &liar, Body::Services(services(&["a"])));
    assert_eq!(mesh.hand(0, Some(1), &lie), Err(Rejected::Forged));
    let later = Version { epoch: DAWN + 9, sequence: 9 };
    let lie = record_of(&mesh, mesh.id(0), &liar, later, Body::Services(services(&["a"])));
    assert_eq!(mesh.hand(0, Some(1), &lie), Err(Rejected::Forged), "an agent knows its own words");
    let first_list = Version { epoch: 0, sequence: 1 };
    let lie = record_of(&mesh, AgentId(mesh.trusted_root().mesh().0), &liar, first_list, Body::Revocations(vec![]));
    assert_eq!(mesh.hand(0, Some(1), &lie), Err(Rejected::Forged), "the root alone revokes");
    let lie = record_of(&mesh, mesh.id(1), &liar, first_list, Body::Revocations(vec![]));
    assert_eq!(mesh.hand(0, Some(1), &lie), Err(Rejected::Stranger));
    assert!(mesh.agents[0].cuts.is_empty());
    assert_eq!(mistake(&mut mesh), None);
}

/// Looks at signatures, and counts them.
struct Counting(Cell<usize>);

impl Judge for Counting {
    fn hash(&self, message: &[u8]) -> [u8; 32] {
        ToyKeys::of("").hash(message)
    }

    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        self.0.set(self.0.get() + 1);
        ToyKeys::of("").verifies(key, message, signature)
    }
}

#[test]
fn the_signatures_of_a_certificate_that_is_known_are_looked_at_once() {
    let (root, invited, keys) = (ToyKeys::of("root"), ToyKeys::of("invited"), ToyKeys::of("agent"));
    let certificate = join(invite(&root, &invited, all_rights()), &invited, &keys);
    let judge = Counting(Cell::new(0));
    let mut membership = Membership::new(Root::new(&judge, root.public));
    let member = membership.admit(&judge, &certificate, Shown::ByAMember, DAWN).unwrap().clone();
    assert_eq!(judge.0.get(), 2, "the root's and the invitation's");
    let look_at = |membership: &Membership, certificate: &Certificate, now| {
        membership.look_at(&judge, certificate, Shown::InPerson, now)
    };
    assert_eq!(look_at(&membership, &certificate, DAWN + 1), Ok(member.clone()));
    assert_eq!(judge.0.get(), 2);
    let mut changed = certificate.clone();
    changed.signature[0] ^= 1;
    assert_eq!(look_at(&membership, &changed, DAWN), Err(Refusal::Forged), "one that is like it");
    assert_eq!(look_at(&membership, &certificate, DAWN + 2 * YEAR), Err(Refusal::Expired));
    let list = Revocations { number: 1, invitations: vec![member.invitation()] };
    assert_eq!(membership.handle_revocations(list), Some(vec![member.id()]));
    assert_eq!(look_at(&membership, &certificate, DAWN), Err(Refusal::Revoked));
}

#[test]
fn a_record_of_another_mesh_is_worth_nothing() {
    let mut mesh = TestMesh::line(2);
    let (absent, keys, certificate) = absent(&mut mesh);
    let elsewhere =
        Record::create(MeshId([7; 16]), absent, FIRST, presence(&certificate), |message| keys.sign(message));
    assert_eq!(mesh.hand(0, Some(1), &elsewhere), Err(Rejected::Forged));
}

#[test]
fn services_without_the_right_to_them_are_overlooked() {
    let mut mesh = TestMesh::line(2);
    let rights = Rights { publish: vec!["my-*".parse().unwrap()], listen: vec!["a".parse().unwrap()], transit: true };
    let modest = mesh.add(rights);
    mesh.agents[modest].services = services(&["yours", "my-files"]);
    mesh.start(modest);
    mesh.link(1, modest, WIRE);
    mesh.run_for(Duration::from_secs(2));
    let id = mesh.id(modest);
    for agent in [0, 1, modest] {
        let node = mesh.node(agent);
        assert_eq!(node.services(id).endpoints, [endpoint("my-files")]);
        assert_eq!(node.services(id).listeners, []);
        assert_eq!(node.endpoints(&routing_key("yours"), Protocol::Tcp), []);
        assert_eq!(node.endpoints(&routing_key("my-files"), Protocol::Tcp), [(id, &endpoint("my-files"))]);
    }
}

#[test]
fn nobody_is_passed_through_who_has_no_right_of_transit() {
    let mut mesh = TestMesh::new(4);
    let bar = mesh.add(without_transit());
    for (one, other) in [(0, bar), (bar, 1), (0, 2), (2, 3), (3, 1)] {
        mesh.link(one, other, WIRE);
    }
    (0..5).for_each(|agent| mesh.start(agent));
    mesh.run_for(Duration::from_secs(3));
    assert_eq!(mesh.way(0, 1), Some(vec![0, 2, 3, 1]), "the longer way");
    assert_eq!((mesh.way(0, bar), mesh.way(bar, 1)), (Some(vec![0, bar]), Some(vec![bar, 1])));
    mesh.unlink(2, 3);
    mesh.run_for(Duration::from_secs(3));
    assert_eq!(mesh.way(0, 1), None);
    assert_eq!(mesh.node(0).endpoints(&routing_key("key of 1"), Protocol::Tcp).len(), 1, "news passes");
}

#[test]
fn a_link_that_one_end_alone_claims_is_not_taken() {
    let mut mesh = TestMesh::line(2);
    let (absent, keys, certificate) = absent(&mut mesh);
    let claims = [0, 1].map(|agent| LinkClaim { peer: mesh.id(agent), cost: 1, rtt_ms: 1 });
    for body in [presence(&certificate), Body::Links(claims.to_vec()), Body::Services(services(&["bait"]))] {
        let claim = record(&mesh, absent, &keys, body);
        assert_eq!(mesh.hand(0, Some(1), &claim), Ok(true));
    }
    assert_eq!(mesh.node(0).endpoints(&routing_key("bait"), Protocol::Tcp).len(), 1);
    assert_eq!((mesh.node(0).routes().to(absent), mesh.way(0, 1)), (None, Some(vec![0, 1])));
}

#[test]
fn who_has_expired_is_cut_once_and_stays_away() {
    let mut mesh = TestMesh::line(3);
    let brief = mesh.add(all_rights());
    let (invited, keys) = (ToyKeys::of("a short invitation"), mesh.agents[brief].keys);
    let mut invitation = invite(&mesh.root, &invited, all_rights()).invitation;
    invitation.expires = DAWN + 100;
    mesh.agents[brief].certificate = join(sign_invitation(&mesh.root, invitation), &invited, &keys);
    mesh.start(brief);
    mesh.link(2, brief, WIRE);
    // Clocks may differ by 300 s: until then it is a member, whoever looks and however often.
    for seconds in [99, 2, 100, 100, 90] {
        mesh.run_for(Duration::from_secs(seconds));
        mesh.dial(2, brief);
        mesh.run_for(Duration::from_secs(1));
        assert_eq!(mesh.way(0, brief), Some(vec![0, 1, 2, brief]));
        assert!(mesh.agents.iter().all(|agent| agent.cuts.is_empty()));
    }
    mesh.run_for(Duration::from_secs(10));
    let id = mesh.id(brief);
    for agent in 0..4 {
        assert_eq!(mesh.agents[agent].cuts, [(id, Refusal::Expired)], "at {agent}");
    }
    mesh.dial(2, brief);
    mesh.run_for(Duration::from_secs(2));
    assert!(!mesh.is_linked(2, brief));
    assert_eq!((mesh.way(0, brief), mesh.node(0).endpoints(&routing_key("key of 3"), Protocol::Tcp)), (None, vec![]));
    assert_eq!(mesh.agents[0].cuts.len(), 1);
}

#[test]
fn who_is_revoked_is_cut_everywhere_within_a_second() {
    let mut mesh = TestMesh::line(5);
    let (list, id) = (list(&mesh, 1, &[4]), mesh.id(4));
    assert_eq!(mesh.hand(0, None, &list), Ok(true));
    mesh.run_for(Duration::from_secs(1));
    for agent in 0..4 {
        assert_eq!(mesh.agents[agent].cuts, [(id, Refusal::Revoked)], "at {agent}");
        assert_eq!(mesh.node(agent).endpoints(&routing_key("key of 4"), Protocol::Tcp), []);
        assert!(mesh.node(agent).membership().get(id).is_none());
        assert!(mesh.records(agent).iter().all(|name| name.origin != id), "at {agent}");
    }
    mesh.dial(3, 4);
    mesh.run_for(Duration::from_secs(1));
    assert!(!mesh.is_linked(3, 4), "and it does not come in again");
    // Its link was cut before it could hear why. When it does, it knows itself, also in its next life.
    assert_eq!(mesh.hand(4, None, &list), Ok(true));
    assert_eq!(mesh.agents[4].cuts, [(id, Refusal::Revoked)]);
    mesh.kill(4, millis(0));
    let it = &mesh.agents[4];
    let again = Node::new(it.keys, mesh.trusted_root(), &it.certificate, it.kept.clone(), mesh.now, DAWN);
    assert_eq!(again.err(), Some(Refusal::Revoked));
}

#[test]
fn the_revoked_do_not_come_back_with_who_was_away() {
    let mut mesh = TestMesh::line(4);
    mesh.unlink(1, 2);
    mesh.run_for(Duration::from_secs(1));
    let (list, id) = (list(&mesh, 1, &[3]), mesh.id(3));
    mesh.hand(0, None, &list).unwrap();
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.way(2, 3), Some(vec![2, 3]), "2 has not heard of it");
    // 1 has nothing left but its disk.
    mesh.kill(1, millis(0));
    mesh.start(1);
    assert_eq!(mesh.node(1).membership().revocations().number, 1);
    mesh.link(1, 2, WIRE);
    mesh.run_for(Duration::from_secs(1));
    for agent in 0..3 {
        assert!(mesh.node(agent).membership().get(id).is_none(), "at {agent}");
        assert_eq!(mesh.node(agent).endpoints(&routing_key("key of 3"), Protocol::Tcp), []);
    }
    assert!(!mesh.is_linked(2, 3));
}

#[test]
fn an_older_list_is_no_news_and_a_newer_one_may_forgive() {
    let mut mesh = TestMesh::line(3);
    let lists = [list(&mesh, 1, &[]), list(&mesh, 2, &[2]), list(&mesh, 3, &[])];
    let id = mesh.id(2);
    // Away before it is told; who was told ends, and remembers.
    mesh.kill(2, millis(0));
    assert_eq!(mesh.hand(0, None, &lists[1]), Ok(true));
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.hand(0, None, &lists[0]), Ok(false));
    assert_eq!(mesh.hand(1, None, &lists[0]), Ok(false));
    assert!(mesh.node(1).membership().get(id).is_none());
    assert_eq!(mesh.hand(0, None, &lists[2]), Ok(true));
    mesh.run_for(Duration::from_secs(1));
    mesh.start(2);
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(mistake(&mut mesh), None);
}

#[test]
fn a_list_without_number_or_with_an_epoch_is_not_the_roots() {
    let mut mesh = TestMesh::line(2);
    let origin = AgentId(mesh.trusted_root().mesh().0);
    for (epoch, sequence) in [(0, 0), (1, 1)] {
        let version = Version { epoch, sequence };
        let list = record_of(&mesh, origin, &mesh.root, version, Body::Revocations(vec![invitation_of(&mesh, 1)]));
        assert!(matches!(mesh.hand(0, None, &list), Err(Rejected::Malformed(_))), "{version:?}");
    }
    assert!(mesh.agents[0].cuts.is_empty());
}

#[test]
fn an_invitation_is_good_for_one_agent() {
    let mut mesh = TestMesh::line(3);
    let thief = mesh.add(all_rights());
    let keys = mesh.agents[thief].keys;
    let stolen = mesh.agents[2].certificate.invitation.clone();
    mesh.agents[thief].certificate = join(stolen, &ToyKeys::of("invitation 2"), &keys);
    let (id, certificate) = (mesh.id(thief), mesh.agents[thief].certificate.clone());

    let unix = mesh.unix(0);
    assert_eq!(mesh.node(0).handle_certificate(&certificate, unix), Err(Refusal::InvitationUsed));
    let told = record(&mesh, id, &keys, presence(&certificate));
    assert_eq!(mesh.hand(0, Some(1), &told), Err(Rejected::Refused(Refusal::InvitationUsed)));
    mesh.kill(0, millis(0));
    mesh.start(0);
    assert_eq!(mesh.node(0).handle_certificate(&certificate, unix), Err(Refusal::InvitationUsed), "after a restart");
    mesh.start(thief);
    mesh.link(1, thief, WIRE);
    mesh.run_for(Duration::from_secs(2));
    assert!(!mesh.is_linked(1, thief));
    mesh.agents[thief].is_leaving = true;
    assert_eq!(mistake(&mut mesh), None);
}

#[test]
fn an_invitation_that_is_used_too_late_needs_somebody_who_knew_in_time() {
    let mut mesh = TestMesh::line(2);
    let (absent, keys, certificate) = absent(&mut mesh);
    let late = DAWN + 8 * 24 * 3600;
    assert_eq!(mesh.node(0).handle_certificate(&certificate, late), Err(Refusal::TooLate));
    let told = record(&mesh, absent, &keys, presence(&certificate)).encode();
    let (now, from) = (mesh.now, mesh.id(1));
    assert_eq!(mesh.node(0).handle_record(Some(from), &told, now, late), Ok(true));
    assert!(mesh.node(0).handle_certificate(&certificate, late).is_ok(), "it is known now");
    assert_eq!(mesh.node(0).handle_certificate(&certificate, DAWN + 2 * YEAR), Err(Refusal::Expired));
}

#[test]
fn what_an_earlier_life_said_is_overtaken() {
    let mut mesh = TestMesh::line(4);
    mesh.kill(3, Duration::from_secs(8));
    mesh.agents[3].kept = Default::default();
    mesh.agents[3].clock_behind = 3600;
    mesh.agents[3].services = services(&["new"]);
    mesh.start(3);
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(mistake(&mut mesh), None);
    assert_eq!((mesh.reachable(0, "new"), mesh.reachable(0, "key of 3")), (1, 0));
    assert!(mesh.agents[3].kept.epoch > DAWN, "and the next life begins after it");
}

#[test]
fn the_newest_of_several_earlier_lives_is_overtaken() {
    let mut mesh = TestMesh::line(2);
    let (id, keys) = (mesh.id(0), mesh.agents[0].keys);
    // What it says of its services is not due at once, so that the second record still is news.
    mesh.serve(0, services(&["new"]));
    for (epoch, body) in
        [(DAWN + 100, presence(&mesh.agents[0].certificate)), (DAWN + 50, Body::Services(services(&["old"])))]
    {
        let old = record_of(&mesh, id, &keys, Version { epoch, sequence: 9 }, body);
        assert_eq!(mesh.hand(0, Some(1), &old), Ok(true));
    }
    assert_eq!(mesh.node(0).kept().epoch, DAWN + 101);
}

#[test]
fn an_earlier_life_with_another_certificate_takes_nothing_from_this_one() {
    let mut mesh = TestMesh::line(3);
    mesh.run_for(Duration::from_secs(1));
    mesh.kill(1, Duration::from_secs(8));
    // It was invited anew, with transit taken away, and its disk and clock are no help.
    let (invited, keys) = (ToyKeys::of("second invitation"), mesh.agents[1].keys);
    mesh.agents[1].certificate = join(invite(&mesh.root, &invited, without_transit()), &invited, &keys);
    mesh.agents[1].kept = Default::default();
    mesh.agents[1].clock_behind = 3600;
    mesh.start(1);
    mesh.run_for(Duration::from_secs(3));
    let id = mesh.id(1);
    for agent in 0..3 {
        assert!(!mesh.node(agent).membership().get(id).unwrap().rights().transit, "at {agent}");
    }
    assert_eq!((mesh.way(0, 2), mistake(&mut mesh)), (None, None));
}

#[test]
fn who_leaves_before_it_was_heard_is_gone_all_the_same() {
    let mut mesh = TestMesh::line(3);
    mesh.kill(2, Duration::from_secs(8));
    mesh.agents[2].kept = Default::default();
    mesh.agents[2].clock_behind = 3600;
    mesh.start(2);
    mesh.leave(2);
    mesh.run_for(Duration::from_secs(2));
    assert_eq!((mesh.way(0, 2), mesh.node(0).endpoints(&routing_key("key of 2"), Protocol::Tcp)), (None, vec![]));
}
