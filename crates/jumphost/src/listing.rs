//! Watches what members share with each other, once for all pages that show it: a page hears that it changed only when what it
//! would show is another.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error_chain;
use crate::member::{DirectoryEntry, shared_ports};
use crate::shared::Shared;

/// At most so often, however many forwards come and go: a look reads every shared port.
const PAUSE: Duration = Duration::from_millis(500);

/// The watcher.
pub(crate) struct Listing {
    shared: Arc<Shared>,
    /// What pages may show: as of the last look that somebody wanted.
    shown: Option<Vec<DirectoryEntry>>,
}

impl Listing {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, shown: None }
    }

    /// Watches until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let changes = shared.registry.changes();
        let (mut directory, mut forwards) = (changes.directory(), changes.forwards());
        self.look().await;
        let mut next = async || {
            // Senders live as long as the jump host.
            tokio::select! {
                _ = directory.changed() => (),
                _ = forwards.changed() => (),
            }
            tokio::time::sleep(PAUSE).await;
        };
        while stop.run_until_cancelled(next()).await.is_some() {
            if !changes.is_listing_unwatched() {
                self.look().await;
            }
        }
    }

    async fn look(&mut self) {
        match shared_ports(&self.shared).await {
            Ok(entries) if self.shown.as_ref() == Some(&entries) => {}
            Ok(entries) => {
                self.shown = Some(entries);
                self.shared.registry.changes().note_listing();
            }
            // The next change is another chance; a page that is opened asks for itself.
            Err(error) => tracing::warn!(error = error_chain(&error), "pages do not hear what is shared"),
        }
    }
}
