//! What fails, and what goes on.

use std::time::{Duration, Instant};

use adit_mesh::Mesh;
use adit_mesh::view::{Dashboard, ForwardState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::{
    PATIENCE, Service, TestMesh, Wanted, ask, connect, echo, endpoint, exchange, forward, free_address, listener,
    named, ping, restart, send_back, until, until_answers, until_refused, until_reset, until_up, within,
};
use crate::wire::Wire;

/// A dead link is noticed in this time, wherever it is.
const NOTICED: Duration = Duration::from_secs(10);

fn ways_up(shown: &Dashboard) -> usize {
    shown.forward_routes.iter().filter(|route| route.state == ForwardState::Up).count()
}

/// An ingress with two services: `near` is its neighbour, `far` is behind a transit.
struct NearAndFar {
    ingress: Mesh,
    near: Mesh,
    _others: [Mesh; 2],
    wire: Wire,
}

async fn near_and_far(mesh: &mut TestMesh, near: &str, far: &str) -> NearAndFar {
    let near = mesh.agent(Wanted::new("near", &[], near)).await;
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let far = mesh.agent(Wanted::new("far", &[transit.address().unwrap()], far)).await;
    let wire = Wire::to(near.address().unwrap()).await;
    let peers = [wire.address, transit.address().unwrap()];
    let ingress = mesh.agent(Wanted::new("ingress", &peers, &listener("web"))).await;
    until(&ingress, "both endpoints", |shown| {
        shown.forward_routes.iter().filter(|way| way.hop_count.is_some()).count() == 2
    })
    .await;
    NearAndFar { ingress, near, _others: [transit, far], wire }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_refuses_costs_no_connection_and_is_taken_again_when_it_is_back() {
    let (nowhere, far) = (free_address(), named("far").await);
    let mut mesh = TestMesh::new();
    let net = near_and_far(&mut mesh, &endpoint("web", nowhere), &endpoint("web", far.address)).await;
    assert_eq!(ask(&net.ingress).await, "far", "the same connection");
    let is_down = |shown: &Dashboard| {
        shown.forward_routes.iter().any(|way| way.state == ForwardState::TargetDown && way.hop_count == Some(1))
    };
    until(&net.ingress, "the target down", is_down).await;
    assert!(net.near.stats().keys[0].last_failure.as_deref().unwrap().contains(&nowhere.to_string()));
    let _back = Service::start_at(nowhere, send_back).await;
    until(&net.ingress, "the target up", |shown| ways_up(shown) == 2).await;
    assert_eq!(exchange(&net.ingress, b"near").await.unwrap(), b"near");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_an_endpoint_that_stops_find_the_other_one() {
    let (near, far) = (named("near").await, named("far").await);
    let mut mesh = TestMesh::new();
    let net = near_and_far(&mut mesh, &endpoint("web", near.address), &endpoint("web", far.address)).await;
    assert_eq!(ask(&net.ingress).await, "near");
    drop(net.near);
    assert!(until_answers(&net.ingress, "far").await < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_an_endpoint_that_falls_silent_find_the_other_one() {
    let (near, far) = (echo().await, named("far").await);
    let mut mesh = TestMesh::new();
    let net = near_and_far(&mut mesh, &endpoint("web", near.address), &endpoint("web", far.address)).await;
    let mut held = connect(&net.ingress).await;
    ping(&mut held).await;
    let frozen = Instant::now();
    net.wire.freeze(true);
    assert_eq!(ask(&net.ingress).await, "far", "the first connection already");
    assert!(frozen.elapsed() < Duration::from_secs(3), "{:?}", frozen.elapsed());
    let again = Instant::now();
    assert_eq!(ask(&net.ingress).await, "far");
    assert!(again.elapsed() < Duration::from_millis(500), "the silent way is known: {:?}", again.elapsed());
    until_reset(&mut held).await;
    assert!(frozen.elapsed() < NOTICED, "{:?}", frozen.elapsed());
    let error = until(&net.ingress, "the loss", |shown| shown.peers.iter().any(|peer| !peer.connected)).await;
    assert!(error.peers.iter().any(|peer| peer.error.is_some()), "{:?}", error.peers);
    net.wire.freeze(false);
    until(&net.ingress, "both ways again", |shown| ways_up(shown) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priority_comes_before_distance() {
    let (near, far) = (named("near").await, named("far").await);
    let mut mesh = TestMesh::new();
    let second = format!("endpoints: [{{key: web, target: '{}', priority: 1}}]", near.address);
    let net = near_and_far(&mut mesh, &second, &endpoint("web", far.address)).await;
    for _ in 0..10 {
        assert_eq!(ask(&net.ingress).await, "far");
    }
    drop(far);
    assert_eq!(ask(&net.ingress).await, "near");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priority_counts_among_those_targets_of_an_agent_that_answer() {
    let (nowhere, other) = (free_address(), named("other").await);
    let targets = |first: u8, second: u8| {
        let at = other.address;
        format!(
            "endpoints: [{{key: web, target: '{nowhere}', priority: {first}}}, \
             {{key: web, target: '{at}', priority: {second}}}]"
        )
    };
    let mut mesh = TestMesh::new();
    let exit = mesh.agent(Wanted::new("exit", &[], &targets(0, 1))).await;
    let ingress = mesh.agent(Wanted::new("ingress", &[exit.address().unwrap()], &listener("web"))).await;
    until(&ingress, "both targets", |shown| ways_up(shown) == 2).await;
    for _ in 0..20 {
        assert_eq!(ask(&ingress).await, "other");
    }
    for mesh in [&ingress, &exit] {
        let stats = mesh.stats().keys[0].clone();
        assert_eq!((stats.opened, stats.failed), (20, 0));
    }
    until(&ingress, "the first target down", |shown| ways_up(shown) == 1).await;
    let _back = Service::start_at(nowhere, send_back).await;
    until(&ingress, "both targets again", |shown| ways_up(shown) == 2).await;
    assert_eq!(exchange(&ingress, b"first").await.unwrap(), b"first");
    exit.reload(forward(&targets(1, 0))).unwrap();
    assert_eq!(ask(&ingress).await, "other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_transit_is_noticed_and_taken_again() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let (left, right) = (Wire::to(transit.address().unwrap()).await, Wire::to(transit.address().unwrap()).await);
    let ingress = mesh.agent(Wanted::new("ingress", &[left.address], &listener("web"))).await;
    let exit = mesh.agent(Wanted::new("exit", &[right.address], &endpoint("web", echo.address))).await;
    until_up(&ingress, "web").await;
    let mut held = connect(&ingress).await;
    ping(&mut held).await;
    let frozen = Instant::now();
    left.freeze(true);
    right.freeze(true);
    let refused = Instant::now();
    until_refused(&ingress).await;
    assert!(refused.elapsed() < Duration::from_secs(6), "all tries have 5 s: {:?}", refused.elapsed());
    until_reset(&mut held).await;
    assert!(frozen.elapsed() < NOTICED, "{:?}", frozen.elapsed());
    until(&ingress, "no way", |shown| shown.forward_routes.iter().all(|way| way.state != ForwardState::Up)).await;
    let refused = Instant::now();
    until_refused(&ingress).await;
    assert!(refused.elapsed() < Duration::from_secs(1), "{:?}", refused.elapsed());
    assert!(ingress.stats().keys[0].last_failure.is_some());
    for mesh in [&ingress, &transit, &exit] {
        until(mesh, "nothing left", |shown| shown.agent.connections == 0 && shown.stats.transits == 0).await;
    }
    left.freeze(false);
    right.freeze(false);
    // Whoever is linked first knows of the other link what it knew before, for a moment.
    within(Duration::from_secs(5), "way back", async {
        while exchange(&ingress, b"again").await.ok().as_deref() != Some(b"again") {}
    })
    .await;
    until_up(&ingress, "web").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spare_way_is_taken() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let one = mesh.agent(Wanted::new("one", &[], "")).await;
    let other = mesh.agent(Wanted::new("other", &[], "")).await;
    let wires = [Wire::to(one.address().unwrap()).await, Wire::to(one.address().unwrap()).await];
    let exit = [wires[0].address, other.address().unwrap()];
    let _exit = mesh.agent(Wanted::new("exit", &exit, &endpoint("web", echo.address))).await;
    let ingress = [wires[1].address, other.address().unwrap()];
    let ingress = mesh.agent(Wanted::new("ingress", &ingress, &listener("web"))).await;
    until(&ingress, "both ways", |shown| shown.links.len() == 4 && ways_up(shown) == 1).await;
    // Whichever way is the first: one of the transits falls silent, then the other one ends while that is still silent.
    wires.iter().for_each(|wire| wire.freeze(true));
    let frozen = Instant::now();
    assert_eq!(exchange(&ingress, b"hello").await.unwrap(), b"hello", "the first connection already");
    assert!(frozen.elapsed() < Duration::from_secs(3), "{:?}", frozen.elapsed());
    wires.iter().for_each(|wire| wire.freeze(false));
    drop(other);
    within(Duration::from_secs(3), "way around", async {
        while exchange(&ingress, b"hello").await.ok().as_deref() != Some(b"hello") {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_gone_everywhere_at_once() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let a = mesh.agent(Wanted::new("a", &[], &listener("web"))).await;
    let b = mesh.agent(Wanted::new("b", &[a.address().unwrap()], "")).await;
    let dials = mesh.agent(Wanted::new("dials", &[b.address().unwrap()], &endpoint("web", echo.address))).await;
    let is_dialled = mesh.agent(Wanted::new("is-dialled", &[], &endpoint("web", echo.address))).await;
    let c = mesh.agent(Wanted::new("c", &[is_dialled.address().unwrap(), b.address().unwrap()], "")).await;
    let all = [&a, &b, &c];
    for mesh in all {
        until(mesh, "both endpoints", |shown| ways_up(shown) == 2).await;
    }
    for (mesh, left) in [(dials, 1), (is_dialled, 0)] {
        let leaves = Instant::now();
        let drained = mesh.drain(Duration::ZERO).await;
        assert_eq!(drained.connections_cut, 0);
        for mesh in all {
            until(mesh, "it gone", |shown| ways_up(shown) == left).await;
        }
        assert!(leaves.elapsed() < Duration::from_secs(1), "{:?}", leaves.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_strangers_who_leaves() {
    let mut mesh = TestMesh::new();
    let agent = mesh.agent(Wanted::new("a", &[], "")).await;
    let address = agent.address().unwrap();
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    // Connections are taken in their order.
    let mut second = tokio::net::TcpStream::connect(address).await.unwrap();
    second.write_all(b"no TLS at all").await.unwrap();
    within(PATIENCE, "the second is refused", async {
        while second.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let leaves = Instant::now();
    agent.drain(Duration::ZERO).await;
    assert!(leaves.elapsed() < Duration::from_secs(1), "{:?}", leaves.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_lets_connections_finish_and_takes_no_new_ones() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let mut agents = mesh.line(&["a", "b"], echo.address).await;
    until_up(&agents[0], "web").await;
    let (mut finishes, mut stays) = (connect(&agents[0]).await, connect(&agents[0]).await);
    ping(&mut finishes).await;
    ping(&mut stays).await;
    let leaving = agents.remove(0);
    let address = leaving.listeners()[0].address;
    let story = async {
        within(PATIENCE, "closed port", async { while tokio::net::TcpStream::connect(address).await.is_ok() {} }).await;
        ping(&mut finishes).await;
        drop(finishes);
        until(&agents[0], "one left", |shown| shown.agent.connections == 1).await;
        until_reset(&mut stays).await;
    };
    let (drained, ()) = tokio::join!(leaving.drain(Duration::from_secs(2)), story);
    assert_eq!(drained.connections_cut, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_started_anew_replaces_itself() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let a = mesh.agent(Wanted::new("a", &[], &listener("web"))).await;
    let b = mesh.agent(Wanted::new("b", &[a.address().unwrap()], "")).await;
    let wire = Wire::to(b.address().unwrap()).await;
    let c = mesh.agent(Wanted::new("c", &[wire.address], &endpoint("web", echo.address))).await;
    until_up(&a, "web").await;
    let mut held = connect(&a).await;
    ping(&mut held).await;
    // It is killed: nobody hears a word, and its old link looks alive.
    wire.freeze(true);
    let (id, killed) = (c.id(), Instant::now());
    drop(c);
    let folder = mesh.folder_of("c");
    let c =
        restart(&folder, "127.0.0.1:0".parse().unwrap(), &[b.address().unwrap()], &endpoint("web", echo.address)).await;
    within(Duration::from_secs(10), "way to the new run", async {
        while exchange(&a, b"hello").await.ok().as_deref() != Some(b"hello") {}
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(5), "no need to wait for silence: {:?}", killed.elapsed());
    until_reset(&mut held).await;
    let links = b.dashboard().peers;
    let to_c: Vec<_> = links.iter().filter(|peer| peer.id.as_deref() == Some(&id)).collect();
    assert!(to_c.len() == 1 && c.id() == id, "{links:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transit_that_is_started_anew_is_found_again() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let address = free_address();
    mesh.enrol("b", crate::net::every_right());
    let b = restart(&mesh.folder_of("b"), address, &[], "").await;
    let a = mesh.agent(Wanted::new("a", &[address], &listener("web"))).await;
    let _c = mesh.agent(Wanted::new("c", &[address], &endpoint("web", echo.address))).await;
    until_up(&a, "web").await;
    let mut held = connect(&a).await;
    ping(&mut held).await;
    drop(b);
    until_reset(&mut held).await;
    let _b = restart(&mesh.folder_of("b"), address, &[], "").await;
    within(Duration::from_secs(10), "way through the new run", async {
        while exchange(&a, b"hello").await.ok().as_deref() != Some(b"hello") {}
    })
    .await;
}
