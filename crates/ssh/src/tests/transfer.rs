//! Bytes, windows and rekeys, against a model that knows only what the two callers did.
//!
//! The model: a caller may have sent at most [`RECEIVE_WINDOW`] more than the other caller has credited. What it sent must
//! arrive in order and once, and the whole window must come back when everything was credited.

use std::time::Duration;

use proptest::prelude::*;

use super::pair::{End, Pair, Pieces, Random, Setup};
use crate::{ChannelId, Event, OUTPUT_LOW, RECEIVE_WINDOW};

const WINDOW: usize = RECEIVE_WINDOW as usize;
/// A window is announced in sixteenths, so this much of it may be on its way.
const UNANNOUNCED: usize = WINDOW / 16;
/// What waits to go out, one read of a socket beyond the mark, and room to grow by halves.
const MOST_STORAGE: usize = 4 * OUTPUT_LOW;

#[test]
fn a_hundred_windows_go_through_one_channel() {
    let mut pair = Pair::new();
    let (from, to) = pair.visit();
    let block = vec![5; 100_000];
    let mut sent = 0;
    while sent < 100 * WINDOW {
        let len = pair.server.connection.send_data(from, &block, pair.now).unwrap();
        assert!(len > 0);
        sent += len;
        pair.settle();
        assert_eq!(pair.client.data.remove(&to).map_or(0, |bytes| bytes.len()), len);
    }
    assert!(pair.server.storage() + pair.client.storage() < MOST_STORAGE);
}

/// The field's worst: one visitor stops reading and the session's window fills. Here it is the channel's own.
#[test]
fn a_stalled_channel_stops_no_other() {
    let mut pair = Setup::default().limits(|limits| limits.rekey_bytes = 1 << 20).log_in();
    let (_, stalled) = pair.visit();
    let (working_at_server, working) = pair.visit();
    pair.server.writes_on = false;
    let mut bytes_stalled = 0;
    for _ in 0..200 {
        bytes_stalled += pair.client.connection.send_data(stalled, &[1; 50_000], pair.now).unwrap();
        // A rekey may have begun with these bytes.
        pair.settle();
        assert_eq!(pair.client.connection.send_data(working, &[2; 30_000], pair.now), Ok(30_000));
        pair.settle();
        let arrived = pair.server.data.remove(&working_at_server).map_or(0, |bytes| bytes.len());
        assert_eq!(arrived, 30_000);
        pair.server.connection.credit(working_at_server, arrived).unwrap();
        pair.settle();
    }
    assert_eq!(bytes_stalled, WINDOW);
    assert!(pair.server.take_events().contains(&Event::Rekeyed));
}

/// Bulk beside others leaves the way free for them; a peer that writes nothing on gets its whole window in the end, as if nobody looked.
#[test]
fn bulk_beside_others_uses_what_its_peer_writes_on_and_the_window_if_it_does_not() {
    let mut pair = Setup { delay: Duration::from_millis(1), ..Setup::default() }.log_in();
    let (bulk, _) = pair.visit();
    let (other, _) = pair.visit();
    let block = vec![1; 64 * 1024];
    // The peer writes on 64 KiB in a millisecond, there and back in two.
    for _ in 0..200 {
        pair.server.connection.send_data(other, b"ping", pair.now).unwrap();
        pair.server.connection.send_data(bulk, &block, pair.now).unwrap();
        pair.advance(Duration::from_millis(1));
    }
    pair.client.writes_on = false;
    // Whoever waits for the window sends again when it is told that there is more.
    let mut sent = 0;
    let mut send_for = |pair: &mut Pair, milliseconds| {
        for _ in 0..milliseconds {
            pair.server.connection.send_data(other, b"ping", pair.now).unwrap();
            if sent == 0 || pair.server.take_events().contains(&Event::Sendable(bulk)) {
                while let len @ 1.. = pair.server.connection.send_data(bulk, &block, pair.now).unwrap() {
                    sent += len;
                    pair.exchange();
                }
            }
            pair.advance(Duration::from_millis(1));
        }
        sent
    };
    let useful = send_for(&mut pair, 100);
    assert!((128 * 1024..WINDOW / 2).contains(&useful), "{useful}");
    let all = send_for(&mut pair, 1_000);
    assert!(all > WINDOW - 256 * 1024, "{useful}, then {all}");
}

#[test]
fn no_byte_is_taken_while_much_waits_to_go_out() {
    let mut pair = Pair::new();
    let (channel, _) = pair.visit();
    pair.server.link.is_blocked = true;
    let mut sent = 0;
    loop {
        let len = pair.server.connection.send_data(channel, &[1; 8192], pair.now).unwrap();
        if len == 0 {
            break;
        }
        sent += len;
    }
    assert!((OUTPUT_LOW..OUTPUT_LOW + 64 * 1024).contains(&sent), "{sent}");
    assert!(pair.server.storage() < MOST_STORAGE);
    pair.server.link.is_blocked = false;
    pair.settle();
    assert!(pair.server.connection.sendable(channel) > 0);
}

#[test]
fn a_window_found_shut_is_told_when_it_opens() {
    let mut pair = Pair::new();
    let (at_server, at_client) = pair.visit();
    pair.client.writes_on = false;
    while pair.server.connection.send_data(at_server, &[1; 65_536], pair.now).unwrap() > 0 {
        pair.settle();
    }
    pair.client.connection.credit(at_client, UNANNOUNCED - 1).unwrap();
    pair.settle();
    assert_eq!(pair.server.take_events(), []);
    pair.client.connection.credit(at_client, 1).unwrap();
    pair.settle();
    assert_eq!(pair.server.event(), Event::Sendable(at_server));
    assert_eq!(pair.server.connection.sendable(at_server), UNANNOUNCED);
    // Nobody waits now, so nobody is told.
    pair.client.connection.credit(at_client, UNANNOUNCED).unwrap();
    pair.settle();
    assert_eq!(pair.server.take_events(), []);
}

/// A piece need not be filled: what was not read is not sent.
#[test]
fn pieces_filled_in_part_are_sent_in_part() {
    let mut pair = Pair::new();
    let (at_server, at_client) = pair.visit();
    for len in [1, 100, 32_767, 32_768, 32_769, 65_536, 100_000] {
        let mut slots = std::array::from_fn(|_| std::io::IoSliceMut::new(&mut []));
        let count = pair.server.connection.data_slots(at_server, 100_000, &mut slots);
        assert_eq!(slots[..count].iter().map(|slot| slot.len()).collect::<Vec<_>>(), [32_768, 32_768, 32_768, 1_696]);
        for (index, byte) in slots.iter_mut().flat_map(|slot| slot.iter_mut()).enumerate() {
            *byte = (index % 251) as u8;
        }
        pair.server.connection.commit_data(at_server, len, pair.now).unwrap();
        pair.settle();
        let expected: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
        assert!(pair.client.data.remove(&at_client) == Some(expected), "{len}");
    }
}

/// The peer may go on sending until it hears of our wish for new keys (RFC 4253 §7.1); nothing of that is lost.
#[test]
fn a_rekey_from_both_sides_at_once_is_one_exchange() {
    let mut pair = Pair::new();
    let (at_server, at_client) = pair.visit();
    for round in 0..20u8 {
        pair.client.connection.send_data(at_client, &[round; 1000], pair.now).unwrap();
        pair.server.connection.send_data(at_server, &[round; 1000], pair.now).unwrap();
        pair.client.connection.rekey(pair.now).unwrap();
        pair.server.connection.rekey(pair.now).unwrap();
        assert_eq!(pair.client.connection.sendable(at_client), 0);
        // What must be said meanwhile waits its turn.
        pair.server.connection.probe().unwrap();
        pair.settle();
        assert_eq!((pair.server.event(), pair.client.event()), (Event::Rekeyed, Event::Rekeyed));
        assert_eq!(pair.client.data.remove(&at_client), Some(vec![round; 1000]));
        assert_eq!(pair.server.data.remove(&at_server), Some(vec![round; 1000]));
    }
    pair.visit();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_in_order_and_once(seed in any::<u64>()) {
        Storm::new(seed).run()?;
    }
}

/// Many channels, and callers that do anything allowed at any moment.
struct Storm {
    pair: Pair,
    random: Random,
    channels: Vec<[Half; 2]>,
}

/// One end of a channel, as its caller knows it.
#[derive(Debug)]
struct Half {
    id: ChannelId,
    /// Tells this half's bytes from all others.
    mark: u8,
    sent: usize,
    received: usize,
    /// How much of what it received it wrote on.
    credited: usize,
    said_eof: bool,
    heard_eof: bool,
    closed: bool,
}

/// Which end of the pair. Index into a channel's halves.
const SERVER: usize = 0;
const CLIENT: usize = 1;

impl Storm {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let pieces = if random.below(2) == 0 { Pieces::Large } else { Pieces::UpTo(20_000) };
        // Now and then a rekey is always due, and now and then there is none.
        let rekey_bytes = [5_000, 300_000, 1 << 40][random.below(3)];
        let mut pair =
            Setup { seed, pieces, ..Setup::default() }.limits(|limits| limits.rekey_bytes = rekey_bytes).log_in();
        let mut channels = Vec::new();
        for number in 0..1 + random.below(12) as u8 {
            let (server, client) = visit_through_rekeys(&mut pair);
            channels.push([Half::new(server, 2 * number), Half::new(client, 2 * number + 1)]);
        }
        (pair.server.writes_on, pair.client.writes_on) = (false, false);
        Self { pair, random, channels }
    }

    fn run(mut self) -> Result<(), TestCaseError> {
        for _ in 0..400 {
            self.act()?;
            for _ in 0..self.random.below(4) {
                self.pair.exchange();
                self.hear()?;
            }
        }
        self.finish()
    }

    /// One of the callers does something.
    fn act(&mut self) -> Result<(), TestCaseError> {
        let side = self.random.below(2);
        let channel = self.random.below(self.channels.len());
        let now = self.pair.now;
        match self.random.below(100) {
            0..60 => {
                let most = [10, 5_000, 300_000][self.random.below(3)];
                let len = 1 + self.random.below(most);
                self.write(channel, side, len)?;
            }
            60..90 => {
                let half = &mut self.channels[channel][side];
                let len = self.random.below(half.received - half.credited + 1);
                half.credited += len;
                let id = half.id;
                self.end(side).connection.credit(id, len).unwrap();
            }
            90..94 => self.end(side).connection.rekey(now).unwrap(),
            94 => {
                let half = &mut self.channels[channel][side];
                half.said_eof = true;
                let id = half.id;
                self.end(side).connection.send_eof(id).unwrap();
            }
            95 => {
                let half = &mut self.channels[channel][side];
                half.closed = true;
                let id = half.id;
                self.end(side).connection.close(id).unwrap();
            }
            _ => {
                let link = &mut self.end(side).link;
                link.is_blocked = !link.is_blocked;
            }
        }
        Ok(())
    }

    fn write(&mut self, channel: usize, side: usize, len: usize) -> Result<usize, TestCaseError> {
        let half = &self.channels[channel][side];
        let (id, bytes) = (half.id, half.bytes(half.sent, len));
        let now = self.pair.now;
        let len = self.end(side).connection.send_data(id, &bytes, now).unwrap();
        let [half, other] = self.halves(channel, side);
        prop_assert!(len == 0 || !half.said_eof && !half.closed);
        half.sent += len;
        prop_assert!(half.sent - other.credited <= WINDOW, "beyond the window: {:?} {:?}", half, other);
        Ok(len)
    }

    /// Both callers take what arrived.
    fn hear(&mut self) -> Result<(), TestCaseError> {
        for side in [SERVER, CLIENT] {
            prop_assert_eq!(&self.end(side).ended, &None);
            let storage = self.end(side).storage();
            prop_assert!(storage < MOST_STORAGE, "{} bytes: {:?}", storage, self.end(side));
            let (data, events) = (std::mem::take(&mut self.end(side).data), self.end(side).take_events());
            for (id, bytes) in data {
                let channel = self.find(side, id);
                let [half, other] = self.halves(channel, side);
                prop_assert!(other.bytes(half.received, bytes.len()) == bytes, "bytes out of order");
                half.received += bytes.len();
                prop_assert!(half.received <= other.sent);
            }
            for event in events {
                match event {
                    Event::Eof(id) => {
                        let channel = self.find(side, id);
                        let [half, other] = self.halves(channel, side);
                        prop_assert!(other.said_eof && !half.heard_eof);
                        // Who closed takes no more bytes.
                        prop_assert!(half.closed || half.received == other.sent);
                        half.heard_eof = true;
                    }
                    Event::Closed(id) => {
                        let channel = self.find(side, id);
                        let [half, other] = self.halves(channel, side);
                        prop_assert!(half.closed || half.received == other.sent);
                        half.closed = true;
                    }
                    event => prop_assert!(matches!(event, Event::Sendable(_) | Event::Rekeyed), "{:?}", event),
                }
            }
        }
        Ok(())
    }

    /// Everything is written on; what was sent has arrived, and every window is whole again.
    fn finish(mut self) -> Result<(), TestCaseError> {
        (self.pair.server.link.is_blocked, self.pair.client.link.is_blocked) = (false, false);
        loop {
            self.pair.settle();
            self.hear()?;
            let mut written_on = 0;
            for channel in 0..self.channels.len() {
                for side in [SERVER, CLIENT] {
                    let half = &mut self.channels[channel][side];
                    let (id, len) = (half.id, half.received - half.credited);
                    half.credited += len;
                    written_on += len;
                    self.end(side).connection.credit(id, len).unwrap();
                }
            }
            if written_on == 0 {
                break;
            }
        }
        for channel in 0..self.channels.len() {
            for side in [SERVER, CLIENT] {
                let [half, other] = self.halves(channel, side);
                if half.closed || other.closed {
                    continue;
                }
                prop_assert_eq!(half.sent, other.received);
                if !half.said_eof {
                    let id = half.id;
                    let window = self.end(side).connection.send_window(id);
                    prop_assert!(
                        (WINDOW - UNANNOUNCED..=WINDOW).contains(&window),
                        "{} of the window came back",
                        window
                    );
                    prop_assert_eq!(self.write(channel, side, 1000)?, 1000);
                    // These bytes may make a rekey due, which stops all sending until it is over.
                    self.pair.settle();
                }
            }
        }
        self.hear()
    }

    fn end(&mut self, side: usize) -> &mut End {
        if side == SERVER { &mut self.pair.server } else { &mut self.pair.client }
    }

    fn find(&self, side: usize, id: ChannelId) -> usize {
        self.channels.iter().position(|halves| halves[side].id == id).expect("events name channels that are open")
    }

    /// This side's half of a channel, and the other's.
    fn halves(&mut self, channel: usize, side: usize) -> [&mut Half; 2] {
        let [server, client] = &mut self.channels[channel];
        if side == SERVER { [server, client] } else { [client, server] }
    }
}

impl Half {
    fn new(id: ChannelId, mark: u8) -> Self {
        Self { id, mark, sent: 0, received: 0, credited: 0, said_eof: false, heard_eof: false, closed: false }
    }

    /// What this half sends at an offset: the same bytes come again only after 251 × 256.
    fn bytes(&self, from: usize, len: usize) -> Vec<u8> {
        (from..from + len).map(|at| (at % 251) as u8 ^ (at / 251) as u8 ^ self.mark).collect()
    }
}

/// As [`Pair::visit`], where any message may make a rekey due.
fn visit_through_rekeys(pair: &mut Pair) -> (ChannelId, ChannelId) {
    let at_server = pair.knock();
    pair.settle();
    let at_client = pair.client.take_events().into_iter().find_map(|event| match event {
        Event::ForwardedConnection { channel, .. } => Some(channel),
        _ => None,
    });
    let at_client = at_client.expect("the visitor arrived");
    pair.client.connection.accept(at_client).unwrap();
    pair.settle();
    assert!(pair.server.take_events().contains(&Event::Opened(at_server)));
    (at_server, at_client)
}
