//! Tunnels at work: how they stand, start and stop, and what they carry.

use std::borrow::Cow;
use std::time::SystemTime;

use adit_agent::agent::{Board, JournalEntry, TunnelView as Shown};
use adit_agent::link::{ConnectionNumber, LiveConnection};
use adit_core::{BindFailure, Obstacle, RecordId, Setback};
use adit_store::UnixMillis;
use adit_store::agent::RecordKind;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::question::{At, Sought};
use super::refusal::{Denied, PORT_BUSY};

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(log))
        .routes(routes!(start_all))
        .routes(routes!(stop_all))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(reconnect))
        .routes(routes!(connections))
        .routes(routes!(close_connection))
}

/// How a tunnel stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunState {
    /// `disconnected`, `connecting`, `connected`, `reconnecting` or `failed`.
    pub status: Cow<'static, str>,
    /// For how long it has been connected; 0 while it is not.
    pub uptime_secs: u64,
    /// Bytes into SSH connections since the agent started.
    pub bytes_tx: u64,
    /// Bytes out of SSH connections since the agent started.
    pub bytes_rx: u64,
    /// What went wrong, as long as it matters.
    pub last_error: Option<String>,
    /// What kind of thing that was, where a program may want to know: `HOST_KEY` is not known or another one, the server does not let us in
    /// (`LOGIN`), `PORT_BUSY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_code: Option<Cow<'static, str>>,
    /// Which retry is waited for or under way; 0 where none is.
    pub retry_count: u32,
}

/// Of a tunnel that the agent has not yet looked at.
impl Default for RunState {
    fn default() -> Self {
        let status = adit_core::TunnelStatus::Disconnected.name();
        Self {
            status: status.into(),
            uptime_secs: 0,
            bytes_tx: 0,
            bytes_rx: 0,
            last_error: None,
            last_error_code: None,
            retry_count: 0,
        }
    }
}

impl From<&Shown> for RunState {
    fn from(shown: &Shown) -> Self {
        Self {
            status: shown.status.name().into(),
            uptime_secs: shown.uptime().as_secs(),
            bytes_tx: shown.traffic.bytes_tx(),
            bytes_rx: shown.traffic.bytes_rx(),
            last_error: shown.last_error(),
            last_error_code: shown.status.last_error().and_then(code).map(Cow::Borrowed),
            retry_count: shown.retry_count(),
        }
    }
}

fn code(setback: &Setback) -> Option<&'static str> {
    match setback {
        Setback::NotBound(BindFailure::PortHeld { .. }) | Setback::ForwardRefused(_) => Some(PORT_BUSY),
        Setback::GaveUp { last, .. } => code(last),
        other => match other.obstacle()? {
            Obstacle::HostKey => Some("HOST_KEY"),
            Obstacle::Credentials => Some("LOGIN"),
            Obstacle::Records => None,
        },
    }
}

/// How a tunnel stands, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TunnelState {
    /// Its id.
    pub id: String,
    /// How it stands.
    #[serde(flatten)]
    pub state: RunState,
}

impl TunnelState {
    /// Of all tunnels there are.
    pub(super) fn all(board: &Board) -> Vec<Self> {
        let state = |(id, shown): (&RecordId, &Shown)| Self { id: id.to_string(), state: shown.into() };
        board.tunnels.iter().map(state).collect()
    }

    /// Without the time that goes on by itself, which is no news.
    pub(super) fn timeless(&self) -> Self {
        Self { id: self.id.clone(), state: RunState { uptime_secs: 0, ..self.state.clone() } }
    }
}

fn all(door: &Door) -> Json<Vec<TunnelState>> {
    Json(TunnelState::all(&door.agent.board().borrow()))
}

/// After an order was carried out.
fn one(door: &Door, id: &str) -> Result<Json<TunnelState>, Denied> {
    let shown = door.agent.board().borrow().tunnels.get(&RecordId::from(id)).cloned();
    let shown = shown.ok_or_else(|| Denied::not_found(RecordKind::Tunnel, id))?;
    Ok(Json(TunnelState { id: id.to_owned(), state: (&shown).into() }))
}

/// How all tunnels stand, and nothing else of them.
#[utoipa::path(get, path = "/tunnels/status", tag = "tunnels", responses((status = 200, body = [TunnelState])))]
async fn status(State(door): State<Door>) -> Json<Vec<TunnelState>> {
    all(&door)
}

/// Starts the tunnels that start with the agent and do not run. Answers with how all stand.
#[utoipa::path(post, path = "/tunnels/start-all", tag = "tunnels", responses((status = 200, body = [TunnelState])))]
async fn start_all(State(door): State<Door>) -> Json<Vec<TunnelState>> {
    door.agent.start_all().await;
    all(&door)
}

/// Stops every tunnel and disconnects every session; their ports are free. Answers with how all stand.
#[utoipa::path(post, path = "/tunnels/stop-all", tag = "tunnels", responses((status = 200, body = [TunnelState])))]
async fn stop_all(State(door): State<Door>) -> Json<Vec<TunnelState>> {
    door.agent.stop_all().await;
    all(&door)
}

/// Starts a tunnel. Its port is bound then; its login goes on.
#[utoipa::path(
    post, path = "/tunnels/{id}/start", tag = "tunnels", params(("id" = String, Path)),
    responses((status = 200, body = TunnelState))
)]
async fn start(State(door): State<Door>, At(id): At<String>) -> Result<Json<TunnelState>, Denied> {
    door.agent.start_tunnel(&id).await?;
    one(&door, &id)
}

/// Stops a tunnel, whatever it waits for. Its port is free then.
#[utoipa::path(
    post, path = "/tunnels/{id}/stop", tag = "tunnels", params(("id" = String, Path)),
    responses((status = 200, body = TunnelState))
)]
async fn stop(State(door): State<Door>, At(id): At<String>) -> Result<Json<TunnelState>, Denied> {
    door.agent.stop(&id).await?;
    one(&door, &id)
}

/// Gives a tunnel a fresh connection at once, whether it runs or not.
#[utoipa::path(
    post, path = "/tunnels/{id}/reconnect", tag = "tunnels", params(("id" = String, Path)),
    responses((status = 200, body = TunnelState))
)]
async fn reconnect(State(door): State<Door>, At(id): At<String>) -> Result<Json<TunnelState>, Denied> {
    door.agent.reconnect(&id).await?;
    one(&door, &id)
}

// ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Something that happened to a tunnel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// Counts up from 1 since the agent started.
    pub number: u64,
    /// When.
    pub at: i64,
    /// Whose.
    pub tunnel_id: String,
    /// What people called the tunnel then.
    pub name: String,
    /// Its status from then on.
    pub status: Cow<'static, str>,
    /// What went wrong, if something did. A connection that did not reach its target does not change the status.
    pub error: Option<String>,
}

impl From<JournalEntry> for LogEntry {
    fn from(entry: JournalEntry) -> Self {
        Self {
            number: entry.number,
            at: millis(entry.at),
            tunnel_id: entry.tunnel.to_string(),
            name: entry.name.to_string(),
            status: entry.status.into(),
            error: entry.error.as_deref().map(str::to_owned),
        }
    }
}

/// What of the log is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LogFilter {
    /// Entries after this number; without it, all that are still known.
    #[serde(default)]
    #[param(default = 0)]
    after: u64,
}

/// What has happened to all tunnels lately, the oldest first.
#[utoipa::path(
    get, path = "/tunnels/log", tag = "tunnels", params(LogFilter), responses((status = 200, body = [LogEntry]))
)]
async fn log(State(door): State<Door>, Sought(LogFilter { after }): Sought<LogFilter>) -> Json<Vec<LogEntry>> {
    Json(door.agent.journal(after).into_iter().map(LogEntry::from).collect())
}

// ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────

/// A connection that a tunnel carries now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// Names it, to close it by.
    pub number: u64,
    /// Where it goes: `host:port`.
    pub target: String,
    /// Who opened it, where that is known.
    pub from: Option<String>,
    /// When it came.
    pub since: i64,
    /// Whether its target has answered.
    pub is_open: bool,
    /// Bytes into the SSH connection.
    pub bytes_tx: u64,
    /// Bytes out of the SSH connection.
    pub bytes_rx: u64,
}

impl From<LiveConnection> for ConnectionView {
    fn from(live: LiveConnection) -> Self {
        Self {
            number: live.number.0,
            target: live.target.to_string(),
            from: live.from.map(|from| from.to_string()),
            since: millis(live.since),
            is_open: live.is_open,
            bytes_tx: live.bytes_tx,
            bytes_rx: live.bytes_rx,
        }
    }
}

fn millis(time: SystemTime) -> i64 {
    UnixMillis::from(time).0
}

fn live(door: &Door, id: &str) -> Result<Vec<LiveConnection>, Denied> {
    door.agent.connections(id).ok_or_else(|| Denied::not_found(RecordKind::Tunnel, id))
}

/// What a tunnel carries now, the oldest first.
#[utoipa::path(
    get, path = "/tunnels/{id}/connections", tag = "tunnels", params(("id" = String, Path)),
    responses((status = 200, body = [ConnectionView]))
)]
async fn connections(State(door): State<Door>, At(id): At<String>) -> Result<Json<Vec<ConnectionView>>, Denied> {
    Ok(Json(live(&door, &id)?.into_iter().map(ConnectionView::from).collect()))
}

/// Cuts one connection of a tunnel. One that has ended by itself is fine too.
#[utoipa::path(
    delete, path = "/tunnels/{id}/connections/{number}", tag = "tunnels",
    params(("id" = String, Path), ("number" = u64, Path)), responses((status = 204))
)]
async fn close_connection(State(door): State<Door>, At((id, number)): At<(String, u64)>) -> Result<StatusCode, Denied> {
    live(&door, &id)?;
    door.agent.close_connection(&id, ConnectionNumber(number));
    Ok(StatusCode::NO_CONTENT)
}
