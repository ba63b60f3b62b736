//! Many at once, who want something that costs us much.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::browser::PATIENCE;
use crate::host::{Host, PASSWORD};

/// A sign-in from an address of its own, so that only its cost can be what refuses it. Its status.
async fn sign_in_from(source: u16, web: SocketAddr, password: &str) -> u16 {
    let [high, low] = source.to_be_bytes();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 77, high, low), 0).into()).unwrap();
    let mut stream = socket.connect(web).await.unwrap();
    let body = json!({"account": "alice", "password": password}).to_string();
    let head = format!(
        "POST /api/v1/session HTTP/1.1\r\nhost: {web}\r\norigin: http://{web}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Comparing a password takes 19 MiB and tens of milliseconds of a core. 400 at once would take 7.6 GiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_passwords_is_turned_away_while_others_are_served() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let web = host.web;
    let flood = tokio::spawn(join_all((0..400).map(move |number| sign_in_from(number, web, "not her password"))));
    let mut slowest = Duration::ZERO;
    while !flood.is_finished() {
        let began = Instant::now();
        assert_eq!(alice.get("/api/v1/me").await.status, 200);
        slowest = slowest.max(began.elapsed());
    }
    let statuses = flood.await.unwrap();
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!(count(401) + count(429), 400, "{statuses:?}");
    assert!(count(401) >= 1 && count(429) >= 200, "401: {}, 429: {}", count(401), count(429));
    assert!(slowest < Duration::from_secs(5), "a page waited {slowest:?}");
    // Many have guessed, from many places: none of which is hers.
    let mut browser = host.browser();
    browser.sign_in("alice", PASSWORD).await;
    assert_eq!(browser.get("/api/v1/me").await.status, 200, "she signs in from where she did before");
}
