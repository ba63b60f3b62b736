//! Tells pages that something changed, so that they need not ask. A change carries nothing: who hears of it looks again.
//! Sessions tell without waiting, and where nobody listens it costs them a look into an empty map.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use adit_core::AccountId;
use tokio::sync::watch;

/// A version of something, as a listener sees it: [`changed`](watch::Receiver::changed) waits for the next one.
pub type Version = watch::Receiver<()>;

/// The versions of all that pages show.
#[derive(Debug)]
pub struct Changes {
    live: Mutex<HashMap<AccountId, watch::Sender<()>>>,
    forwards: watch::Sender<()>,
    directory: watch::Sender<()>,
    listing: watch::Sender<()>,
    sign_ins: watch::Sender<()>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            live: Mutex::default(),
            forwards: watch::Sender::new(()),
            directory: watch::Sender::new(()),
            listing: watch::Sender::new(()),
            sign_ins: watch::Sender::new(()),
        }
    }

    /// What is live of one account: a session or forward came, went or was refused.
    #[must_use]
    pub fn live(&self, account: AccountId) -> Version {
        let mut live = self.lock();
        // Those whose last listener has left, so that the map holds no more than there are listeners.
        live.retain(|_, sender| sender.receiver_count() > 0);
        live.entry(account).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Accounts, keys, tiers and registered ports, of anybody.
    #[must_use]
    pub fn directory(&self) -> Version {
        self.directory.subscribe()
    }

    /// The ports that members share with each other, and which of them are live.
    #[must_use]
    pub fn listing(&self) -> Version {
        self.listing.subscribe()
    }

    /// Somebody signed out, or lost the right to be signed in. Sessions whose time is over do not show here.
    #[must_use]
    pub fn sign_ins(&self) -> Version {
        self.sign_ins.subscribe()
    }

    pub(crate) fn note_live(&self, account: AccountId) {
        if let Some(sender) = self.lock().get(&account) {
            sender.send_replace(());
        }
    }

    /// A forward of this account came or went.
    pub(crate) fn note_forward(&self, account: AccountId) {
        self.note_live(account);
        self.forwards.send_replace(());
    }

    /// Forwards of anybody.
    pub(crate) fn forwards(&self) -> Version {
        self.forwards.subscribe()
    }

    pub(crate) fn note_listing(&self) {
        self.listing.send_replace(());
    }

    /// Whether nobody would hear of [`listing`](Self::listing).
    pub(crate) fn is_listing_unwatched(&self) -> bool {
        self.listing.receiver_count() == 0
    }

    pub(crate) fn note_directory(&self) {
        self.directory.send_replace(());
    }

    pub(crate) fn note_sign_ins(&self) {
        self.sign_ins.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, watch::Sender<()>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_hears_of_its_own_account_only() {
        let changes = Changes::new();
        let (alice, bob) = (changes.live(AccountId(1)), changes.live(AccountId(2)));
        changes.note_live(AccountId(1));
        assert!(alice.has_changed().unwrap() && !bob.has_changed().unwrap());
        changes.note_directory();
        assert!(!bob.has_changed().unwrap());
    }

    #[test]
    fn who_left_is_forgotten() {
        let changes = Changes::new();
        drop(changes.live(AccountId(1)));
        let listening = changes.live(AccountId(2));
        assert_eq!(changes.lock().len(), 1);
        changes.note_live(AccountId(1));
        assert!(!listening.has_changed().unwrap());
    }
}
