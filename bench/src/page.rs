//! Somebody who looks at the dashboard: signs in as a browser does and reads the stream of events. Nothing is shown, so that what is
//! measured is the server's part.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{Doing, Failure};

/// Streams that the server gives to one session.
const PER_SESSION: usize = 8;
/// A server that leaves a request without an answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery staple";

/// Both halves of a session.
struct Browser {
    dashboard: SocketAddr,
    cookie: String,
    key: String,
}

/// A page that watches, until it is dropped.
pub(crate) struct Page {
    stream: TcpStream,
    bytes: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
}

impl Page {
    /// `count` pages of the account whose owner was sent `link`, each with its first events.
    pub(crate) fn open(dashboard: SocketAddr, account: &str, link: &str, count: usize) -> Result<Vec<Self>, Failure> {
        let token = link.rsplit('/').next().unwrap_or_default();
        let accept = json!({"token": token, "account": account, "password": PASSWORD});
        let mut browser = Browser::sign_in(dashboard, "/invitation/accept", &accept)?;
        let mut pages = Vec::with_capacity(count);
        while pages.len() < count {
            if !pages.is_empty() && pages.len() % PER_SESSION == 0 {
                browser = Browser::sign_in(dashboard, "/session", &json!({"account": account, "password": PASSWORD}))?;
            }
            pages.push(browser.watch()?);
        }
        Ok(pages)
    }

    /// Whether the server still tells it of changes.
    pub(crate) fn watches(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| !reader.is_finished())
    }

    /// Bytes it was told so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may be closed already; then the thread has ended.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

impl Browser {
    fn sign_in(dashboard: SocketAddr, path: &str, body: &Value) -> Result<Self, Failure> {
        let body = body.to_string();
        let headers = format!(
            "origin: http://{dashboard}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        let (headers, mut rest) = ask(dashboard, "POST", path, &headers, &body)?;
        let cookie = headers.get("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.ok_or_else(|| Failure::new("the server gave no cookie"))?.to_owned();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut answer = vec![0; length];
        rest.read_exact(&mut answer).doing("read who we are")?;
        let answer: Value = serde_json::from_slice(&answer).doing("read who we are")?;
        let key = answer["csrf"].as_str().ok_or_else(|| Failure::new("the server gave no key"))?.to_owned();
        Ok(Self { dashboard, cookie, key })
    }

    fn watch(&self) -> Result<Page, Failure> {
        let headers = format!("cookie: {}\r\nx-csrf-token: {}\r\n", self.cookie, self.key);
        let (_, mut rest) = ask(self.dashboard, "GET", "/events", &headers, "")?;
        let stream = rest.get_ref().try_clone().doing("share a socket")?;
        // A stream is heard from when something changes, or at the pace of its comments.
        stream.set_read_timeout(None).doing("wait for events")?;
        let mut first = String::new();
        while !first.starts_with("event: tunnels") {
            first.clear();
            if rest.read_line(&mut first).doing("read the first events")? == 0 {
                return Err(Failure::new("the server ended a stream of events"));
            }
        }
        let bytes = Arc::new(AtomicU64::new(0));
        let count = bytes.clone();
        let reader = thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = rest.read(&mut chunk) {
                count.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        Ok(Page { stream, bytes, reader: Some(reader) })
    }
}

/// One request on a connection of its own: the answer's headers, and what comes after them.
fn ask(
    dashboard: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<(HashMap<String, String>, BufReader<TcpStream>), Failure> {
    let doing = || format!("{method} {path}");
    let mut stream = TcpStream::connect(dashboard).doing(doing())?;
    stream.set_read_timeout(Some(PATIENCE)).doing(doing())?;
    let head = format!("{method} /api/v1{path} HTTP/1.1\r\nhost: {dashboard}\r\n{headers}\r\n");
    stream.write_all((head + body).as_bytes()).doing(doing())?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).doing(doing())?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(Failure::new(format!("{}: {}", doing(), line.trim_end())));
    }
    let mut headers = HashMap::new();
    loop {
        line.clear();
        answer.read_line(&mut line).doing(doing())?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok((headers, answer)) };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}
