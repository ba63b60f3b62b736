//! What becomes of a host that is not known, or has changed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit_agent::dial::{Desk, DialError, DialFailure, Hop, Stage};
use adit_agent::known_hosts::{HostKeyError, HostKeys, Policy};
use adit_core::Obstacle;
use adit_ssh::crypto::PrivateKey;

use crate::desk::{Says, Secrets, empty, open, try_open};
use crate::services::eventually;
use crate::sshd::{Setup, Sshd, make_key};

fn with_policy(sshd: &Sshd, policy: Policy) -> Hop {
    Hop { host_keys: HostKeys { policy, file: sshd.known_hosts(), others: Vec::new() }, ..sshd.hop() }
}

fn host_key_error(refused: DialError) -> HostKeyError {
    assert_eq!(refused.stage, Stage::HostKey);
    assert_eq!(refused.obstacle(), Some(Obstacle::HostKey));
    match *refused.why {
        DialFailure::HostKey(why) => why,
        other => panic!("{other}"),
    }
}

/// The server has heard nothing of who we are.
async fn heard_nothing(sshd: &Sshd) {
    eventually("the server notices that we went", || sshd.log().contains("the host key is not accepted")).await;
    assert!(!sshd.log().contains("userauth-request") && !sshd.log().contains(&format!("user {}", sshd.user())));
}

#[tokio::test]
async fn a_changed_key_is_refused_and_nothing_is_sent() {
    let sshd = Sshd::start().await;
    let old = PrivateKey::generate_ed25519().unwrap();
    let line = format!("# old times\n[127.0.0.1]:{} {}\n", sshd.port(), old.public_key().to_text(""));
    for policy in [Policy::Strict, Policy::Ask, Policy::AcceptNew] {
        fs::write(sshd.known_hosts(), &line).unwrap();
        let refused = try_open(&with_policy(&sshd, policy), &empty()).await.unwrap_err();
        let told = refused.to_string();
        let HostKeyError::Changed(change) = host_key_error(refused) else { panic!("{told}") };
        assert_eq!(change.known.fingerprint, old.public_key().fingerprint());
        let shown = fs::read_to_string(sshd.path("host.pub")).unwrap();
        let shown = adit_ssh::crypto::PublicKey::from_text(&shown).unwrap().0.fingerprint();
        for part in [shown.to_string(), change.known.to_string(), format!("({}:2)", sshd.known_hosts().display())] {
            assert!(told.contains(&part), "{told}");
        }
        heard_nothing(&sshd).await;
        assert_eq!(fs::read_to_string(sshd.known_hosts()).unwrap(), line);
    }
    // The right key, and the server does hear of us.
    fs::remove_file(sshd.known_hosts()).unwrap();
    open(&sshd.hop()).await;
    assert!(sshd.log().contains("userauth-request"));
}

#[tokio::test]
async fn a_new_host_is_taken_or_not_as_the_policy_says() {
    let sshd = Sshd::start().await;
    for policy in [Policy::Strict, Policy::Ask] {
        let refused = try_open(&with_policy(&sshd, policy), &empty()).await.unwrap_err();
        assert!(matches!(host_key_error(refused), HostKeyError::Unknown { .. }), "nobody is there to be asked");
    }
    heard_nothing(&sshd).await;
    open(&with_policy(&sshd, Policy::AcceptNew)).await;
    let written = fs::read_to_string(sshd.known_hosts()).unwrap();
    assert!(written.starts_with(&format!("[127.0.0.1]:{} ssh-ed25519 ", sshd.port())), "{written}");
    // Now it is known.
    open(&with_policy(&sshd, Policy::Strict)).await;
    // What ssh itself makes of our line.
    let found = std::process::Command::new("ssh-keygen")
        .args(["-F", &format!("[127.0.0.1]:{}", sshd.port()), "-f"])
        .arg(sshd.known_hosts())
        .output()
        .unwrap();
    assert!(found.status.success(), "{found:?}");
}

#[tokio::test]
async fn somebody_is_asked_once() {
    let sshd = Sshd::start().await;
    let hop = with_policy(&sshd, Policy::Ask);
    let asked = |answer| {
        let person = Arc::new(Says(answer, AtomicUsize::new(0)));
        (person.clone(), Desk { secrets: Arc::new(Secrets::default()), person })
    };
    let (no, desk) = asked(false);
    let refused = try_open(&hop, &desk).await.unwrap_err();
    assert!(matches!(host_key_error(refused), HostKeyError::Declined { .. }));
    assert_eq!(no.1.load(Ordering::Relaxed), 1);
    let (yes, desk) = asked(true);
    try_open(&hop, &desk).await.unwrap();
    try_open(&hop, &desk).await.unwrap();
    assert_eq!(yes.1.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_known_key_is_asked_for_and_the_others_are_learnt() {
    let folder = tempfile::tempdir().unwrap();
    make_key(folder.path(), "more", "ecdsa", "");
    let config = format!("HostKey {}", folder.path().join("more").display());
    let sshd = Sshd::start_with(Setup { config: &config, ..Setup::default() }).await;
    // Of its two keys the one that would not be its first choice is known.
    let known = fs::read_to_string(folder.path().join("more.pub")).unwrap();
    let line = format!("[127.0.0.1]:{} {known}", sshd.port());
    fs::write(sshd.known_hosts(), &line).unwrap();
    let (_link, _events) = open(&with_policy(&sshd, Policy::Strict)).await;
    assert_eq!(fs::read_to_string(sshd.known_hosts()).unwrap(), line);
    let (_link, _events) = open(&with_policy(&sshd, Policy::Ask)).await;
    eventually("the other key is learnt", || fs::read_to_string(sshd.known_hosts()).unwrap().contains("ssh-ed25519"))
        .await;
}
