//! What a request brings along, read into a type: its body, its path, its query. Each refusal is an error of the one shape, and
//! repeats nothing of what was sent: it may hold a secret in the wrong place.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::failure::Refusal;

/// A public key with its label takes some hundred bytes, an RSA key of 16,384 bits and a signature by it 6 KiB.
const LARGEST_BODY: usize = 64 * 1024;

/// From the head to the end of the body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        // A form of another site can send text and forms without asking first, and JSON it cannot.
        if !is_json(request.headers()) {
            let told = "the body has to be JSON, with `Content-Type: application/json`";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told, "not-json"));
        }
        if let Some(fault) = request.extensions().get::<BodyFault>() {
            return Err(fault.refusal());
        }
        // It has arrived, and cannot be larger.
        let body = request.into_body().collect().await.map_err(|_| BodyFault::Broken.refusal())?;
        read(&body.to_bytes()).map(Body)
    }
}

/// Reads JSON. What is wrong is told with its place and without its value.
fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let place = error.path().to_string();
        Refusal::new(StatusCode::BAD_REQUEST, wrong(&place, error.inner()), "bad-request")
    })?;
    json.end().map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, wrong(".", &error), "bad-request"))?;
    Ok(value)
}

fn wrong(place: &str, error: &serde_json::Error) -> String {
    let told = error.to_string();
    // Of serde's sentences only these two hold nothing but names.
    let name_after = |beginning: &str| told.strip_prefix(beginning)?.split_once('`').map(|(name, _)| name.to_owned());
    let what = if !error.is_data() {
        "the body is no JSON".to_owned()
    } else if let Some(name) = name_after("missing field `") {
        format!("the body lacks `{name}`")
    } else if let Some(name) = name_after("unknown field `") {
        format!("the body may not have `{name}`")
    } else if place == "." {
        "the body has another shape than this wants".to_owned()
    } else {
        format!("`{place}` cannot be that")
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// Why there is no body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyFault {
    TooLarge,
    TooSlow,
    Broken,
}

impl BodyFault {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::TooLarge => {
                let told = format!("the body is larger than {LARGEST_BODY} bytes");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, told, "too-large")
            }
            Self::TooSlow => {
                let told = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
                Refusal::new(StatusCode::REQUEST_TIMEOUT, told, "slow-body")
            }
            Self::Broken => Refusal::new(StatusCode::BAD_REQUEST, "the body broke off", "bad-request"),
        }
    }
}

/// Waits for all of a request. Only then is it asked who sends it: a body that is held back must not keep alive the right that its
/// sender had when it began.
pub(crate) async fn receive(request: axum::http::Request<Incoming>) -> Request {
    let (mut head, body) = request.into_parts();
    let arrived = if announced_length(&head.headers).is_some_and(|length| length > LARGEST_BODY as u64) {
        Err(BodyFault::TooLarge)
    } else {
        match timeout(BODY_TIME, Limited::new(body, LARGEST_BODY).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
            Ok(Err(_)) => Err(BodyFault::Broken),
            Err(_) => Err(BodyFault::TooSlow),
        }
    };
    // What it is refused with is said by whoever wants a body, in the words of that door.
    let body = arrived.unwrap_or_else(|fault| {
        head.extensions.insert(fault);
        Bytes::new()
    });
    Request::from_parts(head, axum::body::Body::from(body))
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A part of the path. What cannot be the name of anything is the name of nothing.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(Refusal::new(StatusCode::NOT_FOUND, "there is nothing of that name", "not-found")),
        }
    }
}

/// The query.
#[derive(Debug)]
pub(crate) struct Filter<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Filter<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let told = "the query has a part that cannot be read; /api/v1/openapi.json says what it may have";
        match Query::from_request_parts(parts, state).await {
            Ok(Query(filter)) => Ok(Self(filter)),
            Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, told, "bad-query")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Form {
        name: String,
        port: u16,
        places: Vec<Place>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Place {
        port: u16,
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_its_value() {
        for (text, told) in [
            (r#"{"name": "a", "port": 1, "places": [], "prot": 2}"#, "the body may not have `prot`"),
            (r#"{"name": "a"}"#, "the body lacks `port`"),
            (r#"{"name": "a", "port": 70000, "places": []}"#, "`port` cannot be that"),
            (r#"{"name": "a", "port": 1, "places": [{"port": "hunter2"}]}"#, "`places[0].port` cannot be that"),
            (r#""hunter2""#, "the body has another shape than this wants"),
            (r#"{"name": hunter2}"#, "the body is no JSON"),
            (r#"{"name": "a", "port": 1, "places": []} hunter2"#, "the body is no JSON"),
            ("", "the body is no JSON"),
        ] {
            let error = format!("{:?}", read::<Form>(text.as_bytes()).unwrap_err());
            assert!(error.contains(&format!("\"{told} (line ")), "{text}: {error}");
            assert!(!error.contains("hunter2") && !error.contains("70000"), "{error}");
        }
    }
}
