//! The control socket: each operation of `adit_jumphost::admin` is `POST /v1/NAME`, its question and answer are JSON.
//! Whoever can open the socket is the administrator: it lies in the data folder with mode 0600, and nothing else is asked.
//! [`serve`] is the server's side, [`Client`] the command line's.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_jumphost::admin::{
    AccountAdd, AccountChange, AccountList, AccountRemove, Admin, AuditList, FaultKind, InvitationAdd, KeyAdd,
    KeyClaim, KeyClaimStatement, KeyList, KeyRemove, Kick, Operation, PasswordLink, PortList, SessionList, TierList,
    TierRemove, TierSet,
};
use adit_jumphost::data_dir::control_socket;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, kind_of, status_of};

/// A question is at most a public key with its label, a statement and a signature.
const LARGEST_QUESTION: usize = 64 * 1024;

/// An operation is some rows of a local database; a server that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the control socket until `stop`; requests under way are answered.
pub async fn serve(listener: UnixListener, admin: Admin, stop: CancellationToken) {
    if let Err(error) = axum::serve(listener, router(admin)).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "the control socket ended");
    }
}

fn router(admin: Admin) -> Router {
    let mut router = Router::new();
    router = operation::<AccountAdd>(router);
    router = operation::<AccountList>(router);
    router = operation::<AccountChange>(router);
    router = operation::<AccountRemove>(router);
    router = operation::<InvitationAdd>(router);
    router = operation::<PasswordLink>(router);
    router = operation::<TierList>(router);
    router = operation::<TierSet>(router);
    router = operation::<TierRemove>(router);
    router = operation::<KeyAdd>(router);
    router = operation::<KeyClaimStatement>(router);
    router = operation::<KeyClaim>(router);
    router = operation::<KeyList>(router);
    router = operation::<KeyRemove>(router);
    router = operation::<SessionList>(router);
    router = operation::<PortList>(router);
    router = operation::<Kick>(router);
    router = operation::<AuditList>(router);
    router
        .fallback(|| async {
            Failure::new("this server has no such command; is it another version of adit?", "no-such-command")
                .respond(StatusCode::NOT_FOUND)
        })
        .layer(DefaultBodyLimit::max(LARGEST_QUESTION))
        .with_state(admin)
}

fn path<O: Operation>() -> String {
    format!("/v1/{}", O::NAME)
}

fn operation<O: Operation>(router: Router<Admin>) -> Router<Admin> {
    router.route(&path::<O>(), post(answer::<O>))
}

async fn answer<O: Operation>(State(admin): State<Admin>, question: Bytes) -> Response {
    let question: O = match serde_json::from_slice(&question) {
        Ok(question) => question,
        // Of the question nothing is repeated: it may hold a key that should not be here.
        Err(error) => {
            let told = format!("the question has another shape (line {}, column {})", error.line(), error.column());
            return Failure::new(told, "bad-request").respond(StatusCode::BAD_REQUEST);
        }
    };
    match admin.call(question).await {
        Ok(answer) => Json(answer).into_response(),
        Err(fault) => {
            use adit_jumphost::admin::Fault;
            Failure::from_fault(&fault).respond(status_of(fault.kind()))
        }
    }
}

/// A connection to the control socket of a running jump host.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    sender: http1::SendRequest<Full<Bytes>>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody listens: no jump host runs on this folder, or it is about to.
    #[error("no jump host runs here")]
    NotRunning,
    /// Somebody may listen, but we cannot get there.
    #[error("cannot open the control socket {socket}; run this as the user that runs the jump host")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The operation failed, as its own error says.
    #[error("{failure}")]
    Fault {
        /// Whose turn it is.
        kind: FaultKind,
        /// What it said.
        failure: Failure,
    },
    /// The server went away, or is no server of ours.
    #[error("the jump host behind {socket} did not answer: {reason}; it may be stopping, try again")]
    Lost {
        /// The socket.
        socket: PathBuf,
        /// How it was noticed.
        reason: String,
    },
}

impl Client {
    /// Connects to the jump host that runs on a data folder.
    ///
    /// # Errors
    /// [`ConnectError::NotRunning`] where there is none.
    pub async fn connect(folder: &Path) -> Result<Self, ConnectError> {
        let socket = control_socket(folder);
        let stream = UnixStream::connect(&socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::NotRunning,
            _ => ConnectError::Unreachable { socket: socket.clone(), source },
        })?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| ConnectError::NotRunning)?;
        // Ends when the sender is dropped; its errors come out of the calls.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { socket, sender })
    }

    /// Runs one operation in the server.
    ///
    /// # Errors
    /// The operation's own, or that the server did not answer.
    pub async fn call<O: Operation>(&mut self, question: O) -> Result<O::Answer, CallError> {
        match timeout(PATIENCE, self.exchange::<O>(question)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.lost(format!("nothing came within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn exchange<O: Operation>(&mut self, question: O) -> Result<O::Answer, CallError> {
        let question = serde_json::to_vec(&question).map_err(|error| self.lost(error.to_string()))?;
        let request = Request::post(path::<O>())
            .header("host", "adit")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(question)))
            .map_err(|error| self.lost(error.to_string()))?;
        let response = self.sender.send_request(request).await.map_err(|error| self.lost(error.to_string()))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.lost(error.to_string()))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.lost(error.to_string()));
        }
        match serde_json::from_slice(&body) {
            Ok(failure) => Err(CallError::Fault { kind: kind_of(status), failure }),
            Err(_) => Err(self.lost(format!("status {status}"))),
        }
    }

    fn lost(&self, reason: String) -> CallError {
        CallError::Lost { socket: self.socket.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_jumphost::{DataDir, JumpHost, RawConfig};

    struct Host {
        folder: tempfile::TempDir,
        serving: crate::Serving,
        _host: JumpHost,
    }

    async fn host() -> Host {
        let folder = tempfile::tempdir().unwrap();
        let typed: RawConfig = serde_json::from_str(r#"{"ssh": "127.0.0.1:0", "web": "127.0.0.1:0"}"#).unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let (host, doors) = JumpHost::build(typed.check().unwrap(), data).await.unwrap();
        Host { folder, serving: crate::serve(&host, doors), _host: host }
    }

    fn account(name: &str) -> AccountAdd {
        AccountAdd { name: name.to_owned(), tier: None, admin: false }
    }

    #[tokio::test]
    async fn a_question_gets_its_answer() {
        let host = host().await;
        let mut client = Client::connect(host.folder.path()).await.unwrap();
        assert_eq!(client.call(account("alice")).await.unwrap().name, "alice");
        let listed = client.call(AccountList {}).await.unwrap();
        assert_eq!(listed.iter().map(|account| account.name.as_str()).collect::<Vec<_>>(), ["alice"]);
        assert!(client.call(SessionList {}).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_fault_keeps_its_kind_and_code() {
        let host = host().await;
        let mut client = Client::connect(host.folder.path()).await.unwrap();
        client.call(account("alice")).await.unwrap();
        for (question, kind, code) in [
            (account("alice"), FaultKind::Conflict, "account-exists"),
            (account("-"), FaultKind::BadInput, "bad-account-name"),
        ] {
            let Err(CallError::Fault { kind: got, failure }) = client.call(question).await else { panic!("no fault") };
            assert_eq!((got, failure.code.as_str()), (kind, code));
        }
        let Err(CallError::Fault { kind, .. }) = client.call(Kick { session: 7 }).await else { panic!("no fault") };
        assert_eq!(kind, FaultKind::NotFound);
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let host = host().await;
        let socket = std::fs::metadata(control_socket(host.folder.path())).unwrap();
        assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn nobody_listens_where_no_jump_host_runs() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Client::connect(folder.path()).await, Err(ConnectError::NotRunning)));
        let host = host().await;
        host.serving.stop().await;
        assert!(matches!(Client::connect(host.folder.path()).await, Err(ConnectError::NotRunning)));
    }
}
