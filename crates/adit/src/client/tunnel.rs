//! `adit tunnel`: what is saved. What runs is in `tunnel_run`.

use adit_api::agent::view::{ForwardKind, ForwardView, ProfileView, TunnelRecord, TunnelRow};
use adit_core::ForwardSpec;
use clap::{ArgGroup, Args, Subcommand};

use super::body::Body;
use super::find::{JumpNames, Named, find, free_name};
use super::jump::profile_name;
use super::tunnel_live;
use super::tunnel_run::{self, Launch};
use super::{Asker, Common, help, server};
use crate::failure::Failure;
use crate::oneoff::ServerAddress;
use crate::oneoff::arguments::{dynamic, local, remote};
use crate::output::{ago, bytes, shown, span};
use crate::shell;

const HELP: &str = help!(
    "Examples:
  adit tunnel add web --via bastion --profile me -L 8080:intranet:80 --auto-start
      saves it; then open http://localhost:8080 once it is started
  adit tunnel add socks --via bastion --jump edge --profile me -D 1080
      a SOCKS 5 proxy, by way of a jump host: curl -x socks5h://localhost:1080 http://intranet
  adit tunnel add demo --via jump.example:2222 --profile tunnel -R 10080:localhost:3000
      port 10080 of the server leads to port 3000 here
  adit tunnel test web
      goes its way stage by stage, beside whatever runs
  adit tunnel start web
      waits until it is connected, and asks about a host key that is not known
  adit tunnel list
  adit tunnel connections web
      what it carries at this moment; adit tunnel close web 7 cuts one
  adit tunnel logs web --follow
  adit tunnel stop all

Specs are those of ssh(1). What listens here listens on loopback alone: 127.0.0.1 unless the spec names another."
);

/// `adit tunnel`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Save a tunnel; it is not started
    Add(Box<Add>),
    /// List the tunnels with how they stand, also those of connected sessions
    List,
    /// Show one
    Show {
        /// Its name or id
        tunnel: String,
    },
    /// Change one; what is not given stays as it is, and what runs goes on where it can
    Edit(Box<Edit>),
    /// Start one and wait until it is connected, or every one that does not run
    Start(Launch),
    /// Stop one, whatever it waits for; or all, which disconnects sessions too
    Stop {
        /// Its name or id, or `all`
        tunnel: String,
    },
    /// Give one a fresh connection at once, or every one that runs
    Reconnect(Launch),
    /// Remove one; if it runs, it is stopped
    Remove {
        /// Its name or id
        tunnel: String,
    },
    /// Go its way with a login of its own, stage by stage; nothing stays open
    Test(tunnel_run::Test),
    /// What one carries at this moment
    Connections {
        /// Its name or id
        tunnel: String,
    },
    /// Cut one of its connections; the tunnel goes on
    Close {
        /// Its name or id
        tunnel: String,
        /// The connection's number, as `connections` shows it
        number: u64,
    },
    /// What has happened lately, to one or to all
    Logs(tunnel_run::Logs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("spec").required(true).args(["local", "dynamic", "remote"]))]
struct Add {
    /// What you call it
    name: String,
    /// The SSH server to forward through
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    via: ServerAddress,
    /// Who logs in there
    #[arg(long)]
    profile: String,
    /// The jump host, or the session, on the way [default: the profile's]
    #[arg(short = 'J', long, value_name = "JUMP")]
    jump: Option<String>,
    #[command(flatten)]
    spec: Spec,
    /// Start it with the agent
    #[arg(long)]
    auto_start: bool,
    /// Do not make it again when it is lost
    #[arg(long)]
    no_reconnect: bool,
    /// How often in a row it is made again; 0 is without end [default: 5]
    #[arg(long, value_name = "COUNT")]
    max_retries: Option<u32>,
}

#[derive(Debug, Args)]
struct Edit {
    /// Its name or id
    tunnel: String,
    /// What you call it from now on
    #[arg(long)]
    name: Option<String>,
    /// The SSH server to forward through
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    via: Option<ServerAddress>,
    /// Who logs in there
    #[arg(long)]
    profile: Option<String>,
    /// The jump host, or the session, on the way; `inherit` for the profile's
    #[arg(short = 'J', long, value_name = "JUMP")]
    jump: Option<String>,
    #[command(flatten)]
    spec: Spec,
    /// Whether it starts with the agent
    #[arg(long, value_name = "BOOL")]
    auto_start: Option<bool>,
    /// Whether it is made again when it is lost
    #[arg(long, value_name = "BOOL")]
    auto_reconnect: Option<bool>,
    /// How often in a row; 0 is without end
    #[arg(long, value_name = "COUNT")]
    max_retries: Option<u32>,
    /// Whether it may be used
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
}

/// One forward at most.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Spec {
    /// Listen here; lead to HOST as the server sees it
    #[arg(short = 'L', value_name = "[ADDR:]PORT:HOST:PORT", value_parser = local)]
    local: Option<ForwardSpec>,
    /// Listen here as a SOCKS 5 proxy; lead to what each client asks for
    #[arg(short = 'D', value_name = "[ADDR:]PORT", value_parser = dynamic)]
    dynamic: Option<ForwardSpec>,
    /// Let the server listen; lead to a service of this machine. With port 0 the server chooses one
    #[arg(short = 'R', value_name = "[ADDR:]PORT:localhost:PORT", value_parser = remote)]
    remote: Option<ForwardSpec>,
}

impl Spec {
    fn given(&self) -> Option<&ForwardSpec> {
        self.local.as_ref().or(self.dynamic.as_ref()).or(self.remote.as_ref())
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    let Asker { client, output, .. } = &asker;
    match arguments.command {
        Command::Add(add) => self::add(&asker, *add).await,
        Command::List => {
            let all: Vec<TunnelRow> = client.get(TunnelRow::PATH).await?;
            output.answer(&all, |all| table(&asker, all))
        }
        Command::Show { tunnel } => {
            let found: TunnelRow = find(&asker, &tunnel).await?;
            let profiles: Vec<ProfileView> = client.get(ProfileView::PATH).await?;
            let jumps = JumpNames::load(&asker).await?;
            output.answer(&found, |found| output.facts(&facts(found, &profiles, &jumps)))
        }
        Command::Edit(edit) => self::edit(&asker, *edit).await,
        Command::Start(launch) => tunnel_run::start(&asker, &launch).await,
        Command::Stop { tunnel } => tunnel_run::stop(&asker, &tunnel).await,
        Command::Reconnect(launch) => tunnel_run::reconnect(&asker, &launch).await,
        Command::Remove { tunnel } => {
            let found: TunnelRow = find(&asker, &tunnel).await?;
            client.delete(&found.path()).await?;
            output.answer(&found, |found| format!("Tunnel {} is removed.", shown(&found.record.name)))
        }
        Command::Test(test) => tunnel_run::test(&asker, &test).await,
        Command::Connections { tunnel } => tunnel_live::list(&asker, &tunnel).await,
        Command::Close { tunnel, number } => tunnel_live::close(&asker, &tunnel, number).await,
        Command::Logs(logs) => tunnel_run::logs(&asker, &logs).await,
    }
}

async fn add(asker: &Asker, add: Add) -> Result<(), Failure> {
    free_name::<TunnelRow>(asker, Some(&add.name)).await?;
    let mut body = Body::default();
    body.set("name", Some(add.name));
    body.set_server(Some(&add.via));
    body.set_profile(asker, Some(&add.profile)).await?;
    body.set_jump(asker, add.jump.as_deref(), "inherit").await?;
    body.set_forward(add.spec.given())?;
    body.set("auto_start", Some(add.auto_start));
    body.set("auto_reconnect", Some(!add.no_reconnect));
    body.set("max_retries", add.max_retries);
    let saved: TunnelRecord = asker.client.post(TunnelRow::PATH, &body).await?;
    asker.output.answer(&saved, |saved| {
        let next = format!("adit tunnel{} start {}", asker.flag, shell::quoted(&saved.name));
        format!("Tunnel {} is saved.\nNext: {}", shown(&saved.name), shown(&next))
    })
}

async fn edit(asker: &Asker, edit: Edit) -> Result<(), Failure> {
    let found: TunnelRow = find(asker, &edit.tunnel).await?;
    free_name::<TunnelRow>(asker, edit.name.as_deref().filter(|name| *name != found.record.name)).await?;
    let mut body = Body::default();
    body.set("name", edit.name);
    body.set_server(edit.via.as_ref());
    body.set_profile(asker, edit.profile.as_deref()).await?;
    body.set_jump(asker, edit.jump.as_deref(), "inherit").await?;
    body.set_forward(edit.spec.given())?;
    body.set("auto_start", edit.auto_start);
    body.set("auto_reconnect", edit.auto_reconnect);
    body.set("max_retries", edit.max_retries);
    body.set("enabled", edit.enabled);
    if body.is_empty() {
        return Err(Failure::NothingToChange { command: "adit tunnel edit" });
    }
    let saved: TunnelRecord = asker.client.put(&found.path(), &body).await?;
    asker.output.answer(&saved, |saved| format!("Tunnel {} is changed.", shown(&saved.name)))
}

fn table(asker: &Asker, all: &[TunnelRow]) -> String {
    if all.is_empty() {
        let add = format!("adit tunnel{} add web --via bastion --profile PROFILE -L 8080:intranet:80", asker.flag);
        return format!("No tunnels yet.\nNext: {add}");
    }
    let row = |row: &TunnelRow| {
        [
            shown(&row.record.name),
            status(row),
            forward(row),
            shown(&row.record.host),
            if row.state.uptime_secs == 0 { "-".to_owned() } else { span(row.state.uptime_secs) },
            bytes(row.state.bytes_tx),
            bytes(row.state.bytes_rx),
            row.record.id.clone(),
            row.state.last_error.as_deref().map(shown).unwrap_or_default(),
        ]
    };
    let heads = ["NAME", "STATUS", "FORWARD", "VIA", "UP", "SENT", "RECEIVED", "ID", "LAST ERROR"];
    asker.output.table(heads, all.iter().map(row).collect())
}

/// With the number of the retry that is waited for.
fn status(row: &TunnelRow) -> String {
    match row.state.retry_count {
        retry if retry > 0 && row.state.status == "reconnecting" => format!("reconnecting (retry {retry})"),
        _ => row.state.status.to_string(),
    }
}

/// Its short form, with the port that the server chose.
pub(super) fn forward(row: &TunnelRow) -> String {
    let spec = shown(row.spec.as_deref().unwrap_or("-"));
    match (row.listening_port, spec.strip_prefix("R :0 ")) {
        (Some(port), Some(rest)) => format!("R :{port} {rest}"),
        _ => spec,
    }
}

fn facts(row: &TunnelRow, profiles: &[ProfileView], jumps: &JumpNames) -> Vec<(&'static str, String)> {
    let record = &row.record;
    let reconnects = match (record.auto_reconnect, record.max_retries) {
        (false, _) => "no".to_owned(),
        (true, 0) => "without end".to_owned(),
        (true, retries) => format!("{retries} times in a row"),
    };
    // A remote forward listens over there, and leads here.
    let end = if record.forward.forward_type == ForwardKind::Remote { "leads to" } else { "listens at" };
    let mut facts = vec![
        ("name", shown(&record.name)),
        ("id", record.id.clone()),
        ("status", status(row)),
        ("forward", forward(row)),
        (end, address(&record.forward)),
        ("server", format!("{}:{}", shown(&record.host), record.port)),
        ("profile", profile_name(&record.profile_id, profiles)),
        ("jump", jumps.shown(&record.jump, "the profile's")),
        ("starts itself", record.auto_start.to_string()),
        ("reconnects", reconnects),
        ("enabled", record.enabled.to_string()),
        ("sent", bytes(row.state.bytes_tx)),
        ("received", bytes(row.state.bytes_rx)),
        ("saved", ago(record.created_at)),
    ];
    facts.extend(row.state.last_error.as_deref().map(|error| ("last error", shown(error))));
    facts.extend(row.last_refusal.as_deref().map(|error| ("last refusal", shown(error))));
    facts
}

/// Its end on this machine, as people write it: `[::1]:8080`.
fn address(forward: &ForwardView) -> String {
    match forward.bind_address.contains(':') {
        true => format!("[{}]:{}", forward.bind_address, forward.local_port),
        false => format!("{}:{}", forward.bind_address, forward.local_port),
    }
}
