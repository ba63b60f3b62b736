//! Tiers and their limits.

use adit_jumphost::admin::{AccountList, AccountView, LimitChange, TierList, TierRemove, TierSet, TierView};
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::failure::Refusal;
use crate::gate::caller::Administrator;
use crate::gate::question::{Body, Named};
use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(set, remove))
}

/// All limits of a tier. One that is null or left out is the server's default; 0 is no limit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TierLimits {
    /// Remote forwards an account holds at a time.
    forwards_per_account: Option<u64>,
    /// Visitors at a time at one port.
    visitors_per_port: Option<u64>,
    /// Visitors at a time at all ports of an account.
    visitors_per_account: Option<u64>,
    /// Bytes per second from visitors to services.
    bytes_per_second_to_owner: Option<u64>,
    /// Bytes per second from services to visitors.
    bytes_per_second_to_visitors: Option<u64>,
}

/// A tier, and who is on it.
#[derive(Debug, Serialize, ToSchema)]
struct Tier {
    /// Its name.
    name: String,
    /// Its limits.
    limits: TierLimits,
    /// How many accounts are on it.
    accounts: usize,
}

/// A tier as it is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TierPut {
    /// Its limits.
    limits: TierLimits,
}

impl Tier {
    fn new(tier: TierView, accounts: &[AccountView]) -> Self {
        let limits = TierLimits {
            forwards_per_account: tier.forwards_per_account.map(u64::from),
            visitors_per_port: tier.visitors_per_port.map(u64::from),
            visitors_per_account: tier.visitors_per_account.map(u64::from),
            bytes_per_second_to_owner: tier.bandwidth_to_owner,
            bytes_per_second_to_visitors: tier.bandwidth_to_visitors,
        };
        let accounts = accounts.iter().filter(|account| account.tier == tier.name).count();
        Self { name: tier.name, limits, accounts }
    }
}

/// The tiers by name.
#[utoipa::path(get, path = "/tiers", tag = "administration", responses((status = 200, body = [Tier])))]
async fn list(Administrator(admin): Administrator) -> Result<Json<Vec<Tier>>, Refusal> {
    let accounts = admin.call(AccountList {}).await?;
    let tiers = admin.call(TierList {}).await?;
    Ok(Json(tiers.into_iter().map(|tier| Tier::new(tier, &accounts)).collect()))
}

/// Sets all limits of a tier, and adds it if it is new.
#[utoipa::path(
    put, path = "/tiers/{name}", tag = "administration", params(("name" = String, Path)), request_body = TierPut,
    responses((status = 200, body = Tier))
)]
async fn set(
    Administrator(admin): Administrator,
    Named(name): Named<String>,
    Body(TierPut { limits }): Body<TierPut>,
) -> Result<Json<Tier>, Refusal> {
    let set = |limit: Option<u64>| Some(limit.map_or(LimitChange::Default, LimitChange::Limit));
    let question = TierSet {
        name,
        forwards_per_account: set(limits.forwards_per_account),
        visitors_per_port: set(limits.visitors_per_port),
        visitors_per_account: set(limits.visitors_per_account),
        bandwidth_to_owner: set(limits.bytes_per_second_to_owner),
        bandwidth_to_visitors: set(limits.bytes_per_second_to_visitors),
    };
    let tier = admin.call(question).await?;
    Ok(Json(Tier::new(tier, &admin.call(AccountList {}).await?)))
}

/// Removes a tier that no account is on.
#[utoipa::path(
    delete, path = "/tiers/{name}", tag = "administration", params(("name" = String, Path)), responses((status = 204))
)]
async fn remove(Administrator(admin): Administrator, Named(name): Named<String>) -> Result<StatusCode, Refusal> {
    admin.call(TierRemove { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
