//! The same account comes back while its old session still holds the port (line 11).

use std::time::{Duration, Instant};

use adit_e2e::{HttpService, JumpHost, Member, OpenSsh, Running, ServiceAddress, eventually, http_get, remains};

use crate::SOON;

/// Three seconds of silence and one for the new session: what line 11 promises.
const MOVED: Duration = Duration::from_secs(4);

fn open(host: &JumpHost, member: &Member, service: &HttpService) -> Running {
    let ssh = OpenSsh::new(host, member).no_session().option("ExitOnForwardFailure=yes");
    ssh.forward(10080, service.port()).spawn()
}

/// The session that holds port 10080.
fn holder(host: &JumpHost) -> Option<u64> {
    host.ports().first()?["session"].as_u64()
}

fn visit(host: &JumpHost) -> Option<String> {
    http_get(host.forwarded(10080), "jump", "/", Duration::from_millis(500)).map(|answer| answer.body)
}

#[test]
fn a_silent_session_yields_its_port_within_4_s() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let (old_page, new_page) = (HttpService::start("old"), HttpService::start("new"));
    let old = open(&host, &alice, &old_page);
    host.await_port(10080);
    assert_eq!(visit(&host).as_deref(), Some("old"));
    old.freeze();
    let returned = Instant::now();
    let mut new = open(&host, &alice, &new_page);
    let moved = eventually(MOVED + Duration::from_millis(500), "the port serves the new session", || {
        visit(&host).as_deref() == Some("new")
    });
    assert!(moved <= MOVED, "the port moved after {moved:?}");
    assert!(new.is_running() && !new.stderr().contains("remote port forwarding failed"), "{}", new.stderr());
    eprintln!("moved {:?} after the new client was started", returned.elapsed());
}

/// Another of the account's machines is alive: its port stays its own.
#[test]
fn a_living_session_keeps_its_port() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    let phone = host.further_key("alice", "phone", adit_e2e::KeyType::Ed25519);
    let (old_page, new_page) = (HttpService::start("old"), HttpService::start("new"));
    let mut old = open(&host, &alice, &old_page);
    host.await_port(10080);
    let mut new = open(&host, &phone, &new_page);
    assert_eq!(new.wait_exit(SOON).code(), 255);
    assert!(old.is_running());
    assert_eq!(visit(&host).as_deref(), Some("old"));
}

/// A stranger gains nothing from the holder's silence.
#[test]
fn another_account_never_takes_over() {
    let host = JumpHost::start();
    let (alice, bob) = (host.member("alice"), host.member("bob"));
    let (page, other_page) = (HttpService::start("alice"), HttpService::start("bob"));
    let holder = open(&host, &alice, &page);
    host.await_port(10080);
    holder.freeze();
    assert_eq!(open(&host, &bob, &other_page).wait_exit(SOON).code(), 255);
    holder.thaw();
    eventually(SOON, "the holder serves again", || visit(&host).as_deref() == Some("alice"));
}

#[test]
fn always_takes_over_at_once() {
    let host = JumpHost::builder().setting("takeover", "always").start();
    let alice = host.member("alice");
    let (old_page, new_page) = (HttpService::start("old"), HttpService::start("new"));
    let _old = open(&host, &alice, &old_page);
    host.await_port(10080);
    let mut new = open(&host, &alice, &new_page);
    eventually(Duration::from_secs(2), "the new session has the port", || visit(&host).as_deref() == Some("new"));
    assert!(new.is_running());
}

#[test]
fn never_takes_over_not_even_from_a_silent_session() {
    let host = JumpHost::builder().setting("takeover", "never").start();
    let alice = host.member("alice");
    let (old_page, new_page) = (HttpService::start("old"), HttpService::start("new"));
    let old = open(&host, &alice, &old_page);
    host.await_port(10080);
    old.freeze();
    assert_eq!(open(&host, &alice, &new_page).wait_exit(SOON).code(), 255);
    old.thaw();
    eventually(SOON, "the old session serves again", || visit(&host).as_deref() == Some("old"));
}

/// Two machines that fight for one port do not pass it to and fro: one takeover in 10 s at most.
#[test]
fn a_port_moves_once_in_ten_seconds_at_most() {
    let host = JumpHost::builder().setting("takeover", "always").start();
    let alice = host.member("alice");
    let page = HttpService::start("page");
    let _first = open(&host, &alice, &page);
    host.await_port(10080);
    let first_holder = holder(&host).expect("the port is listed");
    let mut second = open(&host, &alice, &page);
    eventually(SOON, "the port moved once", || holder(&host) != Some(first_holder));
    remains(Duration::from_millis(500), "the second holds it", || second.is_running());
    let mut third = open(&host, &alice, &page);
    assert_eq!(third.wait_exit(SOON).code(), 255);
    assert!(second.is_running());
    assert_ne!(holder(&host), Some(first_holder));
}
