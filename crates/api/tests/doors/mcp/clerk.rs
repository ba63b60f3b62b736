//! Somebody who carries nothing out: takes down what is asked, and answers what the story wants.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use adit_api::Failure;
use adit_api::mcp::{AgentOrder, Desk, KeyFolders, NO_SUCH_TUNNEL, Rules, Services, SetUp};
use adit_core::Port;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::browser::PATIENCE;

/// The one port that has a tunnel.
pub(crate) const THERE: u16 = 2222;

/// Clones are the same person.
#[derive(Clone)]
pub(crate) struct Clerk(Arc<Notes>);

struct Notes {
    taken: Mutex<Vec<String>>,
    /// A set-up takes until it has one of these.
    set_ups: Semaphore,
}

/// A desk with a folder of keys.
pub(crate) struct Office {
    pub(crate) clerk: Clerk,
    pub(crate) desk: Desk<Clerk>,
    folder: TempDir,
}

impl Office {
    pub(crate) fn new() -> Self {
        Self::with_usual_key(None)
    }

    pub(crate) fn with_usual_key(usual_key: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        fs::write(folder.path().join("keys/id"), "a private key").unwrap();
        fs::write(folder.path().join("outside"), "another private key").unwrap();
        let clerk = Clerk(Arc::new(Notes { taken: Mutex::default(), set_ups: Semaphore::new(1_000) }));
        let keys = KeyFolders::new(vec![folder.path().join("keys")], None);
        let desk = Desk::new(clerk.clone(), Rules { keys, usual_key });
        Self { clerk, desk, folder }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        fs::canonicalize(self.folder.path()).unwrap().join(name).to_str().unwrap().to_owned()
    }
}

impl Clerk {
    /// What was asked and begun, and what was done.
    pub(crate) fn taken(&self) -> Vec<String> {
        self.0.taken.lock().unwrap().clone()
    }

    fn note(&self, line: String) {
        self.0.taken.lock().unwrap().push(line);
    }

    /// Set-ups that begin from now on take until they are let.
    pub(crate) fn hold_set_ups(&self) {
        self.0.set_ups.forget_permits(1_000);
    }

    pub(crate) fn let_set_ups(&self, count: usize) {
        self.0.set_ups.add_permits(count);
    }

    /// Waits until so many lines are taken down.
    pub(crate) async fn becomes(&self, lines: usize) {
        let waiting = async {
            while self.taken().len() < lines {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it stays {:?}", self.taken()));
    }
}

fn tunnel(port: Port) -> Value {
    json!({"port": port.get(), "scope": "user", "bastion": "me@b:22", "target": "localhost:22", "state": "connected"})
}

fn absent(port: Port) -> Failure {
    Failure { error: format!("there is no tunnel at port {port}"), code: NO_SUCH_TUNNEL.to_owned(), retry_after: None }
}

impl Services for Clerk {
    async fn set_up(&self, asked: SetUp) -> Result<Value, Failure> {
        let SetUp { port, bastion_server, secret_key_path } = asked;
        self.note(format!("set up {port} {bastion_server:?} {secret_key_path:?}"));
        self.0.set_ups.acquire().await.unwrap().forget();
        assert_ne!(port.get(), 666, "a story wants a panic here");
        self.note(format!("{port} is set up"));
        Ok(json!({"tunnel": tunnel(port), "checks": [], "reach": "ssh -p 2222 b"}))
    }

    async fn status(&self, port: Option<Port>) -> Result<Value, Failure> {
        self.note(format!("status {port:?}"));
        match port {
            Some(port) if port.get() != THERE => Err(absent(port)),
            _ => Ok(json!({"tunnels": [tunnel(Port::new(THERE).unwrap())]})),
        }
    }

    async fn remove(&self, port: Port) -> Result<Value, Failure> {
        self.note(format!("remove {port}"));
        match port.get() {
            THERE => Ok(json!({"removed": {"port": THERE, "scope": "user", "unit": "adit-tunnel-2222.service"}})),
            _ => Err(absent(port)),
        }
    }

    async fn agent_tunnels(&self) -> Result<Value, Failure> {
        self.note("agent's tunnels".to_owned());
        Ok(json!([{"id": "tun_1", "name": "web", "status": "connected"}]))
    }

    async fn agent_order(&self, order: AgentOrder, tunnel: String) -> Result<Value, Failure> {
        self.note(format!("{order:?} {tunnel}"));
        match &*tunnel {
            "web" => Ok(json!({"id": "tun_1", "name": "web", "status": "connected"})),
            _ => Err(Failure { error: "no agent runs".to_owned(), code: "no-agent".to_owned(), retry_after: None }),
        }
    }
}
