//! Which records may be saved. Every way in leads through here: REST, imports, the command line.

use adit_core::{BadHost, NotLoopback, Port, Printable, Target};
use adit_store::agent::{JumpHost, Profile, Record, Session, Tunnel};
use thiserror::Error;

use super::forward_spec;

/// The longest name that a list can still show; in bytes.
const MAX_NAME: usize = 200;

/// A record that may not be saved, or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRecord {
    /// A field that people read is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A field that people read is too long to be shown.
    #[error("{0} is longer than {MAX_NAME} bytes")]
    TooLong(&'static str),
    /// A field that people read holds what could act on a terminal or forge a line of a log.
    #[error("{field} has characters that cannot be shown: {}", Printable::from(text.as_str()))]
    Unprintable {
        /// Which.
        field: &'static str,
        /// What it holds.
        text: String,
    },
    /// A field that this type of forward needs is not there.
    #[error("{0} is required for this forward_type")]
    Missing(&'static str),
    /// A port is 0.
    #[error("{0} must be from 1 to 65535")]
    Port(&'static str),
    /// A host is neither a name nor an address.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// A listener would stand where others reach it.
    #[error(transparent)]
    BindAddress(#[from] NotLoopback),
}

/// A record that says of itself whether it may be saved.
pub trait Checked: Record {
    /// What is wrong with it, if something is.
    ///
    /// # Errors
    /// [`InvalidRecord`]: the first thing that is wrong.
    fn check(&self) -> Result<(), InvalidRecord>;
}

impl Checked for Tunnel {
    fn check(&self) -> Result<(), InvalidRecord> {
        text("name", &self.name)?;
        server(&self.host, self.port)?;
        forward_spec(&self.forward).map(drop)
    }
}

impl Checked for Session {
    fn check(&self) -> Result<(), InvalidRecord> {
        text("name", &self.name)?;
        server(&self.host, self.port)?;
        self.forwards.iter().try_for_each(|wanted| forward_spec(&wanted.forward).map(drop))
    }
}

impl Checked for JumpHost {
    fn check(&self) -> Result<(), InvalidRecord> {
        text("name", &self.name)?;
        server(&self.host, self.port)
    }
}

impl Checked for Profile {
    fn check(&self) -> Result<(), InvalidRecord> {
        text("name", &self.name)?;
        text("username", &self.username)?;
        self.key_path.as_deref().map_or(Ok(()), |path| printable("key_path", path))
    }
}

pub(super) fn port(field: &'static str, number: u16) -> Result<Port, InvalidRecord> {
    Port::new(number).ok_or(InvalidRecord::Port(field))
}

fn server(host: &str, number: u16) -> Result<(), InvalidRecord> {
    Target::new(host, port("port", number)?)?;
    Ok(())
}

fn text(field: &'static str, text: &str) -> Result<(), InvalidRecord> {
    match text.trim().len() {
        0 => Err(InvalidRecord::Empty(field)),
        length if length > MAX_NAME => Err(InvalidRecord::TooLong(field)),
        _ => printable(field, text),
    }
}

fn printable(field: &'static str, text: &str) -> Result<(), InvalidRecord> {
    // A backslash is shown doubled, which does no harm: `DOMAIN\user` is a name.
    match Printable::from(text).to_string() == text.replace('\\', r"\\") {
        true => Ok(()),
        false => Err(InvalidRecord::Unprintable { field, text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_people_can_read() {
        for good in ["web", "Büro · 2. Stock", r"CORP\jane", "名前", "a b"] {
            assert_eq!(text("name", good), Ok(()), "{good}");
        }
        for bad in ["a\nb", "\u{1b}[31mred", "a\u{202e}b", "tab\there", "nul\0"] {
            let told = text("name", bad).unwrap_err().to_string();
            assert!(told.starts_with("name has characters") && !told.contains(bad), "{told:?}");
        }
        assert_eq!(text("name", " \t"), Err(InvalidRecord::Empty("name")));
    }
}
