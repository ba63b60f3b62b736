//! Records from the person's `ssh_config`.

use adit_agent::ssh_config::{Imported, LeftOut};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Door;
use super::question::Asked;
use super::refusal::{Denied, RecordName};

pub(super) fn routes() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(hosts, import))
}

/// What there is to import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshHosts {
    /// Hosts that `~/.ssh/config` names, in its order; patterns are no names.
    pub hosts: Vec<String>,
}

/// What to import.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// As `~/.ssh/config` names them; all of them if null.
    hosts: Option<Vec<String>>,
}

/// What became of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedHost {
    /// As `~/.ssh/config` names it.
    pub host: String,
    /// New records. None of them is started.
    pub added: Vec<RecordName>,
    /// Records that were there by that name already, and are as they were.
    pub present: Vec<RecordName>,
    /// What no record could hold.
    pub left_out: Vec<LeftOutPart>,
}

/// A part of a host's configuration that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOutPart {
    /// As `ssh -G` has it.
    pub what: String,
    /// Why not.
    pub why: String,
}

impl From<Imported> for ImportedHost {
    fn from(Imported { host, added, present, left_out }: Imported) -> Self {
        let names = |records: Vec<_>| records.into_iter().map(RecordName::from).collect();
        let left_out = left_out.into_iter().map(|LeftOut { what, why }| LeftOutPart { what, why }).collect();
        Self { host, added: names(added), present: names(present), left_out }
    }
}

/// The hosts that `~/.ssh/config` names.
#[utoipa::path(get, path = "/import/ssh-config", tag = "import", responses((status = 200, body = SshHosts)))]
async fn hosts(State(door): State<Door>) -> Result<Json<SshHosts>, Denied> {
    let hosts = door.agent.ssh_hosts().await?;
    Ok(Json(SshHosts { hosts }))
}

/// Makes records of hosts of `~/.ssh/config`, as `ssh -G` explains it: of each a session, of each of its forwards a tunnel, of each of its
/// jumps a jump host.
#[utoipa::path(
    post, path = "/import/ssh-config", tag = "import", request_body = Wanted, responses((status = 200, body = [ImportedHost]))
)]
async fn import(
    State(door): State<Door>,
    Asked(Wanted { hosts }): Asked<Wanted>,
) -> Result<Json<Vec<ImportedHost>>, Denied> {
    let imported = door.agent.import_ssh_hosts(hosts).await?;
    Ok(Json(imported.into_iter().map(ImportedHost::from).collect()))
}
