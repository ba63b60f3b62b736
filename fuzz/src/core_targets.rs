//! What the fuzzers run of the core: each body takes bytes as a stranger would send them, and asserts what must hold whatever they
//! are. Included by the fuzz crate and by the stories of the core, which replay the corpus.

use adit_core::{ConnectFailure, ConnectOutcome, ForwardKind, ForwardSpec, Socks5, SocksRefusal, SocksWish};

/// A target: its name, which is also its folder in the corpus, and its body.
type Target = (&'static str, fn(&[u8]));

pub(super) const ALL: [Target; 2] = [("socks5", socks5), ("forward_spec", forward_spec)];

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
