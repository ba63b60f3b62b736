//! What is installed, and how it is: read from the units and folders, from systemd, and from what the tunnels tell themselves.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use adit_core::Port;
use serde::{Serialize, Serializer};
use tokio::time::{Instant, sleep};

use super::Installer;
use crate::linger::{self, Linger};
use crate::live::{LiveState, TunnelState};
use crate::place::Place;
use crate::settings::TunnelSettings;
use crate::supervised::{self, Record};
use crate::systemctl::{Systemctl, UnitState};
use crate::unit::{self, Manager};

/// Between two looks at a tunnel that comes up: it tells it in a file.
const LOOK: Duration = Duration::from_millis(100);

/// A tunnel that is installed, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TunnelReport {
    /// The port of the bastion.
    #[serde(serialize_with = "as_number")]
    pub port: Port,
    /// Who keeps it running.
    pub scope: Place,
    /// Its unit, where a systemd does.
    pub unit: Option<String>,
    /// The file or folder that says what it is.
    pub path: PathBuf,
    /// `user@host:port`; `None` for a unit that is not as adit writes it.
    pub bastion: Option<String>,
    /// What the port leads to.
    pub target: Option<String>,
    /// How it is.
    pub state: TunnelState,
    /// Since when, in milliseconds since 1970.
    pub since: Option<u64>,
    /// For how long it has been connected.
    pub uptime_seconds: Option<u64>,
    /// How often it was connected again by the process that runs, and that process started anew by whoever keeps it running.
    pub restarts: u32,
    /// What went wrong last, as long as it matters.
    pub last_error: Option<String>,
    /// Whether it outlives a logout and a reboot, where that is not up to the tunnel.
    pub linger: Option<Linger>,
    /// Whether a crontab starts it with the machine.
    pub cron: bool,
    /// The process that told how it is.
    #[serde(skip)]
    pub(super) pid: Option<u32>,
}

impl TunnelReport {
    /// Whether it forwards.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == TunnelState::Connected
    }
}

impl Installer {
    /// Waits until a tunnel is up or needs somebody, at most for this long; how it is then. `None` where it is not installed. What a process
    /// tells that was `replaced` does not count.
    pub async fn until_active(
        &self,
        port: Port,
        place: Place,
        replaced: Option<u32>,
        patience: Duration,
    ) -> Option<TunnelReport> {
        let deadline = Instant::now() + patience;
        loop {
            let report = self.report(place, port).await?;
            let is_told = matches!(report.state, TunnelState::Connected | TunnelState::Failed);
            let is_settled = is_told && (replaced.is_none() || report.pid != replaced);
            if is_settled || Instant::now() >= deadline {
                return Some(report);
            }
            sleep(LOOK).await;
        }
    }

    /// Where a tunnel of this port is installed, in this place or in whichever.
    pub async fn find(&self, port: Port, place: Option<Place>) -> Vec<TunnelReport> {
        let mut found = self.list().await;
        found.retain(|report| report.port == port && place.is_none_or(|place| place == report.scope));
        found
    }

    /// All tunnels of the system, and of this user, by port.
    pub async fn list(&self) -> Vec<TunnelReport> {
        let mut reports = Vec::new();
        for place in [Place::System, Place::User, Place::Supervised] {
            for port in self.ports(place) {
                reports.extend(self.report(place, port).await);
            }
        }
        reports.sort_by_key(|report| (report.port, report.scope));
        reports
    }

    fn ports(&self, place: Place) -> Vec<Port> {
        let (folder, port_of): (_, fn(&str) -> Option<Port>) = match place.manager() {
            Some(manager) => (self.folders.units(manager), unit::port_of),
            None => (self.folders.all_supervised(), supervised::port_of),
        };
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
        entries.into_iter().flatten().filter_map(|entry| port_of(entry.ok()?.file_name().to_str()?)).collect()
    }

    /// One tunnel; `None` where it is not installed.
    pub(super) async fn report(&self, place: Place, port: Port) -> Option<TunnelReport> {
        match place.manager() {
            Some(manager) => self.report_unit(place, manager, port).await,
            None => self.report_supervised(port),
        }
    }

    async fn report_unit(&self, place: Place, manager: Manager, port: Port) -> Option<TunnelReport> {
        let name = unit::name(port);
        let path = self.folders.units(manager)?.join(&name);
        let settings = unit::parse(&fs::read_to_string(&path).ok()?);
        let shown = Systemctl::new(manager, &self.folders).show(&name).await;
        let restarts = shown.as_ref().map_or(0, |unit| unit.restarts);
        let live = self.folders.runtime(manager, port).and_then(|folder| LiveState::read(&folder));
        // Of a process that is about to end, nothing counts any more.
        let speaks = |live: &LiveState, unit: &UnitState| {
            unit.main_pid == Some(live.pid) && matches!(unit.active.as_str(), "active" | "activating")
        };
        let told = match shown {
            Err(error) => Told::Otherwise(TunnelState::Unknown, Some(error.to_string())),
            Ok(unit) => match live.filter(|live| speaks(live, &unit)) {
                Some(live) => Told::ByItself(live),
                None => Told::Otherwise(state_of(&unit), how_it_ended(&unit, &name, manager, settings.as_ref())),
            },
        };
        let linger = match manager {
            Manager::System => None,
            Manager::User => Some(linger::of(self.uid).await),
        };
        let installed = Installed { port, place, path, settings, linger, cron: false };
        Some(installed.report(told, restarts))
    }

    fn report_supervised(&self, port: Port) -> Option<TunnelReport> {
        let folder = self.folders.supervised(port)?;
        let record = Record::read(&folder)?;
        let is_watched = supervised::is_watched(&folder);
        let told = match LiveState::read(&folder) {
            Some(live) if is_watched => Told::ByItself(live),
            _ if is_watched => Told::Otherwise(TunnelState::Connecting, None),
            _ => {
                let why = "no process watches it any more; `adit setup` again starts it";
                Told::Otherwise(TunnelState::Stopped, Some(why.to_owned()))
            }
        };
        let (settings, cron) = (record.settings(), record.cron);
        let installed = Installed { port, place: Place::Supervised, path: folder, settings, linger: None, cron };
        Some(installed.report(told, 0))
    }
}

/// What is known of how a tunnel is.
enum Told {
    ByItself(LiveState),
    Otherwise(TunnelState, Option<String>),
}

/// A tunnel, without how it is.
struct Installed {
    port: Port,
    place: Place,
    path: PathBuf,
    settings: Option<TunnelSettings>,
    linger: Option<Linger>,
    cron: bool,
}

impl Installed {
    fn report(self, told: Told, restarts: u32) -> TunnelReport {
        let (bastion, target) =
            self.settings.map(|settings| (settings.bastion.to_string(), settings.target.to_string())).unzip();
        let blank = TunnelReport {
            port: self.port,
            scope: self.place,
            unit: self.place.manager().map(|_| unit::name(self.port)),
            path: self.path,
            bastion,
            target,
            state: TunnelState::Unknown,
            since: None,
            uptime_seconds: None,
            restarts,
            last_error: None,
            linger: self.linger,
            cron: self.cron,
            pid: None,
        };
        match told {
            Told::ByItself(live) => TunnelReport {
                state: live.state,
                since: Some(live.since),
                uptime_seconds: (live.state == TunnelState::Connected).then(|| live.age().as_secs()),
                restarts: restarts + live.restarts,
                last_error: live.last_error,
                pid: Some(live.pid),
                ..blank
            },
            Told::Otherwise(state, last_error) => TunnelReport { state, last_error, ..blank },
        }
    }
}

/// How a unit is that tells nothing itself.
fn state_of(unit: &UnitState) -> TunnelState {
    match (unit.active.as_str(), unit.sub.as_str()) {
        (_, "auto-restart") => TunnelState::Reconnecting,
        ("activating" | "reloading" | "active", _) if unit.restarts > 0 => TunnelState::Reconnecting,
        ("activating" | "reloading" | "active", _) => TunnelState::Connecting,
        _ => TunnelState::Stopped,
    }
}

/// What systemd knows of the last run, where it did not end well.
fn how_it_ended(unit: &UnitState, name: &str, manager: Manager, settings: Option<&TunnelSettings>) -> Option<String> {
    // systemd.exec(5), “Process Exit Codes”.
    const CREDENTIALS: u32 = 243;
    const EXEC: u32 = 203;
    let user = if manager == Manager::User { " --user" } else { "" };
    match (unit.result.as_str(), unit.exit) {
        ("" | "success", _) => None,
        ("exit-code", CREDENTIALS) => {
            let key = settings.map_or("the private key", |settings| settings.key.as_str());
            Some(format!("systemd cannot read {key}"))
        }
        ("exit-code", EXEC) => {
            Some("adit is not where it was, or may not be run; `adit setup` again puts it right".to_owned())
        }
        ("exit-code", exit) => {
            Some(format!("the last run ended with exit code {exit}; `journalctl{user} -u {name}` has its words"))
        }
        (result, _) => Some(format!("the last run ended with “{result}”; `journalctl{user} -u {name}` may say more")),
    }
}

fn as_number<S: Serializer>(port: &Port, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(port.get())
}
