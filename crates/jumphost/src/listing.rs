//! Watches what members share with each other, once for all pages that show it: a page hears of it when an entry is another, or its
//! port was opened or closed. It holds which ports are open and no more: which of them are shared, and under what name, may be a hundred
//! thousand rows, of which a page reads its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use adit_core::AccountId;
use tokio_util::sync::CancellationToken;

use crate::error_chain;
use crate::member::live_ports;
use crate::shared::Shared;

/// At most so often, however many ports come and go.
const PAUSE: Duration = Duration::from_millis(500);

/// The watcher.
pub(crate) struct Listing {
    shared: Arc<Shared>,
    /// As of the last look.
    live: HashSet<(AccountId, u16)>,
}

/// What may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    SharedPorts,
    Forwards,
}

impl Listing {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, live: HashSet::new() }
    }

    /// Watches until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let changes = shared.registry.changes();
        let (mut shared_ports, mut forwards) = (changes.shared_ports(), changes.forwards());
        let mut next = async || {
            // Senders live as long as the jump host.
            let cause = tokio::select! {
                _ = shared_ports.changed() => Cause::SharedPorts,
                _ = forwards.changed() => Cause::Forwards,
            };
            tokio::time::sleep(PAUSE).await;
            cause
        };
        while let Some(cause) = stop.run_until_cancelled(next()).await {
            let is_news = match cause {
                Cause::SharedPorts => true,
                Cause::Forwards => self.has_shared_port_moved().await,
            };
            if is_news {
                changes.note_listing();
            }
        }
    }

    /// Whether a port that is shared was opened or closed since the last look.
    async fn has_shared_port_moved(&mut self) -> bool {
        // What moved meanwhile is seen with the first move that somebody watches.
        if self.shared.registry.changes().is_listing_unwatched() {
            return false;
        }
        let live = live_ports(&self.shared.registry.list());
        let before = std::mem::replace(&mut self.live, live);
        let moved: Vec<_> =
            before.symmetric_difference(&self.live).map(|(account, port)| (account.0, Some(*port))).collect();
        self.shared.store.is_any_shared(&moved).await.unwrap_or_else(|error| {
            tracing::warn!(error = error_chain(&error), "whether a shared port came or went is not known");
            // A page that looks once too often is better than one that shows what is not so.
            true
        })
    }
}
