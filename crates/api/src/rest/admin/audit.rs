//! What happened: by the page, and as a table for a spreadsheet.

use adit_jumphost::admin::{AuditPage, AuditSearch, ListError, csv_header};
use adit_jumphost::error_chain;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::{Administrator, WatchedAdministrator};
use crate::gate::question::Filter;
use crate::web::App;

/// Events that are read, and written out, at a time.
const CSV_PAGE: u32 = 500;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(table))
}

/// What happened, the newest first.
#[utoipa::path(
    get, path = "/audit", tag = "administration",
    params(
        ("kind" = Option<String>, Query, description = "Only of this kind."),
        ("account" = Option<String>, Query, description = "Only of accounts that had this name."),
        ("q" = Option<String>, Query, description = "Only with this in the account's name, the source or the detail."),
        ("before" = Option<i64>, Query, description = "`next` of the page before."),
        ("limit" = Option<u32>, Query)
    ),
    responses((status = 200, body = AuditPage))
)]
async fn list(
    Administrator(admin): Administrator,
    Filter(search): Filter<AuditSearch>,
) -> Result<Json<AuditPage>, Refusal> {
    Ok(Json(admin.call(search).await?))
}

/// All that happened and fits the filter, as CSV (RFC 4180). No cell is a formula.
#[utoipa::path(
    get, path = "/audit.csv", tag = "administration",
    params(
        ("kind" = Option<String>, Query), ("account" = Option<String>, Query), ("q" = Option<String>, Query)
    ),
    responses((status = 200, body = String, content_type = "text/csv"))
)]
async fn table(reader: WatchedAdministrator, Filter(search): Filter<AuditSearch>) -> Response {
    let first = Part::Header(AuditSearch { before: None, limit: Some(CSV_PAGE), ..search });
    // Read as fast as it is taken: the log may be long, and the line slow.
    let parts = unfold((reader, first), async |(reader, part)| {
        let (text, rest) = part.write(&reader).await?;
        Some((text, (reader, rest)))
    });
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"adit-audit.csv\""),
    ];
    (headers, Body::from_stream(parts)).into_response()
}

/// What of the table is still to be written.
enum Part {
    Header(AuditSearch),
    Events(AuditSearch),
    Nothing,
}

/// The table breaks off, so that nobody takes a part of it for the whole.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error("whoever reads it does not administer this jump host any more")]
    RightEnded,
    #[error("the audit log cannot be read")]
    Unreadable(#[from] ListError),
}

impl Part {
    /// The next lines, and what is left to write after them.
    async fn write(self, reader: &WatchedAdministrator) -> Option<(Result<Bytes, BrokenOff>, Self)> {
        match self {
            Self::Header(search) => Some((Ok(csv_header().into()), Self::Events(search))),
            Self::Events(search) => Some(page(reader, search).await.map_or_else(
                |error| {
                    tracing::warn!(error = error_chain(&error), "an export of the audit log breaks off");
                    (Err(error), Self::Nothing)
                },
                |(lines, rest)| (Ok(lines), rest.map_or(Self::Nothing, Self::Events)),
            )),
            Self::Nothing => None,
        }
    }
}

/// A page of the events, and where the next one begins. A slow reader may have lost the right since the page before.
async fn page(reader: &WatchedAdministrator, search: AuditSearch) -> Result<(Bytes, Option<AuditSearch>), BrokenOff> {
    let admin = reader.still().await?.ok_or(BrokenOff::RightEnded)?;
    let page = admin.call(search.clone()).await?;
    let lines: String = page.items.iter().map(|event| event.to_csv()).collect();
    Ok((lines.into(), page.next.map(|next| AuditSearch { before: Some(next), ..search })))
}
