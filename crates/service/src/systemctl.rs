//! Asks a systemd to do things with our units, by its own program.

use std::path::Path;

use crate::command::{CommandError, Run};
use crate::place::Folders;
use crate::unit::Manager;

/// One systemd.
pub(crate) struct Systemctl<'a> {
    manager: Manager,
    folders: &'a Folders,
}

/// A unit as systemd sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnitState {
    /// `active`, `activating`, `inactive`, `failed` and others.
    pub(crate) active: String,
    /// More of the same: `auto-restart` where it ended and is started anew after a pause.
    pub(crate) sub: String,
    /// The process, where one runs.
    pub(crate) main_pid: Option<u32>,
    /// How often systemd has started it anew by itself.
    pub(crate) restarts: u32,
    /// Why it ended last; `success` where nothing went wrong.
    pub(crate) result: String,
    /// The number with which it ended last, systemd's own ones among them (systemd.exec(5), “Process Exit Codes”).
    pub(crate) exit: u32,
}

impl<'a> Systemctl<'a> {
    pub(crate) fn new(manager: Manager, folders: &'a Folders) -> Self {
        Self { manager, folders }
    }

    /// Whether this systemd runs (sd_booted(3)).
    pub(crate) fn is_there(&self) -> bool {
        match self.manager {
            Manager::System => Path::new("/run/systemd/system").is_dir(),
            Manager::User => self.folders.user_runtime().is_some_and(|folder| folder.join("systemd").is_dir()),
        }
    }

    /// Its version, such as 252.
    pub(crate) async fn version(&self) -> Result<u32, CommandError> {
        let shown = self.run(&["show", "--property=Version", "--value"]).await?;
        // What follows is a distribution's.
        let digits: String = shown.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse().unwrap_or(0))
    }

    /// Has it read the units anew.
    pub(crate) async fn reload(&self) -> Result<(), CommandError> {
        self.run(&["daemon-reload"]).await.map(drop)
    }

    pub(crate) async fn enable(&self, unit: &str) -> Result<(), CommandError> {
        self.run(&["enable", "--quiet", unit]).await.map(drop)
    }

    /// Starts it, anew where it runs. A tunnel is started when it is up, so this is not waited for.
    pub(crate) async fn restart(&self, unit: &str) -> Result<(), CommandError> {
        self.run(&["restart", "--no-block", unit]).await.map(drop)
    }

    /// Stops it, and forgets its names and how it failed.
    pub(crate) async fn disable(&self, unit: &str) -> Result<(), CommandError> {
        self.run(&["disable", "--quiet", "--now", unit]).await?;
        // Only what has failed can be reset; the rest is an error of no interest.
        let _ = self.run(&["reset-failed", unit]).await;
        Ok(())
    }

    pub(crate) async fn show(&self, unit: &str) -> Result<UnitState, CommandError> {
        let properties = "--property=ActiveState,SubState,MainPID,NRestarts,Result,ExecMainStatus";
        Ok(UnitState::parse(&self.run(&["show", properties, unit]).await?))
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, CommandError> {
        let manager = match self.manager {
            Manager::System => "--system",
            Manager::User => "--user",
        };
        let mut run = Run::new("systemctl", std::iter::once(manager).chain(arguments.iter().copied()));
        if let (Manager::User, Some(folder)) = (self.manager, self.folders.user_runtime()) {
            run.variables.push(("XDG_RUNTIME_DIR", folder.to_string_lossy().into_owned()));
        }
        run.output().await
    }
}

impl UnitState {
    fn parse(shown: &str) -> Self {
        let value =
            |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
        Self {
            active: value("ActiveState").to_owned(),
            main_pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
            restarts: value("NRestarts").parse().unwrap_or(0),
            result: value("Result").to_owned(),
            sub: value("SubState").to_owned(),
            exit: value("ExecMainStatus").parse().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_shows_is_read() {
        let shown = "MainPID=412\nNRestarts=3\nResult=exit-code\nExecMainStatus=243\nActiveState=activating\nSubState=auto-restart\n";
        let state = UnitState::parse(shown);
        assert_eq!((state.active.as_str(), state.main_pid, state.restarts), ("activating", Some(412), 3));
        assert_eq!((state.sub.as_str(), state.result.as_str(), state.exit), ("auto-restart", "exit-code", 243));
        assert_eq!(UnitState::parse("ActiveState=inactive\nMainPID=0\n").main_pid, None);
    }
}
