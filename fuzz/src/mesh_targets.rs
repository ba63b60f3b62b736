//! What the fuzzers run of the mesh: each body takes bytes as a stranger or a hostile transit would send them, and asserts what must hold
//! whatever they are. Included by the fuzz crate and by the tests of the mesh, which replay the corpus.
//!
//! The keys that a handshake draws are others each time, so an input says what is done to the messages rather than what stands in them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use adit_core::mesh::WINDOW;
use zeroize::Zeroizing;

use super::noise::{DatagramSession, Initiator, Kind, LENGTH, MAX_DATA, MAX_SEALED, Responder, Session};

/// A target: its name, which is also its folder in the corpus, and its body.
type Target = (&'static str, fn(&[u8]));

pub(super) const ALL: [Target; 1] = [("mesh_handshake", mesh_handshake)];

/// The two pairs of keys of RFC 7748 §6.1: Alice listens, Bob is the endpoint.
const ALICE: &str = "77 07 6d 0a 73 18 a5 7d 3c 16 c1 72 51 b2 66 45 df 4c 2f 87 eb c0 99 2a b1 77 fb a5 1d b9 2c 2a";
const ALICE_PUBLIC: &str =
    "85 20 f0 09 89 30 a7 54 74 8b 7d dc b4 3e f7 5a 0d bf 3a 0d 26 38 1a f4 eb a4 a9 8e aa 9b 4e 6a";
const BOB: &str = "5d ab 08 7e 62 4a 8a 4b 79 e1 7f 8b 83 80 0e e6 6f 3b b1 29 26 18 b6 fd 1c 2f 8b 27 ff 88 e0 eb";
const BOB_PUBLIC: &str =
    "de 9e db 7d 7b 7d c1 b4 d3 5b 61 c2 ec e4 35 37 3f 83 43 c8 5b 78 67 4d ad fc 7e 14 6f 88 2b 4f";

const PROLOGUE: &[u8] = b"the mesh, the circuit, the key, the origin";
const REQUEST: &[u8] = b"who asks, when, and for what";

/// A first message as Alice once sent it, behind the byte that has it read: the one input that a fuzzer could not come upon.
const RECORDED: &[u8] = include_bytes!("../corpus/mesh_handshake/recorded");

fn key(hex: &str) -> [u8; 32] {
    let bytes = hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal digits"));
    bytes.collect::<Vec<_>>().try_into().expect("32 bytes")
}

fn start() -> (Initiator, Vec<u8>) {
    let alice = Zeroizing::new(key(ALICE));
    Initiator::start(&alice, &key(BOB_PUBLIC), PROLOGUE, REQUEST).expect("a first message")
}

/// What Bob makes of a first message. If it opens, it is Alice's.
fn read(prologue: &[u8], message: &[u8]) -> Option<Responder> {
    let responder = Responder::read(&Zeroizing::new(key(BOB)), prologue, message).ok()?;
    assert_eq!((&*responder.request, responder.listener), (REQUEST, key(ALICE_PUBLIC)));
    Some(responder)
}

/// A message of the handshake or behind it, behind a byte that says whose, and who has it in their hands.
pub(super) fn mesh_handshake(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    match choice % 6 {
        0 => assert_eq!(read(PROLOGUE, bytes).is_some(), data == RECORDED, "a stranger's first message opens"),
        1 => altered_first_message(bytes),
        2 => assert!(start().0.finish(bytes, Instant::now()).is_err(), "a stranger's second message opens"),
        3 => altered_second_message(bytes),
        4 => session(bytes),
        _ => datagrams(bytes),
    }
}

/// The first byte says whether the two mean the same circuit.
fn altered_first_message(edits: &[u8]) {
    let Some((other, edits)) = edits.split_first() else { return };
    let prologue = if other % 2 == 0 { PROLOGUE } else { b"another circuit" };
    let (initiator, sent) = start();
    let came = altered(&sent, edits);
    let responder = read(prologue, &came);
    assert_eq!(
        responder.is_some(),
        came == sent && prologue == PROLOGUE,
        "only what was sent opens, and for its circuit"
    );
    if let Some(responder) = responder {
        let (_, answer) = responder.finish(Instant::now()).expect("a second message");
        initiator.finish(&answer, Instant::now()).map(drop).expect("an unaltered handshake");
    }
}

fn altered_second_message(edits: &[u8]) {
    let (initiator, message) = start();
    let (_, sent) =
        read(PROLOGUE, &message).expect("it is unaltered").finish(Instant::now()).expect("a second message");
    let came = altered(&sent, edits);
    assert_eq!(initiator.finish(&came, Instant::now()).is_ok(), came == sent, "only what was sent opens");
}

/// A message after edits of four bytes each: what is done, where (two bytes), and with which byte.
fn altered(message: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([edit[1], edit[2]])) % (message.len() + 1);
        match (edit[0] % 4, message.get_mut(at)) {
            (0, Some(byte)) => *byte ^= edit[3],
            (1, Some(_)) => drop(message.remove(at)),
            (2, _) => message.truncate(at),
            _ => message.insert(at, edit[3]),
        }
    }
    message
}

/// A message as it was sealed, without its length, and what is in it.
struct Sealed {
    kind: Kind,
    content: Vec<u8>,
    message: Vec<u8>,
}

/// Alice (0) and Bob (1) after their handshake, and a transit between them that has kept all they have ever sealed.
struct Ends {
    sessions: [Session; 2],
    sealed: [Vec<Sealed>; 2],
    /// How many of them the other has opened.
    opened: [usize; 2],
    now: Instant,
}

impl Ends {
    fn new() -> Ends {
        let now = Instant::now();
        let (initiator, message) = start();
        let (bob, answer) = read(PROLOGUE, &message).expect("it is unaltered").finish(now).expect("a second message");
        let alice =
            initiator.finish(&answer, now).unwrap_or_else(|tampered| panic!("an unaltered handshake: {tampered}"));
        Ends { sessions: [alice, bob], sealed: [Vec::new(), Vec::new()], opened: [0, 0], now }
    }

    fn seal(&mut self, who: usize, kind: Kind, length: usize) {
        let content = vec![self.sealed[who].len() as u8; length];
        let (mut plain, mut room) = ([&[0], &*content].concat(), vec![0; 2 * MAX_SEALED]);
        let written = self.sessions[who].seal(kind, &mut plain, &mut room, self.now).expect("it fits");
        let mut messages = Vec::new();
        let mut rest = &room[..written];
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
            let (message, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
            messages.push(message.to_vec());
            rest = behind;
        }
        let message = messages.pop().expect("a message");
        // What stands before it says that the keys are others now.
        let rekeys = messages.into_iter().map(|message| Sealed { kind: Kind::Rekey, content: Vec::new(), message });
        self.sealed[who].extend(rekeys);
        self.sealed[who].push(Sealed { kind, content, message });
    }

    /// A message reaches one end. It opens if it is the next one of the other, and else not.
    fn hear(&mut self, who: usize, message: &[u8]) {
        let other = 1 - who;
        let next = self.sealed[other].get(self.opened[other]).filter(|next| next.message == message);
        let mut plain = vec![0; message.len()];
        let opened = self.sessions[who].open(message, &mut plain).ok();
        let opened = opened.map(|(kind, length)| (kind, &plain[1..=length]));
        assert_eq!(opened, next.map(|next| (next.kind, &*next.content)), "the next message opens, and nothing else");
        self.opened[other] += usize::from(next.is_some());
    }

    /// The transit passes on what comes next from this end, if there is anything, with these edits.
    fn pass_on(&mut self, from: usize, edits: &[u8]) -> bool {
        let Some(next) = self.sealed[from].get(self.opened[from]) else { return false };
        let message = altered(&next.message, edits);
        self.hear(1 - from, &message);
        true
    }
}

/// What a session's ends and the transit do, in steps of four bytes: what and by whom, and three that say more.
fn session(steps: &[u8]) {
    let mut ends = Ends::new();
    let mut steps = steps;
    while let Some((&[step, first, second, third], behind)) = steps.split_first_chunk::<4>() {
        steps = behind;
        let who = usize::from(step % 2);
        let number = usize::from(u16::from_be_bytes([second, third]));
        match step / 2 % 6 {
            0 => {
                let kinds = [Kind::Data, Kind::Fin, Kind::Reset, Kind::Opened, Kind::Failed, Kind::Taken];
                ends.seal(who, kinds[usize::from(first) % kinds.len()], number % (MAX_DATA + 1));
            }
            1 => drop(ends.pass_on(who, &[])),
            2 => drop(ends.pass_on(who, &[first % 4, 0, second, third])),
            // Any message of either end once more, too early, or back to where it is from.
            3 => {
                let from = &ends.sealed[usize::from(first % 2)];
                if let Some(sealed) = from.get(number % from.len().max(1)) {
                    let message = sealed.message.clone();
                    ends.hear(who, &message);
                }
            }
            4 => {
                let (made_up, behind) = steps.split_at(usize::from(first).min(steps.len()));
                steps = behind;
                ends.hear(who, made_up);
            }
            // New keys are due.
            _ => ends.now += Duration::from_secs(3600),
        }
    }
    // Whatever was tried, what was sealed still comes through unaltered.
    for from in [0, 1] {
        while ends.pass_on(from, &[]) {}
        assert_eq!(ends.opened[from], ends.sealed[from].len());
    }
}

/// Two ends whose messages may be lost, doubled and overtaken; the transit has kept all of them.
struct Flow {
    sessions: [DatagramSession; 2],
    sealed: [Vec<Sealed>; 2],
    /// The numbers of those that the other has opened.
    opened: [BTreeSet<u64>; 2],
}

impl Flow {
    fn seal(&mut self, who: usize, kind: Kind, length: usize) {
        let content = vec![self.sealed[who].len() as u8; length];
        let mut plain = [&[0], &*content].concat();
        let message = self.sessions[who].seal(kind, &mut plain, 0).expect("it fits");
        self.sealed[who].push(Sealed { kind, content, message });
    }

    /// The message of this number of an end, with these edits, reaches one. It opens once, while it is not too old.
    fn hear(&mut self, who: usize, from: usize, number: usize, edits: &[u8]) {
        let Some(sealed) = self.sealed[from].get(number % self.sealed[from].len().max(1)) else { return };
        let (number, message) = ((number % self.sealed[from].len()) as u64, altered(&sealed.message, edits));
        let greatest = self.opened[from].last().copied().unwrap_or_default();
        let is_new = !self.opened[from].contains(&number) && number + WINDOW > greatest;
        let opens = from != who && message == sealed.message && is_new;
        let mut plain = vec![0; message.len()];
        let opened = self.sessions[who].open(&message, &mut plain).ok();
        let opened = opened.map(|(kind, length)| (kind, &plain[1..=length]));
        assert_eq!(opened, opens.then_some((sealed.kind, &*sealed.content)), "each message opens once, unaltered");
        if opens {
            self.opened[from].insert(number);
        }
    }
}

/// The same with datagrams.
fn datagrams(steps: &[u8]) {
    let sessions = Ends::new().sessions.map(Session::into_datagrams);
    let mut flow = Flow { sessions, sealed: [Vec::new(), Vec::new()], opened: [BTreeSet::new(), BTreeSet::new()] };
    let mut steps = steps;
    while let Some((&[step, first, second, third], behind)) = steps.split_first_chunk::<4>() {
        steps = behind;
        let (who, from) = (usize::from(step % 2), usize::from(first % 2));
        let number = usize::from(u16::from_be_bytes([second, third]));
        match step / 2 % 4 {
            0 => flow.seal(who, Kind::Data, number % 2048),
            // Enough to leave the window behind, of which nothing needs to arrive; within reason.
            1 if flow.sealed[who].len() < 3 * WINDOW as usize => {
                (0..number % 2048).for_each(|_| flow.seal(who, Kind::Fin, 0))
            }
            1 | 2 => flow.hear(who, from, number, &[]),
            _ => {
                let (edits, behind) = steps.split_at(steps.len().min(4));
                steps = behind;
                flow.hear(who, from, number, edits);
            }
        }
    }
}
