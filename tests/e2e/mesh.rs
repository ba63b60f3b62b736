//! A mesh of real agents at work (`spec/mesh.md`, lines 1 to 8, 11, 21 and 23): the commands of the document,
//! connections that end by halves, many at once, limits, and what changes while it runs.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adit_e2e::{
    EchoService, HttpService, Mesh, MeshAgent, Netns, PatternService, Running, ServiceAddress, Signal, SlowWay,
    adit_as, asks_and_hears, eventually, exchange, finish, http_get, next_visitor, python, receive_pattern, require,
    send_pattern,
};
use serde_json::Value;
use socket2::SockRef;

use crate::SOON;
use crate::mesh_failures::AGREED;

/// The document's own examples, character for character.
const ON_YOUR_MACHINE: &str = r#"# On YOUR machine (where the service runs) - the "endpoint"
forward:
  endpoints:
    - key: "my-files"            # Routing key (advertised to mesh)
      target: "localhost:80"     # Your local service
"#;
const ON_REMOTE_AGENTS: &str = r#"# On REMOTE agents (where clients connect) - the "listeners"
forward:
  listeners:
    - key: "my-files"            # Must match endpoint key
      address: ":8080"           # Port remote clients use
      max_connections: 100       # Optional limit
"#;

/// A file is fetched from a machine three hops away, and the dashboard says on which way (lines 1, 2 and 6).
#[test]
fn the_document_works_as_it_stands() {
    let names = ["edge", "north", "south", "hq"];
    let netns: Vec<Arc<Netns>> = names.iter().filter_map(|_| Netns::make().map(Arc::new)).collect();
    let ([edge, north, south, hq], Some(client)) = (netns.as_slice(), Netns::make()) else { return };
    if require("curl").is_none() || require("jq").is_none() {
        return;
    }
    for (number, pair) in [edge, north, south, hq].windows(2).enumerate() {
        pair[0].join(&format!("10.77.{number}.1"), pair[1], &format!("10.77.{number}.2"));
    }
    client.join("10.77.9.2", edge, "10.77.9.1");
    client.write_etc("hosts", "127.0.0.1 localhost\n10.77.9.1 nearest-agent\n");

    let mesh = Mesh::new();
    let script = "#!/bin/sh\necho set up\n".repeat(10_000);
    fs::create_dir_all(mesh.folder().join("www/configs")).unwrap();
    fs::write(mesh.folder().join("www/configs/setup.sh"), &script).unwrap();
    let mut serve = hq.command(python().to_str().unwrap());
    serve.args(["-m", "http.server", "80", "--directory"]).arg(mesh.folder().join("www"));
    let _files = Running::spawn(&mut serve);

    let agent = |name: &str, netns| mesh.agent(name).inside(netns).with_usual_dashboard();
    let hq = agent("hq", hq).forwards(ON_YOUR_MACHINE).start();
    let south = agent("south", south).dials_at("10.77.2.2:4433").start();
    let north = agent("north", north).dials_at("10.77.1.2:4433").start();
    let edge = agent("edge", edge).dials_at("10.77.0.2:4433").forwards(ON_REMOTE_AGENTS).start();
    let agents = [&edge, &north, &south, &hq];
    for agent in agents {
        agent.await_routes("my-files", 1);
    }

    let fetched = mesh.folder().join("setup.sh");
    let mut curl = client.command("curl");
    curl.args(["-sS", "http://nearest-agent:8080/configs/setup.sh", "-o"]).arg(&fetched);
    eventually(SOON, "the file comes", || finish(&mut curl, SOON).code() == 0);
    assert_eq!(fs::read_to_string(&fetched).unwrap(), script);

    let ask = |agent: &MeshAgent, url: &str| -> Value {
        let words = format!("curl -s {url} | jq '.forward_routes'");
        let asked = agent.inside_it(|| finish(Command::new("sh").args(["-c", &words]), SOON));
        serde_json::from_str(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {asked:?}"))
    };
    // As the document asks. Where a listener has the port, the dashboard has the next one.
    let shown = ask(&north, "http://localhost:8080/api/dashboard");
    let wanted = serde_json::json!([{
        "key": "my-files", "protocol": "tcp", "ingress_agent": "edge", "ingress_agent_id": edge.id(), "listener_address": ":8080",
        "exit_agent": "hq", "exit_agent_id": hq.id(), "target": "localhost:80", "hop_count": 3, "path_display": names,
        "path_ids": agents.map(MeshAgent::id), "state": "up",
    }]);
    assert_eq!(shown, wanted);
    assert_eq!(shown, north.dashboard()["forward_routes"], "as we read it");
    assert_eq!(ask(&edge, "http://localhost:8081/api/dashboard"), wanted);
    eventually(AGREED, "all agree", || agents.iter().all(|agent| agent.dashboard()["forward_routes"] == wanted));
    let probed = edge.json(&["probe", "my-files"]);
    for field in ["key", "exit_agent", "exit_agent_id", "hop_count", "path_display", "path_ids"] {
        assert_eq!(probed[field], wanted[0][field], "{field}");
    }
    let transit = north.dashboard()["stats"]["transit_bytes"].as_u64().unwrap();
    assert!(transit > script.len() as u64, "it went through north: {transit} bytes");
}

/// Every pairing of listeners and endpoints is shown once; half a pair is shown as such, and a stopped one is gone
/// (line 6).
#[test]
fn the_dashboard_shows_every_pair_once() {
    let mesh = Mesh::new();
    let pages = [HttpService::start("one"), HttpService::start("two")];
    let mut hub = mesh.agent("hub").publishes("lonely", "localhost:9").start();
    let mut spokes = ["a", "b"].map(|name| {
        let page = &pages[usize::from(name == "b")];
        let agent = mesh.agent(name).dials(&hub).publishes_port("web", page.port());
        let port = if name == "a" { 8080 } else { 8081 };
        agent.listens("web", mesh.at(port)).listens("nobody", mesh.at(port + 10)).start()
    });
    let pairs = |agent: &MeshAgent| -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let routes = agent.dashboard()["forward_routes"].take();
        let rows = routes.as_array().unwrap().iter().map(|route| {
            let fields = ["key", "ingress_agent", "exit_agent", "state"].map(|field| text(&route[field]));
            format!("{} {}", fields.join(" "), route["path_display"].as_array().unwrap().len())
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        rows
    };
    let all = [
        "lonely - hub no_listener 0",
        "nobody a - no_endpoint 0",
        "nobody b - no_endpoint 0",
        "web a a up 1",
        "web a b up 3",
        "web b a up 3",
        "web b b up 1",
    ];
    for agent in [&hub, &spokes[0], &spokes[1]] {
        eventually(SOON, "every pair is shown once", || pairs(agent) == all);
    }
    // An endpoint on the listener's own agent is the nearest.
    assert_eq!(http_get(mesh.at(8080), "web", "/", SOON).unwrap().body, "one");
    assert_eq!(http_get(mesh.at(8081), "web", "/", SOON).unwrap().body, "two");
    spokes[1].stop();
    eventually(SOON, "what has stopped is gone", || pairs(&hub) == [all[0], all[1], all[3]]);
    hub.stop();
    eventually(SOON, "nothing is shown of those who are gone", || pairs(&spokes[0]) == [all[1], all[3]]);
}

/// A line of three agents: where clients of `key` connect, and the agents.
fn line(mesh: &Mesh, key: &str, target: u16) -> (SocketAddr, [MeshAgent; 3]) {
    let c = mesh.agent("c").publishes_port(key, target).start();
    let b = mesh.agent("b").dials(&c).start();
    let a = mesh.agent("a").dials(&b).listens(key, mesh.at(8080)).start();
    a.await_routes(key, 1);
    (mesh.at(8080), [a, b, c])
}

/// Datagrams go the same ways, each client's for itself, and the commands tell them from connections.
#[test]
fn datagrams_are_forwarded() {
    let service = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = service.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((length, from)) = service.recv_from(&mut buffer) {
            let _ = service.send_to(&buffer[..length], from);
        }
    });
    let mesh = Mesh::new();
    let forward = |what: &str| format!("forward: {{{what}}}\n");
    let c = mesh.agent("c").forwards(&forward(&format!(
        "endpoints: [{{key: dns, protocol: udp, target: \"{target}\"}}, {{key: dns, target: \"{target}\"}}]"
    )));
    let c = c.start();
    let b = mesh.agent("b").dials(&c).start();
    let address = mesh.at(5353);
    let a = mesh.agent("a").dials(&b);
    let a = a.forwards(&forward(&format!("listeners: [{{key: dns, protocol: udp, address: \"{address}\"}}]"))).start();
    // TCP is published as well, and nobody listens.
    let states = || a.forward_routes("dns").iter().map(|route| route["state"].clone()).collect::<Vec<_>>();
    eventually(SOON, "a way for datagrams", || states() == ["no_listener", "up"]);
    for length in [20, 1400, 8000] {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let question = vec![b'q'; length];
        let mut answer = vec![0; 65_536];
        eventually(SOON, "an answer comes", || {
            client.send(&question).unwrap();
            client.recv(&mut answer).is_ok_and(|came| answer[..came] == question)
        });
    }
    let transits = b.stat("transits");
    assert_eq!(transits, 3, "a circuit for each client");
    let probed = a.json(&["probe", "dns", "--udp"]);
    assert_eq!(probed["path_display"], serde_json::json!(["a", "b", "c"]));
    let status = a.adit(&["status"]).stdout;
    assert!(status.contains("dns (udp)"), "{status}");
}

/// A client and its target, at both ends of a connection.
fn connected(address: SocketAddr, target: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    (client, next_visitor(target, SOON))
}

/// Line 1: what a target's name means is looked up for each connection.
#[test]
fn a_target_is_resolved_at_each_dial() {
    let Some(netns) = Netns::make().map(Arc::new) else { return };
    let set_name = |address: &str| netns.write_etc("hosts", &format!("127.0.0.1 localhost\n{address} service.test\n"));
    // The file has to be there when the agent starts; what is written to it later, the agent sees.
    set_name("127.0.0.1");
    let mesh = Mesh::new();
    let agent = mesh.agent("agent").inside(&netns).publishes("web", "service.test:8000");
    let agent = agent.listens("web", "127.0.0.1:8080").start();
    agent.await_routes("web", 1);
    let services = [("127.0.0.1", "one"), ("127.0.0.2", "two")];
    let services =
        services.map(|(address, says)| (address, says, netns.inside(|| TcpListener::bind((address, 8000)).unwrap())));
    for (address, says, service) in &services {
        set_name(address);
        let (mut client, mut visitor) = netns.inside(|| connected("127.0.0.1:8080".parse().unwrap(), service));
        visitor.write_all(says.as_bytes()).unwrap();
        let mut heard = [0; 3];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(heard, says.as_bytes());
    }
}

/// Whichever end says that it has no more to say, the other one's bytes all arrive; and who is cut hears a reset (line
/// 21).
#[test]
fn connections_end_by_halves_and_break_as_a_whole() {
    const MEBIBYTE: u64 = 1 << 20;
    let mesh = Mesh::new();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, [a, b, c]) = line(&mesh, "raw", target.port());
    for target_ends_first in [true, false] {
        let (client, service) = connected(address, &target);
        let (first, last) = if target_ends_first { (&service, &client) } else { (&client, &service) };
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!((&*last).read(&mut [0; 1]).unwrap(), 0, "the end is heard");
        thread::scope(|scope| {
            scope.spawn(|| send_pattern(last, 21, MEBIBYTE).unwrap());
            assert_eq!(receive_pattern(first, 21).unwrap(), MEBIBYTE, "target ended first: {target_ends_first}");
        });
    }
    for target_breaks in [true, false] {
        let (client, service) = connected(address, &target);
        (&client).write_all(b"x").unwrap();
        (&service).read_exact(&mut [0; 1]).unwrap();
        let (breaks, hears) = if target_breaks { (service, client) } else { (client, service) };
        SockRef::from(&breaks).set_linger(Some(Duration::ZERO)).unwrap();
        drop(breaks);
        let heard = (&hears).read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(heard, Err(ErrorKind::ConnectionReset), "the target broke: {target_breaks}");
    }
    eventually(SOON, "nothing is left", || {
        let ends = [&a, &c].iter().all(|agent| agent.dashboard()["agent"]["connections"] == 0);
        ends && b.stat("transits") == 0
    });
}

/// Two hundred visitors at once, spread over the listeners, each with its own bytes in both directions.
fn interleave(service: &PatternService, listeners: &[SocketAddr]) {
    thread::scope(|scope| {
        for visitor in 0..200 {
            let address = listeners[visitor % listeners.len()];
            scope.spawn(move || exchange(address, visitor as u64, 100_000 + visitor as u64));
        }
    });
    service.assert_no_failure();
}

/// Visitors have moved 40 MB at least, and neither of the transits was spared.
fn assert_both_carried(transits: &[MeshAgent; 2]) {
    let carried = transits.each_ref().map(|agent| agent.stat("transit_bytes"));
    assert!(carried.iter().all(|bytes| *bytes > 20_000_000), "each carried its half: {carried:?}");
}

/// Line 21: colliding numbers of streams on two links of a transit are no matter.
#[test]
fn two_listeners_behind_one_transit_do_not_mix() {
    let mesh = Mesh::new();
    let service = PatternService::start();
    let exit = mesh.agent("exit").publishes_port("p", service.port()).start();
    let transit = mesh.agent("transit").dials(&exit).start();
    let listeners = [mesh.at(8080), mesh.at(8081)];
    let ingresses = ["a", "b"].map(|name| {
        let address = listeners[usize::from(name == "b")];
        mesh.agent(name).dials(&transit).listens("p", address).start()
    });
    ingresses.iter().for_each(|agent| agent.await_routes("p", 2));
    interleave(&service, &listeners);
    eventually(SOON, "nothing is left at the transit", || transit.stat("transits") == 0);
}

/// Line 21.
#[test]
fn an_ingress_with_two_uplinks_does_not_mix() {
    let mesh = Mesh::new();
    let services = [PatternService::start(), PatternService::start()];
    // Each key has a transit of its own: of two ways that cost the same all connections take one.
    let exits = [("east", "p", 0), ("west", "q", 1)].map(|(name, key, number): (_, _, usize)| {
        mesh.agent(name).publishes_port(key, services[number].port()).start()
    });
    let transits =
        [("one", 0), ("two", 1)].map(|(name, number): (_, usize)| mesh.agent(name).dials(&exits[number]).start());
    let ingress = mesh.agent("ingress").dials(&transits[0]).dials(&transits[1]);
    let ingress = ingress.listens("p", mesh.at(8080)).listens("q", mesh.at(8081)).start();
    ["p", "q"].iter().for_each(|key| ingress.await_routes(key, 1));
    thread::scope(|scope| {
        for (service, port) in services.iter().zip([8080, 8081]) {
            let listener = [mesh.at(port)];
            scope.spawn(move || interleave(service, &listener));
        }
    });
    assert_both_carried(&transits);
}

/// Line 21.
#[test]
fn an_endpoint_with_two_peers_does_not_mix() {
    let mesh = Mesh::new();
    let service = PatternService::start();
    let exit = mesh.agent("exit").publishes_port("p", service.port()).start();
    let listeners = [mesh.at(8080), mesh.at(8081)];
    let transits = ["one", "two"].map(|name| mesh.agent(name).dials(&exit).start());
    let ingresses = [("a", 0), ("b", 1)].map(|(name, number): (&str, usize)| {
        mesh.agent(name).dials(&transits[number]).listens("p", listeners[number]).start()
    });
    ingresses.iter().for_each(|agent| agent.await_routes("p", 2));
    interleave(&service, &listeners);
    assert_both_carried(&transits);
}

/// Line 1: five hundred come at once, one hundred are served, four hundred are reset, and places are given back.
#[test]
fn max_connections_is_exact() {
    let mesh = Mesh::new();
    let echo = EchoService::start();
    let exit = mesh.agent("exit").publishes_port("my-files", echo.port()).start();
    let listens = ON_REMOTE_AGENTS.replace(":8080", &mesh.at(8080).to_string());
    let ingress = mesh.agent("ingress").dials(&exit).forwards(&listens).start();
    ingress.await_routes("my-files", 1);
    for round in 1..=2 {
        let clients: Vec<thread::JoinHandle<Option<TcpStream>>> = (0..500)
            .map(|_| {
                let address = mesh.at(8080);
                thread::spawn(move || {
                    // Where the reset comes first, it is connecting or the write that hears of it.
                    let served = TcpStream::connect(address).and_then(|mut client| {
                        client.set_read_timeout(Some(SOON))?;
                        client.write_all(b"x")?;
                        Ok((client.read(&mut [0; 1])?, client))
                    });
                    match served {
                        Ok((1, client)) => Some(client),
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
                        other => panic!("neither served nor reset: {other:?}"),
                    }
                })
            })
            .collect();
        let served: Vec<TcpStream> = clients.into_iter().filter_map(|client| client.join().unwrap()).collect();
        assert_eq!(served.len(), 100, "in round {round}");
        assert_eq!(ingress.key_stats("my-files")["over_limit"], 400 * round);
        drop(served);
        eventually(SOON, "all places are given back", || ingress.key_stats("my-files")["active"] == 0);
    }
}

/// Line 4: a key that nobody publishes is refused, and where it is looked for says why.
#[test]
fn a_key_without_an_endpoint_is_refused_with_a_reason() {
    let mesh = Mesh::new();
    let ingress = mesh.agent("ingress").listens("no-such-key", mesh.at(8080)).start();
    assert!(!asks_and_hears(mesh.at(8080), "hello", SOON));
    let stats = ingress.key_stats("no-such-key");
    assert_eq!((&stats["failed"], &stats["opened"]), (&1.into(), &0.into()));
    assert!(stats["last_failure"].as_str().unwrap().contains("no agent has an endpoint"), "{stats}");
    ingress.running().await_stderr(SOON, "no agent has an endpoint for this key");
    let probed = ingress.adit(&["probe", "no-such-key"]);
    assert_eq!((probed.code(), probed.stderr.contains("no agent has an endpoint")), (1, true), "{probed:?}");
}

/// Line 23: what one key's change does not touch lives on, whether SIGHUP or the command asked for it.
#[test]
fn a_reload_touches_what_has_changed_and_nothing_else() {
    let mesh = Mesh::new();
    let echo = EchoService::start();
    let pages = [HttpService::start("before"), HttpService::start("after")];
    let endpoints = |changing: &HttpService, last: &str| {
        let (echo, page) = (echo.port(), changing.port());
        format!(
            "forward:\n  endpoints:\n    - {{ key: stays, target: \"localhost:{echo}\" }}\n    \
             - {{ key: changes, target: \"127.0.0.1:{page}\" }}\n    - {{ key: {last}, target: \"127.0.0.1:{page}\" }}\n"
        )
    };
    let listeners = |last: &str| {
        let [stays, changes, last_port] =
            [8080, 8081, if last == "goes" { 8082 } else { 8083 }].map(|port| mesh.at(port));
        format!(
            "forward:\n  listeners:\n    - {{ key: stays, address: \"{stays}\" }}\n    \
             - {{ key: changes, address: \"{changes}\" }}\n    - {{ key: {last}, address: \"{last_port}\" }}\n"
        )
    };
    let body = |port| http_get(mesh.at(port), "web", "/", SOON).map(|answer| answer.body);
    let mut exit = mesh.agent("exit").forwards(&endpoints(&pages[0], "goes")).start();
    let mut ingress = mesh.agent("ingress").dials(&exit).forwards(&listeners("goes")).start();
    ["stays", "changes", "goes"].iter().for_each(|key| ingress.await_routes(key, 1));
    assert_eq!([8081, 8082].map(body), ["before"; 2].map(|page| Some(page.to_owned())));
    let mut untouched = TcpStream::connect(mesh.at(8080)).unwrap();
    untouched.set_read_timeout(Some(SOON)).unwrap();
    let mut lives = || {
        let mut byte = [0];
        untouched.write_all(b"x").and_then(|()| untouched.read_exact(&mut byte)).is_ok()
    };
    assert!(lives());

    exit.write_forward(&endpoints(&pages[1], "comes"));
    exit.json(&["reload"]);
    ingress.write_forward(&listeners("comes"));
    ingress.running().signal(Signal::HUP);
    eventually(SOON, "the key that came is served", || body(8083).as_deref() == Some("after"));
    assert_eq!(body(8081).as_deref(), Some("after"), "the new target of the key that changed");
    assert_eq!(TcpStream::connect(mesh.at(8082)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    eventually(SOON, "the key that went is not shown", || ingress.forward_routes("goes").is_empty());
    assert!(lives(), "and the connection of the key that stayed lives");

    // A bad file is rejected whole, with the place of what is wrong.
    let shown = exit.dashboard()["forward_routes"].take();
    exit.write_forward(&endpoints(&pages[0], "goes").replace(&format!("localhost:{}", echo.port()), "localhost:0"));
    let refused = exit.adit(&["reload"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("`forward.endpoints[0].target` is “localhost:0”"), "{refused:?}");
    ingress.write_forward("forward:\n  listeners:\n    - key: [\n");
    ingress.running().signal(Signal::HUP);
    ingress.running().await_stderr(SOON, "the configuration was not taken; all is as it was");
    // So is one with a port that somebody else has.
    ingress.write_forward(&listeners("goes").replace(":8081", ":4433"));
    let refused = ingress.adit(&["reload", "--json"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("cannot listen on") && refused.stderr.contains("\"code\""), "{refused:?}");
    assert_eq!(exit.dashboard()["forward_routes"], shown);
    assert_eq!([8081, 8083].map(body), ["after"; 2].map(|page| Some(page.to_owned())));
    assert!(TcpStream::connect(mesh.at(8082)).is_err(), "nothing of a file that was rejected is in force");
    assert!(lives());
}

/// Line 11: where UDP does not pass the link is TLS over TCP, by itself; also where UDP stops passing later.
#[test]
fn without_udp_a_link_is_made_over_tcp() {
    let Some(netns) = Netns::make().map(Arc::new) else { return };
    if require("nft").is_none() {
        return;
    }
    let mesh = Mesh::new();
    let service = netns.inside(PatternService::start);
    let mut exit = mesh.agent("exit").inside(&netns).publishes_port("p", service.port()).start();
    let ingress = mesh.agent("ingress").inside(&netns).listens_for_agents_at("127.0.0.1:4434");
    let ingress = ingress.dials_at("127.0.0.1:4433").listens("p", "127.0.0.1:8080").start();
    let address = "127.0.0.1:8080".parse().unwrap();
    let carrier = || {
        let board = ingress.dashboard();
        board["peers"][0]["carrier"].as_str().map(str::to_owned)
    };
    ingress.await_routes("p", 1);
    assert_eq!(carrier().as_deref(), Some("quic"));

    netns.lose_udp(100);
    let noticed =
        eventually(Duration::from_secs(20), "a link over TCP is there", || carrier().as_deref() == Some("tcp"));
    eprintln!("UDP stopped passing: a link over TCP after {noticed:?}");
    ingress.await_routes("p", 1);
    netns.inside(|| exchange(address, 11, 16 << 20));
    service.assert_no_failure();
    exit.kill();
    eventually(SOON, "the link is gone", || carrier().is_none());
    exit.start_again();
    let linked = eventually(SOON, "the link is there again, over TCP", || carrier().as_deref() == Some("tcp"));
    eprintln!("a link without UDP after {linked:?}");
    ingress.await_routes("p", 1);
    netns.inside(|| exchange(address, 12, 1 << 20));
    service.assert_no_failure();
}

/// Line 24, in small: nothing is lost or mixed on a way that loses one datagram of twenty and takes 20 ms in each
/// direction.
#[test]
fn bytes_arrive_whole_over_a_bad_way() {
    let Some(netns) = Netns::make().map(Arc::new) else { return };
    if require("nft").is_none() {
        return;
    }
    let mesh = Mesh::new();
    let service = netns.inside(PatternService::start);
    let exit = mesh.agent("exit").inside(&netns).listens_for_agents_at("127.0.0.1:4433");
    let _exit = exit.publishes_port("p", service.port()).start();
    let way = netns.inside(|| SlowWay::to("127.0.0.1:4433".parse().unwrap(), Duration::from_millis(20)));
    netns.lose_udp(5);
    let ingress = mesh.agent("ingress").inside(&netns).listens_for_agents_at("127.0.0.1:4434").dials_at(way.address());
    let ingress = ingress.listens("p", "127.0.0.1:8080").start();
    ingress.await_routes("p", 1);
    let address = "127.0.0.1:8080".parse().unwrap();
    netns.inside(|| {
        thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || exchange(address, seed, 200_000));
            }
        });
    });
    service.assert_no_failure();
    let board = ingress.dashboard();
    assert!(board["peers"][0]["rtt_ms"].as_f64().unwrap() >= 40.0, "it took its time: {}", board["peers"]);
    assert_eq!(board["peers"][0]["carrier"], "quic");
}

/// One process may be an agent of the mesh beside its other role.
#[test]
fn a_mesh_agent_runs_beside_another_role() {
    let mesh = Mesh::new();
    let page = HttpService::start("from the mesh");
    let exit = mesh.agent("exit").publishes_port("web", page.port()).start();
    for (role, port, map) in [("agent", 8080, "agent:\n  listen: 127.0.0.1:0\n"), ("jumphost", 8081, "jumphost:\n")] {
        let beside = mesh.agent(role);
        let (data, folder) = (beside.data().display(), mesh.folder().join(format!("{role}-data")));
        let ssh = mesh.at(0);
        let map = if role == "jumphost" { format!("{map}  ssh: {ssh}\n  web: {ssh}\n") } else { map.to_owned() };
        let peer = exit.listen_address();
        let text = format!(
            "{map}mesh:\n  data: {data}\n  http: 127.0.0.1:0\n  peers: [\"{peer}\"]\n\
             forward:\n  listeners:\n    - {{ key: web, address: \"{}\" }}\n",
            mesh.at(port)
        );
        fs::write(beside.config(), text).unwrap();
        let mut command = adit_as(role);
        command.args(["--config"]).arg(beside.config()).arg("--data").arg(&folder).env("HOME", mesh.folder());
        let mut running =
            Running::spawn(command.env("ADIT_LOG", "info").env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere"));
        let served = || http_get(mesh.at(port), "web", "/", SOON).is_some_and(|answer| answer.body == "from the mesh");
        eventually(SOON, &format!("a client is served beside adit {role}"), served);
        assert!(exit.reaches(role));
        running.signal(Signal::TERM);
        assert_eq!(running.wait_exit(SOON).code(), 0);
        eventually(Duration::from_secs(1), "it has left the mesh", || !exit.reaches(role));
    }
}

/// Those whom a jump host serves have nothing to do with what the mesh says of it.
#[test]
fn a_jump_host_that_is_no_member_of_a_mesh_serves_all_the_same() {
    let mesh = Mesh::new();
    let (web, folder) = (mesh.at(8080), mesh.folder().join("never-joined"));
    let text =
        format!("jumphost:\n  ssh: {}\n  web: {web}\nmesh:\n  data: {}\n  http: off\n", mesh.at(0), folder.display());
    let config = mesh.folder().join("config.yaml");
    fs::write(&config, text).unwrap();
    let mut command = adit_as("jumphost");
    command.arg("--config").arg(&config).arg("--data").arg(mesh.folder().join("jumphost"));
    let mut running = Running::spawn(command.env("HOME", mesh.folder()));
    let served = || http_get(web, "jumphost", "/health", SOON).is_some_and(|answer| answer.status == 200);
    eventually(SOON, "the jump host serves", served);
    let told = format!("adit mesh join TOKEN --data {}; then send SIGHUP", folder.display());
    eventually(SOON, "it says what to do", || running.stderr().contains(&told));
    running.signal(Signal::HUP);
    eventually(SOON, "it looks again", || running.stderr().matches(&told).count() == 2);
    let agent = mesh.joined("never-joined", &mesh.invite("jump", &["--listen", "*"]));
    assert_eq!(agent.data(), folder);
    running.signal(Signal::HUP);
    eventually(SOON, "it is an agent of the mesh", || running.stderr().contains("agent=\"jump\""));
    assert!(served());
    running.signal(Signal::TERM);
    assert_eq!(running.wait_exit(SOON).code(), 0);
}
