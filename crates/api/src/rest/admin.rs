//! What an administrator of this jump host asks. There is no way to any of it but through
//! [`Administrator`](crate::gate::caller::Administrator).

mod accounts;
mod audit;
mod invitations;
mod server;
mod sessions;
mod tiers;

use utoipa_axum::router::OpenApiRouter;

use crate::web::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(accounts::routes())
        .merge(invitations::routes())
        .merge(tiers::routes())
        .merge(sessions::routes())
        .merge(audit::routes())
        .merge(server::routes())
}
