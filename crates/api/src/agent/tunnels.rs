//! Saved tunnels, and beside them in the list those that come and go with a session.

use adit_agent::agent::TunnelView as Shown;
use adit_core::{Port, RecordId, TunnelStatus};
use adit_store::agent::{BothJumps, Forward, JumpRef, RecordKind, Saved, Session, Tunnel, TunnelChange};
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
use super::running::RunState;

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, change, remove))
}

/// A tunnel to be saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTunnel {
    name: String,
    /// The SSH server to forward through.
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
    forward_type: ForwardKind,
    /// Where it listens on this machine; of a remote forward, what it leads to.
    local_port: u16,
    /// A loopback address, in numbers.
    #[serde(default = "loopback")]
    #[schema(default = loopback)]
    bind_address: String,
    /// Of a local forward, what it leads to; of a remote one, where the server listens: `localhost` if null, everywhere if `*`.
    #[serde(default)]
    remote_host: Option<String>,
    /// Of a local forward, what it leads to; of a remote one, where the server listens, which chooses if this is null or 0.
    #[serde(default)]
    remote_port: Option<u16>,
    /// Starts with the agent.
    #[serde(default)]
    auto_start: bool,
    /// Is made again when it is lost.
    #[serde(default = "yes")]
    #[schema(default = yes)]
    auto_reconnect: bool,
    /// How often in a row; 0 is without end.
    #[serde(default = "retries")]
    #[schema(default = retries)]
    max_retries: u32,
    #[serde(default = "yes")]
    #[schema(default = yes)]
    enabled: bool,
}

fn retries() -> u32 {
    5
}

impl TryFrom<NewTunnel> for Tunnel {
    type Error = BothJumps;

    fn try_from(new: NewTunnel) -> Result<Self, BothJumps> {
        Ok(Self {
            name: new.name,
            host: new.host,
            port: new.port,
            profile_id: new.profile_id,
            jump: JumpRef::from_ids(new.jump_host_id, new.jump_session_id)?,
            forward: Forward {
                forward_type: new.forward_type.into(),
                local_port: new.local_port,
                bind_address: new.bind_address,
                remote_host: new.remote_host,
                remote_port: new.remote_port,
            },
            auto_start: new.auto_start,
            auto_reconnect: new.auto_reconnect,
            max_retries: new.max_retries,
            enabled: new.enabled,
        })
    }
}

/// What becomes of a tunnel; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TunnelPatch {
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
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    forward_type: Option<ForwardKind>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    local_port: Option<u16>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    bind_address: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    remote_host: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u16>)]
    remote_port: Option<Option<u16>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    auto_start: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    auto_reconnect: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    max_retries: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

impl From<TunnelPatch> for TunnelChange {
    fn from(patch: TunnelPatch) -> Self {
        Self {
            name: patch.name,
            host: patch.host,
            port: patch.port,
            profile_id: patch.profile_id,
            jump_host_id: patch.jump_host_id,
            jump_session_id: patch.jump_session_id,
            forward_type: patch.forward_type.map(Into::into),
            local_port: patch.local_port,
            bind_address: patch.bind_address,
            remote_host: patch.remote_host,
            remote_port: patch.remote_port,
            auto_start: patch.auto_start,
            auto_reconnect: patch.auto_reconnect,
            max_retries: patch.max_retries,
            enabled: patch.enabled,
        }
    }
}

/// A tunnel as it is saved.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TunnelRecord {
    /// Of one that belongs to a session it begins `session:`.
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
    /// What it forwards.
    #[serde(flatten)]
    pub forward: ForwardView,
    /// It starts with the agent.
    pub auto_start: bool,
    /// It is made again when it is lost.
    pub auto_reconnect: bool,
    /// How often in a row; 0 is without end.
    pub max_retries: u32,
    /// It may be used.
    pub enabled: bool,
    /// When it was saved.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// A tunnel, and how it stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TunnelRow {
    /// What is saved.
    #[serde(flatten)]
    pub record: TunnelRecord,
    /// How it stands.
    #[serde(flatten)]
    pub state: RunState,
    /// Its short form: `L :8080 → intranet:80`.
    pub spec: Option<String>,
    /// Whose it is, where it comes and goes with a session.
    pub session_id: Option<String>,
    /// Where the server listens, while a remote forward is connected.
    pub listening_port: Option<u16>,
    /// Why the last connection that did not reach its target did not. That is no fault of the tunnel.
    pub last_refusal: Option<String>,
}

impl From<Saved<Tunnel>> for TunnelRecord {
    fn from(saved: Saved<Tunnel>) -> Self {
        let Saved { id, created_at, updated_at, record } = saved;
        Self {
            id,
            name: record.name,
            host: record.host,
            port: record.port,
            profile_id: record.profile_id,
            jump: record.jump.into(),
            forward: record.forward.into(),
            auto_start: record.auto_start,
            auto_reconnect: record.auto_reconnect,
            max_retries: record.max_retries,
            enabled: record.enabled,
            created_at: created_at.0,
            updated_at: updated_at.0,
        }
    }
}

impl TunnelRecord {
    /// Of a tunnel that comes and goes with a session, whose life it has.
    fn of_session(id: &RecordId, shown: &Shown, session: &Saved<Session>) -> Self {
        Self {
            id: id.to_string(),
            name: shown.name.to_string(),
            host: session.record.host.clone(),
            port: session.record.port,
            profile_id: session.record.profile_id.clone(),
            jump: session.record.jump.clone().into(),
            forward: (&shown.forward).into(),
            auto_start: false,
            auto_reconnect: false,
            max_retries: 0,
            enabled: true,
            created_at: session.created_at.0,
            updated_at: session.updated_at.0,
        }
    }

    fn with_state(self, shown: Option<&Shown>) -> TunnelRow {
        let listening = |shown: &Shown| match shown.status {
            TunnelStatus::Connected { remote_port, .. } => remote_port.map(Port::get),
            _ => None,
        };
        TunnelRow {
            record: self,
            state: shown.map(RunState::from).unwrap_or_default(),
            spec: shown.map(Shown::spec),
            session_id: shown.and_then(|shown| shown.session.as_ref()).map(RecordId::to_string),
            listening_port: shown.and_then(listening),
            last_refusal: shown.and_then(|shown| shown.last_refusal.as_deref()).map(str::to_owned),
        }
    }
}

/// All tunnels, the saved ones by name.
async fn rows(door: &Door) -> Result<Vec<TunnelRow>, Denied> {
    let records = door.agent.store().snapshot().await?;
    let board = door.agent.board().borrow().clone();
    let of_session = board.tunnels.iter().filter_map(|(id, shown)| {
        let session = shown.session.as_ref()?;
        let session = records.sessions.iter().find(|saved| saved.id == session.as_str())?;
        Some(TunnelRecord::of_session(id, shown, session).with_state(Some(shown)))
    });
    let of_session: Vec<TunnelRow> = of_session.collect();
    let saved = records.tunnels.into_iter().map(|saved| {
        let shown = board.tunnels.get(&RecordId::from(&*saved.id));
        TunnelRecord::from(saved).with_state(shown)
    });
    Ok(saved.chain(of_session).collect())
}

/// All tunnels with how they stand, also those of connected sessions.
#[utoipa::path(get, path = "/tunnels", tag = "tunnels", responses((status = 200, body = [TunnelRow])))]
async fn list(State(door): State<Door>) -> Result<Json<Vec<TunnelRow>>, Denied> {
    Ok(Json(rows(&door).await?))
}

/// One tunnel.
#[utoipa::path(
    get, path = "/tunnels/{id}", tag = "tunnels", params(("id" = String, Path)), responses((status = 200, body = TunnelRow))
)]
async fn show(State(door): State<Door>, At(id): At<String>) -> Result<Json<TunnelRow>, Denied> {
    let found = rows(&door).await?.into_iter().find(|row| row.record.id == id);
    found.map(Json).ok_or_else(|| Denied::not_found(RecordKind::Tunnel, &id))
}

/// Saves a tunnel. It is not started.
#[utoipa::path(
    post, path = "/tunnels", tag = "tunnels", request_body = NewTunnel, responses((status = 201, body = TunnelRecord))
)]
async fn create(
    State(door): State<Door>,
    Asked(new): Asked<NewTunnel>,
) -> Result<(StatusCode, Json<TunnelRecord>), Denied> {
    let saved = door.agent.add(Tunnel::try_from(new)?).await?;
    Ok((StatusCode::CREATED, Json(saved.into())))
}

/// Changes a tunnel. One that runs goes on where it can, and is made anew where it must be.
#[utoipa::path(
    put, path = "/tunnels/{id}", tag = "tunnels", params(("id" = String, Path)), request_body = TunnelPatch,
    responses((status = 200, body = TunnelRecord))
)]
async fn change(
    State(door): State<Door>,
    At(id): At<String>,
    Asked(patch): Asked<TunnelPatch>,
) -> Result<Json<TunnelRecord>, Denied> {
    Ok(Json(door.agent.change::<Tunnel>(&id, patch.into()).await?.into()))
}

/// Removes a tunnel; one that runs is stopped.
#[utoipa::path(
    delete, path = "/tunnels/{id}", tag = "tunnels", params(("id" = String, Path)), responses((status = 204))
)]
async fn remove(State(door): State<Door>, At(id): At<String>) -> Result<StatusCode, Denied> {
    door.agent.remove::<Tunnel>(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
