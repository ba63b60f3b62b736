//! What the lists of pages are searched for.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Entries of one page, where nobody says otherwise, and at the most.
pub(crate) const USUAL_PAGE: u32 = 50;
pub(crate) const LARGEST_PAGE: u32 = 500;

/// In characters. Longer than what is searched; and SQLite refuses a pattern of more than 50,000 bytes.
const LONGEST: usize = 256;

/// A text to be looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SearchText(String);

/// Nothing is looked for that is so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a search may have {LONGEST} characters")]
pub struct TooLongToSearch;

impl SearchText {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for SearchText {
    type Error = TooLongToSearch;

    fn try_from(text: String) -> Result<Self, TooLongToSearch> {
        if text.chars().nth(LONGEST).is_some() { Err(TooLongToSearch) } else { Ok(Self(text)) }
    }
}

impl TryFrom<&str> for SearchText {
    type Error = TooLongToSearch;

    fn try_from(text: &str) -> Result<Self, TooLongToSearch> {
        text.to_owned().try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_has_a_bound_in_characters() {
        assert_eq!(SearchText::try_from("ü".repeat(LONGEST)).unwrap().as_str().chars().count(), LONGEST);
        assert_eq!(SearchText::try_from("x".repeat(LONGEST + 1)), Err(TooLongToSearch));
    }
}
