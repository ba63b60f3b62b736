//! Private keys that somebody names: read at once, so that a wrong file or a wrong passphrase is told before anything is begun.

use std::io;
use std::path::Path;

use adit_agent::credentials::read_key_file;
use adit_ssh::crypto::{PrivateKey, PrivateKeyError};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::terminal::Terminal;

/// How often a passphrase may be mistyped; ssh(1) allows as many.
const TRIES: usize = 3;

/// What the file of a key says.
pub(crate) async fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_key_file(&file)).await.map_err(io::Error::other).flatten();
    read.map_err(|source| Failure::KeyFile { path: path.to_owned(), source })
}

/// The passphrase of a key: the given one, or one that somebody types; `None` for a key that needs none.
pub(crate) async fn passphrase_of(
    path: &Path,
    given: Option<Zeroizing<String>>,
    terminal: &Terminal,
) -> Result<Option<Zeroizing<String>>, Failure> {
    let unusable = |source| Failure::PrivateKey { path: path.to_owned(), source };
    let text = read(path).await?;
    match PrivateKey::from_openssh(&text) {
        Ok(_) => return Ok(None),
        Err(PrivateKeyError::Encrypted) => {}
        Err(error) => return Err(unusable(error)),
    }
    if let Some(given) = given {
        PrivateKey::from_encrypted(&text, &given).map_err(unusable)?;
        return Ok(Some(given));
    }
    let mut tries = 0;
    loop {
        let question = format!("Passphrase of {}: ", path.display());
        let typed = terminal.ask_secret(&question).await.ok_or_else(|| unusable(PrivateKeyError::Encrypted))?;
        tries += 1;
        match PrivateKey::from_encrypted(&text, &typed) {
            Ok(_) => return Ok(Some(typed)),
            Err(PrivateKeyError::WrongPassphrase) if tries < TRIES => eprintln!("It is another one."),
            Err(error) => return Err(unusable(error)),
        }
    }
}
