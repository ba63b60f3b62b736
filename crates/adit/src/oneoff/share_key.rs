//! The key of `adit share`: made once, kept for its owner alone, and shown to whoever has to let it in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use adit_net::data_folder;
use adit_ssh::crypto::{PrivateKey, PublicKey};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// What a jump host's administrator sees beside the key.
const COMMENT: &str = "adit share";

/// Makes the key, and its `.pub` beside it, if there is none. Says whether it did.
pub(super) fn make_if_missing(path: &Path) -> Result<bool, Failure> {
    if path.exists() {
        return Ok(false);
    }
    let failed = |source| Failure::MakeKey { path: path.to_owned(), source };
    let key = PrivateKey::generate_ed25519().map_err(|error| failed(io::Error::other(error)))?;
    let text: Zeroizing<String> = key.to_openssh(COMMENT).map_err(|error| failed(io::Error::other(error)))?;
    data_folder::write_once(path, text.as_bytes()).map_err(failed)?;
    let public = format!("{}\n", key.public_key().to_text(COMMENT));
    // It can be made again from the key, so a folder that does not take it is no reason to stop.
    if let Err(error) = fs::write(public_path(path), public) {
        tracing::warn!(%error, "cannot write the public key beside the private one");
    }
    Ok(true)
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The public half, from the file or, for an encrypted key, from its `.pub`.
pub(super) fn public_key(path: &Path, passphrase: Option<&str>) -> Result<PublicKey, Failure> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| Failure::KeyFile { path: path.to_owned(), source })?;
    let key = match passphrase {
        None => PrivateKey::from_openssh(&text),
        Some(passphrase) => PrivateKey::from_encrypted(&text, passphrase),
    };
    let key = key.map_err(|source| Failure::PrivateKey { path: path.to_owned(), source })?;
    Ok(key.public_key().clone())
}

/// As one line of an `authorized_keys` file.
pub(super) fn line(key: &PublicKey) -> String {
    key.to_text(COMMENT)
}

/// The line as a picture for a telephone; `None` where it does not fit into one.
pub(super) fn picture(line: &str) -> Option<String> {
    let code = QrCode::new(line).ok()?;
    // Light on dark, as most terminals are: cameras read both.
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("share_key");
        assert!(make_if_missing(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let made = line(&public_key(&path, None).unwrap());
        assert!(made.starts_with("ssh-ed25519 ") && made.ends_with(" adit share"), "{made}");
        assert_eq!(fs::read_to_string(public_path(&path)).unwrap(), format!("{made}\n"));

        assert!(!make_if_missing(&path).unwrap());
        assert_eq!(line(&public_key(&path, None).unwrap()), made);
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["share_key", "share_key.pub"], "no draft stays behind");
    }

    #[test]
    fn a_key_fits_into_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("share_key");
        make_if_missing(&path).unwrap();
        let picture = picture(&line(&public_key(&path, None).unwrap())).unwrap();
        // A terminal of 80 by 24 shows its width whole.
        assert!(picture.lines().all(|row| row.chars().count() <= 60), "{picture}");
        assert!(picture.lines().count() >= 15, "{picture}");
    }
}
