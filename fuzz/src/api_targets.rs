//! What the fuzzers run of the front doors: each body takes bytes as a stranger would send them, and asserts what must hold whatever
//! they are. Included by the fuzz crate and by the tests of the doors, which replay the corpus.

use std::net::{IpAddr, SocketAddr};

use super::head::{MOST_COOKIES, client, cookies};

/// A target: its name, which is also its folder in the corpus, and its body.
type Target = (&'static str, fn(&[u8]));

pub(super) const ALL: [Target; 2] = [("forwarded_for", forwarded_for), ("cookies", cookies_of_one_name)];

/// The proxies whose word is taken are those of this machine.
fn is_proxy(address: IpAddr) -> bool {
    address.is_loopback()
}

fn lines(data: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    data.split(|byte| *byte == b'\n')
}

/// The lines of `X-Forwarded-For`, one below the other.
pub(super) fn forwarded_for(data: &[u8]) {
    let proxy = SocketAddr::from(([127, 0, 0, 1], 4_000));
    let stranger = SocketAddr::from(([192, 0, 2, 1], 5_000));
    assert_eq!(client(stranger, lines(data), is_proxy), stranger, "a stranger's word is not taken");

    let found = client(proxy, lines(data), is_proxy);
    let text = String::from_utf8_lossy(data);
    let written =
        |entry: &str| entry.trim().trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip == found.ip());
    let with_port = |entry: &str| entry.trim().parse() == Ok(found);
    let entries = || text.split(['\n', ',']);
    assert!(
        found == proxy || entries().any(with_port) || (found.port() == 0 && entries().any(written)),
        "{found} from nowhere"
    );

    // Whatever stands before it, what the proxies append decides.
    for appended in
        [", 192.0.2.1:5000", "\n192.0.2.1:5000", ",192.0.2.1:5000, 127.0.0.2 ,::1", "\n192.0.2.1:5000\n[::1]:9"]
    {
        let whole = [data, appended.as_bytes()].concat();
        assert_eq!(client(proxy, lines(&whole), is_proxy), stranger, "after {text:?}{appended:?}");
    }
}

/// The lines of `Cookie`, one below the other.
pub(super) fn cookies_of_one_name(data: &[u8]) {
    let found = cookies(lines(data), "adit");
    assert!(found.len() <= MOST_COOKIES);
    for (at, value) in found.iter().enumerate() {
        assert!(!found[..at].contains(value) && !value.contains([';', '\n']));
        let pair = format!("adit={value}");
        assert!(data.windows(pair.len()).any(|part| part == pair.as_bytes()), "{pair:?} from nowhere");
    }

    // Whatever stands before it, the last one is found, and first.
    for appended in ["; adit=ours", "\nadit=ours", ";adit=ours ; theme=dark", "\n adit=ours;;"] {
        let whole = [data, appended.as_bytes()].concat();
        let with_ours = cookies(lines(&whole), "adit");
        assert_eq!(with_ours.first(), Some(&"ours"), "after {:?}", String::from_utf8_lossy(data));
        assert!(with_ours[1..].iter().all(|value| found.contains(value) && *value != "ours"));
    }
}
