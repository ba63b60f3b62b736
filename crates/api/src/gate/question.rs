//! What a request brings along, read into a type: its body, its path, its query. Each refusal is an error of the one shape, and
//! repeats nothing of what was sent: it may hold a secret in the wrong place.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
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
        if announced_length(request.headers()).is_some_and(|length| length > LARGEST_BODY as u64) {
            return Err(too_large());
        }
        let body = Limited::new(request.into_body(), LARGEST_BODY).collect();
        let body = timeout(BODY_TIME, body).await.map_err(|_| {
            let told = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, told, "slow-body")
        })?;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => too_large(),
            None => Refusal::new(StatusCode::BAD_REQUEST, "the body broke off", "bad-request"),
        })?;
        serde_json::from_slice(&body.to_bytes()).map(Body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let told = format!("the body has another shape than this wants (line {line}, column {column})");
            Refusal::new(StatusCode::BAD_REQUEST, told, "bad-request")
        })
    }
}

fn too_large() -> Refusal {
    let told = format!("the body is larger than {LARGEST_BODY} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, told, "too-large")
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
