//! Signs of life: of accounts that may do little, and of a server that is frozen.

use std::sync::Arc;
use std::time::Duration;

use adit_agent::dial::{DialFailure, Stage};
use adit_agent::link::{LinkEnd, LinkEvent, Traffic};
use adit_agent::listener::Towards;

use crate::desk::{empty, open, try_open};
use crate::services::{Service, ask, connect, listen, soon};
use crate::sshd::{Setup, Sshd, here};

async fn stays_alive(setup: Setup<'_>) {
    let (sshd, service) = (Sshd::start_with(setup).await, Service::echo().await);
    let (link, mut events) = open(&sshd.hop()).await;
    for _ in 0..3 {
        link.probe();
        assert_eq!(soon("a sign of life", events.next()).await, Some(LinkEvent::Heard));
    }
    let lane = Arc::new(link.lane(&Traffic::new()));
    let listener = listen(&Towards::Target(here(service.port)), &lane);
    assert_eq!(ask(&mut connect(listener.address()).await, b"still here").await.unwrap(), b"still here");
    assert!(!link.is_over());
    assert!(!sshd.log().contains("Starting session"), "nothing was run");
}

#[tokio::test]
async fn an_ordinary_account_answers_probes() {
    stays_alive(Setup::default()).await;
}

#[tokio::test]
async fn an_account_without_sessions_answers_probes() {
    stays_alive(Setup { config: "MaxSessions 0", ..Setup::default() }).await;
}

#[tokio::test]
async fn an_account_with_a_forced_command_answers_probes() {
    stays_alive(Setup { key_options: "command=\"/bin/false\"", ..Setup::default() }).await;
}

#[tokio::test]
async fn an_account_that_may_only_forward_answers_probes() {
    stays_alive(Setup { key_options: "restrict,port-forwarding", ..Setup::default() }).await;
}

#[tokio::test]
async fn a_frozen_server_is_noticed() {
    let sshd = Sshd::start().await;
    let mut hop = sshd.hop();
    hop.settings.limits.keepalive_interval = Duration::from_millis(300);
    let (link, mut events) = open(&hop).await;
    link.probe();
    assert_eq!(soon("a sign of life", events.next()).await, Some(LinkEvent::Heard));
    sshd.freeze();
    link.probe();
    // What it had said before may still come.
    let end = soon("the end", events.ended()).await;
    assert!(matches!(end, LinkEnd::Silent(_)), "{end:?}");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_target_that_is_never_answered_for_is_given_up_by_itself() {
    let sshd = Sshd::start().await;
    let mut hop = sshd.hop();
    hop.settings.link.open_time = Duration::from_millis(300);
    let (link, mut events) = open(&hop).await;
    let lane = Arc::new(link.lane(&Traffic::new()));
    let target = here(sshd.port().get());
    let (local, socks) = (listen(&Towards::Target(target.clone()), &lane), listen(&Towards::Socks, &lane));
    sshd.freeze();
    let mut program = connect(local.address()).await;
    assert!(ask(&mut program, b"anybody?").await.is_err(), "closed by a reset");
    let told = soon("an event", events.next()).await;
    assert!(
        matches!(&told, Some(LinkEvent::Refused { target: refused, why, .. }) if *refused == target && why.contains("no answer"))
    );
    let mut program = connect(socks.address()).await;
    let request = [&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1][..], &sshd.port().get().to_be_bytes()].concat();
    assert_eq!(ask(&mut program, &request).await.unwrap(), [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert!(!link.is_over());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let (sshd, silent) = (Sshd::start().await, Service::stall().await);
    let mut hop = sshd.hop();
    hop.port = here(silent.port).port();
    hop.settings.limits.login_grace = Duration::from_millis(300);
    let refused = try_open(&hop, &empty()).await.unwrap_err();
    assert_eq!(refused.stage, Stage::HostKey);
    assert!(
        matches!(*refused.why, DialFailure::Ended(LinkEnd::Silent(_))) && refused.obstacle().is_none(),
        "{refused}"
    );
}
