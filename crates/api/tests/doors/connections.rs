//! Connections that take their time, or come in numbers.

use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::browser::raw;
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
async fn an_address_gets_64_connections_and_then_a_reset() {
    let host = Host::start().await;
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(host.web).await.unwrap();
        // Answered, so it is counted by now.
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    let more = raw(host.web, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(more.is_none(), "{more:?}");
    held.clear();
    let answered = async {
        while raw(host.web, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_none() {}
    };
    timeout(HEAD_TIME, answered).await.expect("those that left make room");
}

#[tokio::test]
async fn other_networks_get_nothing() {
    let host = Host::with(json!({"allow_networks": "10.8.0.0/16"})).await;
    assert!(raw(host.web, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.is_none());
}

#[tokio::test]
async fn a_head_beyond_all_measure_is_refused() {
    let host = Host::start().await;
    let cookie = "x".repeat(40_000);
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    let answer = raw(host.web, head.as_bytes()).await;
    assert!(answer.is_none_or(|answer| answer.status == 431));
}

#[tokio::test]
async fn health_and_metrics_are_told_to_anybody() {
    let host = Host::start().await;
    let health = host.browser().get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("serving")));
    host.stopping.cancel();
    let health = host.browser().get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("stopping")), "a balancer sends nobody here");
    let metrics = host.browser().get("/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(metrics.text().contains("adit_jumphost_takeovers_total 0\n"), "{}", metrics.text());
}
