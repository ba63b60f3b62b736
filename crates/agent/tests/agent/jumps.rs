//! A link carried by another, each with its own login.

use std::sync::Mutex;

use adit_agent::dial::{self, Stage, Way};
use adit_agent::link::{LinkEnd, Traffic};
use adit_agent::listener::Towards;

use crate::desk::{empty, open};
use crate::services::{Service, ask, connect, eventually, listen, soon};
use crate::sshd::{Setup, Sshd, dead_port, here};

/// Somebody else than who runs the tests, where that can be.
fn somebody_else() -> Option<&'static str> {
    rustix::process::getuid().is_root().then_some("nobody")
}

#[tokio::test]
async fn each_hop_has_its_own_login_and_the_chain_goes_as_one() {
    let edge = Sshd::start_with(Setup { user: somebody_else(), ..Setup::default() }).await;
    let (core, service) = (Sshd::start().await, Service::count().await);
    let steps = Mutex::new(Vec::new());
    let hops = [edge.hop(), core.hop()];
    let mut progress = |step: dial::Step| steps.lock().unwrap().push((step.hop.to_string(), step.stage));
    let desk = empty();
    let opened = soon("a login", dial::open_chain(&hops, &desk, &mut progress)).await;
    let (link, mut events) = opened.unwrap().unwrap();
    let (first, second) = (hops[0].to_string(), hops[1].to_string());
    let stages = [Stage::Credentials, Stage::Resolve, Stage::Connect, Stage::HostKey, Stage::Login];
    let told: Vec<_> = std::mem::take(&mut *steps.lock().unwrap());
    let of = |hop: &str| told.iter().filter(|step| step.0 == hop).map(|step| step.1).collect::<Vec<_>>();
    assert_eq!(of(&first), stages);
    assert_eq!(of(&second), [Stage::Credentials, Stage::Connect, Stage::HostKey, Stage::Login]);
    assert!(edge.log().contains(&format!("Accepted publickey for {}", edge.user())));
    assert!(core.log().contains(&format!("Accepted publickey for {}", core.user())));

    let traffic = Traffic::new();
    let lane = std::sync::Arc::new(link.lane(&traffic));
    let listener = listen(&Towards::Target(here(service.port)), &lane);
    let mut program = connect(listener.address()).await;
    assert_eq!(ask(&mut program, &vec![3; 5_000_000]).await.unwrap(), b"5000000 bytes");
    assert!(
        core.log().contains("target 127.0.0.1") && !edge.log().contains(&format!("port {}, originator", service.port))
    );

    link.stop();
    assert_eq!(soon("the end", events.ended()).await, LinkEnd::Stopped);
    eventually("both servers are left", || edge.connections() == 0 && core.connections() == 0).await;
}

#[tokio::test]
async fn a_jump_that_breaks_is_named() {
    let (edge, core) = (Sshd::start().await, Sshd::start().await);
    let hops = [edge.hop(), core.hop()];
    let desk = empty();
    let opened = soon("a login", dial::open_chain(&hops, &desk, &mut |_| {})).await;
    let (_link, mut events) = opened.unwrap().unwrap();
    edge.cut();
    let end = soon("the end", events.ended()).await;
    assert!(matches!(&end, LinkEnd::Carrier { via, .. } if **via == hops[0].to_string()), "{end}");
}

#[tokio::test]
async fn a_shared_jump_serves_several_links_with_one_login() {
    let (edge, core) = (Sshd::start().await, Sshd::start().await);
    let (jump, mut jump_events) = open(&edge.hop()).await;
    let desk = empty();
    let mut links = Vec::new();
    for _ in 0..3 {
        let opened = soon("a login", dial::open(&core.hop(), Way::Through(jump.clone()), &desk, &mut |_| {})).await;
        links.push(opened.unwrap());
    }
    assert_eq!((edge.logins(), core.logins()), (1, 3));
    drop(links);
    eventually("they are gone", || core.connections() == 0).await;
    assert!(!jump.is_over());
    drop(jump);
    assert_eq!(soon("the end", jump_events.ended()).await, LinkEnd::Stopped);
}

#[tokio::test]
async fn a_test_tells_which_stage_failed() {
    let (edge, core, service) = (Sshd::start().await, Sshd::start().await, Service::echo().await);
    let desk = empty();
    let mut beyond = core.hop();
    beyond.port = adit_core::Port::new(dead_port()).unwrap();
    let refused =
        soon("a login", dial::open_chain(&[edge.hop(), beyond.clone()], &desk, &mut |_| {})).await.unwrap_err();
    assert_eq!((refused.stage, &*refused.hop), (Stage::Connect, &*beyond.to_string()));
    assert!(refused.to_string().contains(&edge.hop().to_string()) && refused.obstacle().is_none(), "{refused}");
    let refused = soon("a login", dial::open(&beyond, Way::Direct, &desk, &mut |_| {})).await.unwrap_err();
    assert_eq!(refused.stage, Stage::Connect);
    let mut nowhere = core.hop();
    nowhere.host = "nowhere.invalid".into();
    let refused = soon("a login", dial::open(&nowhere, Way::Direct, &desk, &mut |_| {})).await.unwrap_err();
    assert_eq!(refused.stage, Stage::Resolve);

    let (link, _events) = open(&core.hop()).await;
    let mut told = Vec::new();
    dial::check_target(&link, &here(service.port), &mut |step| told.push(step.stage)).await.unwrap();
    assert_eq!(told, [Stage::Target]);
    let refused = dial::check_target(&link, &here(dead_port()), &mut |_| {}).await.unwrap_err();
    assert!(refused.stage == Stage::Target && refused.to_string().contains("refused"), "{refused}");
}
