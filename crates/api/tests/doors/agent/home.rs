//! A person's agent with its door open, and a program that knows the token.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_agent::agent::{Agent, AgentSetup, AgentTask};
use adit_agent::dial::Nobody;
use adit_agent::records::Places;
use adit_agent::vault::Vault;
use adit_api::Serving;
use adit_api::agent::{KeptToken, token_of};
use adit_net::data_folder::{self, DataFolder};
use adit_store::agent::AgentStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::browser::{Answer, Browser, PATIENCE};
use crate::events::Stream;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(crate) struct Home {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    agent: Agent,
    task: AgentTask,
    serving: Serving,
}

impl Home {
    pub(crate) async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap()).await
    }

    async fn open(folder: TempDir) -> Self {
        let setup = AgentSetup {
            store: AgentStore::open(folder.path().join("agent.db")).await.unwrap(),
            vault: Vault::at(&folder.path().join("secrets")),
            person: Arc::new(Nobody),
            places: Places {
                known_hosts: folder.path().join("known_hosts"),
                other_known_hosts: vec![folder.path().join("known_elsewhere")],
                home: Some(folder.path().to_owned()),
            },
        };
        let (agent, task) = Agent::start(setup).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = adit_api::agent::serve(agent.clone(), listener, kept_token(folder.path())).unwrap();
        Self { address, folder, agent, task, serving }
    }

    /// The same files, another process.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, agent, task, serving, .. } = self;
        serving.stop().await;
        task.end().await;
        agent.store().close().await;
        Self::open(folder).await
    }

    /// Closes the door; the agent goes on.
    pub(crate) async fn close_door(self) -> (TempDir, AgentTask) {
        self.serving.stop().await;
        (self.folder, self.task)
    }

    pub(crate) fn agent(&self) -> Agent {
        self.agent.clone()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As a page of its own would ask, without a token.
    pub(crate) fn browser(&self) -> Browser {
        Browser::at(self.address)
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_with(TOKEN, method, path, body).await
    }

    /// The same with another token.
    pub(crate) async fn ask_with(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let authorization = format!("Bearer {token}");
        self.browser().send(method, path, body, &[("authorization", &authorization)]).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None).await
    }

    /// An order without a body.
    pub(crate) async fn order(&self, path: &str) -> Answer {
        self.ask("POST", path, None).await
    }

    /// Saves a record, and returns it.
    pub(crate) async fn add(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        answer.json()
    }

    /// The id of a new profile, whose login begins without any secret or key at hand.
    pub(crate) async fn profile(&self) -> Value {
        let profile = json!({"name": "core", "username": "alice", "auth_method": "keyboard_interactive"});
        self.add("/profiles", profile).await["id"].clone()
    }

    pub(crate) async fn events(&self) -> Stream {
        Stream::at(self.address, "/events", &format!("authorization: Bearer {TOKEN}\r\n")).await
    }

    /// An order that is watched.
    pub(crate) async fn follow(&self, path: &str) -> Stream {
        Stream::of(self.address, "POST", path, &format!("authorization: Bearer {TOKEN}\r\n")).await
    }

    /// Asks until what is asked for looks right.
    pub(crate) async fn becomes(&self, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        let waiting = async {
            loop {
                seen = self.get(path).await;
                if is_right(&seen) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let became = timeout(PATIENCE, waiting).await;
        became.unwrap_or_else(|_| panic!("{path} stays {seen}"));
        seen
    }
}

/// [`TOKEN`], as an agent finds it in its folder.
pub(crate) fn kept_token(folder: &Path) -> KeptToken {
    let file = folder.join("token");
    if !file.exists() {
        data_folder::replace(&file, TOKEN.as_bytes(), 0o600).unwrap();
    }
    token_of(&DataFolder::open(folder, "tester").unwrap()).unwrap().0
}

/// Status, code and sentence of an error, which has nothing else.
pub(crate) fn refused(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let text = |field: &str| body[field].as_str().unwrap_or_else(|| panic!("no {field}: {body}")).to_owned();
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    (answer.status, text("code"), text("error"))
}
