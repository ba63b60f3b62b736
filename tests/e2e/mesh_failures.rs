//! What a mesh makes of agents, cables and targets that fail (`spec/mesh.md`, lines 13 and 16 to 20, and 24), with the
//! times that it takes. A–B–C is a line: the listener is at A, the endpoint at C.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use adit_e2e::{
    Cable, EchoService, HttpService, Mesh, MeshAgent, Netns, PatternService, ServiceAddress, SlowWay, asks_and_hears,
    bulk_bytes, eventually, exchange, http_get, long_runs_wanted, remains, require, try_exchange, within,
};

use crate::SOON;

/// Lines 16, 17 and 19: an agent that is gone without a word is noticed, and one that is killed is back.
pub(crate) const NOTICED: Duration = Duration::from_secs(10);
/// Line 17, after a while.
const BACK: Duration = Duration::from_secs(5);
/// Lines 18 and 20.
pub(crate) const OTHER_WAY: Duration = Duration::from_secs(3);
/// Where nobody knows yet that there is no way, a connection waits 4 s for an answer.
const UNANSWERED: Duration = Duration::from_secs(6);
/// Line 6.
pub(crate) const AGREED: Duration = Duration::from_secs(5);
/// Lines 16 and 19: who leaves is gone, and who has nowhere to go is told so.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);

/// A, B and C on a loopback address, and what is behind C.
struct Line {
    a: MeshAgent,
    b: MeshAgent,
    c: MeshAgent,
    _echo: EchoService,
    address: SocketAddr,
    _mesh: Mesh,
}

impl Line {
    fn start() -> Line {
        let mesh = Mesh::new();
        let echo = EchoService::start();
        let c = mesh.agent("c").publishes_port("e", echo.port()).start();
        // One of B's neighbours dials it and the other one is dialled: both ends have to find back.
        let b = mesh.agent("b").dials(&c).start();
        let address = mesh.at(8080);
        let a = mesh.agent("a").dials(&b).listens("e", address).start();
        a.await_routes("e", 1);
        Line { a, b, c, _echo: echo, address, _mesh: mesh }
    }

    /// Clients whose connections are there and idle.
    fn clients(&self) -> Vec<TcpStream> {
        let clients: Vec<TcpStream> = (0..20).map(|_| client(self.address)).collect();
        assert_eq!(self.b.stat("transits"), 20);
        clients
    }

    fn is_served(&self) -> bool {
        asks_and_hears(self.address, "hello", SOON)
    }
}

/// A client who was served and waits.
fn client(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON + NOTICED)).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
    client
}

/// Waits until all clients have heard a reset, and says how long after `since` the last one did.
fn all_are_reset(clients: Vec<TcpStream>, since: Instant) -> Duration {
    for mut client in clients {
        let heard = client.read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(heard, Err(ErrorKind::ConnectionReset), "after {:?}", since.elapsed());
    }
    since.elapsed()
}

/// A connection that has nowhere to go: it is reset, and the agent says why.
fn is_refused_at_once(agent: &MeshAgent, address: SocketAddr) {
    let started = Instant::now();
    let served = agent.inside_it(|| asks_and_hears(address, "hello", SOON));
    assert!(!served && started.elapsed() < AT_ONCE, "served: {served}, after {:?}", started.elapsed());
    let stats = agent.key_stats("e");
    let why = stats["last_failure"].as_str().expect("a reason").to_owned();
    assert!(why.contains("no way") || why.contains("no agent has an endpoint"), "{why}");
    let shown = agent.json(&["status"]);
    assert!(shown["stats"]["keys"].to_string().contains(&why), "the status says it too: {shown}");
}

/// Line 16, and line 17 where nothing comes back for a while.
#[test]
fn a_killed_transit_is_noticed_and_found_again_later() {
    let mut line = Line::start();
    let clients = line.clients();
    line.b.kill();
    let killed = Instant::now();
    // Nobody knows yet. There is no other way, so an answer is waited for; not for long.
    assert!(!line.is_served() && killed.elapsed() < UNANSWERED, "nobody serves it: {:?}", killed.elapsed());
    let reset = all_are_reset(clients, killed);
    assert!(reset <= NOTICED, "clients heard of it after {reset:?}");
    eventually(NOTICED.saturating_sub(killed.elapsed()), "A has noticed", || !line.a.reaches("b"));
    let noticed = killed.elapsed();
    is_refused_at_once(&line.a, line.address);
    eventually(NOTICED.saturating_sub(killed.elapsed()), "no stream is left", || {
        [&line.a, &line.c].iter().all(|agent| agent.dashboard()["agent"]["connections"] == 0)
    });
    let away = Duration::from_secs(if long_runs_wanted() { 110 } else { 30 });
    remains(away.saturating_sub(killed.elapsed()), "nobody ends", || {
        [&line.a, &line.c].iter().all(|agent| agent.running().descriptors() > 0)
    });
    line.b.start_again();
    let back = eventually(BACK, "clients are served again", || line.is_served());
    eprintln!(
        "a transit was killed: clients reset after {reset:?}, noticed after {noticed:?}; back after {away:?}: {back:?}"
    );
    eventually(SOON, "no stream is left", || line.b.stat("transits") == 0);
}

/// Line 17.
#[test]
fn a_transit_that_is_started_again_at_once_serves_within_10_s() {
    let mut line = Line::start();
    let clients = line.clients();
    line.b.kill();
    let killed = Instant::now();
    line.b.start_again();
    eventually(NOTICED.saturating_sub(killed.elapsed()), "clients are served again", || line.is_served());
    let served = killed.elapsed();
    let reset = all_are_reset(clients, killed);
    assert!(reset <= NOTICED, "clients heard of it after {reset:?}");
    eprintln!("a transit was killed and started again: served after {served:?}, old clients reset after {reset:?}");
    eventually(SOON, "no stream is left", || line.b.stat("transits") == 0);
}

/// Line 17: a process that stands still answers nobody, and its sockets stay open.
#[test]
fn a_frozen_transit_is_noticed_within_10_s() {
    let line = Line::start();
    let clients = line.clients();
    line.b.running().freeze();
    let frozen = Instant::now();
    let reset = all_are_reset(clients, frozen);
    assert!(reset <= NOTICED, "clients heard of it after {reset:?}");
    eventually(NOTICED.saturating_sub(frozen.elapsed()), "both neighbours have noticed", || {
        !line.a.reaches("b") && !line.c.reaches("b")
    });
    let noticed = frozen.elapsed();
    is_refused_at_once(&line.a, line.address);
    line.b.running().thaw();
    let back = eventually(SOON, "clients are served again", || line.is_served());
    eprintln!(
        "a frozen transit: noticed after {noticed:?}, clients reset after {reset:?}, back {back:?} after it thawed"
    );
    eventually(SOON, "no stream is left", || line.b.stat("transits") == 0);
}

/// Namespaces in a row, joined by cables: `10.78.N.1` and `10.78.N.2` are the ends of the Nth.
fn row(count: usize) -> Option<(Vec<Arc<Netns>>, Vec<Cable>)> {
    let netns: Vec<Arc<Netns>> = (0..count).map_while(|_| Netns::make().map(Arc::new)).collect();
    let join = |(number, pair): (usize, &[Arc<Netns>])| {
        pair[0].join(&format!("10.78.{number}.1"), &pair[1], &format!("10.78.{number}.2"))
    };
    let cables = netns.windows(2).enumerate().map(join).collect();
    (netns.len() == count).then_some((netns, cables))
}

/// Lines 16 and 17, where a cable is pulled in place of a process killed.
#[test]
fn a_pulled_cable_is_noticed_and_one_put_back_serves() {
    let Some((netns, cables)) = row(3) else { return };
    let mesh = Mesh::new();
    let echo = netns[2].inside(EchoService::start);
    let c = mesh.agent("c").inside(&netns[2]).publishes_port("e", echo.port()).start();
    let _b = mesh.agent("b").inside(&netns[1]).dials_at("10.78.1.2:4433").start();
    let a = mesh.agent("a").inside(&netns[0]).dials_at("10.78.0.2:4433").listens("e", "127.0.0.1:8080").start();
    a.await_routes("e", 1);
    let address = "127.0.0.1:8080".parse().unwrap();
    let clients: Vec<TcpStream> = netns[0].inside(|| (0..20).map(|_| client(address)).collect());
    cables[1].pull();
    let pulled = Instant::now();
    let reset = all_are_reset(clients, pulled);
    assert!(reset <= NOTICED, "clients heard of it after {reset:?}");
    eventually(NOTICED.saturating_sub(pulled.elapsed()), "A has noticed", || !a.reaches("c"));
    let noticed = pulled.elapsed();
    is_refused_at_once(&a, address);
    eventually(SOON, "no stream is left at the endpoint", || c.dashboard()["agent"]["connections"] == 0);
    cables[1].put_back();
    let back =
        eventually(BACK, "clients are served again", || netns[0].inside(|| asks_and_hears(address, "hello", SOON)));
    eprintln!("a pulled cable: noticed after {noticed:?}, clients reset after {reset:?}, back after {back:?}");
}

/// Line 18: with a spare path there is no time without service but the one until the loss is noticed.
#[test]
fn a_spare_path_takes_over() {
    let mesh = Mesh::new();
    let echo = EchoService::start();
    let c = mesh.agent("c").publishes_port("e", echo.port()).start();
    let transits = ["one", "two"].map(|name| mesh.agent(name).dials(&c).start());
    let a = mesh.agent("a").dials(&transits[0]).dials(&transits[1]).listens("e", mesh.at(8080)).start();
    a.await_routes("e", 1);
    // Of two ways that cost the same the first to be there may not be the one that is taken.
    eventually(SOON, "both paths are there", || a.dashboard()["links"].as_array().unwrap().len() == 4);
    let way = a.json(&["probe", "e"])["path_display"][1].as_str().unwrap().to_owned();
    let used = transits.iter().find(|agent| agent.name() == way).unwrap();
    let _through_it = client(mesh.at(8080));
    assert_eq!(used.stat("transits"), 1);

    used.running().freeze();
    // The other way is tried after a second, long before the loss is noticed.
    let served = eventually(OTHER_WAY, "a new connection is served", || asks_and_hears(mesh.at(8080), "hello", SOON));
    assert!(served <= OTHER_WAY, "{served:?}");
    let noticed = served + eventually(NOTICED - served, "the loss is noticed", || !a.is_linked_to(&way));
    eprintln!("a spare path: a new connection after {served:?}, the loss noticed after {noticed:?}");
    eventually(AGREED, "dashboard and probe agree", || {
        a.json(&["probe", "e"])["path_ids"] == a.forward_routes("e")[0]["path_ids"]
    });
    all_are_served_at_once(|| asks_and_hears(mesh.at(8080), "hello", SOON));
}

/// Line 18: with `resume` a transfer survives the death of its transit, byte for byte.
#[test]
fn a_transfer_survives_its_transit() {
    let total = bulk_bytes(64 << 20, 1 << 30);
    let mesh = Mesh::new();
    let service = PatternService::start();
    let c = mesh.agent("c").with_setting("resume: true").publishes_port("p", service.port()).start();
    let mut transits = ["one", "two"].map(|name| mesh.agent(name).dials(&c).start());
    let a = mesh.agent("a").with_setting("resume: true").dials(&transits[0]).dials(&transits[1]);
    let a = a.listens("p", mesh.at(8080)).start();
    a.await_routes("p", 1);
    let address = mesh.at(8080);
    thread::scope(|scope| {
        let transfer = scope.spawn(move || exchange(address, 18, total));
        let started = Instant::now();
        let half = || transits.iter().position(|agent| agent.stat("transit_bytes") > total);
        let used = within(SOON * 10, "half of it has gone through", half);
        transits[used].kill();
        let killed = Instant::now();
        transfer.join().expect("every byte is there");
        let after = killed.elapsed();
        assert!(a.stat("resumed") >= 1, "it has gone on over another circuit");
        eprintln!("{total} bytes each way: transit killed after {:?}, whole {after:?} later", killed - started);
    });
    service.assert_no_failure();
}

/// Line 19.
#[test]
fn an_endpoint_three_hops_away_is_back_within_10_s() {
    let mesh = Mesh::new();
    let echo = EchoService::start();
    let mut exit = mesh.agent("exit").publishes_port("e", echo.port()).start();
    let south = mesh.agent("south").dials(&exit).start();
    let north = mesh.agent("north").dials(&south).start();
    let a = mesh.agent("a").dials(&north).listens("e", mesh.at(8080)).start();
    a.await_routes("e", 1);
    assert_eq!(a.json(&["probe", "e"])["hop_count"], 3);
    let old = vec![client(mesh.at(8080))];
    exit.kill();
    let killed = Instant::now();
    exit.start_again();
    eventually(NOTICED.saturating_sub(killed.elapsed()), "clients are served again", || {
        asks_and_hears(mesh.at(8080), "hello", SOON)
    });
    let served = killed.elapsed();
    let reset = all_are_reset(old, killed);
    assert!(reset <= NOTICED, "the old client heard of it after {reset:?}");
    eprintln!(
        "an endpoint was killed and started again, three hops away: served after {served:?}, old reset {reset:?}"
    );

    // The same agent leaves politely: everybody knows at once, and who was connected may finish.
    let mut old = client(mesh.at(8080));
    exit.ask_to_stop();
    let asked = Instant::now();
    eventually(AT_ONCE, "the endpoint is gone everywhere", || {
        let knows = |agent: &&MeshAgent| agent.forward_routes("e").iter().any(|route| route["exit_agent"] == "exit");
        ![&a, &north, &south].iter().any(knows)
    });
    eprintln!("an endpoint has left: gone everywhere after {:?}", asked.elapsed());
    old.write_all(b"y").unwrap();
    old.read_exact(&mut [0; 1]).expect("who was connected may finish");
    drop(old);
    assert_eq!(exit.await_end().code(), 0);
    is_refused_at_once(&a, mesh.at(8080));
}

/// How an agent can be gone.
enum Gone {
    Stopped,
    Killed,
    Frozen,
}

/// Line 20: visitors are on the endpoint that says “far”, and one of them at most has failed.
pub(crate) fn all_are_on_the_other_endpoint(since: Instant, visit: impl Fn() -> Option<String>) {
    let mut failed = 0;
    eventually(OTHER_WAY.saturating_sub(since.elapsed()), "clients are on the other endpoint", || {
        let visited = visit();
        failed += usize::from(visited.is_none());
        visited.as_deref() == Some("far")
    });
    let moved = since.elapsed();
    eprintln!("the nearer endpoint is gone: {failed} failed, on the other one after {moved:?}");
    assert!(failed <= 1 && moved <= OTHER_WAY, "{failed} attempts failed, on the other one after {moved:?}");
    for _ in 0..20 {
        assert_eq!(visit().as_deref(), Some("far"));
    }
}

/// The spare path serves, and nobody tries the dead one first.
pub(crate) fn all_are_served_at_once(is_served: impl Fn() -> bool) {
    for _ in 0..20 {
        let started = Instant::now();
        assert!(is_served(), "the spare path serves all");
        assert!(started.elapsed() < AT_ONCE, "at once: {:?}", started.elapsed());
    }
}

/// Line 20: of two endpoints the nearer one is gone; clients are on the other within 3 s, and one of them at most has
/// failed.
fn clients_move_to_the_other_endpoint(gone: &Gone) {
    let mesh = Mesh::new();
    let (near_page, far_page) = (HttpService::start("near"), HttpService::start("far"));
    let far = mesh.agent("far").publishes_port("w", far_page.port()).start();
    let between = mesh.agent("between").dials(&far).start();
    let mut near = mesh.agent("near").publishes_port("w", near_page.port()).start();
    let a = mesh.agent("a").dials(&near).dials(&between).listens("w", mesh.at(8080)).start();
    a.await_routes("w", 2);
    let visit = || http_get(mesh.at(8080), "web", "/", SOON).map(|answer| answer.body);
    assert_eq!(visit().as_deref(), Some("near"));
    let started = Instant::now();
    match gone {
        Gone::Stopped => near.ask_to_stop(),
        Gone::Killed => near.kill(),
        Gone::Frozen => near.running().freeze(),
    }
    all_are_on_the_other_endpoint(started, visit);
    if let Gone::Stopped = gone {
        assert_eq!(near.await_end().code(), 0);
    }
}

#[test]
fn clients_move_when_the_nearer_endpoint_is_stopped() {
    clients_move_to_the_other_endpoint(&Gone::Stopped);
}

#[test]
fn clients_move_when_the_nearer_endpoint_is_killed() {
    clients_move_to_the_other_endpoint(&Gone::Killed);
}

#[test]
fn clients_move_when_the_nearer_endpoint_is_frozen() {
    clients_move_to_the_other_endpoint(&Gone::Frozen);
}

/// Line 20: the same connection that the nearer target refuses succeeds at the other one; the nearer one is taken again
/// when it is back.
#[test]
fn a_target_that_refuses_costs_no_connection() {
    let mesh = Mesh::new();
    let (near_page, far_page) = (HttpService::start("near"), HttpService::start("far"));
    let port = near_page.port();
    let far = mesh.agent("far").publishes_port("w", far_page.port()).start();
    let near = mesh.agent("near").dials(&far).publishes_port("w", port).start();
    let a = mesh.agent("a").dials(&near).listens("w", mesh.at(8080)).start();
    a.await_routes("w", 2);
    let visit = || http_get(mesh.at(8080), "web", "/", SOON).map(|answer| answer.body);
    assert_eq!(visit().as_deref(), Some("near"));
    drop(near_page);
    for _ in 0..10 {
        assert_eq!(visit().as_deref(), Some("far"), "not one connection fails");
    }
    eventually(SOON, "the target is shown as down", || {
        a.forward_routes("w").iter().any(|route| route["exit_agent"] == "near" && route["state"] == "target_down")
    });
    let _near_page = HttpService::start_on(port, "near");
    let back = eventually(SOON, "the nearer target is taken again", || visit().as_deref() == Some("near"));
    eprintln!("a target that was down is taken again after {back:?}");
}

/// Far less than a link takes for death, and long enough for many datagrams.
const STANDSTILL: Duration = Duration::from_millis(400);

struct SetAtTheEnd<'a>(&'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How long a bad network is looked at.
struct Look {
    /// Of 20 s each.
    rounds: usize,
    /// After so many rounds nobody transfers for a while.
    rounds_to_a_rest: usize,
    rest: Duration,
    /// How much more memory the agents may have in each later third than in the first.
    growth: f64,
}

/// Line 24. The allocator gives back what was free for 10 s, and looks for it each 10 s.
const HALF_AN_HOUR: Look = Look { rounds: 90, rounds_to_a_rest: 6, rest: Duration::from_secs(25), growth: 0.05 };
/// Buffers and tables have hardly come to their size.
const A_MINUTE: Look = Look { rounds: 3, rounds_to_a_rest: 1, rest: Duration::from_secs(2), growth: 1.0 };

fn median(of: &[u64]) -> u64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Line 24: loss, delay, and a transit killed every 20 s; no byte is wrong, and memory does not grow.
/// `ADIT_E2E_LONG` makes it 30 minutes.
#[test]
fn a_bad_network_corrupts_nothing() {
    let Some(netns) = Netns::make().map(Arc::new) else { return };
    if require("nft").is_none() {
        return;
    }
    let look = if long_runs_wanted() { HALF_AN_HOUR } else { A_MINUTE };
    let mesh = Mesh::new();
    let service = netns.inside(PatternService::start);
    let exit = mesh.agent("exit").inside(&netns).listens_for_agents_at("127.0.0.1:4433");
    let exit = exit.publishes_port("p", service.port()).start();
    let way = netns.inside(|| SlowWay::to("127.0.0.1:4433".parse().unwrap(), Duration::from_millis(10)));
    let mut transits = [("one", 4434), ("two", 4435)].map(|(name, port)| {
        let agent = mesh.agent(name).inside(&netns).listens_for_agents_at(format!("127.0.0.1:{port}"));
        agent.dials_at(way.address()).start()
    });
    let ingress = mesh.agent("ingress").inside(&netns).listens_for_agents_at("127.0.0.1:4436");
    let ingress = ingress.dials(&transits[0]).dials(&transits[1]).listens("p", "127.0.0.1:8080").start();
    ingress.await_routes("p", 1);
    netns.lose_udp(2);
    let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let (is_over, whole, cut) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    // Transfers share it; who has it alone sees the agents at rest. What a load has left behind is seen then and not before: eight
    // transfers have more or less on their way, by more than what is allowed to grow.
    let road = RwLock::new(());
    let (ends, mut rests) = ([&ingress, &exit], [Vec::new(), Vec::new()]);
    thread::scope(|scope| {
        // Also where something is not as it should be: the scope waits for the clients.
        let _over = SetAtTheEnd(&is_over);
        for client in 0..8_u64 {
            let (is_over, whole, cut, road, netns) = (&is_over, &whole, &cut, &road, &netns);
            let visit = move || {
                let mut seed = client << 32;
                while !is_over.load(Ordering::SeqCst) {
                    let _among_others = road.read().unwrap_or_else(PoisonError::into_inner);
                    seed += 1;
                    let outcome = try_exchange(address, seed, 200_000 + (seed % 7) * 50_000);
                    (if outcome.is_ok() { whole } else { cut }).fetch_add(1, Ordering::SeqCst);
                }
            };
            scope.spawn(move || netns.inside(visit));
        }
        for round in 0..look.rounds {
            let (started, served) = (Instant::now(), whole.load(Ordering::SeqCst));
            let transit = &mut transits[round % 2];
            transit.kill();
            transit.start_again();
            for agent in ends {
                agent.running().freeze();
                remains(STANDSTILL, "agents live", || agent.running().descriptors() > 0);
                agent.running().thaw();
            }
            remains(Duration::from_secs(20).saturating_sub(started.elapsed()).max(SOON), "agents live", || {
                ends.iter().all(|agent| agent.running().descriptors() > 0)
            });
            let now = whole.load(Ordering::SeqCst);
            eprintln!("round {round}: {now} transfers whole");
            assert!(now > served, "clients are served in each round");
            if (round + 1) % look.rounds_to_a_rest != 0 {
                continue;
            }
            let _alone = road.write().unwrap_or_else(PoisonError::into_inner);
            let mut least = [u64::MAX; 2];
            remains(look.rest, "agents live", || {
                for (least, agent) in least.iter_mut().zip(ends) {
                    *least = (*least).min(agent.running().memory());
                }
                true
            });
            eprintln!("at rest: memory of ingress and exit {least:?}");
            rests.iter_mut().zip(least).for_each(|(rests, least)| rests.push(least));
        }
    });
    eprintln!("{} transfers were whole, {} were cut", whole.into_inner(), cut.into_inner());
    service.assert_no_difference();
    for rests in rests {
        // What lies scattered among free memory differs from rest to rest by some of a hundred; the middle one of several tells.
        let thirds: Vec<u64> = rests.chunks_exact(rests.len() / 3).map(median).collect();
        let most = thirds[0] as f64 * (1.0 + look.growth);
        assert!(thirds.iter().all(|third| *third as f64 <= most), "memory grows: {thirds:?} bytes, of {rests:?}");
    }
    for agent in [&ingress, &exit, &transits[0], &transits[1]] {
        assert_eq!(agent.stat("tampered"), 0, "at {}", agent.name());
    }
}
