//! Connections that take their time, or come in numbers.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::browser::raw;
use crate::events;
use crate::host::Host;

/// The ten seconds that a head may take, and what a busy machine adds.
const HEAD_TIME: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_head_that_never_ends_is_closed_after_ten_seconds() {
    let host = Host::start().await;
    let mut silent = TcpStream::connect(host.web).await.unwrap();
    let mut slow = TcpStream::connect(host.web).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let began = Instant::now();
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let closed = timeout(HEAD_TIME, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "open after {:?}", began.elapsed());
    }
    assert!(began.elapsed() >= Duration::from_secs(9), "closed after {:?}", began.elapsed());
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let host = Host::start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(host.web).await.unwrap());
    }
    let began = Instant::now();
    let health = host.browser().get("/health").await;
    assert_eq!(health.status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "answered after {:?}", began.elapsed());
    // An address has 64: the oldest were closed for the others.
    for stream in &mut silent[..100] {
        let closed = timeout(Duration::from_secs(5), stream.read_u8()).await;
        assert!(closed.expect("closed before its head's time is over").is_err());
    }
}

#[tokio::test]
async fn an_event_stream_is_not_closed_for_others() {
    let host = Host::start().await;
    let mut stream = events::begun(&host.member("alice").await).await;
    let held = join_all((0..100).map(|_| TcpStream::connect(host.web))).await;
    assert_eq!(host.browser().get("/health").await.status, 200);
    drop(held);
    host.stopping.cancel();
    assert_eq!(stream.event().await, None, "it ends when the server does, and with a last line");
}

#[tokio::test]
async fn other_networks_get_nothing() {
    let host = Host::with(json!({"allow_networks": "10.8.0.0/16"})).await;
    assert!(raw(host.web, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.is_none());
}

#[tokio::test]
async fn a_head_beyond_all_measure_is_refused() {
    let host = Host::start().await;
    let status = async |length: usize| {
        let cookie = "x".repeat(length);
        let head = format!("GET /health HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
        raw(host.web, head.as_bytes()).await.expect("an answer").status
    };
    assert_eq!((status(60_000).await, status(200_000).await), (200, 431));
}

#[tokio::test]
async fn health_and_metrics_are_told_to_anybody() {
    let host = Host::start().await;
    let health = host.browser().get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("serving")));
    assert_eq!(health.json()["areas"], json!(["jumphost"]));
    host.stopping.cancel();
    let health = host.browser().get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("stopping")), "a balancer sends nobody here");
    let metrics = host.browser().get("/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(metrics.text().contains("adit_jumphost_takeovers_total 0\n"), "{}", metrics.text());
}
