//! The file itself. It is only ever appended to, in one write under a lock, so that what others wrote stays as it is, whether we
//! understand it or not, and two writers lose nothing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::KnownHosts;
use crate::plain_file;

/// A hundred thousand hosts fit; more is no list of hosts.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What the file says; nothing where there is none.
pub(super) fn read(path: &Path) -> io::Result<String> {
    match plain_file::open(path) {
        Ok(file) => read_text(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn read_text(file: &File) -> io::Result<String> {
    let bytes = plain_file::read_all(file, MAX_FILE)?;
    // A comment in an old encoding must not hide the keys around it.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Appends the lines that `choose` wants, having seen the file as it is now; how many. A file that is not there is made for its
/// owner alone; one that is a symbolic link is not written.
pub(super) fn add(path: &Path, choose: impl FnOnce(&KnownHosts) -> Vec<String>) -> io::Result<usize> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = plain_file::open_with(&mut options, OFlags::NOFOLLOW, path)?;
    file.lock()?;
    let text = read_text(&file)?;
    let mut known = KnownHosts::default();
    known.read(path, &text);
    let lines = choose(&known);
    if lines.is_empty() {
        return Ok(0);
    }
    let mut added = lines.concat();
    if !text.is_empty() && !text.ends_with('\n') {
        // The last line has no end, maybe because somebody was cut off in it.
        added.insert(0, '\n');
    }
    file.write_all(added.as_bytes())?;
    file.sync_data()?;
    Ok(lines.len())
}
