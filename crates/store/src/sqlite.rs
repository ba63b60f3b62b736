//! The SQLite adapter: opens the file with care, and hands out transactions.
//!
//! One connection writes and a few read. SQLite lets one writer at a time in anyway; with one connection for it the
//! waiting is a fair queue in this process instead of SQLite's timed retries, and in WAL mode readers never wait.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};

use crate::db::Durability;
use crate::error::{self, OpenError, StoreError, is_lock_conflict, sqlite_code, sqlite_extended_code};

/// What a file of ours is for. One for another purpose is another program's to the one who opens it.
pub(crate) struct Purpose {
    migrations: Migrator,
    /// As `PRAGMA application_id` in the first migration sets it.
    application_id: i64,
}

/// The jump host's store.
pub(crate) static JUMP_HOST: Purpose =
    Purpose { migrations: sqlx::migrate!("./migrations/sqlite"), application_id: 0x6164_6974 };

/// The local agent's store.
pub(crate) static AGENT: Purpose =
    Purpose { migrations: sqlx::migrate!("./migrations/agent-sqlite"), application_id: 0x6164_6961 };

/// What every SQLite file begins with (<https://sqlite.org/fileformat2.html#magic_header_string>).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The magic and, right behind it, the page size.
const HEADER_START: usize = MAGIC.len() + 2;

/// Reads are short and each connection is a thread: a few let the audit page and a directory load not wait in line.
const READERS: u32 = 4;

/// How long an operation queues in this process before it reports the store as busy. Far above any transaction of
/// ours, the longest of which moves some thousand rows.
const QUEUE_WAIT: Duration = Duration::from_secs(30);

/// Pause between attempts to open a file that somebody holds; SQLite's own waiting does not cover the change to WAL.
const OPEN_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Milliseconds since the epoch; `subsec` keeps the fraction that `unixepoch` would cut off.
pub(crate) const NOW: &str = "SELECT CAST(ROUND(unixepoch('now', 'subsec') * 1000) AS INTEGER) AS now";

/// The connections of one store.
#[derive(Clone)]
pub(crate) struct Pools {
    writer: SqlitePool,
    readers: SqlitePool,
    place: Arc<str>,
}

impl Pools {
    pub(crate) async fn begin_read(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.readers.begin().await
    }

    /// Holds the right to write from its first moment (`IMMEDIATE`): a transaction that read first and wrote later
    /// could find that another process wrote in between, and would have to be tried again.
    pub(crate) async fn begin_write(
        &self,
        durability: Durability,
    ) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        // In WAL mode FULL flushes the log at each commit; NORMAL leaves that to the next checkpoint or FULL commit.
        // Neither can damage the file (https://sqlite.org/pragma.html#pragma_synchronous).
        let begin = match durability {
            Durability::Synced => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            Durability::Relaxed => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        };
        self.writer.begin_with(begin).await
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        // Not needed for safety, so a failure is told and passed over: whoever opens the file next reads the log.
        // Fails or does nothing where another process is reading.
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writer).await
            && !self.writer.is_closed()
        {
            tracing::debug!(%error, "write-ahead log not folded in at close");
        }
        self.writer.close().await;
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

/// See [`crate::Store::open`].
pub(crate) async fn open(path: &Path, lock_wait: Duration, purpose: &'static Purpose) -> Result<Pools, OpenError> {
    // Connections are opened later too, when the working directory may be another.
    let path = std::path::absolute(path).map_err(|source| OpenError::Inaccessible { path: path.to_owned(), source })?;
    let begun = Instant::now();
    loop {
        match open_once(&path, lock_wait, purpose).await {
            Err(OpenError::Locked { .. }) if begun.elapsed() < lock_wait => {
                tokio::time::sleep(OPEN_RETRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// See [`crate::Store::open_in_memory`].
pub(crate) async fn open_in_memory(purpose: &'static Purpose) -> Result<Pools, OpenError> {
    let place = Path::new(":memory:");
    let options = SqliteConnectOptions::new().filename(place).in_memory(true);
    // Such a database is its connection, so there is exactly one, for reading too, and it never goes.
    let pool = pool_of(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|cause| open_failed(place, Duration::ZERO, cause))?;
    migrate(&pool, place, Duration::ZERO, purpose).await?;
    Ok(Pools { writer: pool.clone(), readers: pool, place: Arc::from("memory") })
}

async fn open_once(path: &Path, lock_wait: Duration, purpose: &'static Purpose) -> Result<Pools, OpenError> {
    let blank = prepare_file(path)?;
    let known = purpose.migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = if blank { Schema::None } else { inspect(path, lock_wait, purpose).await? };
    if let Schema::Version(found) = found
        && found > known
    {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }

    let failed = |cause| open_failed(path, lock_wait, cause);
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(lock_wait);
    let writing = options.clone().journal_mode(SqliteJournalMode::Wal);
    let writer = pool_of_file(1).connect_with(writing).await.map_err(failed)?;
    // A current schema is left alone, so that opening does not queue behind another process's write.
    if found != Schema::Version(known)
        && let Err(error) = migrate(&writer, path, lock_wait, purpose).await
    {
        writer.close().await;
        return Err(error);
    }
    let reading = options.pragma("query_only", "ON");
    let readers = pool_of_file(READERS).connect_lazy_with(reading);
    Ok(Pools { writer, readers, place: path.to_string_lossy().into() })
}

fn pool_of(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(QUEUE_WAIT)
        // A connection to a file does not go away by itself, so the ping before each use would find nothing.
        .test_before_acquire(false)
}

/// As [`pool_of`], for connections that another one can take the place of.
///
/// A full disk, like a few other failures, makes SQLite roll back by itself (<https://sqlite.org/lang_transaction.html>, §3). sqlx does
/// not see that: its own rollback fails, and it takes the connection to be in a transaction from then on, so that nothing could be begun
/// on it, or a reader would stay on an old snapshot. Such a connection is closed when it is given back.
fn pool_of_file(connections: u32) -> SqlitePoolOptions {
    pool_of(connections).after_release(|connection, _| {
        Box::pin(async move {
            if connection.is_in_transaction() {
                // The rollback of a transaction that was dropped waits in the connection's queue; the ping is behind it.
                connection.ping().await?;
            }
            Ok(!connection.is_in_transaction())
        })
    })
}

/// Makes sure of a file that we may read and write, before SQLite touches anything. True if it holds nothing yet.
fn prepare_file(path: &Path) -> Result<bool, OpenError> {
    let inaccessible = |source| OpenError::Inaccessible { path: path.to_owned(), source };
    let mut existing = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse_orphaned_log(path)?;
            return match create_private(path) {
                Ok(()) => Ok(true),
                // Somebody else made it in the meantime; the next round looks at what it is.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(inaccessible(error)),
            };
        }
        Err(error) => return Err(inaccessible(error)),
    };
    let length = existing.metadata().map_err(inaccessible)?.len();
    if length == 0 {
        // What a first start leaves that was killed between creating and filling the file.
        refuse_orphaned_log(path)?;
        return Ok(true);
    }
    let mut start = Vec::with_capacity(HEADER_START);
    existing.by_ref().take(HEADER_START as u64).read_to_end(&mut start).map_err(inaccessible)?;
    let Some((page_size, MAGIC)) = start.split_last_chunk::<2>().map(|(magic, size)| (*size, magic)) else {
        return Err(corrupt(path, "it does not begin like an SQLite database"));
    };
    // A file that lost the end of its last page reads as if that end were zeros, which no check of SQLite's notices
    // in the middle of a value. With a log beside it, a torn page is ordinary: the log holds it whole.
    if !length.is_multiple_of(bytes_per_page(page_size)) && !has_content(&log_of(path)) {
        return Err(corrupt(path, "its end is missing"));
    }
    Ok(false)
}

/// SQLite deletes a log that lies beside no database, and with it the last chance to recover what it holds.
fn refuse_orphaned_log(path: &Path) -> Result<(), OpenError> {
    let log = log_of(path);
    if has_content(&log) {
        return Err(corrupt(path, &format!("it is empty or missing, but its log {} is not", log.display())));
    }
    Ok(())
}

fn has_content(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.len() > 0)
}

/// The page size as the header tells it; 1 stands for 65,536, which does not fit.
fn bytes_per_page(field: [u8; 2]) -> u64 {
    match u16::from_be_bytes(field) {
        1 => 65_536,
        size => size.max(1).into(),
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Only for its owner's eyes; SQLite gives the files it puts beside it the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schema {
    /// Nothing in the file yet.
    None,
    /// One of ours.
    Version(i64),
}

/// Looks at the file through a read-only descriptor: is it sound, is it ours, how old is its schema.
async fn inspect(path: &Path, lock_wait: Duration, purpose: &Purpose) -> Result<Schema, OpenError> {
    let failed = |cause| open_failed(path, lock_wait, cause);
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(lock_wait);
    let mut connection = options.connect().await.map_err(failed)?;
    let found = inspect_with(&mut connection, path, purpose).await.map_err(|refusal| match refusal {
        Refusal::Told(error) => error,
        Refusal::Failed(cause) => failed(cause),
    });
    // It only read; how it ends changes nothing.
    connection.close().await.ok();
    found
}

enum Refusal {
    Told(OpenError),
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(cause: sqlx::Error) -> Self {
        Self::Failed(cause)
    }
}

async fn inspect_with(connection: &mut SqliteConnection, path: &Path, purpose: &Purpose) -> Result<Schema, Refusal> {
    // One snapshot: between two looks, another process may fill a new file.
    let mut snapshot = connection.begin().await?;
    let checked: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *snapshot).await?;
    if checked != "ok" {
        return Err(Refusal::Told(corrupt(path, &checked)));
    }
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *snapshot).await?;
    if application == purpose.application_id {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut *snapshot).await?;
        return Ok(Schema::Version(found.unwrap_or(0)));
    }
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema").fetch_one(&mut *snapshot).await?;
    if application == 0 && tables == 0 {
        Ok(Schema::None)
    } else {
        Err(Refusal::Told(OpenError::Foreign { path: path.to_owned() }))
    }
}

/// All missing migrations in one transaction that holds the right to write: two processes that start together do not
/// both migrate, and a failure leaves the schema as it was.
async fn migrate(
    writer: &SqlitePool,
    path: &Path,
    lock_wait: Duration,
    purpose: &'static Purpose,
) -> Result<(), OpenError> {
    let failed = |cause| open_failed(path, lock_wait, cause);
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    // Not `run`: its future is not `Send` for a borrowed connection ("`Acquire` is not general enough").
    match purpose.migrations.run_direct(None, &mut *tx, false).await {
        Ok(()) => tx.commit().await.map_err(failed),
        Err(MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) if is_plain(&cause) => {
            Err(failed(cause))
        }
        Err(source) => Err(OpenError::Migration { path: path.to_owned(), source: Box::new(source) }),
    }
}

/// Whether an error is the disk's or another process's doing, not the migration's.
fn is_plain(cause: &sqlx::Error) -> bool {
    sqlite_code(cause).is_some_and(|code| code != error::SQLITE_ERROR)
}

fn corrupt(path: &Path, reason: &str) -> OpenError {
    OpenError::Corrupt { path: path.to_owned(), reason: reason.to_owned() }
}

/// Sorts what SQLite says while the file is being opened.
fn open_failed(path: &Path, waited: Duration, cause: sqlx::Error) -> OpenError {
    let path = path.to_owned();
    if is_lock_conflict(&cause) {
        return OpenError::Locked { path, waited };
    }
    // Undoing it would be a write. A store of ours is in this state only if its very first start was cut off, when
    // there is nothing in it to lose.
    if sqlite_extended_code(&cause) == Some(error::SQLITE_READONLY_ROLLBACK) {
        return corrupt(&path, "a write to it was cut off, and its -journal file tells how to undo it");
    }
    match sqlite_code(&cause) {
        Some(error::SQLITE_CORRUPT | error::SQLITE_NOTADB) => {
            let reason = cause.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default();
            OpenError::Corrupt { path, reason }
        }
        Some(
            error::SQLITE_PERM
            | error::SQLITE_READONLY
            | error::SQLITE_IOERR
            | error::SQLITE_FULL
            | error::SQLITE_CANTOPEN,
        ) => OpenError::Inaccessible { path, source: io::Error::other(cause) },
        _ => match cause {
            sqlx::Error::Io(source) => OpenError::Inaccessible { path, source },
            cause => OpenError::Database(StoreError::new("open its database", cause)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn file(folder: &tempfile::TempDir) -> Pools {
        let pools = open(&folder.path().join("store"), Duration::ZERO, &AGENT).await.unwrap();
        sqlx::query("CREATE TABLE notes (text BLOB)").execute(&pools.writer).await.unwrap();
        pools
    }

    async fn add_note(pools: &Pools) -> Result<(), sqlx::Error> {
        let mut tx = pools.begin_write(Durability::Synced).await?;
        sqlx::query("INSERT INTO notes VALUES (zeroblob(100000))").execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn count_notes(pools: &Pools) -> i64 {
        let mut tx = pools.begin_read().await.unwrap();
        sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(&mut *tx).await.unwrap()
    }

    #[tokio::test]
    async fn after_a_full_disk_writing_goes_on_as_soon_as_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let pools = file(&folder).await;
        // Never less than the file has: not one page more, which SQLite tells like a full disk.
        sqlx::query("PRAGMA max_page_count = 1").execute(&pools.writer).await.unwrap();
        for _ in 0..2 {
            let error = add_note(&pools).await.unwrap_err();
            assert_eq!(sqlite_code(&error), Some(error::SQLITE_FULL), "{error}");
            sqlx::query("PRAGMA max_page_count = 1").execute(&pools.writer).await.unwrap();
        }
        sqlx::query("PRAGMA max_page_count = 1000000").execute(&pools.writer).await.unwrap();
        for _ in 0..2 {
            add_note(&pools).await.unwrap();
        }
        assert_eq!(count_notes(&pools).await, 2);
    }

    #[tokio::test]
    async fn after_an_undone_read_what_is_new_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let pools = file(&folder).await;
        let mut tx = pools.begin_read().await.unwrap();
        // As SQLite itself does after some failures, without a word to sqlx.
        sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await.unwrap();
        drop(tx);
        // Often enough for each reader to have its turn twice.
        for count in 0..=2 * i64::from(READERS) {
            assert_eq!(count_notes(&pools).await, count);
            add_note(&pools).await.unwrap();
        }
    }
}
