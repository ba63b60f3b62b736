//! The door of a mesh agent: what a page, the command line and programs get to hear, and who may have something tried or changed.

use std::collections::BTreeSet;
use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_api::Serving;
use adit_api::agent::{KeptToken, token_of};
use adit_api::mesh::{Reload, Reloaded};
use adit_core::mesh::Rights;
use adit_mesh::enrolment::{Grant, RootFolder, join, list_to_text};
use adit_mesh::{Mesh, MeshFolder, RawForward, RawMesh};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::browser::{Answer, Browser, PATIENCE, raw};
use crate::events::Stream;

/// A key that a page, a log or a list of numbers could take for something else.
const KEY: &str = r#"my "files" \ <b>{x}"#;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `edge`, which listens on [`KEY`] and has its door open, and `hq` behind it, which publishes the key.
struct Edge {
    address: SocketAddr,
    token: KeptToken,
    /// How often the configuration was to be read anew, and what came of it.
    reloads: Arc<AtomicUsize>,
    reloaded: Arc<Mutex<Result<Reloaded, String>>>,
    serving: Serving,
    edge: Arc<Mesh>,
    hq: Mesh,
    target: SocketAddr,
    root: RootFolder,
    folder: TempDir,
    _service: AbortOnDropHandle<()>,
}

/// Invites an agent, which joins and starts.
async fn agent(root: &mut RootFolder, folder: &Path, name: &str, peers: &[SocketAddr], forward: Value) -> Mesh {
    let every = || vec!["*".parse().unwrap()];
    let rights = Rights { publish: every(), listen: every(), transit: true };
    let grant = Grant { name: name.parse().unwrap(), rights, redeem_within: DAY, lasts: DAY, peers: Vec::new() };
    let folder = MeshFolder::open(&folder.join(name)).unwrap();
    folder.enrol(&join(&root.invite(grant).unwrap(), None).unwrap()).unwrap();
    let peers = peers.iter().map(ToString::to_string).collect();
    let raw = RawMesh { listen: Some("127.0.0.1:0".to_owned()), peers: Some(peers), ..RawMesh::default() };
    Mesh::start(raw.check(&raw_forward(forward)).unwrap(), folder).await.unwrap()
}

fn raw_forward(forward: Value) -> RawForward {
    serde_json::from_value(forward).unwrap()
}

impl Edge {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut root = RootFolder::init(&folder.path().join("root")).unwrap();
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = service.local_addr().unwrap();
        // Its socket takes connections by itself.
        let service = AbortOnDropHandle::new(tokio::spawn(async move {
            let _service = service;
            pending::<()>().await;
        }));
        let forward = json!({"endpoints": [{"key": KEY, "target": target.to_string()}]});
        let hq = agent(&mut root, folder.path(), "hq", &[], forward).await;
        let forward = json!({"listeners": [{"key": KEY, "address": "127.0.0.1:0", "max_connections": 100}]});
        let edge = Arc::new(agent(&mut root, folder.path(), "edge", &[hq.address().unwrap()], forward).await);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = token_of(edge.folder().data()).unwrap().0;
        let (reloads, reloaded) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Ok(Reloaded { needs_restart: false }))));
        let (count, outcome) = (Arc::clone(&reloads), Arc::clone(&reloaded));
        let reload: Reload = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            outcome.lock().unwrap().clone()
        });
        let serving = adit_api::mesh::serve(Arc::clone(&edge), reload, listener, &token).unwrap();
        let door =
            Self { address, token, reloads, reloaded, serving, edge, hq, target, root, folder, _service: service };
        door.becomes("a way", |board| board["forward_routes"][0]["state"] == "up").await;
        door
    }

    /// As a page or a program without the token would ask.
    fn browser(&self) -> Browser {
        Browser::at(self.address)
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.browser().send(method, path, body, &[("authorization", &self.token.header())]).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }

    /// A body as it is written, behind its head.
    async fn post_text(&self, path: &str, content_type: &str, body: &str) -> Answer {
        let (address, length, token) = (self.address, body.len(), self.token.header());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: {}\r\nconnection: close\r\n{content_type}\
             content-length: {length}\r\n\r\n{body}",
            *token
        );
        raw(address, head.as_bytes()).await.unwrap()
    }

    /// What `curl http://localhost:8080/api/dashboard` gets.
    async fn dashboard(&self) -> Value {
        let name = format!("localhost:{}", self.address.port());
        let answer = self.browser().send("GET", "/api/dashboard", None, &[("host", &name)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until the dashboard looks right.
    async fn becomes(&self, what: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.edge.revisions();
        let waiting = async {
            loop {
                let board = self.dashboard().await;
                if is_right(&board) {
                    return board;
                }
                // Links and numbers change without a revision.
                let _ = timeout(Duration::from_millis(50), changes.changed()).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never {what}"))
    }

    /// The stream that is open to everybody.
    async fn events(&self) -> Stream {
        Stream::at(self.address, "/api/events", "").await
    }

    fn reloads(&self) -> usize {
        self.reloads.load(Ordering::Relaxed)
    }
}

fn document() -> Value {
    serde_json::from_str(&adit_api::mesh::openapi()).unwrap()
}

/// Every method and path of the document.
fn described() -> Vec<(String, String)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

/// What tries or changes something; all else is a look.
const GUARDED: [&str; 3] = ["/api/mesh/probe", "/api/mesh/reload", "/api/mesh/revocations"];
const OPEN: [&str; 6] = ["/api/dashboard", "/api/events", "/api/openapi.json", "/metrics", "/health", "/"];

/// Status and code of an error of the one shape, whose sentence names nothing that is not for the asker.
fn refused(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    assert!(body["error"].as_str().is_some_and(|sentence| sentence.len() > 10), "{body}");
    answer.error()
}

/// Whether a value is what the document says: no field more and none less.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(document, document.pointer(&reference[1..]).unwrap(), value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let choice = choices.iter().find(|choice| (choice["type"] == "null") == value.is_null());
        return check(document, choice.unwrap_or_else(|| panic!("{place}: {value}")), value, place);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_said = |said: &Value| said == kind || (said == "number" && kind == "integer");
    let said = &schema["type"];
    assert!(
        is_said(said) || said.as_array().is_some_and(|said| said.iter().any(is_said)),
        "{place}: {value} for {schema}"
    );
    match value {
        Value::Array(items) => items.iter().for_each(|item| check(document, &schema["items"], item, place)),
        Value::Object(fields) => {
            let described: BTreeSet<&String> = schema["properties"].as_object().unwrap().keys().collect();
            assert_eq!(fields.keys().collect::<BTreeSet<_>>(), described, "{place}");
            for (name, field) in fields {
                check(document, &schema["properties"][name], field, &format!("{place}.{name}"));
            }
        }
        Value::String(text) if schema["enum"].is_array() => {
            assert!(schema["enum"].as_array().unwrap().contains(&json!(text)), "{place}: {text}");
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_dashboard_answers_as_the_documents_ask_it() {
    let door = Edge::new().await;
    let board = door.dashboard().await;
    let [edge, hq] = [door.edge.id(), door.hq.id()];
    let row = &board["forward_routes"][0];
    for (field, value) in [
        ("key", json!(KEY)),
        ("ingress_agent", json!("edge")),
        ("ingress_agent_id", json!(edge)),
        ("exit_agent", json!("hq")),
        ("exit_agent_id", json!(hq)),
        ("target", json!(door.target.to_string())),
        ("hop_count", json!(1)),
        ("path_display", json!(["edge", "hq"])),
        ("path_ids", json!([edge, hq])),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    let listener = row["listener_address"].as_str().unwrap();
    TcpStream::connect(listener).await.expect("clients connect there");
    assert_eq!(board["forward_routes"].as_array().unwrap().len(), 1);
    assert_eq!((&board["agent"]["name"], &board["agent"]["id"]), (&json!("edge"), &json!(edge)));
    assert_eq!((&board["peers"][0]["name"], &board["peers"][0]["connected"]), (&json!("hq"), &json!(true)));
    let names = |list: &Value, field: &str| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&board["routes"], "agent"), BTreeSet::from(["edge".to_owned(), "hq".to_owned()]));
    assert!(board["stats"]["control_bytes_in"].as_u64().unwrap() > 0, "{}", board["stats"]);
}

#[tokio::test]
async fn what_is_answered_is_what_the_document_says() {
    let mut door = Edge::new().await;
    let served = door.browser().get("/api/openapi.json").await.json();
    assert_eq!(served, document());
    let probe = json!({"key": KEY});
    let list = json!({"list": list_to_text(&door.root.revoke("hq").unwrap())});
    for (method, path, body) in [
        ("GET", "/api/dashboard", None),
        ("POST", "/api/mesh/probe", Some(probe)),
        ("POST", "/api/mesh/reload", None),
        ("POST", "/api/mesh/revocations", Some(list)),
    ] {
        let answer = door.ask(method, path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let operation = &served["paths"][path][method.to_lowercase()];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        check(&served, schema, &answer.json(), path);
    }
    let failure = door.post("/api/mesh/probe", json!({})).await.json();
    let mut schema = served["components"]["schemas"]["Failure"].clone();
    // The one that is left out where there is nothing to wait for.
    schema["properties"].as_object_mut().unwrap().remove("retry_after").unwrap();
    check(&served, &schema, &failure, "an error");
}

#[tokio::test]
async fn the_document_names_every_route_and_no_other() {
    let door = Edge::new().await;
    let paths: BTreeSet<String> = described().into_iter().map(|(_, path)| path).collect();
    let in_code = GUARDED.iter().chain(&OPEN[..2]).map(|path| (*path).to_owned());
    assert_eq!(paths, in_code.collect::<BTreeSet<_>>());
    for path in &paths {
        let known: BTreeSet<String> =
            described().into_iter().filter(|(_, of)| of == path).map(|(method, _)| method).collect();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if method == "GET" && path == "/api/events" {
                assert!(door.events().await.is_begun().await);
                continue;
            }
            let answer = door.ask(method, path, None).await;
            if known.contains(method) {
                assert!(![401, 404, 405].contains(&answer.status), "{method} {path}: {}", answer.text());
                continue;
            }
            assert_eq!(refused(&answer), (405, "wrong-method".to_owned()), "{method} {path}");
            let allow = answer.header("allow").unwrap_or_default();
            assert!(known.iter().all(|method| allow.contains(method.as_str())), "{method} {path}: {allow}");
        }
    }
    for path in ["/api/mesh", "/api/", "/api/mesh/probe/", "/api/v1/me", "/tunnels", "/etc/passwd", "/assets/../token"]
    {
        for method in ["GET", "POST"] {
            assert_eq!(refused(&door.ask(method, path, None).await), (404, "not-found".to_owned()), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_page_hears_at_once_and_with_each_change_until_the_door_closes() {
    let door = Edge::new().await;
    let mut stream = door.events().await;
    assert!(stream.is_begun().await);
    let (name, first) = stream.event().await.unwrap();
    assert_eq!((name.as_str(), &first["forward_routes"][0]["key"]), ("dashboard", &json!(KEY)));
    let listeners = json!({"listeners": [{"key": "other", "address": "127.0.0.1:0"}]});
    door.edge.reload(raw_forward(listeners).check().unwrap()).unwrap();
    loop {
        let board = stream.wait_for("dashboard").await;
        let rows = board["forward_routes"].as_array().unwrap();
        if rows.iter().any(|row| row["key"] == "other" && row["state"] == "no_endpoint") {
            break;
        }
    }
    // Numbers change without news, and are shown nevertheless.
    let began = Instant::now();
    stream.wait_for("dashboard").await;
    stream.wait_for("dashboard").await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let Edge { serving, .. } = door;
    serving.stop().await;
    while stream.event().await.is_some() {}
}

#[tokio::test]
async fn pages_that_watch_leave_places_for_who_asks() {
    let door = Edge::new().await;
    let mut streams = Vec::new();
    loop {
        let mut stream = door.events().await;
        if !stream.is_begun().await {
            break;
        }
        streams.push(stream);
    }
    assert_eq!(streams.len(), 64);
    let refusal = door.browser().get("/api/events").await;
    assert_eq!(refused(&refusal), (429, "too-many-streams".to_owned()));
    door.dashboard().await;
    streams.pop();
    // The agent sees the end of a connection when it next looks.
    let opened = async { while !door.events().await.is_begun().await {} };
    timeout(PATIENCE, opened).await.expect("a place becomes free");
}

#[tokio::test]
async fn numbers_are_told_as_prometheus_reads_them() {
    let door = Edge::new().await;
    let listener = door.dashboard().await["forward_routes"][0]["listener_address"].as_str().unwrap().to_owned();
    let _client = TcpStream::connect(listener).await.unwrap();
    door.becomes("a connection", |board| board["stats"]["keys"][0]["opened"] == 1).await;
    let answer = door.browser().get("/metrics").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"))
    );
    let text = answer.text();
    let key = r#"key="my \"files\" \\ <b>{x}""#;
    for (name, labels, value) in [
        ("adit_mesh_links", &[][..], 1),
        ("adit_mesh_agents", &[], 2),
        ("adit_mesh_connections", &[], 1),
        ("adit_mesh_transits", &[], 0),
        ("adit_mesh_links_refused_total", &[], 0),
        ("adit_mesh_tampered_total", &[], 0),
        ("adit_mesh_datagrams_lost_total", &[], 0),
        ("adit_mesh_datagrams_repeated_total", &[], 0),
        ("adit_mesh_resumed_total", &[], 0),
        ("adit_mesh_key_connections", &[key], 1),
        ("adit_mesh_key_opened_total", &[key], 1),
        ("adit_mesh_key_failed_total", &[key], 0),
        ("adit_mesh_key_over_limit_total", &[key], 0),
        ("adit_mesh_key_bytes_total", &[key, r#"direction="in""#], 0),
    ] {
        let is_it = |line: &str| {
            let told = line.strip_prefix(name).and_then(|rest| rest.strip_suffix(&format!(" {value}")));
            told.is_some_and(|told| {
                (told.is_empty() || told.starts_with('{')) && labels.iter().all(|label| told.contains(label))
            })
        };
        assert!(text.lines().any(is_it), "{name} {labels:?} {value} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")), "{text}");
}

#[tokio::test]
async fn health_says_what_serves() {
    let door = Edge::new().await;
    let health = door.browser().get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("serving")));
    assert_eq!(health.json()["areas"], json!(["mesh"]));
}

#[tokio::test]
async fn what_tries_or_changes_something_takes_the_token() {
    let door = Edge::new().await;
    let right = door.token.header();
    let token = right.strip_prefix("Bearer ").unwrap();
    let (cut, last) = token.split_at(token.len() - 1);
    let other = format!("{cut}{}", if last == "0" { 1 } else { 0 });
    let list = json!({"list": list_to_text(&door.root.revocations().unwrap())});
    for (path, body) in [(GUARDED[0], json!({"key": KEY})), (GUARDED[1], json!({})), (GUARDED[2], list)] {
        for authorization in
            ["", "Bearer ", token, &format!("Basic {token}"), &format!("Bearer {cut}"), &format!("Bearer {other}")]
        {
            let extra = [("authorization", authorization)];
            let answer = door.browser().send("POST", path, Some(body.clone()), &extra).await;
            assert_eq!(refused(&answer), (401, "unauthorized".to_owned()), "{path} {authorization}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.text().contains(token));
        }
        let answer = door.browser().post(&format!("{path}?token={token}"), body).await;
        assert_eq!(answer.status, 401, "a URL is no place for a token");
    }
    // Whoever is not let in is not told either what a question looks like.
    for body in [json!({"ky": 1}), json!("x".repeat(70_000))] {
        assert_eq!(door.browser().post(GUARDED[0], body).await.status, 401);
    }
    assert_eq!(door.browser().get(GUARDED[0]).await.status, 401);
    assert_eq!(door.reloads(), 0, "nothing was read anew");
    assert_eq!(door.ask("POST", GUARDED[1], None).await.status, 200);
    assert_eq!(door.reloads(), 1);
    let lower = right.replace("Bearer", "bearer");
    let answer = door.browser().send("POST", GUARDED[0], Some(json!({"key": KEY})), &[("authorization", &lower)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // To look takes none.
    for path in OPEN.iter().filter(|path| **path != "/api/events") {
        assert_ne!(door.browser().get(path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let door = Edge::new().await;
    let port = door.address.port();
    let ask = async |path: &str, host: &str| {
        let extra = [("authorization", door.token.header().to_string()), ("host", host.to_owned())];
        let extra: Vec<(&str, &str)> = extra.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let method = if GUARDED.contains(&path) { "POST" } else { "GET" };
        door.browser().send(method, path, None, &extra).await
    };
    for host in
        ["evil.example", &format!("evil.example:{port}"), "localhost", "127.0.0.1", &format!("127.0.0.2:{port}")]
    {
        for path in OPEN.iter().chain(&GUARDED).chain(&["/nothing", "/assets/x.js"]) {
            let answer = ask(path, host).await;
            assert_eq!(refused(&answer), (403, "foreign-host".to_owned()), "{path} {host}");
            assert!(!answer.text().contains("web_hosts"), "a setting of another role: {}", answer.text());
        }
    }
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(ask("/api/dashboard", &host).await.status, 200, "{host}");
    }
    assert_eq!(door.reloads(), 0);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_even_with_the_token() {
    let door = Edge::new().await;
    let token = door.token.header();
    let ask = async |method: &str, path: &str, name: &str, value: &str| {
        door.browser().send(method, path, None, &[("authorization", &token), (name, value)]).await
    };
    let all = OPEN[..5].iter().map(|path| ("GET", *path)).chain(GUARDED.map(|path| ("POST", path)));
    for (method, path) in all {
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1", &format!("https://{}", door.address)] {
            let answer = ask(method, path, "origin", origin).await;
            assert_eq!(refused(&answer), (403, "foreign-origin".to_owned()), "{path} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        for site in ["cross-site", "same-site"] {
            let answer = ask(method, path, "sec-fetch-site", site).await;
            assert_eq!(refused(&answer), (403, "foreign-origin".to_owned()), "{path} {site}");
        }
    }
    assert_eq!(door.reloads(), 0);
    assert_ne!(ask("GET", "/", "sec-fetch-site", "cross-site").await.status, 403, "a link to the page");
    assert_eq!(ask("GET", "/api/dashboard", "origin", &door.browser().origin()).await.status, 200);
    assert_eq!(ask("POST", GUARDED[1], "sec-fetch-site", "same-origin").await.status, 200);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_without_repeating_it() {
    let door = Edge::new().await;
    let json_type = "content-type: application/json\r\n";
    let (bad, not_json) = ((400, "bad-request".to_owned()), (415, "not-json".to_owned()));
    for path in [GUARDED[0], GUARDED[2]] {
        for other in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
            assert_eq!(refused(&door.post_text(path, other, "{}").await), not_json, "{path} {other}");
        }
        for body in
            ["", "{", "nonsense", "[]", "\"hunter2\"", "{\"key\": hunter2}", "{\"list\": [\"hunter2\"]}", "{} {}"]
        {
            let answer = door.post_text(path, json_type, body).await;
            assert_eq!(refused(&answer), bad, "{path} {body}");
            assert!(!answer.text().contains("hunter2"), "{}", answer.text());
        }
        let large = format!("{{\"key\": \"{}\"}}", "x".repeat(70_000));
        assert_eq!(refused(&door.post_text(path, json_type, &large).await), (413, "too-large".to_owned()), "{path}");
    }
    for (path, body, told) in [
        (GUARDED[0], json!({"ky": KEY}), "`ky`"),
        (GUARDED[0], json!({"key": KEY, "hops": 3}), "`hops`"),
        (GUARDED[0], json!({}), "`key`"),
        (GUARDED[0], json!({"key": 7}), "`key`"),
        (GUARDED[0], json!({"key": ""}), "a routing key"),
        (GUARDED[0], json!({"key": "x".repeat(256)}), "a routing key"),
        (GUARDED[0], json!({"key": "a\u{7}b"}), "a routing key"),
        (GUARDED[2], json!({"list": "not hexadecimal"}), "no list of revocations"),
        (GUARDED[2], json!({"list": ""}), "list"),
        (GUARDED[2], json!({"list": "00112233"}), "the list is not taken"),
        (GUARDED[2], json!({"list": "00", "force": true}), "`force`"),
    ] {
        let answer = door.post(path, body.clone()).await;
        assert_eq!(refused(&answer), bad, "{path} {body}");
        assert!(answer.text().contains(told), "{body}: {}", answer.text());
        assert!(!answer.text().contains('\u{7}'));
    }
}

#[tokio::test]
async fn a_probe_says_the_way_or_why_there_is_none() {
    let door = Edge::new().await;
    let probed = door.post(GUARDED[0], json!({"key": KEY})).await.json();
    assert_eq!((&probed["exit_agent"], &probed["hop_count"]), (&json!("hq"), &json!(1)));
    assert_eq!(probed["path_display"], json!(["edge", "hq"]));
    let answer = door.post(GUARDED[0], json!({"key": "nobody's"})).await;
    assert_eq!(refused(&answer), (502, "unreachable".to_owned()), "{}", answer.text());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_and_changes_nothing() {
    let door = Edge::new().await;
    *door.reloaded.lock().unwrap() = Err("`forward.listeners[0].address` is “here”: expected :PORT".to_owned());
    let answer = door.ask("POST", GUARDED[1], None).await;
    assert_eq!(refused(&answer), (409, "bad-config".to_owned()));
    assert!(answer.text().contains("`forward.listeners[0].address` is “here”"), "{}", answer.text());
    assert_eq!(door.dashboard().await["forward_routes"][0]["state"], "up");
}

#[tokio::test]
async fn only_the_root_of_the_mesh_revokes() {
    let mut door = Edge::new().await;
    let mut stranger = RootFolder::init(&door.folder.path().join("stranger")).unwrap();
    let rights = Rights { transit: true, ..Rights::default() };
    let grant = Grant { name: "hq".parse().unwrap(), rights, redeem_within: DAY, lasts: DAY, peers: Vec::new() };
    stranger.invite(grant).unwrap();
    let foreign = json!({"list": list_to_text(&stranger.revoke("hq").unwrap())});
    let answer = door.post(GUARDED[2], foreign).await;
    assert_eq!(refused(&answer), (400, "bad-request".to_owned()), "{}", answer.text());
    assert_eq!(door.dashboard().await["peers"][0]["name"], "hq");

    let ours = json!({"list": format!("{}\n", list_to_text(&door.root.revoke("hq").unwrap()))});
    assert_eq!(door.post(GUARDED[2], ours.clone()).await.json(), json!({"changed": true}));
    assert_eq!(door.post(GUARDED[2], ours).await.json(), json!({"changed": false}), "it is known");
    door.becomes("without hq", |board| {
        board["routes"].as_array().unwrap().len() == 1 && board["forward_routes"][0]["state"] == "no_endpoint"
    })
    .await;
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let door = Edge::new().await;
    let answers = [
        door.browser().get("/health").await,
        door.browser().get("/metrics").await,
        door.browser().get("/api/dashboard").await,
        door.browser().send("GET", "/api/dashboard", None, &[("host", "evil.example")]).await,
        door.browser().post(GUARDED[1], json!({})).await,
        door.ask("GET", "/nothing-of-that-name", None).await,
        door.ask("PATCH", "/api/dashboard", None).await,
        door.ask("GET", GUARDED[1], None).await,
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 403, 401, 404, 405, 405]);
    answers.iter().for_each(Answer::assert_headers_of_an_api);
}

#[tokio::test]
async fn the_door_stands_on_loopback_only() {
    let door = Edge::new().await;
    let anywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let reload: Reload = Arc::new(|| Ok(Reloaded { needs_restart: false }));
    let refused = adit_api::mesh::serve(Arc::clone(&door.edge), reload, anywhere, &door.token).unwrap_err();
    assert!(refused.to_string().contains("is no loopback address"), "{refused}");
}
