//! How programs of this machine find a running agent: `addresses.json` in its folder says where it answers, and `token` what to bring.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use adit_net::data_folder::{self, DataFolder};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::gate::{AccessToken, BadToken, random_text};

/// In the agent's folder.
const TOKEN: &str = "token";

/// More than any token has; what follows in a longer file is not read.
const LARGEST_TOKEN: u64 = 4096;

/// What a running agent says of itself, as `addresses.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Where its API answers.
    pub url: String,
    /// The same, as a socket needs it.
    pub listen: SocketAddr,
    /// What to bring stands in this file.
    pub token_file: PathBuf,
    /// Its process.
    pub pid: u32,
    /// Its version of adit.
    pub version: String,
}

impl Addresses {
    /// Of an agent of this process.
    #[must_use]
    pub fn of(folder: &DataFolder, listen: SocketAddr) -> Self {
        Self {
            url: url_of(listen),
            listen,
            token_file: folder.path().join(TOKEN),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Where an agent answers that listens there.
pub(super) fn url_of(listen: SocketAddr) -> String {
    format!("http://{listen}")
}

/// There is no token to be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token {path}; run this as the user that made it")]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// None can be written; where there was one, it stays.
    #[error("cannot write the token {path}")]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others know it.
    #[error("others may read the token {path}: remove the file, and the next start makes a new one")]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It is none.
    #[error("{path} holds no token: remove the file, and the next start makes a new one")]
    Bad {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BadToken,
    },
    /// The system gave no random numbers.
    #[error("there is no randomness to make a token of")]
    NoRandomness,
}

/// A token, and where it is kept.
#[derive(Debug, Clone)]
pub struct KeptToken {
    pub(super) token: AccessToken,
    pub(super) file: PathBuf,
}

impl KeptToken {
    pub(crate) fn token(&self) -> &AccessToken {
        &self.token
    }

    /// The file it is kept in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What a request that brings it says in its `Authorization`: for whoever sets up a client.
    #[must_use]
    pub fn header(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.token.reveal()))
    }
}

/// The token of a folder, and whether it was made just now, which happens once.
///
/// # Errors
/// [`TokenError`]
pub fn token_of(folder: &DataFolder) -> Result<(KeptToken, bool), TokenError> {
    token_at(folder.path().join(TOKEN))
}

/// The same, of another door that keeps its token in this file. Its folder is there, and nobody else may write in it.
///
/// # Errors
/// [`TokenError`]
pub fn token_at(file: PathBuf) -> Result<(KeptToken, bool), TokenError> {
    let kept = |token| KeptToken { token, file: file.clone() };
    // Looked for first: one that is there needs nothing written, which a full disk would refuse.
    match read_file(file.clone()) {
        Err(TokenError::Unread { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome.map(|token| (kept(token), false)),
    }
    let made = data_folder::write_once(&file, text_of(&make_token()?).as_bytes());
    let made = made.map_err(|source| TokenError::Unwritten { path: file.clone(), source })?;
    Ok((kept(read_file(file.clone())?), made))
}

/// Makes a new token and puts it into the place of the one in this file, whole or not at all. It blocks.
pub(super) fn exchange_token(file: PathBuf) -> Result<AccessToken, TokenError> {
    let token = make_token()?;
    let written = data_folder::replace(&file, text_of(&token).as_bytes(), 0o600);
    written.map(|()| token).map_err(|source| TokenError::Unwritten { path: file, source })
}

fn make_token() -> Result<AccessToken, TokenError> {
    let text = random_text().map_err(|_| TokenError::NoRandomness)?;
    AccessToken::from_text(&text).map_err(|_| TokenError::NoRandomness)
}

/// As a file has it: a line.
fn text_of(token: &AccessToken) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", token.reveal()))
}

/// Reads the token in an agent's folder.
pub(super) fn read_token(folder: &Path) -> Result<AccessToken, TokenError> {
    read_file(folder.join(TOKEN))
}

fn read_file(path: PathBuf) -> Result<AccessToken, TokenError> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(&path).and_then(|file| {
        let mode = file.metadata()?.permissions().mode();
        file.take(LARGEST_TOKEN).read_to_string(&mut text)?;
        Ok(mode)
    });
    match read {
        Ok(mode) if mode & 0o077 != 0 => Err(TokenError::Open { path }),
        Ok(_) => AccessToken::from_text(text.trim_end()).map_err(|source| TokenError::Bad { path, source }),
        Err(source) => Err(TokenError::Unread { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path(), "tester").unwrap();
        assert!(token_of(&data).unwrap().1);
        let path = folder.path().join(TOKEN);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(text.trim_end().len(), 64, "256 bits");
        assert!(!token_of(&data).unwrap().1);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_token_that_is_there_needs_no_room_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path(), "tester").unwrap();
        // Nothing can be written beside it: a folder has the draft's place.
        let in_the_way = folder.path().join(format!("{TOKEN}.{}", std::process::id()));
        fs::create_dir(&in_the_way).unwrap();
        assert!(matches!(token_of(&data), Err(TokenError::Unwritten { .. })));
        fs::remove_dir(&in_the_way).unwrap();
        token_of(&data).unwrap();
        fs::create_dir(&in_the_way).unwrap();
        assert!(!token_of(&data).unwrap().1);
    }

    #[test]
    fn a_token_that_others_know_or_that_is_none_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path(), "tester").unwrap();
        token_of(&data).unwrap();
        let path = folder.path().join(TOKEN);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(token_of(&data), Err(TokenError::Open { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "guess me").unwrap();
        assert!(matches!(token_of(&data), Err(TokenError::Bad { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "guess me", "it is left for a person to judge");
    }
}
