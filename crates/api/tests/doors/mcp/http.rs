//! Who is let in over HTTP, and what that bounds.

use adit_api::agent::token_at;
use adit_api::{Serving, mcp};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::clerk::Office;
use super::lines::{CURRENT, PREVIOUS, meta, request};
use crate::browser::{Answer, Browser, PATIENCE};

/// An office with its door open.
struct Door {
    office: Office,
    serving: Serving,
    browser: Browser,
    header: String,
    _folder: TempDir,
}

impl Door {
    async fn open() -> Self {
        let (office, folder) = (Office::new(), tempfile::tempdir().unwrap());
        let (token, is_new) = token_at(folder.path().join("mcp-token")).unwrap();
        assert!(is_new);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let browser = Browser::at(listener.local_addr().unwrap());
        let serving = mcp::serve(&office.desk, listener, &token).unwrap();
        Self { office, serving, browser, header: token.header().to_string(), _folder: folder }
    }

    /// What a client sends; `extra` replaces headers of the same name, and an empty value leaves one out.
    async fn send(&self, method: &str, path: &str, body: Option<Value>, extra: &[(&str, &str)]) -> Answer {
        let usual = [
            ("origin", ""),
            ("authorization", self.header.as_str()),
            ("accept", "application/json, text/event-stream"),
        ];
        let mut headers = extra.to_vec();
        headers.extend(usual.into_iter().filter(|(name, _)| !extra.iter().any(|(other, _)| other == name)));
        self.browser.send(method, path, body, &headers).await
    }

    async fn post(&self, body: Value, extra: &[(&str, &str)]) -> Answer {
        self.send("POST", "/mcp", Some(body), extra).await
    }

    /// A call by the previous revision.
    async fn call(&self, tool: &str, arguments: Value) -> Answer {
        let call = request(7, "tools/call", json!({"name": tool, "arguments": arguments}), &Value::Null);
        self.post(call, &[("mcp-protocol-version", PREVIOUS)]).await
    }
}

fn hello() -> Value {
    let params = json!({"protocolVersion": PREVIOUS, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    request(1, "initialize", params, &Value::Null)
}

#[tokio::test]
async fn both_revisions_are_served_and_neither_leaves_a_session_behind() {
    let door = Door::open().await;
    let answer = door.post(hello(), &[]).await;
    assert_eq!(
        (answer.status, &answer.json()["result"]["protocolVersion"]),
        (200, &json!(PREVIOUS)),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("mcp-session-id"), None);
    let begun = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(door.post(begun, &[("mcp-protocol-version", PREVIOUS)]).await.status, 202);
    let answer = door.call("tunnel_status", json!({})).await;
    assert_eq!(answer.json()["result"]["structuredContent"]["tunnels"][0]["port"], 2222, "{}", answer.text());

    let version = ("mcp-protocol-version", CURRENT);
    let discover = request(1, "server/discover", json!({}), &meta());
    let answer = door.post(discover, &[version, ("mcp-method", "server/discover")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["result"]["supportedVersions"].as_array().unwrap().contains(&json!(CURRENT)));
    let call = request(2, "tools/call", json!({"name": "tunnel_remove", "arguments": {"port": 9}}), &meta());
    let headers = [version, ("mcp-method", "tools/call"), ("mcp-name", "tunnel_remove")];
    let answer = door.post(call, &headers).await;
    assert_eq!((answer.status, &answer.json()["result"]["isError"]), (200, &json!(true)), "{}", answer.text());
    for method in ["GET", "DELETE", "PUT"] {
        assert_eq!(door.send(method, "/mcp", None, &[]).await.status, 405, "{method}");
    }
}

#[tokio::test]
async fn nothing_is_told_without_the_token() {
    let door = Door::open().await;
    let other = door.header.replace('0', "1") + "0";
    for authorization in
        ["", "Bearer ", &other, &door.header.replace("Bearer", "Basic"), &door.header["Bearer ".len()..]]
    {
        for (method, path) in
            [("POST", "/mcp"), ("GET", "/mcp"), ("GET", "/"), ("GET", "/.well-known/oauth-protected-resource")]
        {
            let answer = door.send(method, path, Some(hello()), &[("authorization", authorization)]).await;
            assert_eq!(answer.error(), (401, "unauthorized".to_owned()), "{method} {path} {authorization}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(door.send("GET", "/tunnels", None, &[]).await.error(), (404, "not-found".to_owned()));
    assert_eq!(door.office.clerk.taken(), [""; 0]);
}

#[tokio::test]
async fn only_the_address_itself_is_a_host_of_ours() {
    let door = Door::open().await;
    let port = door.browser.address.port();
    let names = ["evil.example", "localhost", "127.0.0.1"].map(str::to_owned);
    let with_port = ["evil.example", "localhost", "127.0.0.2", "[::1]"].map(|host| format!("{host}:{port}"));
    for host in names.iter().chain(&with_port) {
        let answer = door.post(hello(), &[("host", host)]).await;
        assert_eq!(answer.error(), (403, "foreign-host".to_owned()), "{host}");
    }
    assert_eq!(door.post(hello(), &[("host", &format!("127.0.0.1:{port}"))]).await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_even_with_the_token() {
    let door = Door::open().await;
    for origin in ["http://evil.example", "null", "http://localhost", "http://127.0.0.1", "https://127.0.0.1"] {
        let answer = door.post(hello(), &[("origin", origin)]).await;
        assert_eq!(answer.error(), (403, "foreign-origin".to_owned()), "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for site in ["cross-site", "same-site"] {
        assert_eq!(door.post(hello(), &[("sec-fetch-site", site)]).await.status, 403, "{site}");
    }
    assert_eq!(door.post(hello(), &[("origin", &door.browser.origin())]).await.status, 200);
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_what_is_too_long_is_not_read() {
    let door = Door::open().await;
    for body in [json!([]), json!("x"), json!({"jsonrpc": "2.0"}), json!({"id": 1, "method": "ping"})] {
        let answer = door.post(body.clone(), &[]).await;
        assert!((400..500).contains(&answer.status), "{body}: {} {}", answer.status, answer.text());
    }
    let answer = door.post(hello(), &[("content-type", "text/plain")]).await;
    assert_eq!(answer.status, 415, "{}", answer.text());
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y".repeat(70_000)}});
    assert_eq!(door.post(long, &[]).await.error(), (413, "too-large".to_owned()));
    assert_eq!(door.call("tunnel_status", json!({})).await.status, 200);
}

#[tokio::test]
async fn floods_of_clients_leave_the_next_one_its_place() {
    let door = Door::open().await;
    for _ in 0..10 {
        let answers = join_all((0..30).map(|_| door.post(hello(), &[]))).await;
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("mcp-session-id").is_none()));
    }
    // More than there are places, each with half of a request.
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(door.browser.address).await.unwrap();
        stream.write_all(b"POST /mcp HTTP/1.1\r\ncontent-length: 100\r\n").await.ok();
        held.push(stream);
    }
    assert_eq!(door.call("tunnel_status", json!({})).await.status, 200);
}

#[tokio::test]
async fn a_change_is_done_to_its_end_though_its_client_has_hung_up() {
    let door = Door::open().await;
    door.office.clerk.hold_set_ups();
    let call = request(1, "tools/call", json!({"name": "tunnel_setup", "arguments": {"port": 2222}}), &Value::Null)
        .to_string();
    let mut stream = TcpStream::connect(door.browser.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\naccept: application/json, text/event-stream\r\n\
         content-type: application/json\r\nmcp-protocol-version: {PREVIOUS}\r\ncontent-length: {}\r\n\r\n{call}",
        door.browser.address,
        door.header,
        call.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    door.office.clerk.becomes(1).await;
    drop(stream);
    let Door { office, serving, .. } = door;
    timeout(PATIENCE, serving.stop()).await.expect("the door closes");
    office.clerk.let_set_ups(1);
    timeout(PATIENCE, office.desk.finish()).await.expect("it is done");
    assert_eq!(office.clerk.taken(), ["set up 2222 None None", "2222 is set up"]);
}

#[tokio::test]
async fn the_door_stands_on_loopback_only() {
    let (office, folder) = (Office::new(), tempfile::tempdir().unwrap());
    let (token, _) = token_at(folder.path().join("mcp-token")).unwrap();
    let anywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = mcp::serve(&office.desk, anywhere, &token).unwrap_err();
    assert!(refused.to_string().contains("is no loopback address"), "{refused}");
}
