//! Event streams in numbers: every command that waits for its tunnel holds one.

use tokio::time::timeout;

use super::home::{Home, refused};
use crate::browser::PATIENCE;
use crate::events::Stream;

/// As many as there may be at a time.
const STREAMS: usize = 128;

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
