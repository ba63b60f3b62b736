//! The way out: payloads become packets at once, or wait in line while keys are exchanged (RFC 4253 §7.1).

use std::collections::VecDeque;

use crate::disconnect::Disconnect;
use crate::packet::PacketWriter;

/// A peer that makes us say more than this without reading it is attacking.
const OUTPUT_HIGH: usize = 4 * 1024 * 1024;
/// The same for what a key exchange holds back.
const HELD_HIGH: usize = 1024 * 1024;
/// What holding a payload costs beside its bytes: its place in line and the allocator's rounding. Without it a million
/// one-byte answers would count as one megabyte and take fifty.
const HELD_OVERHEAD: usize = 64;

/// A place in the stream of what is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(u64);

/// Where payloads leave.
pub(crate) struct Outlet {
    pub(crate) writer: PacketWriter,
    held: VecDeque<Vec<u8>>,
    held_bytes: usize,
    holding: bool,
}

impl Outlet {
    pub(crate) fn new() -> Self {
        Self { writer: PacketWriter::new(), held: VecDeque::new(), held_bytes: 0, holding: true }
    }

    /// Whether payloads are held back now.
    pub(crate) fn is_holding(&self) -> bool {
        self.holding
    }

    /// Whether so much waits already that nothing should be begun which can as well be left alone. The rest of the room is
    /// for what must be said.
    pub(crate) fn is_crowded(&self) -> bool {
        self.writer.out.len() > OUTPUT_HIGH / 2 || self.held_bytes > HELD_HIGH / 2
    }

    /// How much has left: bytes of packets, since the beginning.
    pub(crate) fn left(&self) -> u64 {
        self.writer.total.saturating_sub(self.writer.out.len() as u64)
    }

    /// Remembers what was sent last, for [`Self::has_left`].
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.writer.total)
    }

    /// Whether everything up to `mark` has left. A peer cannot answer what still waits here.
    pub(crate) fn has_left(&self, mark: Mark) -> bool {
        !self.holding && self.left() >= mark.0
    }

    /// Begins to hold payloads back.
    pub(crate) fn hold(&mut self) {
        self.holding = true;
    }

    /// Lets out what was held back, in order.
    pub(crate) fn resume(&mut self) -> Result<(), Disconnect> {
        self.holding = false;
        self.held_bytes = 0;
        for payload in std::mem::take(&mut self.held) {
            self.writer.send(&payload)?;
        }
        Ok(())
    }

    /// Sends one payload, after everything sent before it.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<(), Disconnect> {
        if self.writer.out.len() > OUTPUT_HIGH || self.held_bytes > HELD_HIGH {
            return Err(Disconnect::protocol("the peer asks more than it reads"));
        }
        if self.holding {
            self.held_bytes += payload.len() + HELD_OVERHEAD;
            self.held.push_back(payload.to_vec());
            return Ok(());
        }
        self.writer.send(payload)
    }
}
