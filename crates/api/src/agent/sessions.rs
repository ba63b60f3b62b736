//! Sessions: hosts with forwards that come and go with the connection.

use std::borrow::Cow;
use std::time::Instant;

use adit_agent::agent::SessionStatus;
use adit_core::RecordId;
use adit_store::agent::{BothJumps, Forward, JumpRef, Saved, Session, SessionChange, SessionForward};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::forward::{ForwardView, JumpView, loopback};
use super::names::ForwardKind;
use super::question::{Asked, At, given, ssh_port, yes};
use super::refusal::Denied;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, change, remove))
        .routes(routes!(connect))
        .routes(routes!(disconnect))
}

/// A session to be saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSession {
    name: String,
    host: String,
    #[serde(default = "ssh_port")]
    #[schema(default = ssh_port)]
    port: u16,
    /// Who logs in there.
    profile_id: String,
    /// The jump host on the way. At most one of the two is set; if none is, the profile's jump counts.
    #[serde(default)]
    jump_host_id: Option<String>,
    /// The session whose host is on the way.
    #[serde(default)]
    jump_session_id: Option<String>,
    /// What is forwarded while it is connected.
    #[serde(default)]
    forwards: Vec<NewForward>,
    #[serde(default = "yes")]
    #[schema(default = yes)]
    enabled: bool,
}

/// A forward of a session.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewForward {
    forward_type: ForwardKind,
    local_port: u16,
    /// A loopback address, in numbers.
    #[serde(default = "loopback")]
    #[schema(default = loopback)]
    bind_address: String,
    #[serde(default)]
    remote_host: Option<String>,
    #[serde(default)]
    remote_port: Option<u16>,
    /// Starts with the session.
    #[serde(default = "yes")]
    #[schema(default = yes)]
    enabled: bool,
}

impl From<NewForward> for SessionForward {
    fn from(new: NewForward) -> Self {
        let NewForward { forward_type, local_port, bind_address, remote_host, remote_port, enabled } = new;
        let forward = Forward { forward_type: forward_type.into(), local_port, bind_address, remote_host, remote_port };
        Self { forward, enabled }
    }
}

impl TryFrom<NewSession> for Session {
    type Error = BothJumps;

    fn try_from(new: NewSession) -> Result<Self, BothJumps> {
        Ok(Self {
            name: new.name,
            host: new.host,
            port: new.port,
            profile_id: new.profile_id,
            jump: JumpRef::from_ids(new.jump_host_id, new.jump_session_id)?,
            forwards: new.forwards.into_iter().map(Into::into).collect(),
            enabled: new.enabled,
        })
    }
}

/// What becomes of a session; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionPatch {
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    host: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    port: Option<u16>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    profile_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    jump_host_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    jump_session_id: Option<Option<String>>,
    /// All of them.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    forwards: Option<Vec<NewForward>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

impl From<SessionPatch> for SessionChange {
    fn from(patch: SessionPatch) -> Self {
        let forwards = patch.forwards.map(|forwards| forwards.into_iter().map(Into::into).collect());
        Self {
            name: patch.name,
            host: patch.host,
            port: patch.port,
            profile_id: patch.profile_id,
            jump_host_id: patch.jump_host_id,
            jump_session_id: patch.jump_session_id,
            forwards,
            enabled: patch.enabled,
        }
    }
}

/// A session as it is saved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionRecord {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The server: a name or an address.
    pub host: String,
    /// The server's SSH port.
    pub port: u16,
    /// Who logs in there.
    pub profile_id: String,
    /// What is on the way.
    #[serde(flatten)]
    pub jump: JumpView,
    /// What is forwarded while it is connected.
    pub forwards: Vec<SessionForwardView>,
    /// It may be used.
    pub enabled: bool,
    /// When it was saved.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// A forward of a session as it is saved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionForwardView {
    /// What it forwards.
    #[serde(flatten)]
    pub forward: ForwardView,
    /// It may be used.
    pub enabled: bool,
}

impl From<Saved<Session>> for SessionRecord {
    fn from(saved: Saved<Session>) -> Self {
        let Saved { id, created_at, updated_at, record } = saved;
        let forward =
            |SessionForward { forward, enabled }| SessionForwardView { forward: ForwardView::from(forward), enabled };
        Self {
            id,
            name: record.name,
            host: record.host,
            port: record.port,
            profile_id: record.profile_id,
            jump: record.jump.into(),
            forwards: record.forwards.into_iter().map(forward).collect(),
            enabled: record.enabled,
            created_at: created_at.0,
            updated_at: updated_at.0,
        }
    }
}

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionState {
    /// `disconnected`, `connecting`, `connected` or `failed`.
    pub status: Cow<'static, str>,
    /// For how long it has been connected; 0 while it is not.
    pub uptime_secs: u64,
    /// What went wrong.
    pub last_error: Option<String>,
}

/// `None` is a session that nobody has connected.
impl From<Option<&SessionStatus>> for SessionState {
    fn from(status: Option<&SessionStatus>) -> Self {
        let uptime_secs = match status {
            Some(SessionStatus::Connected { since }) => Instant::now().saturating_duration_since(*since).as_secs(),
            _ => 0,
        };
        let last_error = match status {
            Some(SessionStatus::Failed { last_error }) => Some(last_error.to_string()),
            _ => None,
        };
        Self { status: status.map_or("disconnected", SessionStatus::name).into(), uptime_secs, last_error }
    }
}

impl SessionState {
    /// Without the time that goes on by itself, which is no news.
    pub(super) fn timeless(&self) -> Self {
        Self { uptime_secs: 0, ..self.clone() }
    }
}

/// A session, and how it stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionRow {
    /// What is saved.
    #[serde(flatten)]
    pub record: SessionRecord,
    /// How it stands.
    #[serde(flatten)]
    pub state: SessionState,
}

fn row(door: &Door, saved: Saved<Session>) -> SessionRow {
    let id = RecordId::from(&*saved.id);
    let state = SessionState::from(door.agent.board().borrow().sessions.get(&id));
    SessionRow { record: saved.into(), state }
}

async fn find(door: &Door, id: &str) -> Result<Json<SessionRow>, Denied> {
    Ok(Json(row(door, door.saved(id).await?)))
}

/// All sessions with how they stand, by name.
#[utoipa::path(get, path = "/sessions", tag = "sessions", responses((status = 200, body = [SessionRow])))]
async fn list(State(door): State<Door>) -> Result<Json<Vec<SessionRow>>, Denied> {
    let all = door.agent.store().list::<Session>().await?;
    Ok(Json(all.into_iter().map(|saved| row(&door, saved)).collect()))
}

/// One session.
#[utoipa::path(
    get, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionRow))
)]
async fn show(State(door): State<Door>, At(id): At<String>) -> Result<Json<SessionRow>, Denied> {
    find(&door, &id).await
}

/// Saves a session. It is not connected.
#[utoipa::path(
    post, path = "/sessions", tag = "sessions", request_body = NewSession,
    responses((status = 201, body = SessionRecord))
)]
async fn create(
    State(door): State<Door>,
    Asked(new): Asked<NewSession>,
) -> Result<(StatusCode, Json<SessionRecord>), Denied> {
    let saved = door.agent.add(Session::try_from(new)?).await?;
    Ok((StatusCode::CREATED, Json(saved.into())))
}

/// Changes a session.
#[utoipa::path(
    put, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)), request_body = SessionPatch,
    responses((status = 200, body = SessionRecord))
)]
async fn change(
    State(door): State<Door>,
    At(id): At<String>,
    Asked(patch): Asked<SessionPatch>,
) -> Result<Json<SessionRecord>, Denied> {
    Ok(Json(door.agent.change::<Session>(&id, patch.into()).await?.into()))
}

/// Removes a session that nothing refers to; one that is connected is disconnected.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204), (status = 409, body = super::refusal::InUse))
)]
async fn remove(State(door): State<Door>, At(id): At<String>) -> Result<StatusCode, Denied> {
    door.agent.remove::<Session>(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Connects a session and starts its enabled forwards; its login goes on.
#[utoipa::path(
    post, path = "/sessions/{id}/connect", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionRow))
)]
async fn connect(State(door): State<Door>, At(id): At<String>) -> Result<Json<SessionRow>, Denied> {
    door.agent.connect(&id).await?;
    find(&door, &id).await
}

/// Disconnects a session and stops its forwards; their ports are free then.
#[utoipa::path(
    post, path = "/sessions/{id}/disconnect", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionRow))
)]
async fn disconnect(State(door): State<Door>, At(id): At<String>) -> Result<Json<SessionRow>, Denied> {
    door.agent.disconnect(&id).await?;
    find(&door, &id).await
}
