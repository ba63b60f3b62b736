//! `adit tunnel`: what runs. Starts are waited for, trials told stage by stage, and the log followed.

use std::time::Duration;

use adit_api::Failure as Told;
use adit_api::agent::view::{LogEntry, StepView, TrialFailed, TrialView, TunnelRow, TunnelState};
use clap::Args;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Asker;
use super::find::{Named, find};
use super::host::{Accepted, judge};
use super::tunnel::forward;
use crate::failure::Failure;
use crate::output::{clock, count, shown};

/// Every tunnel, where one could be named.
pub(super) const ALL: &str = "all";

/// A connection that did not reach its target changes no status, so no event tells of it: it is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is to be started, and how.
#[derive(Debug, Args)]
pub(super) struct Launch {
    /// Its name or id, or `all`
    tunnel: String,
    /// Do not wait for the login
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    accepted: Accepted,
}

impl Launch {
    /// Waits for the login, and asks nobody about host keys.
    pub(super) fn unattended(tunnel: String) -> Self {
        Self { tunnel, no_wait: false, accepted: Accepted::by_nobody() }
    }
}

/// What is to be tried.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// Its name or id
    tunnel: String,
    #[command(flatten)]
    accepted: Accepted,
}

/// What of the log is wanted.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Its name or id [default: all]
    tunnel: Option<String>,
    /// Go on until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

pub(super) async fn start(asker: &Asker, launch: &Launch) -> Result<(), Failure> {
    let is_idle = |row: &TunnelRow| row.record.enabled && matches!(&*row.state.status, "disconnected" | "failed");
    run(asker, launch, "start", is_idle).await
}

pub(super) async fn reconnect(asker: &Asker, launch: &Launch) -> Result<(), Failure> {
    let is_running = |row: &TunnelRow| !matches!(&*row.state.status, "disconnected" | "failed");
    run(asker, launch, "reconnect", is_running).await
}

/// Gives the order to one tunnel, or to all that are `meant`, and tells what comes of it.
async fn run(asker: &Asker, launch: &Launch, order: &str, meant: impl Fn(&TunnelRow) -> bool) -> Result<(), Failure> {
    if launch.tunnel != ALL {
        let row: TunnelRow = find(asker, &launch.tunnel).await?;
        let state = bring_up(asker, &row, launch, order).await?;
        let row: TunnelRow = asker.client.get(&row.path()).await?;
        return asker.output.answer(&state, |state| came_up(&row, state));
    }
    let rows: Vec<TunnelRow> = asker.client.get(TunnelRow::PATH).await?;
    let mut states = Vec::new();
    let mut failed = Vec::new();
    for row in rows.iter().filter(|row| row.session_id.is_none() && meant(row)) {
        match bring_up(asker, row, launch, order).await {
            Ok(state) => states.push(state),
            Err(error) => failed.push(error.sentence()),
        }
    }
    asker.output.answer(&states, |states| match states.len() {
        0 if failed.is_empty() => "There is nothing to do.".to_owned(),
        up => format!("{} up.", count(up, "tunnel")),
    })?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::SomeFailed { told: failed.join("; ") }) }
}

/// Gives the order, and waits until the login has ended in one way or the other. Each turn judges the key of one more host on the way.
pub(super) async fn bring_up(
    asker: &Asker,
    row: &TunnelRow,
    launch: &Launch,
    order: &str,
) -> Result<TunnelState, Failure> {
    let mut order = order;
    loop {
        let begun: TunnelState = asker.client.order(&format!("{}/{order}", row.path())).await?;
        if launch.no_wait {
            return Ok(begun);
        }
        let state = settled(asker, &begun).await?;
        if state.state.status == "connected" {
            return Ok(state);
        }
        let why = state.state.last_error.unwrap_or_else(|| "it was stopped again".to_owned());
        if !judge(asker, &why, &launch.accepted).await? {
            let goes_on = if state.state.status == "reconnecting" { "; it is tried again" } else { "" };
            let why = format!("{}: {why}{goes_on}", shown(&row.record.name));
            let code = state.state.last_error_code.map(Into::into);
            return Err(Failure::NotUp { why, code });
        }
        // It is not running: a host key that is not known is no reason to try again by itself.
        order = "start";
    }
}

async fn settled(asker: &Asker, begun: &TunnelState) -> Result<TunnelState, Failure> {
    let id = &begun.id;
    // In a pause, the try that was ordered is under way while the status still tells of the one before.
    let is_as_before = |state: &TunnelState| {
        state.state.status == "reconnecting"
            && (&state.state.status, state.state.retry_count) == (&begun.state.status, begun.state.retry_count)
    };
    let mut events = asker.client.events().await?;
    while let Some((name, data)) = events.next().await {
        if name != "tunnels" {
            continue;
        }
        let states: Vec<TunnelState> = serde_json::from_value(data).unwrap_or_default();
        match states.into_iter().find(|state| state.id == *id) {
            Some(state) if state.state.status == "connecting" || is_as_before(&state) => {}
            Some(state) => return Ok(state),
            None => {
                return Err(Failure::NotUp { why: format!("{id} was removed meanwhile"), code: None });
            }
        }
    }
    Err(Failure::AgentEnded)
}

fn came_up(row: &TunnelRow, state: &TunnelState) -> String {
    let (name, via) = (shown(&row.record.name), shown(&row.record.host));
    format!("{name} is {}: {} via {via}", state.state.status, forward(row))
}

pub(super) async fn stop(asker: &Asker, typed: &str) -> Result<(), Failure> {
    if typed == ALL {
        let states: Vec<TunnelState> = asker.client.order("/tunnels/stop-all").await?;
        return asker.output.answer(&states, |_| "Every tunnel is stopped, every session disconnected.".to_owned());
    }
    let row: TunnelRow = find(asker, typed).await?;
    let state: TunnelState = asker.client.order(&format!("{}/stop", row.path())).await?;
    asker.output.answer(&state, |_| format!("{} is stopped.", shown(&row.record.name)))
}

// ── trial ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Goes a tunnel's way, and tells each stage as it is through. Each turn judges the key of one more host on the way.
pub(super) async fn test(asker: &Asker, test: &Test) -> Result<(), Failure> {
    let row: TunnelRow = find(asker, &test.tunnel).await?;
    // What a person has seen already is not shown again by the next turn.
    let mut told = Vec::new();
    loop {
        let mut events = asker.client.follow(&format!("{}/test", row.path())).await?;
        let body = loop {
            match events.next().await {
                Some((name, data)) if name == "step" => tell_step(asker, read(data)?, &mut told)?,
                Some((name, data)) if name == "through" => {
                    let trial: TrialView = read(data)?;
                    return if asker.output.is_json() {
                        asker.output.answer(&trial, |_| String::new())
                    } else {
                        Ok(())
                    };
                }
                Some((_, data)) => break data,
                None => return Err(Failure::AgentEnded),
            }
        };
        let why: Told = read(body.clone())?;
        if judge(asker, &why.error, &test.accepted).await? {
            continue;
        }
        if body.get("failed").is_none() {
            return Err(Failure::Trial { told: why, stage: None });
        }
        let trial: TrialFailed = read(body)?;
        asker.output.answer(&trial, |trial| line("✗", &trial.failed))?;
        return Err(Failure::Trial { told: why, stage: Some(trial.failed.stage.into()) });
    }
}

fn tell_step(asker: &Asker, step: StepView, told: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let name = (step.hop.clone(), step.stage.to_string());
    if asker.output.is_json() || told.contains(&name) {
        return Ok(());
    }
    told.push(name);
    asker.output.answer(&step, |step| line("✓", step))
}

fn read<T: DeserializeOwned>(data: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(data).map_err(|error| Failure::Output(error.into()))
}

fn line(mark: &str, step: &StepView) -> String {
    format!("{mark} {:<12} {}  {} ms", step.stage, shown(&step.hop), step.took_ms)
}

// ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────────

pub(super) async fn logs(asker: &Asker, logs: &Logs) -> Result<(), Failure> {
    let of = match &logs.tunnel {
        Some(typed) => Some(find::<TunnelRow>(asker, typed).await?.record.id),
        None => None,
    };
    let is_wanted = |entry: &LogEntry| of.as_ref().is_none_or(|id| *id == entry.tunnel_id);
    let mut known = Known::default();
    if !logs.follow {
        let entries: Vec<LogEntry> = known.news(asker).await?.into_iter().filter(is_wanted).collect();
        return asker.output.answer(&entries, |entries| match entries.len() {
            0 => "Nothing has happened since the agent started.".to_owned(),
            _ => entries.iter().map(entry_line).collect::<Vec<_>>().join("\n"),
        });
    }
    let mut events = asker.client.events().await?;
    loop {
        for entry in known.news(asker).await?.into_iter().filter(is_wanted) {
            if !asker.output.tell(&entry, entry_line)? {
                return Ok(());
            }
        }
        if let Ok(None) = timeout(LOOK_INTERVAL, events.next()).await {
            return Err(Failure::AgentEnded);
        }
    }
}

/// What was told of the log.
#[derive(Default)]
struct Known {
    last: u64,
}

impl Known {
    async fn news(&mut self, asker: &Asker) -> Result<Vec<LogEntry>, Failure> {
        let entries: Vec<LogEntry> = asker.client.get(&format!("/tunnels/log?after={}", self.last)).await?;
        self.last = entries.last().map_or(self.last, |entry| entry.number);
        Ok(entries)
    }
}

fn entry_line(entry: &LogEntry) -> String {
    let error = entry.error.as_deref().map(|error| format!(": {}", shown(error))).unwrap_or_default();
    format!("{}  {}  {}{error}", clock(entry.at), shown(&entry.name), entry.status)
}
