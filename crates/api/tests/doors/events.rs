//! Event streams: what they tell, and when they end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_jumphost::admin::{AccountChange, AccountRemove};
use adit_ssh::crypto::HostKey;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::browser::{Browser, PATIENCE};
use crate::host::{Host, PASSWORD};

/// From the end of a session to the end of its streams.
const PROMISED: Duration = Duration::from_secs(5);

pub(crate) struct Stream(BufReader<TcpStream>);

impl Stream {
    async fn open(browser: &Browser) -> Self {
        let (cookie, key) = (browser.cookie.clone().unwrap(), browser.csrf.clone().unwrap());
        Self::at(browser.address, "/api/v1/events", &format!("cookie: {cookie}\r\nx-csrf-token: {key}\r\n")).await
    }

    pub(crate) async fn at(address: SocketAddr, path: &str, headers: &str) -> Self {
        Self::of(address, "GET", path, headers).await
    }

    pub(crate) async fn of(address: SocketAddr, method: &str, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let accept = "accept: text/event-stream";
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{accept}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line, whatever it is; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a line, or the end").unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let line = self.line().await?;
            if let Some(found) = line.strip_prefix("event: ") {
                name = found.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            } else if line == "0" {
                return None;
            }
        }
    }

    /// Whether it was not refused; asked once, before its events.
    pub(crate) async fn is_begun(&mut self) -> bool {
        self.line().await.is_some_and(|status| status.contains(" 200 "))
    }

    /// Skips what a page would hear meanwhile.
    pub(crate) async fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let (found, data) = self.event().await.expect("the stream goes on");
            if found == name {
                return data;
            }
        }
    }

    /// Whether its last event says that it is over.
    pub(crate) async fn ends_signed_out(&mut self) {
        self.wait_for("signed-out").await;
        assert_eq!(self.event().await, None);
    }
}

pub(crate) async fn begun(browser: &Browser) -> Stream {
    let mut stream = Stream::open(browser).await;
    assert_eq!(stream.event().await.unwrap().0, "me");
    assert_eq!(stream.event().await.unwrap().0, "tunnels");
    stream
}

#[tokio::test]
async fn a_page_hears_of_its_own_keys_and_of_what_others_share() {
    let host = Host::start().await;
    let (alice, bob) = (host.member("alice").await, host.member("bob").await);
    let mut stream = begun(&alice).await;
    let text = HostKey::generate_ed25519().unwrap().public_key().to_text("");
    alice.post("/api/v1/me/keys", json!({"text": text})).await;
    assert_eq!(stream.wait_for("me").await["keys"].as_array().unwrap().len(), 1);
    bob.post("/api/v1/me/ports", json!({"port": 10_081})).await;
    bob.post("/api/v1/me/keys", json!({"text": HostKey::generate_ed25519().unwrap().public_key().to_text("")})).await;
    bob.post("/api/v1/me/ports", json!({"port": 10_080, "shared": true})).await;
    assert_eq!(stream.event().await.unwrap(), ("directory".to_owned(), json!({})), "nothing else is her business");
    alice.post("/api/v1/me/ports", json!({"port": 10_080})).await;
    assert_eq!(stream.event().await.unwrap(), ("ports".to_owned(), json!({})), "and a private note is nobody else's");
}

#[tokio::test]
async fn every_page_of_an_account_hears_of_it() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut streams = [begun(&alice).await, begun(&alice).await, begun(&alice).await];
    for keys in 1..=2 {
        let text = HostKey::generate_ed25519().unwrap().public_key().to_text("");
        alice.post("/api/v1/me/keys", json!({"text": text})).await;
        for stream in &mut streams {
            assert_eq!(stream.wait_for("me").await["keys"].as_array().unwrap().len(), keys);
        }
    }
    drop(streams);
    let mut later = Stream::open(&alice).await;
    assert_eq!(later.wait_for("me").await["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_change_of_another_process_is_told() {
    let host = Host::start().await;
    let (alice, bob) = (host.member("alice").await, host.member("bob").await);
    let (mut stream, mut others) = (begun(&alice).await, begun(&bob).await);
    let store = host.second_store().await;
    let change = adit_store::AccountChange { tier: Some("pro".to_owned()), ..Default::default() };
    store.change_account("alice", change).await.unwrap();
    assert_eq!(stream.wait_for("me").await["tier"], "pro");
    let change = adit_store::AccountChange { tier: Some("pro".to_owned()), ..Default::default() };
    store.change_account("bob", change).await.unwrap();
    assert_eq!(others.event().await.unwrap().0, "me", "the first that bob hears is of himself");
}

/// Of a whole account, with all that a page shows of it at once.
const SMALL: usize = 4_096;

#[tokio::test]
async fn a_thousand_ports_make_no_event_and_no_answer_large() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let store = host.second_store().await;
    let id = store.account("alice").await.unwrap().unwrap().id;
    for port in 10_000..11_000 {
        let hostile = adit_store::NewPort { port, description: "\u{202e}".repeat(200), shared: true };
        store.add_port(id, hostile, 1_000).await.unwrap();
    }
    let me = alice.get("/api/v1/me").await;
    assert!(me.body.len() < SMALL, "{} bytes", me.body.len());
    let mut stream = Stream::open(&alice).await;
    let told = stream.wait_for("me").await;
    assert!(told.to_string().len() < SMALL, "{told}");
    let change = json!({"port": 11_000});
    assert_eq!(alice.post("/api/v1/me/ports", change).await.error(), (409, "too-many-ports".to_owned()));

    for list in ["/api/v1/me/ports", "/api/v1/directory"] {
        for (query, shown) in [("", 50), ("?limit=4294967295", 500), ("?offset=990", 10), ("?offset=1000", 0)] {
            let page = alice.get(&format!("{list}{query}")).await.json();
            let items = page["items"].as_array().unwrap().len();
            assert_eq!((&page["total"], items), (&json!(1_000), shown), "{list}{query}");
        }
        for query in ["?offset=-1", "?limit=x", "?page=2"] {
            assert_eq!(
                alice.get(&format!("{list}{query}")).await.error(),
                (400, "bad-query".to_owned()),
                "{list}{query}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_session_does() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut other = host.browser();
    other.sign_in("alice", PASSWORD).await;
    let (mut stream, mut others) = (begun(&alice).await, begun(&other).await);
    let began = Instant::now();
    assert_eq!(alice.delete("/api/v1/session").await.status, 204);
    stream.ends_signed_out().await;
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
    let lock = AccountChange { name: "alice".to_owned(), tier: None, admin: None, disabled: Some(true) };
    let began = Instant::now();
    host.admin.call(lock).await.unwrap();
    others.ends_signed_out().await;
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stream_ends_with_its_account() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut stream = begun(&alice).await;
    let began = Instant::now();
    host.admin.call(AccountRemove { name: "alice".to_owned() }).await.unwrap();
    stream.ends_signed_out().await;
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut stream = begun(&alice).await;
    host.stopping.cancel();
    assert_eq!(stream.event().await, None);
}

#[tokio::test]
async fn a_session_has_eight_streams_and_a_closed_one_makes_room() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(begun(&alice).await);
    }
    assert_eq!(alice.get("/api/v1/events").await.error(), (429, "too-many-streams".to_owned()));
    let mut other = host.browser();
    other.sign_in("alice", PASSWORD).await;
    begun(&other).await;
    streams.pop();
    // The server sees the end of a connection when it next looks.
    let opened = async { while !Stream::open(&alice).await.is_begun().await {} };
    timeout(PATIENCE, opened).await.expect("a place becomes free");
}
