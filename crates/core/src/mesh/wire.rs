//! Reads and writes the parts of which every message of the mesh is made: big-endian numbers, and texts and lists behind their length.

use std::error::Error;
use std::fmt;

/// The bytes are no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed: {}", self.0)
    }
}

impl Error for Malformed {}

/// Takes a message apart from its front.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// One byte that says yes (1) or no (0): every message has one spelling, so that its signature is over what it means.
    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// Text behind its length in one byte.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u8()?;
        std::str::from_utf8(self.bytes(length.into())?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// Text that means something.
    pub(super) fn word<T: std::str::FromStr>(&mut self) -> Result<T, Malformed> {
        self.text()?.parse().map_err(|_| Malformed("a name is not one"))
    }

    /// Bytes behind their length in two.
    pub(super) fn block(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// As many of something as the number in front of them says; no more storage is taken than bytes have come for.
    pub(super) fn list<T>(
        &mut self,
        count: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        if count > self.left() {
            return Err(Malformed("a list is longer than its message"));
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("something follows its end")) }
    }
}

/// Puts a message together.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Writer {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(self, number: u8) -> Writer {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u16(self, number: u16) -> Writer {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u32(self, number: u32) -> Writer {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn u64(self, number: u64) -> Writer {
        self.bytes(&number.to_be_bytes())
    }

    pub(super) fn flag(self, flag: bool) -> Writer {
        self.u8(flag.into())
    }

    /// Text of at most 255 bytes; what is longer ends at the last character that fits.
    pub(super) fn text(self, text: &str) -> Writer {
        let text = &text[..text.floor_char_boundary(u8::MAX.into())];
        self.u8(text.len() as u8).bytes(text.as_bytes())
    }

    /// Bytes of which there are at most 65,535, which every caller's types hold.
    pub(super) fn block(self, block: &[u8]) -> Writer {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        self.u16(length).bytes(&block[..length.into()])
    }

    pub(super) fn list<T>(self, items: impl IntoIterator<Item = T>, write: impl FnMut(Writer, T) -> Writer) -> Writer {
        items.into_iter().fold(self, write)
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}
