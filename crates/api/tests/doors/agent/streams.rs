//! Event streams: what they tell of saved records, that they show a sign of life, and in numbers, as every command that waits for its
//! tunnel holds one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::home::{Home, refused};
use crate::browser::PATIENCE;
use crate::events::Stream;

/// As many as there may be at a time.
const STREAMS: usize = 128;

/// From a change to the event that tells it.
const PROMISED: Duration = Duration::from_secs(1);

fn version(told: &Value) -> u64 {
    told["version"].as_u64().unwrap_or_else(|| panic!("{told}"))
}

/// A window beside the one in which something is changed.
struct OtherWindow {
    stream: Stream,
    known: u64,
}

impl OtherWindow {
    async fn open(home: &Home) -> Self {
        let mut stream = home.events().await;
        let known = version(&stream.wait_for("records").await);
        Self { stream, known }
    }

    async fn hears(&mut self, what: &str) {
        let began = Instant::now();
        let told = version(&self.stream.wait_for("records").await);
        assert!(began.elapsed() < PROMISED, "{what}: {:?}", began.elapsed());
        assert!(told > self.known, "{what}: {told} after {}", self.known);
        self.known = told;
    }
}

#[tokio::test]
async fn every_change_of_what_is_saved_is_told_to_the_other_windows() {
    let home = Home::new().await;
    let mut other = OtherWindow::open(&home).await;
    let profile = home.profile().await;
    other.hears("a profile").await;
    let tunnel =
        json!({"name": "t", "host": "h", "profile_id": profile, "forward_type": "dynamic", "local_port": 1080});
    let host = json!({"name": "j", "host": "h", "profile_id": profile});
    for (path, body) in [("/tunnels", tunnel), ("/jump-hosts", host.clone()), ("/sessions", host)] {
        let id = home.add(path, body).await["id"].as_str().unwrap().to_owned();
        other.hears(&format!("POST {path}")).await;
        let record = format!("{path}/{id}");
        assert_eq!(home.put(&record, json!({"name": "renamed"})).await.status, 200);
        other.hears(&format!("PUT {path}")).await;
        assert!([200, 204].contains(&home.delete(&record).await.status));
        other.hears(&format!("DELETE {path}")).await;
    }
    assert_eq!(home.put("/settings", json!({"controller_mode": true})).await.status, 200);
    other.hears("settings").await;
    let kept = home.put(&format!("/profiles/{}", profile.as_str().unwrap()), json!({"password": "secret"})).await;
    assert_eq!(kept.status, 200, "{}", kept.text());
    other.hears("a password").await;
    let key = json!({"key": "passphrase", "passphrase": "seven quiet lanterns"});
    assert_eq!(home.put("/secrets/key", key).await.status, 204);
    other.hears("the key of the secrets").await;

    let (known, home) = (other.known, home.restart().await);
    let mut other = OtherWindow::open(&home).await;
    assert!(other.known > known, "no number comes again");
    assert_eq!(home.post("/secrets/unlock", json!({"passphrase": "seven quiet lanterns"})).await.status, 204);
    other.hears("the lock of the secrets").await;
}

/// What runs is told by other events.
#[tokio::test]
async fn a_start_is_no_change_of_what_is_saved() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let tunnel = json!({
        "name": "t", "host": "127.0.0.1", "port": 1, "profile_id": profile, "forward_type": "dynamic",
        "local_port": crate::free_port::free_port(), "auto_reconnect": false,
    });
    let id = home.add("/tunnels", tunnel).await["id"].as_str().unwrap().to_owned();
    let before = OtherWindow::open(&home).await.known;
    home.order(&format!("/tunnels/{id}/start")).await;
    home.becomes(&format!("/tunnels/{id}"), |row| row["status"] == "failed").await;
    home.order(&format!("/tunnels/{id}/stop")).await;
    assert_eq!(OtherWindow::open(&home).await.known, before);
}

#[tokio::test]
async fn a_silent_stream_shows_a_sign_of_life() {
    let home = Home::new().await;
    let mut stream = watching(&home).await;
    stream.wait_for("records").await;
    // The page takes 12 s of silence for death.
    let began = Instant::now();
    while stream.line().await.expect("the stream goes on") != ":" {}
    assert!(began.elapsed() < Duration::from_secs(10), "each five seconds: {:?}", began.elapsed());
}

async fn watching(home: &Home) -> Stream {
    let mut stream = home.events().await;
    stream.wait_for("hosts").await;
    stream
}

#[tokio::test]
async fn who_watches_leaves_places_for_who_asks() {
    let home = Home::new().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(watching(&home).await);
    }
    for _ in 0..STREAMS {
        let (status, code, error) = refused(&home.ask("GET", "/events", None).await);
        assert_eq!((status, code.as_str()), (429, "TOO_MANY_STREAMS"), "{error}");
        assert_eq!(home.ask("GET", "/tunnels", None).await.status, 200);
    }
    // None of them was closed for that.
    let id = home.profile().await;
    let tunnel = serde_json::json!({
        "name": "t", "host": "127.0.0.1", "profile_id": id, "forward_type": "dynamic", "local_port": 1080,
    });
    home.add("/tunnels", tunnel).await;
    for stream in &mut streams {
        assert_eq!(stream.wait_for("tunnels").await[0]["status"], "disconnected");
    }
}

#[tokio::test]
async fn a_stream_that_ends_gives_its_place_back() {
    let home = Home::new().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(watching(&home).await);
    }
    assert_eq!(refused(&home.ask("GET", "/events", None).await).0, 429);
    streams.pop();
    // The agent sees the end of a connection when it next looks.
    let opened = async { while !home.events().await.is_begun().await {} };
    timeout(PATIENCE, opened).await.expect("a place becomes free");
}
