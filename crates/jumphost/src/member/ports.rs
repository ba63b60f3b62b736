//! Registered ports: what a member keeps a note of, and what all members share of it. They bind nothing and stop nothing.

use std::collections::HashSet;
use std::sync::Arc;

use adit_core::{AccountId, Port, PortRange};
use adit_store::{
    AddPortError, ChangedPort, NewPort, PortChange, PortQuery, RegisteredPort, RemovePortError, SharedPort, StoreError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use super::{AccountGone, Member, MemberOperation};
use crate::admin::{Fault, FaultKind, ListError, escaped};
use crate::audit::Fact;
use crate::registry::LiveSession;
use crate::search::{LARGEST_PAGE, SearchText, USUAL_PAGE};
use crate::signin::scope::Scope;

/// A description is a line, not a text.
const LONGEST_DESCRIPTION: usize = 200;

/// Ports that an account may have noted down, and so share at most: a search reads each of them, and nobody serves a thousand.
const MOST_PORTS: u32 = 1_000;

/// Notes down a port.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterPort {
    /// The port.
    pub port: u16,
    /// What is served there; may be empty.
    #[serde(default)]
    pub description: String,
    /// Whether every member sees it.
    #[serde(default)]
    pub shared: bool,
}

/// Changes a note; what is `None` stays as it is.
#[derive(Debug, Clone, Deserialize)]
pub struct ChangePort {
    /// Which.
    pub id: String,
    /// What is served there.
    pub description: Option<String>,
    /// Whether every member sees it.
    pub shared: Option<bool>,
}

/// Removes a note.
#[derive(Debug, Clone, Deserialize)]
pub struct UnregisterPort {
    /// Which.
    pub id: String,
}

/// Looks through the member's own notes, by port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortSearch {
    /// Only with this in the description or in the port's digits.
    pub q: Option<SearchText>,
    /// Only this port.
    pub port: Option<u16>,
    /// Without the first so many.
    pub offset: u32,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A page of the member's own notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortPage {
    /// How many were found, on all pages.
    pub total: u64,
    /// Those of this page.
    pub items: Vec<RegisteredPortView>,
}

/// Looks through what all members share, by port, then owner.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectorySearch {
    /// Only with this in the description, in the owner's name or in the port's digits.
    pub q: Option<SearchText>,
    /// Only this port.
    pub port: Option<u16>,
    /// Without the first so many.
    pub offset: u32,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A page of what all members share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectoryPage {
    /// How many were found, on all pages.
    pub total: u64,
    /// Those of this page.
    pub items: Vec<DirectoryEntry>,
}

/// A port that a member has noted down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegisteredPortView {
    /// Names it in a change.
    pub id: String,
    /// The port.
    pub port: u16,
    /// What is served there.
    pub description: String,
    /// Whether every member sees it.
    pub shared: bool,
    /// When it was noted down.
    pub created_at: i64,
    /// Whether a session of its owner has it open now.
    pub live: bool,
}

/// A port that a member shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectoryEntry {
    /// Whose it is.
    pub owner: String,
    /// The port.
    pub port: u16,
    /// Where to connect, `HOST:PORT`.
    pub address: String,
    /// What is served there.
    pub description: String,
    /// Whether a session of its owner has it open now.
    pub live: bool,
}

/// Why a port was not noted down.
#[derive(Debug, Error)]
pub enum RegisterPortError {
    /// The jump host has no such port to give.
    #[error("port {port} is not one of this jump host's; it gives out {range}")]
    OutOfRange {
        /// The port asked for.
        port: u16,
        /// Those it has.
        range: PortRange,
    },
    /// It is too long.
    #[error("a description may have {LONGEST_DESCRIPTION} characters, this one has {length}")]
    LongDescription {
        /// How many it has.
        length: usize,
    },
    /// The member has it already.
    #[error("port {port} is in your list already; change that entry")]
    AlreadyRegistered {
        /// The port.
        port: u16,
    },
    /// There are too many.
    #[error("you have {limit} registered ports already; remove one that you no longer use")]
    TooMany {
        /// How many there may be.
        limit: u32,
    },
    /// The account is gone.
    #[error(transparent)]
    AccountGone(#[from] AccountGone),
    /// No id could be made.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for RegisterPortError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::OutOfRange { .. } | Self::LongDescription { .. } => FaultKind::BadInput,
            Self::AlreadyRegistered { .. } | Self::TooMany { .. } => FaultKind::Conflict,
            Self::AccountGone(error) => error.kind(),
            Self::NoRandomness => FaultKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::OutOfRange { .. } => "out-of-range",
            Self::LongDescription { .. } => "long-description",
            Self::AlreadyRegistered { .. } => "already-registered",
            Self::TooMany { .. } => "too-many-ports",
            Self::AccountGone(error) => error.code(),
            Self::NoRandomness => "no-randomness",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a note was not changed or removed.
#[derive(Debug, Error)]
pub enum ChangePortError {
    /// The member has no such note. Another's is never told from none.
    #[error("you have no such registered port; look at the list again")]
    NoSuchPort,
    /// The description is too long.
    #[error("a description may have {LONGEST_DESCRIPTION} characters, this one has {length}")]
    LongDescription {
        /// How many it has.
        length: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for ChangePortError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::NoSuchPort => FaultKind::NotFound,
            Self::LongDescription { .. } => FaultKind::BadInput,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchPort => "no-such-port",
            Self::LongDescription { .. } => "long-description",
            Self::Store(error) => error.code(),
        }
    }
}

impl MemberOperation for RegisterPort {
    const NEEDS: Scope = Scope::Write;
    type Answer = RegisteredPortView;
    type Error = RegisterPortError;

    async fn run(self, member: &Member) -> Result<RegisteredPortView, RegisterPortError> {
        let (shared, Self { port, description, shared: is_shared }) = (member.shared(), self);
        let range = shared.config.ports.range;
        if !Port::new(port).is_some_and(|port| range.contains(port)) {
            return Err(RegisterPortError::OutOfRange { port, range });
        }
        let length = description.chars().count();
        if length > LONGEST_DESCRIPTION {
            return Err(RegisterPortError::LongDescription { length });
        }
        let new = NewPort { port, description, shared: is_shared };
        let stored = match member.store().add_port(member.account_id().0, new, MOST_PORTS).await {
            Ok(stored) => stored,
            Err(AddPortError::AlreadyRegistered { port }) => {
                return Err(RegisterPortError::AlreadyRegistered { port });
            }
            Err(AddPortError::TooMany { limit }) => return Err(RegisterPortError::TooMany { limit }),
            Err(AddPortError::NoSuchAccount { .. }) => return Err(AccountGone.into()),
            Err(AddPortError::NoRandomness) => return Err(RegisterPortError::NoRandomness),
            Err(AddPortError::Store(error)) => return Err(error.into()),
        };
        shared.audit.record(member.subject(), &Fact::PortRegistered { port, shared: stored.shared });
        tell(member, stored.shared);
        Ok(view(stored, &own_live_ports(member)))
    }
}

impl MemberOperation for ChangePort {
    const NEEDS: Scope = Scope::Write;
    type Answer = RegisteredPortView;
    type Error = ChangePortError;

    async fn run(self, member: &Member) -> Result<RegisteredPortView, ChangePortError> {
        let length = self.description.as_ref().map_or(0, |description| description.chars().count());
        if length > LONGEST_DESCRIPTION {
            return Err(ChangePortError::LongDescription { length });
        }
        let shared = member.shared();
        let change = PortChange { description: self.description, shared: self.shared };
        let changed = member.store().change_port(member.account_id().0, &self.id, change).await;
        let ChangedPort { before, after } = match changed {
            Ok(changed) => changed,
            Err(adit_store::ChangePortError::NoSuchPort) => return Err(ChangePortError::NoSuchPort),
            Err(adit_store::ChangePortError::Store(error)) => return Err(error.into()),
        };
        // Nobody hears of a change that is none, however often it is made.
        if before != after {
            shared.audit.record(member.subject(), &Fact::PortChanged { port: after.port, shared: after.shared });
            tell(member, before.shared || after.shared);
        }
        Ok(view(after, &own_live_ports(member)))
    }
}

impl MemberOperation for UnregisterPort {
    const NEEDS: Scope = Scope::Write;
    type Answer = ();
    type Error = ChangePortError;

    async fn run(self, member: &Member) -> Result<(), ChangePortError> {
        let shared = member.shared();
        let removed = match member.store().remove_port(member.account_id().0, &self.id).await {
            Ok(removed) => removed,
            Err(RemovePortError::NoSuchPort) => return Err(ChangePortError::NoSuchPort),
            Err(RemovePortError::Store(error)) => return Err(error.into()),
        };
        shared.audit.record(member.subject(), &Fact::PortUnregistered { port: removed.port });
        tell(member, removed.shared);
        Ok(())
    }
}

impl MemberOperation for PortSearch {
    const NEEDS: Scope = Scope::Read;
    type Answer = PortPage;
    type Error = ListError;

    async fn run(self, member: &Member) -> Result<PortPage, ListError> {
        let live = own_live_ports(member);
        let query = query(self.q, self.port, self.offset, self.limit);
        let page = member.shared().store.search_ports(member.account_id().0, &query).await?;
        Ok(PortPage { total: page.total, items: page.ports.into_iter().map(|port| view(port, &live)).collect() })
    }
}

impl MemberOperation for DirectorySearch {
    const NEEDS: Scope = Scope::Read;
    type Answer = DirectoryPage;
    type Error = ListError;

    async fn run(self, member: &Member) -> Result<DirectoryPage, ListError> {
        let shared = member.shared();
        let (live, host) = (live_ports(&shared.registry.list()), shared.about.forward_host());
        let query = query(self.q, self.port, self.offset, self.limit);
        let page = shared.store.search_shared_ports(&query).await?;
        let entry = |entry: SharedPort| DirectoryEntry {
            owner: entry.owner,
            port: entry.port.port,
            address: address(&host, entry.port.port),
            description: escaped(&entry.port.description),
            live: live.contains(&(AccountId(entry.port.account), entry.port.port)),
        };
        Ok(DirectoryPage { total: page.total, items: page.ports.into_iter().map(entry).collect() })
    }
}

fn query(text: Option<SearchText>, port: Option<u16>, offset: u32, limit: Option<u32>) -> PortQuery {
    let text = text.map(SearchText::into_string);
    PortQuery { text, port, offset, limit: limit.unwrap_or(USUAL_PAGE).min(LARGEST_PAGE) }
}

/// Tells the member's own pages, and those of others where they show it.
fn tell(member: &Member, is_seen_by_others: bool) {
    let changes = member.changes();
    changes.note_ports(member.account_id());
    if is_seen_by_others {
        changes.note_shared_ports();
    }
}

fn own_live_ports(member: &Member) -> HashSet<(AccountId, u16)> {
    live_ports(&member.shared().registry.of_account(member.account_id()))
}

/// Who has which port open now.
pub(crate) fn live_ports(sessions: &[Arc<LiveSession>]) -> HashSet<(AccountId, u16)> {
    let of_session = |session: &Arc<LiveSession>| {
        let account = session.login().identity.account_id;
        session.forwards().into_iter().map(move |forward| (account, forward.port().get()))
    };
    sessions.iter().flat_map(of_session).collect()
}

fn view(stored: RegisteredPort, live: &HashSet<(AccountId, u16)>) -> RegisteredPortView {
    RegisteredPortView {
        live: live.contains(&(AccountId(stored.account), stored.port)),
        id: stored.id,
        port: stored.port,
        description: escaped(&stored.description),
        shared: stored.shared,
        created_at: stored.created_at.0,
    }
}

/// An IPv6 address wants brackets before a port (RFC 3986 §3.2.2).
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
