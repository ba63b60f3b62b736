//! How accounts and sessions are called: by people ([`AccountName`]), and by the program ([`AccountId`], [`SessionId`]).

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Printable;

/// The name of an account: 1 to 32 of `a-z 0-9 . _ -`, the first a letter or a digit.
///
/// So narrow that it needs no escaping in a log, a URL or a shell, and that a name has one spelling only. Cloning is
/// cheap: a session and its log span carry one each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// The longest name, in characters (which are bytes here).
    pub const MAX_LENGTH: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for AccountName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountName({})", self.0)
    }
}

impl FromStr for AccountName {
    type Err = ParseAccountNameError;

    fn from_str(typed: &str) -> Result<AccountName, ParseAccountNameError> {
        let wrong = |problem| Err(ParseAccountNameError { typed: typed.to_owned(), problem });
        let Some(first) = typed.chars().next() else {
            return wrong(NameProblem::Empty);
        };
        if let Some(stranger) = typed.chars().find(|&c| !is_allowed(c)) {
            return wrong(NameProblem::Character(stranger));
        }
        if !is_allowed_first(first) {
            return wrong(NameProblem::First(first));
        }
        if typed.len() > AccountName::MAX_LENGTH {
            return wrong(NameProblem::TooLong(typed.len()));
        }
        Ok(AccountName(typed.into()))
    }
}

fn is_allowed(c: char) -> bool {
    is_allowed_first(c) || matches!(c, '.' | '_' | '-')
}

/// A leading `-` would read as a flag on our own command line, a leading `.` as a hidden file.
fn is_allowed_first(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// The text cannot be an account's name; its `Display` says what was typed and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseAccountNameError {
    typed: String,
    problem: NameProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameProblem {
    Empty,
    TooLong(usize),
    First(char),
    Character(char),
}

impl fmt::Display for ParseAccountNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = Printable::from(self.typed.as_str()).at_most(AccountName::MAX_LENGTH);
        write!(f, "“{typed}” cannot be an account name: ")?;
        match self.problem {
            NameProblem::Empty => f.write_str("it is empty"),
            NameProblem::TooLong(length) => {
                write!(f, "it has {length} characters, and {} are allowed", AccountName::MAX_LENGTH)
            }
            NameProblem::First(first) => write!(f, "it starts with “{first}”, and must start with a letter or a digit"),
            NameProblem::Character(stranger) => {
                let mut utf8 = [0; 4];
                let stranger = Printable(stranger.encode_utf8(&mut utf8).as_bytes());
                write!(f, "“{stranger}” is not allowed; use a-z, 0-9, and . _ - after the first")
            }
        }
    }
}

impl Error for ParseAccountNameError {}

/// The number the store gave an account. Names can change hands, numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One SSH session of a running jump host; unique until the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(typed: &str) -> Result<SessionId, ParseSessionIdError> {
        typed.parse().map(SessionId).map_err(|_| ParseSessionIdError { typed: typed.to_owned() })
    }
}

/// The text is no session number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseSessionIdError {
    typed: String,
}

impl fmt::Display for ParseSessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = Printable::from(self.typed.as_str()).at_most(40);
        write!(f, "“{typed}” is not a session: write its number as the list of sessions shows it, for example 7")
    }
}

impl Error for ParseSessionIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(typed: &str) -> String {
        typed.parse::<AccountName>().unwrap_err().to_string()
    }

    #[test]
    fn good_names_pass_unchanged() {
        for typed in ["a", "7", "alice", "alice.b_c-d", "0day", &"x".repeat(32)] {
            assert_eq!(typed.parse::<AccountName>().unwrap().as_str(), typed);
        }
    }

    #[test]
    fn a_bad_name_is_told_why() {
        assert_eq!(complaint(""), "“” cannot be an account name: it is empty");
        assert_eq!(
            complaint("Alice"),
            "“Alice” cannot be an account name: “A” is not allowed; use a-z, 0-9, and . _ - after the first"
        );
        assert_eq!(
            complaint("-rf"),
            "“-rf” cannot be an account name: it starts with “-”, and must start with a letter or a digit"
        );
        assert!(complaint(&"x".repeat(33)).ends_with("it has 33 characters, and 32 are allowed"));
        assert!(complaint("a\nb").contains("“\\n” is not allowed"));
        assert!(complaint("älice").contains("“ä” is not allowed"));
        assert!(complaint(" a").contains("“ ” is not allowed"));
    }

    #[test]
    fn a_session_is_named_by_its_number() {
        assert_eq!("7".parse(), Ok(SessionId(7)));
        assert_eq!(SessionId(7).to_string(), "7");
        assert!("seven".parse::<SessionId>().unwrap_err().to_string().starts_with("“seven” is not a session"));
    }
}
