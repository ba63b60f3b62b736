//! What one tunnel is: a port of a bastion that leads to a service of this machine, and what to log in with.
//!
//! It is kept in one form alone, the arguments of the program that keeps it up: they stand in the unit, and are read back from there.

use std::error::Error;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use adit_core::{Port, Printable};

/// As much of a text as an error shows.
const SHOWN: usize = 80;

/// The command of `adit` that keeps a tunnel up.
pub const KEEP: &str = "keep";

/// The name of the key among a unit's credentials (systemd.exec(5), `LoadCredential=`).
pub const KEY_CREDENTIAL: &str = "key";

/// A text that can stand in a line of a unit, of a crontab and of a command: one line, not empty, and nothing that a program
/// would take for an option.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Text(String);

/// A text that cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadText {
    what: &'static str,
    typed: String,
    problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    Empty,
    Option,
    Character(char),
    Edge,
    Relative,
}

impl Text {
    /// Takes a text for `what`, as errors call it.
    ///
    /// # Errors
    /// [`BadText`] for an empty one, one that begins with `-`, one that begins or ends with a space, and one with a control character,
    /// of which a line feed is the dangerous one.
    pub fn new(what: &'static str, typed: impl Into<String>) -> Result<Self, BadText> {
        let typed = typed.into();
        let problem = match typed.chars().find(|&c| is_strange(c)) {
            Some(stranger) => Some(Problem::Character(stranger)),
            None if typed.is_empty() => Some(Problem::Empty),
            None if typed.starts_with('-') => Some(Problem::Option),
            None if typed.trim() != typed => Some(Problem::Edge),
            None => None,
        };
        match problem {
            Some(problem) => Err(BadText { what, typed: typed.chars().take(SHOWN + 1).collect(), problem }),
            None => Ok(Self(typed)),
        }
    }

    /// The same, of one word.
    ///
    /// # Errors
    /// [`BadText`], also for a space.
    pub fn word(what: &'static str, typed: impl Into<String>) -> Result<Self, BadText> {
        let text = Self::new(what, typed)?;
        match text.0.chars().find(|c| c.is_whitespace()) {
            Some(space) => Err(text.refused(what, space)),
            None => Ok(text),
        }
    }

    /// The same, of a file's path, from the root on.
    ///
    /// # Errors
    /// [`BadText`], also for a path with `..` in it, which units do not take, and for one that is no text.
    pub fn path(what: &'static str, path: &Path) -> Result<Self, BadText> {
        let lossy = path.to_string_lossy();
        if path.to_str().is_none() {
            let typed = lossy.chars().take(SHOWN + 1).collect();
            return Err(BadText { what, typed, problem: Problem::Character(char::REPLACEMENT_CHARACTER) });
        }
        let text = Self::new(what, lossy)?;
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(BadText { what, typed: text.0.chars().take(SHOWN + 1).collect(), problem: Problem::Relative });
        }
        // A line of a unit that ends with a backslash goes on in the next (systemd.syntax(7)).
        match text.0.ends_with('\\') {
            true => Err(text.refused(what, '\\')),
            false => Ok(text),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Why it is not good enough after all: the character `stranger` in it.
    pub(crate) fn refused(&self, what: &'static str, stranger: char) -> BadText {
        BadText { what, typed: self.0.chars().take(SHOWN + 1).collect(), problem: Problem::Character(stranger) }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, typed, problem } = self;
        let typed = Printable::from(typed.as_str()).at_most(SHOWN);
        match problem {
            Problem::Empty => write!(f, "the {what} is empty"),
            Problem::Option => write!(f, "the {what} “{typed}” begins with -, which programs take for an option"),
            Problem::Character(c) => {
                write!(f, "the {what} “{typed}” has {} in it, which cannot stand there", name_of(*c))
            }
            Problem::Edge => write!(f, "the {what} “{typed}” begins or ends with a space"),
            Problem::Relative => write!(f, "the {what} “{typed}” is not a path from the root on, without .."),
        }
    }
}

impl Error for BadText {}

/// What is no part of a line, and what systemd does not take for text: the characters that Unicode has for nobody.
fn is_strange(c: char) -> bool {
    let is_nobodys = matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE;
    c.is_control() || is_nobodys || matches!(c, '\u{2028}' | '\u{2029}')
}

fn name_of(c: char) -> String {
    match c {
        '\n' => "a line feed".to_owned(),
        '\r' => "a carriage return".to_owned(),
        '\t' => "a tab".to_owned(),
        '\\' => "a backslash at its end".to_owned(),
        char::REPLACEMENT_CHARACTER => "something that is not UTF-8".to_owned(),
        ' ' => "a space".to_owned(),
        other if other.is_ascii_graphic() => format!("“{other}”"),
        other => format!("the character U+{:04X}", u32::from(other)),
    }
}

/// One tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSettings {
    /// The port of the bastion. It names the tunnel too.
    pub port: Port,
    /// The bastion: `user@host:port`.
    pub bastion: Text,
    /// What the port leads to: `host:port` of this machine.
    pub target: Text,
    /// Where the bastion is to listen: an address of its own, or `*`.
    pub bind: Text,
    /// The private key. It has no passphrase: nobody is there to type one.
    pub key: Text,
    /// The bastion's host keys, in OpenSSH's form. No other is taken.
    pub host_keys: Vec<Text>,
}

impl TunnelSettings {
    /// The arguments of the program that keeps it up, the first of which is the command. The key is the last, and `None` has it
    /// read from the credentials that systemd hands over.
    #[must_use]
    pub fn arguments(&self, key: Option<&Text>) -> Vec<String> {
        let mut arguments = vec![
            KEEP.to_owned(),
            format!("--port={}", self.port),
            format!("--bastion={}", self.bastion),
            format!("--target={}", self.target),
            format!("--bind={}", self.bind),
        ];
        arguments.extend(self.host_keys.iter().map(|key| format!("--host-key={key}")));
        arguments.extend(key.map(|key| format!("--key={key}")));
        arguments
    }

    /// Reads [`arguments`](Self::arguments) back; `key` where they name none. `None` where they are another's.
    #[must_use]
    pub fn from_arguments(arguments: &[String], key: Option<&str>) -> Option<Self> {
        let (command, rest) = arguments.split_first()?;
        let value = |name: &str| rest.iter().find_map(|argument| argument.strip_prefix(&format!("--{name}=")));
        let text = |name: &'static str| Text::new(name, value(name)?).ok();
        let host_keys = rest.iter().filter_map(|argument| argument.strip_prefix("--host-key="));
        (command == KEEP).then_some(())?;
        Some(Self {
            port: value("port")?.parse().ok()?,
            bastion: text("bastion")?,
            target: text("target")?,
            bind: text("bind")?,
            key: Text::path("key", &PathBuf::from(value("key").or(key)?)).ok()?,
            host_keys: host_keys.map(|key| Text::new("host key", key)).collect::<Result<_, _>>().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(typed: &str) -> String {
        Text::new("bastion", typed).unwrap_err().to_string()
    }

    #[test]
    fn a_text_is_one_line_that_is_no_option() {
        assert!(refused("a\nExecStartPre=/bin/sh").contains("a line feed"));
        assert!(refused("a\r").contains("a carriage return"));
        assert!(refused("a\0b").contains("U+0000"));
        assert!(refused("a\u{2028}b").contains("U+2028"));
        assert!(refused("a\u{fdd0}b").contains("U+FDD0") && refused("a\u{1ffff}").contains("U+1FFFF"));
        assert!(refused("").contains("is empty"));
        assert!(refused("-oProxyCommand=x").contains("begins with -"));
        assert!(refused(" a").contains("space"));
        for fine in ["user@host", "100% $HOME", "a b", r#"it's "quoted" \ $(x)"#] {
            assert_eq!(Text::new("bastion", fine).unwrap().as_str(), fine);
        }
    }

    #[test]
    fn an_error_shows_what_was_typed_on_one_line() {
        let told = refused(&format!("evil\u{1b}[2J\n{}", "x".repeat(1000)));
        assert!(!told.contains(['\n', '\u{1b}']) && told.len() < 300, "{told}");
    }

    #[test]
    fn a_path_begins_at_the_root() {
        assert!(Text::path("key", Path::new("id")).unwrap_err().to_string().contains("from the root on"));
        assert!(Text::path("key", Path::new("/home/../id")).unwrap_err().to_string().contains("without .."));
        assert!(Text::path("key", Path::new("/a\\")).unwrap_err().to_string().contains("backslash"));
        assert_eq!(Text::path("key", Path::new("/home/a b/id_ed25519")).unwrap().as_str(), "/home/a b/id_ed25519");
    }

    #[test]
    fn what_a_tunnel_is_is_read_back_from_its_arguments() {
        let text = |typed: &str| Text::new("text", typed).unwrap();
        let settings = TunnelSettings {
            port: Port::new(2222).unwrap(),
            bastion: text("me@bastion:22"),
            target: text("localhost:22"),
            bind: text("127.0.0.1"),
            key: text("/k e/y"),
            host_keys: vec![text("ssh-ed25519 AAAA"), text("ssh-rsa BBBB=")],
        };
        let with_key = settings.arguments(Some(&settings.key));
        assert_eq!(TunnelSettings::from_arguments(&with_key, None).as_ref(), Some(&settings));
        let without = settings.arguments(None);
        assert_eq!(TunnelSettings::from_arguments(&without, Some("/k e/y")).as_ref(), Some(&settings));
        assert_eq!(TunnelSettings::from_arguments(&without, None), None);
        assert_eq!(TunnelSettings::from_arguments(&["agent".to_owned()], Some("/k")), None);
    }
}
