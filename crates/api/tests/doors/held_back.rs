//! Requests whose end is held back: they keep nobody out, and no right alive.

use adit_jumphost::admin::AccountChange;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::browser::{Browser, PATIENCE};
use crate::host::{Host, PASSWORD};

/// A request of which all but the last byte is sent.
struct HeldBack {
    stream: TcpStream,
    last: u8,
}

impl HeldBack {
    async fn begin(browser: &Browser, method: &str, path: &str, body: Value) -> Self {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\norigin: {}\r\n", browser.address, browser.origin());
        let secrets = [("cookie", &browser.cookie), ("x-csrf-token", &browser.csrf)];
        for (name, value) in secrets.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = body.to_string();
        let length = body.len();
        let text = format!(
            "{head}content-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let (last, rest) = text.as_bytes().split_last().unwrap();
        let mut stream = TcpStream::connect(browser.address).await.unwrap();
        stream.write_all(rest).await.unwrap();
        Self { stream, last: *last }
    }

    /// The status of what is answered to the whole.
    async fn end(mut self) -> u16 {
        self.stream.write_all(&[self.last]).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, self.stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn what_was_begun_before_a_sign_out_is_nobodys_after_it() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let begin = || HeldBack::begin(&alice, "POST", "/api/v1/me/tokens", json!({"name": "ci", "scopes": ["read"]}));
    let (before, after) = (begin().await, begin().await);
    assert_eq!(before.end().await, 201);
    assert_eq!(alice.delete("/api/v1/session").await.status, 204);
    assert_eq!(after.end().await, 401);
}

#[tokio::test]
async fn an_administrator_who_is_locked_out_does_not_come_back_by_a_request_under_way() {
    let host = Host::start().await;
    let (root, eve) = (host.administrator("root").await, host.administrator("eve").await);
    let change = json!({"admin": true, "disabled": false});
    let held = HeldBack::begin(&eve, "PATCH", "/api/v1/admin/accounts/eve", change).await;
    let lock = AccountChange { name: "eve".to_owned(), tier: None, admin: Some(false), disabled: Some(true) };
    host.admin.call(lock).await.unwrap();
    assert_eq!(held.end().await, 401);
    assert_eq!(eve.get("/api/v1/me").await.status, 401);
    assert_eq!(root.get("/api/v1/me").await.status, 200);
}

#[tokio::test]
async fn whoever_is_let_in_again_signs_in_anew() {
    let host = Host::start().await;
    let mut alice = host.member("alice").await;
    let made = alice.post("/api/v1/me/tokens", json!({"name": "ci", "scopes": ["read"]})).await;
    let bearer = format!("Bearer {}", made.json()["token"].as_str().unwrap());
    let with_token = async |browser: &Browser| {
        browser.send("GET", "/api/v1/me", None, &[("cookie", ""), ("authorization", &bearer)]).await.status
    };
    assert_eq!(with_token(&alice).await, 200);
    for disabled in [true, false] {
        let change = AccountChange { name: "alice".to_owned(), tier: None, admin: None, disabled: Some(disabled) };
        host.admin.call(change).await.unwrap();
        assert_eq!((alice.get("/api/v1/me").await.status, with_token(&alice).await), (401, 401));
    }
    assert_eq!(alice.sign_in("alice", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn bodies_that_are_held_back_keep_nobody_out() {
    let host = Host::start().await;
    let browser = host.browser();
    let body = || json!({"account": "alice", "password": "x"});
    let held = join_all((0..64).map(|_| HeldBack::begin(&browser, "POST", "/api/v1/session", body()))).await;
    assert_eq!(browser.get("/health").await.status, 200);
    drop(held);
}
