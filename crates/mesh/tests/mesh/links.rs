//! Links: who dials whom, what carries them, and who gets none.

use std::time::Duration;

use adit_mesh::{Carrier, Mesh};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::forwarding::a_stalled_client_delays_nobody;
use crate::net::{
    PATIENCE, TestMesh, Wanted, connect, echo, endpoint, every_right, exchange, free_address, listener, pair, pattern,
    ping, played, reset, restart, until, until_reset, until_up, within,
};
use crate::wire::Wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_that_dial_each_other_keep_one_link() {
    let echo = echo().await;
    let mut rounds = JoinSet::new();
    for _ in 0..20 {
        rounds.spawn(both_dial(echo.address));
    }
    within(3 * PATIENCE, "twenty pairs", rounds.join_all()).await;
}

async fn both_dial(target: std::net::SocketAddr) {
    let mut mesh = TestMesh::new();
    let (first, second) = (free_address(), free_address());
    for name in ["a", "b"] {
        mesh.enrol(name, every_right());
    }
    let (listens, publishes) = (listener("web"), endpoint("web", target));
    let (folder_a, folder_b) = (mesh.folder_of("a"), mesh.folder_of("b"));
    let (peers_a, peers_b) = ([second], [first]);
    let a = restart(&folder_a, first, &peers_a, &listens);
    let b = restart(&folder_b, second, &peers_b, &publishes);
    let (a, b) = tokio::join!(a, b);
    for mesh in [&a, &b] {
        let is_settled = |shown: &adit_mesh::view::Dashboard| match &shown.peers[..] {
            [peer] => peer.connected && peer.up_s >= Some(1),
            _ => false,
        };
        until(mesh, "one link for a second", is_settled).await;
    }
    let mut held = connect(&a).await;
    ping(&mut held).await;
    // A link that is replaced resets it.
    let ended = tokio::time::timeout(Duration::from_secs(3), held.read(&mut [0; 1])).await;
    assert!(ended.is_err(), "{ended:?}");
    ping(&mut held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_linked_already_does_not_dial_for_another_link() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let address = free_address();
    // Its peer is not there yet, dials it first, and only then is to be found.
    let a = mesh.agent(Wanted::new("a", &[address], &listener("web"))).await;
    let b = mesh.agent(Wanted::new("b", &[a.address().unwrap()], &endpoint("web", echo.address))).await;
    until_up(&a, "web").await;
    let mut held = connect(&a).await;
    ping(&mut held).await;
    let relay = tokio::net::TcpListener::bind(address).await.unwrap();
    let b_address = b.address().unwrap();
    let wire = tokio::spawn(async move {
        let (mut dialled, _) = relay.accept().await.unwrap();
        let mut there = tokio::net::TcpStream::connect(b_address).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut dialled, &mut there).await;
    });
    within(PATIENCE, "end of the second connection", wire).await.unwrap();
    until(&a, "nothing missing", |shown| shown.peers.len() == 1 && shown.peers[0].carrier == Some(Carrier::Quic)).await;
    ping(&mut held).await;
}

/// A line of three, of which the links go over TCP.
async fn line_over_tcp(mesh: &mut TestMesh, target: std::net::SocketAddr) -> (Vec<Mesh>, [Wire; 2]) {
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let address = transit.address().unwrap();
    let wires = [Wire::tcp_only(address).await, Wire::tcp_only(address).await];
    let ingress = mesh.agent(Wanted::new("ingress", &[wires[0].address], &listener("web"))).await;
    let exit = mesh.agent(Wanted::new("exit", &[wires[1].address], &endpoint("web", target))).await;
    until_up(&ingress, "web").await;
    (vec![ingress, transit, exit], wires)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_udp_does_not_pass_tcp_carries_the_link() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let (agents, _wires) = line_over_tcp(&mut mesh, echo.address).await;
    let carriers: Vec<_> = agents[1].dashboard().peers.iter().map(|peer| peer.carrier).collect();
    assert_eq!(carriers, [Some(Carrier::Tcp); 2]);
    let sent = pattern(6, 16 * 1024 * 1024);
    assert!(exchange(&agents[0], &sent).await.unwrap() == sent);
    a_stalled_client_delays_nobody(&agents[0]).await;
    for mesh in &agents {
        until(mesh, "nothing left", |shown| shown.agent.connections == 0 && shown.stats.transits == 0).await;
        assert_eq!(mesh.stats().tampered, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_over_long_tcp_links_has_the_time_that_it_takes() {
    /// An answer over both links takes four times as long: more than anybody waits for one on a short way. Two answers, one after the
    /// other, take longer than a try waits on any way that is not busy.
    const DELAY: Duration = Duration::from_millis(325);
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let near = mesh.agent(Wanted::new("near", &[], "")).await;
    let address = transit.address().unwrap();
    let wires = [Wire::tcp_only_after(address, DELAY).await, Wire::tcp_only_after(address, DELAY).await];
    // Who has another neighbour does not wait as long as it may for one that is silent.
    let peers = [wires[0].address, near.address().unwrap()];
    let ingress = mesh.agent(Wanted::new("ingress", &peers, &listener("web"))).await;
    let _exit = mesh.agent(Wanted::new("exit", &[wires[1].address], &endpoint("web", echo.address))).await;
    until_up(&ingress, "web").await;
    let shown = until(&ingress, "two links", |shown| shown.agent.connections == 0 && shown.peers.len() == 2).await;
    let mut rtts: Vec<f64> = shown.peers.iter().filter_map(|peer| peer.rtt_ms).collect();
    rtts.sort_by(f64::total_cmp);
    assert!(rtts[0] < 300.0 && (650.0..1_000.0).contains(&rtts[1]), "{rtts:?}");
    assert!(exchange(&ingress, b"hello").await.unwrap() == b"hello");
    all_are_served(ingress).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transit_waits_until_a_long_tcp_link_gives_a_stream() {
    /// An answer takes longer than a link that has no place is given to say so.
    const DELAY: Duration = Duration::from_millis(325);
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let address = transit.address().unwrap();
    let wire = Wire::tcp_only_after(address, DELAY).await;
    let ingress = mesh.agent(Wanted::new("ingress", &[address], &listener("web"))).await;
    let _exit = mesh.agent(Wanted::new("exit", &[wire.address], &endpoint("web", echo.address))).await;
    until_up(&ingress, "web").await;
    all_are_served(ingress).await;
}

/// More clients at once than a link over TCP opens streams for while none of them is answered: the last wait for the first.
async fn all_are_served(ingress: Mesh) {
    const CLIENTS: usize = 280;
    let ingress = std::sync::Arc::new(ingress);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let ingress = std::sync::Arc::clone(&ingress);
        clients.spawn(async move { exchange(&ingress, b"hello").await.is_ok_and(|back| back == b"hello") });
    }
    let served = clients.join_all().await.into_iter().filter(|is_served| *is_served).count();
    assert_eq!((served, ingress.stats().refused.len()), (CLIENTS, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_as_well_a_reset_arrives_and_a_dead_link_is_noticed() {
    let (service, mut connections) = played().await;
    let mut mesh = TestMesh::new();
    let (agents, wires) = line_over_tcp(&mut mesh, service.address).await;
    let (client, mut server) = pair(&agents[0], &mut connections).await;
    reset(client);
    until_reset(&mut server).await;
    let (mut client, server) = pair(&agents[0], &mut connections).await;
    reset(server);
    until_reset(&mut client).await;
    let (mut client, mut server) = pair(&agents[0], &mut connections).await;
    tokio::io::AsyncWriteExt::shutdown(&mut client).await.unwrap();
    assert_eq!(within(PATIENCE, "end", server.read(&mut [0; 1])).await.unwrap(), 0);
    reset(client);
    within(PATIENCE, "reset", server.ready(tokio::io::Interest::ERROR)).await.unwrap();
    let (mut client, mut server) = pair(&agents[0], &mut connections).await;
    let frozen = std::time::Instant::now();
    wires[0].freeze(true);
    until_reset(&mut client).await;
    until_reset(&mut server).await;
    assert!(frozen.elapsed() < Duration::from_secs(10), "{:?}", frozen.elapsed());
    for mesh in &agents {
        until(mesh, "nothing left", |shown| shown.agent.connections == 0 && shown.stats.transits == 0).await;
        assert_eq!(mesh.stats().tampered, 0, "{}", mesh.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_named_as_its_own_peer_says_so_and_works() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    mesh.enrol("a", every_right());
    let address = free_address();
    let forward = format!("{}\n{}", endpoint("web", echo.address), listener("web"));
    let a = restart(&mesh.folder_of("a"), address, &[address], &forward).await;
    let shown = until(&a, "a word about it", |shown| shown.peers.iter().any(|peer| peer.error.is_some())).await;
    assert!(shown.peers.len() == 1 && shown.peers[0].error.as_deref() == Some("it is this agent itself"));
    assert_eq!(exchange(&a, b"hello").await.unwrap(), b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_mesh_gets_no_link() {
    let (mut ours, mut theirs) = (TestMesh::new(), TestMesh::new());
    let a = ours.agent(Wanted::new("a", &[], "")).await;
    let wires = [Wire::to(a.address().unwrap()).await, Wire::tcp_only(a.address().unwrap()).await];
    for (number, wire) in wires.iter().enumerate() {
        let b = theirs.agent(Wanted::new(&format!("b{number}"), &[wire.address], "")).await;
        let shown = until(&b, "a word about it", |shown| shown.peers.iter().any(|peer| peer.error.is_some())).await;
        let error = shown.peers[0].error.clone().unwrap();
        assert!(error.contains("another mesh"), "{error}");
        assert!(a.stats().links_refused > number as u64);
    }
    let shown = a.dashboard();
    assert!(shown.peers.is_empty() && shown.routes.len() == 1, "{shown:?}");
}
