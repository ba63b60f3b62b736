//! Asks a running agent, which it finds by its data folder: for the command line, and for whoever else drives an agent from Rust.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_net::data_folder::{self, DataFolderError};
use axum::body::Bytes;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::gate::AccessToken;
use super::whereabouts::{Addresses, TokenError, read_token};
use crate::failure::Failure;

/// The trial of a way with several hops takes longest: each stage of each hop may take 10 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// A loopback connection stands at once, and what only looks is answered from memory or from a file, which the agent itself gives up to
/// read after half of this: who takes longer hangs.
const PROMPT: Duration = Duration::from_secs(10);

/// 2,000 log lines, or some thousand tunnels.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// A running agent, and the right to ask it.
#[derive(Debug)]
pub struct Client {
    addresses: Addresses,
    token: AccessToken,
    /// [`PROMPT`]; a test has less time.
    prompt: Duration,
}

/// Why there is no agent to ask.
#[derive(Debug, Error)]
pub enum FindError {
    /// None runs on this folder.
    #[error("no agent runs on {folder}; start one with `adit agent`, or name its folder with --data DIR")]
    NotRunning {
        /// The folder.
        folder: PathBuf,
    },
    /// Its lock cannot be looked at.
    #[error("cannot see whether an agent runs on {folder}; run this as the user that runs it")]
    Hidden {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What it says of its addresses cannot be read.
    #[error(transparent)]
    Addresses(#[from] DataFolderError),
    /// It says that it answers elsewhere, which no agent does.
    #[error(
        "the agent of {folder} is said to answer at {listen}, which is not on this machine; nothing was sent there"
    )]
    Elsewhere {
        /// The folder.
        folder: PathBuf,
        /// What `addresses.json` says.
        listen: SocketAddr,
    },
    /// Its token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// The agent says why.
    #[error("{failure}")]
    Refused {
        /// The kind of trouble.
        status: StatusCode,
        /// What it said.
        failure: Failure,
        /// All it said, as it came.
        body: Value,
    },
    /// The agent went away, or hangs.
    #[error("the agent at {url} did not answer: {reason}")]
    Lost {
        /// Where it is.
        url: String,
        /// How it was noticed.
        reason: String,
    },
}

impl Client {
    /// The agent that runs on a data folder. Its token is shown to nobody else: addresses of a process that does not hold the folder
    /// any more are a stranger's, and so are those in a folder that others may write, or on another machine.
    ///
    /// # Errors
    /// [`FindError`]
    pub fn find(folder: &Path) -> Result<Self, FindError> {
        let not_running = || FindError::NotRunning { folder: folder.to_owned() };
        let addresses: Addresses = data_folder::read_addresses(folder)?.ok_or_else(not_running)?;
        let hidden = |source| FindError::Hidden { folder: folder.to_owned(), source };
        if !data_folder::is_held_by(folder, addresses.pid).map_err(hidden)? {
            return Err(not_running());
        }
        if !addresses.listen.ip().is_loopback() {
            return Err(FindError::Elsewhere { folder: folder.to_owned(), listen: addresses.listen });
        }
        Ok(Self { token: read_token(folder)?, addresses, prompt: PROMPT })
    }

    /// Where the agent answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.addresses.url
    }

    /// Looks at something.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// Saves something new, or gives an order that needs words.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, AskError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Changes something.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, AskError> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn delete(&self, path: &str) -> Result<(), AskError> {
        self.ask(Method::DELETE, path, None::<&()>).await
    }

    /// Gives an order that needs no words.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn order<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.ask(Method::POST, path, None::<&()>).await
    }

    /// Waits for two minutes at most, and for ten seconds to hear the first of what only looks. Whether what was asked for happened is
    /// not known where the agent was lost.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, AskError> {
        let exchange = async {
            let answer = self.send(method, path, body, "application/json").await?;
            let status = answer.status();
            let body = self.whole(answer).await?;
            if !status.is_success() {
                return Err(self.refused(status, &body));
            }
            // An answer without a body is `null`: `()`.
            let text: &[u8] = if body.is_empty() { b"null" } else { &body };
            serde_json::from_slice(text).map_err(|error| self.misunderstood(&error))
        };
        self.within(PATIENCE, exchange).await
    }

    /// Watches what changes.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn events(&self) -> Result<Events, AskError> {
        self.watch(Method::GET, "/events").await
    }

    /// Gives an order, and watches how it is carried out. Dropping the events gives it up.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn follow(&self, path: &str) -> Result<Events, AskError> {
        self.watch(Method::POST, path).await
    }

    async fn watch(&self, method: Method, path: &str) -> Result<Events, AskError> {
        let answer = self.send(method, path, None::<&()>, "text/event-stream").await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Events { body: answer.into_body(), text: Vec::new() });
        }
        Err(self.refused(status, &self.whole(answer).await?))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        accept: &str,
    ) -> Result<hyper::Response<Incoming>, AskError> {
        // Trials and starts call servers, a stop waits for them, and unlocking is slow on purpose.
        let patience = if method == Method::GET { self.prompt } else { PATIENCE };
        let connecting = async { TcpStream::connect(self.addresses.listen).await.map_err(|error| self.lost(error)) };
        let stream = self.within(self.prompt, connecting).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.lost(error))?;
        // Ends with the answer; its errors come out of that.
        tokio::spawn(async move { connection.await.ok() });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.addresses.listen.to_string())
            .header(ACCEPT, accept)
            .header(AUTHORIZATION, self.token.bearer());
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                serde_json::to_vec(body).map_err(|error| self.lost(error))?.into()
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body)).map_err(|error| self.lost(error))?;
        let hearing = async { sender.send_request(request).await.map_err(|error| self.lost(error)) };
        self.within(patience, hearing).await
    }

    async fn within<T>(&self, time: Duration, work: impl Future<Output = Result<T, AskError>>) -> Result<T, AskError> {
        match timeout(time, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.lost(format!("nothing came within {} s", time.as_secs()))),
        }
    }

    async fn whole(&self, answer: hyper::Response<Incoming>) -> Result<Bytes, AskError> {
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        Ok(body.map_err(|error| self.lost(error))?.to_bytes())
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> AskError {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match serde_json::from_value(body.clone()) {
            Ok(failure) => AskError::Refused { status, failure, body },
            Err(_) => self.lost(format!("status {status}")),
        }
    }

    /// It did answer, in words that are not ours.
    fn misunderstood(&self, error: &serde_json::Error) -> AskError {
        match &*self.addresses.version {
            env!("CARGO_PKG_VERSION") => self.lost(format!("what it says makes no sense: {error}")),
            other => self.lost(format!(
                "what it says makes no sense here: it is adit {other}, and this is {}; start the agent anew",
                env!("CARGO_PKG_VERSION")
            )),
        }
    }

    fn lost(&self, reason: impl ToString) -> AskError {
        AskError::Lost { url: self.addresses.url.clone(), reason: reason.to_string() }
    }
}

/// Server-sent events of an agent (WHATWG HTML §9.2), in the plain form in which it sends them: one `event` and one `data` line each.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    /// What came and is not yet a whole event.
    text: Vec<u8>,
}

impl Events {
    /// The next event's name and what it brings; `None` when the agent ends or is lost. Dropped while it waits, it has lost nothing.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(event) = self.whole() {
                return Some(event);
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.text.extend_from_slice(&data);
            }
            if self.text.len() > LARGEST_ANSWER {
                return None;
            }
        }
    }

    /// Takes events out of what came. A comment, which keeps the connection alive, is none.
    fn whole(&mut self) -> Option<(String, Value)> {
        loop {
            let end = self.text.windows(2).position(|two| two == b"\n\n")?;
            let event: Vec<u8> = self.text.drain(..end + 2).collect();
            if let Some(event) = read_event(&String::from_utf8_lossy(&event)) {
                return Some(event);
            }
        }
    }
}

fn read_event(text: &str) -> Option<(String, Value)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
    let data = serde_json::from_str(field("data:")?).ok()?;
    Some((field("event:")?.to_owned(), data))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_event_has_a_name_and_data() {
        assert_eq!(read_event("event: hosts\ndata: []\n\n"), Some(("hosts".to_owned(), json!([]))));
        for none in [":\n\n", "\n\n", "event: hosts\n\n", "data: []\n\n", "event: hosts\ndata: nonsense\n\n"] {
            assert_eq!(read_event(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_folder_without_an_agent_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let told = Client::find(folder.path()).unwrap_err().to_string();
        assert!(told.contains("no agent runs on") && told.contains("`adit agent`"), "{told}");
        // What a killed one left behind.
        let data = data_folder::DataFolder::open(folder.path(), "tester").unwrap();
        data.write_addresses(&Addresses::of(&data, "127.0.0.1:9".parse().unwrap())).unwrap();
        drop(data);
        assert!(matches!(Client::find(folder.path()), Err(FindError::NotRunning { .. })));
    }

    /// A client of whoever answers at `listen`, in a folder as a running agent has it.
    fn find(folder: &tempfile::TempDir, listen: SocketAddr) -> Result<Client, FindError> {
        let data = data_folder::DataFolder::open(folder.path(), "tester").unwrap();
        data.write_addresses(&Addresses::of(&data, listen)).unwrap();
        crate::agent::token_of(&data).unwrap();
        Client::find(folder.path())
    }

    #[test]
    fn the_token_stays_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        for listen in ["192.0.2.1:7070", "[2001:db8::1]:7070", "0.0.0.0:7070"] {
            let told = find(&folder, listen.parse().unwrap()).unwrap_err().to_string();
            assert!(told.contains(listen) && told.contains("not on this machine"), "{told}");
        }
        for listen in ["127.0.0.1:7070", "[::1]:7070"] {
            find(&folder, listen.parse().unwrap()).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let told = Client::find(folder.path()).unwrap_err().to_string();
        assert!(told.contains("others may write"), "{told}");
    }

    async fn hear_head(stream: &mut TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    }

    #[tokio::test]
    async fn an_agent_that_hangs_is_told_soon_unless_it_may_take_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let found = find(&folder, hanging.local_addr().unwrap()).unwrap();
        let client = Arc::new(Client { prompt: Duration::from_millis(100), ..found });
        let asking = client.clone();
        let trial = tokio::spawn(async move { asking.order::<Value>("/tunnels/tun_a/test").await });
        let (mut trying, _) = hanging.accept().await.unwrap();
        hear_head(&mut trying).await;
        let told = client.get::<Value>("/tunnels").await.unwrap_err().to_string();
        assert!(told.contains("nothing came within"), "{told}");
        let told = client.events().await.unwrap_err().to_string();
        assert!(told.contains("nothing came within"), "{told}");
        // The trial was asked for before, and goes on.
        trying.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue").await.unwrap();
        assert_eq!(trial.await.unwrap().unwrap(), json!(true));
    }
}
