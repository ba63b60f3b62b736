//! Audit events: what happened, when, and on whose account. They are appended, read and pruned, never changed.

use std::net::SocketAddr;

use crate::Store;
use crate::accounts::containing;
use crate::db::{Durability, Row, Tx, Value, args};
use crate::error::StoreError;
use crate::leases::{session_column, session_from};
use crate::time::UnixMillis;

/// Events that one transaction prunes. A step of a log of a million took some 20 ms; a lease waits no longer than
/// that behind a year of log.
const PRUNE_STEP: i64 = 500;

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAuditEvent {
    /// When it happened, which may be a while before it is appended.
    pub at: UnixMillis,
    /// What happened, as a short name that filters can use, for example `key-removed`.
    pub kind: String,
    /// On whose account, if one is known.
    pub account: Option<AuditAccount>,
    /// In which session, if in one.
    pub session: Option<u64>,
    /// From where, if over the network.
    pub source: Option<SocketAddr>,
    /// More about it, as JSON text; kept as it is. No secrets.
    pub detail: String,
}

/// An account as an event remembers it, also after it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditAccount {
    /// Its id, which no other account ever gets.
    pub id: i64,
    /// Its name, which a later account may get.
    pub name: String,
}

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Higher than that of every event appended before.
    pub id: i64,
    /// What was appended.
    pub event: NewAuditEvent,
}

/// Which events to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those of the account with this id.
    pub account: Option<i64>,
    /// Only those of accounts that had this name.
    pub account_name: Option<String>,
    /// Only those of this kind.
    pub kind: Option<String>,
    /// Only those with this in the account's name, the source or the detail. No index serves it: the whole log is read.
    pub text: Option<String>,
    /// Only those that happened then or later.
    pub since: Option<UnixMillis>,
    /// Only those that come after the event with this id in the list: the last id of the page before.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

impl Default for AuditQuery {
    /// The newest hundred, whoever and whatever.
    fn default() -> Self {
        Self { account: None, account_name: None, kind: None, text: None, since: None, before: None, limit: 100 }
    }
}

impl Store {
    /// Appends one event; returns its id. The last events before a power cut may be lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn append_audit_event(&self, event: NewAuditEvent) -> Result<i64, StoreError> {
        let mut tx = self.db.write(Durability::Relaxed, "append an audit event").await?;
        let id = append(&mut tx, event).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Appends events in their order, all or none. The last ones before a power cut may be lost.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn append_audit_events(&self, events: Vec<NewAuditEvent>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.write(Durability::Relaxed, "append audit events").await?;
        for event in events {
            append(&mut tx, event).await?;
        }
        tx.commit().await
    }

    /// Lists events, newest first: by the time they happened, then by id. A page that begins before an event that
    /// has been pruned is empty, as all that would be on it is pruned too.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails.
    pub async fn list_audit_events(&self, query: AuditQuery) -> Result<Vec<AuditEvent>, StoreError> {
        let mut tx = self.db.read("list audit events").await?;
        let (before_at, before_id) = match query.before {
            None => (UnixMillis(i64::MAX), i64::MAX),
            Some(id) => match tx.fetch_optional("SELECT at FROM audit_events WHERE id = $1", args![id]).await? {
                Some(row) => (row.get("at")?, id),
                None => return Ok(Vec::new()),
            },
        };
        // One text per combination rather than `$n IS NULL OR …`, which would keep the database from its indexes.
        macro_rules! newest_first {
            ($filter:literal) => {
                concat!(
                    "SELECT id, at, kind, account_id, account_name, session, source, detail FROM audit_events ",
                    "WHERE at >= $1 AND (at, id) < ($2, $3) AND ($5 = '%%' OR account_name LIKE $5 ESCAPE '!'",
                    " OR source LIKE $5 ESCAPE '!' OR detail LIKE $5 ESCAPE '!') ",
                    $filter,
                    " ORDER BY at DESC, id DESC LIMIT $4"
                )
            };
        }
        let since = query.since.unwrap_or(UnixMillis(i64::MIN));
        let mut args = args![since, before_at, before_id, query.limit, containing(query.text.as_deref())];
        let by_id = query.account.map(Value::from);
        let by_name = query.account_name.map(Value::from);
        let sql = match (&by_id, &by_name, &query.kind) {
            (None, None, None) => newest_first!(""),
            (None, None, Some(_)) => newest_first!("AND kind = $6"),
            (Some(_), None, None) => newest_first!("AND account_id = $6"),
            (Some(_), None, Some(_)) => newest_first!("AND account_id = $6 AND kind = $7"),
            (None, Some(_), None) => newest_first!("AND account_name = $6"),
            (None, Some(_), Some(_)) => newest_first!("AND account_name = $6 AND kind = $7"),
            (Some(_), Some(_), None) => newest_first!("AND account_id = $6 AND account_name = $7"),
            (Some(_), Some(_), Some(_)) => newest_first!("AND account_id = $6 AND account_name = $7 AND kind = $8"),
        };
        args.extend(by_id.into_iter().chain(by_name).chain(query.kind.map(Value::from)));
        tx.fetch_all(sql, args, event_from).await
    }

    /// Removes the events that happened before `before`; returns how many. Works in steps, so that other writes get
    /// their turn: a future that is dropped has removed some of them, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails; what was removed until then stays removed.
    pub async fn prune_audit_events(&self, before: UnixMillis) -> Result<u64, StoreError> {
        let mut pruned = 0;
        loop {
            let mut tx = self.db.write(Durability::Relaxed, "prune audit events").await?;
            let step = tx
                .execute(
                    "DELETE FROM audit_events WHERE id IN
                         (SELECT id FROM audit_events WHERE at < $1 ORDER BY at, id LIMIT $2)",
                    args![before, PRUNE_STEP],
                )
                .await?;
            tx.commit().await?;
            if step == 0 {
                return Ok(pruned);
            }
            pruned += step;
        }
    }
}

async fn append(tx: &mut Tx, event: NewAuditEvent) -> Result<i64, StoreError> {
    let (account, name) = event.account.map(|account| (account.id, account.name)).unzip();
    let row = tx
        .fetch_one(
            "INSERT INTO audit_events (at, kind, account_id, account_name, session, source, detail)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
            args![
                event.at,
                event.kind,
                account,
                name,
                event.session.map_or(Value::Int(None), session_column),
                event.source.map(|source| source.to_string()),
                event.detail,
            ],
        )
        .await?;
    row.get("id")
}

fn event_from(row: &Row) -> Result<AuditEvent, StoreError> {
    let account: Option<i64> = row.get("account_id")?;
    let name: Option<String> = row.get("account_name")?;
    let session: Option<i64> = row.get("session")?;
    Ok(AuditEvent {
        id: row.get("id")?,
        event: NewAuditEvent {
            at: row.get("at")?,
            kind: row.get("kind")?,
            account: account.zip(name).map(|(id, name)| AuditAccount { id, name }),
            session: session.map(session_from),
            source: row.parse("source")?,
            detail: row.get("detail")?,
        },
    })
}
