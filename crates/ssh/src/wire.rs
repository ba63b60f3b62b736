//! The data types of the SSH wire (RFC 4251 §5): reading them from a packet, writing them into one.
//! A reader never allocates and never reads past its slice; what a peer says about a length is checked before it is believed.

use thiserror::Error;

/// A packet whose fields do not fit its length, or whose text is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed packet: {0}")]
pub struct WireError(pub(crate) &'static str);

/// Reads the fields of one packet, front to back.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(WireError("a field ends beyond the packet"))?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(WireError("a field ends beyond the packet"))?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, WireError> {
        Ok(self.u8()? != 0)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    /// A `string` that must be UTF-8, as names and messages are (RFC 4251 §5).
    pub(crate) fn utf8(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.string()?).map_err(|_| WireError("a text field is not UTF-8"))
    }

    /// A `mpint`'s magnitude without its sign byte. A negative or padded number is refused: nothing we read may be one.
    pub(crate) fn mpint(&mut self) -> Result<&'a [u8], WireError> {
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(rest),
            [0, ..] => Err(WireError("a number has needless leading zeros")),
            [first, ..] if first & 0x80 != 0 => Err(WireError("a number is negative")),
            magnitude => Ok(magnitude),
        }
    }

    /// The names of a `name-list`, in order.
    pub(crate) fn name_list(&mut self) -> Result<NameList<'a>, WireError> {
        NameList::new(self.string()?)
    }

    /// Everything not yet read.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// States that the packet ends here.
    pub(crate) fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError("bytes after the last field")) }
    }
}

/// A comma-separated list of algorithm names, in the sender's order of preference (RFC 4251 §5).
#[derive(Clone, Copy)]
pub(crate) struct NameList<'a>(&'a [u8]);

impl<'a> NameList<'a> {
    /// The names in the bytes of a `name-list`.
    pub(crate) fn new(names: &'a [u8]) -> Result<Self, WireError> {
        if !names.iter().all(|byte| byte.is_ascii_graphic()) {
            return Err(WireError("a name-list holds something other than printable ASCII"));
        }
        Ok(Self(names))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == b',').filter(|name| !name.is_empty())
    }

    pub(crate) fn contains(self, wanted: &str) -> bool {
        self.iter().any(|name| name == wanted.as_bytes())
    }
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends a `string`. Our own strings are far below 4 GiB, so the length cannot be cut.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

/// Appends an unsigned big-endian number as an `mpint`: no leading zeros, one zero byte where the top bit is set.
pub(crate) fn put_mpint(out: &mut Vec<u8>, magnitude: &[u8]) {
    let significant = magnitude.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &magnitude[first..]);
    let sign_byte = significant.first().is_some_and(|byte| byte & 0x80 != 0);
    put_u32(out, significant.len() as u32 + u32::from(sign_byte));
    if sign_byte {
        out.push(0);
    }
    out.extend_from_slice(significant);
}

/// Appends a `name-list`.
pub(crate) fn put_name_list<'n>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'n str>) {
    let start = out.len();
    put_u32(out, 0);
    for name in names {
        if out.len() > start + 4 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4251 §5 gives these numbers.
    #[test]
    fn numbers_are_written_as_the_rfc_shows() {
        for (magnitude, wire) in [
            (&[][..], &[0, 0, 0, 0][..]),
            (
                &[0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
                &[0, 0, 0, 8, 0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
            ),
            (&[0, 0, 0x80], &[0, 0, 0, 2, 0, 0x80]),
        ] {
            let mut out = Vec::new();
            put_mpint(&mut out, magnitude);
            assert_eq!(out, wire);
        }
    }

    #[test]
    fn a_negative_or_padded_number_is_refused() {
        assert!(Reader::new(&[0, 0, 0, 1, 0x80]).mpint().is_err());
        assert!(Reader::new(&[0, 0, 0, 2, 0, 0x7f]).mpint().is_err());
    }

    #[test]
    fn a_length_beyond_the_packet_is_refused() {
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).string(),
            Err(WireError("a field ends beyond the packet"))
        );
    }

    #[test]
    fn a_name_list_keeps_its_order() {
        let mut out = Vec::new();
        put_name_list(&mut out, ["zlib", "none"]);
        assert_eq!(out, b"\0\0\0\x09zlib,none");
        let list = Reader::new(&out).name_list().unwrap();
        assert_eq!(list.iter().collect::<Vec<_>>(), [&b"zlib"[..], b"none"]);
        assert!(list.contains("none") && !list.contains("non"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in any::<u32>(), text in any::<Vec<u8>>(), magnitude in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            put_u32(&mut out, number);
            put_string(&mut out, &text);
            put_mpint(&mut out, &magnitude);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.u32(), Ok(number));
            prop_assert_eq!(reader.string(), Ok(&text[..]));
            let significant: Vec<u8> = magnitude.iter().copied().skip_while(|byte| *byte == 0).collect();
            prop_assert_eq!(reader.mpint(), Ok(&significant[..]));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
