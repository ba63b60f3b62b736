//! Tunnels that come and go with a session.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use adit_agent::agent::{StartError, StopError};
use adit_core::RecordId;
use adit_store::agent::{JumpRef, Session, SessionChange, SessionForward, Tunnel};

use crate::home::{Home, dynamic, local, tunnel};
use crate::services::{Service, ask, connect, eventually, loopback};
use crate::sshd::Sshd;

fn session(sshd: &Sshd, profile_id: &str, forwards: Vec<SessionForward>) -> Session {
    Session {
        name: "core switch".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: sshd.port().get(),
        profile_id: profile_id.to_owned(),
        jump: None,
        forwards,
        enabled: true,
    }
}

fn status(home: &Home, id: &str) -> Option<&'static str> {
    home.agent.board().borrow().sessions.get(&RecordId::from(id)).map(|status| status.name())
}

#[tokio::test]
async fn forwards_come_and_go_with_their_session_on_one_login() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let (first, second, off) = (local(service.port), dynamic(), dynamic());
    let forwards = vec![
        SessionForward { forward: first.clone(), enabled: true },
        SessionForward { forward: off.clone(), enabled: false },
        SessionForward { forward: second.clone(), enabled: true },
    ];
    let id = home.agent.add(session(&sshd, &profile, forwards)).await.unwrap().id;
    home.agent.connect(&id).await.unwrap();
    let (one, two) = (format!("session:{id}:0"), format!("session:{id}:2"));
    home.becomes(&one, "connected").await;
    home.becomes(&two, "connected").await;
    assert_eq!((status(&home, &id), sshd.logins()), (Some("connected"), 1));
    assert!(home.find(&format!("session:{id}:1")).is_none());
    let view = home.view(&one);
    assert_eq!((&*view.name, view.session), (&*format!("Session forward :{}", first.local_port), Some((&*id).into())));
    assert_eq!(ask(&mut connect(loopback(first.local_port)).await, b"hello").await.unwrap(), b"5 bytes");
    assert!(home.agent.store().list::<Tunnel>().await.unwrap().is_empty(), "they are never stored");
    assert!(matches!(home.agent.connect(&id).await, Err(StartError::AlreadyConnected)));
    assert!(matches!(home.agent.start_tunnel(&one).await, Err(StartError::OfSession)));
    assert!(matches!(home.agent.stop(&one).await, Err(StopError::OfSession)));

    let begun = Instant::now();
    home.agent.disconnect(&id).await.unwrap();
    for forward in [&first, &second] {
        drop(TcpListener::bind(loopback(forward.local_port)).unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(home.find(&one).is_none() && home.find(&two).is_none() && status(&home, &id).is_none());
    eventually("the connection is closed", || sshd.connections() == 0).await;
}

#[tokio::test]
async fn a_session_shares_its_way_and_serves_as_a_jump() {
    let (edge, core, home, service) =
        (Sshd::start().await, Sshd::start().await, Home::new().await, Service::count().await);
    let (at_edge, at_core) = (home.profile(&edge).await, home.profile(&core).await);
    let jump = home.agent.add(session(&edge, &at_edge, Vec::new())).await.unwrap().id;
    home.agent.connect(&jump).await.unwrap();
    eventually("it is connected", || status(&home, &jump) == Some("connected")).await;
    let forward = local(service.port);
    let forwards = vec![SessionForward { forward: forward.clone(), enabled: true }];
    let behind = Session { jump: Some(JumpRef::Session(jump.clone())), ..session(&core, &at_core, forwards) };
    let id = home.agent.add(behind).await.unwrap().id;
    home.agent.connect(&id).await.unwrap();
    home.becomes(&format!("session:{id}:0"), "connected").await;
    let saved = Tunnel { jump: Some(JumpRef::Session(jump.clone())), ..tunnel(&core, &at_core, dynamic()) };
    let saved = home.start(saved).await;
    home.becomes(&saved, "connected").await;
    assert_eq!((edge.logins(), core.logins()), (1, 1));
    assert_eq!(ask(&mut connect(loopback(forward.local_port)).await, b"hello").await.unwrap(), b"5 bytes");
    home.agent.disconnect(&id).await.unwrap();
    home.agent.disconnect(&jump).await.unwrap();
    assert_eq!((home.status(&saved), edge.connections() > 0), ("connected", true), "somebody still goes through it");
}

#[tokio::test]
async fn a_lost_session_fails_with_its_tunnels_and_can_be_connected_again() {
    let (sshd, home, service) = (Sshd::start().await, Home::new().await, Service::count().await);
    let profile = home.profile(&sshd).await;
    let forward = local(service.port);
    let forwards = vec![SessionForward { forward: forward.clone(), enabled: true }];
    let id = home.agent.add(session(&sshd, &profile, forwards)).await.unwrap().id;
    home.agent.connect(&id).await.unwrap();
    let tunnel = format!("session:{id}:0");
    home.becomes(&tunnel, "connected").await;
    sshd.cut();
    home.becomes(&tunnel, "failed").await;
    assert_eq!(status(&home, &id), Some("failed"));
    eventually("its port is closed", || TcpStream::connect(loopback(forward.local_port)).is_err()).await;
    home.agent.connect(&id).await.unwrap();
    home.becomes(&tunnel, "connected").await;
    assert_eq!(status(&home, &id), Some("connected"));

    // Forwards that are added, and a session that is removed, are followed.
    let (kept, added) = (forward.clone(), dynamic());
    let forwards = [&kept, &added].map(|forward| SessionForward { forward: forward.clone(), enabled: true }).to_vec();
    let change = SessionChange { forwards: Some(forwards), ..SessionChange::default() };
    let since = home.view(&tunnel).status;
    home.agent.change::<Session>(&id, change).await.unwrap();
    home.becomes(&format!("session:{id}:1"), "connected").await;
    assert_eq!(home.view(&tunnel).status, since, "the other one went on");
    home.agent.remove::<Session>(&id).await.unwrap();
    assert!(home.find(&tunnel).is_none());
    drop(TcpListener::bind(loopback(added.local_port)).unwrap());
    eventually("the connection is closed", || sshd.connections() == 0).await;
}
