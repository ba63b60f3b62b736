//! How large a mesh may be (`spec/mesh.md`, lines 11 and 22): agents, keys, and connections that wait.

use std::collections::BTreeSet;
use std::env;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use adit_e2e::{
    HttpService, Mesh, MeshAgent, ServiceAddress, eventually, http_get, next_visitor, raise_descriptor_limit,
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::SOON;

/// Line 22.
const AGENTS: usize = 100;
const CONVERGED: Duration = Duration::from_secs(10);
/// The promise is about the program that people have, which `ADIT_BIN` names. The one that is built with the tests is hardly optimised, and
/// a hundred of it and the test share the processors; what it took is printed.
const UNOPTIMISED: u32 = 2;
const CONTROL_BYTES: u64 = 50_000_000;

/// The agents that the one with this number dials: those before it make a tree, and a jump makes the graph a random
/// one. Numbers from the recipe of a linear congruential generator (Knuth), so that each run has the same mesh.
fn dialled_by(number: usize) -> BTreeSet<usize> {
    let draw = |salt: usize| {
        let state = (number * 2 + salt) as u64;
        (state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33) as usize
    };
    if number == 0 {
        return BTreeSet::new();
    }
    // Every second one has two uplinks: three links for each agent on average.
    (0..1 + number % 2).map(|salt| draw(salt) % number).collect()
}

/// Line 22: a hundred agents that are all started within 5 s know each other 10 s later, and have not talked more than
/// they need.
#[test]
fn a_hundred_agents_find_each_other() {
    let mesh = Mesh::new();
    let page = HttpService::start("far away");
    let tokens: Vec<String> = (0..AGENTS)
        .map(|number| mesh.invite(&format!("agent-{number}"), &["--publish", "*", "--listen", "*", "--transit"]))
        .collect();
    let mut agents: Vec<MeshAgent> = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        let mut agent =
            mesh.joined(&format!("agent-{number}"), token).publishes_port(&format!("key-{number}"), page.port());
        for peer in dialled_by(number) {
            agent = agent.dials(&agents[peer]);
        }
        agents.push(if number == 0 { agent.listens("key-99", mesh.at(8080)) } else { agent });
    }
    // The last first: most dial somebody who is not there yet.
    let started = Instant::now();
    for agent in agents.iter_mut().rev() {
        agent.launch();
    }
    let launched = started.elapsed();
    for agent in &mut agents {
        agent.await_start();
    }
    let running = started.elapsed();
    let mut waiting: Vec<&MeshAgent> = agents.iter().collect();
    let bound = if env::var_os("ADIT_BIN").is_some() { CONVERGED } else { CONVERGED * UNOPTIMISED };
    eventually((launched + bound).saturating_sub(running), "every agent knows all", || {
        waiting.retain(|agent| {
            let board = agent.dashboard();
            ["routes", "forward_routes"].iter().any(|list| board[list].as_array().unwrap().len() < AGENTS)
        });
        waiting.is_empty()
    });
    let converged = started.elapsed() - launched;
    let processor: Duration = agents.iter().map(|agent| agent.running().processor_time()).sum();
    let control: u64 = agents.iter().map(|agent| agent.stat("control_bytes_out")).sum();
    eprintln!(
        "{AGENTS} agents: launched within {launched:?}, running after {running:?}, converged {converged:?} later; \
         {processor:?} of processor time, {} kB of control",
        control / 1000
    );
    assert!(control <= CONTROL_BYTES, "{control} bytes of control traffic");
    assert_eq!(http_get(mesh.at(8080), "web", "/", SOON).unwrap().body, "far away");
    let probed = agents[0].json(&["probe", "key-99"]);
    let shown = agents[0].forward_routes("key-99");
    assert_eq!((&probed["path_ids"], &probed["hop_count"]), (&shown[0]["path_ids"], &shown[0]["hop_count"]));
}

/// Line 22: three hundred keys with names of a hundred characters on one agent, whose own name is as long, are all there.
#[test]
fn three_hundred_long_keys_are_all_served() {
    let mesh = Mesh::new();
    let page = HttpService::start("served");
    let key = |number: usize| format!("{:k<100}", format!("key-{number}-"));
    let name = format!("{:-<100}", "exit-");
    let mut exit = mesh.agent(&name);
    for number in 0..300 {
        exit = exit.publishes_port(&key(number), page.port());
    }
    let exit = exit.start();
    let transit = mesh.agent("transit").dials(&exit).start();
    let mut ingress = mesh.agent("ingress").dials(&transit);
    for number in 0..300 {
        ingress = ingress.listens(&key(number), mesh.at(20_000 + number as u16));
    }
    let ingress = ingress.start();
    eventually(SOON, "all keys are shown", || {
        let routes = ingress.dashboard()["forward_routes"].take();
        let routes = routes.as_array().unwrap();
        let is_up =
            |route: &Value| route["state"] == "up" && route["hop_count"] == 2 && route["exit_agent"] == name.as_str();
        routes.len() == 300 && routes.iter().all(is_up)
    });
    for number in 0..300 {
        let served = http_get(mesh.at(20_000 + number), "web", "/", SOON);
        assert_eq!(served.map(|answer| answer.body).as_deref(), Some("served"), "key {number}");
    }
    eventually(SOON, "nothing is left", || transit.stat("transits") == 0);
}

const IDLE: u32 = 5_000;
const AT_ONCE: u32 = 2_000;

/// Connections whose both ends are this test's: each client says its number, by which its other end is known.
fn connect_all(
    numbers: std::ops::Range<u32>,
    address: SocketAddr,
    target: &TcpListener,
) -> Vec<(TcpStream, TcpStream)> {
    let clients: Vec<TcpStream> = numbers
        .clone()
        .map(|number| {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(SOON)).unwrap();
            client.write_all(&number.to_be_bytes()).unwrap();
            client
        })
        .collect();
    let mut services: Vec<Option<TcpStream>> = clients.iter().map(|_| None).collect();
    for _ in numbers.clone() {
        let mut service = next_visitor(target, SOON);
        let mut number = [0; 4];
        service.read_exact(&mut number).unwrap();
        let index = u32::from_be_bytes(number) - numbers.start;
        assert!(services[index as usize].replace(service).is_none(), "each comes once");
    }
    clients.into_iter().zip(services.into_iter().flatten()).collect()
}

/// Each client says something to its own other end, which answers.
fn all_answer(pairs: &mut [(TcpStream, TcpStream)]) {
    let say = |from: &mut TcpStream, number: usize| from.write_all(&(number as u64).to_be_bytes()).unwrap();
    let hear = |at: &mut TcpStream, number: usize| {
        let mut word = [0; 8];
        at.read_exact(&mut word).unwrap();
        assert_eq!(u64::from_be_bytes(word), number as u64, "each hears its own");
    };
    pairs.iter_mut().enumerate().for_each(|(number, (client, _))| say(client, number));
    for (number, (_, service)) in pairs.iter_mut().enumerate() {
        hear(service, number);
        say(service, number);
    }
    pairs.iter_mut().enumerate().for_each(|(number, (client, _))| hear(client, number));
}

/// Lines 11 and 22, and the figures: thousands wait over two hops, and thousands come at once.
#[test]
fn thousands_of_connections_wait_and_come_at_once() {
    raise_descriptor_limit(16_000);
    let mesh = Mesh::new();
    // Nobody is accepted before all have come, so that they wait in the kernel.
    let target = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    target.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    target.listen(4096).unwrap();
    let target = TcpListener::from(target);
    let exit = mesh.agent("exit").publishes_port("t", target.local_addr().unwrap().port()).start();
    let transit = mesh.agent("transit").dials(&exit).start();
    let ingress = mesh.agent("ingress").dials(&transit).listens("t", mesh.at(8080)).start();
    ingress.await_routes("t", 1);
    // What is there once, whoever comes, is not counted for those who wait.
    let mut pairs = connect_all(0..100, mesh.at(8080), &target);
    all_answer(&mut pairs);
    let memory = || [&ingress, &transit, &exit].map(|agent| agent.running().memory());
    let before = memory();
    let started = Instant::now();
    // In portions: what is asked about here is how many can wait.
    for portion in (100..IDLE).step_by(100) {
        pairs.extend(connect_all(portion..portion + 100, mesh.at(8080), &target));
    }
    let opened = started.elapsed();
    assert_eq!(transit.stat("transits"), u64::from(IDLE));
    let each: Vec<u64> =
        memory().iter().zip(before).map(|(now, before)| (now - before) / u64::from(IDLE - 100)).collect();
    eprintln!(
        "{IDLE} idle connections, opened within {opened:?}: each takes {each:?} bytes at listener, transit, endpoint"
    );
    assert!(each[0] <= 64 * 1024 && each[1..].iter().all(|bytes| *bytes <= 32 * 1024), "far beyond the figures");
    all_answer(&mut pairs);

    let started = Instant::now();
    let mut more = connect_all(IDLE..IDLE + AT_ONCE, mesh.at(8080), &target);
    eprintln!("{AT_ONCE} at once beside them: all served within {:?}", started.elapsed());
    all_answer(&mut more);
    all_answer(&mut pairs);
    drop((pairs, more));
    eventually(Duration::from_secs(30), "nothing is left", || transit.stat("transits") == 0);
}
