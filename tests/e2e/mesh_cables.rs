//! What a mesh makes of a pulled cable where there is another way (`spec/mesh.md`, lines 6, 18 and 20): each agent is a machine of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use adit_e2e::{Cable, EchoService, HttpService, Mesh, Netns, ServiceAddress, asks_and_hears, eventually, http_get};

use crate::SOON;
use crate::mesh_failures::{AGREED, NOTICED, OTHER_WAY, all_are_on_the_other_endpoint, all_are_served_at_once};

/// Where clients connect, on the first machine.
const LISTENER: &str = "127.0.0.1:8080";

/// Namespaces, and a cable for each pair of them: `10.79.N.1` and `10.79.N.2` are the ends of the Nth.
fn machines<const COUNT: usize>(pairs: &[(usize, usize)]) -> Option<([Arc<Netns>; COUNT], Vec<Cable>)> {
    let netns: Vec<Arc<Netns>> = (0..COUNT).map_while(|_| Netns::make().map(Arc::new)).collect();
    let netns: [Arc<Netns>; COUNT] = netns.try_into().ok()?;
    let join = |(number, (one, other)): (usize, &(usize, usize))| {
        netns[*one].join(&format!("10.79.{number}.1"), &netns[*other], &format!("10.79.{number}.2"))
    };
    let cables = pairs.iter().enumerate().map(join).collect();
    Some((netns, cables))
}

/// Lines 18 and 6: the cable is pulled behind the transit, which lives.
#[test]
fn a_spare_path_takes_over_from_a_pulled_cable() {
    // A, the two transits, and C.
    let Some((netns, cables)) = machines::<4>(&[(0, 1), (0, 2), (1, 3), (2, 3)]) else { return };
    let mesh = Mesh::new();
    let echo = netns[3].inside(EchoService::start);
    let _c = mesh.agent("c").inside(&netns[3]).publishes_port("e", echo.port()).start();
    let _transits = [("one", 1, "10.79.2.2:4433"), ("two", 2, "10.79.3.2:4433")]
        .map(|(name, machine, c): (_, usize, _)| mesh.agent(name).inside(&netns[machine]).dials_at(c).start());
    let a = mesh.agent("a").inside(&netns[0]).dials_at("10.79.0.2:4433").dials_at("10.79.1.2:4433");
    let a = a.listens("e", LISTENER).start();
    a.await_routes("e", 1);
    let links = || a.dashboard()["links"].as_array().unwrap().len();
    let shown = || a.forward_routes("e")[0]["path_display"].take();
    let probed = || a.json(&["probe", "e"])["path_display"].take();
    let address: SocketAddr = LISTENER.parse().unwrap();
    let is_served = || netns[0].inside(|| asks_and_hears(address, "hello", SOON));
    eventually(SOON, "both paths are there", || links() == 4);

    let before = probed();
    let to_c = &cables[if before[1] == "one" { 2 } else { 3 }];
    to_c.pull();
    let (served, noticed) = thread::scope(|scope| {
        let noticing = scope.spawn(|| eventually(NOTICED, "the loss is noticed", || links() < 4));
        let served = eventually(NOTICED, "a new connection is served", is_served);
        (served, noticing.join().unwrap())
    });
    eprintln!("a cable behind a transit was pulled: a new connection after {served:?}, noticed after {noticed:?}");
    assert!(served <= NOTICED.min(noticed + OTHER_WAY), "served after {served:?}, noticed after {noticed:?}");
    all_are_served_at_once(is_served);
    assert_ne!(probed(), before, "the path is another one");

    to_c.put_back();
    // Before the link is there again they agree on the spare path.
    let agreed = eventually(AGREED, "dashboard and probe agree where both paths are there", || {
        links() == 4 && shown() == probed()
    });
    eprintln!("the cable was put back: dashboard and probe agree after {agreed:?}");
}

/// Line 20: the nearer of two endpoints has lost its cable; it answers nobody, and nobody is told so.
#[test]
fn clients_move_when_the_nearer_endpoint_has_lost_its_cable() {
    // A, the nearer endpoint, the transit, and the farther endpoint.
    let Some((netns, cables)) = machines::<4>(&[(0, 1), (0, 2), (2, 3)]) else { return };
    let mesh = Mesh::new();
    let [near_page, far_page] =
        [(1, "near"), (3, "far")].map(|(machine, body): (usize, _)| netns[machine].inside(|| HttpService::start(body)));
    let _far = mesh.agent("far").inside(&netns[3]).publishes_port("w", far_page.port()).start();
    let _between = mesh.agent("between").inside(&netns[2]).dials_at("10.79.2.2:4433").start();
    let _near = mesh.agent("near").inside(&netns[1]).publishes_port("w", near_page.port()).start();
    let a = mesh.agent("a").inside(&netns[0]).dials_at("10.79.0.2:4433").dials_at("10.79.1.2:4433");
    let a = a.listens("w", LISTENER).start();
    a.await_routes("w", 2);
    let address: SocketAddr = LISTENER.parse().unwrap();
    let visit = || netns[0].inside(|| http_get(address, "web", "/", SOON)).map(|answer| answer.body);
    assert_eq!(visit().as_deref(), Some("near"));

    let pulled = Instant::now();
    cables[0].pull();
    all_are_on_the_other_endpoint(pulled, visit);
}
