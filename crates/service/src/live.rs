//! What a running tunnel tells of itself: to systemd, so that it is started when it forwards and not before, and in a file, for whoever
//! asks how it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_net::data_folder;
use rustix::time::{ClockId, clock_gettime};
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};

/// The file, in the runtime folder of a unit or the folder of a supervised tunnel.
const FILE: &str = "state.json";

/// How a tunnel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelState {
    /// The bastion holds the port for it.
    Connected,
    /// It comes up for the first time.
    Connecting,
    /// It was lost, or the port is refused; it is tried again.
    Reconnecting,
    /// It cannot come up until somebody does something. It is tried again all the same, seldom.
    Failed,
    /// Nothing runs.
    Stopped,
    /// Nobody can be asked.
    Unknown,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveState {
    /// The process that told it: of another, which may have left the file behind, it says nothing.
    pub pid: u32,
    /// How it is.
    pub state: TunnelState,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// The same, in milliseconds since the machine started: a clock that nobody sets.
    pub since_boot: u64,
    /// What went wrong last, as long as it matters; a sentence.
    pub last_error: Option<String>,
    /// How often it was connected again, by this process.
    pub restarts: u32,
}

impl LiveState {
    /// For how long it has been as it is.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(now_since_boot().saturating_sub(self.since_boot))
    }

    /// What a tunnel has told in this folder; `None` where none has, and where it cannot be read.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
    }
}

/// Tells how a tunnel is.
#[derive(Debug)]
pub struct Teller {
    folder: Option<PathBuf>,
    told: LiveState,
    is_ready: bool,
}

impl Teller {
    /// One that tells it in `folder`, or else in the runtime folder that systemd has made.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        let runtime = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = folder.or(runtime);
        // What ended before this one was started anew.
        let before = folder.as_deref().and_then(LiveState::read);
        let told = LiveState {
            pid: std::process::id(),
            state: TunnelState::Connecting,
            since: now(),
            since_boot: now_since_boot(),
            restarts: before.as_ref().map_or(0, |before| before.restarts),
            last_error: before.and_then(|before| before.last_error),
        };
        let teller = Self { folder, told, is_ready: false };
        teller.write();
        teller
    }

    /// What is new. The same once more is told once.
    pub fn tell(&mut self, state: TunnelState, last_error: Option<String>) {
        let is_up = state == TunnelState::Connected;
        let was_up = self.told.state == TunnelState::Connected;
        if self.told.state == state && self.told.last_error == last_error {
            return;
        }
        if self.told.state != state {
            self.told.since = now();
            self.told.since_boot = now_since_boot();
        }
        self.told.restarts += u32::from(is_up && !was_up && self.is_ready);
        self.told.state = state;
        self.told.last_error = last_error;
        self.write();
        let status = match (&self.told.last_error, is_up) {
            (_, true) => "connected".to_owned(),
            // A line feed would begin another message, and some of these words are a server's.
            (Some(error), false) => format!("{}: {}", name(state), error.replace(char::is_control, " ")),
            (None, false) => name(state).to_owned(),
        };
        let mut news = vec![NotifyState::Status(&status)];
        if is_up && !std::mem::replace(&mut self.is_ready, true) {
            news.push(NotifyState::Ready);
        }
        notify(&news);
    }

    /// It ends, because somebody asked for it.
    pub fn tell_end(self) {
        notify(&[NotifyState::Stopping]);
        if let Some(folder) = &self.folder {
            forget(folder);
        }
    }

    fn write(&self) {
        if let Some(folder) = &self.folder {
            write(folder, &self.told);
        }
    }
}

/// Everybody may read it: nothing in it is secret.
fn write(folder: &Path, told: &LiveState) {
    let text = serde_json::to_vec(told).map_err(io::Error::from);
    let written = text.and_then(|text| data_folder::replace(&folder.join(FILE), &text, 0o644));
    if let Err(error) = written {
        tracing::warn!(folder = %folder.display(), %error, "cannot tell how the tunnel is");
    }
}

/// Tells in the place of a process that has ended without a word that it is started anew, and why.
pub(crate) fn tell_end_of(folder: &Path, why: String) {
    let before = LiveState::read(folder);
    // What it has said itself says more.
    let said = before.as_ref().filter(|before| before.state == TunnelState::Failed);
    let last_error = said.and_then(|said| said.last_error.clone()).or(Some(why));
    let restarts = before.as_ref().map_or(0, |before| before.restarts) + 1;
    let (since, since_boot) = (now(), now_since_boot());
    let state = TunnelState::Reconnecting;
    write(folder, &LiveState { pid: std::process::id(), state, since, since_boot, last_error, restarts });
}

/// What an earlier run has told of itself is of no interest any more.
pub(crate) fn forget(folder: &Path) {
    // One that stays is of a process that is gone, and is overwritten by the next.
    let _ = fs::remove_file(folder.join(FILE));
}

/// How often systemd wants a sign of life, so that none that is somewhat late counts as missing; `None` where it wants none
/// (sd_watchdog_enabled(3)).
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// A sign of life, to be given by what would stop if the tunnel did. It counts from when the unit is up; until then there is a time to
/// start.
pub fn tell_alive() {
    notify(&[NotifyState::Watchdog]);
}

fn notify(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        tracing::debug!(%error, "systemd does not hear");
    }
}

/// The state as people and programs read it.
#[must_use]
pub fn name(state: TunnelState) -> &'static str {
    match state {
        TunnelState::Connected => "connected",
        TunnelState::Connecting => "connecting",
        TunnelState::Reconnecting => "reconnecting",
        TunnelState::Failed => "failed",
        TunnelState::Stopped => "stopped",
        TunnelState::Unknown => "not known",
    }
}

/// Milliseconds since the machine started, its sleep among them.
fn now_since_boot() -> u64 {
    let since = clock_gettime(ClockId::Boottime);
    u64::try_from(since.tv_sec * 1000 + since.tv_nsec / 1_000_000).unwrap_or(0)
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tunnel_tells_is_read_by_others() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(LiveState::read(folder.path()), None);
        let mut teller = Teller::new(Some(folder.path().to_owned()));
        assert_eq!(LiveState::read(folder.path()).unwrap().state, TunnelState::Connecting);
        teller.tell(TunnelState::Connected, None);
        teller.tell(TunnelState::Reconnecting, Some("gone".to_owned()));
        let lost = LiveState::read(folder.path()).unwrap();
        assert_eq!(
            (lost.state, lost.last_error.as_deref(), lost.restarts),
            (TunnelState::Reconnecting, Some("gone"), 0)
        );
        teller.tell(TunnelState::Connected, None);
        let back = LiveState::read(folder.path()).unwrap();
        assert_eq!((back.pid, back.restarts, back.last_error), (std::process::id(), 1, None));
        tell_end_of(folder.path(), "killed".to_owned());
        let told = LiveState::read(folder.path()).unwrap();
        assert_eq!((told.state, told.restarts), (TunnelState::Reconnecting, 2));
        let again = Teller::new(Some(folder.path().to_owned()));
        let told = LiveState::read(folder.path()).unwrap();
        assert_eq!(
            (told.state, told.restarts, told.last_error.as_deref()),
            (TunnelState::Connecting, 2, Some("killed"))
        );
        again.tell_end();
        assert_eq!(LiveState::read(folder.path()), None);
    }
}
