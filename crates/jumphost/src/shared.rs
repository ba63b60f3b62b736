//! What the sessions of one jump host have in common, and all that they have in common.

use std::sync::{Arc, Mutex};

use adit_core::VisitorLimits;
use adit_store::Store;
use tokio_util::sync::CancellationToken;

use crate::audit::AuditLog;
use crate::config::Config;
use crate::directory::Directory;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::ports::Ports;
use crate::registry::{CutReason, CutSignal, Login, Presence, Registry};

/// What the sessions of one jump host have in common.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// What every SSH connection is served with; the host keys are in it.
    pub(crate) ssh: Arc<adit_ssh::ServerConfig>,
    pub(crate) store: Store,
    pub(crate) directory: Directory,
    pub(crate) registry: Registry,
    pub(crate) ports: Arc<Ports>,
    pub(crate) gate: Mutex<Gate>,
    pub(crate) visitors: Mutex<VisitorLimits>,
    /// Cancelled when no new work is taken any more.
    pub(crate) stopping: CancellationToken,
    pub(crate) audit: AuditLog,
    pub(crate) metrics: Arc<Metrics>,
}

impl Shared {
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
