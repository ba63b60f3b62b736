//! Who is at the dashboard: signs people and programs in, and gives each the right it came for as a [`Member`].
//!
//! | File | Does |
//! |---|---|
//! | [`password`] | which passwords are good enough; hashes and compares them |
//! | [`attempts`] | how often somebody may fail |
//! | [`token`] | the secrets that we make: cookies, links, API tokens |
//! | `session` | signing in and out, and the session of a cookie |
//! | `invitation` | links that make an account or set a password |
//! | `oidc` | accounts of people whom an OpenID provider vouches for |
//! | [`scope`] | what an API token may do |
//! | `right` | [`Member`], the right itself |
//!
//! Cookies, headers and the OpenID protocol are `adit-api`'s, and so is whose word about where a client comes from is taken: behind
//! a proxy that is not named in the settings (`web_trusted_proxies`) all people are one source, the proxy.

pub mod attempts;
mod invitation;
mod oidc;
pub mod password;
mod right;
pub mod scope;
mod session;
pub mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_store::StoreError;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::changes::Changes;
use crate::shared::Shared;

pub use invitation::{
    FIRST_ADMINISTRATOR_TIME, InvitationAccept, InvitationAcceptError, InvitationKindView, InvitationLook,
    InvitationLookView, InvitationLookupError,
};
pub use oidc::{OidcClaims, OidcSignInError};
pub use right::Member;
pub use session::{PasswordSignIn, SessionProof, SessionProofError, SignInError, SignedIn, Via, WebSessionView};

/// A session that is not used for so long ends: overnight on a machine that others use.
pub const SESSION_IDLE: Duration = Duration::from_secs(12 * 3_600);

/// However much it is used, a session ends then, so that a cookie that was stolen does not serve for ever.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// They are refused from their last moment on; how long a row stays behind does not matter.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);

/// The front desk of a running jump host. Clones share it.
#[derive(Clone)]
pub struct SignIn {
    shared: Arc<Shared>,
}

/// What the sign-in page shows before anybody has signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignInView {
    /// The name of this jump host for other people.
    pub host: String,
    /// The version that runs.
    pub version: String,
    /// The other way in, if there is one.
    pub oidc: Option<OidcView>,
    /// Nobody can sign in yet: the server's terminal shows the link for the first administrator.
    pub first_run: bool,
}

/// Signing in with an OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OidcView {
    /// What stands on the button.
    pub label: String,
}

impl SignIn {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the sign-in page shows.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    pub async fn view(&self) -> Result<SignInView, StoreError> {
        let config = &self.shared.config;
        Ok(SignInView {
            host: self.shared.about.addresses.advertise.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            oidc: config.oidc.as_ref().map(|oidc| OidcView { label: oidc.label.clone() }),
            first_run: !self.shared.store.anybody_can_sign_in(false).await?,
        })
    }

    /// Where pages hear that they should look again.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        self.shared.registry.changes()
    }

    /// Forgets, each hour, what is over: sessions, links and tokens. Ends with `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PRUNE_INTERVAL)).await.is_some() {
            if let Err(error) = self.shared.store.prune_sign_ins(SESSION_IDLE).await {
                tracing::warn!(error = crate::error_chain(&error), "sign-ins that are over stay for now");
            }
        }
    }
}

/// Where somebody is, and which session of theirs a new one replaces.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The client's address. The port is 0 where a proxy stands between and does not tell it.
    pub client: SocketAddr,
    /// What the browser shows of the session it had, if any. That one ends.
    pub replaces: Option<SessionProof>,
}
