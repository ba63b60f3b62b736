//! Installs tunnels, and removes them, wherever they are. What is installed is what the units and folders say: nothing else is kept.

mod error;
mod report;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_core::Port;
use adit_net::data_folder;
use tokio::time::{Instant, sleep};

pub use error::{InstallError, RemoveError, TurnError};
pub use report::TunnelReport;

use crate::command::CommandError;
use crate::crontab;
use crate::linger::{self, Linger};
use crate::place::{Folders, Place};
use crate::settings::{Text, TunnelSettings};
use crate::supervised::{self, Record};
use crate::systemctl::Systemctl;
use crate::unit::{self, Manager, Program};

/// Everybody reads a unit: what is secret about a tunnel is its key, and that is not in it.
const UNIT_MODE: u32 = 0o644;

/// Whoever holds the lock of the background tunnels has a crontab to change and a process to end. Twice that is waited for.
const TURN: Duration = Duration::from_secs(60);
const TURN_LOOK: Duration = Duration::from_millis(50);

const ROOT: u32 = 0;

/// What an installation has changed beside the tunnel itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Began {
    /// The process of the tunnel that was replaced, which may take a moment to end.
    pub replaced: Option<u32>,
    /// Services of this user outlive a logout from now on.
    pub lingers_from_now: bool,
}

/// Installs, lists and removes as one user.
#[derive(Debug, Clone)]
pub struct Installer {
    folders: Folders,
    uid: u32,
}

/// While it lives, nobody else changes background tunnels of this user.
struct Turn {
    _locked: Option<File>,
}

impl Installer {
    /// For the user that runs this.
    #[must_use]
    pub fn new(folders: Folders) -> Self {
        Self { folders, uid: rustix::process::geteuid().as_raw() }
    }

    /// Whether a tunnel can be installed in a place, before anything else is tried.
    ///
    /// # Errors
    /// [`InstallError`]
    pub async fn check(&self, place: Place, cron: bool, port: Port, program: &Path) -> Result<(), InstallError> {
        let Some(manager) = place.manager() else {
            self.supervised_folder(port)?;
            Text::path("path of adit", program)?;
            if cron {
                crontab::check().await?;
            }
            return Ok(());
        };
        if manager == Manager::System && self.uid != ROOT {
            return Err(InstallError::NotRoot);
        }
        let systemd = Systemctl::new(manager, &self.folders);
        if !systemd.is_there() {
            return Err(InstallError::NoSystemd(manager));
        }
        let version = systemd.version().await?;
        if version < error::OLDEST_SYSTEMD {
            return Err(InstallError::OldSystemd { version });
        }
        Program::new(program).map_err(InstallError::Program)?;
        let units = self.folders.units(manager).ok_or(InstallError::NoHome)?;
        check_name(units, unit::alias(port), |path| path.is_symlink())?;
        check_name(units, unit::name(port), is_ours)
    }

    /// Whether services of this user outlive a logout and a reboot.
    pub async fn linger(&self) -> Linger {
        linger::of(self.uid).await
    }

    /// The text of the unit that would be installed.
    ///
    /// # Errors
    /// [`InstallError::Program`]
    pub fn unit_text(
        &self,
        manager: Manager,
        settings: &TunnelSettings,
        program: &Path,
    ) -> Result<String, InstallError> {
        let program = Program::new(program).map_err(InstallError::Program)?;
        Ok(unit::render(settings, &program, manager))
    }

    /// The line that would be added to the crontab.
    ///
    /// # Errors
    /// [`InstallError`] where a path cannot stand in it.
    pub fn cron_line(&self, port: Port, program: &Path) -> Result<String, InstallError> {
        let (_, folder) = self.supervised_folder(port)?;
        Ok(crontab::line(port, &Text::path("path of adit", program)?, &folder))
    }

    /// The folder of a background tunnel, for files and for commands.
    fn supervised_folder(&self, port: Port) -> Result<(PathBuf, Text), InstallError> {
        let folder = self.folders.supervised(port).ok_or(InstallError::NoHome)?;
        let text = Text::path("path of the tunnel's folder", &folder)?;
        Ok((folder, text))
    }

    /// Installs a tunnel and starts it; one of the same port and place is replaced. Whether it comes up is for
    /// [`until_active`](Self::until_active) to see. Who gives up waiting for this leaves half of it behind.
    ///
    /// # Errors
    /// [`InstallError`]; what was there before is there again, as far as that goes.
    pub async fn install(
        &self,
        place: Place,
        cron: bool,
        settings: &TunnelSettings,
        program: &Path,
    ) -> Result<Began, InstallError> {
        self.check(place, cron, settings.port, program).await?;
        match place.manager() {
            Some(manager) => self.install_unit(manager, settings, program).await,
            None => self.install_supervised(cron, settings, program).await.map(|()| Began::default()),
        }
    }

    async fn install_unit(
        &self,
        manager: Manager,
        settings: &TunnelSettings,
        program: &Path,
    ) -> Result<Began, InstallError> {
        let systemd = Systemctl::new(manager, &self.folders);
        let units = self.folders.units(manager).ok_or(InstallError::NoHome)?;
        let (name, text) = (unit::name(settings.port), self.unit_text(manager, settings, program)?);
        let path = units.join(&name);
        let failed = |action: &'static str| {
            let path = path.clone();
            move |source| InstallError::File { action, path, source }
        };
        fs::create_dir_all(units).map_err(failed("make the folder of"))?;
        let before = read_if_there(&path).map_err(failed("read"))?;
        let replaced = match before {
            Some(_) => systemd.show(&name).await?.main_pid,
            None => None,
        };
        data_folder::replace(&path, text.as_bytes(), UNIT_MODE).map_err(failed("write"))?;
        let started = async {
            systemd.reload().await?;
            systemd.enable(&name).await?;
            systemd.restart(&name).await
        };
        if let Err(error) = started.await {
            restore(&systemd, &name, &path, before).await;
            return Err(error.into());
        }
        let lingers_from_now = manager == Manager::User && linger::enable(self.uid).await;
        Ok(Began { replaced, lingers_from_now })
    }

    async fn install_supervised(
        &self,
        cron: bool,
        settings: &TunnelSettings,
        program: &Path,
    ) -> Result<(), InstallError> {
        let port = settings.port;
        let (folder, folder_text) = self.supervised_folder(port)?;
        let program = Text::path("path of adit", program)?;
        let turn = self.turn().await?;
        let before = Record::read(&folder);
        supervised::stop(&folder).await?;
        let begun = async {
            Record::new(settings, &program, &folder_text, cron).write(&folder)?;
            supervised::start(&folder).await?;
            match (cron, &before) {
                (true, _) => crontab::add(port, &program, &folder_text).await?,
                (false, Some(before)) if before.cron => crontab::remove(port).await?,
                _ => {}
            }
            Ok(())
        };
        let begun = begun.await;
        if begun.is_err() {
            put_back(&folder, before).await;
        }
        drop(turn);
        begun
    }

    /// The right to change background tunnels and the crontab: one at a time, because a crontab is read and written as a whole. It is the
    /// lock of the folder itself, so that nothing is left behind.
    async fn turn(&self) -> Result<Turn, TurnError> {
        let Some(folder) = self.folders.all_supervised() else { return Ok(Turn { _locked: None }) };
        data_folder::make(folder)?;
        let failed = |source| TurnError::Lock { folder: folder.to_owned(), source };
        let locked = File::open(folder).map_err(failed)?;
        let deadline = Instant::now() + TURN;
        loop {
            match locked.try_lock() {
                Ok(()) => return Ok(Turn { _locked: Some(locked) }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(TURN_LOOK).await,
                Err(TryLockError::WouldBlock) => return Err(TurnError::Busy { folder: folder.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    /// Stops a tunnel and takes away all that was made for it.
    ///
    /// # Errors
    /// [`RemoveError`]; what is left can be removed by another try.
    pub async fn remove(&self, report: &TunnelReport) -> Result<(), RemoveError> {
        match report.scope.manager() {
            Some(manager) => self.remove_unit(manager, report).await,
            None => {
                let turn = self.turn().await?;
                supervised::stop(&report.path).await?;
                if report.cron {
                    crontab::remove(report.port).await?;
                }
                supervised::clear(&report.path)?;
                drop(turn);
                Ok(())
            }
        }
    }

    async fn remove_unit(&self, manager: Manager, report: &TunnelReport) -> Result<(), RemoveError> {
        let (path, name) = (report.path.clone(), unit::name(report.port));
        if !is_ours(&path) {
            return Err(RemoveError::NotOurs { path, name });
        }
        if manager == Manager::System && self.uid != ROOT {
            return Err(RemoveError::NotRoot { path });
        }
        let systemd = Systemctl::new(manager, &self.folders);
        let is_there = systemd.is_there();
        match is_there {
            true => systemd.disable(&name).await?,
            // In an image, or for a user without a session, there is nobody to ask, and the links are all there is beside the file.
            false => self.remove_links(manager, report.port),
        }
        fs::remove_file(&path).map_err(|source| RemoveError::File { path, source })?;
        if is_there {
            systemd.reload().await?;
        }
        Ok(())
    }

    fn remove_links(&self, manager: Manager, port: Port) {
        let wants = match manager {
            Manager::System => "multi-user.target.wants",
            Manager::User => "default.target.wants",
        };
        let Some(units) = self.folders.units(manager) else { return };
        for link in [units.join(unit::alias(port)), units.join(wants).join(unit::name(port))] {
            if link.is_symlink()
                && let Err(error) = fs::remove_file(&link)
            {
                tracing::warn!(link = %link.display(), %error, "cannot remove a link to the unit");
            }
        }
    }
}

fn check_name(units: &Path, name: String, is_fine: impl FnOnce(&Path) -> bool) -> Result<(), InstallError> {
    let path = units.join(&name);
    match path.symlink_metadata().is_ok() && !is_fine(&path) {
        true => Err(InstallError::NameTaken { path, name }),
        false => Ok(()),
    }
}

/// After a failure: as it was before, as far as that goes.
async fn restore(systemd: &Systemctl<'_>, name: &str, path: &Path, before: Option<Vec<u8>>) {
    let put_back = match &before {
        Some(text) => data_folder::replace(path, text, UNIT_MODE),
        None => {
            // It may have got as far as that, or not.
            let _ = systemd.disable(name).await;
            fs::remove_file(path)
        }
    };
    let asked: Result<(), CommandError> = async {
        systemd.reload().await?;
        if before.is_some() { systemd.restart(name).await } else { Ok(()) }
    }
    .await;
    let put_back = put_back.map_err(|error| error.to_string()).and(asked.map_err(|error| error.to_string()));
    if let Err(error) = put_back {
        tracing::warn!(path = %path.display(), error, "cannot put back what was there before");
    }
}

/// The same of a background tunnel.
async fn put_back(folder: &Path, before: Option<Record>) {
    let put_back = async {
        supervised::stop(folder).await?;
        match before {
            Some(before) => {
                before.write(folder)?;
                supervised::start(folder).await
            }
            None => supervised::clear(folder),
        }
    };
    if let Err(error) = put_back.await {
        tracing::warn!(folder = %folder.display(), %error, "cannot put back what was there before");
    }
}

fn is_ours(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.starts_with(unit::MARK))
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}
