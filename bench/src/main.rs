//! Measures the jump host beside OpenSSH's sshd: same machine, same minute, same clients, in turns (A B A B). Each row gives
//! the medians of both with their extremes, and the median of the pairs' ratios: on a machine that does other things as well, only
//! that is worth comparing.
//!
//! Server CPU is the processor time of the server's process and all its descendants, user and system, ended children included.
//! Memory is their PSS at rest, or the sum of their peak RSS where it says so; what the kernel keeps in socket buffers is in
//! neither. "Down" goes from the service to the visitor, so that the server decrypts; "up" the other way.

mod engine;
mod failure;
mod far_end;
mod measure;
mod openssh;
mod page;
mod process_tree;
mod report;
mod server;
mod service;
mod stats;
mod visitor;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Doing, Failure};
use crate::measure::{KINDS, Kind, Plan};
use crate::report::Row;

fn main() -> ExitCode {
    match arguments().map(|(plan, kinds)| run(plan, &kinds)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
        Err(usage) => {
            eprintln!("{usage}");
            ExitCode::from(2)
        }
    }
}

/// What was typed; an error is what to print instead of running.
fn arguments() -> Result<(Plan, Vec<&'static Kind>), String> {
    let mut plan = Plan { quick: false };
    let mut kinds = Vec::new();
    for word in env::args().skip(1) {
        match KINDS.iter().find(|kind| kind.name == word) {
            Some(kind) => kinds.push(kind),
            None if word == "--quick" => plan.quick = true,
            None => return Err(usage(&word)),
        }
    }
    if kinds.is_empty() {
        kinds = KINDS.iter().collect();
    }
    Ok((plan, kinds))
}

fn usage(word: &str) -> String {
    let rows = KINDS.iter().map(|kind| format!("    {:14} {}\n", kind.name, kind.tells));
    let unknown = if matches!(word, "--help" | "-h") { String::new() } else { format!("unknown row: {word}\n") };
    format!(
        "{unknown}Usage: bench/run [ROW…] [--quick]\nRows, all of them when none is named:\n{}",
        rows.collect::<String>()
    )
}

fn run(plan: Plan, kinds: &[&Kind]) -> Result<(), Failure> {
    raise_file_limit()?;
    let mut about = about(plan)?;
    let mut rows: Vec<Row> = Vec::new();
    for kind in kinds {
        eprintln!("{}: {}", kind.name, kind.tells);
        rows.extend((kind.run)(plan).doing(kind.name)?);
    }
    about.push(("load at the end", load()));
    about.iter().for_each(|(key, value)| println!("- {key}: {value}"));
    println!("\n{}", report::markdown(&rows));
    let file = write_results(&report::json(&rows, &about).to_string())?;
    eprintln!("all readings: {}", file.display());
    Ok(())
}

/// Where and when this runs.
fn about(plan: Plan) -> Result<Vec<(&'static str, String)>, Failure> {
    let system = rustix::system::uname();
    let version = |program: &Path, flag: &str| {
        let output =
            Command::new(program).arg(flag).output().doing(format!("ask {} for its version", program.display()))?;
        let text = [output.stdout, output.stderr].concat();
        Ok::<_, Failure>(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    Ok(vec![
        ("adit", version(&server::adit_binary()?, "--version")?),
        ("OpenSSH", version(Path::new("ssh"), "-V")?),
        (
            "machine",
            format!("{} {}, {cores} cores", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        ),
        ("size", if plan.quick { "quick" } else { "full" }.to_owned()),
        ("load at the beginning", load()),
    ])
}

/// What else this machine did: runnable tasks on average over 1, 5 and 15 minutes, our own included.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Thousands of connections want a descriptor each, here and in the servers, which inherit the limit.
fn raise_file_limit() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .doing("raise the limit of open files")?;
    if limit.maximum.is_some_and(|files| files < 8_192) {
        return Err(Failure::new("5,000 connections need 8,192 open files; see `ulimit -Hn`"));
    }
    Ok(())
}

fn write_results(text: &str) -> Result<PathBuf, Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let file = folder.join(format!("{now}.json"));
    fs::create_dir_all(&folder).and_then(|()| fs::write(&file, text)).doing(format!("write {}", file.display()))?;
    Ok(file)
}
