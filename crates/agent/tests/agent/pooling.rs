//! Who shares a connection, and when it ends. The servers' logs are the witnesses.

use adit_agent::agent::TrialError;
use adit_agent::dial::Stage;
use adit_store::agent::{JumpHost, JumpRef, ProfileChange, Tunnel};

use crate::free_port::free_port;
use crate::home::{Home, dynamic, local, profile, remote, tunnel};
use crate::services::{Service, ask, connect, eventually, loopback};
use crate::sshd::Sshd;

#[tokio::test]
async fn a_local_and_a_dynamic_tunnel_share_a_login_and_the_last_one_closes_it() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let one = home.start(tunnel(&sshd, &profile, local(service.port))).await;
    let two = home.start(tunnel(&sshd, &profile, dynamic())).await;
    home.becomes(&one, "connected").await;
    home.becomes(&two, "connected").await;
    assert_eq!(sshd.logins(), 1);
    home.agent.stop(&one).await.unwrap();
    assert_eq!((home.status(&one), home.status(&two)), ("disconnected", "connected"));
    assert!(sshd.connections() > 0);
    home.agent.stop(&two).await.unwrap();
    eventually("the connection is closed", || sshd.connections() == 0).await;
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn ten_starts_at_once_log_in_once() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(home.add(tunnel(&sshd, &profile, local(service.port))).await);
    }
    let mut starts = tokio::task::JoinSet::new();
    for id in ids.clone() {
        let agent = home.agent.clone();
        starts.spawn(async move { agent.start_tunnel(&id).await });
    }
    assert!(starts.join_all().await.iter().all(Result::is_ok));
    for id in &ids {
        home.becomes(id, "connected").await;
    }
    assert_eq!(sshd.logins(), 1);
    home.agent.stop_all().await;
    eventually("the connection is closed", || sshd.connections() == 0).await;
    assert_eq!(sshd.logins(), 1, "nothing was leaked");
}

fn edge(sshd: &Sshd, profile_id: &str) -> JumpHost {
    JumpHost {
        name: "edge".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: sshd.port().get(),
        profile_id: profile_id.to_owned(),
        enabled: true,
    }
}

#[tokio::test]
async fn a_jump_is_logged_in_to_once_for_all_who_go_through_it() {
    let (jump, first, second) = (Sshd::start().await, Sshd::start().await, Sshd::start().await);
    let (home, service) = (Home::new().await, Service::count().await);
    let at_jump = home.profile(&jump).await;
    let edge = home.agent.add(edge(&jump, &at_jump)).await.unwrap().id;
    let (at_first, at_second) = (home.profile(&first).await, home.profile(&second).await);
    let through = |sshd: &Sshd, profile: &str| Tunnel {
        jump: Some(JumpRef::Host(edge.clone())),
        ..tunnel(sshd, profile, local(service.port))
    };
    let (one, two) = (through(&first, &at_first), through(&second, &at_second));
    let port = one.forward.local_port;
    let (one, two) = (home.start(one).await, home.start(two).await);
    home.becomes(&one, "connected").await;
    home.becomes(&two, "connected").await;
    assert_eq!((jump.logins(), first.logins(), second.logins()), (1, 1, 1));
    assert_eq!(ask(&mut connect(loopback(port)).await, b"hello").await.unwrap(), b"5 bytes");

    // The choice of what would be inherited anyway is the same way.
    let inherit = ProfileChange { jump_host_id: Some(Some(edge.clone())), ..ProfileChange::default() };
    home.agent.change::<adit_store::agent::Profile>(&at_first, inherit).await.unwrap();
    let three = home.start(tunnel(&first, &at_first, local(service.port))).await;
    home.becomes(&three, "connected").await;
    assert_eq!((jump.logins(), first.logins()), (1, 1));
    assert_eq!(home.status(&one), "connected");

    // When the jump goes, so do those who came through it, and all come back.
    jump.cut();
    home.becomes(&one, "reconnecting").await;
    assert!(home.last_error(&one).contains("Connection lost"), "{}", home.last_error(&one));
    for id in [&one, &two, &three] {
        home.becomes(id, "connected").await;
    }
    assert_eq!((jump.logins(), first.logins(), second.logins()), (2, 2, 2));
    home.agent.stop_all().await;
    eventually("nobody is left", || [&jump, &first, &second].iter().all(|sshd| sshd.connections() == 0)).await;
}

#[tokio::test]
async fn a_jump_that_does_not_let_us_in_is_named() {
    let (jump, target, home) = (Sshd::start().await, Sshd::start().await, Home::new().await);
    // The target's key, which the jump does not know.
    let stranger = home.profile(&target).await;
    let edge = home.agent.add(edge(&jump, &stranger)).await.unwrap().id;
    let way = Tunnel { jump: Some(JumpRef::Host(edge)), ..tunnel(&target, &stranger, dynamic()) };
    let id = home.start(way).await;
    home.becomes(&id, "failed").await;
    let told = home.last_error(&id);
    assert!(told.contains(&format!("127.0.0.1:{}", jump.port())) && told.contains("does not let"), "{told}");
    assert_eq!(target.log().matches("Connection from").count(), 0);
}

#[tokio::test]
async fn a_login_that_is_given_up_gives_its_jump_back() {
    let (jump, home, silent) = (Sshd::start().await, Home::new().await, Service::stall().await);
    let profile = home.profile(&jump).await;
    let edge = home.agent.add(edge(&jump, &profile)).await.unwrap().id;
    let way = Tunnel { jump: Some(JumpRef::Host(edge)), port: silent.port, ..tunnel(&jump, &profile, dynamic()) };
    let id = home.start(way).await;
    eventually("the jump has connected us", || jump.log().contains("server_request_direct_tcpip")).await;
    assert_eq!((home.status(&id), jump.logins()), ("connecting", 1));
    home.agent.stop(&id).await.unwrap();
    assert_eq!(home.status(&id), "disconnected");
    eventually("the jump is left", || jump.connections() == 0).await;
}

#[tokio::test]
async fn a_trial_goes_every_stage_and_leaves_nothing() {
    let (jump, target) = (Sshd::start().await, Sshd::start().await);
    let (home, service) = (Home::new().await, Service::count().await);
    let (at_jump, at_target) = (home.profile(&jump).await, home.profile(&target).await);
    let edge = home.agent.add(edge(&jump, &at_jump)).await.unwrap().id;
    let way = |forward| Tunnel { jump: Some(JumpRef::Host(edge.clone())), ..tunnel(&target, &at_target, forward) };
    let id = home.add(way(local(service.port))).await;
    let mut stages = Vec::new();
    home.agent.try_tunnel(&id, &mut |step| stages.push(step.stage)).await.unwrap();
    let of_jump = [Stage::Credentials, Stage::Resolve, Stage::Connect, Stage::HostKey, Stage::Login];
    let of_target = [Stage::Credentials, Stage::Connect, Stage::HostKey, Stage::Login, Stage::Target];
    assert_eq!(stages, [of_jump, of_target].concat());
    assert_eq!(home.status(&id), "disconnected");
    eventually("nobody is left", || jump.connections() + target.connections() == 0).await;

    let dead = home.add(way(local(free_port()))).await;
    let refused = home.agent.try_tunnel(&dead, &mut |_| {}).await.unwrap_err();
    assert!(matches!(&refused, TrialError::Dial(error) if error.stage == Stage::Target), "{refused}");
    eventually("nobody is left", || jump.connections() + target.connections() == 0).await;
}

#[tokio::test]
async fn another_profile_is_another_login() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let (mine, yours) = (home.profile(&sshd).await, home.agent.add(profile(&sshd)).await.unwrap().id);
    let one = home.start(tunnel(&sshd, &mine, local(service.port))).await;
    let two = home.start(tunnel(&sshd, &yours, remote(free_port(), service.port))).await;
    home.becomes(&one, "connected").await;
    home.becomes(&two, "connected").await;
    assert_eq!(sshd.logins(), 2);
}
