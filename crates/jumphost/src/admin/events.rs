//! The audit log, for reading.

use adit_store::AuditQuery;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Admin, ListError, Operation};

/// Lists what happened, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditList {
    /// At most so many; 100 where none is named.
    pub limit: Option<u32>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditView {
    /// Its number; later ones are higher.
    pub id: i64,
    /// When.
    pub at: i64,
    /// What: `login-accepted`, `forward-refused`, …
    pub kind: String,
    /// Whose, if it is anybody's.
    pub account: Option<String>,
    /// In which session of its run.
    pub session: Option<u64>,
    /// From where.
    pub source: Option<String>,
    /// More, by kind. Text of a peer is in it as it came.
    pub detail: Value,
}

impl Operation for AuditList {
    const NAME: &'static str = "audit-list";
    type Answer = Vec<AuditView>;
    type Error = ListError;

    async fn run(self, admin: &Admin) -> Result<Vec<AuditView>, ListError> {
        let defaults = AuditQuery::default();
        let query = AuditQuery { limit: self.limit.unwrap_or(defaults.limit), ..defaults };
        let events = admin.store.list_audit_events(query).await?;
        Ok(events.into_iter().map(view).collect())
    }
}

fn view(stored: adit_store::AuditEvent) -> AuditView {
    let event = stored.event;
    AuditView {
        id: stored.id,
        at: event.at.0,
        kind: event.kind,
        account: event.account.map(|account| account.name),
        session: event.session,
        source: event.source.map(|source| source.to_string()),
        // Another program's row is shown as the text it is.
        detail: serde_json::from_str(&event.detail).unwrap_or(Value::String(event.detail)),
    }
}
