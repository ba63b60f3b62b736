//! Opens what must be a file, and reads it up to a bound. In the place of a file there may be a pipe, which whoever opens it would wait
//! at for ever, or something that has no end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Opens it to be read, through symbolic links too.
///
/// # Errors
/// What the system says, or that it is not a file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), OFlags::empty(), path)
}

/// Opens it as `options` and `flags` say.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_with(options: &mut OpenOptions, flags: OFlags, path: &Path) -> io::Result<File> {
    let file = options.custom_flags((flags | OFlags::NONBLOCK).bits().cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")),
    }
}

/// What is in it now; wiped when it is dropped.
///
/// # Errors
/// What the system says, or that it has more than `most` bytes.
pub(crate) fn read_all(file: &File, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = file.metadata()?.len();
    if length > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is too large: more than {most} bytes")));
    }
    // Room for more than will be read, so that no copy of a secret is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
