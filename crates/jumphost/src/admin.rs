//! What an administrator can do: one type per operation, with its question, its answer and its own errors.
//! An operation runs against a running jump host, where a removal acts at once, or on a store alone when none runs. How it
//! travels (a socket, a page) is not known here; that questions and answers are serializable is all that this needs.
//!
//! Times are Unix milliseconds. Text that a peer or a member wrote comes escaped ([`Printable`](adit_core::Printable)).

mod accounts;
mod claim;
mod events;
mod health;
mod invitations;
mod keys;
mod lifetime;
mod live;
mod tiers;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_core::{AccountId, AccountName, Printable};
use adit_store::{Account, NewAuditEvent, Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::audit::{self, Fact, Subject};
use crate::data_dir::DataDir;
use crate::error_chain;
use crate::registry::Registry;
use crate::shared::Shared;
use crate::signin::scope::Forbidden;

pub use accounts::{
    AccountAdd, AccountAddError, AccountChange, AccountChangeError, AccountList, AccountPage, AccountRemove,
    AccountRemoveError, AccountRemoved, AccountSearch, AccountView, DEFAULT_TIER,
};
pub use claim::{
    CLAIM_NAMESPACE, ClaimStatement, KeyClaim, KeyClaimError, KeyClaimStatement, KeyClaimStatementError, KeyClaimed,
    sign_command,
};
pub use events::{AuditList, AuditPage, AuditSearch, AuditView, csv_header};
pub use health::{Health, HealthView, NotRunning, SettingView, Settings};
pub use invitations::{
    FirstAdministrator, InvitationAdd, InvitationAddError, InvitationList, InvitationMade, InvitationRemove,
    InvitationRemoved, InvitationView, PasswordLink,
};
pub use keys::{KeyAdd, KeyAddError, KeyList, KeyRemove, KeyRemoveError, KeyRemoved, KeyTermsError, KeyView};
pub use lifetime::LifetimeError;
pub(crate) use lifetime::LongestLife;
pub use live::{Kick, KickError, Kicked, PortList, PortView, SessionList, SessionPage, SessionSearch, SessionView};
pub use tiers::{LimitChange, TierList, TierRemove, TierRemoveError, TierRemoved, TierSet, TierSetError, TierView};

/// An operation: its value is the question.
pub trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// Its stable name.
    const NAME: &'static str;
    /// What is told when it worked.
    type Answer: Serialize + DeserializeOwned + Send;
    /// What can go wrong.
    type Error: Fault + Send;

    /// Does it.
    fn run(self, admin: &Admin) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;
}

/// Whose turn it is after an error: one place maps it to an HTTP status, another to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The caller typed something that can never work.
    BadInput,
    /// What the caller named is not there.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// The caller has to prove first who they are.
    SignedOut,
    /// The caller has not the right to it.
    Forbidden,
    /// It was asked too often; later it may be done.
    TooMany,
    /// It is our side that failed.
    Internal,
}

/// An error of an operation.
pub trait Fault: std::error::Error + 'static {
    /// Whose turn it is.
    fn kind(&self) -> FaultKind;

    /// Its stable name, for programs.
    fn code(&self) -> &'static str;

    /// After which time the same question may be asked again, where that is known.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// The store failed; nothing else can go wrong with a list.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct ListError(#[from] StoreError);

impl Fault for ListError {
    fn kind(&self) -> FaultKind {
        self.0.kind()
    }

    fn code(&self) -> &'static str {
        self.0.code()
    }
}

impl Fault for StoreError {
    /// Whoever lost their right while their change was on its way hears what their next request would.
    fn kind(&self) -> FaultKind {
        if self.is_right_ended() { FaultKind::SignedOut } else { FaultKind::Internal }
    }

    fn code(&self) -> &'static str {
        if self.is_right_ended() { SIGNED_OUT } else { STORE_FAILED }
    }
}

/// There is no account of that name.
#[derive(Debug, Error)]
pub enum AccountLookupError {
    /// There is no account of that name.
    #[error("there is no account {:?}; `adit jumphost account list` shows those there are", .0)]
    NoSuchAccount(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for AccountLookupError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoSuchAccount(_) => FaultKind::NotFound,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchAccount(_) => "no-such-account",
            Self::Store(error) => error.code(),
        }
    }
}

pub(crate) const STORE_FAILED: &str = "store-failed";

/// The code of what is refused because there is no session, or none any more.
pub(crate) const SIGNED_OUT: &str = "signed-out";

/// The right to administer a jump host. Clones share it.
#[derive(Clone)]
pub struct Admin {
    store: Store,
    place: Place,
    by: Option<Actor>,
}

/// Who uses the right: somebody at the dashboard. At the command line it is whoever may open the folder, and has no name.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) account: AccountId,
    pub(crate) name: AccountName,
    pub(crate) client: SocketAddr,
    /// Signed in, not with an API token.
    pub(crate) is_signed_in: bool,
}

/// Where an administrator's operations act.
#[derive(Clone)]
enum Place {
    /// In a server: on its store, and at once.
    Server(Arc<Shared>),
    /// On the data folder of a server that does not run, and cannot start as long as this holds the folder's lock.
    Folder(Arc<DataDir>),
}

impl Admin {
    pub(crate) fn running(shared: Arc<Shared>) -> Self {
        Self { store: shared.store.clone(), place: Place::Server(shared), by: None }
    }

    /// `store` is the one that they may change as long as their right lasts.
    pub(crate) fn acting(shared: Arc<Shared>, store: Store, by: Actor) -> Self {
        Self { store, place: Place::Server(shared), by: Some(by) }
    }

    /// For a data folder that no running server uses, and its store.
    #[must_use]
    pub fn offline(store: Store, data: DataDir) -> Self {
        Self { store, place: Place::Folder(Arc::new(data)), by: None }
    }

    /// Runs one operation.
    ///
    /// # Errors
    /// The operation's own.
    pub async fn call<O: Operation>(&self, operation: O) -> Result<O::Answer, O::Error> {
        operation.run(self).await
    }

    fn server(&self) -> Option<&Arc<Shared>> {
        match &self.place {
            Place::Server(shared) => Some(shared),
            Place::Folder(_) => None,
        }
    }

    /// Who may administer, and how somebody comes in, is decided by people, not by programs: with a token that was stolen nobody
    /// must be able to make a session, or an administrator, that outlives it.
    fn check_signed_in(&self) -> Result<(), Forbidden> {
        match &self.by {
            Some(actor) if !actor.is_signed_in => Err(Forbidden::TokenUsed),
            Some(_) | None => Ok(()),
        }
    }

    async fn account(&self, name: &str) -> Result<Account, AccountLookupError> {
        let account = self.store.account(name).await?;
        account.ok_or_else(|| AccountLookupError::NoSuchAccount(name.to_owned()))
    }

    /// Makes a change of the directory act now. The change itself is done, so a failure here is no failure of the operation:
    /// the directory's own poll will see it.
    async fn follow_change(&self) {
        if let Some(shared) = self.server() {
            shared.follow_directory().await;
        }
    }

    /// Cuts the sessions whose right was just taken away, and makes the change act: how many were cut. Those who are in need not wait
    /// for the directory to load; those who log in until it has are cut after it. Nothing to do where no server runs.
    async fn cut_and_follow(&self, cut: impl Fn(&Registry) -> usize) -> usize {
        let Some(shared) = self.server() else { return 0 };
        let live = cut(&shared.registry);
        self.follow_change().await;
        live + cut(&shared.registry)
    }

    /// Keeps a fact. With a server it goes the way of all facts; without one it is written before the command ends.
    async fn record(&self, subject: Subject, fact: &Fact) {
        let subject = match &self.by {
            Some(actor) => subject.by(actor.name.clone(), actor.client),
            None => subject,
        };
        match self.server() {
            Some(shared) => shared.audit.record(subject, fact),
            None => self.write_event(audit::event(subject, fact)).await,
        }
    }

    /// Keeps a fact about an account.
    async fn record_on(&self, account: &Account, fact: &Fact) {
        // A name that is none was written by a hand on the file, and its account cannot log in.
        if let Ok(name) = account.name.parse() {
            self.record(Subject::account(AccountId(account.id), name), fact).await;
        }
    }

    async fn write_event(&self, event: NewAuditEvent) {
        if let Err(error) = self.store.append_audit_event(event).await {
            tracing::error!(error = error_chain(&error), "an audit event is lost");
        }
    }
}

pub(crate) fn escaped(text: &str) -> String {
    Printable::from(text).to_string()
}

pub(crate) fn unix_millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_ssh::crypto::HostKey;
    use tempfile::TempDir;

    async fn admin() -> (Admin, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        (Admin::offline(Store::open_in_memory().await.unwrap(), data), folder)
    }

    fn public_key(comment: &str) -> String {
        HostKey::generate_ed25519().unwrap().public_key().to_text(comment)
    }

    fn account(name: &str) -> AccountAdd {
        AccountAdd { name: name.to_owned(), tier: None, admin: false }
    }

    fn key(account: &str, text: &str) -> KeyAdd {
        KeyAdd { account: account.to_owned(), text: text.to_owned(), label: None, expires_in_ms: None, ports: None }
    }

    #[tokio::test]
    async fn an_account_and_its_key_come_and_go() {
        let (admin, _folder) = admin().await;
        let made = admin.call(account("alice")).await.unwrap();
        assert_eq!((made.name.as_str(), made.tier.as_str(), made.keys), ("alice", DEFAULT_TIER, 0));

        let added = admin.call(key("alice", &public_key("alice@laptop"))).await.unwrap();
        assert_eq!((added.label.as_str(), added.key_type.as_str()), ("alice@laptop", "ssh-ed25519"));
        assert_eq!(admin.call(AccountList {}).await.unwrap()[0].keys, 1);
        let listed = admin.call(KeyList { account: Some("alice".to_owned()) }).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&added));

        let remove = KeyRemove { account: "alice".to_owned(), fingerprint: added.fingerprint };
        assert_eq!(admin.call(remove).await.unwrap().sessions_cut, 0);
        assert_eq!(admin.call(KeyList { account: None }).await.unwrap(), []);

        admin.call(AccountRemove { name: "alice".to_owned() }).await.unwrap();
        assert_eq!(admin.call(AccountList {}).await.unwrap(), []);

        let kinds: Vec<_> = admin.call(AuditList { limit: None }).await.unwrap().into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, ["account-removed", "key-removed", "key-added", "account-added"]);
    }

    #[tokio::test]
    async fn a_bad_name_and_a_taken_one_are_different_faults() {
        let (admin, _folder) = admin().await;
        let bad = admin.call(account("Alice!")).await.unwrap_err();
        assert_eq!((bad.kind(), bad.code()), (FaultKind::BadInput, "bad-account-name"));
        admin.call(account("alice")).await.unwrap();
        let taken = admin.call(account("alice")).await.unwrap_err();
        assert_eq!((taken.kind(), taken.code()), (FaultKind::Conflict, "account-exists"));
        let tier = AccountAdd { tier: Some("gold".to_owned()), ..account("bob") };
        let unknown = admin.call(tier).await.unwrap_err();
        assert_eq!(unknown.code(), "no-such-tier");
        assert!(unknown.to_string().contains("community, plus, pro"), "{unknown}");
    }

    #[tokio::test]
    async fn a_key_is_of_one_account_only() {
        let (admin, _folder) = admin().await;
        admin.call(account("alice")).await.unwrap();
        admin.call(account("bob")).await.unwrap();
        let text = public_key("");
        admin.call(key("alice", &text)).await.unwrap();
        assert_eq!(admin.call(key("alice", &text)).await.unwrap_err().code(), "key-already-yours");
        let refused = admin.call(key("bob", &text)).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (FaultKind::Conflict, "key-held-by-other"));
        assert!(!refused.to_string().contains("alice"));
        assert!(refused.to_string().contains("key claim bob"), "{refused}");
    }

    #[tokio::test]
    async fn a_private_key_is_refused_and_never_repeated() {
        let (admin, _folder) = admin().await;
        admin.call(account("alice")).await.unwrap();
        let private = HostKey::generate_ed25519().unwrap().to_openssh("").unwrap().to_string();
        let question = key("alice", &private);
        assert!(!format!("{question:?}").contains(&private[40..80]), "not even by Debug");
        let refused = admin.call(question).await.unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (FaultKind::BadInput, "bad-key"));
        assert!(private.lines().all(|line| !refused.to_string().contains(line)), "{refused}");
        for event in admin.call(AuditList { limit: None }).await.unwrap() {
            assert_eq!(event.kind, "account-added");
        }
    }

    #[tokio::test]
    async fn a_key_may_be_confined_in_time_and_ports() {
        let (admin, _folder) = admin().await;
        admin.call(account("alice")).await.unwrap();
        let confined = KeyAdd {
            label: Some("build\u{1b}[2J".to_owned()),
            expires_in_ms: Some(60_000),
            ports: Some("10000-10009".to_owned()),
            ..key("alice", &public_key("ignored"))
        };
        let added = admin.call(confined).await.unwrap();
        assert_eq!(added.ports.as_deref(), Some("10000-10009"));
        assert_eq!(added.label, "build\\u{1b}[2J");
        assert!(added.expires_at.unwrap() > added.added_at);
        let backwards = KeyAdd { ports: Some("9-1".to_owned()), ..key("alice", &public_key("")) };
        assert_eq!(admin.call(backwards).await.unwrap_err().code(), "bad-port-range");
    }

    #[tokio::test]
    async fn without_a_server_nobody_is_live() {
        let (admin, _folder) = admin().await;
        assert!(admin.call(SessionList {}).await.unwrap().is_empty());
        assert!(admin.call(PortList {}).await.unwrap().is_empty());
        let kick = admin.call(Kick { session: 1 }).await.unwrap_err();
        assert_eq!((kick.kind(), kick.code()), (FaultKind::NotFound, "no-such-session"));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_so() {
        let (admin, _folder) = admin().await;
        let nobody = AccountRemove { name: "nobody".to_owned() };
        assert_eq!(admin.call(nobody).await.unwrap_err().code(), "no-such-account");
        admin.call(account("alice")).await.unwrap();
        let remove = |fingerprint: &str| KeyRemove { account: "alice".to_owned(), fingerprint: fingerprint.to_owned() };
        assert_eq!(admin.call(remove("SHA256:x")).await.unwrap_err().code(), "bad-fingerprint");
        let print = HostKey::generate_ed25519().unwrap().public_key().fingerprint().to_string();
        assert_eq!(admin.call(remove(&print)).await.unwrap_err().code(), "no-such-key");
    }
}
