//! Shows text that a stranger chose so that it cannot act on the one who reads it.
//!
//! A version string, a user name, a key's comment or a description may hold escape sequences that repaint a terminal,
//! line breaks that forge a log line, or direction overrides that make a page say something else. [`Printable`] prints
//! all of these as visible escapes; a backslash is doubled, so what is printed says exactly what was there.

use std::fmt::{self, Write};

/// A stranger's bytes, printed without effect. Escapes what is no character (`\xff`), control characters (`\n`,
/// `\u{1b}`), line and paragraph separators, direction marks and overrides, and characters that cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Printable<'a>(pub &'a [u8]);

impl<'a> Printable<'a> {
    /// The same, cut after `characters` printed ones. A cut is marked by `…`, which comes on top; an escape is never cut
    /// in two.
    pub fn at_most(self, characters: usize) -> AtMost<'a> {
        AtMost { text: self, characters }
    }
}

impl<'a> From<&'a str> for Printable<'a> {
    fn from(text: &'a str) -> Printable<'a> {
        Printable(text.as_bytes())
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, usize::MAX, f)
    }
}

/// A [`Printable`] of bounded length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtMost<'a> {
    text: Printable<'a>,
    characters: usize,
}

impl fmt::Display for AtMost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.text.0, self.characters, f)
    }
}

/// Stops at the bound: a megabyte of text costs no more than what is shown of it and the search for the next bad byte.
fn write_escaped(bytes: &[u8], mut room: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().chars().map(Piece::Char);
        let invalid = chunk.invalid().iter().copied().map(Piece::Byte);
        for piece in valid.chain(invalid) {
            let width = piece.width();
            if width > room {
                return f.write_char('…');
            }
            room -= width;
            piece.write(f)?;
        }
    }
    Ok(())
}

enum Piece {
    Char(char),
    Byte(u8),
}

impl Piece {
    /// How many characters it takes when printed.
    fn width(&self) -> usize {
        match *self {
            Piece::Char('\\' | '\n' | '\r' | '\t') => 2,
            Piece::Char(c) if acts_on_reader(c) => c.escape_unicode().len(),
            Piece::Char(_) => 1,
            Piece::Byte(_) => 4,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Piece::Char('\\') => f.write_str("\\\\"),
            Piece::Char('\n') => f.write_str("\\n"),
            Piece::Char('\r') => f.write_str("\\r"),
            Piece::Char('\t') => f.write_str("\\t"),
            Piece::Char(c) if acts_on_reader(c) => write!(f, "{}", c.escape_unicode()),
            Piece::Char(c) => f.write_char(c),
            Piece::Byte(byte) => write!(f, "\\x{byte:02x}"),
        }
    }
}

/// Characters that move, hide or reorder what stands around them. The joiners U+200C and U+200D stay: Persian, Indic
/// scripts and emoji are written with them, and they reorder nothing.
fn acts_on_reader(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                        // soft hyphen
            | '\u{61c}'                     // Arabic letter mark
            | '\u{180e}' | '\u{200b}'       // invisible separators
            | '\u{200e}' | '\u{200f}'       // left-to-right and right-to-left marks
            | '\u{2028}' | '\u{2029}'       // line and paragraph separators
            | '\u{202a}'..='\u{202e}'       // embeddings and overrides
            | '\u{2060}'..='\u{206f}'       // invisible operators, isolates, shaping switches
            | '\u{feff}'                    // byte-order mark
            | '\u{fff9}'..='\u{fffb}'       // interlinear annotation
            | '\u{e0000}'..='\u{e007f}'     // tags
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        Printable::from(text).to_string()
    }

    #[test]
    fn plain_text_of_any_script_stays_as_it_is() {
        for text in ["", "SSH-2.0-OpenSSH_9.2p1 Debian-2", "Grüße", "日本語", "می\u{200c}خواهم", "👩\u{200d}💻"]
        {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn what_acts_on_the_reader_is_escaped() {
        assert_eq!(shown("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(shown("\u{1b}[2J\u{7f}\0"), "\\u{1b}[2J\\u{7f}\\u{0}");
        assert_eq!(shown("\u{85}\u{9b}31m"), "\\u{85}\\u{9b}31m");
        assert_eq!(shown("user\u{202e}nimda"), "user\\u{202e}nimda");
        assert_eq!(shown("\u{2066}x\u{2069}"), "\\u{2066}x\\u{2069}");
        assert_eq!(shown("one\u{2028}two\u{2029}"), "one\\u{2028}two\\u{2029}");
        assert_eq!(shown("\u{feff}\u{200b}"), "\\u{feff}\\u{200b}");
        assert_eq!(shown("\u{e0041}"), "\\u{e0041}");
    }

    #[test]
    fn what_is_no_utf8_is_shown_byte_by_byte() {
        assert_eq!(Printable(b"ab\xff\xc3(").to_string(), "ab\\xff\\xc3(");
        assert_eq!(Printable(b"\xe2\x82").to_string(), "\\xe2\\x82");
    }

    #[test]
    fn an_escape_cannot_be_forged() {
        assert_eq!(shown("\\u{1b}"), "\\\\u{1b}");
        assert_ne!(shown("\\n"), shown("\n"));
    }

    #[test]
    fn a_bound_cuts_between_characters_and_says_so() {
        let bounded = |text: &str, n| Printable::from(text).at_most(n).to_string();
        assert_eq!(bounded("tunnel", 6), "tunnel");
        assert_eq!(bounded("tunnels", 6), "tunnel…");
        assert_eq!(bounded("ab\u{1b}", 7), "ab…");
        assert_eq!(bounded("ab\u{1b}", 8), "ab\\u{1b}");
        assert_eq!(bounded("日本語", 2), "日本…");
        assert_eq!(bounded("x", 0), "…");
        assert_eq!(bounded("", 0), "");
    }

    proptest! {
        #[test]
        fn no_bytes_reach_the_reader_unseen(bytes: Vec<u8>, bound in 0_usize..64) {
            let whole = Printable(&bytes).to_string();
            prop_assert!(!whole.chars().any(acts_on_reader));
            let cut = Printable(&bytes).at_most(bound).to_string();
            prop_assert!(cut.chars().count() <= bound + 1);
            prop_assert!(whole == cut || cut.ends_with('…'));
            prop_assert!(whole.starts_with(cut.trim_end_matches('…')));
        }

        #[test]
        fn different_texts_are_printed_differently(one: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(one == other, Printable(&one).to_string() == Printable(&other).to_string());
        }
    }
}
