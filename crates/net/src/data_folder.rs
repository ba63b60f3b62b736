//! The folder where a role keeps what must survive it: made for its owner alone, locked while the role runs, and the place where
//! others on this machine learn how the running one is reached. One that others may write is not used.
//!
//! What lies in it beside `lock` and `addresses.json` is the role's own business.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

const LOCK: &str = "lock";
const ADDRESSES: &str = "addresses.json";

/// Whoever asks whether a folder [is held](is_held_by) has its lock for some microseconds. A role has it for as long as it runs, so one
/// that is taken this often, with a pause between, is a role's.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A data folder, locked: while this value lives, no other process serves or changes the folder.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Held for its lock, which the system drops with the descriptor, also after a crash.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataFolderError {
    /// Neither `--data` nor the environment says where the folder is.
    #[error("no data folder: neither XDG_STATE_HOME nor HOME is set; name one with --data DIR")]
    Nowhere,
    /// The folder cannot be made or entered.
    #[error("cannot use the data folder {path}; check its owner and rights, or name another with --data DIR")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could put files of theirs into the place of ours: another address, to have our token sent there.
    #[error(
        "others may write into the data folder {path} (mode {mode:o}); keep them out with `chmod go-w {path}`, or name another with --data DIR"
    )]
    Shared {
        /// The folder.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// Another user could do the same.
    #[error(
        "the data folder {path} belongs to another user (uid {owner}); run this as that user, or name another folder with --data DIR"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Another process holds the lock.
    #[error("another {role} already runs on {path}{}; stop it first, or use another folder with --data DIR", Pid(*.pid))]
    Busy {
        /// What runs there.
        role: &'static str,
        /// The folder.
        path: PathBuf,
        /// The process that holds it, where it has said so.
        pid: Option<u32>,
    },
    /// A file in the folder cannot be read or written.
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
}

struct Pid(Option<u32>);

impl std::fmt::Display for Pid {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(out, " (pid {pid})"))
    }
}

/// Where a role keeps its state when nobody says otherwise: the folder `name` among those of `adit` (XDG Base Directory
/// Specification).
///
/// # Errors
/// [`DataFolderError::Nowhere`] where neither variable is set.
pub fn default_path(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, DataFolderError> {
    // The specification has relative paths ignored.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("adit").join(name))
        .ok_or(DataFolderError::Nowhere)
}

/// Makes a folder, for its owner alone, where it is missing.
///
/// # Errors
/// [`DataFolderError::Folder`]
pub fn make(path: &Path) -> Result<(), DataFolderError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| DataFolderError::Folder { path: path.to_owned(), source })
}

/// Makes sure that nobody but us and the system's administrator can change what lies in a folder.
///
/// # Errors
/// [`DataFolderError::Shared`] or [`DataFolderError::Foreign`] where others can, else what the system refused.
pub fn check(path: &Path) -> Result<(), DataFolderError> {
    let folder_error = |source| DataFolderError::Folder { path: path.to_owned(), source };
    let folder = fs::metadata(path).map_err(folder_error)?;
    let (mode, owner) = (folder.mode() & 0o7777, folder.uid());
    if !is_trusted(owner, rustix::process::geteuid().as_raw()) {
        return Err(DataFolderError::Foreign { path: path.to_owned(), owner });
    }
    if mode & 0o022 != 0 {
        return Err(DataFolderError::Shared { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Root may do in anybody's folder what it likes anyway, and acts for its owner there.
fn is_trusted(owner: u32, us: u32) -> bool {
    const ROOT: u32 = 0;
    us == ROOT || owner == ROOT || owner == us
}

/// For opening what must be in a folder itself.
fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

/// Whether the process `pid` serves a folder now. Addresses that a killed process left behind may be a stranger's by now.
///
/// # Errors
/// The lock is there and cannot be opened.
pub fn is_held_by(folder: &Path, pid: u32) -> io::Result<bool> {
    Ok(holder(folder)?.is_some_and(|holder| holder.pid == Some(pid)))
}

/// A process that serves a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Which, where it has said so.
    pub pid: Option<u32>,
}

/// Who serves a folder now; `None` where nobody does, and where there is no such folder.
///
/// # Errors
/// The lock is there and cannot be opened.
pub fn holder(folder: &Path) -> io::Result<Option<Holder>> {
    let mut lock = match without_links(OpenOptions::new().read(true)).open(folder.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder { pid: read_pid(&mut lock) })),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What the process that serves a folder has said of its addresses; `None` where none has.
///
/// # Errors
/// The file is there and cannot be read, or others may have put it there.
pub fn read_addresses<T: DeserializeOwned>(folder: &Path) -> Result<Option<T>, DataFolderError> {
    let path = folder.join(ADDRESSES);
    let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    match read {
        Ok(addresses) => check(folder).map(|()| Some(addresses)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(DataFolderError::File { action: "read", path, source }),
    }
}

/// Writes a file for its owner alone that is written once: beside its place first and then linked into it, so that a crash leaves no
/// half of it, and one that appeared meanwhile stays. `false`: it was there.
///
/// # Errors
/// What the system refused.
pub fn write_once(path: &Path, content: &[u8]) -> io::Result<bool> {
    let draft = path.with_added_extension(std::process::id().to_string());
    let mut file = create_draft(&draft, 0o600)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&draft, path));
    // The draft goes in any case; a failure to remove it would hide the one that matters.
    let _ = fs::remove_file(&draft);
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts a file with these rights, whatever the umask, into the place of the one that is there, if one is: whole or not at all, and on the
/// disk when it is said to be done.
///
/// # Errors
/// What the system refused.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let draft = path.with_added_extension("new");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Opened first: once the file is in its place, nothing should be left that can be refused.
    let folder = File::open(folder)?;
    let mut file = create_draft(&draft, mode)?;
    let written = file.set_permissions(Permissions::from_mode(mode)).and_then(|()| file.write_all(content));
    let replaced = written.and_then(|()| file.sync_all()).and_then(|()| fs::rename(&draft, path));
    if let Err(error) = replaced {
        // A draft that stays is removed by the next one.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    // The new name is on the disk as well, before anybody is told so.
    folder.sync_all()
}

/// A new file, never one that lies there: a draft of a run that was killed here may still lie about, or a link of somebody's.
fn create_draft(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

impl DataFolder {
    /// Opens the folder, making it where it is missing, and takes its lock for a `role`, as people call it.
    ///
    /// # Errors
    /// [`DataFolderError::Busy`] while another process holds it, [`DataFolderError::Shared`] or [`DataFolderError::Foreign`] where
    /// others may change what lies in it, else what the system refused.
    pub fn open(path: &Path, role: &'static str) -> Result<Self, DataFolderError> {
        make(path)?;
        let folder_error = |source| DataFolderError::Folder { path: path.to_owned(), source };
        let path = fs::canonicalize(path).map_err(folder_error)?;
        check(&path)?;
        let lock_path = path.join(LOCK);
        let lock_error = |action| move |source| DataFolderError::File { action, path: lock_path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let opened = without_links(&mut options).open(path.join(LOCK));
        let mut lock = opened.map_err(|source| DataFolderError::Folder { path: path.clone(), source })?;
        match take(&lock, || std::thread::sleep(LOCK_PAUSE)) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataFolderError::Busy { role, pid: read_pid(&mut lock), path });
            }
            Err(TryLockError::Error(source)) => return Err(lock_error("lock")(source)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(lock_error("write"))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `addresses.json`, whole or not at all: a reader never sees half of it.
    ///
    /// # Errors
    /// What the system refused.
    pub fn write_addresses(&self, addresses: &impl Serialize) -> Result<(), DataFolderError> {
        let path = self.path.join(ADDRESSES);
        let write = || {
            let mut text = serde_json::to_vec_pretty(addresses)?;
            text.push(b'\n');
            // It holds no secret: who may look into the folder may read it.
            replace(&path, &text, 0o644)
        };
        write().map_err(|source| DataFolderError::File { action: "write", path: path.clone(), source })
    }

    /// Removes `addresses.json`, and what else only a running process has: nobody should read old addresses or knock at a dead socket.
    pub fn clear(&self, also: &[&Path]) {
        for path in also.iter().copied().chain([&*self.path.join(ADDRESSES)]) {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove a file of the last run");
            }
        }
    }
}

fn take(lock: &File, mut pause: impl FnMut()) -> Result<(), TryLockError> {
    for _ in 1..LOCK_TRIES {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => pause(),
            taken => return taken,
        }
    }
    lock.try_lock()
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folder_is_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&parent.path().join("a/b"), "tester").unwrap();
        assert_eq!(fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_second_one_hears_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path(), "tester").unwrap();
        let refused = DataFolder::open(folder.path(), "tester").unwrap_err().to_string();
        assert!(refused.contains("another tester already runs"), "{refused}");
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        drop(first);
        DataFolder::open(folder.path(), "tester").unwrap();
    }

    #[test]
    fn a_look_at_the_lock_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        let lock = File::create(&path).unwrap();
        let looking = File::open(&path).unwrap();
        looking.try_lock_shared().unwrap();
        let mut looking = Some(looking);
        take(&lock, || drop(looking.take())).unwrap();
        assert!(looking.is_none(), "it had to wait");
        let late = File::open(&path).unwrap();
        assert!(
            matches!(take(&late, || ()), Err(TryLockError::WouldBlock)),
            "a role's lock is not waited for without end"
        );
    }

    #[test]
    fn only_the_process_that_runs_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        assert!(!is_held_by(folder.path(), pid).unwrap(), "nobody has been here");
        let data = DataFolder::open(folder.path(), "tester").unwrap();
        assert!(is_held_by(folder.path(), pid).unwrap());
        assert!(!is_held_by(folder.path(), pid + 1).unwrap(), "addresses of another process count for nothing");
        drop(data);
        assert!(!is_held_by(folder.path(), pid).unwrap());
    }

    #[test]
    fn addresses_are_read_as_they_were_written_and_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path(), "tester").unwrap();
        assert_eq!(read_addresses::<serde_json::Value>(folder.path()).unwrap(), None);
        let written = serde_json::json!({"ssh": "127.0.0.1:2222"});
        data.write_addresses(&written).unwrap();
        assert_eq!(read_addresses(folder.path()).unwrap(), Some(written));
        let socket = data.path().join("socket");
        fs::write(&socket, "").unwrap();
        data.clear(&[&socket]);
        assert_eq!(read_addresses::<serde_json::Value>(folder.path()).unwrap(), None);
        assert!(!socket.exists());
    }

    fn with_mode(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        folder
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        for mode in [0o777, 0o1777, 0o770, 0o720, 0o702, 0o2770] {
            let folder = with_mode(mode);
            let told = DataFolder::open(folder.path(), "tester").unwrap_err().to_string();
            let path = folder.path().display().to_string();
            assert!(told.contains("others may write") && told.contains(&format!("chmod go-w {path}")), "{told}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made in it");
            fs::write(folder.path().join(ADDRESSES), "{}").unwrap();
            let told = read_addresses::<serde_json::Value>(folder.path()).unwrap_err().to_string();
            assert!(told.contains("others may write"), "{told}");
        }
        for mode in [0o700, 0o750, 0o755, 0o2755] {
            DataFolder::open(with_mode(mode).path(), "tester").unwrap();
        }
    }

    #[test]
    fn a_folder_is_ours_or_the_systems() {
        const ROOT: u32 = 0;
        for (us, owner, trusted) in
            [(1000, 1000, true), (1000, ROOT, true), (1000, 1001, false), (ROOT, ROOT, true), (ROOT, 1000, true)]
        {
            assert_eq!(is_trusted(owner, us), trusted, "user {us} in a folder of {owner}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let data_path = folder.path().join("data");
        let data = DataFolder::open(&data_path, "tester").unwrap();
        symlink(&victim, data_path.join("addresses.json.new")).unwrap();
        data.write_addresses(&serde_json::json!({})).unwrap();
        assert!(fs::symlink_metadata(data_path.join(ADDRESSES)).unwrap().is_file());
        drop(data);
        fs::remove_file(data_path.join(LOCK)).unwrap();
        symlink(&victim, data_path.join(LOCK)).unwrap();
        assert!(matches!(DataFolder::open(&data_path, "tester"), Err(DataFolderError::Folder { .. })));
        is_held_by(&data_path, std::process::id()).unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    }

    #[test]
    fn what_is_written_once_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(write_once(&path, b"first").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!write_once(&path, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn the_default_follows_the_xdg_folders() {
        let with = |pairs: &'static [(&str, &str)]| {
            default_path("agent", |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]).unwrap(), Path::new("/s/adit/agent"));
        assert_eq!(with(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]).unwrap(), Path::new("/h/.local/state/adit/agent"));
        assert!(matches!(with(&[]), Err(DataFolderError::Nowhere)));
    }
}
