//! Losses, pauses, and what ends them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_agent::agent::TrustError;
use adit_agent::dial::{Hop, Later, Person};
use adit_agent::known_hosts::HostName;
use adit_ssh::Prompts;
use adit_ssh::crypto::{PrivateKey, PublicKey};
use adit_store::agent::{HostKeyPolicy, SettingsChange, Tunnel};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::home::{Home, dynamic, local, tunnel};
use crate::services::{Service, ask, connect, eventually, loopback};
use crate::sshd::{Setup, Sshd};

#[tokio::test]
async fn each_tunnel_of_a_lost_connection_follows_its_own_policy() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let keeps = tunnel(&sshd, &profile, local(service.port));
    let gives_up = Tunnel { auto_reconnect: false, ..tunnel(&sshd, &profile, dynamic()) };
    let (kept_port, given_up_port) = (keeps.forward.local_port, gives_up.forward.local_port);
    let (keeps, gives_up) = (home.start(keeps).await, home.start(gives_up).await);
    home.becomes(&keeps, "connected").await;
    home.becomes(&gives_up, "connected").await;
    sshd.cut();
    home.becomes(&gives_up, "failed").await;
    assert_eq!(home.last_error(&gives_up), "Connection lost (auto_reconnect disabled)");
    assert!(home.status(&keeps) == "reconnecting" && home.view(&keeps).retry_count() == 1);
    eventually("its port is closed", || std::net::TcpStream::connect(loopback(given_up_port)).is_err()).await;
    // The other one keeps its port, and turns visitors away while there is no connection.
    assert!(TcpStream::connect(loopback(kept_port)).await.is_ok());
    home.becomes(&keeps, "connected").await;
    assert_eq!(ask(&mut connect(loopback(kept_port)).await, b"hello").await.unwrap(), b"5 bytes");
    assert_eq!((home.view(&keeps).retry_count(), home.last_error(&keeps)), (0, String::new()));
    assert_eq!((home.status(&gives_up), sshd.logins()), ("failed", 2));
}

/// Says yes to every host key, but for the first time.
#[derive(Default)]
struct Stumbles(AtomicBool);

impl Person for Stumbles {
    fn confirm_host_key<'a>(&'a self, _: &'a HostName, _: &'a PublicKey) -> Later<'a, Option<bool>> {
        assert!(self.0.swap(true, Ordering::Relaxed), "a fault of the agent's own, in the middle of a login");
        Box::pin(std::future::ready(Some(true)))
    }

    fn answer_prompts<'a>(&'a self, _: &'a Hop, _: &'a Prompts) -> Later<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(std::future::ready(None))
    }
}

#[tokio::test]
async fn a_login_that_panics_is_a_login_that_failed() {
    let (sshd, home) = (Sshd::start().await, Home::with(Arc::new(Stumbles::default())).await);
    let profile = home.profile(&sshd).await;
    let id = home.start(tunnel(&sshd, &profile, dynamic())).await;
    home.becomes(&id, "reconnecting").await;
    assert!(home.last_error(&id).contains("its log says more"), "{}", home.last_error(&id));
    home.becomes(&id, "connected").await;
}

/// A tunnel to a server that hangs up.
async fn hopeless(home: &Home, sshd: &Sshd, service: &Service, max_retries: u32) -> String {
    let profile = home.profile(sshd).await;
    home.start(Tunnel { port: service.port, max_retries, ..tunnel(sshd, &profile, dynamic()) }).await
}

#[tokio::test]
async fn pauses_double_until_the_retries_are_used_up() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let (service, callers) = Service::hang_up().await;
    let begun = Instant::now();
    let id = hopeless(&home, &sshd, &service, 3).await;
    home.becomes(&id, "reconnecting").await;
    home.becomes(&id, "failed").await;
    // 1, 2 and 4 seconds.
    assert!(begun.elapsed() >= Duration::from_secs(7), "{:?}", begun.elapsed());
    assert_eq!(callers.load(Ordering::Relaxed), 4);
    assert!(home.last_error(&id).ends_with("gave up after 3 retries"), "{}", home.last_error(&id));
    assert_eq!(home.view(&id).retry_count(), 3);
}

#[tokio::test]
async fn a_stop_in_a_pause_is_final_and_a_reconnect_ends_one() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let (service, callers) = Service::hang_up().await;
    let (other, _) = Service::hang_up().await;
    let id = hopeless(&home, &sshd, &service, 0).await;
    eventually("it waits for two seconds", || home.view(&id).retry_count() == 2).await;
    let before = callers.load(Ordering::Relaxed);
    home.agent.reconnect(&id).await.unwrap();
    eventually("it is tried at once", || callers.load(Ordering::Relaxed) > before).await;
    home.becomes(&id, "reconnecting").await;
    home.agent.stop(&id).await.unwrap();
    assert_eq!((home.status(&id), home.last_error(&id)), ("disconnected", String::new()));
    let before = callers.load(Ordering::Relaxed);
    // Another one begins when it stops; once that has paused for longer, nothing can be on the way.
    let clock = hopeless(&home, &sshd, &other, 0).await;
    eventually("three seconds pass", || home.view(&clock).retry_count() == 3).await;
    assert_eq!((home.status(&id), callers.load(Ordering::Relaxed)), ("disconnected", before));
    home.agent.stop(&clock).await.unwrap();
}

#[tokio::test]
async fn a_change_of_the_network_ends_a_pause_and_the_count_begins_anew() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let (service, callers) = Service::hang_up().await;
    let id = hopeless(&home, &sshd, &service, 3).await;
    eventually("it waits for the last time", || home.view(&id).retry_count() == 3).await;
    let before = callers.load(Ordering::Relaxed);
    home.agent.check_all();
    eventually("it is tried at once", || callers.load(Ordering::Relaxed) > before).await;
    // It would be the end otherwise.
    eventually("it is counted anew", || home.status(&id) == "reconnecting" && home.view(&id).retry_count() == 2).await;
}

#[tokio::test]
async fn a_reconnect_is_one_fresh_login() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let id = home.add(tunnel(&sshd, &profile, dynamic())).await;
    home.agent.reconnect(&id).await.unwrap();
    home.becomes(&id, "connected").await;
    home.agent.reconnect(&id).await.unwrap();
    home.becomes(&id, "connected").await;
    eventually("one login each", || sshd.logins() == 2 && home.status(&id) == "connected").await;
}

#[tokio::test]
async fn a_frozen_server_is_dead_within_45_seconds() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let id = home.start(Tunnel { auto_reconnect: false, ..tunnel(&sshd, &profile, dynamic()) }).await;
    home.becomes(&id, "connected").await;
    sshd.freeze();
    let frozen = Instant::now();
    let mut board = home.agent.board();
    let noticed = async {
        while home.status(&id) == "connected" {
            board.changed().await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(45), noticed).await.is_ok());
    assert_eq!(home.status(&id), "failed");
    assert!(frozen.elapsed() > Duration::from_secs(5), "silence was waited for, and not something else");
}

#[tokio::test]
async fn a_refused_probe_is_a_sign_of_life() {
    let sshd = Sshd::start_with(Setup { config: "MaxSessions 0", ..Setup::default() }).await;
    let (home, service) = (Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let forward = local(service.port);
    let one = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    home.becomes(&one, "connected").await;
    // Who joins a connection has it probed.
    let two = home.start(tunnel(&sshd, &profile, dynamic())).await;
    home.becomes(&two, "connected").await;
    eventually("the probe was refused", || sshd.log().contains("server_input_channel_open: ctype session")).await;
    let since = home.view(&one).uptime();
    // The pool's time-out of ten seconds passes.
    eventually("it has been up for longer", || home.view(&one).uptime() > since + Duration::from_secs(11)).await;
    assert_eq!((home.status(&one), home.status(&two), sshd.logins()), ("connected", "connected", 1));
    assert_eq!(ask(&mut connect(loopback(forward.local_port)).await, b"hello").await.unwrap(), b"5 bytes");
}

#[tokio::test]
async fn a_changed_host_key_fails_at_once_and_is_not_tried_again() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let old = PrivateKey::generate_ed25519().unwrap();
    let line = format!("[127.0.0.1]:{} {}\n", sshd.port(), old.public_key().to_text(""));
    fs::write(home.known_hosts(), &line).unwrap();
    let id = home.start(tunnel(&sshd, &profile, dynamic())).await;
    home.becomes(&id, "failed").await;
    let told = home.last_error(&id);
    let shown = fs::read_to_string(sshd.path("host.pub")).unwrap();
    let shown = adit_ssh::crypto::PublicKey::from_text(&shown).unwrap().0.fingerprint().to_string();
    assert!(told.contains(&shown) && told.contains(&old.public_key().fingerprint().to_string()), "{told}");
    assert_eq!(fs::read_to_string(home.known_hosts()).unwrap(), line);
    assert!(!sshd.log().contains("userauth-request"));
}

#[tokio::test]
async fn a_person_judges_a_new_host() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let ask = SettingsChange { host_key_policy: Some(HostKeyPolicy::Ask), ..SettingsChange::default() };
    home.agent.change_settings(ask).await.unwrap();
    let profile = home.profile(&sshd).await;
    let id = home.start(tunnel(&sshd, &profile, dynamic())).await;
    home.becomes(&id, "failed").await;
    let strangers = home.agent.board().borrow().strange_hosts.clone();
    assert_eq!(strangers.len(), 1);
    let (host, print) = (strangers[0].host.as_str(), strangers[0].key.fingerprint().to_string());
    assert!(home.last_error(&id).contains(&print));
    let refused = home.agent.trust_host(host, "SHA256:another", false).await;
    assert!(matches!(refused, Err(TrustError::NotShown(_))));
    home.agent.trust_host(host, &print, false).await.unwrap();
    home.agent.start_tunnel(&id).await.unwrap();
    home.becomes(&id, "connected").await;
    assert!(home.agent.board().borrow().strange_hosts.is_empty());
}
