//! The audit log, for reading: on a page, and as a table that a spreadsheet opens.

use adit_store::AuditQuery;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Admin, ListError, Operation, escaped};
use crate::audit::Fact;
use crate::search::SearchText;

/// Events of one page, where nobody says otherwise, and at the most.
const USUAL_PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1_000;

/// Lists what happened, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditList {
    /// At most so many; 100 where none is named.
    pub limit: Option<u32>,
}

/// Looks through what happened, the newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSearch {
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only of accounts that had this name.
    pub account: Option<String>,
    /// Only with this in the account's name, the source or the detail.
    pub q: Option<SearchText>,
    /// Only what comes after the event with this number: [`AuditPage::next`] of the page before.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A page of what happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The events.
    pub items: Vec<AuditView>,
    /// The kinds that there are.
    pub kinds: Vec<String>,
    /// Where the next page begins, if there may be one.
    pub next: Option<i64>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// More, by kind. Text of a peer is in it with what acts on a page or terminal escaped.
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

impl Operation for AuditSearch {
    const NAME: &'static str = "audit-search";
    type Answer = AuditPage;
    type Error = ListError;

    async fn run(self, admin: &Admin) -> Result<AuditPage, ListError> {
        let limit = self.limit.unwrap_or(USUAL_PAGE).clamp(1, LARGEST_PAGE);
        let query = AuditQuery {
            account: None,
            account_name: given(self.account),
            kind: given(self.kind),
            text: given(self.q.map(SearchText::into_string)),
            since: None,
            before: self.before,
            limit,
        };
        let items: Vec<_> = admin.store.list_audit_events(query).await?.into_iter().map(view).collect();
        let next = items.last().map(|last| last.id).filter(|_| items.len() as u64 == u64::from(limit));
        Ok(AuditPage { items, kinds: Fact::KINDS.iter().map(|kind| (*kind).to_owned()).collect(), next })
    }
}

/// A filter that is empty filters nothing.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The first line of the table (RFC 4180).
#[must_use]
pub fn csv_header() -> &'static str {
    "id,at,kind,account,session,source,detail\r\n"
}

impl AuditView {
    /// The event as a line of the table (RFC 4180).
    #[must_use]
    pub fn to_csv(&self) -> String {
        let session = self.session.map(|session| session.to_string()).unwrap_or_default();
        let cells = [
            &self.id.to_string(),
            &self.at.to_string(),
            &self.kind,
            self.account.as_deref().unwrap_or_default(),
            &session,
            self.source.as_deref().unwrap_or_default(),
            &self.detail.to_string(),
        ];
        let mut line = cells.map(cell).join(",");
        line.push_str("\r\n");
        line
    }
}

/// A cell in quotes. What begins like a formula would be run by a spreadsheet, and a stranger can write what stands here; an
/// apostrophe before it makes it text (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn view(stored: adit_store::AuditEvent) -> AuditView {
    let event = stored.event;
    AuditView {
        id: stored.id,
        at: event.at.0,
        kind: event.kind,
        account: event.account.map(|account| account.name),
        session: event.session,
        source: event.source.map(|source| match source.port() {
            // A proxy has told who it was, and no port.
            0 => source.ip().to_string(),
            _ => source.to_string(),
        }),
        // Another program's row is shown as the text it is.
        detail: printable(serde_json::from_str(&event.detail).unwrap_or(Value::String(event.detail))),
    }
}

/// The same with the text in it escaped: it was kept as a peer sent it, and a page or a terminal would obey it.
fn printable(detail: Value) -> Value {
    match detail {
        Value::String(text) => Value::String(escaped(&text)),
        Value::Array(items) => items.into_iter().map(printable).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (escaped(&name), printable(value))).collect(),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_breaks_its_line() {
        assert_eq!(cell("alice"), "\"alice\"");
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("@SUM(A1)"), "\"'@SUM(A1)\"");
        assert_eq!(cell("say \"hi\",\r\nthen"), "\"say \"\"hi\"\",\r\nthen\"");
    }

    #[test]
    fn what_a_stranger_wrote_acts_on_no_page_and_no_terminal() {
        let kept = serde_json::json!({"user": "a\u{1b}[2Jb", "keys": ["\u{202e}c"], "port": 22, "\u{7}": null});
        let shown = serde_json::json!({"user": "a\\u{1b}[2Jb", "keys": ["\\u{202e}c"], "port": 22, "\\u{7}": null});
        assert_eq!(printable(kept), shown);
    }

    #[test]
    fn a_line_has_a_cell_for_each_head() {
        let event = AuditView {
            id: 7,
            at: 1_700_000_000_000,
            kind: "login-failed".to_owned(),
            account: None,
            session: None,
            source: Some("192.0.2.1:5000".to_owned()),
            detail: serde_json::json!({"user": "=cmd"}),
        };
        let line = event.to_csv();
        assert_eq!(
            line,
            "\"7\",\"1700000000000\",\"login-failed\",\"\",\"\",\"192.0.2.1:5000\",\"{\"\"user\"\":\"\"=cmd\"\"}\"\r\n"
        );
    }
}
