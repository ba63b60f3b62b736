//! Local ports: who has one that is busy, and when one is free again; and ports at the server.

use std::net::TcpListener;

use adit_agent::agent::{StartError, StopError};
use adit_core::{BindFailure, TunnelStatus};
use adit_store::agent::Forward;
use tokio::net::TcpStream;

use crate::home::{Home, dynamic, local, remote, tunnel};
use crate::services::{Service, ask, connect, eventually, loopback};
use crate::sshd::Sshd;

#[tokio::test]
async fn a_busy_port_is_told_at_once_and_never_reads_connected() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut forward = local(service.port);
    forward.local_port = held.local_addr().unwrap().port();
    let id = home.add(tunnel(&sshd, &profile, forward.clone())).await;
    let mut board = home.agent.board();
    let watched = id.clone();
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.last() != Some(&"failed") {
            board.changed().await.unwrap();
            seen.push(board.borrow_and_update().tunnels[&watched.as_str().into()].status.name());
        }
        seen
    });
    let refused = home.agent.start_tunnel(&id).await.unwrap_err();
    let StartError::NotBound(BindFailure::PortHeld { holder: Some(holder), next_free: Some(free), .. }) = &refused
    else {
        panic!("{refused}")
    };
    assert_eq!(holder.pid, std::process::id());
    assert!(free.get() > forward.local_port);
    assert!(!seen.await.unwrap().contains(&"connected"));
    assert!(home.last_error(&id).contains("is in use by"), "{}", home.last_error(&id));
    assert_eq!(sshd.log().matches("Connection from").count(), 0, "nothing else was tried");
    drop(held);
    home.agent.start_tunnel(&id).await.unwrap();
    home.becomes(&id, "connected").await;
}

#[tokio::test]
async fn a_stopped_tunnel_has_given_its_port_back() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let forward = local(service.port);
    let one = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    assert!(matches!(home.agent.start_tunnel(&one).await, Err(StartError::AlreadyRunning(_))));
    for _ in 0..20 {
        home.agent.stop(&one).await.unwrap();
        drop(TcpListener::bind(loopback(forward.local_port)).unwrap());
        home.agent.start_tunnel(&one).await.unwrap();
    }
    // Another one of ours is named.
    let mut other = tunnel(&sshd, &profile, forward.clone());
    other.name = "Other".to_owned();
    let two = home.add(other).await;
    let refused = home.agent.start_tunnel(&two).await.unwrap_err().to_string();
    assert!(refused.contains("in use by the tunnel “Switch UI”"), "{refused}");
    // A start while the port is being given back gets it.
    let (stopped, started) = tokio::join!(home.agent.stop(&one), home.agent.start_tunnel(&two));
    stopped.unwrap();
    if started.is_err() {
        home.agent.start_tunnel(&two).await.unwrap();
    }
    home.becomes(&two, "connected").await;
    assert_eq!(ask(&mut connect(loopback(forward.local_port)).await, b"hello").await.unwrap(), b"5 bytes");
}

#[tokio::test]
async fn what_is_not_there_is_neither_started_nor_stopped() {
    let home = Home::new().await;
    assert!(matches!(home.agent.start_tunnel("tun_none").await, Err(StartError::NotFound { .. })));
    assert!(matches!(home.agent.stop("tun_none").await, Err(StopError::NotFound { .. })));
    assert!(matches!(home.agent.connect("sess_none").await, Err(StartError::NotFound { .. })));
    assert!(matches!(home.agent.disconnect("sess_none").await, Err(StopError::NotFound { .. })));
}

#[tokio::test]
async fn a_remote_port_that_is_held_is_asked_for_until_it_is_free() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    // Of `localhost` sshd would be content with the address of the other family.
    let forward = Forward { remote_host: Some("127.0.0.1".to_owned()), ..remote(port, service.port) };
    let id = home.start(tunnel(&sshd, &profile, forward)).await;
    home.becomes(&id, "reconnecting").await;
    assert!(home.last_error(&id).contains("refused the remote forward"), "{}", home.last_error(&id));
    eventually("it is asked for again", || home.view(&id).retry_count() >= 2).await;
    drop(held);
    home.becomes(&id, "connected").await;
    let TunnelStatus::Connected { remote_port: Some(told), .. } = home.view(&id).status else { panic!() };
    assert_eq!((told.get(), sshd.logins()), (port, 1));
    assert_eq!(home.view(&id).spec(), format!("R :{port} → localhost:{}", service.port));
    let mut visitor = connect(loopback(port)).await;
    assert_eq!(ask(&mut visitor, &vec![1; 1_000_000]).await.unwrap(), b"1000000 bytes");
    // Its connection is shared, and the forward is taken back all the same.
    let other = home.start(tunnel(&sshd, &profile, dynamic())).await;
    home.becomes(&other, "connected").await;
    home.agent.stop(&id).await.unwrap();
    eventually("the server has closed the port", || std::net::TcpStream::connect(loopback(port)).is_err()).await;
    assert_eq!(home.status(&other), "connected");
    home.agent.start_tunnel(&id).await.unwrap();
    home.becomes(&id, "connected").await;
}

#[tokio::test]
async fn the_exact_literal_is_bound() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let mut forward = local(service.port);
    forward.bind_address = "127.0.0.9".to_owned();
    let id = home.start(tunnel(&sshd, &profile, forward.clone())).await;
    home.becomes(&id, "connected").await;
    assert!(TcpStream::connect(("127.0.0.9", forward.local_port)).await.is_ok());
    assert!(TcpStream::connect(loopback(forward.local_port)).await.is_err());
}
