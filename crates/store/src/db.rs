//! The seam between what the store says and which database hears it.
//!
//! The rooms above write a statement once, with `$1` parameters and within the SQL that SQLite and PostgreSQL share,
//! and read columns by name. What the databases do differently is settled here and below: how a transaction begins,
//! how durable it is, what their clock is called, how values travel. Every access is a [`Tx`].

use sqlx::Row as _;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Sqlite, Transaction};

use crate::authority::Authority;
use crate::error::StoreError;
use crate::sqlite;
use crate::time::UnixMillis;

/// The database under a store, and by whose right it is changed.
#[derive(Clone)]
pub(crate) struct Db {
    engine: Engine,
    /// `None` for what the server does by itself, and for whoever may open the file anyway.
    authority: Option<Authority>,
}

#[derive(Clone)]
enum Engine {
    /// One file, or memory.
    Sqlite(sqlite::Pools),
}

/// What a power cut may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Once committed, it stays: a key that was removed must not come back with the power.
    Synced,
    /// The last moments may be lost, the order never is. For what is frequent and stale after a restart anyway
    /// (leases, last use) or not worth a disk flush per event (audit); spares one flush per commit. The next
    /// [`Synced`](Self::Synced) commit makes all before it durable as well.
    Relaxed,
}

impl Db {
    pub(crate) fn sqlite(pools: sqlite::Pools) -> Self {
        Self { engine: Engine::Sqlite(pools), authority: None }
    }

    /// The same database, changed only as long as this lasts.
    pub(crate) fn acting_by(&self, authority: Authority) -> Self {
        Self { authority: Some(authority), ..self.clone() }
    }

    /// Starts a transaction that only reads, on a snapshot.
    pub(crate) async fn read(&self, doing: &'static str) -> Result<Tx, StoreError> {
        let begun = match &self.engine {
            Engine::Sqlite(pools) => pools.begin_read().await.map(Inner::Sqlite),
        };
        Ok(Tx { inner: begun.map_err(|cause| StoreError::new(doing, cause))?, doing })
    }

    /// Starts a transaction that writes. Here, with the right to write in hand, nobody can take the authority away between the look
    /// at it and the commit.
    pub(crate) async fn write(&self, durability: Durability, doing: &'static str) -> Result<Tx, StoreError> {
        let begun = match &self.engine {
            Engine::Sqlite(pools) => pools.begin_write(durability).await.map(Inner::Sqlite),
        };
        let mut tx = Tx { inner: begun.map_err(|cause| StoreError::new(doing, cause))?, doing };
        match &self.authority {
            Some(authority) if !authority.lasts(&mut tx).await? => Err(StoreError::right_ended(doing)),
            Some(_) | None => Ok(tx),
        }
    }

    /// Starts a transaction that changes accounts, keys or tiers, and counts it in the generation.
    ///
    /// The count comes first: its row is then held until the commit, so that such changes run one after the other
    /// also where the database would let them overlap.
    pub(crate) async fn change_directory(&self, doing: &'static str) -> Result<Tx, StoreError> {
        let mut tx = self.write(Durability::Synced, doing).await?;
        tx.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'", vec![]).await?;
        Ok(tx)
    }

    pub(crate) async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(pools) => pools.close().await,
        }
    }

    /// Where the data lies, for people.
    pub(crate) fn place(&self) -> &str {
        match &self.engine {
            Engine::Sqlite(pools) => pools.place(),
        }
    }
}

/// A transaction: dropped, it is rolled back.
pub struct Tx {
    inner: Inner,
    doing: &'static str,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
}

impl Tx {
    /// Runs a statement; the number of rows it touched.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64, StoreError> {
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => {
                sqlx::query_with(sql, sqlite_arguments(args)).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(|cause| StoreError::new(self.doing, cause))
    }

    /// Runs a statement; its first row.
    pub(crate) async fn fetch_optional(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        let row = match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::query_with(sql, sqlite_arguments(args))
                .fetch_optional(&mut **tx)
                .await
                .map(|row| row.map(Columns::Sqlite)),
        };
        let doing = self.doing;
        let row = row.map_err(|cause| StoreError::new(doing, cause))?;
        Ok(row.map(|columns| Row { columns, doing }))
    }

    /// Runs a statement that always has a row.
    pub(crate) async fn fetch_one(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Row, StoreError> {
        let row = self.fetch_optional(sql, args).await?;
        row.ok_or_else(|| StoreError::new(self.doing, sqlx::Error::RowNotFound))
    }

    /// Runs a statement; each of its rows, read by `read`.
    pub(crate) async fn fetch_all<T>(
        &mut self,
        sql: &'static str,
        args: Vec<Value>,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows: Result<Vec<Columns>, _> = match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::query_with(sql, sqlite_arguments(args))
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Columns::Sqlite).collect()),
        };
        let doing = self.doing;
        let rows = rows.map_err(|cause| StoreError::new(doing, cause))?;
        rows.into_iter().map(|columns| read(&Row { columns, doing })).collect()
    }

    /// The database's clock at this moment. In a transaction that writes, it is read with the right to write in
    /// hand, so the times that transactions write follow their order as far as the clock itself does.
    pub(crate) async fn now(&mut self) -> Result<UnixMillis, StoreError> {
        let sql = match self.inner {
            Inner::Sqlite(_) => sqlite::NOW,
        };
        self.fetch_one(sql, vec![]).await?.get("now").map(UnixMillis)
    }

    pub(crate) async fn generation(&mut self) -> Result<i64, StoreError> {
        self.fetch_one("SELECT value FROM counters WHERE name = 'generation'", vec![]).await?.get("value")
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let done = match self.inner {
            Inner::Sqlite(tx) => tx.commit().await,
        };
        done.map_err(|cause| StoreError::new(self.doing, cause))
    }
}

/// A parameter of a statement. A missing value keeps its type, which PostgreSQL wants to know.
#[derive(Clone, Debug)]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
    Bool(Option<bool>),
}

fn sqlite_arguments(values: Vec<Value>) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
        };
        // None of these four can fail to encode. A parameter that was left out would read as NULL, which the
        // columns that matter refuse.
        debug_assert!(added.is_ok());
    }
    arguments
}

macro_rules! value_from {
    ($($from:ty: $value:ident => $into:expr;)+) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })+
    };
}

value_from! {
    i64: value => Self::Int(Some(value));
    u16: value => Self::Int(Some(value.into()));
    u32: value => Self::Int(Some(value.into()));
    UnixMillis: value => Self::Int(Some(value.0));
    Option<i64>: value => Self::Int(value);
    Option<u16>: value => Self::Int(value.map(i64::from));
    Option<u32>: value => Self::Int(value.map(i64::from));
    Option<UnixMillis>: value => Self::Int(value.map(|time| time.0));
    &str: value => Self::Text(Some(value.to_owned()));
    String: value => Self::Text(Some(value));
    Option<String>: value => Self::Text(value);
    Vec<u8>: value => Self::Bytes(value);
    bool: value => Self::Bool(Some(value));
    Option<bool>: value => Self::Bool(value);
}

/// The parameters of a statement, `$1` first.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}
pub(crate) use args;

/// A row of a result.
pub struct Row {
    columns: Columns,
    doing: &'static str,
}

enum Columns {
    Sqlite(SqliteRow),
}

impl Row {
    /// The column `name`. A value that does not fit the type asked for is an error, never a cut value: the file may
    /// have been edited by hand.
    pub(crate) fn get<T: FromColumn>(&self, name: &'static str) -> Result<T, StoreError> {
        T::from_column(self, name).map_err(|cause| StoreError::new(self.doing, cause))
    }

    /// As [`Row::get`], for a text that is parsed further.
    pub(crate) fn parse<T>(&self, name: &'static str) -> Result<Option<T>, StoreError>
    where
        T: std::str::FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let text: Option<String> = self.get(name)?;
        text.map(|text| text.parse()).transpose().map_err(|source| self.misfit(name, source))
    }

    /// The error for a value of the column `name` that means nothing to us.
    pub(crate) fn misfit(&self, name: &str, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        StoreError::new(self.doing, misfit(name, source))
    }
}

/// A type that a column can be read as.
pub(crate) trait FromColumn: Sized {
    fn from_column(row: &Row, name: &'static str) -> Result<Self, sqlx::Error>;
}

macro_rules! from_column {
    (held: $($held:ty),+; narrowed: $($narrow:ty),+) => {
        $(impl FromColumn for $held {
            fn from_column(row: &Row, name: &'static str) -> Result<Self, sqlx::Error> {
                match &row.columns {
                    Columns::Sqlite(row) => row.try_get(name),
                }
            }
        })+
        $(impl FromColumn for $narrow {
            fn from_column(row: &Row, name: &'static str) -> Result<Self, sqlx::Error> {
                <$narrow>::try_from(i64::from_column(row, name)?).map_err(|source| misfit(name, source))
            }
        }
        impl FromColumn for Option<$narrow> {
            fn from_column(row: &Row, name: &'static str) -> Result<Self, sqlx::Error> {
                let wide = Option::<i64>::from_column(row, name)?;
                wide.map(<$narrow>::try_from).transpose().map_err(|source| misfit(name, source))
            }
        })+
    };
}

from_column!(held: i64, Option<i64>, String, Option<String>, Vec<u8>, bool; narrowed: u16, u32, u64);

impl FromColumn for UnixMillis {
    fn from_column(row: &Row, name: &'static str) -> Result<Self, sqlx::Error> {
        i64::from_column(row, name).map(UnixMillis)
    }
}

impl FromColumn for Option<UnixMillis> {
    fn from_column(row: &Row, name: &'static str) -> Result<Self, sqlx::Error> {
        Ok(Option::<i64>::from_column(row, name)?.map(UnixMillis))
    }
}

fn misfit(name: &str, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: name.to_owned(), source: Box::new(source) }
}
