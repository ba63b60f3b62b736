//! How agents, meshes, circuits and services are called.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Printable;

/// An Ed25519 public key (RFC 8032 §5.1.5).
pub type PublicKey = [u8; 32];
/// An Ed25519 signature (RFC 8032 §5.1.6).
pub type Signature = [u8; 64];
/// An X25519 public key (RFC 7748 §5).
pub type SessionKey = [u8; 32];

/// Defines a number of 16 bytes that is written as 32 hexadecimal digits.
macro_rules! sixteen_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

sixteen_bytes! {
    /// An agent of a mesh: the first half of the SHA-256 of its Ed25519 key, so that nobody can have another's.
    AgentId
}
sixteen_bytes! {
    /// A mesh: the first half of the SHA-256 of its root's Ed25519 key.
    MeshId
}
sixteen_bytes! {
    /// What an agent was invited with: the first half of the SHA-256 of the invitation's Ed25519 key.
    InvitationId
}
sixteen_bytes! {
    /// One forwarded connection, on one way through the mesh; drawn at random by the listener's agent.
    CircuitId
}

sixteen_bytes! {
    /// A connection that can go on over another way; drawn at random by the listener's agent.
    ResumeId
}

impl FromStr for AgentId {
    type Err = NotAnAgentId;

    fn from_str(typed: &str) -> Result<AgentId, NotAnAgentId> {
        let mut id = [0; 16];
        let wrong = || NotAnAgentId { typed: typed.to_owned() };
        if typed.len() != 32 || !typed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (index, byte) in id.iter_mut().enumerate() {
            let pair = typed.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(AgentId(id))
    }
}

/// The text is no agent's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnAgentId {
    typed: String,
}

impl fmt::Display for NotAnAgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = Printable::from(self.typed.as_str()).at_most(40);
        write!(f, "“{typed}” is no agent's id: write the 32 hexadecimal digits that `adit mesh status` shows")
    }
}

impl Error for NotAnAgentId {}

/// What joins listeners and endpoints: 1 to 255 bytes of text without control characters. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutingKey(Arc<str>);

impl RoutingKey {
    /// The longest key, in bytes: its length has one byte on the wire.
    pub const MAX_LENGTH: usize = 255;

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoutingKey {
    type Err = BadWord;

    fn from_str(typed: &str) -> Result<RoutingKey, BadWord> {
        BadWord::check("a routing key", typed, RoutingKey::MAX_LENGTH)?;
        Ok(RoutingKey(typed.into()))
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutingKey({})", self.0)
    }
}

/// How an agent is called by people: 1 to 128 bytes of text without control characters. The root gave it. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(Arc<str>);

impl AgentName {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentName {
    type Err = BadWord;

    fn from_str(typed: &str) -> Result<AgentName, BadWord> {
        BadWord::check("an agent's name", typed, AgentName::MAX_LENGTH)?;
        Ok(AgentName(typed.into()))
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentName({})", self.0)
    }
}

/// Which routing keys a right covers: text in which `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPattern(Arc<str>);

impl KeyPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does the right cover this key? Takes time in proportion to the product of both lengths at most.
    pub fn covers(&self, key: &RoutingKey) -> bool {
        let (pattern, key) = (self.0.as_bytes(), key.as_str().as_bytes());
        let (mut at, mut matched) = (0, 0);
        // Where to go on when what follows the last `*` does not match: that `*` takes one byte more.
        let mut star: Option<(usize, usize)> = None;
        while matched < key.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, matched));
                    at += 1;
                }
                Some(byte) if *byte == key[matched] => {
                    at += 1;
                    matched += 1;
                }
                _ => match star.as_mut() {
                    Some((behind, taken)) => {
                        *taken += 1;
                        (at, matched) = (*behind + 1, *taken);
                    }
                    None => return false,
                },
            }
        }
        pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
    }
}

impl FromStr for KeyPattern {
    type Err = BadWord;

    fn from_str(typed: &str) -> Result<KeyPattern, BadWord> {
        BadWord::check("a pattern for routing keys", typed, RoutingKey::MAX_LENGTH)?;
        Ok(KeyPattern(typed.into()))
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text cannot be what it was typed for; its `Display` says why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadWord {
    what: &'static str,
    typed: String,
    problem: WordProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WordProblem {
    Empty,
    TooLong { length: usize, most: usize },
    Character(char),
    Space,
}

impl BadWord {
    fn check(what: &'static str, typed: &str, most: usize) -> Result<(), BadWord> {
        // Escapes show exactly those characters that would act on who reads them, and the backslash. Printed ASCII is
        // let through at a glance: the records of a mesh have a million of these.
        let is_escaped = |c: &char| Printable::from(&*c.to_string()).to_string().len() != c.len_utf8();
        let stranger = typed.chars().find(|c| !matches!(c, ' '..='~') && is_escaped(c));
        let problem = match (typed.is_empty(), typed.len() > most, stranger) {
            (true, _, _) => WordProblem::Empty,
            (_, true, _) => WordProblem::TooLong { length: typed.len(), most },
            (_, _, Some(stranger)) => WordProblem::Character(stranger),
            _ if typed.trim().len() != typed.len() => WordProblem::Space,
            _ => return Ok(()),
        };
        Err(BadWord { what, typed: typed.chars().take(SHOWN + 1).collect(), problem })
    }
}

impl fmt::Display for BadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}” cannot be {}: ", Printable::from(self.typed.as_str()).at_most(SHOWN), self.what)?;
        match self.problem {
            WordProblem::Empty => f.write_str("it is empty"),
            WordProblem::TooLong { length, most } => write!(f, "it has {length} bytes, and {most} are allowed"),
            WordProblem::Character(stranger) => {
                write!(f, "“{}” is not allowed in it", Printable::from(&*stranger.to_string()))
            }
            WordProblem::Space => f.write_str("it begins or ends with a space"),
        }
    }
}

impl Error for BadWord {}

/// How many characters of a wrong text an error repeats.
const SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, key: &str) -> bool {
        pattern.parse::<KeyPattern>().unwrap().covers(&key.parse().unwrap())
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, key) in [
            ("*", "x"),
            ("my-*", "my-"),
            ("my-*", "my-files"),
            ("*-api", "x-api-api"),
            ("a*b*c", "a1b2b3c"),
            ("a**", "a"),
        ] {
            assert!(covers(pattern, key), "{pattern} covers {key}");
        }
        for (pattern, key) in
            [("my-*", "my"), ("my", "my-files"), ("a*b", "a1b2"), ("*x", "y"), ("a", "A"), ("a*bc*bd", "abcb")]
        {
            assert!(!covers(pattern, key), "{pattern} does not cover {key}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product() {
        let pattern = "*a".repeat(127) + "b";
        assert!(!covers(&pattern, &"a".repeat(255)));
    }

    #[test]
    fn names_are_told_why_not() {
        let told = |typed: &str| typed.parse::<RoutingKey>().unwrap_err().to_string();
        assert_eq!(told(""), "“” cannot be a routing key: it is empty");
        assert_eq!(told("a\nb"), "“a\\nb” cannot be a routing key: “\\n” is not allowed in it");
        assert!(told("a\u{202e}b").contains("is not allowed"));
        assert!(told(" a").ends_with("it begins or ends with a space"));
        assert!(told(&"k".repeat(256)).ends_with("it has 256 bytes, and 255 are allowed"));
        for good in ["my-files", "büro drucker", "a\\b", &"k".repeat(255)] {
            assert_eq!(good.parse::<RoutingKey>().unwrap().as_str(), good);
        }
        assert!("n".repeat(128).parse::<AgentName>().is_ok());
        assert!(
            "n".repeat(129)
                .parse::<AgentName>()
                .unwrap_err()
                .to_string()
                .ends_with("it has 129 bytes, and 128 are allowed")
        );
    }

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        let id = AgentId(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233343536373839616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "3031", &"g".repeat(32), &"ä".repeat(16), "+0313233343536373839616263646566"] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad}");
        }
    }
}
