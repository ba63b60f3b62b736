//! Keeps a tunnel running where no systemd does: one process in the background per tunnel, which starts the one that forwards, and
//! starts it anew when it ends. The folder's lock makes it one.

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use adit_core::Port;
use adit_net::data_folder::{self, DataFolder, DataFolderError};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::live;
use crate::settings::{Text, TunnelSettings};

/// The command of `adit` that watches a tunnel in the background.
pub const SUPERVISE: &str = "supervise";

/// What is to be run, and what is said while it runs.
const RECORD: &str = "tunnel.json";
const LOG: &str = "log";

/// As `RestartSec=` of a unit.
const PAUSE: Duration = Duration::from_secs(3);
/// As `TimeoutStopSec=` of a unit.
const FAREWELL: Duration = Duration::from_secs(10);
/// A process that starts takes its lock in milliseconds; on a loaded machine it may wait for a disk.
const START: Duration = Duration::from_secs(10);
/// Between two looks at a lock, which tells nobody when it is taken.
const LOOK: Duration = Duration::from_millis(50);
/// A log that has grown so large makes room for a new one, and is kept until that one has.
const LARGEST_LOG: u64 = 1 << 20;
/// Between two looks at its size. A tunnel that is tried again and again writes some kilobytes in this time.
const LOG_PACE: Duration = Duration::from_secs(600);

/// What is kept running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    program: PathBuf,
    arguments: Vec<String>,
    /// A line of the user's crontab starts it with the machine.
    pub(crate) cron: bool,
}

/// A tunnel could not be kept in the background.
#[derive(Debug, Error)]
pub enum SupervisedError {
    /// The folder, or its lock.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// A file of it.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No process could be started.
    #[error("cannot start {program}")]
    Start {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It did not begin.
    #[error("the background process ended at once ({status}); {log} says why")]
    Ended {
        /// How.
        status: ExitStatus,
        /// What it said.
        log: PathBuf,
    },
    /// It does not end.
    #[error("the background process of {folder} does not end")]
    Stays {
        /// The folder of its tunnel.
        folder: PathBuf,
    },
    /// It runs where this folder is too, on another machine.
    #[error("the background process of {folder} runs on {machine}: do this there")]
    Elsewhere {
        /// The folder of its tunnel.
        folder: PathBuf,
        /// The machine's name.
        machine: String,
    },
    /// It does not say that it runs.
    #[error("the background process does not come up; {log} may say why")]
    Slow {
        /// What it said.
        log: PathBuf,
    },
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SupervisedError {
    move |source| SupervisedError::File { action, path: path.to_owned(), source }
}

impl Record {
    pub(crate) fn new(settings: &TunnelSettings, program: &Text, folder: &Text, cron: bool) -> Self {
        let mut arguments = settings.arguments(Some(&settings.key));
        arguments.push(format!("--folder={folder}"));
        Self { program: program.as_str().into(), arguments, cron }
    }

    pub(crate) fn read(folder: &Path) -> Option<Self> {
        read(folder).ok()
    }

    pub(crate) fn settings(&self) -> Option<TunnelSettings> {
        TunnelSettings::from_arguments(&self.arguments, None)
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), SupervisedError> {
        data_folder::make(folder)?;
        let path = folder.join(RECORD);
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        text.and_then(|text| data_folder::replace(&path, &text, 0o600)).map_err(file("write", &path))
    }
}

/// Who watches the tunnel of a folder. The number of a process means nothing on another machine that has the same files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Watcher {
    pid: u32,
    machine: String,
}

impl Watcher {
    fn this() -> Self {
        Self { pid: std::process::id(), machine: machine() }
    }

    fn of(folder: &Path) -> Option<Self> {
        data_folder::read_addresses(folder).ok().flatten()
    }
}

fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a process watches the tunnel of a folder. It holds the folder's lock.
pub(crate) fn is_watched(folder: &Path) -> bool {
    data_folder::holder(folder).ok().flatten().is_some()
}

/// Starts the background process of a folder, and returns when it has its lock.
pub(crate) async fn start(folder: &Path) -> Result<(), SupervisedError> {
    let record = read(folder)?;
    let program = &record.program;
    let log = folder.join(LOG);
    let written = open_log(folder)?;
    let both = written.try_clone().map_err(file("write", &log))?;
    tracing::debug!(folder = %folder.display(), "starting the background process");
    let started = Command::new(program)
        .arg(SUPERVISE)
        .arg(format!("--folder={}", folder.display()))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(written)
        .stderr(both)
        .spawn();
    let mut child = started.map_err(|source| SupervisedError::Start { program: program.clone(), source })?;
    let deadline = Instant::now() + START;
    while !is_watched(folder) {
        // One that gives way to another has done its part.
        if let Ok(Some(status)) = child.try_wait()
            && !is_watched(folder)
        {
            return Err(SupervisedError::Ended { status, log });
        }
        if Instant::now() >= deadline {
            return Err(SupervisedError::Slow { log });
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Ends the background process of a folder, and what it watches; returns when that is done.
pub(crate) async fn stop(folder: &Path) -> Result<(), SupervisedError> {
    let deadline = Instant::now() + FAREWELL + FAREWELL;
    let mut asked = None;
    while is_watched(folder) {
        // One that has just begun says in a moment who it is.
        let watcher = Watcher::of(folder);
        match watcher {
            Some(Watcher { machine, .. }) if machine != self::machine() => {
                return Err(SupervisedError::Elsewhere { folder: folder.to_owned(), machine });
            }
            Some(Watcher { pid, .. })
                if asked != Some(pid) && data_folder::is_held_by(folder, pid).unwrap_or(false) =>
            {
                tracing::debug!(pid, "ending the background process");
                send(pid, Signal::TERM);
                asked = Some(pid);
            }
            _ => {}
        }
        if Instant::now() >= deadline {
            return Err(SupervisedError::Stays { folder: folder.to_owned() });
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// The port in the name of a folder of ours.
pub(crate) fn port_of(name: &str) -> Option<Port> {
    let port: Port = name.parse().ok()?;
    // `+2222` and `02222` are ports too, and not how we write them.
    (port.to_string() == name).then_some(port)
}

/// Takes away all that lies in the folder of a tunnel that runs no more.
pub(crate) fn clear(folder: &Path) -> Result<(), SupervisedError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Watches the tunnel of a folder until `stop`: what `adit supervise` does. A second one for the same folder returns at once.
///
/// # Errors
/// [`SupervisedError`]; that the tunnel ends is none.
pub async fn supervise(folder: &Path, stop: impl Future<Output = ()>) -> Result<(), SupervisedError> {
    let lock = match DataFolder::open(folder, "tunnel") {
        Err(DataFolderError::Busy { .. }) => return Ok(()),
        opened => opened?,
    };
    // A session of its own outlives the one it was started in, and hears no Ctrl-C of its terminal. Who was started by a person at a
    // terminal, and not by `adit setup` or cron, may lead a group, and stays in it.
    let _ = rustix::process::setsid();
    let folder = lock.path();
    live::forget(folder);
    lock.write_addresses(&Watcher::this())?;
    let record = read(folder)?;
    tokio::pin!(stop);
    loop {
        let ended = tokio::select! {
            ended = run(&record, folder, stop.as_mut()) => ended,
            never = keep_log_small(folder) => match never {},
        };
        let Some(ended) = ended else { break };
        tracing::warn!(ended, "the tunnel's process ended; it is started anew");
        live::tell_end_of(folder, format!("its process ended ({ended}); it is started anew"));
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = &mut stop => break,
        }
    }
    lock.clear(&[]);
    Ok(())
}

/// One run of the tunnel: how it ended, or `None` where it was stopped. One that cannot begin has ended.
async fn run(record: &Record, folder: &Path, mut stop: Pin<&mut impl Future<Output = ()>>) -> Option<String> {
    let mut child = match keep(record, folder) {
        Ok(child) => child,
        Err(error) => return Some(error.to_string()),
    };
    tokio::select! {
        ended = child.wait() => Some(ended.map_or_else(|error| error.to_string(), |status| status.to_string())),
        () = &mut stop => {
            end(child).await;
            None
        }
    }
}

fn read(folder: &Path) -> Result<Record, SupervisedError> {
    let path = folder.join(RECORD);
    let record = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    record.map_err(file("read", &path))
}

fn keep(record: &Record, folder: &Path) -> Result<Child, SupervisedError> {
    let log = open_log(folder)?;
    let both = log.try_clone().map_err(file("write", &folder.join(LOG)))?;
    let mut command = Command::new(&record.program);
    command.args(&record.arguments).stdin(Stdio::null()).stdout(log).stderr(both).kill_on_drop(true);
    command.spawn().map_err(|source| SupervisedError::Start { program: record.program.clone(), source })
}

async fn end(mut child: Child) {
    if let Some(pid) = child.id() {
        send(pid, Signal::TERM);
    }
    if timeout(FAREWELL, child.wait()).await.is_err() {
        // It is ours, so that it can be killed; what fails here has ended.
        let _ = child.kill().await;
    }
}

/// Has the process that forwards end with the one that watches it, however that ends. `false`: it has ended already.
#[must_use]
pub fn end_with_watcher(folder: &Path) -> bool {
    let asked = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    if let Err(error) = asked {
        tracing::debug!(%error, "would outlive its watcher");
    }
    let parent = rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    parent.is_some_and(|pid| data_folder::is_held_by(folder, pid).unwrap_or(false))
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // One that is gone has ended.
    let _ = pid.map(|pid| rustix::process::kill_process(pid, signal));
}

/// Those who write it go on at its new end, because they append.
async fn keep_log_small(folder: &Path) -> Infallible {
    let path = folder.join(LOG);
    loop {
        if fs::metadata(&path).is_ok_and(|log| log.len() > LARGEST_LOG) {
            let kept = fs::copy(&path, folder.join("log.old"));
            let emptied = kept.and_then(|_| OpenOptions::new().write(true).open(&path)?.set_len(0));
            if let Err(error) = emptied {
                tracing::warn!(%error, "cannot make room in the log");
            }
        }
        sleep(LOG_PACE).await;
    }
}

fn open_log(folder: &Path) -> Result<fs::File, SupervisedError> {
    let path = folder.join(LOG);
    OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(file("write", &path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::live::LiveState;

    fn settings() -> TunnelSettings {
        let text = |typed| Text::new("text", typed).unwrap();
        TunnelSettings {
            port: Port::new(2222).unwrap(),
            bastion: text("me@bastion:22"),
            target: text("localhost:22"),
            bind: text("127.0.0.1"),
            key: text("/k"),
            host_keys: Vec::new(),
        }
    }

    /// A program that says who it is and waits.
    fn write(folder: &Path, script: &str) {
        let record = Record { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], cron: false };
        record.write(folder).unwrap();
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        let met = async {
            while !condition() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), met).await.unwrap();
    }

    #[test]
    fn a_record_says_what_the_tunnel_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |path: &Path| Text::path("path", path).unwrap();
        let record = Record::new(&settings(), &path("/usr/bin/adit".as_ref()), &path(folder.path()), true);
        record.write(folder.path()).unwrap();
        let read = Record::read(folder.path()).unwrap();
        assert_eq!((read.settings(), read.cron), (Some(settings()), true));
    }

    #[tokio::test]
    async fn what_ends_is_started_anew_and_ends_with_its_watcher() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().to_owned(), folder.path().join(LOG));
        write(&path, "echo $$; exec sleep 1000");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let watched = path.clone();
        let watching = tokio::spawn(async move { supervise(&watched, async { drop(stopped.await) }).await });
        let pids = || -> Vec<u32> {
            let log = fs::read_to_string(&log).unwrap_or_default();
            log.lines().filter_map(|line| line.parse().ok()).collect()
        };
        until(|| pids().len() == 1).await;
        assert_eq!(Watcher::of(&path), Some(Watcher::this()));
        send(pids()[0], Signal::KILL);
        until(|| pids().len() == 2).await;
        stop.send(()).unwrap();
        watching.await.unwrap().unwrap();
        assert!(!Path::new(&format!("/proc/{}", pids()[1])).exists());
        assert!(!is_watched(&path) && Watcher::of(&path).is_none());
    }

    #[tokio::test]
    async fn a_program_that_is_away_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (path, program) = (folder.path().to_owned(), folder.path().join("program"));
        Record { program: program.clone(), arguments: Vec::new(), cron: false }.write(&path).unwrap();
        let watched = path.clone();
        let watching = tokio::spawn(async move { supervise(&watched, std::future::pending()).await });
        let told = || LiveState::read(&path).and_then(|told| told.last_error).unwrap_or_default();
        until(|| told().contains("cannot start")).await;
        fs::write(&program, "#!/bin/sh\necho it runs\nexec sleep 1000\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        until(|| fs::read_to_string(path.join(LOG)).is_ok_and(|log| log.contains("it runs"))).await;
        watching.abort();
    }

    #[tokio::test]
    async fn a_watcher_of_another_machine_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let lock = DataFolder::open(folder.path(), "tunnel").unwrap();
        lock.write_addresses(&Watcher { machine: "another".to_owned(), ..Watcher::this() }).unwrap();
        let told = stop(folder.path()).await.unwrap_err().to_string();
        assert!(told.contains("runs on another"), "{told}");
    }

    #[tokio::test]
    async fn a_second_watcher_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let _first = DataFolder::open(folder.path(), "tunnel").unwrap();
        supervise(folder.path(), std::future::pending()).await.unwrap();
    }
}
