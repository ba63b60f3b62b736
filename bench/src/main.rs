//! Measures the jump host beside OpenSSH's sshd, and the mesh beside rathole and a plain relay: same machine, same
//! minute, same clients, in turns (A B A B). Each row gives the medians of all with their extremes, and the median of
//! the turns' ratios: on a machine that does other things as well, only that is worth comparing.
//!
//! Server CPU is the processor time of the server's process and all its descendants, user and system, ended children included.
//! Memory is their PSS at rest, or the sum of their peak RSS where it says so; what the kernel keeps in socket buffers is in
//! neither. "Down" goes from the service to the visitor, so that the server decrypts; "up" the other way.

mod adit;
mod engine;
mod failure;
mod far_end;
mod forwarding;
mod measure;
mod mesh;
mod openssh;
mod page;
mod process;
mod process_tree;
mod rathole;
mod relay;
mod report;
mod server;
mod service;
mod stats;
mod visitor;

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Doing, Failure};
use crate::measure::{Group, Kind, Plan};
use crate::report::Row;

fn main() -> ExitCode {
    match arguments().map(Order::carry_out) {
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

/// What was typed.
enum Order {
    Measure(Plan, Vec<&'static Kind>),
    Relay(SocketAddr),
}

impl Order {
    fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::Measure(plan, kinds) => run(plan, &kinds),
            Self::Relay(service) => relay::run(service),
        }
    }
}

/// What was typed; an error is what to print instead of running.
fn arguments() -> Result<Order, String> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [relay::WORD, service] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return service.parse().map(Order::Relay).map_err(|error| format!("{service}: {error}"));
    }
    let mut plan = Plan { quick: false };
    let mut kinds: Vec<&Kind> = Vec::new();
    for word in &words {
        let before = kinds.len();
        for group in Group::ALL {
            kinds.extend(group.kinds().iter().filter(|kind| kind.name == word || group.name() == word));
        }
        match word.as_str() {
            "--quick" => plan.quick = true,
            _ if kinds.len() > before => {}
            _ => return Err(usage(word)),
        }
    }
    if kinds.is_empty() {
        kinds = Group::ALL.into_iter().flat_map(Group::kinds).collect();
    }
    Ok(Order::Measure(plan, kinds))
}

fn usage(word: &str) -> String {
    let rows = Group::ALL.map(|group| {
        let kinds = group.kinds().iter().map(|kind| format!("    {:18} {}\n", kind.name, kind.tells));
        format!("  {:20} {}: all of these\n{}", group.name(), group.tells(), kinds.collect::<String>())
    });
    let unknown = if matches!(word, "--help" | "-h") { String::new() } else { format!("unknown row: {word}\n") };
    format!("{unknown}Usage: bench/run [ROW…] [--quick]\nRows, all of them when none is named:\n{}", rows.concat())
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
    // Who is missing is told in the rows of the others as well.
    let or_missing = |version: Result<String, Failure>| version.unwrap_or_else(|failure| failure.to_string());
    let cores = thread::available_parallelism().map_or(0, usize::from);
    Ok(vec![
        ("adit", version(&adit::binary()?, "--version")?),
        ("OpenSSH", or_missing(version(Path::new("ssh"), "-V"))),
        ("rathole", or_missing(rathole::version())),
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
    if limit.maximum.is_some_and(|files| files < 12_288) {
        return Err(Failure::new("5,000 connections with both ends here need 12,288 open files; see `ulimit -Hn`"));
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
