//! Stories of connections that are shared.

use std::time::Instant;

use adit_core::{
    ConnectionId, ConnectionKey, ForwardKind, Jump, LoginFailure, Obstacle, Pool, PoolWish, ReconnectPolicy,
};

use crate::agent::{Id, TestAgent, World, key, no_route};
use crate::host::{port, seconds};

fn through(jump: &str) -> Option<Jump> {
    Some(Jump::Host(jump.into()))
}

fn to_core(chosen: Option<Jump>, inherited: Option<Jump>) -> ConnectionKey {
    ConnectionKey::new("core.example.net", port(22), "prof_1".into(), chosen, inherited)
}

#[test]
fn ten_starts_at_once_are_one_login() {
    let mut agent = TestAgent::new();
    agent.logins = World::Later;
    let tunnels: Vec<Id> = (0..10).map(|_| agent.add_local()).collect();
    tunnels.iter().for_each(|&tunnel| agent.start(tunnel));
    assert_eq!(agent.login_times.len(), 1);
    let connection = *agent.logging_in.keys().next().unwrap();
    agent.finish_login(connection, Ok(()));
    assert!(tunnels.iter().all(|&tunnel| agent.name(tunnel) == "connected"));
    for (at, &tunnel) in tunnels.iter().enumerate() {
        assert_eq!(agent.connection(), connection, "{at} have left");
        agent.stop(tunnel);
    }
    assert!(agent.live.is_empty(), "the last one closes it");
}

#[test]
fn the_same_way_is_the_same_connection() {
    let direct = to_core(None, None);
    assert_eq!(to_core(through("edge"), through("edge")), to_core(None, through("edge")));
    assert_ne!(to_core(through("edge"), None), direct);
    assert_ne!(to_core(Some(Jump::Session("edge".into())), None), to_core(through("edge"), None));
    assert_eq!(to_core(through("a"), through("b")).jump(), through("a").as_ref());
    assert_eq!(ConnectionKey::new("CORE.example.NET", port(22), "prof_1".into(), None, None), direct);
    assert_ne!(ConnectionKey::new("core.example.net", port(2222), "prof_1".into(), None, None), direct);
    assert_ne!(ConnectionKey::new("core.example.net", port(22), "prof_2".into(), None, None), direct);
}

#[test]
fn each_tunnel_of_a_dead_connection_follows_its_own_policy() {
    let mut agent = TestAgent::new();
    let [never, twice, always] = [(false, 0), (true, 2), (true, 0)]
        .map(|(auto, max)| agent.add(ForwardKind::Local, ReconnectPolicy::new(auto, max), key("bastion")));
    [never, twice, always].into_iter().for_each(|tunnel| agent.start(tunnel));
    agent.logins = World::No;
    agent.lose(agent.connection());
    assert_eq!([never, twice, always].map(|tunnel| agent.name(tunnel)), ["failed", "reconnecting", "reconnecting"]);
    agent.advance(seconds(1 + 2));
    assert_eq!([never, twice, always].map(|tunnel| agent.name(tunnel)), ["failed", "failed", "reconnecting"]);
    agent.advance(seconds(600));
    assert_eq!(agent.name(always), "reconnecting");
}

#[test]
fn retries_that_fall_together_share_a_login() {
    let mut agent = TestAgent::new();
    let tunnels = [agent.add_local(), agent.add_local(), agent.add_local()];
    tunnels.into_iter().for_each(|tunnel| agent.start(tunnel));
    agent.logins = World::Later;
    agent.lose(agent.connection());
    agent.advance(seconds(1));
    assert_eq!((agent.login_times.len(), agent.claims.len()), (2, 3));
}

#[test]
fn a_black_holed_server_delays_nobody_else() {
    let mut agent = TestAgent::new();
    agent.logins = World::Later;
    let stuck = agent.add(ForwardKind::Local, ReconnectPolicy::Always, key("black-hole"));
    agent.start(stuck);
    agent.logins = World::Yes;
    let web = agent.add_local();
    agent.start(web);
    assert_eq!((agent.name(stuck), agent.name(web)), ("connecting", "connected"));
    agent.lose(agent.connection());
    agent.advance(seconds(1));
    assert_eq!((agent.name(stuck), agent.name(web)), ("connecting", "connected"));
}

#[test]
fn a_connection_is_asked_every_thirty_seconds() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.start(web);
    agent.advance(seconds(95));
    assert_eq!(agent.probe_times, [seconds(30), seconds(60), seconds(90)]);
    assert_eq!(agent.name(web), "connected");
}

#[test]
fn only_silence_is_death() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.start(web);
    agent.probes = World::Later;
    agent.advance(seconds(39));
    // A refusal, an answer, or any other byte: for the pool they are one.
    agent.hear(agent.connection());
    agent.advance(seconds(39));
    assert_eq!((agent.name(web), agent.login_times.len()), ("connected", 1));
    assert_eq!(agent.probe_times, [seconds(30), seconds(69)]);
}

#[test]
fn a_silent_peer_is_dead_within_forty_five_seconds() {
    let mut agent = TestAgent::new();
    let web = agent.add(ForwardKind::Local, ReconnectPolicy::Never, key("bastion"));
    agent.start(web);
    agent.advance(seconds(30));
    // It answered this probe, and falls silent right behind it.
    agent.probes = World::Later;
    agent.advance(seconds(39));
    assert_eq!(agent.name(web), "connected");
    agent.advance(seconds(1));
    assert_eq!(agent.name(web), "failed");
    assert!(agent.live.is_empty());
    assert_eq!(agent.next_alarm(), None);
}

#[test]
fn a_newcomer_has_the_connection_asked_at_once() {
    let mut agent = TestAgent::new();
    let (web, socks) = (agent.add_local(), agent.add_local());
    agent.start(web);
    agent.probes = World::Later;
    agent.advance(seconds(5));
    agent.start(socks);
    assert_eq!(agent.name(socks), "connected");
    assert_eq!(agent.probe_times, [seconds(5)]);
    agent.advance(seconds(10));
    assert_eq!((agent.name(web), agent.name(socks)), ("reconnecting", "reconnecting"));
}

#[test]
fn a_disturbance_asks_every_connection_once() {
    let mut agent = TestAgent::new();
    let tunnels = ["a", "b", "c"].map(|host| agent.add(ForwardKind::Local, ReconnectPolicy::Never, key(host)));
    tunnels.into_iter().for_each(|tunnel| agent.start(tunnel));
    agent.probes = World::Later;
    agent.advance(seconds(3));
    agent.disturb();
    agent.disturb();
    assert_eq!(agent.probe_times, [seconds(3); 3]);
    agent.advance(seconds(9));
    agent.disturb();
    assert!(tunnels.iter().all(|&tunnel| agent.name(tunnel) == "connected"));
    agent.advance(seconds(1));
    assert!(tunnels.iter().all(|&tunnel| agent.name(tunnel) == "failed"), "changes put off no verdict");
}

#[test]
fn an_alarm_that_rings_far_too_late_is_no_verdict() {
    let mut agent = TestAgent::new();
    let web = agent.add(ForwardKind::Local, ReconnectPolicy::Never, key("bastion"));
    agent.start(web);
    agent.probes = World::Later;
    agent.advance(seconds(30));
    agent.sleep(seconds(60));
    assert_eq!(agent.name(web), "connected", "we slept, and the answer may lie in the socket");
    agent.advance(seconds(10));
    assert_eq!(agent.name(web), "failed");
}

#[test]
fn a_failed_login_is_told_to_all_who_wait_for_it() {
    let mut agent = TestAgent::new();
    agent.logins = World::Later;
    let tunnels = [(); 3].map(|()| agent.add(ForwardKind::Local, ReconnectPolicy::Never, key("bastion")));
    tunnels.into_iter().for_each(|tunnel| agent.start(tunnel));
    agent.stop(tunnels[1]);
    let connection = *agent.logging_in.keys().next().unwrap();
    agent.finish_login(connection, Err(LoginFailure::Lasting(Obstacle::HostKey, "the host key has changed".into())));
    assert_eq!(tunnels.map(|tunnel| agent.name(tunnel)), ["failed", "disconnected", "failed"]);
    assert_eq!(agent.error(tunnels[2]), "the host key has changed");
}

#[test]
fn a_claim_ends_with_its_login_also_when_the_transport_breaks_first() {
    let mut agent = TestAgent::new();
    agent.logins = World::Later;
    let web = agent.add(ForwardKind::Local, ReconnectPolicy::Never, key("bastion"));
    agent.start(web);
    let connection = *agent.logging_in.keys().next().unwrap();
    agent.logging_in.remove(&connection);
    agent.pool.handle_lost(connection, &crate::agent::reset());
    agent.tell(web, |_, _| ());
    assert_eq!((agent.name(web), agent.error(web)), ("failed", "connection reset".to_owned()));
}

#[test]
fn news_of_a_closed_connection_changes_nothing() {
    let mut agent = TestAgent::new();
    agent.logins = World::Later;
    let web = agent.add_local();
    agent.start(web);
    let given_up = *agent.logging_in.keys().next().unwrap();
    agent.stop(web);
    agent.start(web);
    let now = agent.now;
    agent.pool.handle_logged_in(given_up, now);
    agent.pool.handle_login_failed(given_up, &no_route());
    agent.pool.handle_heard(given_up, now);
    agent.pool.handle_lost(given_up, &crate::agent::reset());
    assert_eq!(agent.pool.poll_output(), None);
    assert_eq!((agent.name(web), agent.login_times.len()), ("connecting", 2));
}

#[test]
fn who_has_left_is_told_nothing() {
    let mut pool = Pool::new();
    let now = Instant::now();
    ["web", "socks"].into_iter().for_each(|member| pool.handle_acquire(member, key("bastion"), now));
    let connection = ConnectionId(1);
    pool.handle_logged_in(connection, now);
    pool.handle_release(&"web");
    let wishes: Vec<PoolWish<&str>> = std::iter::from_fn(|| pool.poll_output()).collect();
    let login = PoolWish::LogIn { connection, key: key("bastion") };
    assert_eq!(wishes, [login, PoolWish::Up { member: "socks", connection }]);
    pool.handle_logged_in(connection, now);
    assert_eq!(pool.poll_output(), None, "a login is news once");
    pool.handle_acquire("socks", key("other"), now);
    assert_eq!(pool.poll_output(), None, "one claim at a time");
    assert_eq!(pool.connection(&key("bastion")), Some((connection, &["socks"][..])));
    assert_eq!(pool.connection(&key("other")), None);
}
