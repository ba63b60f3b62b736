//! What the sessions of one jump host have in common, and all that they have in common.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use adit_core::VisitorLimits;
use adit_net::gate::Gate;
use adit_net::listen::Exhaustion;
use adit_ssh::crypto::PublicKey;
use adit_store::Store;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::bandwidth::Bandwidth;
use crate::config::Config;
use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::ports::Ports;
use crate::refusals::Refusals;
use crate::registry::{CutReason, CutSignal, Login, Presence, Registry};
use crate::server::Addresses;
use crate::signin::attempts::Attempts;
use crate::signin::password::Hasher;

/// What the sessions of one jump host have in common.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// What every SSH connection is served with; the host keys are in it.
    pub(crate) ssh: Arc<adit_ssh::ServerConfig>,
    pub(crate) store: Store,
    pub(crate) directory: Directory,
    pub(crate) registry: Registry,
    pub(crate) ports: Arc<Ports>,
    pub(crate) gate: Gate,
    pub(crate) visitors: Mutex<VisitorLimits>,
    pub(crate) bandwidth: Bandwidth,
    /// Cancelled when no new work is taken any more.
    pub(crate) stopping: CancellationToken,
    pub(crate) audit: AuditLog,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) about: About,
    pub(crate) refusals: Refusals,
    pub(crate) attempts: Mutex<Attempts>,
    pub(crate) hasher: Hasher,
    pub(crate) exhaustion: Mutex<Exhaustion>,
}

/// What is settled from the start, and told to those who ask.
pub(crate) struct About {
    pub(crate) addresses: Addresses,
    pub(crate) host_keys: Vec<PublicKey>,
    /// The file of the store.
    pub(crate) store: PathBuf,
    pub(crate) started: SystemTime,
}

impl About {
    /// The address that visitors are told: an address that stands for all of them leads nowhere.
    pub(crate) fn forward_host(&self) -> String {
        match self.addresses.forward_address {
            address if address.is_unspecified() => self.addresses.advertise.clone(),
            address => address.to_string(),
        }
    }
}

impl Shared {
    /// Failed sign-ins.
    pub(crate) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Descriptors have run out: how long to wait before accepting again.
    pub(crate) fn exhausted(&self, what: &str, error: &io::Error) -> Duration {
        self.exhaustion.lock().unwrap_or_else(PoisonError::into_inner).pause(what, error, Instant::now())
    }

    /// Makes a change of the store act now. Who changed it has done so, and the directory's own poll will see it too, so a failure
    /// here is nobody's.
    pub(crate) async fn follow_directory(&self) {
        if let Err(error) = self.directory.refresh(&self.registry).await {
            tracing::error!(error = crate::error_chain(&error), "a change was stored and acts with a delay");
        }
    }

    /// Lists a session that has just logged in. Its signal has fired already if its key was removed while it logged in: a
    /// removal looks at the registry after it has changed the directory, so one of the two always sees the other.
    pub(crate) fn enter(&self, login: Login) -> (Presence, CutSignal) {
        let identity = Arc::clone(&login.identity);
        self.directory.note_used(&identity);
        let (presence, signal) = self.registry.enter(login);
        if let Some(reason) = self.directory.revoked(&identity) {
            self.registry.cut_session(presence.id(), reason);
        }
        // Whoever logs in while all others are being cut would be forgotten.
        if self.stopping.is_cancelled() {
            self.registry.cut_session(presence.id(), CutReason::ShuttingDown);
        }
        (presence, signal)
    }
}
