//! Binary packets (RFC 4253 §6): cut from the input and opened in place, sealed in place at the end of the output.
//! Sequence numbers and the amounts that make a rekey due are counted here; what a payload means is not known here.

use std::io::IoSliceMut;

use crate::buffer::{Buffer, Payload};
use crate::crypto::{Opener, Sealer};
use crate::disconnect::{Disconnect, DisconnectCode};
use crate::messages;

/// The largest packet_length we take: RFC 4253 §6.1 asks for 35,000, and our channels never invite more.
const MAX_PACKET_LEN: u32 = 35_000;
/// packet_length counts padding_length, at least one byte of payload and at least four of padding.
const MIN_PACKET_LEN: u32 = 6;
/// packet_length and padding_length stand before every payload.
const PAYLOAD_OFFSET: usize = 5;
/// CHANNEL_DATA's own fields before the bytes: message number, recipient channel, length (RFC 4254 §5.2).
const DATA_FIELDS: usize = 9;
/// How many CHANNEL_DATA packets one read of a socket may fill.
pub const MAX_DATA_SLOTS: usize = 8;

/// Opens the packets of one direction.
pub(crate) struct PacketReader {
    opener: Opener,
    sequence: u32,
    /// packet_length of the packet now arriving, once its head was there. Kept because a head is decrypted only once.
    arriving: Option<u32>,
    /// Since the last key exchange.
    pub(crate) bytes: u64,
    pub(crate) packets: u32,
}

impl PacketReader {
    pub(crate) fn new() -> Self {
        Self { opener: Opener::plain(), sequence: 0, arriving: None, bytes: 0, packets: 0 }
    }

    /// Takes the next whole packet off `input` and says where its payload lies; `None` until one is whole.
    pub(crate) fn next_packet(&mut self, input: &mut Buffer) -> Result<Option<Payload>, Disconnect> {
        let packet_len = match self.arriving {
            Some(len) => len,
            None => {
                let Some(head) = input.bytes_mut().get_mut(..self.opener.head_len()) else { return Ok(None) };
                let len = self.opener.packet_len(self.sequence, head);
                self.check_length(len)?;
                self.arriving = Some(len);
                len
            }
        };
        let whole = 4 + packet_len as usize + self.opener.tag_len();
        let position = input.position();
        let Some(packet) = input.bytes_mut().get_mut(..whole) else { return Ok(None) };
        self.opener
            .open(self.sequence, packet)
            .map_err(|_| Disconnect::new(DisconnectCode::MacError, "a packet's authentication tag is wrong"))?;
        let padding = usize::from(packet[4]);
        let content = packet_len as usize - 1;
        if padding < 4 || padding >= content {
            return Err(Disconnect::protocol("a packet's padding does not fit its length"));
        }
        input.consume(whole);
        self.arriving = None;
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes += whole as u64;
        self.packets = self.packets.saturating_add(1);
        let start = position + PAYLOAD_OFFSET;
        Ok(Some(Payload(start..start + content - padding)))
    }

    /// How many bytes `input` must hold for the packet now arriving to be whole.
    pub(crate) fn wanted(&self) -> usize {
        self.arriving.map_or(self.opener.head_len(), |len| 4 + len as usize + self.opener.tag_len())
    }

    /// The sequence number of the packet handed out last, which SSH_MSG_UNIMPLEMENTED must name (RFC 4253 §11.4).
    pub(crate) fn last_sequence(&self) -> u32 {
        self.sequence.wrapping_sub(1)
    }

    pub(crate) fn switch(&mut self, opener: Opener, reset_sequence: bool) {
        self.opener = opener;
        (self.bytes, self.packets) = (0, 0);
        if reset_sequence {
            self.sequence = 0;
        }
    }

    fn check_length(&self, len: u32) -> Result<(), Disconnect> {
        if !(MIN_PACKET_LEN..=MAX_PACKET_LEN).contains(&len) {
            return Err(Disconnect::protocol("a packet's length is out of bounds"));
        }
        let counted = if self.opener.length_is_aligned_with_header() { len + 4 } else { len };
        if !(counted as usize).is_multiple_of(self.opener.block_len()) {
            return Err(Disconnect::protocol("a packet's length is not a multiple of the block size"));
        }
        Ok(())
    }
}

/// Seals the packets of one direction into the output.
pub(crate) struct PacketWriter {
    pub(crate) out: Buffer,
    sealer: Sealer,
    sequence: u32,
    pub(crate) bytes: u64,
    pub(crate) packets: u32,
    /// Over all keys: what was ever put into the output.
    pub(crate) total: u64,
}

impl PacketWriter {
    pub(crate) fn new() -> Self {
        Self { out: Buffer::new(), sealer: Sealer::plain(), sequence: 0, bytes: 0, packets: 0, total: 0 }
    }

    /// Appends one packet.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<(), Disconnect> {
        let room = PAYLOAD_OFFSET + payload.len() + self.tail(payload.len());
        self.out.spare(room)[PAYLOAD_OFFSET..][..payload.len()].copy_from_slice(payload);
        self.seal(payload.len())
    }

    /// Room for CHANNEL_DATA packets of up to `max_data` bytes each, `total` bytes in all. The slices are where the bytes go;
    /// [`Self::commit_data`] makes packets of them. Returns how many of `slots` were set.
    pub(crate) fn data_slots<'a>(&'a mut self, max_data: usize, total: usize, slots: &mut [IoSliceMut<'a>]) -> usize {
        let (full, rest) = (total / max_data, total % max_data);
        let count = (full + usize::from(rest > 0)).min(slots.len());
        let head = PAYLOAD_OFFSET + DATA_FIELDS;
        let largest = head + max_data + self.tail(DATA_FIELDS + max_data);
        self.out.spare(count * largest);
        let Self { out, sealer, .. } = self;
        let tail = |size: usize| sealer.padding_for(DATA_FIELDS + size) + sealer.tag_len();
        out.slots(head, tail, (0..count).map(|index| if index < full { max_data } else { rest }), slots)
    }

    /// Makes CHANNEL_DATA packets for `channel` of the first `len` bytes that were put in the slots.
    pub(crate) fn commit_data(&mut self, channel: u32, max_data: usize, mut len: usize) -> Result<(), Disconnect> {
        while len > 0 {
            let size = len.min(max_data);
            let room = PAYLOAD_OFFSET + DATA_FIELDS + size + self.tail(DATA_FIELDS + size);
            let fields = &mut self.out.spare(room)[PAYLOAD_OFFSET..PAYLOAD_OFFSET + DATA_FIELDS];
            fields[0] = messages::CHANNEL_DATA;
            fields[1..5].copy_from_slice(&channel.to_be_bytes());
            fields[5..9].copy_from_slice(&(size as u32).to_be_bytes());
            self.seal(DATA_FIELDS + size)?;
            len -= size;
        }
        Ok(())
    }

    pub(crate) fn switch(&mut self, sealer: Sealer, reset_sequence: bool) {
        self.sealer = sealer;
        (self.bytes, self.packets) = (0, 0);
        if reset_sequence {
            self.sequence = 0;
        }
    }

    fn tail(&self, payload_len: usize) -> usize {
        self.sealer.padding_for(payload_len) + self.sealer.tag_len()
    }

    /// Seals the payload that lies in its place behind the waiting bytes.
    /// Padding is zeros, not random: under these ciphers it hides nothing either way, and stale bytes must not go out.
    fn seal(&mut self, payload_len: usize) -> Result<(), Disconnect> {
        let padding = self.sealer.padding_for(payload_len);
        let content = 1 + payload_len + padding;
        let whole = 4 + content + self.sealer.tag_len();
        let packet = &mut self.out.spare(whole)[..whole];
        packet[..4].copy_from_slice(&(content as u32).to_be_bytes());
        packet[4] = padding as u8;
        packet[PAYLOAD_OFFSET + payload_len..4 + content].fill(0);
        self.sealer
            .seal(self.sequence, packet)
            .map_err(|_| Disconnect::new(DisconnectCode::ByApplication, "the cipher's counter is used up"))?;
        self.out.filled(whole);
        self.sequence = self.sequence.wrapping_add(1);
        self.total += whole as u64;
        self.bytes += whole as u64;
        self.packets = self.packets.saturating_add(1);
        Ok(())
    }
}
