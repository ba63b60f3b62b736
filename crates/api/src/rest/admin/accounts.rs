//! Everybody's accounts.

use adit_jumphost::admin::{
    AccountAdd, AccountChange, AccountPage, AccountRemove, AccountRemoved, AccountSearch, AccountView, InvitationMade,
    PasswordLink,
};
use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::Administrator;
use crate::gate::question::{Body, Filter, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(change, remove)).routes(routes!(password_link))
}

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// Its name.
    name: String,
    /// Its tier; the smallest one where none is named.
    tier: Option<String>,
    /// Whether it administers the jump host.
    #[serde(default)]
    admin: bool,
}

/// What becomes of an account; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccountPatch {
    /// Its tier.
    tier: Option<String>,
    /// Whether it administers the jump host.
    admin: Option<bool>,
    /// Whether it is locked out.
    disabled: Option<bool>,
}

/// The accounts by name.
#[utoipa::path(
    get, path = "/accounts", tag = "administration",
    params(
        ("q" = Option<String>, Query, description = "Only with this in the name."),
        ("offset" = Option<u32>, Query), ("limit" = Option<u32>, Query)
    ),
    responses((status = 200, body = AccountPage))
)]
async fn list(
    Administrator(admin): Administrator,
    Filter(search): Filter<AccountSearch>,
) -> Result<Json<AccountPage>, Refusal> {
    Ok(Json(admin.call(search).await?))
}

/// Adds an account.
#[utoipa::path(
    post, path = "/accounts", tag = "administration", request_body = NewAccount,
    responses((status = 201, body = AccountView))
)]
async fn add(
    Administrator(admin): Administrator,
    Body(NewAccount { name, tier, admin: is_admin }): Body<NewAccount>,
) -> Result<(StatusCode, Json<AccountView>), Refusal> {
    Ok((StatusCode::CREATED, Json(admin.call(AccountAdd { name, tier, admin: is_admin }).await?)))
}

/// Changes an account.
#[utoipa::path(
    patch, path = "/accounts/{name}", tag = "administration", params(("name" = String, Path)),
    request_body = AccountPatch, responses((status = 200, body = AccountView))
)]
async fn change(
    Administrator(admin): Administrator,
    Named(name): Named<String>,
    Body(AccountPatch { tier, admin: is_admin, disabled }): Body<AccountPatch>,
) -> Result<Json<AccountView>, Refusal> {
    Ok(Json(admin.call(AccountChange { name, tier, admin: is_admin, disabled }).await?))
}

/// Removes an account with all that is its, and cuts its sessions.
#[utoipa::path(
    delete, path = "/accounts/{name}", tag = "administration", params(("name" = String, Path)),
    responses((status = 200, body = AccountRemoved))
)]
async fn remove(
    Administrator(admin): Administrator,
    Named(name): Named<String>,
) -> Result<Json<AccountRemoved>, Refusal> {
    Ok(Json(admin.call(AccountRemove { name }).await?))
}

/// Makes a link with which the account's holder sets its password.
#[utoipa::path(
    post, path = "/accounts/{name}/password-link", tag = "administration", params(("name" = String, Path)),
    responses((status = 201, body = InvitationMade))
)]
async fn password_link(
    Administrator(admin): Administrator,
    Named(account): Named<String>,
) -> Result<(StatusCode, Json<InvitationMade>), Refusal> {
    Ok((StatusCode::CREATED, Json(admin.call(PasswordLink { account }).await?)))
}
