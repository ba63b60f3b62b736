//! What a one-off forward logs in with; secrets are asked for before anything is connected.

use std::io;
use std::path::{Path, PathBuf};

use adit_agent::ssh_agent::SshAgent;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::private_key;
use crate::terminal::Terminal;

/// Where keys usually are, the best kind first.
const USUAL_KEYS: [&str; 3] = [".ssh/id_ed25519", ".ssh/id_ecdsa", ".ssh/id_rsa"];

pub(crate) enum Login {
    Key {
        path: String,
        passphrase: Option<Zeroizing<String>>,
    },
    SshAgent,
    /// Each server has its own.
    Passwords,
    /// The server asks, a person answers.
    Questions,
}

impl Login {
    /// The key that was named; else the ssh-agent's, if it has some; else one in its usual place; else whatever the server asks.
    pub(super) async fn choose(
        identity: Option<&Path>,
        home: Option<PathBuf>,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        if let Some(path) = identity {
            return Self::with_key(path, terminal).await;
        }
        if let Ok(agent) = SshAgent::at(None)
            && agent.identities().await.is_ok_and(|keys| !keys.is_empty())
        {
            return Ok(Self::SshAgent);
        }
        let usual = home.iter().flat_map(|home| USUAL_KEYS.map(|name| home.join(name)));
        match usual.into_iter().find(|path| path.is_file()) {
            Some(path) => Self::with_key(&path, terminal).await,
            None if Terminal::is_there() => Ok(Self::Questions),
            None => Err(Failure::NoLogin),
        }
    }

    pub(super) async fn with_key(path: &Path, terminal: &Terminal) -> Result<Self, Failure> {
        Self::key(path, private_key::passphrase_of(path, None, terminal).await?)
    }

    /// A key whose passphrase is known, if it has one.
    pub(crate) fn key(path: &Path, passphrase: Option<Zeroizing<String>>) -> Result<Self, Failure> {
        let unreadable = || io::Error::other("its name is not UTF-8");
        let name = path.to_str().ok_or_else(|| Failure::KeyFile { path: path.to_owned(), source: unreadable() })?;
        Ok(Self::Key { path: name.to_owned(), passphrase })
    }
}
