//! Messages written by hand, well-formed or not.

use crate::wire::{put_bool, put_name_list, put_string, put_u32};

/// A payload that grows field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn new(number: u8) -> Self {
        Self(vec![number])
    }

    pub(super) fn string(mut self, bytes: impl AsRef<[u8]>) -> Self {
        put_string(&mut self.0, bytes.as_ref());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        put_u32(&mut self.0, value);
        self
    }

    pub(super) fn boolean(mut self, value: bool) -> Self {
        put_bool(&mut self.0, value);
        self
    }

    pub(super) fn names(mut self, names: &[&str]) -> Self {
        put_name_list(&mut self.0, names.iter().copied());
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The message as a packet before the first keys (RFC 4253 §6), correctly padded.
    pub(super) fn plain_packet(&self) -> Vec<u8> {
        let padding = 4 + (8 - (4 + 1 + self.0.len() + 4) % 8) % 8;
        let mut packet = Vec::new();
        put_u32(&mut packet, (1 + self.0.len() + padding) as u32);
        packet.push(padding as u8);
        packet.extend_from_slice(&self.0);
        packet.resize(packet.len() + padding, 0);
        packet
    }
}
