//! The web address: `/health` for whoever restarts us, `/metrics` for Prometheus. It tells no names, ports or addresses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_jumphost::config::AllowList;
use adit_jumphost::metrics::Metrics;
use axum::extract;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// What goes with every answer. Nothing here is a page, so a browser is told to do nothing with it.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The type of `Metrics::to_text` (OpenMetrics 1.0), which Prometheus reads since 2.5.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the answers are made from.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when the jump host takes no new work.
    pub(crate) stopping: CancellationToken,
}

/// Serves until `stop`; requests under way are answered.
pub(crate) async fn serve(listener: TcpListener, allow: AllowList, state: State, stop: CancellationToken) {
    let listener = Allowed { listener, allow };
    if let Err(error) = axum::serve(listener, router(state)).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "the web address ended");
    }
}

fn router(state: State) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(|| async { Failure::new("there is no such page", "not-found").respond(StatusCode::NOT_FOUND) })
        .layer(map_response(with_headers))
        .with_state(state)
}

async fn with_headers(mut response: Response) -> Response {
    response.headers_mut().extend(HEADERS);
    response
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

/// 200 while it serves, 503 while it stops: a load balancer sends nobody here any more.
async fn health(extract::State(state): extract::State<State>) -> Response {
    let (code, status) = match state.stopping.is_cancelled() {
        false => (StatusCode::OK, "serving"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    (code, Json(Health { status, version: env!("CARGO_PKG_VERSION") })).into_response()
}

async fn metrics(extract::State(state): extract::State<State>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], state.metrics.to_text()).into_response()
}

/// Accepts from the allowed networks only; others are closed before a byte is read.
struct Allowed {
    listener: TcpListener,
    allow: AllowList,
}

impl Listener for Allowed {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            // This `accept` is axum's, which waits out a lack of descriptors.
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            if self.allow.permits(peer.ip()) {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_jumphost::RawConfig;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Web {
        address: SocketAddr,
        state: State,
        stop: CancellationToken,
    }

    async fn web(config: &str) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let allow = serde_json::from_str::<RawConfig>(config).unwrap().check().unwrap().allow_networks;
        let state = State { metrics: Arc::new(Metrics::new()), stopping: CancellationToken::new() };
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve(listener, allow, state.clone(), stop.clone()));
        Web { address, state, stop }
    }

    impl Web {
        async fn get(&self, path: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            // A connection that is refused may break while we write.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        }
    }

    impl Drop for Web {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    #[tokio::test]
    async fn health_tells_serving_from_stopping() {
        let web = web("{}").await;
        let answer = web.get("/health").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""status":"serving""#), "{answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
        web.state.stopping.cancel();
        assert!(web.get("/health").await.starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let web = web("{}").await;
        web.state.metrics.takeover();
        let answer = web.get("/metrics").await;
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
        assert!(answer.contains("adit_jumphost_takeovers_total 1\n"), "{answer}");
    }

    #[tokio::test]
    async fn anything_else_is_an_error_of_the_one_shape() {
        let answer = web("{}").await.get("/etc/passwd").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(answer.contains(r#"{"error":"there is no such page","code":"not-found"}"#), "{answer}");
    }

    #[tokio::test]
    async fn other_networks_get_nothing() {
        let web = web(r#"{"allow_networks": "10.8.0.0/16"}"#).await;
        assert_eq!(web.get("/health").await, "");
    }
}
