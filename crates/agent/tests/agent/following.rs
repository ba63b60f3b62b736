//! Records that change while tunnels run, records that may not be saved, and restarts.

use std::net::TcpListener;

use adit_agent::agent::{AddError, StartError};
use adit_agent::records::InvalidRecord;
use adit_store::agent::{
    ChangeRecordError, Forward, ForwardType, JumpHost, Profile, ProfileChange, Session, SessionForward, Tunnel,
    TunnelChange,
};

use crate::free_port::free_port;
use crate::home::{Home, dynamic, local, tunnel};
use crate::services::{Service, ask, connect, eventually, loopback, ping};
use crate::sshd::Sshd;

#[tokio::test]
async fn a_restart_brings_back_what_starts_with_the_agent() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let auto = Tunnel { auto_start: true, ..tunnel(&sshd, &profile, local(service.port)) };
    let port = auto.forward.local_port;
    let (auto, manual) = (home.add(auto).await, home.start(tunnel(&sshd, &profile, dynamic())).await);
    home.becomes(&manual, "connected").await;
    assert_eq!(home.status(&auto), "disconnected");
    let home = home.restart().await;
    eventually("the last connection was closed", || sshd.log().contains("Disconnected from user")).await;
    home.becomes(&auto, "connected").await;
    assert_eq!(home.status(&manual), "disconnected");
    assert_eq!(ask(&mut connect(loopback(port)).await, b"hello").await.unwrap(), b"5 bytes");
    assert_eq!(sshd.logins(), 2);
    home.agent.stop_all().await;
    assert_eq!(home.agent.start_all().await, 1, "only what starts with the agent");
    assert_eq!(home.status(&manual), "disconnected");
}

#[tokio::test]
async fn an_agent_that_ends_leaves_nothing() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let forward = local(service.port);
    let id = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    home.becomes(&id, "connected").await;
    let agent = home.agent.clone();
    let _folder = home.end().await;
    drop(TcpListener::bind(loopback(forward.local_port)).unwrap());
    eventually("the connection is closed", || sshd.connections() == 0).await;
    assert!(sshd.log().contains("closed by the user"), "it was said, and not just cut");
    assert!(matches!(agent.start_tunnel(&id).await, Err(StartError::Ending)));
}

#[tokio::test]
async fn a_tunnel_is_made_anew_only_where_it_must_be() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::echo().await);
    let profile = home.profile(&sshd).await;
    let forward = local(service.port);
    let id = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    home.becomes(&id, "connected").await;
    let mut program = connect(loopback(forward.local_port)).await;
    ping(&mut program).await.unwrap();

    let rename = TunnelChange { name: Some("New".to_owned()), auto_start: Some(true), ..TunnelChange::default() };
    home.change(&id, rename).await;
    assert_eq!(&*home.view(&id).name, "New");
    ping(&mut program).await.unwrap();

    let never = TunnelChange { auto_reconnect: Some(false), max_retries: Some(9), ..TunnelChange::default() };
    home.change(&id, never).await;
    ping(&mut program).await.unwrap();

    let port = free_port();
    home.change(&id, TunnelChange { local_port: Some(port), ..TunnelChange::default() }).await;
    home.becomes(&id, "connected").await;
    assert!(ping(&mut program).await.is_err(), "what went through the old port is cut");
    ping(&mut connect(loopback(port)).await).await.unwrap();
    eventually("the old port is free", || TcpListener::bind(loopback(forward.local_port)).is_ok()).await;

    home.change(&id, TunnelChange { enabled: Some(false), ..TunnelChange::default() }).await;
    assert_eq!(home.status(&id), "disconnected");
    assert!(matches!(home.agent.start_tunnel(&id).await, Err(StartError::Disabled { .. })));
    home.change(&id, TunnelChange { enabled: Some(true), ..TunnelChange::default() }).await;
    home.agent.start_tunnel(&id).await.unwrap();

    home.agent.remove::<Tunnel>(&id).await.unwrap();
    assert!(home.find(&id).is_none());
    drop(TcpListener::bind(loopback(port)).unwrap());
    eventually("the connection is closed", || sshd.connections() == 0).await;
}

#[tokio::test]
async fn a_disabled_profile_lets_nobody_log_in() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let id = home.add(tunnel(&sshd, &profile, dynamic())).await;
    let off = ProfileChange { enabled: Some(false), ..ProfileChange::default() };
    home.agent.change::<Profile>(&profile, off).await.unwrap();
    home.agent.start_tunnel(&id).await.unwrap();
    home.becomes(&id, "failed").await;
    assert_eq!(home.last_error(&id), "the profile “core” is disabled");
    assert_eq!(sshd.log().matches("Connection from").count(), 0);
}

#[tokio::test]
async fn what_listens_for_others_is_refused_on_every_way_in() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let good = tunnel(&sshd, &profile, local(80));
    let saved = home.add(good.clone()).await;
    for address in ["0.0.0.0", "::", "192.168.1.7", "localhost", "127.1", "::ffff:127.0.0.1", ""] {
        let expected = format!(
            "bind_address '{address}' must be a loopback address (127.0.0.0/8 or ::1) — binding tunnels to non-loopback \
             exposes them to the LAN with no auth"
        );
        for forward_type in [ForwardType::Local, ForwardType::Dynamic, ForwardType::Remote] {
            let forward = Forward { bind_address: address.to_owned(), forward_type, ..good.forward.clone() };
            let refused = home.agent.add(Tunnel { forward: forward.clone(), ..good.clone() }).await.unwrap_err();
            assert!(matches!(refused, AddError::Invalid(InvalidRecord::BindAddress(_))), "{refused}");
            assert_eq!(refused.to_string(), expected);
            let session = Session {
                name: "core".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 22,
                profile_id: profile.clone(),
                jump: None,
                forwards: vec![SessionForward { forward, enabled: false }],
                enabled: true,
            };
            assert_eq!(home.agent.add(session).await.unwrap_err().to_string(), expected);
        }
        let change = TunnelChange { bind_address: Some(address.to_owned()), ..TunnelChange::default() };
        let refused = home.agent.change::<Tunnel>(&saved, change).await.unwrap_err();
        assert!(matches!(refused, ChangeRecordError::Refused(_)), "{refused}");
        assert_eq!(refused.to_string(), expected);
    }
    for address in ["127.0.0.1", "127.255.255.254", "::1"] {
        let change = TunnelChange { bind_address: Some(address.to_owned()), ..TunnelChange::default() };
        home.change(&saved, change).await;
    }
}

#[tokio::test]
async fn a_record_that_cannot_work_is_refused() {
    let (sshd, home) = (Sshd::start().await, Home::new().await);
    let profile = home.profile(&sshd).await;
    let good = tunnel(&sshd, &profile, local(80));
    let refusal = async |tunnel: Tunnel| home.agent.add(tunnel).await.unwrap_err().to_string();
    assert_eq!(refusal(Tunnel { name: " ".to_owned(), ..good.clone() }).await, "name is empty");
    assert_eq!(refusal(Tunnel { port: 0, ..good.clone() }).await, "port must be from 1 to 65535");
    assert!(refusal(Tunnel { host: String::new(), ..good.clone() }).await.contains("it is empty"));
    let with = |forward| Tunnel { forward, ..good.clone() };
    let local_port = with(Forward { local_port: 0, ..good.forward.clone() });
    assert_eq!(refusal(local_port).await, "local_port must be from 1 to 65535");
    let no_host = with(Forward { remote_host: None, ..good.forward.clone() });
    assert_eq!(refusal(no_host).await, "remote_host is required for this forward_type");
    let no_port = with(Forward { remote_port: None, ..good.forward.clone() });
    assert_eq!(refusal(no_port).await, "remote_port is required for this forward_type");
    let nobody = Tunnel { profile_id: "prof_none".to_owned(), ..good.clone() };
    assert!(refusal(nobody).await.contains("there is no profile"));
    let nameless = Profile { username: String::new(), ..crate::home::profile(&sshd) };
    assert_eq!(home.agent.add(nameless).await.unwrap_err().to_string(), "username is empty");
    let nowhere = JumpHost {
        name: "edge".to_owned(),
        host: "a b".to_owned(),
        port: 22,
        profile_id: profile.clone(),
        enabled: true,
    };
    assert!(home.agent.add(nowhere).await.is_err());
    assert!(home.agent.store().list::<Tunnel>().await.unwrap().is_empty());
}
