//! `adit mcp doctor`: whether all is there that this takes. Each finding is a tick, or a sentence with the next step.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use adit_core::Port;
use adit_service::{Linger, Place};
use serde::Serialize;

use super::arguments::{Conduct, Doctor};
use crate::client::unattended;
use crate::failure::Failure;
use crate::oneoff::data_path;
use crate::output::{Output, count};
use crate::service::installer;
use crate::service::set_up::program;
use crate::service::variables::Variables;
use crate::shell;

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    told: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it has to be.
    Ok,
    /// Some of the tools do less, and the rest do what they do.
    Note,
    /// Tunnels cannot be set up.
    Wrong,
}

#[derive(Debug, Serialize)]
struct Findings {
    checks: Vec<Finding>,
}

pub(super) async fn run(arguments: Doctor) -> Result<(), Failure> {
    let output = Output::new(arguments.json);
    let services = services(&arguments.conduct).await;
    // Without a systemd nobody lingers, and that was said.
    let lingering = if services.state == State::Ok { lingering(&arguments.conduct).await } else { None };
    let mut checks = vec![binary(), services];
    checks.extend(lingering);
    checks.extend(key_folders(&arguments.conduct)?);
    checks.extend(variables(&arguments.conduct)?);
    checks.push(agent(&data_path(arguments.data.as_deref())?).await);
    let wrong = checks.iter().filter(|finding| finding.state == State::Wrong).count();
    output.answer(&Findings { checks }, |Findings { checks }| {
        let line = |finding: &Finding| {
            let mark = match finding.state {
                State::Ok => "✓",
                State::Note => "·",
                State::Wrong => "✗",
            };
            format!("{mark} {:<10} {}", finding.check, finding.told)
        };
        checks.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    if wrong == 0 { Ok(()) } else { Err(Failure::NotReady { told: count(wrong, "check") }) }
}

fn found(check: &'static str, state: State, told: impl Into<String>) -> Finding {
    Finding { check, state, told: told.into() }
}

/// A client is told the path of this program, and units are too.
fn binary() -> Finding {
    match std::env::current_exe() {
        Ok(program) if program.is_file() => {
            found("binary", State::Ok, format!("{}, adit {}", program.display(), env!("CARGO_PKG_VERSION")))
        }
        Ok(program) => {
            let told = format!(
                "{} is not there any more: it was replaced while this ran; type the same again",
                program.display()
            );
            found("binary", State::Wrong, told)
        }
        Err(error) => {
            found("binary", State::Wrong, format!("nobody knows where this program lies: {error}; is /proc there?"))
        }
    }
}

/// As a set-up of some port would find it.
async fn services(conduct: &Conduct) -> Finding {
    let looked = async { Ok::<_, Failure>(installer().check(conduct.place(), false, Port::MAX, &program()?).await?) };
    match (looked.await, conduct.place()) {
        (Ok(()), Place::System) => found("services", State::Ok, "tunnels are made as services of the system"),
        (Ok(()), Place::User) => found("services", State::Ok, "tunnels are made as services of your own"),
        (Ok(()), Place::Supervised) => {
            found("services", State::Ok, "tunnels are made as processes in the background, which end with the machine")
        }
        (Err(failure), _) => found("services", State::Wrong, failure.sentence()),
    }
}

/// Of services of a user alone.
async fn lingering(conduct: &Conduct) -> Option<Finding> {
    if conduct.place() != Place::User {
        return None;
    }
    Some(match installer().linger().await {
        Linger::Enabled => found("lingering", State::Ok, "enabled: your tunnels run from boot on"),
        Linger::Disabled => {
            let told = format!(
                "disabled: your tunnels run while you are logged in; to have them run from boot on, an administrator types: sudo \
                 loginctl enable-linger {}",
                shell::user()
            );
            found("lingering", State::Note, told)
        }
    })
}

fn key_folders(conduct: &Conduct) -> Result<Vec<Finding>, Failure> {
    let keys = conduct.keys()?;
    if keys.folders().is_empty() {
        let told = "nothing says where your home is, so no key may be named: name a folder with --key-folder DIR";
        return Ok(vec![found("keys", State::Wrong, told)]);
    }
    Ok(keys.folders().iter().map(|folder| key_folder(folder)).collect())
}

fn key_folder(folder: &Path) -> Finding {
    let (shown, typed) = (folder.display(), shell::quoted_path(folder));
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => match metadata.permissions().mode() & 0o022 {
            0 => found("keys", State::Ok, format!("a model may name those in {shown}")),
            _ => found("keys", State::Note, format!("others may put keys into {shown}: chmod go-w {typed}")),
        },
        Ok(_) => found("keys", State::Wrong, format!("{shown} is no folder; name one with --key-folder DIR")),
        Err(error) => {
            let told = format!(
                "no key can be named from {shown} ({error}): mkdir -m 700 {typed}, or name another with --key-folder DIR"
            );
            found("keys", State::Wrong, told)
        }
    }
}

/// What a model need not be told.
fn variables(conduct: &Conduct) -> Result<[Finding; 2], Failure> {
    let variables = Variables::load(None)?;
    let bastion = match variables.bastion(None) {
        Ok(bastion) => {
            found("bastion", State::Ok, format!("{} where a model names none", crate::output::shown(&bastion.host)))
        }
        Err(Failure::Missing { variable, .. }) => {
            found("bastion", State::Note, format!("a model has to be told which: {variable} is not set"))
        }
        Err(failure) => found("bastion", State::Wrong, failure.sentence()),
    };
    let key = match variables.secret_key(None) {
        Ok(key) => match conduct.keys()?.permit(&key) {
            Ok(key) => found("key", State::Ok, format!("{} where a model names none", key.display())),
            Err(refused) => found("key", State::Wrong, refused.error),
        },
        Err(_) => found("key", State::Note, "a model has to be told which: ADIT_SECRET_KEY_PATH is not set"),
    };
    Ok([bastion, key])
}

async fn agent(folder: &Path) -> Finding {
    match unattended::tunnels(folder).await {
        Ok(tunnels) => found("agent", State::Ok, format!("answers, and has {}", count(tunnels.len(), "tunnel"))),
        Err(failure) => {
            let told = format!(
                "{}; the tools for its tunnels fail until then, and the others do not need it",
                failure.sentence()
            );
            found("agent", State::Note, told)
        }
    }
}
