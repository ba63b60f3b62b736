//! What can go wrong with the database itself. Outcomes that callers act on stand with their operation.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The database failed while the store tried to do something; the cause lies beneath (`source`).
///
/// Whatever was tried has not happened, unless the failure came while it was being committed: then it may have.
#[derive(Debug, thiserror::Error)]
#[error("the store could not {doing}")]
pub struct StoreError {
    /// What was tried, as it follows "could not".
    doing: &'static str,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Database(sqlx::Error),
    #[error("the right to it has ended")]
    RightEnded,
}

impl StoreError {
    pub(crate) fn new(doing: &'static str, cause: sqlx::Error) -> Self {
        Self { doing, cause: Cause::Database(cause) }
    }

    pub(crate) fn right_ended(doing: &'static str) -> Self {
        Self { doing, cause: Cause::RightEnded }
    }

    /// It is not the database that failed: what this handle's right rests on is gone ([`Store::acting_by`](crate::Store::acting_by)).
    #[must_use]
    pub fn is_right_ended(&self) -> bool {
        matches!(self.cause, Cause::RightEnded)
    }

    /// Another process held the database for longer than we wait. Trying again later may work.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.database().is_some_and(|cause| matches!(cause, sqlx::Error::PoolTimedOut) || is_lock_conflict(cause))
    }

    /// The store was closed; trying again can't work.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.database(), Some(sqlx::Error::PoolClosed))
    }

    /// The statement named a row of another table that is not there.
    pub(crate) fn is_foreign_key_violation(&self) -> bool {
        let error = self.database().and_then(sqlx::Error::as_database_error);
        error.is_some_and(|error| error.is_foreign_key_violation())
    }

    fn database(&self) -> Option<&sqlx::Error> {
        match &self.cause {
            Cause::Database(cause) => Some(cause),
            Cause::RightEnded => None,
        }
    }
}

/// Why the store could not be opened. Whatever is in the file is still there, unchanged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder is missing, not ours to read and write, or the disk failed.
    #[error("cannot use {} as the store: check that its folder exists and that this user may write there", path.display())]
    Inaccessible {
        /// The file we were asked to open.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "{} is damaged ({reason}); it was left as it is: restore a backup, or move it away (with its -wal file) \
         to start empty",
        path.display()
    )]
    Corrupt {
        /// The file that was left as it is.
        path: PathBuf,
        /// What is wrong with it, in a few words.
        reason: String,
    },
    /// The file is a sound SQLite database, but not one of ours.
    #[error("{} is a database of another program; it was left as it is: choose another path", path.display())]
    Foreign {
        /// The file that was left as it is.
        path: PathBuf,
    },
    /// A newer version of this program has used the file.
    #[error(
        "{} has schema {found}, this program knows {known} at most; it was left as it is: use the newer program again",
        path.display()
    )]
    Newer {
        /// The file that was left as it is.
        path: PathBuf,
        /// The schema version of the file.
        found: i64,
        /// The newest schema version this program knows.
        known: i64,
    },
    /// Another process holds the file and did not let go.
    #[error("{} is held by another process, which did not let go within {waited:?}: stop it, then try again", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The schema could not be brought up to date; the attempt was rolled back.
    #[error("cannot bring the schema of {} up to date; it was left as it is", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed in another way.
    #[error("cannot open the store")]
    Database(#[source] StoreError),
}

/// The primary result code of SQLite (<https://sqlite.org/rescode.html>), if SQLite is where the error comes from.
pub(crate) fn sqlite_code(error: &sqlx::Error) -> Option<u8> {
    u8::try_from(sqlite_extended_code(error)? & 0xff).ok()
}

/// The extended result code, which tells causes of one primary code apart.
pub(crate) fn sqlite_extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// A mistake in the SQL itself, not in the file or around it.
pub(crate) const SQLITE_ERROR: u8 = 1;
pub(crate) const SQLITE_PERM: u8 = 3;
pub(crate) const SQLITE_BUSY: u8 = 5;
pub(crate) const SQLITE_LOCKED: u8 = 6;
pub(crate) const SQLITE_READONLY: u8 = 8;
pub(crate) const SQLITE_IOERR: u8 = 10;
pub(crate) const SQLITE_CORRUPT: u8 = 11;
pub(crate) const SQLITE_FULL: u8 = 13;
pub(crate) const SQLITE_CANTOPEN: u8 = 14;
pub(crate) const SQLITE_NOTADB: u8 = 26;
pub(crate) const SQLITE_READONLY_ROLLBACK: i32 = 776;

/// Whether the database refused because somebody else holds it.
pub(crate) fn is_lock_conflict(error: &sqlx::Error) -> bool {
    matches!(sqlite_code(error), Some(SQLITE_BUSY | SQLITE_LOCKED))
}
