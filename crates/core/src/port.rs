//! A TCP port a forward can have, and inclusive ranges of them.
//!
//! Port 0 is no [`Port`]: in a `tcpip-forward` it means "choose one for me" (RFC 4254 §7.1), and that is an `Option`.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::Printable;

/// A TCP port that can be listened on: 1 to 65535, never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u16);

impl Port {
    /// The lowest port.
    pub const MIN: Port = Port(1);
    /// The highest port.
    pub const MAX: Port = Port(u16::MAX);

    /// The port with this number; `None` for 0.
    pub const fn new(number: u16) -> Option<Port> {
        if number == 0 { None } else { Some(Port(number)) }
    }

    /// Its number, never 0.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.0
    }
}

impl From<Port> for u32 {
    fn from(port: Port) -> u32 {
        u32::from(port.0)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({})", self.0)
    }
}

impl FromStr for Port {
    type Err = ParsePortError;

    fn from_str(typed: &str) -> Result<Port, ParsePortError> {
        number(typed).ok_or_else(|| ParsePortError { typed: typed.to_owned() })
    }
}

/// The text is no port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePortError {
    typed: String,
}

impl fmt::Display for ParsePortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = Printable::from(self.typed.as_str()).at_most(SHOWN);
        write!(f, "“{typed}” is not a port: write a number from 1 to 65535, for example 10080")
    }
}

impl Error for ParsePortError {}

/// Ports from `first` to `last`, both included; never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// The ports a jump host gives out when nobody says otherwise: 10000 to 60000.
    pub const FORWARDS: PortRange = PortRange { first: Port(10_000), last: Port(60_000) };

    /// The range from `first` to `last`; `None` if it ends before it starts.
    pub fn new(first: Port, last: Port) -> Option<PortRange> {
        (first <= last).then_some(PortRange { first, last })
    }

    /// The range that holds this port alone.
    pub fn single(port: Port) -> PortRange {
        PortRange { first: port, last: port }
    }

    /// Its lowest port.
    pub fn first(self) -> Port {
        self.first
    }

    /// Its highest port.
    pub fn last(self) -> Port {
        self.last
    }

    /// How many ports it has: at least 1.
    pub fn size(self) -> u32 {
        u32::from(self.last.0 - self.first.0) + 1
    }

    /// Is this port in it?
    pub fn contains(self, port: Port) -> bool {
        self.first <= port && port <= self.last
    }

    /// The ports that are in both; `None` if there are none.
    pub fn intersection(self, other: PortRange) -> Option<PortRange> {
        PortRange::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// Its ports, lowest first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Port> {
        (self.first.0..=self.last.0).map(Port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Debug for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortRange({self})")
    }
}

impl FromStr for PortRange {
    type Err = ParsePortRangeError;

    /// Reads `10000-60000`, or one port alone. Blanks around the numbers are allowed.
    fn from_str(typed: &str) -> Result<PortRange, ParsePortRangeError> {
        let wrong = |problem| ParsePortRangeError { typed: typed.to_owned(), problem };
        let (first, last) = typed.split_once('-').unwrap_or((typed, typed));
        let (first, last) = (first.trim(), last.trim());
        if first.is_empty() && last.is_empty() {
            return Err(wrong(RangeProblem::Empty));
        }
        let port = |text: &str| number(text).ok_or_else(|| wrong(RangeProblem::NotAPort(text.to_owned())));
        PortRange::new(port(first)?, port(last)?).ok_or_else(|| wrong(RangeProblem::Backwards))
    }
}

/// The text is no range of ports; its `Display` says what was typed, what is wrong, and shows one that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePortRangeError {
    typed: String,
    problem: RangeProblem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RangeProblem {
    Empty,
    NotAPort(String),
    Backwards,
}

impl fmt::Display for ParsePortRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}” is not a range of ports: ", Printable::from(self.typed.as_str()).at_most(SHOWN))?;
        match &self.problem {
            RangeProblem::Empty => f.write_str("no port is named")?,
            RangeProblem::NotAPort(part) if part.is_empty() => f.write_str("one of its ends is missing")?,
            RangeProblem::NotAPort(part) => {
                write!(f, "“{}” is no number from 1 to 65535", Printable::from(part.as_str()).at_most(SHOWN))?;
            }
            RangeProblem::Backwards => f.write_str("it ends before it starts")?,
        }
        f.write_str("; write it like 10000-60000")
    }
}

impl Error for ParsePortRangeError {}

/// How many characters of a wrong text an error repeats: enough to recognise it, too few to fill a log.
const SHOWN: usize = 40;

/// Digits only: the `+80` that `u16::from_str` takes is no port a person means.
fn number(text: &str) -> Option<Port> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Port::new(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(typed: &str) -> String {
        typed.parse::<PortRange>().unwrap_err().to_string()
    }

    #[test]
    fn zero_is_no_port() {
        assert_eq!(Port::new(0), None);
        assert_eq!("0".parse::<Port>(), Err(ParsePortError { typed: "0".to_owned() }));
        assert_eq!("65535".parse(), Ok(Port::MAX));
        assert!("65536".parse::<Port>().is_err());
        assert!("+80".parse::<Port>().is_err());
        assert!("".parse::<Port>().is_err());
    }

    #[test]
    fn a_range_includes_both_ends() {
        let range: PortRange = "10000-60000".parse().unwrap();
        assert_eq!(range, PortRange::FORWARDS);
        assert!(range.contains(Port(10_000)) && range.contains(Port(60_000)));
        assert!(!range.contains(Port(9_999)) && !range.contains(Port(60_001)));
        assert_eq!(range.size(), 50_001);
        assert_eq!(range.iter().count(), 50_001);
        assert_eq!(PortRange::new(Port::MIN, Port::MAX).unwrap().size(), 65_535);
    }

    #[test]
    fn a_range_prints_as_it_is_typed() {
        for typed in ["10000-60000", "1-65535", "10080"] {
            assert_eq!(typed.parse::<PortRange>().unwrap().to_string(), typed);
        }
        assert_eq!(" 10 - 20 ".parse::<PortRange>().unwrap().to_string(), "10-20");
    }

    #[test]
    fn a_wrong_range_is_told_with_an_example() {
        assert_eq!(
            complaint("60000-10000"),
            "“60000-10000” is not a range of ports: it ends before it starts; write it like 10000-60000"
        );
        assert_eq!(
            complaint("10000-70000"),
            "“10000-70000” is not a range of ports: “70000” is no number from 1 to 65535; write it like 10000-60000"
        );
        assert!(complaint("10000-").contains("one of its ends is missing"));
        assert!(complaint("").contains("no port is named"));
        assert!(complaint("1-2-3").contains("“2-3” is no number"));
        assert!(complaint("0-\u{1b}[2J").contains("“0” is no number"));
        assert!(!complaint("0-\u{1b}[2J").contains('\u{1b}'));
    }

    #[test]
    fn ranges_meet_or_do_not() {
        let range = |text: &str| text.parse::<PortRange>().unwrap();
        assert_eq!(range("10-20").intersection(range("15-30")), Some(range("15-20")));
        assert_eq!(range("10-20").intersection(range("20-30")), Some(range("20")));
        assert_eq!(range("10-20").intersection(range("21-30")), None);
    }
}
