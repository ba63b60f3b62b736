//! What people come for: connections that find their service, over many hops, and carry every byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_core::mesh::{MAX_HOPS, Protocol};
use adit_mesh::Mesh;
use adit_mesh::view::ForwardState;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::net::{
    PATIENCE, Service, TestMesh, Wanted, ask, connect, echo, endpoint, exchange, exchange_over, listener, listens_at,
    named, pair, pattern, ping, played, reset, until, until_refused, until_reset, until_up, within,
};

use crate::wire::Wire;

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_goes_three_hops_and_back_with_every_byte() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let agents = mesh.line(&["a", "b", "c", "d"], echo.address).await;
    let shown = until_up(&agents[0], "web").await;
    let route = &shown.forward_routes[0];
    assert_eq!((route.hop_count, route.path_display.join(" ")), (Some(3), "a b c d".to_owned()));
    let sent = pattern(1, 64 * MIB);
    assert!(exchange(&agents[0], &sent).await.unwrap() == sent);
    let moved = 2 * sent.len() as u64;
    assert!(agents[1].stats().transit_bytes > moved && agents[3].stats().keys[0].bytes_out == moved / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_goes_sixteen_hops_and_no_more() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let names: Vec<String> = (0..=MAX_HOPS).map(|number| format!("agent-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let agents = mesh.line(&names, echo.address).await;
    let shown = until_up(&agents[0], "web").await;
    assert_eq!((agents.len(), shown.forward_routes[0].hop_count), (17, Some(16)));
    let sent = pattern(6, MIB);
    assert!(exchange(&agents[0], &sent).await.unwrap() == sent);
    // One more at the front, to which the last is the eighteenth.
    let peers = [agents[0].address().unwrap()];
    let further = mesh.agent(Wanted::new("further", &peers, &listener("web"))).await;
    let shown = until(&further, "all but the last", |shown| shown.routes.len() == 17).await;
    assert!(shown.routes.iter().all(|route| route.agent != names[MAX_HOPS]), "{:?}", shown.routes);
    // Its neighbour tells of services behind all links: who knows the endpoint knows how far away that is.
    let refused = async {
        loop {
            until_refused(&further).await;
            let why = further.stats().keys[0].last_failure.clone().unwrap();
            if why != "no agent has an endpoint for this key" {
                return why;
            }
        }
    };
    let why = within(PATIENCE, "word of the endpoint", refused).await;
    assert_eq!(why, "there is no way to an agent with an endpoint for this key");
    assert!(further.dashboard().forward_routes.iter().all(|way| way.state != ForwardState::Up));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_and_an_endpoint_may_share_an_agent() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let forward = format!("{}\n{}", endpoint("web", echo.address), listener("web"));
    let alone = mesh.agent(Wanted::new("alone", &[], &forward)).await;
    assert_eq!(exchange(&alone, b"hello").await.unwrap(), b"hello");
    let mut held = connect(&alone).await;
    ping(&mut held).await;
    drop(alone);
    until_reset(&mut held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_direction_ends_by_itself() {
    let (service, mut connections) = played().await;
    let mut mesh = TestMesh::new();
    let agents = mesh.line(&["a", "b", "c"], service.address).await;
    until_up(&agents[0], "web").await;
    for target_ends_first in [true, false] {
        let (client, server) = pair(&agents[0], &mut connections).await;
        let (mut first, mut second) = if target_ends_first { (server, client) } else { (client, server) };
        first.write_all(b"done").await.unwrap();
        first.shutdown().await.unwrap();
        let mut said = String::new();
        within(PATIENCE, "end", second.read_to_string(&mut said)).await.unwrap();
        assert_eq!(said, "done");
        let sent = pattern(2, MIB);
        let mut got = Vec::new();
        let writes = async {
            second.write_all(&sent).await?;
            second.shutdown().await
        };
        within(PATIENCE, "upload", async { tokio::try_join!(writes, first.read_to_end(&mut got)) }).await.unwrap();
        assert!(got == sent, "{} bytes arrived", got.len());
    }
    for mesh in &agents {
        until(mesh, "no connection", |shown| shown.agent.connections == 0 && shown.stats.transits == 0).await;
        assert_eq!(mesh.stats().tampered, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_arrives_as_one() {
    let (service, mut connections) = played().await;
    let mut mesh = TestMesh::new();
    let agents = mesh.line(&["a", "b", "c"], service.address).await;
    until_up(&agents[0], "web").await;
    let (client, mut server) = pair(&agents[0], &mut connections).await;
    reset(client);
    until_reset(&mut server).await;
    let (mut client, server) = pair(&agents[0], &mut connections).await;
    reset(server);
    until_reset(&mut client).await;
    // Also behind an end that was honest in one direction.
    for target_ends_first in [true, false] {
        let (client, server) = pair(&agents[0], &mut connections).await;
        let (mut first, mut second) = if target_ends_first { (server, client) } else { (client, server) };
        first.shutdown().await.unwrap();
        assert_eq!(within(PATIENCE, "end", second.read(&mut [0; 1])).await.unwrap(), 0);
        reset(first);
        within(PATIENCE, "reset", second.ready(Interest::ERROR)).await.unwrap();
    }
    for mesh in &agents {
        until(mesh, "no connection", |shown| shown.agent.connections == 0 && shown.stats.transits == 0).await;
        assert_eq!(mesh.stats().tampered, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_connections_do_not_mix() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let one = mesh.agent(Wanted::new("transit-1", &[], "")).await;
    let other = mesh.agent(Wanted::new("transit-2", &[], "")).await;
    let both = [one.address().unwrap(), other.address().unwrap()];
    // An ingress with two uplinks, each the only way for one of its keys, and two listeners behind one transit.
    let p = mesh.agent(Wanted::new("exit-p", &both[..1], &endpoint("p", echo.address))).await;
    let q = mesh.agent(Wanted::new("exit-q", &both[1..], &endpoint("q", echo.address))).await;
    let listens = "listeners: [{key: p, address: '127.0.0.1:0'}, {key: q, address: '127.0.0.1:0'}]";
    let a = mesh.agent(Wanted::new("a", &both, listens)).await;
    let b = mesh.agent(Wanted::new("b", &both[..1], &listener("p"))).await;
    for (mesh, key) in [(&a, "p"), (&a, "q"), (&b, "p")] {
        until_up(mesh, key).await;
    }
    let ways = [(&a, "p"), (&b, "p"), (&a, "q"), (&b, "p")];
    let mut clients = JoinSet::new();
    for number in 0..200_usize {
        let (mesh, key) = ways[number % ways.len()];
        let mut client = TcpStream::connect(listens_at(mesh, key)).await.unwrap();
        clients.spawn(async move {
            let sent = pattern(number as u64, 40_000 + 1000 * number);
            let mut back = vec![0; sent.len()];
            let (mut read, mut write) = client.split();
            let writes = async {
                for piece in sent.chunks(1 + 977 * (number + 1) % 9000) {
                    write.write_all(piece).await?;
                    tokio::task::yield_now().await;
                }
                write.shutdown().await
            };
            within(3 * PATIENCE, "echo", async { tokio::try_join!(writes, read.read_exact(&mut back)) }).await.unwrap();
            assert!(back == sent, "connection {number}");
        });
    }
    clients.join_all().await;
    let opened = |mesh: &Mesh| mesh.stats().keys.iter().map(|key| key.opened).collect::<Vec<_>>();
    assert_eq!([&a, &b, &p, &q].map(opened), [vec![50, 50], vec![100], vec![150], vec![50]]);
    for (transit, exit) in [(&one, &p), (&other, &q)] {
        let of_key = exit.stats().keys[0].clone();
        let moved = of_key.bytes_in + of_key.bytes_out;
        until(transit, "all bytes of its key", |shown| shown.stats.transit_bytes > moved).await;
    }
    assert_eq!([&a, &b, &one, &other, &p, &q].map(|mesh| mesh.stats().tampered), [0; 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_delays_nobody_else() {
    let mut mesh = TestMesh::new();
    let echo = echo().await;
    let agents = mesh.line(&["a", "b", "c"], echo.address).await;
    until_up(&agents[0], "web").await;
    a_stalled_client_delays_nobody(&agents[0]).await;
}

/// A client sends for as long as anything is taken and reads nothing back; others go on.
pub(crate) async fn a_stalled_client_delays_nobody(mesh: &Mesh) {
    let mut stalled = connect(mesh).await;
    let piece = pattern(3, MIB);
    // All on the way is full when nothing was taken for a while.
    while tokio::time::timeout(Duration::from_millis(500), stalled.write_all(&piece)).await.is_ok() {}
    let sent = pattern(4, 16 * MIB);
    assert!(exchange(mesh, &sent).await.unwrap() == sent);
    let mut beside = connect(mesh).await;
    ping(&mut beside).await;
    // What stood still goes on when it is read again.
    let mut came = vec![0; 2 * MIB];
    within(PATIENCE, "what was held up", stalled.read_exact(&mut came)).await.unwrap();
    assert!(came[..MIB] == piece && came[MIB..] == piece);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_exact_however_many_come_at_once() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let exit = mesh.agent(Wanted::new("exit", &[], &endpoint("web", echo.address))).await;
    let limited = "listeners: [{key: web, address: '127.0.0.1:0', max_connections: 100}]";
    let ingress = mesh.agent(Wanted::new("ingress", &[exit.address().unwrap()], limited)).await;
    until_up(&ingress, "web").await;
    let mut served = rush(&ingress, 500).await;
    assert_eq!(served.len(), 100);
    let stats = ingress.stats().keys[0].clone();
    assert_eq!((stats.active, stats.opened, stats.over_limit), (100, 100, 400));
    served.truncate(90);
    until(&ingress, "ten places", |shown| shown.stats.keys[0].active == 90).await;
    let more = within(PATIENCE, "ten more", async {
        // A place is given back just behind the connection.
        let mut more = Vec::new();
        while more.len() < 10 {
            more.extend(rush(&ingress, 1).await);
        }
        more
    });
    let _more = more.await;
    assert_eq!(rush(&ingress, 20).await.len(), 0);
    drop(served);
    until(&ingress, "places", |shown| shown.stats.keys[0].active == 10).await;
}

/// So many clients at once; those that are served.
pub(crate) async fn rush(mesh: &Mesh, count: usize) -> Vec<TcpStream> {
    let address = mesh.listeners()[0].address;
    let mut clients = JoinSet::new();
    for _ in 0..count {
        clients.spawn(async move {
            let mut client = TcpStream::connect(address).await.ok()?;
            // A refusal may be here already. Who writes hears of it then, and a read behind that would look like an honest end.
            client.write_all(b"?").await.ok()?;
            let answered = within(PATIENCE, "answer", client.read(&mut [0; 1])).await;
            match answered {
                Ok(1) => Some(client),
                Ok(_) => panic!("an end that looks honest"),
                Err(_) => None,
            }
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_are_all_there_later() {
    let echo = echo().await;
    let mut mesh = TestMesh::new();
    let agents = mesh.line(&["a", "b", "c"], echo.address).await;
    until_up(&agents[0], "web").await;
    let mut clients = rush(&agents[0], 1000).await;
    assert_eq!(clients.len(), 1000);
    until(&agents[1], "all of them", |shown| shown.stats.transits == 1000).await;
    for client in &mut clients {
        ping(client).await;
    }
    drop(clients);
    for mesh in &agents {
        until(mesh, "none", |shown| shown.agent.connections == 0 && shown.stats.transits == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_may_have_several_listeners_and_endpoints() {
    let (red, blue) = (named("red").await, named("blue").await);
    let mut mesh = TestMesh::new();
    let hub = mesh.agent(Wanted::new("hub", &[], &listener("web"))).await;
    let peers = [hub.address().unwrap()];
    let _red = mesh.agent(Wanted::new("red", &peers, &endpoint("web", red.address))).await;
    let _blue = mesh.agent(Wanted::new("blue", &peers, &endpoint("web", blue.address))).await;
    let side = mesh.agent(Wanted::new("side", &peers, &listener("web"))).await;
    for mesh in [&hub, &side] {
        let shown = until(mesh, "four pairs", |shown| {
            shown.forward_routes.iter().filter(|route| route.state == ForwardState::Up).count() == 4
        });
        let mut pairs: Vec<_> = shown.await.forward_routes;
        pairs.dedup();
        assert_eq!(pairs.len(), 4);
        let mut said = std::collections::BTreeSet::new();
        within(PATIENCE, "both endpoints", async {
            while said.len() < 2 {
                said.insert(ask(mesh).await);
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_for_a_key_that_nobody_publishes_is_reset_with_a_reason() {
    let mut mesh = TestMesh::new();
    let hub = mesh.agent(Wanted::new("hub", &[], &listener("nowhere"))).await;
    let (peers, publishes) = ([hub.address().unwrap()], endpoint("unheard", hub.address().unwrap()));
    let other = mesh.agent(Wanted::new("other", &peers, &publishes)).await;
    for mesh in [&hub, &other] {
        let shown = until(mesh, "both halves", |shown| shown.forward_routes.len() == 2).await;
        let states: Vec<_> =
            shown.forward_routes.iter().map(|route| (route.key.as_str(), route.state, route.hop_count)).collect();
        let wanted = [("nowhere", ForwardState::NoEndpoint, None), ("unheard", ForwardState::NoListener, None)];
        assert_eq!(states, wanted);
    }
    until_refused(&hub).await;
    let stats = hub.stats().keys[0].clone();
    assert_eq!((stats.failed, stats.active), (1, 0));
    assert_eq!(stats.last_failure.as_deref(), Some("no agent has an endpoint for this key"));
    assert!(
        hub.probe(&"nowhere".parse().unwrap(), Protocol::Tcp).await.unwrap_err().contains("no agent has an endpoint")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_its_service_reads_slowly_arrives_although_the_service_has_ended() {
    let mut mesh = TestMesh::new();
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    let slow = Service::start(move |mut client| {
        let count = Arc::clone(&count);
        async move {
            let _ = client.shutdown().await;
            let mut piece = vec![0; 16 * 1024];
            while let Ok(came @ 1..) = client.read(&mut piece).await {
                count.fetch_add(came, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let slow = slow.await;
    let agents = mesh.line(&["a", "b", "c"], slow.address).await;
    until_up(&agents[0], "web").await;
    let sent = pattern(5, 8 * MIB);
    assert_eq!(exchange_over(connect(&agents[0]).await, &sent).await.unwrap(), b"");
    until(&agents[0], "the whole upload", |_| read.load(Ordering::Relaxed) == sent.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pairs_of_one_key_are_counted_and_not_all_shown() {
    let mut mesh = TestMesh::new();
    let each = |count: u16, one: &dyn Fn(u16) -> String| (1..=count).map(one).collect::<Vec<_>>().join(", ");
    let endpoints = each(40, &|n| format!("{{key: crowd, target: 'localhost:{n}'}}"));
    let listeners = each(40, &|n| format!("{{key: crowd, address: '127.0.1.{n}:0'}}"));
    let forward = format!("endpoints: [{endpoints}, {{key: last, target: 'localhost:1'}}]\nlisteners: [{listeners}]");
    let one = mesh.agent(Wanted::new("one", &[], &forward)).await;
    let shown = until(&one, "all listeners", |shown| shown.forward_routes_left_out == 40 * 40 - 1024).await;
    let of = |key: &str| shown.forward_routes.iter().filter(|pair| pair.key == key).count();
    assert_eq!((of("crowd"), of("last")), (1024, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_is_seen_to_stand_still() {
    let (service, mut connections) = played().await;
    let mut mesh = TestMesh::new();
    let agents = mesh.line(&["ingress", "transit", "exit"], service.address).await;
    until_up(&agents[0], "web").await;
    let (mut client, mut server) = pair(&agents[0], &mut connections).await;
    let sent = pattern(1, 32 * MIB);
    let bytes = sent.clone();
    let sends = tokio::spawn(async move {
        server.write_all(&bytes).await.unwrap();
        server
    });
    // Where it stands: at the client, and at the agent whose window is full behind that.
    until(&agents[0], "a standstill", |shown| shown.stats.stalled == 1).await;
    until(&agents[1], "a standstill", |shown| shown.stats.stalled == 1).await;
    let mut came = vec![0; sent.len()];
    within(PATIENCE, "all of it", client.read_exact(&mut came)).await.unwrap();
    assert!(came == sent);
    let _server = sends.await.unwrap();
    for agent in &agents {
        until(agent, "no standstill", |shown| shown.stats.stalled == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_leaves_waits_until_what_it_has_sent_is_there() {
    let (service, mut connections) = played().await;
    let mut mesh = TestMesh::new();
    let ingress = mesh.agent(Wanted::new("ingress", &[], &listener("web"))).await;
    let wire = Wire::slow(ingress.address().unwrap(), 2_000_000).await;
    let exit = mesh.agent(Wanted::new("exit", &[wire.address], &endpoint("web", service.address))).await;
    until_up(&ingress, "web").await;
    let (mut client, mut server) = pair(&ingress, &mut connections).await;
    client.shutdown().await.unwrap();
    // No more than a stream takes at once, so it is sent long before it has come.
    let sent = pattern(1, 3 * MIB);
    server.write_all(&sent).await.unwrap();
    server.shutdown().await.unwrap();
    drop(server);
    let reads = async {
        let mut came = Vec::new();
        client.read_to_end(&mut came).await.map(|_| came)
    };
    let (drained, came) = within(PATIENCE, "the rest", async { tokio::join!(exit.drain(PATIENCE), reads) }).await;
    assert!(came.unwrap() == sent);
    assert_eq!(drained.connections_cut, 0);
}
