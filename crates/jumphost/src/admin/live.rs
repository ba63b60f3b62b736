//! What is live: sessions, ports, and the administrator's way to end one.

use std::convert::Infallible;
use std::time::SystemTime;

use adit_core::{Printable, SessionId};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{Admin, Fault, FaultKind, Operation, escaped, unix_millis};
use crate::audit::{Fact, Subject};
use crate::registry::{CutReason, LiveForward, LiveSession};
use crate::search::{LARGEST_PAGE, SearchText, USUAL_PAGE};

/// Lists the live sessions, the oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionList {}

/// Looks through the live sessions, the oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSearch {
    /// Only with this in the account's name, the client's address, the key's fingerprint or label, or as one of the ports.
    pub q: Option<SearchText>,
    /// Without the first so many.
    pub offset: usize,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A page of the live sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionPage {
    /// How many were found, on all pages.
    pub total: usize,
    /// Open forwards, of all sessions.
    pub forwards: i64,
    /// Connected visitors, of all sessions.
    pub visitors: u64,
    /// The moment.
    pub at: i64,
    /// The sessions of this page.
    pub items: Vec<SessionView>,
}

/// Lists the open ports by number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PortList {}

/// Cuts one session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kick {
    /// Its number.
    pub session: u64,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// Its number, unique in this run of the server.
    pub id: u64,
    /// Who.
    pub account: String,
    /// The key it logged in with.
    pub fingerprint: String,
    /// What the owner calls that key.
    pub label: String,
    /// Where the client connects from.
    pub client: String,
    /// The client's version line.
    pub client_version: String,
    /// When it logged in.
    pub since: i64,
    /// Its open ports.
    pub ports: Vec<u16>,
    /// Connected now.
    pub visitors: u64,
    /// Connected since the beginning.
    pub visitors_total: u64,
    /// From visitors to its services.
    pub bytes_in: u64,
    /// From its services to visitors.
    pub bytes_out: u64,
}

/// An open port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortView {
    /// The port.
    pub port: u16,
    /// The address where visitors connect.
    pub listen: String,
    /// The address that the client asked for.
    pub asked: String,
    /// Who holds it.
    pub account: String,
    /// The session that holds it.
    pub session: u64,
    /// When it was opened.
    pub since: i64,
    /// Connected now.
    pub visitors: u64,
    /// Connected since it was opened.
    pub visitors_total: u64,
    /// From visitors to the service.
    pub bytes_in: u64,
    /// From the service to visitors.
    pub bytes_out: u64,
}

/// A session that was told to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Kicked {
    /// Its number.
    pub session: u64,
}

/// Why a session was not kicked.
#[derive(Debug, Error)]
pub enum KickError {
    /// No such session is live.
    #[error("session {session} is not live; `adit jumphost sessions` shows those that are")]
    NoSuchSession {
        /// The number asked for.
        session: u64,
    },
}

impl Fault for KickError {
    fn kind(&self) -> FaultKind {
        FaultKind::NotFound
    }

    fn code(&self) -> &'static str {
        "no-such-session"
    }
}

/// Looking at what is in memory cannot fail.
impl Fault for Infallible {
    fn kind(&self) -> FaultKind {
        match *self {}
    }

    fn code(&self) -> &'static str {
        match *self {}
    }
}

impl Operation for SessionList {
    const NAME: &'static str = "session-list";
    type Answer = Vec<SessionView>;
    type Error = Infallible;

    async fn run(self, admin: &Admin) -> Result<Vec<SessionView>, Infallible> {
        let sessions = admin.server().map(|shared| shared.registry.list()).unwrap_or_default();
        Ok(sessions.iter().map(|session| session_view(session)).collect())
    }
}

impl Operation for SessionSearch {
    const NAME: &'static str = "session-search";
    type Answer = SessionPage;
    type Error = Infallible;

    async fn run(self, admin: &Admin) -> Result<SessionPage, Infallible> {
        let mut found = admin.server().map(|shared| shared.registry.list()).unwrap_or_default();
        if let Some(text) = self.q.as_ref().map(SearchText::as_str).filter(|text| !text.is_empty()) {
            found.retain(|session| is_found(session, text));
        }
        let limit = self.limit.unwrap_or(USUAL_PAGE).min(LARGEST_PAGE);
        // Only what is shown is looked at whole: a page costs the same with ten sessions and ten thousand.
        let items = found.iter().skip(self.offset).take(limit as usize).map(|session| session_view(session)).collect();
        Ok(SessionPage {
            total: found.len(),
            forwards: admin.server().map_or(0, |shared| shared.metrics.forwards.get()),
            visitors: admin.server().map_or(0, |shared| shared.registry.visitors_now()),
            at: unix_millis(SystemTime::now()),
            items,
        })
    }
}

fn is_found(session: &LiveSession, text: &str) -> bool {
    let login = session.login();
    login.identity.account.as_str().contains(text)
        || login.identity.label.contains(text)
        || login.client.to_string().contains(text)
        || login.identity.fingerprint.to_string().contains(text)
        || text.parse().is_ok_and(|port: u16| session.forwards().iter().any(|forward| forward.port().get() == port))
}

impl Operation for PortList {
    const NAME: &'static str = "port-list";
    type Answer = Vec<PortView>;
    type Error = Infallible;

    async fn run(self, admin: &Admin) -> Result<Vec<PortView>, Infallible> {
        let sessions = admin.server().map(|shared| shared.registry.list()).unwrap_or_default();
        let mut ports: Vec<_> = sessions
            .iter()
            .flat_map(|session| session.forwards().into_iter().map(|forward| port_view(session, &forward)))
            .collect();
        ports.sort_by_key(|port| port.port);
        Ok(ports)
    }
}

impl Operation for Kick {
    const NAME: &'static str = "kick";
    type Answer = Kicked;
    type Error = KickError;

    async fn run(self, admin: &Admin) -> Result<Kicked, KickError> {
        let id = SessionId(self.session);
        let live = admin.server().and_then(|shared| {
            let session = shared.registry.list().into_iter().find(|session| session.id() == id)?;
            shared.registry.cut_session(id, CutReason::Kicked).then_some(session)
        });
        let session = live.ok_or(KickError::NoSuchSession { session: self.session })?;
        admin.record(Subject::session(&session), &Fact::SessionCut { reason: CutReason::Kicked }).await;
        Ok(Kicked { session: self.session })
    }
}

fn session_view(session: &LiveSession) -> SessionView {
    let (login, traffic) = (session.login(), session.traffic());
    SessionView {
        id: session.id().0,
        account: login.identity.account.to_string(),
        fingerprint: login.identity.fingerprint.to_string(),
        label: escaped(&login.identity.label),
        client: login.client.to_string(),
        client_version: escaped(&login.client_version),
        since: unix_millis(login.since),
        ports: session.forwards().iter().map(|forward| forward.port().get()).collect(),
        visitors: traffic.visitors_now(),
        visitors_total: traffic.visitors_total(),
        bytes_in: traffic.bytes_in(),
        bytes_out: traffic.bytes_out(),
    }
}

fn port_view(session: &LiveSession, forward: &LiveForward) -> PortView {
    let traffic = forward.traffic();
    PortView {
        port: forward.port().get(),
        listen: forward.listen().to_string(),
        asked: Printable(forward.asked()).to_string(),
        account: session.login().identity.account.to_string(),
        session: session.id().0,
        since: unix_millis(forward.since()),
        visitors: traffic.visitors_now(),
        visitors_total: traffic.visitors_total(),
        bytes_in: traffic.bytes_in(),
        bytes_out: traffic.bytes_out(),
    }
}
