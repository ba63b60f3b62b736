//! The file itself. It is appended to in one write, or exchanged whole where something in it has to go, and both under a lock on it: what
//! others wrote stays as it is, whether we understand it or not, and two writers lose nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use adit_net::data_folder;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::KnownHosts;
use super::rewrite::end_of_last_line;
use crate::plain_file;

/// A hundred thousand hosts fit; more is no list of hosts.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What the file says; nothing where there is none.
pub(super) fn read(path: &Path) -> io::Result<String> {
    match plain_file::open(path) {
        Ok(file) => {
            let bytes = plain_file::read_all(&file, MAX_FILE)?;
            // A comment in an old encoding must not hide the keys around it.
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Appends the lines that `choose` wants, having seen the file as it is now; how many. A file that is not there is made for its
/// owner alone; one that is a symbolic link is not written.
pub(super) fn add(path: &Path, choose: impl FnOnce(&KnownHosts) -> Vec<String>) -> io::Result<usize> {
    let mut file = open_locked(path)?;
    let (known, bytes) = read_known(&file, path)?;
    let lines = choose(&known);
    if lines.is_empty() {
        return Ok(0);
    }
    let added = [end_of_last_line(&bytes), &lines.concat()].concat();
    file.write_all(added.as_bytes())?;
    file.sync_data()?;
    Ok(lines.len())
}

/// Puts into the place of the file what `choose` makes of it, whole or not at all; `None` leaves it. Rights stay as they are. It is made,
/// and not made, where [`add`] does so.
pub(super) fn exchange(path: &Path, choose: impl FnOnce(&KnownHosts, &[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
    let file = open_locked(path)?;
    let (known, bytes) = read_known(&file, path)?;
    match choose(&known, &bytes) {
        Some(text) => data_folder::replace(path, &text, file.metadata()?.mode() & 0o777),
        None => Ok(()),
    }
}

/// The file that is there once we have its lock: while we waited, another may have come into its place.
fn open_locked(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    loop {
        let file = plain_file::open_with(&mut options, OFlags::NOFOLLOW, path)?;
        file.lock()?;
        let ours = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

fn read_known(file: &File, path: &Path) -> io::Result<(KnownHosts, Zeroizing<Vec<u8>>)> {
    let bytes = plain_file::read_all(file, MAX_FILE)?;
    let mut known = KnownHosts::default();
    known.read(path, &String::from_utf8_lossy(&bytes));
    Ok((known, bytes))
}
