//! Every message, mutated, before and after login; and the corpus of the fuzzers. What must hold is asserted by the bodies in
//! `targets`, which the fuzzers run for longer. `ADIT_MUTATIONS=1000000` makes each of these runs as long as the promise.

use std::path::Path;

use super::message::Message;
use super::pair::Random;
use super::targets::{self, Pair};

/// What the fuzzers found worth keeping still holds.
#[test]
fn the_corpus_is_borne() {
    for (target, body) in targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut count = 0;
        for file in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            body(&std::fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

/// How many packets each test mutates, unless `ADIT_MUTATIONS` says otherwise: a few seconds' worth.
const MUTATIONS: u32 = 20_000;

/// What a million mutated packets may leave behind, in both peers together.
const MOST_MEMORY: u64 = 50 << 20;

#[test]
fn mutated_packets_before_the_keys_are_borne() {
    let mut random = Random(1);
    let memory = resident_bytes();
    for _ in 0..mutations() {
        let message = mutated(&before_keys(), &mut random);
        let mut stream = b"SSH-2.0-x\r\n".to_vec();
        if random.below(2) == 0 {
            stream.extend(before_keys()[0].plain_packet());
        }
        let mut packet = message.plain_packet();
        if random.below(4) == 0 {
            flip(&mut packet, &mut random);
        }
        stream.extend(packet);
        targets::before_login(&stream);
    }
    logs_in();
    assert!(resident_bytes() < memory + MOST_MEMORY, "from {memory} to {} bytes", resident_bytes());
}

#[test]
fn mutated_packets_before_login_are_borne() {
    let mut random = Random(2);
    let mut pair = Pair::new();
    pair.exchange_keys();
    let memory = resident_bytes();
    for _ in 0..mutations() {
        pair.guest_says(&mutated(&before_login(), &mut random).0);
        if pair.host.ended.is_some() {
            pair = Pair::new();
            pair.exchange_keys();
        }
        assert!(!pair.host.connection.is_open());
    }
    logs_in();
    assert!(resident_bytes() < memory + MOST_MEMORY, "from {memory} to {} bytes", resident_bytes());
}

#[test]
fn mutated_packets_after_login_are_borne() {
    let mut random = Random(3);
    let mut pair = Pair::new();
    pair.log_in();
    let memory = resident_bytes();
    for _ in 0..mutations() {
        pair.guest_says(&mutated(&after_login(), &mut random).0);
        pair.settle();
        if pair.host.ended.is_some() {
            pair = Pair::new();
            pair.log_in();
        }
    }
    logs_in();
    assert!(resident_bytes() < memory + MOST_MEMORY, "from {memory} to {} bytes", resident_bytes());
}

/// A server's words to a client that answers every question, mutated: see `targets::client_login` for what must hold.
#[test]
fn mutated_packets_of_a_server_are_borne() {
    let mut random = Random(4);
    let memory = resident_bytes();
    // A body runs a whole connection.
    for _ in 0..mutations() / 20 {
        let mut stream = vec![random.next() as u8];
        let mut say = |message: Message| {
            stream.extend((message.0.len() as u16).to_be_bytes());
            stream.extend(message.0);
        };
        for _ in 0..random.below(6) {
            say(mutated(&server_in_login(), &mut random));
        }
        say(Message::new(52));
        for _ in 0..random.below(12) {
            say(mutated(&after_login(), &mut random));
        }
        targets::client_login(&stream);
    }
    logs_in();
    assert!(resident_bytes() < memory + MOST_MEMORY, "from {memory} to {} bytes", resident_bytes());
}

fn mutations() -> u32 {
    std::env::var("ADIT_MUTATIONS").map_or(MUTATIONS, |count| count.parse().expect("ADIT_MUTATIONS is a number"))
}

/// This process's memory, as the kernel counts it. Each test has a process of its own under nextest.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// And then an honest client comes.
fn logs_in() {
    Pair::new().log_in();
}

/// One of `messages` with a few things wrong, or nothing.
fn mutated(messages: &[Message], random: &mut Random) -> Message {
    let mut bytes = messages[random.below(messages.len())].0.clone();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => flip(&mut bytes, random),
            1 => bytes.truncate(at.max(1)),
            2 => bytes.extend_from_slice(&random.next().to_be_bytes()[..1 + at % 8]),
            // Lengths and numbers at their edges.
            3 if bytes.len() > at + 4 => {
                let edges = [0u32, 1, 3, 255, 32_768, 32_769, 1 << 21, 0x7fff_ffff, 0x8000_0000, u32::MAX];
                bytes[at..at + 4].copy_from_slice(&edges[random.below(edges.len())].to_be_bytes());
            }
            4 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            5 => {
                let other = &messages[random.below(messages.len())].0;
                bytes.truncate(at.max(1));
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            _ => bytes[0] = random.next() as u8,
        }
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
        }
    }
    Message(bytes)
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    bytes[at] ^= 1 << random.below(8);
}

fn before_keys() -> Vec<Message> {
    let lists = [
        "curve25519-sha256",
        "ssh-ed25519",
        "aes128-ctr",
        "aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ];
    let offer = lists.iter().fold(Message::new(20).raw(&[0; 16]), Message::string).boolean(false).u32(0);
    vec![
        offer,
        Message::new(30).string([9; 32]),
        Message::new(21),
        Message::new(1).u32(11).string("bye").string(""),
        Message::new(2).string("x"),
        Message::new(4).boolean(true).string("x").string(""),
        Message::new(5).string("ssh-userauth"),
    ]
}

fn before_login() -> Vec<Message> {
    let request = || Message::new(50).string("tunnel").string("ssh-connection");
    let blob = Message(Vec::new()).string("ssh-ed25519").string([1; 32]).0;
    let signature = Message(Vec::new()).string("ssh-ed25519").string([2; 64]).0;
    vec![
        Message::new(5).string("ssh-userauth"),
        request().string("none"),
        request().string("publickey").boolean(false).string("ssh-ed25519").string(&blob),
        request().string("publickey").boolean(true).string("ssh-ed25519").string(&blob).string(&signature),
        request().string("password").boolean(false).string("secret"),
        Message::new(7).u32(1).string("ext-info-in-auth@openssh.com").string("0"),
        Message::new(2).string("x"),
        Message::new(3).u32(1),
    ]
}

/// Everything a server may say to a client that is to be let in.
fn server_in_login() -> Vec<Message> {
    let question = || Message::new(60).string("Login").string("").string("");
    vec![
        Message::new(51).names(&["publickey", "password", "keyboard-interactive"]).boolean(false),
        Message::new(51).names(&["password"]).boolean(true),
        Message::new(53).string("Beware").string("en"),
        question().u32(2).string("Password: ").boolean(false).string("Code: ").boolean(true),
        question().u32(0),
        Message::new(60).string("change it").string(""),
        Message::new(7).u32(1).string("server-sig-algs").string("ssh-ed25519,rsa-sha2-256"),
        Message::new(2).string("x"),
    ]
}

/// Everything a client may say, to the first three channels.
fn after_login() -> Vec<Message> {
    let mut messages = vec![
        Message::new(80).string("tcpip-forward").boolean(true).string("localhost").u32(0),
        Message::new(80).string("tcpip-forward").boolean(true).string("").u32(10_082),
        Message::new(80).string("cancel-tcpip-forward").boolean(true).string("").u32(10_082),
        Message::new(80).string("keepalive@openssh.com").boolean(true),
        Message::new(80).string("hostkeys-prove-00@openssh.com").boolean(true).string("key"),
        Message::new(81).u32(10_000),
        Message::new(82),
        Message::new(90).string("session").u32(0).u32(1 << 21).u32(1 << 15),
        Message::new(90).string("direct-tcpip").u32(0).u32(1 << 21).u32(1 << 15).string("h").u32(1).string("o").u32(2),
        Message::new(2).string("x"),
        Message::new(4).boolean(false).string("x").string(""),
        Message::new(192).string("ping"),
        Message::new(20).raw(&[0; 16]),
    ];
    for channel in 0..3 {
        let to = |number| Message::new(number).u32(channel);
        messages.extend([
            to(91).u32(channel).u32(1 << 21).u32(1 << 15),
            to(92).u32(2).string("connect failed").string(""),
            to(93).u32(1000),
            to(94).string("data"),
            to(95).u32(1).string("error"),
            to(96),
            to(97),
            to(98).string("pty-req").boolean(true).string("xterm").u32(80).u32(24).u32(0).u32(0).string(""),
            to(98).string("shell").boolean(true),
            to(98).string("exec").boolean(true).string("id"),
            to(99),
            to(100),
        ]);
    }
    messages
}
