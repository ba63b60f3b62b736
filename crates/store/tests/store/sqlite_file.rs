//! The file: what is refused stays as it was, what was written stays through a crash, and who may read it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use adit_store::{AccountChange, OpenError, Store, TokenHash};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::harness::{Database, bounded, join, key};

/// All files of a folder with their bytes; `-shm` left out, which is an index that SQLite rebuilds at will.
fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    named.filter(|(name, bytes)| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty())).collect()
}

/// A folder whose `adit.db` holds `bytes`.
fn folder_with(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adit.db"), bytes).unwrap();
    folder
}

/// Opens `adit.db` of a folder, which must fail and leave every file as it was.
async fn refused(folder: &TempDir) -> OpenError {
    let before = snapshot(folder.path());
    let error = Store::open_with_lock_wait(folder.path().join("adit.db"), Duration::ZERO).await.unwrap_err();
    assert_eq!(snapshot(folder.path()), before, "after {error:?}");
    error
}

/// The bytes of a store with enough in it to have many pages.
async fn sound_bytes() -> Vec<u8> {
    let database = Database::sqlite_file();
    let store = database.open().await;
    for n in 0..100 {
        let account = join(&store, &format!("account-{n}")).await;
        store.add_key(account.id, key(&format!("key-{n}"))).await.unwrap();
    }
    store.close().await;
    fs::read(database.path()).unwrap()
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

#[tokio::test]
async fn what_is_no_database_is_left_alone() {
    let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&noise[..], b"dear diary,\n", b"S", b"SQLite format 3", b"SQLite format 3\0"] {
        let error = refused(&folder_with(bytes)).await;
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("adit.db") && told.contains("restore a backup"), "{told}");
    }
}

#[tokio::test]
async fn a_cut_or_damaged_database_is_left_alone() {
    let sound = sound_bytes().await;
    let folder = folder_with(&sound);
    Store::open(folder.path().join("adit.db")).await.expect("whole, it opens").close().await;

    for kept in [100, 4_096, sound.len() / 2, sound.len() - 4_096, sound.len() - 1] {
        let error = refused(&folder_with(&sound[..kept])).await;
        assert!(matches!(error, OpenError::Corrupt { .. }), "cut to {kept}: {error:?}");
    }
    // The header says how many pages there are; from the second on, wipe one at a time.
    let mut noticed = 0;
    for page in 1..sound.len() / 4_096 {
        let mut damaged = sound.clone();
        damaged[page * 4_096..(page + 1) * 4_096].fill(0xa5);
        let error = refused(&folder_with(&damaged)).await;
        assert!(matches!(error, OpenError::Corrupt { .. }), "page {page} wiped: {error:?}");
        noticed += 1;
    }
    assert!(noticed > 10);
}

#[tokio::test]
async fn a_log_whose_database_is_gone_is_left_alone() {
    let database = Database::sqlite_file();
    let store = database.open().await;
    join(&store, "alice").await;
    let log = fs::read(database.path().with_extension("db-wal")).unwrap();
    assert!(log.len() > 4_096);

    let missing = tempfile::tempdir().unwrap();
    fs::write(missing.path().join("adit.db-wal"), &log).unwrap();
    let error = refused(&missing).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    let empty = folder_with(b"");
    fs::write(empty.path().join("adit.db-wal"), &log).unwrap();
    let error = refused(&empty).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn damage_beside_a_log_leaves_both_alone() {
    let database = Database::sqlite_file();
    let store = database.open().await;
    for n in 0..100 {
        join(&store, &format!("account-{n}")).await;
    }
    store.close().await;
    let store = database.open().await;
    join(&store, "in the log").await;

    let folder = tempfile::tempdir().unwrap();
    let mut damaged = fs::read(database.path()).unwrap();
    let last = damaged.len() - 4_096;
    damaged[last..].fill(0xa5);
    fs::write(folder.path().join("adit.db"), damaged).unwrap();
    fs::copy(database.path().with_extension("db-wal"), folder.path().join("adit.db-wal")).unwrap();
    let error = refused(&folder).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_write_cut_off_outside_the_log_is_not_undone_by_us() {
    let theirs = tempfile::tempdir().unwrap();
    let path = theirs.path().join("adit.db");
    let mut connection = raw(&path).await;
    // A cache of one page makes SQLite write into the file before the commit.
    sqlx::raw_sql(
        "CREATE TABLE notes (text TEXT); PRAGMA cache_size = 1; BEGIN;
         INSERT INTO notes SELECT hex(randomblob(2000)) FROM sqlite_schema, json_each('[1,2,3,4,5,6,7,8,9]')",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let folder = folder_with(&fs::read(&path).unwrap());
    let journal = fs::read(path.with_extension("db-journal")).unwrap();
    assert!(!journal.is_empty());
    fs::write(folder.path().join("adit.db-journal"), journal).unwrap();
    let error = refused(&folder).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("-journal"), "{error}");
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = raw(&folder.path().join("adit.db")).await;
    sqlx::raw_sql("CREATE TABLE cookies (name TEXT); INSERT INTO cookies VALUES ('crumb')")
        .execute(&mut theirs)
        .await
        .unwrap();
    theirs.close().await.unwrap();
    let error = refused(&folder).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let folder = folder_with(&sound_bytes().await);
    let mut newer = raw(&folder.path().join("adit.db")).await;
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999, 'from the future', TRUE, x'00', 0)",
    )
    .execute(&mut newer)
    .await
    .unwrap();
    newer.close().await.unwrap();
    let error = refused(&folder).await;
    assert!(matches!(error, OpenError::Newer { found: 999, known: 5, .. }), "{error:?}");
}

#[tokio::test]
async fn a_place_that_is_no_file_is_named_with_its_reason() {
    let folder = folder_with(b"not a folder");
    let file = folder.path().join("adit.db");
    for place in [folder.path().join("missing/adit.db"), file.join("adit.db"), folder.path().to_owned()] {
        let error = Store::open(&place).await.unwrap_err();
        assert!(matches!(&error, OpenError::Inaccessible { path, .. } if *path == place), "{error:?}");
        assert!(error.to_string().contains(place.to_str().unwrap()), "{error}");
        assert!(error.source().is_some());
    }
}

#[tokio::test]
async fn a_held_file_is_told_from_a_broken_one() {
    let database = Database::sqlite_file();
    database.open().await.close().await;
    let mut holder = SqliteConnectOptions::new()
        .filename(database.path())
        .locking_mode(SqliteLockingMode::Exclusive)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("UPDATE counters SET value = value").execute(&mut holder).await.unwrap();

    let wait = Duration::from_millis(20);
    let error = Store::open_with_lock_wait(database.path(), wait).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { waited, .. } if waited == wait), "{error:?}");

    // Opening waits for a holder that lets go.
    let opening = tokio::spawn(Store::open_with_lock_wait(database.path(), Duration::from_secs(30)));
    holder.close().await.unwrap();
    opening.await.unwrap().expect("it opens once the holder is gone");
}

#[tokio::test]
async fn a_file_held_while_new_is_waited_for_too() {
    let database = Database::sqlite_file();
    let mut holder = raw(&database.path()).await;
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut holder).await.unwrap();
    let error = Store::open_with_lock_wait(database.path(), Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    let opening = tokio::spawn(Store::open_with_lock_wait(database.path(), Duration::from_secs(30)));
    holder.close().await.unwrap();
    opening.await.unwrap().expect("it opens once the holder is gone");
}

#[tokio::test]
async fn opening_does_not_queue_behind_a_write() {
    let database = Database::sqlite_file();
    database.open().await.close().await;
    let mut writer = raw(&database.path()).await;
    sqlx::raw_sql("BEGIN IMMEDIATE; UPDATE counters SET value = value").execute(&mut writer).await.unwrap();
    let store = Store::open_with_lock_wait(database.path(), Duration::ZERO).await.unwrap();
    assert!(store.list_accounts().await.unwrap().is_empty(), "reading goes on");
    let new = adit_store::NewAccount { name: "alice".to_owned(), tier: "pro".to_owned(), is_admin: false };
    let refused = store.add_account(new).await.unwrap_err();
    assert!(matches!(&refused, adit_store::AddAccountError::Store(error) if error.is_busy()), "{refused:?}");
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    join(&store, "alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_open_a_new_file_make_one_store() {
    bounded(async {
        let database = Database::sqlite_file();
        let opening: Vec<_> = (0..10)
            .map(|n| {
                let path = database.path();
                tokio::spawn(async move { join(&Store::open(path).await.unwrap(), &format!("account-{n}")).await })
            })
            .collect();
        for one in opening {
            one.await.unwrap();
        }
        assert_eq!(database.open().await.list_accounts().await.unwrap().len(), 10);
    })
    .await;
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    let folder = folder_with(&sound_bytes().await);
    let before = snapshot(folder.path());
    for _ in 0..3 {
        let store = Store::open(folder.path().join("adit.db")).await.unwrap();
        assert_eq!(store.list_accounts().await.unwrap().len(), 100);
        store.close().await;
        assert_eq!(snapshot(folder.path()), before);
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let folder = folder_with(b"");
    join(&Store::open(folder.path().join("adit.db")).await.unwrap(), "alice").await;
}

#[tokio::test]
async fn a_start_cut_off_before_the_schema_is_made_up_for() {
    let database = Database::sqlite_file();
    let options = SqliteConnectOptions::new().filename(database.path()).create_if_missing(true);
    options.journal_mode(SqliteJournalMode::Wal).connect().await.unwrap().close().await.unwrap();
    assert!(fs::metadata(database.path()).unwrap().len() > 0);
    join(&database.open().await, "alice").await;
}

/// A database as a release that knew only these migrations left it, with rows of its time.
async fn of_before(migrations: &[&str], rows: &'static str) -> Database {
    let known = tempfile::tempdir().unwrap();
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    for migration in migrations {
        fs::copy(released.join(migration), known.path().join(migration)).unwrap();
    }
    let database = Database::sqlite_file();
    let mut old = raw(&database.path()).await;
    Migrator::new(known.path()).await.unwrap().run_direct(None, &mut old, false).await.unwrap();
    sqlx::raw_sql(rows).execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    database
}

#[tokio::test]
async fn a_file_of_the_first_schema_keeps_all_it_has() {
    let alice = "INSERT INTO accounts (name, tier, is_admin, created_at) VALUES ('alice', 'plus', TRUE, 7)";
    let database = of_before(&["0001_first.sql"], alice).await;
    let store = database.open().await;
    let alice = store.account("alice").await.unwrap().unwrap();
    assert_eq!((alice.tier.as_str(), alice.is_admin, alice.created_at.0), ("plus", true, 7));
    store.set_password(alice.id, None, "$one", None).await.unwrap();
    store.close().await;
    assert!(database.open().await.credential("alice").await.unwrap().unwrap().phc.is_some());
}

#[tokio::test]
async fn links_of_before_end_with_their_makers_right_too() {
    let rows = "INSERT INTO accounts (name, tier, is_admin, created_at)
                    VALUES ('root', 'plus', TRUE, 7), ('other', 'plus', TRUE, 7), ('demoted', 'plus', FALSE, 7);
                INSERT INTO invitations (id, token_hash, kind, tier, is_admin, created_by, created_at, expires_at)
                    VALUES ('a', x'01', 'invitation', 'plus', TRUE, 'root', 7, 9000000000000),
                           ('b', x'02', 'invitation', 'plus', TRUE, 'demoted', 7, 9000000000000),
                           ('c', x'03', 'invitation', 'plus', TRUE, 'nobody', 7, 9000000000000),
                           ('d', x'04', 'invitation', 'plus', TRUE, NULL, 7, 9000000000000);
                INSERT INTO api_tokens (id, account_id, token_hash, name, scopes, created_at)
                    VALUES ('t', 1, x'0000000000000000000000000000000000000000000000000000000000000000', 'ci', 'read', 7)";
    let database = of_before(&["0001_first.sql", "0002_dashboard.sql"], rows).await;
    let store = database.open().await;
    let open = async || -> Vec<String> {
        store.list_invitations().await.unwrap().into_iter().map(|invitation| invitation.id).collect()
    };
    assert_eq!(open().await, ["a", "d"]);
    let (token, _) = store.api_token(TokenHash([0; 32])).await.unwrap().unwrap();
    assert_eq!(token.expires_at, None, "it was promised to stay");
    store.change_account("root", AccountChange { is_admin: Some(false), ..AccountChange::default() }).await.unwrap();
    assert_eq!(open().await, ["d"]);
}

#[tokio::test]
async fn only_its_owner_reads_the_file() {
    let database = Database::sqlite_file();
    let store = database.open().await;
    join(&store, "alice").await;
    let mut seen = 0;
    for entry in fs::read_dir(database.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        seen += 1;
    }
    assert_eq!(seen, 3, "the database, its log and the log's index");
}

#[tokio::test]
async fn closing_leaves_one_file_that_holds_all() {
    let database = Database::sqlite_file();
    let (store, beside) = (database.open().await, database.open().await);
    join(&store, "alice").await;
    store.close().await;
    assert_eq!(fs::metadata(database.path().with_extension("db-wal")).unwrap().len(), 0, "folded in, though in use");
    beside.close().await;
    assert_eq!(fs::read_dir(database.path().parent().unwrap()).unwrap().count(), 1);
    let alone = folder_with(&fs::read(database.path()).unwrap());
    let copy = Store::open(alone.path().join("adit.db")).await.unwrap();
    assert!(copy.account("alice").await.unwrap().is_some());
}

/// What a killed process leaves is the file and as much of its log as was written. SQLite appends to the log only,
/// and these few writes are below the size at which it folds the log in, so copying one after the other shows such a
/// moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_taken_midway_opens_with_all_that_was_acknowledged() {
    bounded(async {
        let database = Database::sqlite_file();
        let store = database.open().await;
        let (acknowledge, mut acknowledged) = tokio::sync::watch::channel(0_usize);
        let writer = tokio::spawn(async move {
            for n in 0..40 {
                join(&store, &format!("account-{n:02}")).await;
                acknowledge.send_replace(n + 1);
            }
            store // kept open: closing would fold the log in
        });
        acknowledged.wait_for(|count| *count >= 10).await.unwrap();
        let at_least = *acknowledged.borrow();
        let copy = tempfile::tempdir().unwrap();
        fs::copy(database.path(), copy.path().join("adit.db")).unwrap();
        fs::copy(database.path().with_extension("db-wal"), copy.path().join("adit.db-wal")).unwrap();
        assert!(opened_accounts(copy.path()).await >= at_least);
        let _open = writer.await.unwrap();

        // Cut off anywhere, the log still tells a beginning of the story, and a longer log never tells less.
        let log = fs::read(database.path().with_extension("db-wal")).unwrap();
        let mut last = 0;
        for part in 0..=16 {
            let cut = folder_with(&fs::read(database.path()).unwrap());
            let kept = log.len() / 3 + (log.len() - log.len() / 3) * part / 16;
            fs::write(cut.path().join("adit.db-wal"), &log[..kept]).unwrap();
            let count = opened_accounts(cut.path()).await;
            assert!(count >= last, "{kept} bytes of log told {count}, fewer told {last}");
            last = count;
        }
        assert_eq!(last, 40);
    })
    .await;
}

/// How many accounts the store in `folder` has; they must be the first so many, and the generation theirs.
async fn opened_accounts(folder: &Path) -> usize {
    let store = Store::open(folder.join("adit.db")).await.unwrap();
    let directory = store.load_directory().await.unwrap();
    let names: Vec<_> = directory.accounts.iter().map(|account| account.name.clone()).collect();
    let expected: Vec<_> = (0..names.len()).map(|n| format!("account-{n:02}")).collect();
    assert_eq!(names, expected);
    assert_eq!(directory.generation, names.len() as i64);
    names.len()
}
