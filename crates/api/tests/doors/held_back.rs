//! Requests whose end is held back: they keep nobody out, and no right alive.

use adit_jumphost::admin::AccountChange;
use futures_util::future::{join_all, select_all};
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
        Self::begin_with("", browser, method, path, body).await
    }

    /// With more lines in its head, as a proxy adds them.
    async fn begin_with(more: &str, browser: &Browser, method: &str, path: &str, body: Value) -> Self {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\norigin: {}\r\n{more}", browser.address, browser.origin());
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

    /// Waits until the server closes it.
    async fn ended(&mut self) {
        timeout(PATIENCE, self.stream.read_u8()).await.expect("it is closed for others").unwrap_err();
    }

    /// Waits until the server closes one of these. Which is its oldest it alone knows: it may hear of neighbours the other way round.
    async fn one_ended(held: &mut [HeldBack]) {
        select_all(held.iter_mut().map(|held| Box::pin(held.ended()))).await;
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

/// Through a proxy that sends heads on before their bodies are there, somebody else's address behind each connection.
async fn through_proxy(proxy: &Browser, client: &str) -> HeldBack {
    let body = json!({"account": "alice", "password": "x"});
    HeldBack::begin_with(&format!("x-forwarded-for: {client}\r\n"), proxy, "POST", "/api/v1/session", body).await
}

#[tokio::test]
async fn whoever_holds_back_bodies_behind_a_proxy_loses_their_own() {
    let host = Host::with(json!({"web_trusted_proxies": "127.0.0.0/8"})).await;
    let proxy = host.browser();
    let other = through_proxy(&proxy, "203.0.113.10").await;
    let mut held = Vec::new();
    // The 64 that one source may have, and one too many.
    for _ in 0..65 {
        held.push(through_proxy(&proxy, "203.0.113.9").await);
    }
    HeldBack::one_ended(&mut held).await;
    assert_eq!(other.end().await, 401, "nobody else's is taken");
    assert_eq!(held.pop().unwrap().end().await, 401, "nor the newest");
}

#[tokio::test]
async fn a_proxy_full_of_bodies_that_are_held_back_lets_the_next_person_in() {
    let host = Host::with(json!({"web_trusted_proxies": "127.0.0.0/8"})).await;
    let proxy = host.browser();
    let mut held = Vec::new();
    for number in 0..1_024 {
        let client = format!("203.0.{}.{}", number / 60, 1 + number % 60);
        held.push(through_proxy(&proxy, &client).await);
    }
    assert_eq!(proxy.get("/health").await.status, 200);
    HeldBack::one_ended(&mut held).await;
}
