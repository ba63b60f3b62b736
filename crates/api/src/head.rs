//! Reads two headers that strangers fill as they like, `Cookie` and `X-Forwarded-For`: bytes in, facts out. What the facts are worth is
//! decided in the gate. Public for the fuzzers.

use std::net::{IpAddr, SocketAddr};

/// Cookies of one name that are looked at. Browsers send the longer paths first (RFC 6265 §5.4), and ours has the shortest
/// one that there is. So behind ours, or anywhere among these last ones, stand only those of the same path that were set
/// for the host's name or for one of the domains above it: for a name of seven parts, eight. Each of them may be there
/// twice where the browser partitions, and each of these twice again: a cookie without a name, whose value is `NAME=x`, is
/// sent as one of that name is (RFC 6265bis §5.8.3).
pub const MOST_COOKIES: usize = 32;

/// The values of the cookies of this name in the lines of a head, each once, the last one first, at most [`MOST_COOKIES`] of them.
///
/// Whoever serves something at another port of this host can set cookies for us (RFC 6265 §8.5), and nothing in a head says who
/// set which.
pub fn cookies<'a>(lines: impl DoubleEndedIterator<Item = &'a [u8]>, name: &str) -> Vec<&'a str> {
    let pairs = lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b';'));
    let named = pairs.filter_map(|pair| {
        let (found, value) = std::str::from_utf8(pair).ok()?.trim_ascii().split_once('=')?;
        (found == name).then_some(value)
    });
    let mut values = Vec::new();
    for value in named.take(MOST_COOKIES) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// The client of a request that `peer` sent, by the lines of `X-Forwarded-For` in its head and by whose word is taken. Its port is 0
/// where a proxy does not tell it.
///
/// Each proxy appends the address of whoever connected to it. So the lines are read from their right end, for as long as the address
/// that was read is that of a proxy whose word is taken; what stands further to the left, anybody could have written.
pub fn client<'a>(
    peer: SocketAddr,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusts: impl Fn(IpAddr) -> bool,
) -> SocketAddr {
    // Several lines are one list (RFC 9110 §5.3). It is cut before it is read as text: a proxy may have appended to bytes that are none.
    let mut client = peer;
    for entry in lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        if !trusts(client.ip()) {
            break;
        }
        let Some(named) = address(entry) else { break };
        client = named;
    }
    client
}

/// `ADDRESS`, `ADDRESS:PORT` or `[IPV6]`; a proxy may write any of them, and `unknown`, which is none.
fn address(entry: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    alone.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0))
}
