//! Which addresses are ours, and whether a request was meant for one of them.
//!
//! A page of another site can have its name resolve to our address (DNS rebinding), and then its requests count as of its own
//! origin: only the `Host` they carry tells them from ours. So a request counts if its host is a name that we know, or the very
//! address at which its connection arrived, which no other site's name can be.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// An origin (RFC 6454): what a browser calls one site. The host is in lower case, an IPv6 address in its shortest form and brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// `SCHEME://HOST[:PORT]`, and a path after it only if it is `/`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://")? {
            ("http", rest) => (Scheme::Http, rest),
            ("https", rest) => (Scheme::Https, rest),
            _ => return None,
        };
        let authority = Authority::parse(rest.strip_suffix('/').unwrap_or(rest))?;
        Some(authority.in_scheme(scheme))
    }

    fn at(address: SocketAddr) -> Self {
        Self { scheme: Scheme::Http, host: host_of(address.ip()), port: address.port() }
    }

    /// Whether the browser's cookies are safe on their way: over TLS, or where there is no way (a browser takes a `Secure` cookie
    /// from a loopback address too).
    pub(crate) fn is_trustworthy(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.scheme == Scheme::Https || loopback || host == "localhost"
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }
}

/// As a browser writes it: without the port where it is the scheme's own.
impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme.name(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(out, ":{}", self.port) }
    }
}

/// The `Host` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address without a port.
            Some((_, rest)) if rest.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        let host = match host.strip_prefix('[') {
            Some(rest) => host_of(IpAddr::V6(rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?)),
            None => host.to_ascii_lowercase(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
        (!host.is_empty() && host.chars().all(plain)).then_some(Self { host, port })
    }

    fn in_scheme(self, scheme: Scheme) -> Origin {
        Origin { scheme, host: self.host, port: self.port.unwrap_or(scheme.default_port()) }
    }

    fn names(&self, origin: &Origin) -> bool {
        self.host == origin.host && self.port.unwrap_or(origin.scheme.default_port()) == origin.port
    }
}

fn host_of(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Why a request was not meant for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Host,
    Origin,
}

/// The origins of this dashboard.
#[derive(Debug, Clone)]
pub(crate) struct OwnOrigins(Vec<Origin>);

impl OwnOrigins {
    /// `web` is where we listen; `advertised` is a host without a port; `url` is the address for people, if one is set; `hosts` are
    /// further names, each `HOST` or `HOST:PORT`.
    pub(crate) fn new(web: SocketAddr, advertised: &str, url: Option<&Origin>, hosts: &[String]) -> Self {
        let at_our_port = |host: &str| {
            let host = host.parse().map_or_else(|_| host.to_ascii_lowercase(), host_of);
            Origin { scheme: Scheme::Http, host, port: web.port() }
        };
        // Those with TLS first: where a name is known with and without, the browser's cookies are made for TLS.
        let mut all: Vec<Origin> = url.cloned().into_iter().collect();
        let further: Vec<Authority> = hosts.iter().filter_map(|host| Authority::parse(host)).collect();
        for scheme in [Scheme::Https, Scheme::Http] {
            all.extend(further.iter().map(|authority| authority.clone().in_scheme(scheme)));
        }
        all.extend(further.iter().map(|authority| at_our_port(&authority.host)));
        all.extend(["localhost", "127.0.0.1", "::1", advertised].map(at_our_port));
        Self(all)
    }

    /// Only the very address at which a connection arrives. A name is none: `localhost` may be another address of this machine too, at
    /// which somebody else listens.
    pub(crate) fn by_address() -> Self {
        Self(Vec::new())
    }

    /// The one of our origins that a request was sent to. `local` is where its connection arrived.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri, local: SocketAddr) -> Result<Origin, Foreign> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
            (Some(host), None) => Authority::parse(host).ok_or(Foreign::Host)?,
            _ => return Err(Foreign::Host),
        };
        // A target in absolute form must say the same (RFC 9112 §3.2.2).
        if uri.authority().is_some_and(|target| Authority::parse(target.as_str()).as_ref() != Some(&host)) {
            return Err(Foreign::Host);
        }
        let arrived = Origin::at(local);
        let mut ours = self.0.iter().chain([&arrived]).filter(|own| host.names(own));
        let mut origins = headers.get_all(ORIGIN).iter();
        let own = match (origins.next(), origins.next()) {
            (None, _) => ours.next().ok_or(Foreign::Host)?,
            // No browser sends two.
            (Some(_), Some(_)) => return Err(Foreign::Origin),
            (Some(origin), None) => {
                let mut ours = ours.peekable();
                ours.peek().ok_or(Foreign::Host)?;
                let origin = origin.to_str().ok().and_then(Origin::parse).ok_or(Foreign::Origin)?;
                ours.find(|own| **own == origin).ok_or(Foreign::Origin)?
            }
        };
        Ok(own.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnOrigins {
        let web = "127.0.0.1:8022".parse().unwrap();
        let url = Origin::parse("https://tunnels.example.org/").unwrap();
        OwnOrigins::new(web, "jump.mesh", Some(&url), &["Other.example".to_owned(), "third.example:9000".to_owned()])
    }

    fn check(host: &str, origin: Option<&str>) -> Result<String, Foreign> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let local = "10.8.0.1:8022".parse().unwrap();
        own().check(&headers, &Uri::from_static("/"), local).map(|origin| origin.to_string())
    }

    #[test]
    fn our_names_are_ours_and_no_others() {
        for (host, origin) in [
            ("localhost:8022", "http://localhost:8022"),
            ("LOCALHOST:8022", "http://localhost:8022"),
            ("127.0.0.1:8022", "http://127.0.0.1:8022"),
            ("[::1]:8022", "http://[::1]:8022"),
            ("[0:0::1]:8022", "http://[::1]:8022"),
            ("10.8.0.1:8022", "http://10.8.0.1:8022"),
            ("jump.mesh:8022", "http://jump.mesh:8022"),
            ("tunnels.example.org", "https://tunnels.example.org"),
            ("tunnels.example.org:443", "https://tunnels.example.org"),
            ("other.example", "https://other.example"),
            ("other.example:8022", "http://other.example:8022"),
            ("third.example:9000", "https://third.example:9000"),
        ] {
            assert_eq!(check(host, None), Ok(origin.to_owned()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8022",
            "localhost",
            "localhost:80",
            "127.0.0.1",
            "127.0.0.2:8022",
            "10.8.0.2:8022",
            "jump.mesh",
            "tunnels.example.org:8022",
            "localhost.:8022",
            "localhost:8022:8022",
            "localhost:+8022",
            "",
            ":8022",
            "localhost:",
            "[::1",
            "::1",
            "user@localhost:8022",
            "localhost:8022/x",
        ] {
            assert_eq!(check(host, None), Err(Foreign::Host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_the_one_of_the_host() {
        assert!(check("localhost:8022", Some("http://localhost:8022")).is_ok());
        assert!(check("other.example", Some("http://other.example")).is_ok());
        assert_eq!(check("other.example", Some("https://other.example")), Ok("https://other.example".to_owned()));
        for origin in [
            "null",
            "http://evil.example",
            "https://localhost:8022",
            "http://localhost",
            "http://localhost:8022.evil.example",
            "http://127.0.0.1:8022",
            "http://jump.mesh:8022",
            "",
            "http://user@localhost:8022",
            "file://localhost:8022",
        ] {
            assert_eq!(check("localhost:8022", Some(origin)), Err(Foreign::Origin), "{origin}");
        }
        assert_eq!(check("tunnels.example.org", Some("http://tunnels.example.org")), Err(Foreign::Origin));
        assert_eq!(check("evil.example", Some("http://evil.example")), Err(Foreign::Host));
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost:8022".parse().unwrap());
        headers.append(HOST, "localhost:8022".parse().unwrap());
        let local = "127.0.0.1:8022".parse().unwrap();
        assert_eq!(own().check(&headers, &Uri::from_static("/"), local), Err(Foreign::Host));
        headers.remove(HOST);
        assert_eq!(own().check(&headers, &Uri::from_static("/"), local), Err(Foreign::Host));
        headers.insert(HOST, "localhost:8022".parse().unwrap());
        let target = Uri::from_static("http://evil.example/");
        assert_eq!(own().check(&headers, &target, local), Err(Foreign::Host));
    }

    #[test]
    fn cookies_are_safe_over_tls_and_on_this_machine() {
        for (origin, safe) in [
            ("https://jump.mesh", true),
            ("http://jump.mesh", false),
            ("http://localhost:1", true),
            ("http://127.0.0.5:1", true),
            ("http://[::1]:1", true),
            ("http://10.8.0.1:1", false),
        ] {
            assert_eq!(Origin::parse(origin).unwrap().is_trustworthy(), safe, "{origin}");
        }
    }
}
