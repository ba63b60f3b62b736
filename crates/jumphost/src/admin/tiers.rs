//! Tiers: list, set, remove. A change acts on live sessions at once.

use adit_core::Printable;
use adit_store::{RemoveTierError, StoreError, Tier, TierLimits};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{Admin, Fault, FaultKind, ListError, Operation};
use crate::audit::{Fact, Subject};

/// As long as an account's name may be: both stand in the same tables.
const LONGEST_NAME: usize = 32;

/// Lists the tiers by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TierList {}

/// Changes limits of a tier, and adds it if it is new. What is not named stays as it is; in a new tier it is the server's default.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TierSet {
    /// Its name.
    pub name: String,
    /// Remote forwards an account holds at a time.
    pub forwards_per_account: Option<LimitChange>,
    /// Visitors at a time at one port.
    pub visitors_per_port: Option<LimitChange>,
    /// Visitors at a time at all ports of an account.
    pub visitors_per_account: Option<LimitChange>,
    /// Bytes per second from all visitors of an account to its services.
    pub bandwidth_to_owner: Option<LimitChange>,
    /// Bytes per second from the services of an account to all its visitors.
    pub bandwidth_to_visitors: Option<LimitChange>,
}

/// What becomes of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitChange {
    /// It is the server's default, whatever that is.
    Default,
    /// It is this number; 0 is no limit.
    Limit(u64),
}

/// Removes a tier that no account is on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TierRemove {
    /// Its name.
    pub name: String,
}

/// A tier. A limit that is absent is the server's default; 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TierView {
    /// Its name.
    pub name: String,
    /// Remote forwards an account holds at a time.
    pub forwards_per_account: Option<u32>,
    /// Visitors at a time at one port.
    pub visitors_per_port: Option<u32>,
    /// Visitors at a time at all ports of an account.
    pub visitors_per_account: Option<u32>,
    /// Bytes per second from all visitors of an account to its services.
    pub bandwidth_to_owner: Option<u64>,
    /// Bytes per second from the services of an account to all its visitors.
    pub bandwidth_to_visitors: Option<u64>,
}

/// A tier that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TierRemoved {
    /// Its name.
    pub name: String,
}

/// Why a tier was not set.
#[derive(Debug, Error)]
pub enum TierSetError {
    /// The name cannot be one.
    #[error("{:?} cannot be the name of a tier; use at most {LONGEST_NAME} of a-z, 0-9, and . _ - after the first", .0)]
    Name(String),
    /// A count is beyond what is counted.
    #[error("{0} is too large for a limit; 0 is none")]
    TooLarge(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for TierSetError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Name(_) | Self::TooLarge(_) => FaultKind::BadInput,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad-tier-name",
            Self::TooLarge(_) => "bad-limit",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a tier was not removed.
#[derive(Debug, Error)]
pub enum TierRemoveError {
    /// There is no such tier.
    #[error("there is no tier {:?}; `adit jumphost tier list` shows those there are", .0)]
    NoSuchTier(String),
    /// Accounts are on it.
    #[error("the tier {0:?} has accounts; move them first: adit jumphost account change NAME --tier OTHER")]
    InUse(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for TierRemoveError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoSuchTier(_) => FaultKind::NotFound,
            Self::InUse(_) => FaultKind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchTier(_) => "no-such-tier",
            Self::InUse(_) => "tier-in-use",
            Self::Store(error) => error.code(),
        }
    }
}

impl Operation for TierList {
    const NAME: &'static str = "tier-list";
    type Answer = Vec<TierView>;
    type Error = ListError;

    async fn run(self, admin: &Admin) -> Result<Vec<TierView>, ListError> {
        Ok(admin.store.list_tiers().await?.into_iter().map(view).collect())
    }
}

impl Operation for TierSet {
    const NAME: &'static str = "tier-set";
    type Answer = TierView;
    type Error = TierSetError;

    async fn run(self, admin: &Admin) -> Result<TierView, TierSetError> {
        if !is_name(&self.name) {
            return Err(TierSetError::Name(Printable::from(self.name.as_str()).at_most(LONGEST_NAME).to_string()));
        }
        let known = admin.store.list_tiers().await?.into_iter().find(|tier| tier.name == self.name);
        let now = known.map(|tier| tier.limits).unwrap_or_default();
        let limits = TierLimits {
            forwards_per_account: count(self.forwards_per_account, now.forwards_per_account)?,
            visitors_per_port: count(self.visitors_per_port, now.visitors_per_port)?,
            visitors_per_account: count(self.visitors_per_account, now.visitors_per_account)?,
            bytes_per_second_to_owner: changed(self.bandwidth_to_owner, now.bytes_per_second_to_owner),
            bytes_per_second_to_visitors: changed(self.bandwidth_to_visitors, now.bytes_per_second_to_visitors),
        };
        let tier = Tier { name: self.name, limits };
        admin.store.upsert_tier(&tier).await?;
        admin.follow_change().await;
        admin.record(Subject::server(), &Fact::TierSet { tier: tier.name.clone(), limits }).await;
        Ok(view(tier))
    }
}

impl Operation for TierRemove {
    const NAME: &'static str = "tier-remove";
    type Answer = TierRemoved;
    type Error = TierRemoveError;

    async fn run(self, admin: &Admin) -> Result<TierRemoved, TierRemoveError> {
        admin.store.remove_tier(&self.name).await.map_err(|error| match error {
            RemoveTierError::NoSuchTier { name } => TierRemoveError::NoSuchTier(name),
            RemoveTierError::InUse { name } => TierRemoveError::InUse(name),
            RemoveTierError::Store(error) => TierRemoveError::Store(error),
        })?;
        admin.record(Subject::server(), &Fact::TierRemoved { tier: self.name.clone() }).await;
        Ok(TierRemoved { name: self.name })
    }
}

/// As an account's: one spelling, and nothing that wants escaping.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= LONGEST_NAME
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
}

fn changed(change: Option<LimitChange>, now: Option<u64>) -> Option<u64> {
    match change {
        None => now,
        Some(LimitChange::Default) => None,
        Some(LimitChange::Limit(limit)) => Some(limit),
    }
}

fn count(change: Option<LimitChange>, now: Option<u32>) -> Result<Option<u32>, TierSetError> {
    let number = |limit| u32::try_from(limit).map_err(|_| TierSetError::TooLarge(limit));
    changed(change, now.map(u64::from)).map(number).transpose()
}

fn view(tier: Tier) -> TierView {
    let limits = tier.limits;
    TierView {
        name: tier.name,
        forwards_per_account: limits.forwards_per_account,
        visitors_per_port: limits.visitors_per_port,
        visitors_per_account: limits.visitors_per_account,
        bandwidth_to_owner: limits.bytes_per_second_to_owner,
        bandwidth_to_visitors: limits.bytes_per_second_to_visitors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_store::Store;

    use crate::admin::{AccountAdd, AccountChange, AuditList};
    use crate::data_dir::DataDir;

    async fn admin() -> (Admin, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        (Admin::offline(Store::open_in_memory().await.unwrap(), data), folder)
    }

    fn tier(name: &str) -> TierSet {
        TierSet { name: name.to_owned(), ..TierSet::default() }
    }

    #[tokio::test]
    async fn a_tier_is_made_changed_and_removed() {
        let (admin, _folder) = admin().await;
        let made = TierSet {
            forwards_per_account: Some(LimitChange::Limit(50)),
            bandwidth_to_visitors: Some(LimitChange::Limit(1_000_000)),
            ..tier("gold")
        };
        let made = admin.call(made).await.unwrap();
        assert_eq!((made.forwards_per_account, made.bandwidth_to_visitors), (Some(50), Some(1_000_000)));
        assert_eq!((made.visitors_per_port, made.bandwidth_to_owner), (None, None), "the server's defaults");

        let change = TierSet {
            forwards_per_account: Some(LimitChange::Default),
            bandwidth_to_owner: Some(LimitChange::Limit(0)),
            ..tier("gold")
        };
        let changed = admin.call(change).await.unwrap();
        assert_eq!((changed.forwards_per_account, changed.bandwidth_to_owner), (None, Some(0)));
        assert_eq!(changed.bandwidth_to_visitors, Some(1_000_000), "what is not named stays");
        assert!(admin.call(TierList {}).await.unwrap().contains(&changed));

        admin.call(TierRemove { name: "gold".to_owned() }).await.unwrap();
        assert!(!admin.call(TierList {}).await.unwrap().contains(&changed));
        let events = admin.call(AuditList { limit: None }).await.unwrap();
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["tier-removed", "tier-set", "tier-set"]);
    }

    #[tokio::test]
    async fn what_cannot_be_a_tier_is_refused() {
        let (admin, _folder) = admin().await;
        for name in ["", "Gold", "-gold", "a b", "g\u{1b}[2J", &"g".repeat(33)] {
            let refused = admin.call(tier(name)).await.unwrap_err();
            assert_eq!((refused.kind(), refused.code()), (FaultKind::BadInput, "bad-tier-name"), "{name:?}");
            assert!(!refused.to_string().contains('\u{1b}'));
        }
        let forwards_per_account = Some(LimitChange::Limit(1 << 32));
        let refused = admin.call(TierSet { forwards_per_account, ..tier("gold") }).await.unwrap_err();
        assert_eq!(refused.code(), "bad-limit");
    }

    #[tokio::test]
    async fn a_tier_with_accounts_stays_until_they_have_moved() {
        let (admin, _folder) = admin().await;
        admin.call(tier("gold")).await.unwrap();
        let alice = AccountAdd { name: "alice".to_owned(), tier: Some("gold".to_owned()), admin: false };
        admin.call(alice).await.unwrap();
        let remove = || TierRemove { name: "gold".to_owned() };
        let refused = admin.call(remove()).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (FaultKind::Conflict, "tier-in-use"));
        let moved =
            AccountChange { name: "alice".to_owned(), tier: Some("plus".to_owned()), admin: None, disabled: None };
        assert_eq!(admin.call(moved).await.unwrap().tier, "plus");
        admin.call(remove()).await.unwrap();
        assert_eq!(admin.call(remove()).await.unwrap_err().code(), "no-such-tier");
    }
}
