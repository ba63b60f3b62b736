//! Stories of one tunnel: up, through losses, and down.

use adit_core::{ForwardKind, LoginFailure, Obstacle, ReconnectPolicy, TunnelStatus};

use crate::agent::{TestAgent, World, key, no_route};
use crate::host::{port, seconds};

const NEVER: ReconnectPolicy = ReconnectPolicy::Never;
const ALWAYS: ReconnectPolicy = ReconnectPolicy::Always;

#[test]
fn a_tunnel_comes_up_and_goes() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.start(web);
    assert_eq!(agent.status(web), TunnelStatus::Connected { since: agent.now, remote_port: None });
    agent.stop(web);
    assert_eq!(agent.told[&web], ["connecting", "connected", "disconnected"]);
    assert!(agent.bound.is_empty() && agent.live.is_empty());
    agent.stop(web);
    assert_eq!(agent.told[&web].len(), 3, "stopping what has stopped is no news");
}

#[test]
fn the_listener_comes_first() {
    let mut agent = TestAgent::new();
    agent.ports = World::Later;
    let web = agent.add_local();
    agent.start(web);
    assert_eq!(agent.name(web), "connecting");
    assert!(agent.logging_in.is_empty() && agent.live.is_empty(), "no login while the port is in doubt");
    agent.finish_bind(web, true);
    assert_eq!(agent.name(web), "connected");
}

#[test]
fn a_busy_port_never_reads_connected() {
    let mut agent = TestAgent::new();
    agent.ports = World::No;
    let web = agent.add_local();
    agent.start(web);
    assert_eq!(agent.told[&web], ["connecting", "failed"]);
    assert_eq!(agent.error(web), "127.0.0.1:8080 is in use by another program");
    assert!(agent.login_times.is_empty());
    agent.advance(seconds(3_600));
    assert_eq!(agent.name(web), "failed", "it stays listed, and nothing is tried");
    agent.ports = World::Yes;
    agent.start(web);
    assert_eq!(agent.name(web), "connected");
}

#[test]
fn what_runs_is_not_started_again() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.logins = World::Later;
    agent.start(web);
    let refused = agent.tell(web, |tunnel, _| tunnel.handle_start()).unwrap_err();
    assert_eq!(refused.to_string(), "Tunnel is already running");
    assert_eq!(agent.login_times.len(), 1);
}

#[test]
fn a_lost_connection_is_made_again_with_growing_pauses() {
    let mut agent = TestAgent::new();
    let web = agent.add(ForwardKind::Local, ALWAYS, key("bastion"));
    agent.start(web);
    agent.logins = World::No;
    agent.lose(agent.connection());
    assert_eq!(agent.name(web), "reconnecting");
    assert_eq!(agent.error(web), "Connection lost: connection reset");
    let start = agent.elapsed();
    agent.advance(seconds(300));
    let times: Vec<u64> = agent.login_times[1..].iter().map(|at| (*at - start).as_secs()).collect();
    let pauses: Vec<u64> = times.iter().scan(0, |last, at| Some(at - std::mem::replace(last, *at))).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(agent.retry_count(web), 10);
    assert_eq!(agent.error(web), "no route to host");
    assert!(agent.bound.contains(&web), "nobody else takes the port meanwhile");
    agent.logins = World::Yes;
    agent.advance(seconds(60));
    assert_eq!(agent.name(web), "connected");
}

#[test]
fn retries_end_where_the_tunnel_says() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.start(web);
    agent.logins = World::No;
    agent.lose(agent.connection());
    agent.advance(seconds(1 + 2 + 4 + 8 + 16));
    assert_eq!(agent.login_times.len(), 1 + 5);
    assert_eq!(agent.name(web), "failed");
    assert_eq!(agent.error(web), "no route to host; gave up after 5 retries");
    assert!(agent.bound.is_empty());
    assert_eq!(agent.next_alarm(), None);
}

#[test]
fn a_tunnel_that_is_not_to_reconnect_fails_with_its_listener_closed() {
    let mut agent = TestAgent::new();
    let web = agent.add(ForwardKind::Dynamic, NEVER, key("bastion"));
    agent.start(web);
    agent.lose(agent.connection());
    assert_eq!(agent.name(web), "failed");
    assert_eq!(agent.error(web), "Connection lost (auto_reconnect disabled)");
    assert!(agent.bound.is_empty());
    agent.advance(seconds(3_600));
    assert_eq!(agent.login_times.len(), 1);
}

#[test]
fn another_policy_leaves_what_is_up_alone() {
    let mut agent = TestAgent::new();
    let web = agent.add(ForwardKind::Local, ALWAYS, key("bastion"));
    agent.start(web);
    agent.set_policy(web, NEVER);
    assert_eq!((agent.told[&web].len(), agent.login_times.len()), (2, 1), "it goes on as it was");
    agent.lose(agent.connection());
    assert_eq!(agent.error(web), "Connection lost (auto_reconnect disabled)");
    agent.set_policy(web, ALWAYS);
    agent.advance(seconds(3_600));
    assert_eq!(agent.name(web), "failed", "a policy starts nothing");
}

#[test]
fn a_pause_that_another_policy_would_not_have_begun_ends() {
    let mut agent = TestAgent::new();
    let web = agent.add(ForwardKind::Local, ALWAYS, key("bastion"));
    agent.start(web);
    agent.logins = World::No;
    agent.lose(agent.connection());
    agent.advance(seconds(1 + 2 + 4));
    agent.set_policy(web, ReconnectPolicy::new(true, 4));
    assert_eq!((agent.name(web), agent.retry_count(web)), ("reconnecting", 4), "the fourth is about to be made");
    agent.set_policy(web, ReconnectPolicy::new(true, 3));
    assert_eq!(agent.error(web), "no route to host; gave up after 3 retries");
    assert!(agent.bound.is_empty());
    assert_eq!(agent.next_alarm(), None);
}

#[test]
fn a_wait_for_a_held_port_ends_only_where_nothing_is_tried_again() {
    let mut agent = TestAgent::new();
    agent.forwards = World::No;
    let share = agent.add(ForwardKind::Remote, ALWAYS, key("bastion"));
    agent.start(share);
    agent.advance(seconds(20));
    agent.set_policy(share, ReconnectPolicy::new(true, 1));
    assert_eq!(agent.name(share), "reconnecting");
    agent.set_policy(share, NEVER);
    assert_eq!(agent.error(share), "the SSH server does not listen on port 8080");
    assert!(agent.live.is_empty(), "nobody needs the connection");
}

#[test]
fn a_first_login_is_tried_again_like_a_later_one() {
    let mut agent = TestAgent::new();
    agent.logins = World::No;
    let (patient, hasty) = (agent.add_local(), agent.add(ForwardKind::Local, NEVER, key("other")));
    agent.start(patient);
    agent.start(hasty);
    assert_eq!((agent.name(patient), agent.retry_count(patient)), ("reconnecting", 1));
    assert_eq!((agent.name(hasty), agent.error(hasty)), ("failed", "no route to host".to_owned()));
    agent.logins = World::Yes;
    agent.advance(seconds(1));
    assert_eq!(agent.name(patient), "connected");
}

#[test]
fn wrong_credentials_are_not_tried_again() {
    let mut agent = TestAgent::new();
    agent.logins = World::Later;
    let web = agent.add(ForwardKind::Local, ALWAYS, key("bastion"));
    agent.start(web);
    let connection = *agent.logging_in.keys().next().unwrap();
    agent.finish_login(
        connection,
        Err(LoginFailure::Lasting(Obstacle::Credentials, "No password found for profile core".into())),
    );
    assert_eq!((agent.name(web), agent.error(web)), ("failed", "No password found for profile core".to_owned()));
    agent.advance(seconds(3_600));
    assert_eq!(agent.login_times.len(), 1);
}

#[test]
fn a_stop_is_final_at_every_moment() {
    let stages: [fn(&mut TestAgent); 6] = [
        |agent| agent.ports = World::Later,
        |agent| agent.logins = World::Later,
        |agent| agent.logins = World::No,
        |agent| agent.forwards = World::Later,
        |agent| agent.forwards = World::No,
        |_| {},
    ];
    for (at, stage) in stages.iter().enumerate() {
        for kind in [ForwardKind::Local, ForwardKind::Remote] {
            let mut agent = TestAgent::new();
            stage(&mut agent);
            let tunnel = agent.add(kind, ALWAYS, key("bastion"));
            agent.start(tunnel);
            agent.stop(tunnel);
            (agent.ports, agent.logins, agent.forwards) = (World::Yes, World::Yes, World::Yes);
            let logins = agent.login_times.len();
            agent.disturb();
            agent.advance(seconds(3_600));
            assert_eq!((agent.name(tunnel), agent.login_times.len()), ("disconnected", logins), "{kind:?}, stage {at}");
        }
    }
}

#[test]
fn a_reconnecting_tunnel_can_be_stopped_while_it_tries() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.start(web);
    agent.logins = World::Later;
    agent.lose(agent.connection());
    agent.advance(seconds(1));
    assert_eq!((agent.name(web), agent.logging_in.len()), ("reconnecting", 1));
    agent.stop(web);
    assert!(agent.logging_in.is_empty(), "the login is given up");
    assert_eq!(agent.name(web), "disconnected");
}

#[test]
fn reconnect_is_one_fresh_connection_now() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.reconnect(web);
    assert_eq!((agent.name(web), agent.login_times.len()), ("connected", 1), "a stopped one starts");

    let before = agent.connection();
    agent.reconnect(web);
    assert_eq!((agent.name(web), agent.login_times.len()), ("connected", 2));
    assert_ne!(agent.connection(), before);
    assert!(agent.bound.contains(&web));

    agent.logins = World::No;
    agent.lose(agent.connection());
    agent.advance(seconds(1 + 2));
    assert_eq!(agent.retry_count(web), 3);
    agent.logins = World::Later;
    agent.reconnect(web);
    assert_eq!((agent.login_times.len(), agent.retry_count(web)), (5, 1), "it does not wait, and begins anew");
    agent.reconnect(web);
    assert_eq!(agent.login_times.len(), 5, "one is being made");

    let (&connection, _) = agent.logging_in.iter().next().unwrap();
    agent.finish_login(connection, Err(LoginFailure::Lasting(Obstacle::HostKey, "host key changed".into())));
    agent.logins = World::Yes;
    agent.reconnect(web);
    assert_eq!((agent.name(web), agent.login_times.len()), ("connected", 6), "a failed one starts");
}

#[test]
fn reconnect_leaves_a_shared_connection_to_the_others_but_asks_it() {
    let mut agent = TestAgent::new();
    let (web, socks) = (agent.add_local(), agent.add_local());
    agent.start(web);
    agent.start(socks);
    agent.advance(seconds(1));
    agent.probes = World::Later;
    agent.reconnect(web);
    assert_eq!((agent.name(web), agent.login_times.len()), ("connected", 1));
    assert_eq!(agent.told[&socks], ["connecting", "connected"], "the other one saw nothing of it");
    assert_eq!(agent.probed.len(), 1);
    agent.advance(seconds(11));
    assert_eq!(agent.login_times.len(), 2, "it was dead");
    assert_eq!((agent.name(web), agent.name(socks)), ("connected", "connected"));
}

#[test]
fn what_lasted_begins_anew_and_what_flaps_counts_on() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.start(web);
    for retry in 1..=3 {
        agent.lose(agent.connection());
        assert_eq!(agent.retry_count(web), retry);
        agent.advance(seconds(16));
        assert_eq!(agent.name(web), "connected");
    }
    agent.advance(seconds(60));
    agent.lose(agent.connection());
    assert_eq!(agent.retry_count(web), 1);
    for _ in 1..=5 {
        agent.advance(seconds(16));
        agent.lose(agent.connection());
    }
    assert_eq!(agent.error(web), "Connection lost: connection reset; gave up after 5 retries");
}

#[test]
fn a_change_of_network_ends_a_pause_and_the_count() {
    let mut agent = TestAgent::new();
    let web = agent.add_local();
    agent.start(web);
    agent.logins = World::No;
    agent.lose(agent.connection());
    agent.advance(seconds(1 + 2 + 4));
    assert_eq!(agent.retry_count(web), 4);
    // More changes than the tunnel has retries.
    for _ in 0..10 {
        agent.disturb();
        assert_eq!((agent.name(web), agent.retry_count(web)), ("reconnecting", 2));
    }
    agent.logins = World::Yes;
    agent.disturb();
    assert_eq!(agent.name(web), "connected");
    let logins = agent.login_times.len();
    agent.disturb();
    assert_eq!(agent.login_times.len(), logins, "what is up is asked, not cut");
}

#[test]
fn a_remote_forward_is_up_when_the_server_listens() {
    let mut agent = TestAgent::new();
    agent.forwards = World::Later;
    let share = agent.add(ForwardKind::Remote, NEVER, key("bastion"));
    agent.start(share);
    assert_eq!((agent.name(share), agent.asked_forwards.len()), ("connecting", 1));
    agent.finish_forward(share, true);
    assert_eq!(agent.status(share), TunnelStatus::Connected { since: agent.now, remote_port: Some(port(8080)) });
    assert!(agent.bound.is_empty(), "it needs no listener here");
}

#[test]
fn a_remote_port_that_is_held_is_asked_for_until_it_is_free() {
    let mut agent = TestAgent::new();
    agent.forwards = World::No;
    let share = agent.add(ForwardKind::Remote, ReconnectPolicy::new(true, 5), key("bastion"));
    agent.start(share);
    assert_eq!(agent.told[&share], ["connecting", "reconnecting"]);
    assert_eq!(agent.error(share), "the SSH server does not listen on port 8080");
    agent.advance(seconds(600));
    assert_eq!(agent.name(share), "reconnecting", "five retries are for lost connections");
    assert!(agent.retry_count(share) > 10);
    assert_eq!(agent.login_times.len(), 1, "the connection is kept");
    agent.forwards = World::Yes;
    agent.advance(seconds(60));
    assert_eq!(agent.name(share), "connected");
}

#[test]
fn a_connection_lost_while_a_port_is_waited_for_is_made_again() {
    let mut agent = TestAgent::new();
    agent.forwards = World::No;
    let share = agent.add(ForwardKind::Remote, ReconnectPolicy::new(true, 5), key("bastion"));
    agent.start(share);
    agent.advance(seconds(30));
    agent.lose(agent.connection());
    assert_eq!((agent.retry_count(share), agent.error(share)), (1, "Connection lost: connection reset".to_owned()));
    agent.forwards = World::Yes;
    agent.advance(seconds(1));
    assert_eq!((agent.name(share), agent.login_times.len()), ("connected", 2));
}

#[test]
fn a_connection_dies_at_the_instant_its_port_is_asked_for_again() {
    let mut agent = TestAgent::new();
    (agent.forwards, agent.probes) = (World::Later, World::Later);
    let share = agent.add(ForwardKind::Remote, ALWAYS, key("bastion"));
    agent.start(share);
    agent.finish_forward(share, false);
    agent.advance(seconds(38));
    agent.finish_forward(share, false);
    // Silent for 30 seconds, unanswered for 10; and two seconds from the second refusal.
    agent.advance(seconds(2));
    assert!(agent.error(share).starts_with("Connection lost"), "{}", agent.error(share));
    assert_eq!((agent.live.len(), agent.asked_forwards.len()), (0, 0));
    agent.advance(seconds(1));
    assert_eq!(agent.login_times.len(), 2);
}

#[test]
fn a_refused_remote_forward_of_a_tunnel_that_is_not_to_reconnect_fails() {
    let mut agent = TestAgent::new();
    agent.forwards = World::No;
    let share = agent.add(ForwardKind::Remote, NEVER, key("bastion"));
    agent.start(share);
    assert_eq!(agent.name(share), "failed");
    assert!(agent.live.is_empty(), "nobody needs the connection");
}

#[test]
fn answers_to_what_was_given_up_change_nothing() {
    let mut agent = TestAgent::new();
    (agent.ports, agent.logins, agent.forwards) = (World::Later, World::Later, World::Later);
    let (web, share) = (agent.add_local(), agent.add(ForwardKind::Remote, ALWAYS, key("other")));
    agent.start(web);
    let old_bind = agent.binding[&web];
    agent.stop(web);
    agent.start(web);
    agent.tell(web, |tunnel, _| tunnel.handle_bound(old_bind));
    assert!(agent.claims.is_empty(), "the listener of this start is not there yet");

    agent.start(share);
    let connection = *agent.logging_in.keys().next().unwrap();
    agent.finish_login(connection, Ok(()));
    let (old_forward, on) = agent.asked_forwards[&share];
    agent.stop(share);
    agent.tell(share, |tunnel, now| {
        tunnel.handle_forward_granted(old_forward, port(8080), now);
        tunnel.handle_forward_refused(old_forward, "no", now);
        tunnel.handle_connection_up(on, now);
        tunnel.handle_login_failed(no_route(), now);
        tunnel.handle_connection_lost(on, crate::agent::reset(), now);
    });
    assert_eq!(agent.told[&share], ["connecting", "disconnected"]);

    agent.start(share);
    let connection = *agent.logging_in.keys().next_back().unwrap();
    agent.finish_login(connection, Ok(()));
    agent.tell(share, |tunnel, now| {
        tunnel.handle_forward_granted(old_forward, port(8080), now);
        tunnel.handle_forward_refused(old_forward, "no", now);
    });
    assert_eq!(agent.name(share), "connecting", "the forward of this start has no answer yet");
}
