//! The text of a file of known keys, changed in the lines of one host and in nothing else: what we do not understand stays, byte for byte.

use adit_ssh::crypto::PublicKey;

use super::HostName;
use super::line::Line;

/// The text, with nothing in it by which a host is known. Only lines without a marker make a host known; a revocation stays. From a line
/// that names others too, the host alone is taken; where a pattern names it, an exception is made (`!host`, sshd(8)).
pub(super) fn without(text: &[u8], host: &HostName) -> Vec<u8> {
    let mut rest = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match Line::parse(&String::from_utf8_lossy(line)) {
            Some(parsed) if parsed.marker.is_none() && parsed.names(host.as_str()) && is_key(&parsed) => {
                rest.extend(without_host(line, &parsed, host));
            }
            _ => rest.extend_from_slice(line),
        }
    }
    rest
}

/// A key of a kind that we do not speak was never shown to anybody, so nobody has compared it either: it stays.
fn is_key(line: &Line) -> bool {
    PublicKey::from_blob(&line.blob).is_ok()
}

/// The text with a line more.
pub(super) fn with(mut text: Vec<u8>, line: &str) -> Vec<u8> {
    text.extend_from_slice(end_of_last_line(&text).as_bytes());
    text.extend_from_slice(line.as_bytes());
    text
}

/// What the last line lacks, maybe because somebody was cut off in it.
pub(super) fn end_of_last_line(text: &[u8]) -> &'static str {
    if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" }
}

/// A line that names the host: the same for the others it names, or nothing where there are none.
fn without_host(line: &[u8], parsed: &Line, host: &HostName) -> Vec<u8> {
    if parsed.is_hashed() {
        return Vec::new();
    }
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(line.len());
    let (indent, line) = line.split_at(start);
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (hosts, rest) = line.split_at(end);
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(host.as_str().as_bytes());
    let others: Vec<&[u8]> = hosts.split(|byte| *byte == b',').filter(|name| !is_it(name)).collect();
    if others.iter().all(|name| name.is_empty() || name.starts_with(b"!")) {
        return Vec::new();
    }
    let mut hosts = others.join(&b',');
    let still_named = Line::parse(&String::from_utf8_lossy(&[&hosts, rest].concat()));
    if still_named.is_some_and(|line| line.names(host.as_str())) {
        hosts.extend_from_slice(b",!");
        hosts.extend_from_slice(host.as_str().as_bytes());
    }
    [indent, &hosts, rest].concat()
}

#[cfg(test)]
mod tests;
