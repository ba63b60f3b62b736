//! The gate: stands before every route, asset and event stream, and asks whether a request was meant for us.
//!
//! | File | Does |
//! |---|---|
//! | [`origin`] | which `Host` and `Origin` are ours |
//! | [`caller`] | who asks, as a type that a handler names: a visitor, somebody signed in, an administrator |
//! | [`cookie`] | the browser's cookies |
//! | `client` | where a request comes from, if a trusted proxy stands before us |
//! | [`question`] | what a request brings along, bounded in size and time |
//!
//! Of a jump host only `/health` and `/metrics` stand outside of it, with its headers alone: a load balancer and Prometheus come by whatever name
//! or address they were given, and what they read names nobody.

pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod cookie;
pub(crate) mod origin;
pub(crate) mod question;

use std::net::SocketAddr;
use std::sync::Arc;

use adit_jumphost::config::Networks;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::connections::Ends;
use crate::failure::Refusal;
use origin::{Foreign, Origin, OwnOrigins};

/// What goes with every answer.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("permissions-policy"), HeaderValue::from_static(NO_FEATURES)),
];

/// The page is made of its own files and talks to its own server. Text becomes markup in one place only, where Svelte makes an
/// element from the page's own templates (Trusted Types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types svelte-trusted-html";

/// What the page does not need, and a script that should not be there might; copying to the clipboard it needs.
const NO_FEATURES: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

/// A year, as the preload lists ask. Said only where the address for people has TLS.
const ONLY_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The gate's rules.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    own: OwnOrigins,
    only_tls: bool,
    trusted_proxies: Networks,
    is_open_to_other_sites: fn(&str) -> bool,
}

/// What the gate found of a request.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    /// The one of our origins that it was sent to.
    pub(crate) origin: Origin,
    /// Where it comes from: the peer, or whom a trusted proxy names.
    pub(crate) client: SocketAddr,
}

impl Gate {
    /// `only_tls`: people's browsers are to use the address over TLS from now on. `is_open_to_other_sites`: paths to which pages
    /// of other sites may link.
    pub(crate) fn new(
        own: OwnOrigins,
        only_tls: bool,
        trusted_proxies: Networks,
        is_open_to_other_sites: fn(&str) -> bool,
    ) -> Self {
        Self(Arc::new(Rules { own, only_tls, trusted_proxies, is_open_to_other_sites }))
    }
}

/// Lets a request through that was meant for us.
pub(crate) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match gate.check(&request) {
        Ok(passed) => {
            request.extensions_mut().insert(passed);
            next.run(request).await
        }
        Err(foreign) => refuse(foreign).into_response(),
    }
}

fn refuse(foreign: Foreign) -> Refusal {
    let (told, code) = match foreign {
        Foreign::Host => (
            "this server is not known by that name; use the address it printed at its start, or add the name to web_hosts",
            "foreign-host",
        ),
        Foreign::Origin => ("a page of another site may not ask this server", "foreign-origin"),
    };
    Refusal::new(StatusCode::FORBIDDEN, told, code)
}

/// Adds what goes with every answer.
pub(crate) async fn add_headers(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    // Files say themselves how long they are good.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if gate.0.only_tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, ONLY_TLS);
    }
    response
}

impl Gate {
    /// Whether a request was meant for us.
    pub(crate) fn check(&self, request: &Request) -> Result<Passed, Foreign> {
        // A request that came by no connection of ours was meant for nobody.
        let ends = request.extensions().get::<Ends>().ok_or(Foreign::Host)?;
        let origin = self.0.own.check(request.headers(), request.uri(), ends.local)?;
        if comes_from_another_site(request.headers()) && !(self.0.is_open_to_other_sites)(request.uri().path()) {
            return Err(Foreign::Origin);
        }
        Ok(Passed { origin, client: client::client(ends.peer, request.headers(), &self.0.trusted_proxies) })
    }
}

/// Whether the browser says so (Fetch Metadata). A page at another port of this host is of the same site and not of ours; the
/// browser would send it our cookies.
fn comes_from_another_site(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// Whether the browser says that our own page asks.
fn comes_from_our_page(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
}
