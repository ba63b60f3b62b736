//! Where a tunnel is installed, and which folders belong to that.

use std::fmt;
use std::path::{Path, PathBuf};

use adit_core::Port;
use adit_net::data_folder;
use serde::Serialize;

use crate::unit::{self, Manager};

/// The administrator's units (systemd.unit(5)).
const SYSTEM_UNITS: &str = "/etc/systemd/system";
/// Where the runtime folders of system units lie.
const SYSTEM_RUNTIME: &str = "/run";

/// Who starts a tunnel and keeps it running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The system's systemd, from boot on.
    System,
    /// The systemd of a user, from their login on, or from boot on where they may linger.
    User,
    /// A process of adit's own in the background, where there is no systemd.
    Supervised,
}

impl Place {
    /// Its systemd, if it has one.
    #[must_use]
    pub fn manager(self) -> Option<Manager> {
        match self {
            Self::System => Some(Manager::System),
            Self::User => Some(Manager::User),
            Self::Supervised => None,
        }
    }
}

/// As commands name it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "--system",
            Self::User => "--user",
            Self::Supervised => "--supervise",
        })
    }
}

/// The folders of whoever runs this.
#[derive(Debug, Clone)]
pub struct Folders {
    system_units: PathBuf,
    system_runtime: PathBuf,
    user_units: Option<PathBuf>,
    user_runtime: Option<PathBuf>,
    supervised: Option<PathBuf>,
}

impl Folders {
    /// Those that the environment names. Root without a home has those of the system.
    #[must_use]
    pub fn of_user(uid: u32, variable: impl Fn(&str) -> Option<String>) -> Self {
        // The XDG specification has relative paths ignored.
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let usual = PathBuf::from(format!("/run/user/{uid}"));
        Self {
            system_units: SYSTEM_UNITS.into(),
            system_runtime: SYSTEM_RUNTIME.into(),
            user_units: config.map(|config| config.join("systemd/user")),
            // `su` and `sudo` make no session, and the user's manager may run all the same.
            user_runtime: absolute("XDG_RUNTIME_DIR").or_else(|| usual.is_dir().then_some(usual)),
            supervised: data_folder::default_path("services", &variable).ok(),
        }
    }

    /// Where units lie; `None` where this user has no place for them.
    pub(crate) fn units(&self, manager: Manager) -> Option<&Path> {
        match manager {
            Manager::System => Some(&self.system_units),
            Manager::User => self.user_units.as_deref(),
        }
    }

    /// Where the runtime folder of a unit lies.
    pub(crate) fn runtime(&self, manager: Manager, port: Port) -> Option<PathBuf> {
        let name = unit::name(port);
        let folder = match manager {
            Manager::System => Some(&*self.system_runtime),
            Manager::User => self.user_runtime(),
        };
        Some(folder?.join(name.strip_suffix(".service").unwrap_or(&name)))
    }

    /// What a user's programs have as `XDG_RUNTIME_DIR`.
    pub(crate) fn user_runtime(&self) -> Option<&Path> {
        self.user_runtime.as_deref()
    }

    /// The folder of a tunnel that no systemd watches.
    pub(crate) fn supervised(&self, port: Port) -> Option<PathBuf> {
        Some(self.supervised.as_ref()?.join(port.to_string()))
    }

    /// The folder of all of them.
    pub(crate) fn all_supervised(&self) -> Option<&Path> {
        self.supervised.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_where_the_environment_says() {
        let port = Port::new(2222).unwrap();
        let variable = |name: &str| match name {
            "HOME" => Some("/h".to_owned()),
            "XDG_RUNTIME_DIR" => Some("/r".to_owned()),
            _ => None,
        };
        let folders = Folders::of_user(7, variable);
        assert_eq!(folders.units(Manager::User), Some(Path::new("/h/.config/systemd/user")));
        assert_eq!(folders.runtime(Manager::User, port), Some("/r/adit-tunnel-2222".into()));
        assert_eq!(folders.runtime(Manager::System, port), Some("/run/adit-tunnel-2222".into()));
        assert_eq!(folders.supervised(port), Some("/h/.local/state/adit/services/2222".into()));
        let nowhere = Folders::of_user(7, |_| None);
        assert_eq!((nowhere.supervised(port), nowhere.units(Manager::User)), (None, None));
    }
}
