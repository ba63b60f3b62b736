//! Whom a login may ask, in a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit_agent::credentials::{SecretError, SecretKind, SecretSource};
use adit_agent::dial::{self, Desk, DialError, Hop, Later, Nobody, Person, Way};
use adit_agent::known_hosts::HostName;
use adit_agent::link::{Link, LinkEvents};
use adit_core::RecordId;
use adit_ssh::Prompts;
use adit_ssh::crypto::PublicKey;
use zeroize::Zeroizing;

use crate::services::soon;

/// One profile's secrets, in the open.
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) passphrase: Option<&'static str>,
}

impl SecretSource for Secrets {
    fn find<'a>(
        &'a self,
        _: &'a RecordId,
        kind: SecretKind,
    ) -> Later<'a, Result<Option<Zeroizing<String>>, SecretError>> {
        let secret = match kind {
            SecretKind::Password => None,
            SecretKind::Passphrase => self.passphrase,
        };
        Box::pin(std::future::ready(Ok(secret.map(|secret| Zeroizing::new(secret.to_owned())))))
    }
}

/// Says the same to every host key, and counts how often it was asked.
pub(crate) struct Says(pub(crate) bool, pub(crate) AtomicUsize);

impl Person for Says {
    fn confirm_host_key<'a>(&'a self, _: &'a HostName, _: &'a PublicKey) -> Later<'a, Option<bool>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Some(self.0)))
    }

    fn answer_prompts<'a>(&'a self, _: &'a Hop, _: &'a Prompts) -> Later<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(std::future::ready(None))
    }
}

/// A desk without secrets, where nobody sits.
pub(crate) fn empty() -> Desk {
    Desk { secrets: Arc::new(Secrets::default()), person: Arc::new(Nobody) }
}

pub(crate) async fn try_open(hop: &Hop, desk: &Desk) -> Result<(Link, LinkEvents), DialError> {
    soon("a login", dial::open(hop, Way::Direct, desk, &mut |_| {})).await
}

pub(crate) async fn open(hop: &Hop) -> (Link, LinkEvents) {
    try_open(hop, &empty()).await.unwrap()
}
