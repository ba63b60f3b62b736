//! One line of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): `[@marker] hosts type key [comment]`.

use adit_ssh::crypto::PublicKey;
use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding};

/// `|1|salt|hash`
const HASH_MAGIC: &str = "|1|";

/// What a line says beside a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// The key signs certificates.
    CertAuthority,
    /// The key must never be taken.
    Revoked,
}

/// A line that says something of a key.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) marker: Option<Marker>,
    hosts: Hosts,
    /// The key in wire form.
    pub(super) blob: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Hosts {
    Patterns(String),
    /// One name, hashed so that the file does not tell where its owner goes.
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

impl Line {
    /// `None` for what says nothing: empty lines, comments, and what is not understood.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace().peekable();
        let marker = match fields.peek()? {
            first if first.starts_with('#') => return None,
            &"@cert-authority" => Some(Marker::CertAuthority),
            &"@revoked" => Some(Marker::Revoked),
            first if first.starts_with('@') => return None,
            _ => None,
        };
        if marker.is_some() {
            fields.next();
        }
        let (hosts, key_type, key) = (fields.next()?, fields.next()?, fields.next()?);
        let blob = Base64::decode_vec(key).ok()?;
        // The key names its type too (RFC 4253 §6.6).
        let inner_type =
            blob.split_first_chunk::<4>().and_then(|(len, rest)| rest.get(..u32::from_be_bytes(*len) as usize));
        if inner_type != Some(key_type.as_bytes()) {
            return None;
        }
        Some(Self { marker, hosts: Hosts::parse(hosts)?, blob })
    }

    /// Whether it names one host, and does not say which.
    pub(super) fn is_hashed(&self) -> bool {
        matches!(self.hosts, Hosts::Hashed { .. })
    }

    /// Whether the line is about this host, named as the file names it.
    pub(super) fn names(&self, host: &str) -> bool {
        match &self.hosts {
            Hosts::Patterns(patterns) => {
                let mut matched = false;
                for pattern in patterns.split(',') {
                    match pattern.strip_prefix('!') {
                        // One that is excluded is excluded whatever else it matches.
                        Some(excluded) if matches_pattern(excluded.as_bytes(), host.as_bytes()) => return false,
                        Some(_) => {}
                        None => matched |= matches_pattern(pattern.as_bytes(), host.as_bytes()),
                    }
                }
                matched
            }
            Hosts::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, host.as_bytes(), hash).is_ok()
            }
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(HASH_MAGIC) {
            Some(hashed) => {
                let (salt, hash) = hashed.split_once('|')?;
                Some(Self::Hashed { salt: Base64::decode_vec(salt).ok()?, hash: Base64::decode_vec(hash).ok()? })
            }
            None if text.starts_with('|') => None,
            None => Some(Self::Patterns(text.to_ascii_lowercase())),
        }
    }
}

/// `*` stands for any characters, `?` for one. In time proportional to the product of the lengths, at worst.
fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Where to go on if the last star has to stand for one character more.
    let mut retry = None;
    while at < text.len() {
        match pattern.get(next) {
            Some(b'*') => {
                retry = Some((at, next));
                next += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == text[at] => (at, next) = (at + 1, next + 1),
            _ => match retry {
                Some((from, star)) => {
                    (at, next) = (from + 1, star + 1);
                    retry = Some((from + 1, star));
                }
                None => return false,
            },
        }
    }
    pattern[next..].iter().all(|rest| *rest == b'*')
}

/// The line for a key, with its end.
pub(super) fn write(host: &str, key: &PublicKey) -> String {
    format!("{host} {} {}\n", key.key_type(), Base64::encode_string(key.blob()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let matches = |pattern: &str, text: &str| matches_pattern(pattern.as_bytes(), text.as_bytes());
        assert!(matches("*.example.org", "a.b.example.org"));
        assert!(matches("10.0.?.*", "10.0.7.23"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "aXbXbc"));
        assert!(!matches("*.example.org", "example.org"));
        assert!(!matches("10.0.?.1", "10.0.12.1"));
        assert!(!matches("", "a"));
        assert!(!matches("a*b", "ac"));
    }

    #[test]
    fn a_pattern_of_stars_costs_no_more_than_its_length() {
        assert!(!matches_pattern("*a".repeat(2000).as_bytes(), "a".repeat(1999).as_bytes()));
    }
}
