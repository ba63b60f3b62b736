//! A jump host with its doors open, and people on it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use adit_jumphost::admin::{Admin, InvitationAdd};
use adit_jumphost::{DataDir, JumpHost, RawConfig};
use adit_store::Store;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::browser::Browser;

/// Good enough for everybody here.
pub(crate) const PASSWORD: &str = "purple anvil tuesday";

pub(crate) struct Host {
    pub(crate) web: SocketAddr,
    pub(crate) admin: Admin,
    /// Cancelled, it takes no new work, as at the beginning of a stop.
    pub(crate) stopping: CancellationToken,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    pub(crate) async fn with(settings: Value) -> Self {
        let mut typed = json!({"ssh": "127.0.0.1:0", "web": "127.0.0.1:0"});
        typed.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let folder = tempfile::tempdir().unwrap();
        let typed: RawConfig = serde_json::from_value(typed).unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let (mut host, doors) = JumpHost::build(typed.check().unwrap(), data).await.unwrap();
        let (web, admin, stopping) = (host.addresses().web, host.admin(), host.stopping());
        let serving = adit_api::serve(&host, doors);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            host.run_until(async { drop(stopped.await) }).await;
            host.drain(Duration::ZERO).await;
            serving.stop().await;
        });
        Self { web, admin, stopping, folder, stop, running }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::at(self.web)
    }

    /// A browser in which this member has just made their account with a link.
    pub(crate) async fn member(&self, name: &str) -> Browser {
        self.guest(name, false).await
    }

    pub(crate) async fn administrator(&self, name: &str) -> Browser {
        self.guest(name, true).await
    }

    async fn guest(&self, name: &str, admin: bool) -> Browser {
        let invitation = InvitationAdd { account: Some(name.to_owned()), admin, ..InvitationAdd::default() };
        let made = self.admin.call(invitation).await.unwrap();
        let mut browser = self.browser();
        let accept = json!({"token": made.token.as_str(), "account": name, "password": PASSWORD});
        let answer = browser.post("/api/v1/invitation/accept", accept).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        browser.keep(&answer);
        browser
    }

    /// The store, as another process on the same folder opens it.
    pub(crate) async fn second_store(&self) -> Store {
        Store::open(self.folder.path().join("store.sqlite")).await.unwrap()
    }

    /// Moves the last use of every session into the past.
    pub(crate) async fn age_sessions(&self, by: Duration) {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("store.sqlite"));
        let mut store = options.connect().await.unwrap();
        let aged = sqlx::query("UPDATE web_sessions SET seen_at = seen_at - $1").bind(by.as_millis() as i64);
        assert!(aged.execute(&mut store).await.unwrap().rows_affected() > 0);
    }

    /// Adds events of so many bytes each to the audit log.
    pub(crate) async fn lengthen_audit_log(&self, events: u32, bytes: usize) {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("store.sqlite"));
        let mut store = options.connect().await.unwrap();
        let added = sqlx::query(
            "INSERT INTO audit_events (at, kind, detail) WITH RECURSIVE count (n) AS
                 (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < $1)
             SELECT n, 'test', '\"' || hex(zeroblob($2)) || '\"' FROM count",
        );
        added.bind(events).bind(bytes as i64 / 2).execute(&mut store).await.unwrap();
    }

    /// Stops it, and looks for a text in all its files.
    pub(crate) async fn stop_and_search(self, text: &str) -> Vec<String> {
        self.stop.send(()).unwrap();
        self.running.await.unwrap();
        let mut found = Vec::new();
        search(self.folder.path(), text.as_bytes(), &mut found);
        found
    }
}

fn search(folder: &Path, text: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, text, found);
        } else if path.is_file() && std::fs::read(&path).unwrap().windows(text.len()).any(|part| part == text) {
            found.push(path.display().to_string());
        }
    }
}
