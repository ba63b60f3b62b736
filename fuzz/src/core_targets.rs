//! What the fuzzers run of the core: each body takes bytes as a stranger would send them, and asserts what must hold whatever they
//! are. Included by the fuzz crate and by the stories of the core, which replay the corpus.

use std::time::{Duration, Instant};

use adit_core::mesh::{
    AgentId, Answer, Certificate, Frame, Invitation, Judge, Kept, Keys, MAX_HOPS, Message, Node, Open, PublicKey,
    Record, Request, Rights, Root, Signature, SignedInvitation,
};
use adit_core::{ConnectFailure, ConnectOutcome, ForwardKind, ForwardSpec, Socks5, SocksRefusal, SocksWish};

/// A target: its name, which is also its folder in the corpus, and its body.
type Target = (&'static str, fn(&[u8]));

pub(super) const ALL: [Target; 4] =
    [("socks5", socks5), ("forward_spec", forward_spec), ("mesh_frames", mesh_frames), ("mesh_records", mesh_records)];

/// The longest greeting and the longest request (RFC 1928 §3, §4): more never belongs to a handshake.
const LONGEST_HANDSHAKE: usize = (2 + 255) + (4 + 1 + 255 + 2);

/// A SOCKS client's bytes. The first says how connecting goes.
pub(super) fn socks5(data: &[u8]) {
    let Some((choice, said)) = data.split_first() else { return };
    let failures = [
        ConnectFailure::Refused,
        ConnectFailure::Prohibited,
        ConnectFailure::HostUnreachable,
        ConnectFailure::NetworkUnreachable,
        ConnectFailure::Other,
    ];
    let failure = failures.get(usize::from(*choice)).copied();
    let outcome = failure.map_or(ConnectOutcome::Connected, ConnectOutcome::Failed);
    let whole = handshake(said, said.len().max(1), outcome);
    assert_eq!(whole, handshake(said, 1, outcome), "how the bytes were cut makes a difference");
    assert_eq!(whole, handshake(said, 3, outcome), "how the bytes were cut makes a difference");

    let (wishes, taken) = whole;
    assert!(taken <= LONGEST_HANDSHAKE);
    let connects = wishes.iter().filter(|wish| matches!(wish, SocksWish::Connect(_))).count();
    let relays = wishes.iter().filter(|wish| **wish == SocksWish::Relay).count();
    assert!(relays <= connects && connects <= 1);
    // Whoever did not say that it needs no authentication gets nowhere.
    let methods = said.get(1).and_then(|&count| said.get(2..2 + usize::from(count)));
    assert!(connects == 0 || (said[0] == 5 && methods.is_some_and(|methods| methods.contains(&0))));
    for (at, wish) in wishes.iter().enumerate() {
        match wish {
            SocksWish::Connect(target) => assert!(!target.host().is_empty() && target.host().len() <= 255),
            SocksWish::Send(bytes) => assert!(bytes[0] == 5 && matches!(bytes.len(), 2 | 10)),
            SocksWish::Relay | SocksWish::HangUp(_) => assert_eq!(at, wishes.len() - 1, "this ends a handshake"),
        }
        if let SocksWish::HangUp(refusal) = wish
            && !matches!(refusal, SocksRefusal::NotSocks5(_))
        {
            assert!(at > 0, "a client that speaks SOCKS 5 is told why");
        }
    }
}

/// All that is wished for a client that says this, in pieces; and how much of it was for us.
fn handshake(said: &[u8], piece: usize, outcome: ConnectOutcome) -> (Vec<SocksWish>, usize) {
    let mut socks = Socks5::new();
    let (mut wishes, mut taken) = (Vec::new(), 0);
    for piece in said.chunks(piece) {
        let used = socks.handle_input(piece);
        taken += used;
        while let Some(wish) = socks.poll_output() {
            if matches!(wish, SocksWish::Connect(_)) {
                socks.handle_outcome(outcome);
            }
            wishes.push(wish);
        }
        if used < piece.len() {
            break;
        }
    }
    (wishes, taken)
}

/// What stands behind `-L`, `-D` or `-R`, behind a byte that says which.
pub(super) fn forward_spec(data: &[u8]) {
    let Some((choice, typed)) = data.split_first() else { return };
    let kind = [ForwardKind::Local, ForwardKind::Dynamic, ForwardKind::Remote][usize::from(*choice) % 3];
    let typed = String::from_utf8_lossy(typed);
    match ForwardSpec::parse(kind, &typed) {
        Ok(spec) => {
            assert_eq!(spec.kind(), kind);
            assert!(!spec.to_string().chars().any(char::is_control));
            if let ForwardSpec::Local { listen, .. } | ForwardSpec::Dynamic { listen } = spec {
                assert!(listen.address.ip().is_loopback());
            }
        }
        Err(refused) => {
            let told = refused.to_string();
            assert!(told.len() < 4_000 && !told.chars().any(char::is_control), "{told:?}");
        }
    }
}

/// A message of the mesh, behind a byte that says of which kind. What is read is written the same.
pub(super) fn mesh_frames(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    match choice % 5 {
        0 => drop(Frame::decode(bytes).map(|frame| assert_eq!(frame.encode()[4..], *bytes))),
        1 => drop(Record::decode(bytes).map(|record| assert_eq!(record.encode(), bytes))),
        2 => drop(Open::decode(bytes).map(|open| {
            assert!(open.hops.len() <= MAX_HOPS);
            assert_eq!(open.encode()[2..], *bytes);
        })),
        3 => drop(Answer::decode(bytes).map(|answer| assert_eq!(answer.encode()[2..], *bytes))),
        _ => drop(Request::decode(bytes).map(|request| assert_eq!(request.encode(), bytes))),
    }
}

/// Believes every signature, so that what stands behind them is reached.
struct Credulous;

impl Judge for Credulous {
    fn hash(&self, message: &[u8]) -> [u8; 32] {
        let mut hash = [0; 32];
        for (index, byte) in message.iter().enumerate() {
            hash[index % 16] ^= byte.rotate_left(index as u32 / 16);
        }
        hash
    }

    fn verifies(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        true
    }
}

impl Keys for Credulous {
    fn sign(&self, _: &[u8]) -> Signature {
        [0; 64]
    }
}

/// Messages of a neighbour, each behind its length in two bytes, to an agent that believes every signature.
pub(super) fn mesh_records(data: &[u8]) {
    let (now, unix, peer) = (Instant::now(), 1_800_000_000, AgentId([9; 16]));
    let Some(mut node) = credulous(now, unix) else { return };
    node.handle_link_up(peer, 10, Duration::ZERO, now);
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (message, behind) = behind.split_at(behind.len().min(u16::from_be_bytes(*length).into()));
        rest = behind;
        match Frame::decode(message) {
            Ok(Frame::Digest(digest)) => node.handle_digest(peer, &digest),
            Ok(Frame::Record(record)) => drop(node.handle_record(Some(peer), &record, now, unix)),
            Ok(Frame::Hello(hello)) => drop(node.handle_certificate(&hello.certificate, unix)),
            _ => {}
        }
        while node.poll_output().is_some() {}
        let mut sent = 0;
        while let Some(message) = node.poll_send(peer) {
            let Message::Record(record) = message else { continue };
            assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&*record), "what is passed on is understood");
            sent += 1;
            assert!(sent < 100_000, "a neighbour is sent each record once");
        }
        let me = node.me().id();
        let routes = node.routes();
        assert_eq!(routes.cost(me), Some(0));
        for agent in routes.agents() {
            assert!(routes.to(agent).is_some_and(|route| route.hops() <= MAX_HOPS));
        }
    }
}

fn credulous(now: Instant, unix: u64) -> Option<Node<Credulous>> {
    let invitation = Invitation {
        key: [1; 32],
        name: "me".parse().ok()?,
        rights: Rights { publish: vec!["*".parse().ok()?], listen: vec!["*".parse().ok()?], transit: true },
        redeem_until: unix + 1000,
        expires: unix + 1000,
    };
    let certificate = Certificate {
        invitation: SignedInvitation { invitation, signature: [0; 64] },
        identity: [2; 32],
        session_key: [3; 32],
        signature: [0; 64],
    };
    let root = Root::new(&Credulous, [4; 32]);
    Node::new(Credulous, root, &certificate, Kept::default(), now, unix).ok()
}
