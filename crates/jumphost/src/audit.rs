//! Facts worth keeping: who logged in, which ports were opened and refused, who was cut, what administrators changed.
//! A session hands a fact over and goes on; one task writes them in batches. When the store is slower than the facts, facts
//! are dropped and counted: a flood of them must not become a queue without end, nor slow the tunnels down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_core::{AccountId, AccountName, Port, SessionId};
use adit_ssh::crypto::Fingerprint;
use adit_store::{AuditAccount, NewAuditEvent, Store, TierLimits, UnixMillis};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::directory::Identity;
use crate::metrics::{Metrics, RefusedForward, reasons};
use crate::registry::{CutReason, LiveSession};
use crate::signin::Via;

/// Facts that wait for the store; at some 200 bytes each, less than a megabyte.
const QUEUE: usize = 4_096;

/// Facts of one transaction. A commit costs the same for one as for many.
const BATCH: usize = 256;

/// Events are kept for weeks, so an hour more or less does not matter.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);

reasons! {
    /// Why somebody was not signed in. The person is told none of these.
    pub enum SignInRefusal {
        /// Nobody has that name.
        NoSuchAccount = "no_such_account",
        /// The password is another one, or the account has none.
        WrongPassword = "wrong_password",
        /// The account is locked out.
        Disabled = "disabled",
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The server answers at these addresses.
    ServerStarted {
        /// Where SSH clients log in.
        ssh: SocketAddr,
    },
    /// The server was told to stop, and did.
    ServerStopped,
    /// A client logged in.
    LoggedIn {
        /// With which key.
        key: Fingerprint,
        /// Its version line, raw.
        client_version: String,
    },
    /// A client offered a signature that we did not accept, or ran out of keys.
    LoginFailed {
        /// The user name it gave, raw.
        user: String,
        /// The key it tried last.
        key: Option<Fingerprint>,
    },
    /// A session ended, whoever ended it.
    SessionEnded {
        /// Why, in a few words.
        reason: String,
        /// From visitors to its services.
        bytes_in: u64,
        /// From its services to visitors.
        bytes_out: u64,
    },
    /// The server decided to end a session.
    SessionCut {
        /// Why.
        reason: CutReason,
    },
    /// A remote forward was opened.
    ForwardOpened {
        /// The port.
        port: Port,
        /// The address asked for, raw.
        asked: String,
    },
    /// A remote forward was refused.
    ForwardRefused {
        /// The port asked for; 0 is any.
        port: u32,
        /// Why.
        reason: RefusedForward,
    },
    /// A remote forward was closed, or its session ended.
    ForwardClosed {
        /// The port.
        port: Port,
        /// Visitors it had.
        visitors: u64,
        /// From visitors to the service.
        bytes_in: u64,
        /// From the service to visitors.
        bytes_out: u64,
    },
    /// A client asked for something that this server does not do: a command, a file transfer, another direction.
    RequestRefused {
        /// What it asked for, raw.
        request: String,
    },
    /// A port moved to a newer session of its account.
    PortTakenOver {
        /// The port.
        port: Port,
        /// The session that held it.
        from: SessionId,
    },
    /// An account was made.
    AccountAdded {
        /// Its tier.
        tier: String,
        /// Whether it administers this jump host.
        admin: bool,
    },
    /// An account was changed: how it is now.
    AccountChanged {
        /// Its tier.
        tier: String,
        /// Whether it administers this jump host.
        admin: bool,
        /// Whether it is locked out.
        disabled: bool,
    },
    /// A tier was made or changed: how it is now.
    TierSet {
        /// Its name.
        tier: String,
        /// Its limits.
        limits: TierLimits,
    },
    /// A tier was removed.
    TierRemoved {
        /// Its name.
        tier: String,
    },
    /// An account was removed, and its keys with it.
    AccountRemoved,
    /// Somebody signed in at the dashboard.
    SignedIn {
        /// How.
        via: Via,
    },
    /// Somebody was not signed in. What was typed is in no fact: people type their password where their name belongs.
    SignInRefused {
        /// Why.
        reason: SignInRefusal,
    },
    /// Somebody signed out.
    SignedOut,
    /// A link was made that makes an account or sets a password.
    InvitationMade {
        /// Its number.
        id: String,
        /// What it is for.
        kind: &'static str,
        /// For which account, where that is settled.
        account: Option<String>,
    },
    /// A link was revoked.
    InvitationRemoved {
        /// Its number.
        id: String,
    },
    /// A link was used.
    InvitationAccepted {
        /// What it was for.
        kind: &'static str,
        /// How many sessions at the dashboard a new password ended.
        sessions_ended: u64,
        /// How many API tokens it ended.
        tokens_ended: u64,
    },
    /// A password was changed by its owner, whose API tokens stay.
    PasswordChanged {
        /// How many other sessions at the dashboard this ended.
        sessions_ended: u64,
    },
    /// An API token was made.
    TokenMade {
        /// Its number.
        id: String,
        /// What its owner calls it, raw.
        name: String,
        /// What it may do.
        scopes: String,
    },
    /// An API token was removed.
    TokenRemoved {
        /// Its number.
        id: String,
        /// What its owner calls it, raw.
        name: String,
    },
    /// A port was noted down in a member's list.
    PortRegistered {
        /// The port.
        port: u16,
        /// Whether every member sees it.
        shared: bool,
    },
    /// A note of a port was changed.
    PortChanged {
        /// The port.
        port: u16,
        /// Whether every member sees it.
        shared: bool,
    },
    /// A note of a port was removed.
    PortUnregistered {
        /// The port.
        port: u16,
    },
    /// A key was added.
    KeyAdded {
        /// The key.
        key: Fingerprint,
        /// Its label.
        label: String,
    },
    /// A key of another account was claimed with a signature made with it.
    KeyClaimed {
        /// The key.
        key: Fingerprint,
        /// Its label now.
        label: String,
        /// The account that held it.
        from: String,
    },
    /// A key was lost to the account that claimed it.
    KeyLost {
        /// The key.
        key: Fingerprint,
        /// The account that has it now.
        to: String,
        /// How many live sessions this cut.
        sessions_cut: usize,
    },
    /// A key was removed.
    KeyRemoved {
        /// The key.
        key: Fingerprint,
        /// How many live sessions this cut.
        sessions_cut: usize,
    },
}

impl Fact {
    /// The name of every kind, in the order of the alphabet.
    pub const KINDS: &[&'static str] = &[
        "account-added",
        "account-changed",
        "account-removed",
        "forward-closed",
        "forward-opened",
        "forward-refused",
        "invitation-accepted",
        "invitation-made",
        "invitation-removed",
        "key-added",
        "key-claimed",
        "key-lost",
        "key-removed",
        "login-accepted",
        "login-failed",
        "password-changed",
        "port-changed",
        "port-registered",
        "port-taken-over",
        "port-unregistered",
        "request-refused",
        "server-started",
        "server-stopped",
        "session-cut",
        "session-ended",
        "sign-in-refused",
        "signed-in",
        "signed-out",
        "tier-removed",
        "tier-set",
        "token-made",
        "token-removed",
    ];

    /// The stable name of this kind of fact.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ServerStarted { .. } => "server-started",
            Self::ServerStopped => "server-stopped",
            Self::LoggedIn { .. } => "login-accepted",
            Self::LoginFailed { .. } => "login-failed",
            Self::SessionEnded { .. } => "session-ended",
            Self::SessionCut { .. } => "session-cut",
            Self::ForwardOpened { .. } => "forward-opened",
            Self::ForwardRefused { .. } => "forward-refused",
            Self::ForwardClosed { .. } => "forward-closed",
            Self::RequestRefused { .. } => "request-refused",
            Self::PortTakenOver { .. } => "port-taken-over",
            Self::AccountAdded { .. } => "account-added",
            Self::AccountChanged { .. } => "account-changed",
            Self::AccountRemoved => "account-removed",
            Self::TierSet { .. } => "tier-set",
            Self::TierRemoved { .. } => "tier-removed",
            Self::SignedIn { .. } => "signed-in",
            Self::SignInRefused { .. } => "sign-in-refused",
            Self::SignedOut => "signed-out",
            Self::InvitationMade { .. } => "invitation-made",
            Self::InvitationRemoved { .. } => "invitation-removed",
            Self::InvitationAccepted { .. } => "invitation-accepted",
            Self::PasswordChanged { .. } => "password-changed",
            Self::TokenMade { .. } => "token-made",
            Self::TokenRemoved { .. } => "token-removed",
            Self::PortRegistered { .. } => "port-registered",
            Self::PortChanged { .. } => "port-changed",
            Self::PortUnregistered { .. } => "port-unregistered",
            Self::KeyAdded { .. } => "key-added",
            Self::KeyClaimed { .. } => "key-claimed",
            Self::KeyLost { .. } => "key-lost",
            Self::KeyRemoved { .. } => "key-removed",
        }
    }

    /// What the kind alone does not say. Text of a peer is in it as it came: who shows it escapes it.
    #[must_use]
    pub fn detail(&self) -> Value {
        match self {
            Self::ServerStarted { ssh } => json!({"ssh": ssh}),
            Self::ServerStopped | Self::AccountRemoved | Self::SignedOut => json!({}),
            Self::PasswordChanged { sessions_ended } => json!({"sessions_ended": sessions_ended}),
            Self::LoggedIn { key, client_version } => json!({"key": key.to_string(), "client_version": client_version}),
            Self::LoginFailed { user, key } => json!({"user": user, "key": key.map(|key| key.to_string())}),
            Self::SessionEnded { reason, bytes_in, bytes_out } => {
                json!({"reason": reason, "bytes_in": bytes_in, "bytes_out": bytes_out})
            }
            Self::SessionCut { reason } => json!({"reason": reason.name()}),
            Self::ForwardOpened { port, asked } => json!({"port": port.get(), "asked": asked}),
            Self::ForwardRefused { port, reason } => json!({"port": port, "reason": reason.name()}),
            Self::ForwardClosed { port, visitors, bytes_in, bytes_out } => {
                json!({"port": port.get(), "visitors": visitors, "bytes_in": bytes_in, "bytes_out": bytes_out})
            }
            Self::RequestRefused { request } => json!({"request": request}),
            Self::PortTakenOver { port, from } => json!({"port": port.get(), "from": from.0}),
            Self::AccountAdded { tier, admin } => json!({"tier": tier, "admin": admin}),
            Self::AccountChanged { tier, admin, disabled } => {
                json!({"tier": tier, "admin": admin, "disabled": disabled})
            }
            Self::TierSet { tier, limits } => json!({
                "tier": tier,
                "forwards_per_account": limits.forwards_per_account,
                "visitors_per_port": limits.visitors_per_port,
                "visitors_per_account": limits.visitors_per_account,
                "bandwidth_to_owner": limits.bytes_per_second_to_owner,
                "bandwidth_to_visitors": limits.bytes_per_second_to_visitors,
            }),
            Self::TierRemoved { tier } => json!({"tier": tier}),
            Self::SignedIn { via } => json!({"via": via.name()}),
            Self::SignInRefused { reason } => json!({"reason": reason.name()}),
            Self::InvitationMade { id, kind, account } => json!({"id": id, "kind": kind, "account": account}),
            Self::InvitationRemoved { id } => json!({"id": id}),
            Self::InvitationAccepted { kind, sessions_ended, tokens_ended } => {
                json!({"kind": kind, "sessions_ended": sessions_ended, "tokens_ended": tokens_ended})
            }
            Self::TokenMade { id, name, scopes } => json!({"id": id, "name": name, "scopes": scopes}),
            Self::TokenRemoved { id, name } => json!({"id": id, "name": name}),
            Self::PortRegistered { port, shared } | Self::PortChanged { port, shared } => {
                json!({"port": port, "shared": shared})
            }
            Self::PortUnregistered { port } => json!({"port": port}),
            Self::KeyAdded { key, label } => json!({"key": key.to_string(), "label": label}),
            Self::KeyClaimed { key, label, from } => json!({"key": key.to_string(), "label": label, "from": from}),
            Self::KeyLost { key, to, sessions_cut } => {
                json!({"key": key.to_string(), "to": to, "sessions_cut": sessions_cut})
            }
            Self::KeyRemoved { key, sessions_cut } => json!({"key": key.to_string(), "sessions_cut": sessions_cut}),
        }
    }
}

/// Whom a fact is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    account: Option<(AccountId, AccountName)>,
    session: Option<SessionId>,
    source: Option<SocketAddr>,
    by: Option<AccountName>,
}

impl Subject {
    /// The server itself.
    #[must_use]
    pub fn server() -> Self {
        Self::default()
    }

    /// Somebody who has not logged in.
    #[must_use]
    pub fn source(source: SocketAddr) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    /// An account, whoever acts on it.
    #[must_use]
    pub fn account(id: AccountId, name: AccountName) -> Self {
        Self { account: Some((id, name)), ..Self::default() }
    }

    /// The same, acted on from there.
    #[must_use]
    pub fn from(self, source: SocketAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same, acted on by somebody else at the dashboard. The source is that of whoever acts, except where the subject has one.
    #[must_use]
    pub fn by(self, actor: AccountName, client: SocketAddr) -> Self {
        let is_own = self.account.as_ref().is_some_and(|(_, name)| *name == actor);
        Self { source: self.source.or(Some(client)), by: (!is_own).then_some(actor), ..self }
    }

    /// A live session.
    #[must_use]
    pub fn session(session: &LiveSession) -> Self {
        let Identity { account_id, account, .. } = &*session.login().identity;
        Self {
            account: Some((*account_id, account.clone())),
            session: Some(session.id()),
            source: Some(session.login().client),
            by: None,
        }
    }
}

/// Where facts are handed over. Clones share one queue.
#[derive(Debug, Clone)]
pub struct AuditLog {
    queue: mpsc::Sender<NewAuditEvent>,
    metrics: Arc<Metrics>,
}

/// The other end of an [`AuditLog`]: the task that writes.
#[derive(Debug)]
pub(crate) struct AuditWriter {
    queue: mpsc::Receiver<NewAuditEvent>,
    store: Store,
    keep: Option<Duration>,
    metrics: Arc<Metrics>,
}

impl AuditLog {
    /// A queue and its writer, which the caller runs. The writer removes events that are older than `keep`.
    pub(crate) fn new(store: Store, keep: Option<Duration>, metrics: Arc<Metrics>) -> (Self, AuditWriter) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Self { queue: sender, metrics: Arc::clone(&metrics) }, AuditWriter { queue, store, keep, metrics })
    }

    /// Hands a fact over. Never waits; a fact that finds the queue full is counted in `audit_lost`.
    pub fn record(&self, subject: Subject, fact: &Fact) {
        if self.queue.try_send(event(subject, fact)).is_err() {
            self.metrics.audit_lost.inc();
        }
    }
}

/// A fact as the store keeps it.
pub(crate) fn event(subject: Subject, fact: &Fact) -> NewAuditEvent {
    NewAuditEvent {
        at: UnixMillis::from(SystemTime::now()),
        kind: fact.kind().to_owned(),
        account: subject.account.map(|(id, name)| AuditAccount { id: id.0, name: name.to_string() }),
        session: subject.session.map(|session| session.0),
        source: subject.source.map(canonical),
        detail: with_actor(fact.detail(), subject.by).to_string(),
    }
}

/// An IPv4 client is written in one way, whichever socket it came by (`::ffff:192.0.2.1` is what an IPv6 one says): who searches the log
/// for an address finds all of it. The port stays, because behind one address there are many people (RFC 6302 §2); it is 0 where a proxy
/// does not tell it.
fn canonical(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip().to_canonical(), source.port())
}

fn with_actor(mut detail: Value, by: Option<AccountName>) -> Value {
    if let (Some(fields), Some(by)) = (detail.as_object_mut(), by) {
        fields.insert("by".to_owned(), by.to_string().into());
    }
    detail
}

impl AuditWriter {
    /// Writes until `stop`, then what is still in the queue.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut prune = interval(PRUNE_INTERVAL);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, BATCH) => match count {
                    0 => return,
                    _ => self.write(std::mem::take(&mut batch)).await,
                },
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                _ = prune.tick(), if self.keep.is_some() => self.prune().await,
            }
        }
    }

    async fn write(&self, batch: Vec<NewAuditEvent>) {
        let count = batch.len();
        if let Err(error) = self.store.append_audit_events(batch).await {
            self.metrics.audit_lost.inc_by(count as u64);
            tracing::error!(count, error = crate::error_chain(&error), "audit events are lost");
        }
    }

    async fn prune(&self) {
        let Some(before) = self.keep.and_then(|keep| SystemTime::now().checked_sub(keep)) else { return };
        if let Err(error) = self.store.prune_audit_events(before.into()).await {
            tracing::warn!(error = crate::error_chain(&error), "old audit events stay for now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_store::AuditQuery;

    #[tokio::test]
    async fn facts_are_written_by_the_time_the_writer_has_stopped() {
        let store = Store::open_in_memory().await.unwrap();
        let (log, writer) = AuditLog::new(store.clone(), None, Arc::new(Metrics::new()));
        let client = "192.0.2.1:5000".parse().unwrap();
        log.record(Subject::source(client), &Fact::LoginFailed { user: "root\n".to_owned(), key: None });
        log.record(Subject::server(), &Fact::ServerStopped);
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(stop).await;
        let events = store.list_audit_events(AuditQuery::default()).await.unwrap();
        let kinds: Vec<_> = events.iter().rev().map(|event| event.event.kind.as_str()).collect();
        assert_eq!(kinds, ["login-failed", "server-stopped"]);
        assert_eq!(events[1].event.source, Some(client));
        assert_eq!(events[1].event.detail, r#"{"key":null,"user":"root\n"}"#);
    }

    #[test]
    fn a_source_has_one_spelling() {
        let written = |source: &str| {
            let subject = Subject::source(source.parse().unwrap());
            event(subject, &Fact::SignedOut).source.unwrap().to_string()
        };
        assert_eq!(written("192.0.2.1:5000"), "192.0.2.1:5000");
        assert_eq!(written("[::ffff:192.0.2.1]:5000"), "192.0.2.1:5000");
        assert_eq!(written("[2001:db8:0:0:0:0:0:1]:0"), "[2001:db8::1]:0");
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let store = Store::open_in_memory().await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let (log, _writer) = AuditLog::new(store, None, Arc::clone(&metrics));
        for _ in 0..QUEUE + 3 {
            log.record(Subject::server(), &Fact::ServerStopped);
        }
        assert_eq!(metrics.audit_lost.get(), 3);
    }

    #[tokio::test]
    async fn old_events_are_removed() {
        let store = Store::open_in_memory().await.unwrap();
        let mut old = event(Subject::server(), &Fact::ServerStopped);
        old.at = UnixMillis(1_000);
        store.append_audit_events(vec![old, event(Subject::server(), &Fact::AccountRemoved)]).await.unwrap();
        let (_, writer) = AuditLog::new(store.clone(), Some(Duration::from_secs(60)), Arc::new(Metrics::new()));
        writer.prune().await;
        let events = store.list_audit_events(AuditQuery::default()).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event.kind, "account-removed");
    }
}
