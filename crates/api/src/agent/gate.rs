//! Which requests the agent answers: those that were meant for it, and bring its token. No cookie is known here, so no browser adds
//! anything by itself to what another site's page sends.
//!
//! The token can be exchanged while the door is open ([`page`](super::page) does). A stream that was begun with the old one ends then.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::StreamExt;
use thiserror::Error;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::refusal::Denied;
use super::whereabouts::url_of;
use crate::connections::Ends;
use crate::gate::Gate;
use crate::gate::origin::Foreign;

/// 128 bits in hexadecimal digits: nobody guesses it.
const SHORTEST: usize = 32;

/// As many random bytes as the strongest cipher's key.
const RANDOM: usize = 32;

/// A secret that nobody guesses, in hexadecimal digits.
pub(super) fn random_text() -> Result<Zeroizing<String>, Unspecified> {
    let mut random = Zeroizing::new([0; RANDOM]);
    rand::fill(&mut *random)?;
    Ok(Zeroizing::new(random.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// What whoever asks the agent has to know. Cloning is cheap; `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct AccessToken(Arc<Zeroizing<String>>);

/// A text that is no token: guessed too easily, or none that a header could bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an access token has {SHORTEST} visible ASCII characters or more, and no space")]
pub struct BadToken;

impl AccessToken {
    /// Takes the token from where it is kept.
    ///
    /// # Errors
    /// [`BadToken`]
    pub(super) fn from_text(text: &str) -> Result<Self, BadToken> {
        let fits = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(Arc::new(Zeroizing::new(text.to_owned())))).ok_or(BadToken)
    }

    /// For its file, and for whoever may have it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// What a request that brings it says (RFC 6750 §2.1).
    pub(super) fn bearer(&self) -> HeaderValue {
        // What a token may be made of may stand in a header.
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", self.0.as_str())).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Whether the head of a request brings it (RFC 6750 §2.1). How long that takes tells at most its length.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let brought = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let Some((scheme, token)) = brought.split_at_checked(b"bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && verify_slices_are_equal(token, self.0.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AccessToken(…)")
    }
}

/// The token of this moment. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct CurrentToken(watch::Sender<AccessToken>);

impl CurrentToken {
    pub(super) fn new(token: AccessToken) -> Self {
        Self(watch::Sender::new(token))
    }

    /// Whether it is this very one: another of the same text would be none.
    pub(super) fn is(&self, token: &AccessToken) -> bool {
        Arc::ptr_eq(&self.0.borrow().0, &token.0)
    }

    /// From now on it is that one.
    pub(super) fn exchange(&self, token: AccessToken) {
        self.0.send_replace(token);
    }

    /// Until it is not this one any more.
    fn exchanged(&self, token: AccessToken) -> impl Future<Output = ()> + use<> {
        let mut current = self.0.subscribe();
        // A door that is gone lets nobody in either.
        async move { drop(current.wait_for(|current| !Arc::ptr_eq(&current.0, &token.0)).await) }
    }
}

/// The token that a request has brought, for handlers.
#[derive(Debug, Clone)]
pub(super) struct Brought(pub(super) AccessToken);

/// Lets a request through that was meant for us.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if request.headers().get("service-worker").is_some_and(|asked| asked == "script") {
        return no_worker();
    }
    let told = match gate.check(&request) {
        Ok(_) => return next.run(request).await,
        Err(Foreign::Host) => match way_to_page(&request) {
            Some(page) => return Redirect::temporary(&page).into_response(),
            None => "the agent is not known by that name; use the address it printed at its start",
        },
        Err(Foreign::Origin) => "a page of another site may not ask the agent",
    };
    Denied::new(StatusCode::FORBIDDEN, told).into_response()
}

/// Our page has no service worker. A browser that asks for one was given it by somebody else, who had this port while no agent ran, and
/// would go on to answer in our place: it is to forget what that one left there (Clear Site Data).
fn no_worker() -> Response {
    tracing::warn!(
        "a browser has a service worker from somebody else who had this port before; it is told to forget it"
    );
    let forget = [("clear-site-data", "\"cache\", \"storage\"")];
    (forget, Denied::new(StatusCode::NOT_FOUND, "the agent's page has no service worker")).into_response()
}

/// Where the page is, for somebody who typed `localhost`: the page would keep the token for a name at which others may listen too.
fn way_to_page(request: &Request) -> Option<String> {
    let local = request.extensions().get::<Ends>()?.local;
    let host = request.headers().get(HOST)?;
    let is_meant = host.as_bytes() == format!("localhost:{}", local.port()).as_bytes();
    (request.method().is_safe() && request.uri().path() == "/" && is_meant).then(|| format!("{}/", url_of(local)))
}

/// Lets a request through that brings the token.
pub(super) async fn identify(State(current): State<CurrentToken>, mut request: Request, next: Next) -> Response {
    let token = current.0.borrow().clone();
    if !token.is_in(request.headers()) {
        return missing_token().into_response();
    }
    request.extensions_mut().insert(Brought(token.clone()));
    let response = next.run(request).await;
    if !is_event_stream(&response) {
        return response;
    }
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(current.exchanged(token))))
}

/// All else is answered in one go.
fn is_event_stream(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream")
}

pub(super) fn missing_token() -> Denied {
    let told = "the agent's token is missing or wrong: send `Authorization: Bearer TOKEN`, with the text of the file `token` in its \
                folder";
    Denied::new(StatusCode::UNAUTHORIZED, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_could_be_guessed_is_none() {
        for bad in ["", "short", " 0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef\n"] {
            assert_eq!(AccessToken::from_text(bad).err(), Some(BadToken), "{bad:?}");
        }
        let token = AccessToken::from_text("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "AccessToken(…)");
    }

    #[test]
    fn only_the_whole_token_counts() {
        let token = AccessToken::from_text("0123456789abcdef0123456789abcdef").unwrap();
        let shows = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
            token.is_in(&headers)
        };
        assert!(shows("Bearer 0123456789abcdef0123456789abcdef"));
        assert!(shows("bearer 0123456789abcdef0123456789abcdef"));
        for no in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdef0123456789abcdef",
            "Basic 0123456789abcdef0123456789abcdef",
            "Bearer 0123456789abcdef0123456789abcde",
            "Bearer 0123456789abcdef0123456789abcdeF",
            "Bearer 0123456789abcdef0123456789abcdef0",
            "Bearer  0123456789abcdef0123456789abcdef",
        ] {
            assert!(!shows(no), "{no}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
    }
}
