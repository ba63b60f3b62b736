//! A browser as far as the tests need one: it keeps a cookie, says its origin, and shows what it got.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer takes longer on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A browser with one page of ours open.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: Option<String>,
    pub(crate) csrf: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Of a door on loopback that brings no page: nothing of it runs, is kept, or is another site's to read.
    #[track_caller]
    pub(crate) fn assert_headers_of_an_api(&self) {
        assert!(self.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("access-control-allow-origin"), None);
    }

    /// Status and code of an error.
    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    /// `NAME=VALUE` of a cookie that was set.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.iter().filter(|(found, _)| found == "set-cookie");
        let pairs = set.filter_map(|(_, value)| value.split(';').next());
        pairs.filter(|pair| pair.split('=').next() == Some(name)).map(str::to_owned).next()
    }
}

impl Browser {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, cookie: None, csrf: None }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body), &[]).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None, &[]).await
    }

    /// What a page of ours sends. `extra` replaces headers of the same name; an empty value leaves one out.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>, extra: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("host", self.address.to_string())];
        if !matches!(method, "GET" | "HEAD") {
            headers.push(("origin", self.origin()));
        }
        headers.extend(self.cookie.clone().map(|cookie| ("cookie", cookie)));
        headers.extend(self.csrf.clone().map(|csrf| ("x-csrf-token", csrf)));
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        headers.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        headers.extend(
            extra.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (*name, (*value).to_owned())),
        );
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        raw(self.address, format!("{text}\r\n{body}").as_bytes()).await.expect("an answer")
    }

    /// Signs in with a password, and keeps what comes with that.
    pub(crate) async fn sign_in(&mut self, account: &str, password: &str) -> Answer {
        let answer = self.post("/api/v1/session", serde_json::json!({"account": account, "password": password})).await;
        self.keep(&answer);
        answer
    }

    pub(crate) fn keep(&mut self, answer: &Answer) {
        if answer.status == 200 {
            self.cookie = answer.cookie("__Host-adit");
            self.csrf = answer.json()["csrf"].as_str().map(str::to_owned);
        }
    }
}

/// Sends these bytes and reads to the end; `None` where no answer came.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A connection that is refused may break while we write.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    parse(&timeout(PATIENCE, exchange).await.expect("the connection ends"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = answer[end + 4..].to_vec();
    if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
        body = unchunked(&body);
    }
    Some(Answer { status, headers, body })
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).unwrap();
        whole.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 2 + length + 2..];
        if length == 0 {
            break;
        }
    }
    whole
}
