//! Tells pages that something changed, so that they need not ask. A change carries nothing: who hears of it looks again.
//! What is one account's wakes the pages of that account and no others, so that nobody's doings cost anybody else.
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
    accounts: Mutex<HashMap<AccountId, OfAccount>>,
    forwards: watch::Sender<()>,
    shared_ports: watch::Sender<()>,
    listing: watch::Sender<()>,
    sign_ins: watch::Sender<()>,
}

/// What the pages of one account show.
#[derive(Debug, Default)]
struct OfAccount {
    account: watch::Sender<()>,
    ports: watch::Sender<()>,
    live: watch::Sender<()>,
}

impl OfAccount {
    fn is_heard(&self) -> bool {
        [&self.account, &self.ports, &self.live].iter().any(|sender| sender.receiver_count() > 0)
    }
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            accounts: Mutex::default(),
            forwards: watch::Sender::new(()),
            shared_ports: watch::Sender::new(()),
            listing: watch::Sender::new(()),
            sign_ins: watch::Sender::new(()),
        }
    }

    /// The account itself, its keys and the limits of its tier.
    #[must_use]
    pub fn account(&self, account: AccountId) -> Version {
        self.hear(account, |of| &of.account)
    }

    /// The ports that an account has registered. Which of them are live shows in [`live`](Self::live).
    #[must_use]
    pub fn ports(&self, account: AccountId) -> Version {
        self.hear(account, |of| &of.ports)
    }

    /// What is live of one account: a session or forward came, went or was refused.
    #[must_use]
    pub fn live(&self, account: AccountId) -> Version {
        self.hear(account, |of| &of.live)
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

    pub(crate) fn note_account(&self, account: AccountId) {
        self.note(account, |of| &of.account);
    }

    pub(crate) fn note_ports(&self, account: AccountId) {
        self.note(account, |of| &of.ports);
    }

    pub(crate) fn note_live(&self, account: AccountId) {
        self.note(account, |of| &of.live);
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

    /// A port is shared, is shared no longer, or is shared with another description.
    pub(crate) fn note_shared_ports(&self) {
        self.shared_ports.send_replace(());
    }

    /// Which ports are shared, by anybody.
    pub(crate) fn shared_ports(&self) -> Version {
        self.shared_ports.subscribe()
    }

    pub(crate) fn note_listing(&self) {
        self.listing.send_replace(());
    }

    /// Whether nobody would hear of [`listing`](Self::listing).
    pub(crate) fn is_listing_unwatched(&self) -> bool {
        self.listing.receiver_count() == 0
    }

    pub(crate) fn note_sign_ins(&self) {
        self.sign_ins.send_replace(());
    }

    fn hear(&self, account: AccountId, what: impl Fn(&OfAccount) -> &watch::Sender<()>) -> Version {
        let mut accounts = self.lock();
        // Those whose last listener has left, so that the map holds no more than there are listeners.
        accounts.retain(|_, of| of.is_heard());
        what(accounts.entry(account).or_default()).subscribe()
    }

    fn note(&self, account: AccountId, what: impl Fn(&OfAccount) -> &watch::Sender<()>) {
        if let Some(of) = self.lock().get(&account) {
            what(of).send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, OfAccount>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_hears_of_its_own_account_only_and_of_what_it_asked_for() {
        let changes = Changes::new();
        let of = |account| [changes.account(account), changes.ports(account), changes.live(account)];
        let (mut alice, bob) = (of(AccountId(1)), of(AccountId(2)));
        let mut heard = || {
            assert!(bob.iter().all(|version| !version.has_changed().unwrap()));
            alice.each_mut().map(|version| {
                let has_changed = version.has_changed().unwrap();
                version.mark_unchanged();
                has_changed
            })
        };
        changes.note_account(AccountId(1));
        assert_eq!(heard(), [true, false, false]);
        changes.note_ports(AccountId(1));
        assert_eq!(heard(), [false, true, false]);
        changes.note_live(AccountId(1));
        assert_eq!(heard(), [false, false, true]);
        changes.note_shared_ports();
        assert_eq!(heard(), [false, false, false]);
    }

    #[test]
    fn who_left_is_forgotten() {
        let changes = Changes::new();
        drop(changes.live(AccountId(1)));
        let listening = changes.live(AccountId(2));
        let also = changes.account(AccountId(2));
        assert_eq!(changes.lock().len(), 1);
        changes.note_live(AccountId(1));
        assert!(!listening.has_changed().unwrap());
        drop(listening);
        let _third = changes.live(AccountId(3));
        changes.note_account(AccountId(2));
        assert!(also.has_changed().unwrap(), "an account is not forgotten while anything of it is heard");
    }
}
