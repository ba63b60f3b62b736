//! Peers that break the rules before anybody is logged in.

use std::time::Instant;

use super::message::Message;
use super::pair::{Pair, Pieces, Random, Setup};
use crate::crypto::{Cipher, HostKey, KexAlgorithm, Mac};
use crate::negotiation::{Side, write_kexinit};
use crate::{Algorithms, DisconnectCode};

const VERSION: &[u8] = b"SSH-2.0-Attacker_1.0\r\n";

#[test]
fn what_is_not_ssh_is_turned_away() {
    for line in [
        &b"GET / HTTP/1.1\r\nHost: jump\r\n\r\n"[..],
        b"SSH-1.5-old\r\n",
        b"\r\n",
        b"\n",
        b"\0\n",
        b"ssh-2.0-x\n",
        b"SSH-2.0\n",
    ] {
        let mut stranger = Stranger::new();
        stranger.says(line);
        assert_eq!(stranger.end_code(), DisconnectCode::VersionNotSupported, "{:?}", line.escape_ascii().to_string());
    }
    for line in [&b"SSH-2.0-x\n"[..], b"SSH-1.99-x\r\n", b"SSH-2.0-\r\n", b"SSH-2.0-PuTTY_\xff \x1b[2J\r\n"] {
        let mut stranger = Stranger::new();
        stranger.says(line);
        assert_eq!(stranger.pair.server.ended, None);
        assert_eq!(stranger.pair.server.connection.peer_version(), line.trim_ascii_end());
    }
}

#[test]
fn a_version_line_ends_within_255_bytes() {
    for (len, is_borne) in [(255, true), (256, false)] {
        let mut line = b"SSH-2.0-".to_vec();
        line.resize(len - 2, b'x');
        line.extend(b"\r\n");
        for most in [usize::MAX, 1] {
            let mut stranger = Stranger::new();
            line.chunks(most.min(len)).for_each(|piece| stranger.says(piece));
            assert_eq!(stranger.pair.server.ended.is_none(), is_borne, "{len}");
        }
    }
    let mut stranger = Stranger::new();
    stranger.says(&[b'x'; 1 << 20]);
    assert_eq!(stranger.end_code(), DisconnectCode::VersionNotSupported);
}

/// A server may greet before its version (RFC 4253 §4.2), within reason.
#[test]
fn a_client_bears_a_few_lines_before_the_version() {
    for (lines, is_borne) in [(32, true), (33, false)] {
        let mut pair = Setup::default().join();
        let hello = [b"Welcome!\r\n".repeat(lines), pair.server.take_output()].concat();
        pair.client.feed(&hello, pair.now);
        pair.settle();
        assert_eq!(pair.is_open(), is_borne);
    }
}

/// Strict key exchange, whether or not the peer announced it: Terrapin needs a message that is ignored.
#[test]
fn nothing_but_the_exchange_comes_before_the_first_keys() {
    for number in (0..=255).filter(|number| *number != 1) {
        for after_kexinit in [false, true] {
            let mut stranger = Stranger::with_version();
            if after_kexinit {
                stranger.says(&kexinit(&[KexAlgorithm::Curve25519Sha256], false).plain_packet());
                assert_eq!(stranger.pair.server.ended, None);
            }
            stranger.says(&Message::new(number).string("anything").plain_packet());
            let is_first_offer = number == 20 && !after_kexinit;
            assert!(stranger.pair.server.ended.is_some(), "{number} {after_kexinit} {is_first_offer}");
            assert!(stranger.pair.server.logins.is_empty());
        }
    }
}

#[test]
fn a_second_key_exchange_before_login_ends_the_connection() {
    let mut pair = Setup::default().join_until_keys();
    pair.client_sends(kexinit(&KexAlgorithm::ALL, false));
    assert_eq!(pair.server_end(), "a second key exchange before login");
}

/// libssh's and Erlang's holes: success said by the client, and the connection protocol before login.
#[test]
fn no_connection_message_and_no_answer_is_taken_before_login() {
    for number in (6..=6).chain(20..=49).chain(51..=127) {
        let mut pair = Setup::default().join_until_keys();
        pair.client_sends(Message::new(number).string("session").u32(0).u32(1 << 20).u32(1 << 15));
        assert!(pair.server.ended.is_some(), "{number}");
        assert!(!pair.server.connection.is_open());
        assert_eq!(pair.server.take_events(), []);
    }
}

#[test]
fn a_flood_before_login_is_bounded() {
    let floods = [
        Message::new(2).string([0; 30_000]),
        Message::new(4).boolean(true).string("x").string(""),
        Message::new(7).u32(0),
        Message::new(192).string("ping"),
        Message::new(50).string("tunnel").string("ssh-connection").string("none"),
    ];
    for flood in floods {
        let mut pair = Setup::default().join_until_keys();
        // Nobody reads what the server says to it.
        pair.server.link.is_blocked = true;
        for _ in 0..256 {
            pair.client.send_raw(flood.clone());
        }
        pair.client.link.pieces = Pieces::UpTo(100_000);
        pair.settle();
        assert!(pair.server.ended.is_some());
        assert!(pair.server.storage() < 256 * 1024, "{}", pair.server.storage());
    }
}

#[test]
fn a_packet_length_out_of_bounds_is_refused_before_anything_waits_for_it() {
    for len in [0, 1, 5, 11, 13, 35_001, 35_004, 0x7fff_ffff, u32::MAX] {
        let mut stranger = Stranger::with_version();
        stranger.says(&len.to_be_bytes());
        assert_eq!(stranger.end_code(), DisconnectCode::ProtocolError, "{len}");
    }
    let mut stranger = Stranger::with_version();
    stranger.says(&34_996u32.to_be_bytes());
    assert_eq!(stranger.pair.server.ended, None);
    assert_eq!(stranger.pair.server.connection.wanted(), 35_000);
}

#[test]
fn padding_that_does_not_fit_is_refused() {
    for padding in [0, 1, 3, 11, 12, 255] {
        let mut packet = [0; 16];
        (packet[3], packet[4], packet[5]) = (12, padding, 20);
        let mut stranger = Stranger::with_version();
        stranger.says(&packet);
        assert_eq!(stranger.pair.server_end(), "a packet's padding does not fit its length", "{padding}");
    }
}

/// What a few bytes promise costs nothing: storage grows with what came.
#[test]
fn a_kibibyte_never_costs_a_mebibyte() {
    let mut random = Random(7);
    for case in 0..500 {
        let mut stranger = if case % 3 == 0 { Stranger::new() } else { Stranger::with_version() };
        let mut bytes: Vec<u8> = (0..1024).map(|_| random.next() as u8).collect();
        if case % 2 == 0 {
            bytes[..6].copy_from_slice(&[0, 0, 0x88, 0xb4, 4, 20]);
        }
        stranger.says(&bytes);
        assert!(stranger.pair.server.storage() < 64 * 1024);
    }
}

/// A wrong guess is one packet, whatever its number: group exchange begins with 34 (RFC 4253 §7, RFC 4419).
#[test]
fn a_wrong_guess_is_dropped_and_the_right_packet_taken() {
    for guess in [30, 34] {
        let mut stranger = Stranger::with_version();
        stranger.says(&kexinit(&[KexAlgorithm::EcdhNistp256, KexAlgorithm::Curve25519Sha256], true).plain_packet());
        stranger.says(&Message::new(guess).string([4; 65]).plain_packet());
        assert_eq!(stranger.pair.server.ended, None);
        stranger.says(&Message::new(30).string([9; 32]).plain_packet());
        assert_eq!(stranger.pair.server.ended, None, "{guess}");
        assert!(stranger.pair.server.connection.session_id().is_some());
    }
}

#[test]
fn a_right_guess_is_the_exchange() {
    let mut stranger = Stranger::with_version();
    stranger.says(&kexinit(&[KexAlgorithm::Curve25519Sha256], true).plain_packet());
    stranger.says(&Message::new(30).string([9; 32]).plain_packet());
    assert!(stranger.pair.server.ended.is_none() && stranger.pair.server.connection.session_id().is_some());
}

/// Zero, points beside the curve, and values of the wrong length (RFC 8731 §3, RFC 5656 §4).
#[test]
fn a_public_value_out_of_range_is_refused() {
    for (kex, value) in [
        (KexAlgorithm::Curve25519Sha256, vec![0; 32]),
        (KexAlgorithm::Curve25519Sha256, [&[1][..], &[0; 31]].concat()),
        (KexAlgorithm::Curve25519Sha256, vec![9; 31]),
        (KexAlgorithm::Curve25519Sha256, vec![9; 33]),
        (KexAlgorithm::Curve25519Sha256, vec![]),
        (KexAlgorithm::EcdhNistp256, [&[4][..], &[1; 64]].concat()),
        (KexAlgorithm::EcdhNistp256, vec![0]),
        (KexAlgorithm::EcdhNistp521, [&[2][..], &[1; 66]].concat()),
        (KexAlgorithm::Mlkem768X25519Sha256, vec![0xff; 1184 + 32]),
        (KexAlgorithm::Mlkem768X25519Sha256, vec![0; 32]),
    ] {
        let mut setup = Setup::default();
        setup.server.algorithms = Algorithms::default();
        let mut stranger = Stranger { pair: setup.join() };
        stranger.says(VERSION);
        stranger.says(&kexinit(&[kex], false).plain_packet());
        stranger.says(&Message::new(30).string(&value).plain_packet());
        assert_eq!(stranger.end_code(), DisconnectCode::KeyExchangeFailed, "{kex:?} {value:?}");
    }
}

#[test]
fn offers_of_nothing_we_have_are_refused() {
    let lists = |change: usize, name: &'static str| {
        let mut offer = Message::new(20).raw(&[0; 16]);
        let good = [
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
        for (index, list) in good.into_iter().enumerate() {
            offer = offer.string(if index == change { name } else { list });
        }
        offer.boolean(false).u32(0)
    };
    let mut stranger = Stranger::with_version();
    stranger.says(&lists(99, "").plain_packet());
    assert_eq!(stranger.pair.server.ended, None);
    for (index, names) in [
        (0, &["", "diffie-hellman-group1-sha1", "kex-strict-s-v00@openssh.com", "ext-info-c"][..]),
        (1, &["", "ssh-rsa", "ssh-dss"]),
        (2, &["", "none", "aes128-cbc", "arcfour"]),
        (3, &["", "none", "3des-cbc"]),
        (4, &["", "none", "hmac-md5", "hmac-sha1"]),
        (5, &["", "none"]),
        (6, &["", "zlib", "zlib@openssh.com"]),
        (7, &["zlib"]),
    ] {
        for name in names {
            let mut stranger = Stranger::with_version();
            stranger.says(&lists(index, name).plain_packet());
            assert_eq!(stranger.end_code(), DisconnectCode::KeyExchangeFailed, "{index} {name}");
        }
    }
    for broken in
        [Message::new(20), Message::new(20).raw(&[0; 16]).u32(u32::MAX), Message::new(20).raw(&[0; 16]).string("\0")]
    {
        let mut stranger = Stranger::with_version();
        stranger.says(&broken.plain_packet());
        assert_eq!(stranger.end_code(), DisconnectCode::ProtocolError);
    }
}

#[test]
fn a_flipped_bit_anywhere_ends_the_connection() {
    for cipher in Cipher::ALL {
        for mac in if cipher.is_aead() { vec![Mac::HmacSha256] } else { Mac::ALL.to_vec() } {
            let mut setup = Setup::default();
            setup.client.algorithms.ciphers = vec![cipher];
            setup.client.algorithms.macs = vec![mac];
            let mut pair = setup.log_in();
            pair.client.send_raw(Message::new(80).string("tcpip-forward").boolean(true).string("").u32(0));
            let mut packet = pair.client.take_output();
            let mut random = Random(cipher as u64);
            // Not in the length: a longer packet would only be waited for.
            let at = 4 + random.below(packet.len() - 4);
            packet[at] ^= 1 << random.below(8);
            pair.server.feed(&packet, pair.now);
            assert_eq!(
                pair.server.ended.as_ref().map(|end| end.code),
                Some(DisconnectCode::MacError),
                "{cipher:?} {mac:?} {at}"
            );
            assert_eq!(pair.server.take_events(), []);
        }
    }
}

/// Terrapin (CVE-2023-48795) drops the first packets after the keys. Strict exchange counts from zero, so the next one fails.
#[test]
fn dropping_the_first_packet_behind_the_keys_is_noticed() {
    for cipher in [Cipher::Chacha20Poly1305, Cipher::Aes128Ctr, Cipher::Aes128Gcm] {
        let mut setup = Setup::default();
        setup.client.algorithms.ciphers = vec![cipher];
        let mut pair = setup.join();
        while pair.client.connection.session_id().is_none() {
            pair.exchange();
        }
        let mut flight = pair.client.take_output();
        // NEWKEYS goes through; SSH_MSG_SERVICE_REQUEST is lost.
        flight.truncate(Message::new(21).plain_packet().len());
        pair.server.feed(&flight, pair.now);
        assert_eq!(pair.server.ended, None);
        pair.client_sends(Message::new(2).string("filler"));
        // Where the length is encrypted it comes out as nonsense, which is noticed before the tag.
        let code = pair.server.ended.as_ref().map(|end| end.code);
        assert!(matches!(code, Some(DisconnectCode::MacError | DisconnectCode::ProtocolError)), "{cipher:?}");
    }
}

/// A server's misdeeds against a client.
#[test]
fn a_client_takes_no_answer_it_did_not_ask_for() {
    for number in (20..=51).chain(54..=127) {
        let mut pair = Setup::default().join_until_service();
        pair.server.send_raw(Message::new(number).string("publickey").boolean(false));
        pair.settle();
        assert!(pair.client.ended.is_some(), "{number}");
        assert!(!pair.client.connection.is_open());
    }
}

#[test]
fn a_client_signs_once() {
    let mut pair = Setup::default().join_until_service();
    pair.server.send_raw(Message::new(6).string("ssh-userauth"));
    pair.settle();
    let signed = pair.server.heard().iter().filter(|message| message.0[0] == 50).count();
    assert!(pair.client.ended.is_some() && signed == 1, "{signed}");
}

/// Somebody who talks to the server in bytes.
struct Stranger {
    pair: Pair,
}

impl Stranger {
    fn new() -> Self {
        Self { pair: Setup::default().join() }
    }

    fn with_version() -> Self {
        let mut stranger = Self::new();
        stranger.says(VERSION);
        stranger
    }

    fn says(&mut self, bytes: &[u8]) {
        let now: Instant = self.pair.now;
        self.pair.server.feed(bytes, now);
    }

    fn end_code(&self) -> DisconnectCode {
        self.pair.server.ended.as_ref().expect("the server ended the connection").code
    }
}

/// A client's offer of these key exchanges and everything else there is.
fn kexinit(kex: &[KexAlgorithm], first_packet_follows: bool) -> Message {
    let algorithms = Algorithms { kex: kex.to_vec(), ..Algorithms::default() };
    let host_key = HostKey::generate_ed25519().unwrap();
    let mut offer = write_kexinit(Side::Client, &algorithms, host_key.algorithms(), [0; 16], true);
    let flag = offer.len() - 5;
    offer[flag] = u8::from(first_packet_follows);
    Message(offer)
}
