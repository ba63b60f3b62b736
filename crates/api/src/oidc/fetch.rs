//! Asks an OpenID provider over HTTP: JSON answers only, bounded in time and size, and never a redirect.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;

/// A person waits for it, before a page that says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Key sets and metadata of large providers take 10 KiB.
const LARGEST_ANSWER: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("the address {0:?} cannot be used; it has to begin with https://")]
    Address(String),
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] hyper_util::client::legacy::Error),
    #[error("{host} did not answer within {} s", PATIENCE.as_secs())]
    Slow { host: String },
    #[error("the answer of {host} broke off, or is longer than {LARGEST_ANSWER} bytes")]
    Broken { host: String },
    #[error("{host} answered with status {status}")]
    Refused { host: String, status: StatusCode },
    #[error("{host} answered with something else than the JSON that is expected")]
    Shape { host: String },
}

/// A client; clones share its connections.
#[derive(Debug, Clone)]
pub(super) struct Fetch(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Fetch {
    /// Trusts the roots of the system.
    pub(super) fn new() -> std::io::Result<Self> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, address: &str) -> Result<T, FetchError> {
        self.ask(Method::GET, address, None, Bytes::new()).await
    }

    /// Posts a form (WHATWG URL §5), as the client that `authorization` names if there is one.
    pub(super) async fn post_form<T: DeserializeOwned>(
        &self,
        address: &str,
        authorization: Option<&str>,
        form: String,
    ) -> Result<T, FetchError> {
        self.ask(Method::POST, address, authorization, form.into()).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        address: &str,
        authorization: Option<&str>,
        body: Bytes,
    ) -> Result<T, FetchError> {
        let uri = usable(address).ok_or_else(|| FetchError::Address(address.to_owned()))?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let is_form = method == Method::POST;
        let mut request = Request::builder().method(method).uri(uri).header(header::ACCEPT, "application/json");
        if is_form {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|_| FetchError::Address(address.to_owned()))?;
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| FetchError::Unreachable(host.clone(), error))?;
            let status = answer.status();
            if status != StatusCode::OK {
                return Err(FetchError::Refused { host: host.clone(), status });
            }
            let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
            let body = body.map_err(|_| FetchError::Broken { host: host.clone() })?.to_bytes();
            serde_json::from_slice(&body).map_err(|_| FetchError::Shape { host: host.clone() })
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(FetchError::Slow { host: host.clone() }))
    }
}

/// An address is asked over TLS; without it only on this machine, where nobody is in between.
fn usable(address: &str) -> Option<Uri> {
    let uri: Uri = address.parse().ok()?;
    let local = matches!(uri.host()?, "localhost" | "127.0.0.1" | "[::1]");
    (uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && local)).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::usable;

    #[test]
    fn plain_http_is_for_this_machine() {
        for good in ["https://id.example", "https://id.example/x?y", "http://127.0.0.1:9/x", "http://[::1]:9/"] {
            assert!(usable(good).is_some(), "{good}");
        }
        for bad in ["http://id.example", "ftp://id.example", "id.example", "", "file:///etc/passwd", "http://10.0.0.1/"]
        {
            assert!(usable(bad).is_none(), "{bad}");
        }
    }
}
