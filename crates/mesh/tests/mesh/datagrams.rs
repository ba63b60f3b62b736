//! Datagrams: over every kind of link, of every length, and what becomes of a client's flow when its way or its endpoint goes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use adit_core::mesh::Protocol;
use adit_mesh::Mesh;
use adit_mesh::view::{Dashboard, ForwardState};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

use crate::net::{PATIENCE, TestMesh, Wanted, echo, endpoint, listener, pattern, until, until_up, within};
use crate::wire::Wire;

/// A service that sends back what it gets, behind its name.
struct UdpEcho {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

async fn udp_echo(name: &'static str) -> UdpEcho {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&[name.as_bytes(), &buffer[..length]].concat(), from).await;
        }
    });
    UdpEcho { address, _task: AbortOnDropHandle::new(task) }
}

fn udp_listener(key: &str) -> String {
    format!("listeners: [{{key: {key}, protocol: udp, address: '127.0.0.1:0'}}]")
}

fn udp_endpoint(key: &str, target: SocketAddr) -> String {
    format!("endpoints: [{{key: {key}, protocol: udp, target: '{target}'}}]")
}

/// A client of the first listener of an agent.
async fn client(mesh: &Mesh) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(mesh.listeners()[0].address).await.unwrap();
    socket
}

/// Sends a text until it is answered, as whoever uses datagrams does.
async fn ask(client: &UdpSocket, text: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    within(PATIENCE, "answer", async {
        loop {
            client.send(text).await.unwrap();
            let answered = tokio::time::timeout(Duration::from_millis(500), client.recv(&mut buffer)).await;
            if let Ok(Ok(length)) = answered {
                return buffer[..length].to_vec();
            }
        }
    })
    .await
}

/// Agents in a row for the key `dns`: its listener at the first, its endpoint at the last.
async fn line(mesh: &mut TestMesh, target: SocketAddr) -> [Mesh; 3] {
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let peers = [transit.address().unwrap()];
    let ingress = mesh.agent(Wanted::new("ingress", &peers, &udp_listener("dns"))).await;
    let exit = mesh.agent(Wanted::new("exit", &peers, &udp_endpoint("dns", target))).await;
    until_up(&ingress, "dns").await;
    [ingress, transit, exit]
}

fn active(shown: &Dashboard) -> u64 {
    shown.stats.keys.iter().map(|key| key.active).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_has_its_own_answers_and_datagrams_of_every_length_come_whole() {
    let echo = udp_echo(">").await;
    let mut mesh = TestMesh::new();
    let agents = line(&mut mesh, echo.address).await;
    let clients = [client(&agents[0]).await, client(&agents[0]).await, client(&agents[0]).await];
    // The last is longer than any link takes as one.
    for length in [0, 1, 512, 1200, 1500, 9000, 65_506] {
        for (seed, client) in (1..).zip(&clients) {
            let sent = pattern(seed, length);
            let answer = ask(client, &sent).await;
            assert!(answer.strip_prefix(b">") == Some(&*sent), "{length} bytes, of which {} came", answer.len());
        }
    }
    let shown = until(&agents[1], "three flows", |shown| shown.stats.transits == 3).await;
    assert_eq!((shown.stats.tampered, shown.stats.datagrams_lost), (0, 0));
    for end in [&agents[0], &agents[2]] {
        let shown = end.dashboard();
        assert_eq!((active(&shown), shown.stats.keys[0].opened, shown.stats.tampered), (3, 3, 0));
    }
    let probed = agents[0].probe(&"dns".parse().unwrap(), Protocol::Udp).await.unwrap();
    assert_eq!(probed.path_display, ["ingress", "transit", "exit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_and_nothing_twice() {
    let echo = udp_echo("").await;
    let mut mesh = TestMesh::new();
    let agents = line(&mut mesh, echo.address).await;
    let client = client(&agents[0]).await;
    ask(&client, b"first").await;
    let mut came = BTreeSet::new();
    let mut buffer = [0; 2048];
    for round in 0..50_u32 {
        // No more at a time than wait for their turn without loss.
        for number in 0..16 {
            client.send(&(round * 16 + number).to_be_bytes()).await.unwrap();
        }
        while came.len() < (round as usize + 1) * 16 {
            let length = within(PATIENCE, "the rest", client.recv(&mut buffer)).await.unwrap();
            // What was asked twice at the beginning may be answered twice.
            if let Ok(number) = buffer[..length].try_into() {
                assert!(came.insert(u32::from_be_bytes(number)), "one came twice");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_over_tcp_carry_datagrams_and_so_does_one_agent_alone() {
    let echo = udp_echo(">").await;
    let mut mesh = TestMesh::new();
    let transit = mesh.agent(Wanted::new("transit", &[], "")).await;
    let wire = Wire::tcp_only(transit.address().unwrap()).await;
    let ingress = mesh.agent(Wanted::new("ingress", &[wire.address], &udp_listener("dns"))).await;
    let peers = [transit.address().unwrap()];
    let forward = format!("{}\n{}", udp_endpoint("dns", echo.address), udp_listener("dns"));
    let exit = mesh.agent(Wanted::new("exit", &peers, &forward)).await;
    until_up(&ingress, "dns").await;
    for agent in [&ingress, &exit] {
        let client = client(agent).await;
        for length in [1, 1200, 30_000] {
            let sent = pattern(7, length);
            assert!(ask(&client, &sent).await.strip_prefix(b">") == Some(&*sent), "{length} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_one_protocol_is_nothing_to_the_other() {
    let (tcp, udp) = (echo().await, udp_echo(">").await);
    let mut mesh = TestMesh::new();
    let both = format!("{}\n{}", endpoint("web", tcp.address), udp_listener("web"));
    let one = mesh.agent(Wanted::new("one", &[], &both)).await;
    let shown = until(&one, "two halves", |shown| shown.forward_routes.len() == 2).await;
    let states: Vec<_> = shown.forward_routes.iter().map(|route| (route.protocol.as_str(), route.state)).collect();
    assert_eq!(states, [("tcp", ForwardState::NoListener), ("udp", ForwardState::NoEndpoint)]);
    let lonely = client(&one).await;
    lonely.send(b"is anybody there?").await.unwrap();
    until(&one, "a failure", |shown| shown.stats.keys.iter().any(|key| key.failed == 1)).await;
    // And one key may have both.
    let peers = [one.address().unwrap()];
    let other = format!("{}\n{}", udp_endpoint("web", udp.address), listener("web"));
    let _two = mesh.agent(Wanted::new("two", &peers, &other)).await;
    let all_up = |shown: &Dashboard| shown.forward_routes.iter().all(|route| route.state == ForwardState::Up);
    until(&one, "two pairs", |shown| shown.forward_routes.len() == 2 && all_up(shown)).await;
    assert_eq!(ask(&lonely, b"now?").await, b">now?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_clients_than_there_may_be() {
    let echo = udp_echo(">").await;
    let mut mesh = TestMesh::new();
    let forward = format!(
        "{}\nlisteners: [{{key: dns, protocol: udp, address: '127.0.0.1:0', max_connections: 2}}]",
        udp_endpoint("dns", echo.address)
    );
    let one = mesh.agent(Wanted::new("one", &[], &forward)).await;
    let clients = [client(&one).await, client(&one).await];
    for client in &clients {
        assert_eq!(ask(client, b"in").await, b">in");
    }
    client(&one).await.send(b"too many").await.unwrap();
    let shown = until(&one, "one too many", |shown| shown.stats.keys[0].over_limit == 1).await;
    // Of an agent that has both ends, both count.
    assert_eq!(active(&shown), 4);
    for client in &clients {
        assert_eq!(ask(client, b"still").await, b">still");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_finds_another_endpoint_when_its_own_leaves() {
    let (red, blue) = (udp_echo("red ").await, udp_echo("blue ").await);
    let mut mesh = TestMesh::new();
    let hub = mesh.agent(Wanted::new("hub", &[], &udp_listener("dns"))).await;
    let peers = [hub.address().unwrap()];
    let first = mesh.agent(Wanted::new("first", &peers, &udp_endpoint("dns", red.address))).await;
    until_up(&hub, "dns").await;
    let client = client(&hub).await;
    assert_eq!(ask(&client, b"?").await, b"red ?");
    let _second = mesh.agent(Wanted::new("second", &peers, &udp_endpoint("dns", blue.address))).await;
    until(&hub, "two endpoints", |shown| shown.forward_routes.len() == 2).await;
    assert_eq!(ask(&client, b"?").await, b"red ?", "it stays where it is");
    let drained = within(PATIENCE, "leaving", first.drain(PATIENCE)).await;
    assert_eq!(drained.connections_cut, 0, "datagrams hold nobody up");
    within(PATIENCE, "the other one", async { while ask(&client, b"?").await != b"blue ?" {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_finds_another_way_when_a_transit_dies() {
    let echo = udp_echo(">").await;
    let mut mesh = TestMesh::new();
    let [ingress, transit, exit] = line(&mut mesh, echo.address).await;
    let client = client(&ingress).await;
    assert_eq!(ask(&client, b"?").await, b">?");
    let peers = [ingress.address().unwrap(), exit.address().unwrap()];
    let _spare = mesh.agent(Wanted::new("spare", &peers, "")).await;
    until(&ingress, "a second link", |shown| shown.peers.iter().filter(|peer| peer.connected).count() == 2).await;
    drop(transit);
    assert_eq!(ask(&client, b"again?").await, b">again?");
    let shown = until(&ingress, "another way", |shown| {
        shown.forward_routes.iter().any(|route| route.path_display == ["ingress", "spare", "exit"])
    });
    shown.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_of_all_addresses_answers_from_the_one_that_was_asked() {
    let echo = udp_echo(">").await;
    let mut mesh = TestMesh::new();
    let forward =
        format!("{}\nlisteners: [{{key: dns, protocol: udp, address: ':0'}}]", udp_endpoint("dns", echo.address));
    let one = mesh.agent(Wanted::new("one", &[], &forward)).await;
    let port = one.listeners()[0].address.port();
    for (own, asked) in [("127.0.0.1:0", "127.0.0.2"), ("127.0.0.1:0", "127.9.8.7"), ("[::1]:0", "::1")] {
        let client = UdpSocket::bind(own).await.unwrap();
        // From now on it takes nothing that comes from elsewhere.
        client.connect((asked, port)).await.unwrap();
        assert_eq!(ask(&client, b"?").await, b">?", "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_configured_no_more_ends_its_flows() {
    let echo = udp_echo(">").await;
    let mut mesh = TestMesh::new();
    let [ingress, transit, exit] = line(&mut mesh, echo.address).await;
    assert_eq!(ask(&client(&ingress).await, b"?").await, b">?");
    ingress.reload(crate::net::forward("listeners: []")).unwrap();
    for agent in [&ingress, &exit] {
        until(agent, "no flow", |shown| active(shown) == 0 && shown.agent.connections == 0).await;
    }
    until(&transit, "no transit", |shown| shown.stats.transits == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_removed_gives_its_port_back_also_while_clients_wait() {
    let mut mesh = TestMesh::new();
    let one = mesh.agent(Wanted::new("one", &[], &udp_listener("dns"))).await;
    let address = one.listeners()[0].address;
    client(&one).await.send(b"nobody is there").await.unwrap();
    until(&one, "a failure", |shown| shown.stats.keys.iter().any(|key| key.failed == 1)).await;
    one.reload(crate::net::forward("listeners: []")).unwrap();
    // Before the client would have been heard again.
    let free = async { while UdpSocket::bind(address).await.is_err() {} };
    within(Duration::from_millis(700), "port", free).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_follows_the_key_of_its_listener_and_the_endpoints_there_are() {
    let [red, blue, green] = [udp_echo("red ").await, udp_echo("blue ").await, udp_echo("green ").await];
    let mut mesh = TestMesh::new();
    let both = |blue: SocketAddr| {
        let red = red.address;
        format!(
            "endpoints: [{{key: red, protocol: udp, target: '{red}'}}, {{key: blue, protocol: udp, target: '{blue}'}}]"
        )
    };
    let exit = mesh.agent(Wanted::new("exit", &[], &both(blue.address))).await;
    let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let listens = |key: &str| format!("listeners: [{{key: {key}, protocol: udp, address: '127.0.0.1:{port}'}}]");
    let ingress = mesh.agent(Wanted::new("ingress", &[exit.address().unwrap()], &listens("red"))).await;
    until_up(&ingress, "red").await;
    let client = client(&ingress).await;
    assert_eq!(ask(&client, b"?").await, b"red ?");
    ingress.reload(crate::net::forward(&listens("blue"))).unwrap();
    within(PATIENCE, "the other key", async { while ask(&client, b"?").await != b"blue ?" {} }).await;
    exit.reload(crate::net::forward(&both(green.address))).unwrap();
    within(PATIENCE, "the new target", async { while ask(&client, b"?").await != b"green ?" {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_datagrams_leaves_connections_their_part_of_a_link() {
    let tcp = echo().await;
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut mesh = TestMesh::new();
    let (sink, target) = (sink.local_addr().unwrap(), tcp.address);
    let endpoints =
        format!("endpoints: [{{key: flood, protocol: udp, target: '{sink}'}}, {{key: web, target: '{target}'}}]");
    let exit = mesh.agent(Wanted::new("exit", &[], &endpoints)).await;
    let listeners =
        "listeners: [{key: flood, protocol: udp, address: '127.0.0.1:0'}, {key: web, address: '127.0.0.1:0'}]";
    let wire = Wire::slow(exit.address().unwrap(), 2_000_000).await;
    let ingress = mesh.agent(Wanted::new("ingress", &[wire.address], listeners)).await;
    until_up(&ingress, "web").await;
    let at = |protocol| ingress.listeners().into_iter().find(|at| at.protocol == protocol).unwrap().address;
    let (udp, tcp) = (at(Protocol::Udp), at(Protocol::Tcp));
    let flood = std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(udp).unwrap();
        // Until the listener is gone.
        while socket.send(&[0; 50]).is_ok() {}
    });
    until(&ingress, "more datagrams than the link takes", |shown| shown.stats.datagrams_lost > 1000).await;
    let five = async {
        for round in 0..5 {
            let mut client = tokio::net::TcpStream::connect(tcp).await.unwrap();
            crate::net::ping(&mut client).await;
            let text = pattern(round, 100_000);
            assert!(crate::net::exchange_over(client, &text).await.unwrap() == text);
        }
    };
    // Alone they would take half a second.
    within(PATIENCE, "end of five connections", five).await;
    drop(ingress);
    flood.join().unwrap();
}
