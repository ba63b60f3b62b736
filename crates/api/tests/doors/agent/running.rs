//! Tunnels that start and stop, to a server that takes connections and says nothing.

use std::time::{Duration, Instant};

use adit_core::RecordId;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::home::{Home, refused};
use crate::free_port::free_port;

/// From a change to the event that tells it.
const PROMISED: Duration = Duration::from_secs(1);

/// A server that never answers, so a login is under way for as long as a test is; and its port.
async fn silent() -> (TcpListener, u16) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    (server, port)
}

async fn tunnel(home: &Home, profile: &Value, server: u16, local_port: u16) -> String {
    let body = json!({
        "name": "t", "host": "127.0.0.1", "port": server, "profile_id": profile, "forward_type": "dynamic",
        "local_port": local_port, "auto_start": true,
    });
    home.add("/tunnels", body).await["id"].as_str().unwrap().to_owned()
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn the_status_is_the_runtime_state_and_nothing_else() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let id = tunnel(&home, &profile, 1, free_port()).await;
    let status = home.get("/tunnels/status").await;
    assert_eq!(status[0]["id"], id);
    let wanted = ["bytes_rx", "bytes_tx", "id", "last_error", "retry_count", "status", "uptime_secs"];
    assert_eq!(names(&status[0]), wanted);
}

#[tokio::test]
async fn a_tunnel_starts_once_and_stops_for_good() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let ((_server, server), local_port) = (silent().await, free_port());
    let id = tunnel(&home, &profile, server, local_port).await;
    let started = home.order(&format!("/tunnels/{id}/start")).await;
    assert_eq!((started.status, started.json()["status"].as_str()), (200, Some("connecting")), "{}", started.text());
    let again = refused(&home.order(&format!("/tunnels/{id}/start")).await);
    assert_eq!(again, (409, "CONFLICT".to_owned(), "Tunnel is already running".to_owned()));
    let fresh = home.order(&format!("/tunnels/{id}/reconnect")).await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    let stopped = home.order(&format!("/tunnels/{id}/stop")).await;
    assert_eq!((stopped.status, stopped.json()["status"].as_str()), (200, Some("disconnected")));
    TcpListener::bind(("127.0.0.1", local_port)).await.expect("the port is free when stop answers");
    assert_eq!(home.order(&format!("/tunnels/{id}/stop")).await.status, 200, "a second stop finds it stopped");
}

/// The port of a start is bound a moment before the board says so; the answer waits for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_was_answered_is_to_be_seen() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let ((_server, server), local_port) = (silent().await, free_port());
    let id = tunnel(&home, &profile, server, local_port).await;
    let agent = home.agent();
    for _ in 0..300 {
        agent.start_tunnel(&id).await.unwrap();
        let status = agent.board().borrow().tunnels[&RecordId::from(&*id)].status.name();
        assert_eq!(status, "connecting");
        agent.stop(&id).await.unwrap();
    }
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = held.local_addr().unwrap().port();
    let id = tunnel(&home, &profile, 1, port).await;
    let (status, code, error) = refused(&home.order(&format!("/tunnels/{id}/start")).await);
    assert_eq!((status, code.as_str()), (409, "PORT_BUSY"));
    assert!(error.contains(&format!("127.0.0.1:{port} is in use by ")), "{error}");
    assert!(error.contains(" is free"), "and the next free one: {error}");
    let shown = home.get(&format!("/tunnels/{id}")).await;
    assert_eq!((&shown["status"], shown["last_error"].as_str()), (&json!("failed"), Some(error.as_str())));
}

#[tokio::test]
async fn orders_for_what_is_not_there_or_off_are_refused() {
    let home = Home::new().await;
    let profile = home.profile().await;
    for path in [
        "/tunnels/tun_1/start",
        "/tunnels/tun_1/stop",
        "/tunnels/tun_1/reconnect",
        "/tunnels/tun_1/test",
        "/sessions/sess_1/connect",
        "/sessions/sess_1/disconnect",
    ] {
        let (status, code, _) = refused(&home.order(path).await);
        assert_eq!((status, code.as_str()), (404, "NOT_FOUND"), "{path}");
    }
    for (method, path) in [
        ("GET", "/tunnels/tun_1/connections"),
        ("DELETE", "/tunnels/tun_1/connections/1"),
        ("DELETE", "/tunnels/tun_1/connections/first"),
        ("GET", "/tunnels/%FF"),
    ] {
        assert_eq!(refused(&home.ask(method, path, None).await).0, 404, "{path}");
    }
    let unknown = json!({"host": "bastion", "fingerprint": "SHA256:x"});
    assert_eq!(refused(&home.post("/hosts/reject", unknown.clone()).await).0, 404);
    assert_eq!(refused(&home.post("/hosts/trust", unknown).await).0, 404);
    let id = tunnel(&home, &profile, 1, free_port()).await;
    home.put(&format!("/tunnels/{id}"), json!({"enabled": false})).await;
    let (status, code, error) = refused(&home.order(&format!("/tunnels/{id}/start")).await);
    assert_eq!((status, code.as_str()), (409, "CONFLICT"), "{error}");
}

#[tokio::test]
async fn all_start_and_all_stop() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let (_server, server) = silent().await;
    let starts = tunnel(&home, &profile, server, free_port()).await;
    let waits = tunnel(&home, &profile, server, free_port()).await;
    home.put(&format!("/tunnels/{waits}"), json!({"auto_start": false})).await;
    let statuses = |all: &Value| {
        let of = |id: &str| all.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap()["status"].clone();
        (of(&starts), of(&waits))
    };
    let started = home.order("/tunnels/start-all").await;
    assert_eq!(started.status, 200);
    home.becomes("/tunnels/status", |all| statuses(all) == (json!("connecting"), json!("disconnected"))).await;
    let stopped = home.order("/tunnels/stop-all").await.json();
    assert_eq!(statuses(&stopped), (json!("disconnected"), json!("disconnected")));
}

#[tokio::test]
async fn the_log_tells_what_happened_and_goes_on_where_a_reader_left_it() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let ((_server, server), local_port) = (silent().await, free_port());
    assert_eq!(home.get("/tunnels/log").await, json!([]));
    let id = tunnel(&home, &profile, server, local_port).await;
    home.order(&format!("/tunnels/{id}/start")).await;
    let log = home.get("/tunnels/log").await;
    assert_eq!(names(&log[0]), ["at", "error", "name", "number", "status", "tunnel_id"]);
    assert_eq!(
        (&log[0]["tunnel_id"], &log[0]["status"], &log[0]["error"]),
        (&json!(id), &json!("connecting"), &Value::Null)
    );
    home.order(&format!("/tunnels/{id}/stop")).await;
    let news = home.get(&format!("/tunnels/log?after={}", log[0]["number"])).await;
    assert_eq!((news.as_array().unwrap().len(), &news[0]["status"]), (1, &json!("disconnected")), "{news}");
    for query in ["after=never", "before=3"] {
        assert_eq!(refused(&home.ask("GET", &format!("/tunnels/log?{query}"), None).await).0, 400, "{query}");
    }
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let home = Home::new().await;
    let profile = home.profile().await;
    tunnel(&home, &profile, 1, free_port()).await;
    let answer = home.ask("GET", "/metrics", None).await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "adit_agent_tunnels{status=\"disconnected\"} 1",
        "adit_agent_tunnels{status=\"connected\"} 0",
        "adit_agent_sessions 0",
        "adit_agent_connections 0",
        "adit_agent_carried_bytes_total{direction=\"tx\"} 0",
        "adit_agent_carried_bytes_total{direction=\"rx\"} 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("127.0.0.1") && !text.contains("tun_"), "{text}");
}

#[tokio::test]
async fn a_page_hears_of_a_start_and_of_the_end() {
    let home = Home::new().await;
    let profile = home.profile().await;
    let (_server, server) = silent().await;
    let id = tunnel(&home, &profile, server, free_port()).await;
    let mut stream = home.events().await;
    for (name, first) in [("tunnels", home.get("/tunnels/status").await), ("sessions", json!({})), ("hosts", json!([]))]
    {
        assert_eq!(stream.event().await.unwrap(), (name.to_owned(), first));
    }
    assert_eq!(stream.event().await.unwrap().0, "records");
    home.order(&format!("/tunnels/{id}/start")).await;
    let began = Instant::now();
    let told = stream.wait_for("tunnels").await;
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
    assert_eq!((&told[0]["id"], &told[0]["status"]), (&json!(id), &json!("connecting")));
    let (_folder, _task) = home.close_door().await;
    assert_eq!(stream.event().await, None);
}
