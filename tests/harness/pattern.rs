//! A long stream of bytes that both ends can compute, so that every byte is compared and none is stored.
//!
//! The stream is made of blocks of a prime length, each beginning with its number: no packet, window or buffer size
//! divides it, so a block that is lost, doubled or out of order cannot fall on an equal one.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::thread;

/// The largest prime below 2^16.
const BLOCK: usize = 65_521;

/// Writes the stream that belongs to a seed.
pub struct PatternWriter {
    seed: u64,
    position: u64,
}

/// Compares what arrives with the stream that belongs to a seed.
pub struct PatternReader {
    seed: u64,
    position: u64,
}

impl PatternWriter {
    /// Begins the stream of `seed`.
    pub fn new(seed: u64) -> PatternWriter {
        PatternWriter { seed, position: 0 }
    }

    /// Fills `buffer` with the next bytes of the stream.
    pub fn fill(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let (block, offset) = block_at(self.seed, self.position);
            let count = buffer.len().min(BLOCK - offset);
            let (now, later) = buffer.split_at_mut(count);
            block.copy_to(offset, now);
            self.position += count as u64;
            buffer = later;
        }
    }
}

impl PatternReader {
    /// Expects the stream of `seed` from its beginning.
    pub fn new(seed: u64) -> PatternReader {
        PatternReader { seed, position: 0 }
    }

    /// How many bytes have come and were right.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fails the test, naming the offset, unless `arrived` is what comes next in the stream.
    pub fn expect(&mut self, mut arrived: &[u8]) {
        let mut wanted = [0; BLOCK];
        while !arrived.is_empty() {
            let (block, offset) = block_at(self.seed, self.position);
            let count = arrived.len().min(BLOCK - offset);
            let (now, later) = arrived.split_at(count);
            let wanted = &mut wanted[..count];
            block.copy_to(offset, wanted);
            if now != wanted {
                let first = now.iter().zip(wanted.iter()).position(|(a, b)| a != b).unwrap_or(0);
                panic!("the stream of seed {} differs at byte {}", self.seed, self.position + first as u64);
            }
            self.position += count as u64;
            arrived = later;
        }
    }
}

struct Block {
    number: u64,
}

impl Block {
    /// Copies the bytes of this block that begin at `offset`.
    fn copy_to(&self, offset: usize, out: &mut [u8]) {
        out.copy_from_slice(&noise()[offset..offset + out.len()]);
        let stamp = self.number.to_be_bytes();
        for (index, byte) in stamp.iter().enumerate().skip(offset) {
            if let Some(place) = out.get_mut(index - offset) {
                *place = *byte;
            }
        }
    }
}

fn block_at(seed: u64, position: u64) -> (Block, usize) {
    let length = BLOCK as u64;
    let number = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(position / length);
    (Block { number }, (position % length) as usize)
}

/// Bytes without any structure that compression or an accident could hit (xorshift64, Marsaglia 2003).
fn noise() -> &'static [u8; BLOCK] {
    static NOISE: OnceLock<Box<[u8; BLOCK]>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut bytes = Box::new([0; BLOCK]);
        for byte in bytes.iter_mut() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
        bytes
    })
}

/// Sends `total` bytes of the stream of `seed`, then closes this direction.
pub fn send_pattern(stream: &TcpStream, seed: u64, total: u64) -> io::Result<()> {
    let mut writer = PatternWriter::new(seed);
    let mut left = total;
    let mut buffer = vec![0; 128 * 1024];
    let mut stream_ref = stream;
    while left > 0 {
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        writer.fill(&mut buffer[..count]);
        stream_ref.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    stream.shutdown(Shutdown::Write)
}

/// Reads to the end of the stream, compares every byte with the stream of `seed`, and returns how many came.
pub fn receive_pattern(stream: &TcpStream, seed: u64) -> io::Result<u64> {
    let mut reader = PatternReader::new(seed);
    let mut buffer = vec![0; 128 * 1024];
    let mut stream_ref = stream;
    loop {
        match stream_ref.read(&mut buffer)? {
            0 => return Ok(reader.position()),
            count => reader.expect(&buffer[..count]),
        }
    }
}

/// Visits a [`PatternService`](crate::PatternService) and moves `total` bytes both ways at once, every byte compared.
pub fn exchange(address: SocketAddr, seed: u64, total: u64) {
    try_exchange(address, seed, total).unwrap_or_else(|error| panic!("the stream of seed {seed} was cut: {error}"));
}

/// The same where the way may break: that is an error, and a wrong or a missing byte still fails the test.
///
/// Both directions run together on purpose: two peers that write before they read can block each other for ever.
pub fn try_exchange(address: SocketAddr, seed: u64, total: u64) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    (&stream).write_all(&seed.to_be_bytes())?;
    (&stream).write_all(&total.to_be_bytes())?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_pattern(&stream, seed, total));
        let received = receive_pattern(&stream, !seed);
        let sent = sender.join().expect("the sender does not panic");
        assert_eq!(received?, total, "bytes to the visitor of seed {seed}, who saw an honest end");
        sent
    })
}

/// How much a bulk test moves each way: `whole` where `ADIT_E2E_LONG` is set, else `short`.
pub fn bulk_bytes(short: u64, whole: u64) -> u64 {
    if crate::long_runs_wanted() { whole } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a stream, filled in pieces of odd sizes.
    fn stream(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut writer = PatternWriter::new(seed);
        for piece in bytes.chunks_mut(4_099) {
            writer.fill(piece);
        }
        bytes
    }

    #[test]
    fn what_is_written_is_what_is_expected() {
        let bytes = stream(7, 3 * BLOCK + 5);
        let mut reader = PatternReader::new(7);
        for piece in bytes.chunks(30_011) {
            reader.expect(piece);
        }
        assert_eq!(reader.position(), bytes.len() as u64);
    }

    #[test]
    #[should_panic(expected = "differs at byte 70000")]
    fn one_wrong_byte_is_found() {
        let mut bytes = stream(7, 2 * BLOCK);
        bytes[70_000] ^= 1;
        PatternReader::new(7).expect(&bytes);
    }

    #[test]
    #[should_panic(expected = "differs")]
    fn a_missing_block_is_found() {
        PatternReader::new(7).expect(&stream(7, 2 * BLOCK)[BLOCK..]);
    }

    #[test]
    #[should_panic(expected = "differs")]
    fn another_stream_is_found() {
        PatternReader::new(7).expect(&stream(8, 100));
    }
}
