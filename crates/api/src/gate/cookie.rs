//! The browser's cookies: one for its session, one for a sign-in that is under way at an OpenID provider.
//!
//! With the prefix `__Host-` a browser takes a cookie only over TLS or from its own machine, and from nobody but this very host
//! (RFC 6265bis §4.1.3.2). Over plain HTTP from elsewhere it would take no such cookie, so there the names are plain and the cookies
//! travel as openly as everything else.
//!
//! Cookies know no ports. Whoever serves something at another port of this host can put one of our name beside ours, or in its place.
//! Of those beside each other each is tried; one that was replaced is lost, and its person signs in again.

use std::time::Duration;

use axum::http::header::{COOKIE, HeaderMap, HeaderValue};

use super::origin::Origin;
use crate::head;

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Who is signed in. Sent only when our own page asks.
    Session,
    /// Which browser began a sign-in. Sent also when the provider's page leads back to us.
    SignIn,
}

impl Purpose {
    fn name(self, origin: &Origin) -> &'static str {
        match (self, origin.is_trustworthy()) {
            (Self::Session, true) => "__Host-adit",
            (Self::Session, false) => "adit-session",
            (Self::SignIn, true) => "__Host-adit-sign-in",
            (Self::SignIn, false) => "adit-sign-in",
        }
    }

    fn same_site(self) -> &'static str {
        match self {
            Self::Session => "Strict",
            Self::SignIn => "Lax",
        }
    }

    /// What the browser sent under this name, the likeliest to be ours first.
    pub(crate) fn read<'a>(self, origin: &Origin, headers: &'a HeaderMap) -> Vec<&'a str> {
        head::cookies(headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes), self.name(origin))
    }

    /// For the browser to keep. `value` is a text of ours, letters and digits.
    pub(crate) fn set(self, origin: &Origin, value: &str, lifetime: Duration) -> Option<HeaderValue> {
        let secure = if origin.is_trustworthy() { "; Secure" } else { "" };
        let (name, same_site, seconds) = (self.name(origin), self.same_site(), lifetime.as_secs());
        let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}");
        let mut value = HeaderValue::from_str(&cookie).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// For the browser to forget.
    pub(crate) fn clear(self, origin: &Origin) -> Option<HeaderValue> {
        self.set(origin, "", Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    fn set(purpose: Purpose, at: &str) -> String {
        let cookie = purpose.set(&origin(at), "x1", Duration::from_secs(60)).unwrap();
        cookie.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_cookie_is_bound_to_the_host_where_the_browser_allows_it() {
        let safe = "__Host-adit=x1; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(set(Purpose::Session, "https://jump.mesh"), safe);
        assert_eq!(set(Purpose::Session, "http://127.0.0.1:8022"), safe);
        let plain = "adit-session=x1; Path=/; Max-Age=60; HttpOnly; SameSite=Strict";
        assert_eq!(set(Purpose::Session, "http://10.8.0.1:8022"), plain);
        assert!(set(Purpose::SignIn, "https://jump.mesh").contains("SameSite=Lax"));
    }

    #[test]
    fn each_cookie_of_the_name_is_read_from_the_end() {
        let read = |texts: &[&str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(COOKIE, text.parse().unwrap());
            }
            Purpose::Session.read(&origin("https://jump.mesh"), &headers).join(" ")
        };
        assert_eq!(read(&["a=b; __Host-adit=x1; c=d"]), "x1");
        assert_eq!(read(&["a=b", "__Host-adit=x1"]), "x1");
        assert_eq!(read(&["__Host-adit=x1; __Host-adit=x2", "__Host-adit=x3;__Host-adit=x1"]), "x1 x3 x2");
        assert_eq!(read(&["adit-session=x1"]), "", "a name that anybody on this host could set");
        assert_eq!(read(&["__Host-adit-sign-in=x1; __Host-adit; =x1"]), "");
        let many: Vec<_> = (0..99).map(|number| format!("__Host-adit={number}")).collect();
        let last: Vec<_> = (67..99).rev().map(|number| number.to_string()).collect();
        assert_eq!(read(&[&many.join("; ")]), last.join(" "));
    }
}
