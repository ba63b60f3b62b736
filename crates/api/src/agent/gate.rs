//! Which requests the agent answers: those that were meant for it, and bring its token. No cookie is known here, so no browser adds
//! anything by itself to what another site's page sends.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use thiserror::Error;
use zeroize::Zeroizing;

use super::refusal::Denied;
use crate::gate::Gate;
use crate::gate::origin::Foreign;

/// 128 bits in hexadecimal digits: nobody guesses it.
const SHORTEST: usize = 32;

/// What whoever asks the agent has to know. Cloning is cheap; `Debug` does not show it.
#[derive(Clone)]
pub struct AccessToken(Arc<Zeroizing<String>>);

/// A text that is no token: guessed too easily, or none that a header could bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an access token has {SHORTEST} visible ASCII characters or more, and no space")]
pub struct BadToken;

impl AccessToken {
    /// Takes the token from where it is kept.
    ///
    /// # Errors
    /// [`BadToken`]
    pub fn from_text(text: &str) -> Result<Self, BadToken> {
        let fits = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(Arc::new(Zeroizing::new(text.to_owned())))).ok_or(BadToken)
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
    fn is_in(&self, headers: &HeaderMap) -> bool {
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

/// Lets a request through that was meant for us.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let told = match gate.check(&request) {
        Ok(_) => return next.run(request).await,
        Err(Foreign::Host) => "the agent is not known by that name; use the address it printed at its start",
        Err(Foreign::Origin) => "a page of another site may not ask the agent",
    };
    Denied::new(StatusCode::FORBIDDEN, told).into_response()
}

/// Lets a request through that brings the token.
pub(super) async fn identify(State(token): State<AccessToken>, request: Request, next: Next) -> Response {
    if token.is_in(request.headers()) {
        return next.run(request).await;
    }
    let told = "the agent's token is missing or wrong: send `Authorization: Bearer TOKEN`, with the text of the file `token` in its \
                folder";
    let ask = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    (ask, Denied::new(StatusCode::UNAUTHORIZED, told)).into_response()
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
