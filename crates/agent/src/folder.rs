//! An agent's data folder: what lies where in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_net::data_folder::{self, DataFolder, DataFolderError};

use crate::records::Places;
use crate::vault::{DesktopKeyring, Vault};

/// The folder of an agent that runs, locked: a second one is refused.
#[derive(Debug)]
pub struct AgentFolder(DataFolder);

/// Where `adit` keeps the agent's state when nobody says otherwise.
///
/// # Errors
/// [`DataFolderError::Nowhere`]
pub fn default_path(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, DataFolderError> {
    data_folder::default_path("agent", variable)
}

/// Where the files of the person with this home are, for an agent with this folder.
#[must_use]
pub fn places(folder: &Path, home: Option<PathBuf>) -> Places {
    Places {
        known_hosts: folder.join("known_hosts"),
        other_known_hosts: home.iter().map(|home| home.join(".ssh/known_hosts")).collect(),
        home,
    }
}

impl AgentFolder {
    /// Opens the folder, making it (for its owner alone) where it is missing, and takes its lock. What the last agent said of its
    /// addresses is gone then.
    ///
    /// # Errors
    /// [`DataFolderError::Busy`] while another agent holds it, else what the system refused.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let folder = DataFolder::open(path, "agent")?;
        folder.clear(&[]);
        Ok(Self(folder))
    }

    /// The folder itself.
    #[must_use]
    pub fn data(&self) -> &DataFolder {
        &self.0
    }

    /// The file of the records.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.0.path().join("store.sqlite")
    }

    /// The secrets. The key of a new vault lies in the desktop's keyring, where one works.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::with_keyring(self.0.path(), Arc::new(DesktopKeyring))
    }
}
