//! The conversation of a login: the host key is judged before anything about the user is said, then the profile's credentials
//! are offered one by one.

use std::time::Instant;

use adit_core::Printable;
use adit_ssh::crypto::PublicKey;
use adit_ssh::{ClientEvent, Credential, Event};

use super::{DialFailure, Hop, Person};
use crate::credentials::{Attempts, Prepared};
use crate::known_hosts::{HostKeyError, HostName, KnownHosts, Policy, Verdict};
use crate::link::{LinkEnd, Transport};

/// Of a server's notice, for the log.
const MOST_BANNER: usize = 1000;

/// Waits for the server's host key and judges it. One that is not right is refused, and the server learns nothing else of us.
pub(super) async fn check_host_key(
    transport: &mut Transport,
    hop: &Hop,
    host: &HostName,
    known: &KnownHosts,
    person: &dyn Person,
) -> Result<PublicKey, DialFailure> {
    let key = loop {
        if let ClientEvent::HostKey(key) = transport.next().await? {
            break key;
        }
    };
    match judge(hop, host, &key, known, person).await {
        Ok(()) => {
            transport.client.accept_host_key(Instant::now()).map_err(LinkEnd::from)?;
            Ok(key)
        }
        Err(refused) => {
            transport.client.reject_host_key();
            transport.flush_now();
            Err(refused.into())
        }
    }
}

async fn judge(
    hop: &Hop,
    host: &HostName,
    key: &PublicKey,
    known: &KnownHosts,
    person: &dyn Person,
) -> Result<(), HostKeyError> {
    let ignored = match known.judge(host, key) {
        Verdict::Known => return Ok(()),
        Verdict::Unknown { ignored } => ignored,
        Verdict::Changed(change) => return Err(HostKeyError::Changed(Box::new(change))),
        Verdict::Revoked(place) => {
            return Err(HostKeyError::Revoked { host: host.clone(), fingerprint: key.fingerprint(), place });
        }
    };
    let unknown = || HostKeyError::Unknown { host: host.clone(), key: key.clone(), ignored };
    let accepted = match hop.host_keys.policy {
        Policy::Strict => None,
        Policy::AcceptNew => Some(true),
        Policy::Ask => person.confirm_host_key(host, key).await,
    };
    match accepted {
        Some(true) => hop.host_keys.remember(host, key).await,
        Some(false) => Err(HostKeyError::Declined { host: host.clone(), fingerprint: key.fingerprint() }),
        None => Err(unknown()),
    }
}

/// Logs in, by what the profile has and the server takes.
pub(super) async fn log_in(
    transport: &mut Transport,
    hop: &Hop,
    prepared: Prepared,
    person: &dyn Person,
) -> Result<(), DialFailure> {
    let mut attempts = Attempts::new(&hop.credentials, prepared);
    loop {
        let event = match transport.next().await {
            Ok(event) => event,
            Err(end) => return Err(attempts.cut_off(&hop.user, end).map_or_else(Into::into, Into::into)),
        };
        let now = Instant::now();
        let client = &mut transport.client;
        match event {
            ClientEvent::Connection(Event::LoggedIn) => return Ok(()),
            // Tells which methods there are.
            ClientEvent::AuthReady => client.authenticate(Credential::None, now).map_err(LinkEnd::from)?,
            ClientEvent::AuthFailed(failure) => {
                attempts.note(&failure);
                try_next(transport, &mut attempts, hop).await?;
            }
            ClientEvent::SignatureWanted(request) => {
                let signature = attempts.sign(&request).await;
                transport.client.answer_signature(signature.as_deref(), Instant::now()).map_err(LinkEnd::from)?;
            }
            ClientEvent::Prompts(prompts) => {
                let answers = match attempts.answer(&prompts) {
                    Some(answers) => Some(answers),
                    None => person.answer_prompts(hop, &prompts).await,
                };
                match answers {
                    Some(answers) => {
                        transport.client.answer_prompts(&answers, Instant::now()).map_err(LinkEnd::from)?;
                    }
                    None => {
                        attempts.note_unanswered();
                        try_next(transport, &mut attempts, hop).await?;
                    }
                }
            }
            ClientEvent::Banner(text) => {
                tracing::info!(hop = %hop, text = %Printable::from(&*text).at_most(MOST_BANNER), "the SSH server's notice");
            }
            ClientEvent::HostKey(_)
            | ClientEvent::HostKeysProven(_)
            | ClientEvent::OpenFailed { .. }
            | ClientEvent::SessionProbed { .. }
            | ClientEvent::ForwardCancelled(_)
            | ClientEvent::Connection(_) => {}
        }
    }
}

async fn try_next(transport: &mut Transport, attempts: &mut Attempts<'_>, hop: &Hop) -> Result<(), DialFailure> {
    let credential = attempts.next().await.ok_or_else(|| attempts.refused(&hop.user))?;
    Ok(transport.client.authenticate(credential, Instant::now()).map_err(LinkEnd::from)?)
}
