//! Measures the jump host beside OpenSSH's sshd, and the mesh beside rathole and a plain relay: same machine, same
//! minute, same clients, in turns (A B A B). Each row gives the medians of all with their extremes, and the median of
//! the turns' ratios: on a machine that does other things as well, only that is worth comparing.
//!
//! Server CPU is the processor time of the server's process and all its descendants, user and system, ended children included.
//! Memory is their PSS at rest, or the sum of their peak RSS where it says so; what the kernel keeps in socket buffers is in
//! neither. "Down" goes from the service to the visitor, so that the server decrypts; "up" the other way.

mod adit;
mod bore;
mod client;
mod engine;
mod engine_pair;
mod failure;
mod far_end;
mod forwarding;
mod line;
mod measure;
mod mesh;
mod page;
mod peers;
mod plot;
mod process;
mod process_tree;
mod publish;
mod rathole;
mod relay;
mod report;
mod server;
mod service;
mod stats;
mod visitor;

use std::collections::HashSet;
use std::env;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::{Doing, Failure};
use crate::measure::{Group, Kind, Plan};
use crate::publish::Results;
use crate::relay::Copying;

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
    Measure { plan: Plan, kinds: Vec<&'static Kind>, publish: Option<PathBuf> },
    Relay(Copying, SocketAddr),
    Engine { bytes: u64, messages: u64, channels: u64 },
}

impl Order {
    fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::Measure { plan, kinds, publish } => run(plan, &kinds, publish.as_deref()),
            Self::Engine { bytes, messages, channels } => engine_pair::run(bytes, messages, channels),
            Self::Relay(copying, service) => relay::run(copying, service),
        }
    }
}

/// What was typed; an error is what to print instead of running.
fn arguments() -> Result<Order, String> {
    let words: Vec<String> = env::args().skip(1).collect();
    let told = |word: &str, error: &dyn fmt::Display| format!("{word}: {error}");
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [relay::WORD, copying, service] => {
            let copying = Copying::of_word(copying).ok_or_else(|| format!("no relay is called {copying}"))?;
            return service
                .parse()
                .map(|service| Order::Relay(copying, service))
                .map_err(|error| told(service, &error));
        }
        [engine_pair::WORD, bytes, messages, channels] => {
            let number = |word: &str| word.parse::<u64>().map_err(|error| told(word, &error));
            let [bytes, messages, channels] = [number(bytes)?, number(messages)?, number(channels)?];
            return Ok(Order::Engine { bytes, messages, channels });
        }
        _ => {}
    }
    let mut plan = Plan { quick: false };
    let mut kinds: Vec<&Kind> = Vec::new();
    let mut publish = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let before = kinds.len();
        for group in Group::ALL {
            let is_meant = |kind: &&Kind| kind.name == word || group.name() == word;
            kinds.extend(group.kinds().iter().filter(is_meant));
        }
        match word.as_str() {
            "--quick" => plan.quick = true,
            "--publish" => publish = Some(words.next().map(PathBuf::from).ok_or_else(|| usage("--publish FOLDER"))?),
            _ if kinds.len() > before => {}
            _ => return Err(usage(word)),
        }
    }
    // Who names a group and one of its kinds wants it once.
    let mut told = HashSet::new();
    kinds.retain(|kind| told.insert(kind.name));
    if kinds.is_empty() {
        kinds = Group::ALL.into_iter().flat_map(Group::kinds).collect();
    } else if publish.is_some() {
        return Err("--publish writes what a whole run measures: name no rows with it".to_owned());
    }
    Ok(Order::Measure { plan, kinds, publish })
}

fn usage(word: &str) -> String {
    let rows = Group::ALL.map(|group| {
        let kinds = group.kinds().iter().map(|kind| format!("    {:18} {}\n", kind.name, kind.tells));
        format!("  {:20} {}: all of these\n{}", group.name(), group.tells(), kinds.collect::<String>())
    });
    let unknown = if matches!(word, "--help" | "-h") { String::new() } else { format!("unknown row: {word}\n") };
    format!(
        "{unknown}Usage: bench/run [ROW…] [--quick] [--publish FOLDER]\n  --publish measures all, and writes tables, plots and all readings to a folder\nRows, all of them when none is named:\n{}",
        rows.concat()
    )
}

fn run(plan: Plan, kinds: &[&'static Kind], publish: Option<&Path>) -> Result<(), Failure> {
    raise_file_limit()?;
    let mut results = Results::new(about(plan)?);
    for kind in kinds {
        eprintln!("{}: {}", kind.name, kind.tells);
        results.push(kind, (kind.run)(plan));
        results.tell("load at the end", load());
        if let Some(folder) = publish {
            results.publish(folder)?;
        }
    }
    println!("{}", results.markdown());
    let file = write_results(&results.json().to_string())?;
    eprintln!("all readings: {}", file.display());
    match results.failures().next() {
        Some((kind, failure)) => Err(Failure::new(format!("{kind}: {failure}"))),
        None => Ok(()),
    }
}

/// Where and when this runs.
fn about(plan: Plan) -> Result<Vec<(&'static str, String)>, Failure> {
    let system = rustix::system::uname();
    let version = |program: &Path, flag: &str| first_line(Command::new(program).arg(flag));
    // Who is missing is told in the rows of the others as well.
    let or_missing = |version: Result<String, Failure>| version.unwrap_or_else(|failure| failure.to_string());
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let line_of = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
        line.map_or_else(|| format!("unknown {key}"), |(_, value)| value.trim().to_owned())
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    Ok(vec![
        ("when", first_line(Command::new("date").args(["-u", "-d", &format!("@{now}"), "+%Y-%m-%d %H:%M UTC"]))?),
        ("adit", version(&adit::binary()?, "--version")?),
        // Who names a binary knows where it comes from.
        ("commit of this bench", or_missing(first_line(Command::new("git").args(["describe", "--always", "--dirty"])))),
        ("OpenSSH's client", or_missing(version(Path::new("ssh"), "-V"))),
        ("OpenSSH's server", or_missing(version(Path::new("/usr/sbin/sshd"), "-V"))),
        ("autossh", or_missing(version(Path::new("autossh"), "-V"))),
        ("rathole", or_missing(rathole::version())),
        ("bore", or_missing(bore::version())),
        (
            "machine",
            format!(
                "{} {}, {cores} cores of {}, {} of memory",
                system.sysname().to_string_lossy(),
                system.release().to_string_lossy(),
                line_of("/proc/cpuinfo", "model name"),
                line_of("/proc/meminfo", "MemTotal"),
            ),
        ),
        ("size", if plan.quick { "quick" } else { "full" }.to_owned()),
        ("load at the beginning", load()),
    ])
}

/// What a program says first, whether it counts as an error or not: there are servers that tell their version only so.
fn first_line(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().doing(format!("run {}", command.get_program().to_string_lossy()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
}

/// What else this machine did: runnable tasks on average over 1, 5 and 15 minutes, our own included.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Thousands of connections want a descriptor each, here and in the servers, which inherit the limit. 10,000 sessions with a forward each
/// want twice as many of the server; who may not have them sees smaller crowds.
fn raise_file_limit() -> Result<(), Failure> {
    const WANTED: u64 = 24_576;
    if getrlimit(Resource::Nofile).maximum.is_some_and(|files| files < WANTED) {
        // Only root may.
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: Some(WANTED), maximum: Some(WANTED) });
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .doing("raise the limit of open files")?;
    if limit.maximum.is_some_and(|files| files < 12_288) {
        return Err(Failure::new("a crowd of 10,000 tunnels needs 12,288 open files; see `ulimit -Hn`"));
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
