//! Why a tunnel was not installed, or not removed.

use std::io;
use std::path::PathBuf;

use adit_net::data_folder::DataFolderError;
use thiserror::Error;

use crate::command::CommandError;
use crate::settings::BadText;
use crate::supervised::SupervisedError;
use crate::unit::Manager;

/// The first systemd that has `LoadCredential=`.
pub(super) const OLDEST_SYSTEMD: u32 = 247;

/// A tunnel was not installed; what was there before is there again.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The place takes rights that this user lacks.
    #[error(
        "a tunnel of the system takes root: run the same with sudo, or add --user to have it run as a service of your own \
         (--supervise where there is no systemd)"
    )]
    NotRoot,
    /// There is no systemd to start it.
    #[error("no systemd runs here{}; --supervise keeps the tunnel up without one", of_user(*.0))]
    NoSystemd(Manager),
    /// Nothing says where the user's units lie.
    #[error("neither XDG_CONFIG_HOME nor HOME says where the units of this user lie")]
    NoHome,
    /// It does not know how to hand over a key.
    #[error(
        "the systemd here is {version}, and a tunnel takes {} at least, which hands over keys; --supervise keeps the tunnel up without it",
        OLDEST_SYSTEMD
    )]
    OldSystemd {
        /// Its version.
        version: u32,
    },
    /// Neither program nor folder may have such a name.
    #[error(transparent)]
    Text(#[from] BadText),
    /// The folder of background processes.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The program lies where no unit can name it.
    #[error("{0}: install adit at a plain path, such as /usr/local/bin/adit")]
    Program(BadText),
    /// Another unit has the name.
    #[error(
        "there is {path}, which adit did not make: remove it first (`systemctl disable --now {name}`, then delete the file), and its tunnel with it"
    )]
    NameTaken {
        /// The file.
        path: PathBuf,
        /// The unit.
        name: String,
    },
    /// A file could not be written.
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
    /// A program that was asked did not do it.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The background process.
    #[error(transparent)]
    Supervised(#[from] SupervisedError),
}

/// Background tunnels cannot be changed now.
#[derive(Debug, Error)]
pub enum TurnError {
    /// Somebody else changes them.
    #[error("another `adit setup` or `adit remove` is at work on {folder}; try again when it is done")]
    Busy {
        /// The folder of all of them.
        folder: PathBuf,
    },
    /// The folder cannot be made.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// It cannot be locked.
    #[error("cannot lock {folder}")]
    Lock {
        /// The folder of all of them.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A tunnel was not removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// It is somebody else's.
    #[error(
        "{path} was not made by adit, which leaves it alone: `systemctl disable --now {name}`, then delete the file"
    )]
    NotOurs {
        /// The unit's file.
        path: PathBuf,
        /// The unit.
        name: String,
    },
    /// The folder of background processes.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The place takes rights that this user lacks.
    #[error("{path} is the system's: run the same with sudo")]
    NotRoot {
        /// The unit.
        path: PathBuf,
    },
    /// Its file could not be removed.
    #[error("cannot remove {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program that was asked did not do it.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The background process.
    #[error(transparent)]
    Supervised(#[from] SupervisedError),
}

fn of_user(manager: Manager) -> &'static str {
    match manager {
        Manager::System => "",
        Manager::User => " for this user (no login session has been made for them)",
    }
}
