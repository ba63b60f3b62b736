//! `adit session`: hosts with forwards that come and go with the connection.

use std::collections::BTreeMap;

use adit_api::agent::view::{ForwardKind, ForwardView, SessionRecord, SessionRow, SessionState};
use adit_core::ForwardSpec;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::body::{Body, forward};
use super::find::{JumpNames, Named, find, free_name};
use super::host::{Accepted, judge};
use super::{Asker, Common, help, server};
use crate::failure::Failure;
use crate::oneoff::ServerAddress;
use crate::oneoff::arguments::Specs;
use crate::output::{ago, shown, span};
use crate::shell;

const HELP: &str = help!(
    "Examples:
  adit session add core --via core-sw.example.net --profile me -L 8443:10.0.0.5:443 -D 1080
      a host, and what is forwarded while it is connected
  adit session connect core
  adit session disconnect core
      its forwards end with it
  adit tunnel add web --via inner --jump core --profile me -L 8080:intranet:80
      a session can also be the jump of a tunnel"
);

/// `adit session`
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
    /// Save a session; it is not connected
    Add(Add),
    /// List the sessions with how they stand
    List,
    /// Show one
    Show {
        /// Its name or id
        session: String,
    },
    /// Change one; what is not given stays as it is
    Edit(Edit),
    /// Connect one, and start its forwards
    Connect {
        /// Its name or id
        session: String,
        #[command(flatten)]
        accepted: Accepted,
    },
    /// Disconnect one; its forwards end with it
    Disconnect {
        /// Its name or id
        session: String,
    },
    /// Remove one that nothing needs; one that is connected is disconnected
    Remove {
        /// Its name or id
        session: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// What you call it
    name: String,
    /// The SSH server
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    via: ServerAddress,
    /// Who logs in there
    #[arg(long)]
    profile: String,
    /// The jump host, or the session, on the way [default: the profile's]
    #[arg(short = 'J', long, value_name = "JUMP")]
    jump: Option<String>,
    #[command(flatten)]
    specs: Specs,
}

#[derive(Debug, Args)]
struct Edit {
    /// Its name or id
    session: String,
    /// What you call it from now on
    #[arg(long)]
    name: Option<String>,
    /// The SSH server
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    via: Option<ServerAddress>,
    /// Who logs in there
    #[arg(long)]
    profile: Option<String>,
    /// The jump host, or the session, on the way; `inherit` for the profile's
    #[arg(short = 'J', long, value_name = "JUMP")]
    jump: Option<String>,
    /// Whether it may be connected
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Without forwards
    #[arg(long, conflicts_with_all = ["local", "dynamic", "remote"])]
    no_forwards: bool,
    #[command(flatten)]
    specs: Specs,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let asker = Asker::new(&arguments.common)?;
    let Asker { client, output, .. } = &asker;
    match arguments.command {
        Command::Add(add) => self::add(&asker, add).await,
        Command::List => {
            let all: Vec<SessionRow> = client.get(SessionRow::PATH).await?;
            output.answer(&all, |all| table(&asker, all))
        }
        Command::Show { session } => {
            let found: SessionRow = find(&asker, &session).await?;
            let jumps = JumpNames::load(&asker).await?;
            output.answer(&found, |found| output.facts(&facts(found, &jumps)))
        }
        Command::Edit(edit) => self::edit(&asker, edit).await,
        Command::Connect { session, accepted } => connect(&asker, &session, &accepted).await,
        Command::Disconnect { session } => {
            let found: SessionRow = find(&asker, &session).await?;
            let row: SessionRow = client.order(&format!("{}/disconnect", found.path())).await?;
            output.answer(&row, |row| format!("Session {} is disconnected.", shown(&row.record.name)))
        }
        Command::Remove { session } => {
            let found: SessionRow = find(&asker, &session).await?;
            client.delete(&found.path()).await?;
            output.answer(&found, |found| format!("Session {} is removed.", shown(&found.record.name)))
        }
    }
}

async fn add(asker: &Asker, add: Add) -> Result<(), Failure> {
    free_name::<SessionRow>(asker, Some(&add.name)).await?;
    let mut body = Body::default();
    body.set("name", Some(add.name));
    body.set_server(Some(&add.via));
    body.set_profile(asker, Some(&add.profile)).await?;
    body.set_jump(asker, add.jump.as_deref(), "inherit").await?;
    body.set("forwards", Some(forwards(&add.specs)?));
    let saved: SessionRecord = asker.client.post(SessionRow::PATH, &body).await?;
    asker.output.answer(&saved, |saved| {
        let next = format!("adit session{} connect {}", asker.flag, shell::quoted(&saved.name));
        format!("Session {} is saved.\nNext: {}", shown(&saved.name), shown(&next))
    })
}

async fn edit(asker: &Asker, edit: Edit) -> Result<(), Failure> {
    let found: SessionRow = find(asker, &edit.session).await?;
    free_name::<SessionRow>(asker, edit.name.as_deref().filter(|name| *name != found.record.name)).await?;
    let mut body = Body::default();
    body.set("name", edit.name);
    body.set_server(edit.via.as_ref());
    body.set_profile(asker, edit.profile.as_deref()).await?;
    body.set_jump(asker, edit.jump.as_deref(), "inherit").await?;
    if edit.no_forwards || edit.specs.all().next().is_some() {
        body.set("forwards", Some(forwards(&edit.specs)?));
    }
    body.set("enabled", edit.enabled);
    if body.is_empty() {
        return Err(Failure::NothingToChange { command: "adit session edit" });
    }
    let saved: SessionRecord = asker.client.put(&found.path(), &body).await?;
    asker.output.answer(&saved, |saved| format!("Session {} is changed.", shown(&saved.name)))
}

fn forwards(specs: &Specs) -> Result<Vec<Value>, Failure> {
    specs.all().map(|spec: &ForwardSpec| forward(spec)).collect()
}

/// Connects, and waits until the login has ended in one way or the other. Each turn judges the key of one more host on the way.
async fn connect(asker: &Asker, typed: &str, accepted: &Accepted) -> Result<(), Failure> {
    let found: SessionRow = find(asker, typed).await?;
    loop {
        asker.client.order::<SessionRow>(&format!("{}/connect", found.path())).await?;
        let state = settled(asker, &found.record.id).await?;
        if state.status == "connected" {
            let row: SessionRow = asker.client.get(&found.path()).await?;
            return asker.output.answer(&row, |row| {
                let forwards: Vec<String> =
                    row.record.forwards.iter().map(|of| format!("\n  {}", spec(&of.forward))).collect();
                format!("Session {} is connected.{}", shown(&row.record.name), forwards.concat())
            });
        }
        let why = state.last_error.unwrap_or_else(|| "it was disconnected again".to_owned());
        if !judge(asker, &why, accepted).await? {
            let why = format!("{}: {why}", shown(&found.record.name));
            return Err(Failure::NotUp { why, code: None });
        }
    }
}

async fn settled(asker: &Asker, id: &str) -> Result<SessionState, Failure> {
    let mut events = asker.client.events().await?;
    while let Some((name, data)) = events.next().await {
        if name != "sessions" {
            continue;
        }
        let mut states: BTreeMap<String, SessionState> = serde_json::from_value(data).unwrap_or_default();
        match states.remove(id) {
            Some(state) if state.status == "connecting" => {}
            Some(state) => return Ok(state),
            None => return Ok(SessionState { status: "disconnected".into(), uptime_secs: 0, last_error: None }),
        }
    }
    Err(Failure::AgentEnded)
}

/// As tunnels show theirs.
fn spec(forward: &ForwardView) -> String {
    let port = |port: Option<u16>| port.unwrap_or_default();
    match forward.forward_type {
        ForwardKind::Local => {
            let host = shown(forward.remote_host.as_deref().unwrap_or("?"));
            format!("L :{} → {host}:{}", forward.local_port, port(forward.remote_port))
        }
        ForwardKind::Dynamic => format!("D :{} SOCKS5", forward.local_port),
        ForwardKind::Remote => format!("R :{} → localhost:{}", port(forward.remote_port), forward.local_port),
    }
}

fn specs(record: &SessionRecord) -> String {
    let specs: Vec<String> = record.forwards.iter().map(|of| spec(&of.forward)).collect();
    if specs.is_empty() { "-".to_owned() } else { specs.join(", ") }
}

fn table(asker: &Asker, all: &[SessionRow]) -> String {
    if all.is_empty() {
        return format!("No sessions yet.\nNext: adit session{} add NAME --via HOST --profile PROFILE", asker.flag);
    }
    let row = |row: &SessionRow| {
        [
            shown(&row.record.name),
            row.state.status.to_string(),
            format!("{}:{}", shown(&row.record.host), row.record.port),
            if row.state.uptime_secs == 0 { "-".to_owned() } else { span(row.state.uptime_secs) },
            specs(&row.record),
            row.record.id.clone(),
            row.state.last_error.as_deref().map(shown).unwrap_or_default(),
        ]
    };
    let heads = ["NAME", "STATUS", "SERVER", "UP", "FORWARDS", "ID", "LAST ERROR"];
    asker.output.table(heads, all.iter().map(row).collect())
}

fn facts(row: &SessionRow, jumps: &JumpNames) -> Vec<(&'static str, String)> {
    let record = &row.record;
    let mut facts = vec![
        ("name", shown(&record.name)),
        ("id", record.id.clone()),
        ("status", row.state.status.to_string()),
        ("server", format!("{}:{}", shown(&record.host), record.port)),
        ("profile", record.profile_id.clone()),
        ("jump", jumps.shown(&record.jump, "the profile's")),
        ("forwards", specs(record)),
        ("enabled", record.enabled.to_string()),
        ("saved", ago(record.created_at)),
    ];
    facts.extend(row.state.last_error.as_deref().map(|error| ("last error", shown(error))));
    facts
}
