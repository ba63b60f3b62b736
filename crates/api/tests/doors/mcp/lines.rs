//! A client over a pair of streams: a message is a line, by hand, so that a story may also send what is none.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::clerk::Office;
use crate::browser::PATIENCE;

/// The revision before the current one, which begins with a handshake.
pub(crate) const PREVIOUS: &str = "2025-11-25";
/// The current one, each of whose requests says all about itself.
pub(crate) const CURRENT: &str = "2026-07-28";

pub(crate) struct Lines {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    pub(crate) serving: JoinHandle<io::Result<()>>,
    pub(crate) stop: CancellationToken,
    next: u64,
    /// What each request says of itself.
    meta: Value,
}

impl Lines {
    /// Nothing is said yet.
    pub(crate) fn silent(office: &Office) -> Self {
        let (here, there) = duplex(64 * 1024);
        let (stop, (read, write)) = (CancellationToken::new(), split(there));
        let serving = tokio::spawn(adit_api::mcp::serve_streams(
            office.desk.clone(),
            read,
            write,
            stop.clone().cancelled_owned(),
        ));
        let (read, write) = split(here);
        Self { read: BufReader::new(read), write, serving, stop, next: 0, meta: Value::Null }
    }

    /// A client of the previous revision, introduced.
    pub(crate) async fn previous(office: &Office) -> Self {
        let mut lines = Self::silent(office);
        let client = json!({"name": "tester", "version": "1"});
        let hello = json!({"protocolVersion": PREVIOUS, "capabilities": {}, "clientInfo": client});
        let told = lines.ask("initialize", hello).await;
        assert_eq!(told["result"]["protocolVersion"], PREVIOUS, "{told}");
        lines.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        lines
    }

    /// A client of the current one, which has no introduction.
    pub(crate) async fn current(office: &Office) -> Self {
        let mut lines = Self::silent(office);
        lines.meta = meta();
        let told = lines.ask("server/discover", json!({})).await;
        assert!(told["result"]["supportedVersions"].as_array().unwrap().contains(&json!(CURRENT)), "{told}");
        lines
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.write.write_all(line.as_bytes()).await.unwrap();
        self.write.write_all(b"\n").await.unwrap();
    }

    /// Sends a request without waiting for its answer.
    pub(crate) async fn begin(&mut self, method: &str, params: Value) {
        self.next += 1;
        self.send(&request(self.next, method, params, &self.meta).to_string()).await;
    }

    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.begin(method, params).await;
        let answer = self.hear().await;
        assert_eq!(answer["id"], self.next, "{answer}");
        answer
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Value {
        let mut line = String::new();
        timeout(PATIENCE, self.read.read_line(&mut line)).await.expect("an answer").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no message: {line:?}"))
    }

    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let told = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert!(told["result"].is_object(), "{told}");
        told["result"].clone()
    }

    /// Closes our end, and waits for theirs.
    pub(crate) async fn leave(self) {
        let Self { read, write, serving, .. } = self;
        drop((read, write));
        timeout(PATIENCE, serving).await.expect("it ends").unwrap().unwrap();
    }
}

pub(crate) fn request(id: u64, method: &str, mut params: Value, meta: &Value) -> Value {
    if !meta.is_null() {
        params["_meta"] = meta.clone();
    }
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// What each request of the current revision says of itself.
pub(crate) fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": CURRENT,
        "io.modelcontextprotocol/clientInfo": {"name": "tester", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// The sentence and the code of a result that is a failure.
pub(crate) fn failure(result: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{result}")).to_owned();
    assert_eq!(result["isError"], true, "{result}");
    let [content] = &result["content"].as_array().unwrap()[..] else { panic!("{result}") };
    let (told, structured) = (text(&content["text"]), &result["structuredContent"]);
    assert_eq!(told, text(&structured["error"]), "one sentence in both places");
    (told, text(&structured["code"]))
}
