//! Where a request comes from: the peer, or whom a trusted proxy before us names in `X-Forwarded-For`.

use std::net::SocketAddr;

use adit_jumphost::config::Networks;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::head;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of a request that this peer sent us. Its port is 0 where the proxy does not tell it.
pub(crate) fn client(peer: SocketAddr, headers: &HeaderMap, trusted: &Networks) -> SocketAddr {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    head::client(peer, lines, |address| trusted.contain(address))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use adit_jumphost::RawConfig;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1:4000";

    fn trusted(list: &str) -> Networks {
        let typed = serde_json::json!({ "web_trusted_proxies": list });
        serde_json::from_value::<RawConfig>(typed).unwrap().check().unwrap().web_trusted_proxies
    }

    fn client_of(peer: &str, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        client(peer.parse().unwrap(), &headers, &trusted("10.0.0.0/24, ::1")).to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        assert_eq!(client_of("192.0.2.1:4000", &[b"203.0.113.9"]), "192.0.2.1:4000");
        assert_eq!(client_of(PROXY, &[b"203.0.113.9"]), "203.0.113.9:0");
        assert_eq!(client_of("[::ffff:10.0.0.1]:4000", &[b"203.0.113.9"]), "203.0.113.9:0");
        assert_eq!(client_of(PROXY, &[]), PROXY, "the proxy itself, or one that tells nothing");
    }

    #[test]
    fn the_rightmost_that_is_no_proxy_is_the_client() {
        for (lines, found) in [
            (&[&b"198.51.100.1, 203.0.113.9"[..]][..], "203.0.113.9:0"),
            (&[b"198.51.100.1, 203.0.113.9,10.0.0.7 ,\t10.0.0.8"], "203.0.113.9:0"),
            (&[b"198.51.100.1", b"203.0.113.9", b"10.0.0.7"], "203.0.113.9:0"),
            (&[b"10.0.0.9, 10.0.0.8"], "10.0.0.9:0"),
            (&[b"2001:db8::1"], "[2001:db8::1]:0"),
            (&[b"[2001:db8::1]"], "[2001:db8::1]:0"),
            (&[b"[2001:db8::1]:1234, [::1]:9"], "[2001:db8::1]:1234"),
            (&[b"203.0.113.9:1234"], "203.0.113.9:1234"),
        ] {
            assert_eq!(client_of(PROXY, lines), found);
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_search() {
        for (lines, found) in [
            (&[&b""[..]][..], PROXY),
            (&[b"unknown"], PROXY),
            (&[b"203.0.113.9, _hidden"], PROXY),
            (&[b"203.0.113.9, , 10.0.0.8"], "10.0.0.8:0"),
            (&[b"203.0.113.9, 10.0.0.8:99999"], PROXY),
            (&[b"203.0.113.9, [10.0.0.8", b"10.0.0.7:1"], "10.0.0.7:1"),
            (&[b"\xff\xfe, 203.0.113.9"], "203.0.113.9:0"),
        ] {
            assert_eq!(client_of(PROXY, lines), found);
        }
    }

    fn entry() -> impl Strategy<Value = Vec<u8>> {
        let address = any::<IpAddr>().prop_map(|ip| ip.to_string().into_bytes());
        let near = (0_u8..4, any::<u16>()).prop_map(|(host, port)| format!("10.0.0.{host}:{port}").into_bytes());
        let noise = prop::collection::vec(
            any::<u8>().prop_filter("a header may have it", |byte| (32..127).contains(byte)),
            0..12,
        );
        prop_oneof![address, near, noise]
    }

    proptest! {
        /// Whatever a stranger writes before it, what the proxies append decides.
        #[test]
        fn a_stranger_cannot_choose_an_address(
            written in prop::collection::vec(entry(), 0..4), stranger in any::<std::net::Ipv6Addr>(), hops in 0_u8..3
        ) {
            let lines: Vec<&[u8]> = written.iter().map(Vec::as_slice).collect();
            let peer = SocketAddr::new(stranger.into(), 7);
            prop_assume!(!trusted("10.0.0.0/24, ::1").contain(peer.ip()));
            prop_assert_eq!(client_of(&peer.to_string(), &lines), peer.to_string());
            let appended: Vec<_> = std::iter::once(peer.to_string()).chain((0..hops).map(|hop| format!("10.0.0.{hop}"))).collect();
            let appended = appended.join(", ");
            let lines: Vec<&[u8]> = lines.into_iter().chain([appended.as_bytes()]).collect();
            prop_assert_eq!(client_of(PROXY, &lines), peer.to_string());
        }
    }
}
