//! What is to be seen of the agent, by whoever asks or watches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adit_core::{ForwardSpec, LoopbackAddress, RecordId, Setback, TunnelStatus};
use adit_ssh::crypto::PublicKey;

use crate::dial::{DialError, DialFailure};
use crate::known_hosts::{HostKeyError, HostName, KnownKey};
use crate::link::Traffic;

/// The agent as it stands. Counters go on by themselves, in each tunnel's [`Traffic`]; everything else is as it was when the board
/// was last written.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// Every saved tunnel, and those of connected sessions (whose ids begin `session:`).
    pub tunnels: BTreeMap<RecordId, TunnelView>,
    /// Sessions that somebody connected, until they are disconnected.
    pub sessions: BTreeMap<RecordId, SessionStatus>,
    /// What tunnels carried that are gone.
    pub carried_before: Carried,
    /// Hosts whose key nobody has judged yet, because of which a login failed.
    pub strange_hosts: Vec<StrangeHost>,
    /// Grows with every change of what is saved: a record, a setting, or the lock of the secrets. It begins with the time (in Unix
    /// milliseconds), so that none of one run of the agent comes again in the next.
    pub records: u64,
}

/// Bytes, both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Into SSH connections.
    pub tx: u64,
    /// Out of SSH connections.
    pub rx: u64,
}

impl Carried {
    fn add(self, traffic: &Traffic) -> Self {
        Self { tx: self.tx + traffic.bytes_tx(), rx: self.rx + traffic.bytes_rx() }
    }
}

impl Board {
    /// One that shows nothing yet.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { records: u64::try_from(since.as_millis()).unwrap_or_default(), ..Self::default() }
    }

    /// What all tunnels have carried since the agent started, also those that are gone.
    pub fn carried(&self) -> Carried {
        self.tunnels.values().fold(self.carried_before, |sum, tunnel| sum.add(&tunnel.traffic))
    }

    pub(super) fn remove_tunnel(&mut self, id: &RecordId) {
        if let Some(gone) = self.tunnels.remove(id) {
            self.carried_before = self.carried_before.add(&gone.traffic);
        }
    }
}

/// A tunnel as it stands.
#[derive(Debug, Clone)]
pub struct TunnelView {
    /// What people call it.
    pub name: Arc<str>,
    /// Whose it is, where it comes and goes with a session.
    pub session: Option<RecordId>,
    /// What it forwards.
    pub forward: ForwardSpec,
    /// Its SSH server's name or address.
    pub via: Arc<str>,
    /// How it is.
    pub status: TunnelStatus,
    /// What it carries and has carried, since the agent started.
    pub traffic: Arc<Traffic>,
    /// Why the last connection that did not reach its target did not. That is no fault of the tunnel, whose status it does not
    /// change.
    pub last_refusal: Option<Arc<str>>,
}

impl TunnelView {
    /// Its short form: `L :8080 → intranet:80`, `D :1080 SOCKS5`, `R :8080 → localhost:80`.
    pub fn spec(&self) -> String {
        match &self.forward {
            ForwardSpec::Remote { listen, target } if target.host() == LoopbackAddress::DEFAULT.to_string() => {
                format!("R :{} → localhost:{}", listen.port.map_or(0, adit_core::Port::get), target.port())
            }
            other => other.to_string(),
        }
    }

    /// For how long it has been connected; zero while it is not.
    pub fn uptime(&self) -> Duration {
        match self.status {
            TunnelStatus::Connected { since, .. } => Instant::now().saturating_duration_since(since),
            _ => Duration::ZERO,
        }
    }

    /// Which retry is waited for or under way; 0 where none is.
    pub fn retry_count(&self) -> u32 {
        match self.status {
            TunnelStatus::Reconnecting { retry_count, .. } => retry_count,
            TunnelStatus::Failed { last_error: Setback::GaveUp { retries, .. } } => retries,
            _ => 0,
        }
    }

    /// What went wrong, as long as it matters; a sentence.
    pub fn last_error(&self) -> Option<String> {
        self.status.last_error().map(Setback::to_string)
    }
}

/// How a session stands that somebody connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionStatus {
    /// Its login is under way.
    Connecting,
    /// It is connected.
    Connected {
        /// Since when.
        since: Instant,
    },
    /// It is not, because of this. Its tunnels have ended with it.
    Failed {
        /// What happened.
        last_error: Setback,
    },
}

impl SessionStatus {
    /// Its name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected { .. } => "connected",
            Self::Failed { .. } => "failed",
        }
    }
}

/// A host that showed a key which nobody has judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrangeHost {
    /// The host.
    pub host: HostName,
    /// The key it showed, and proved to hold.
    pub key: PublicKey,
    /// By which other keys it is known. Empty: it is not known at all.
    pub known: Vec<KnownKey>,
    /// Whether all of those stand in the agent's own file, so that the agent can put this key into their place.
    pub may_replace: bool,
    /// When that was. A key that was judged and is shown again at once is another question, also for whoever looks now and then.
    pub shown_at: SystemTime,
}

impl StrangeHost {
    /// Because of whom a login failed, if that is why. `own`: the file of known keys that the agent writes.
    pub(crate) fn of(error: &DialError, own: &Path) -> Option<Self> {
        let shown_at = SystemTime::now();
        match &*error.why {
            DialFailure::HostKey(HostKeyError::Unknown { host, key, .. }) => {
                Some(Self { host: host.clone(), key: key.clone(), known: Vec::new(), may_replace: true, shown_at })
            }
            DialFailure::HostKey(HostKeyError::Changed(change)) => {
                let known: Vec<KnownKey> = change.all_known().cloned().collect();
                let may_replace = known.iter().all(|known| *known.place.file == *own);
                Some(Self { host: change.host.clone(), key: change.shown.clone(), known, may_replace, shown_at })
            }
            _ => None,
        }
    }
}
