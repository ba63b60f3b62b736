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

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::{AccountName, Source};
use adit_store::{AuditQuery, StoreError};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::audit::Fact;
use crate::changes::Changes;
use crate::shared::Shared;

pub use invitation::{
    FIRST_ADMINISTRATOR_TIME, InvitationAccept, InvitationAcceptError, InvitationKindView, InvitationLook,
    InvitationLookView, InvitationLookupError,
};
pub use oidc::{OidcClaims, OidcSignInError};
pub use right::Member;
pub use session::{
    BeginSessionError, EndReplacedError, PasswordSignIn, SessionClaim, SessionProof, SessionProofError, SignInError,
    SignedIn, Via, WebSessionView,
};

/// A session that is not used for so long ends: overnight on a machine that others use.
pub const SESSION_IDLE: Duration = Duration::from_secs(12 * 3_600);

/// However much it is used, a session ends then, so that a cookie that was stolen does not serve for ever.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// They are refused from their last moment on; how long a row stays behind does not matter.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);

/// The latest sign-ins that say from where people come, after a restart: some weeks of a hundred people.
const SIGN_INS_RECALLED: u32 = 10_000;

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

    /// Remembers from where people have signed in; forgets, each hour, what is over: sessions, links and tokens. Ends with `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if let Err(error) = self.recall_known_sources().await {
            tracing::warn!(
                error = crate::error_chain(&error),
                "from where people signed in before is not known for now"
            );
        }
        while stop.run_until_cancelled(tokio::time::sleep(PRUNE_INTERVAL)).await.is_some() {
            if let Err(error) = self.shared.store.prune_sign_ins(SESSION_IDLE).await {
                tracing::warn!(error = crate::error_chain(&error), "sign-ins that are over stay for now");
            }
        }
    }

    /// The audit log knows what [`attempts`] forgets with each restart.
    async fn recall_known_sources(&self) -> Result<(), StoreError> {
        let kind = Fact::SignedIn { via: Via::Password }.kind().to_owned();
        let query = AuditQuery { kind: Some(kind), limit: SIGN_INS_RECALLED, ..AuditQuery::default() };
        let (events, accounts) =
            (self.shared.store.list_audit_events(query).await?, self.shared.store.list_accounts().await?);
        // By number: a name may be somebody else's by now.
        let names: HashMap<i64, AccountName> =
            accounts.into_iter().filter_map(|row| Some((row.account.id, row.account.name.parse().ok()?))).collect();
        let (mut attempts, now) = (self.shared.attempts(), Instant::now());
        for event in events.into_iter().rev().map(|stored| stored.event) {
            let name = event.account.and_then(|account| names.get(&account.id));
            if let Some((name, source)) = name.zip(event.source) {
                attempts.handle_signed_in(name, Source::from(source.ip()), now);
            }
        }
        Ok(())
    }
}

/// Where somebody is, and which session of theirs a new one replaces.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The client's address. The port is 0 where a proxy stands between and does not tell it.
    pub client: SocketAddr,
    /// What the browser shows of the session it had, if any. If there is one, it ends; nobody has looked yet.
    pub replaces: Option<SessionClaim>,
}
