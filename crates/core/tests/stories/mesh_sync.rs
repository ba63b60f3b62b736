//! What all agents of a mesh know of each other: that they come to know it, how soon, and at what price.

use std::collections::BTreeSet;
use std::time::Duration;

use adit_core::mesh::{Body, Endpoint, Kept, Keys, Kind, Message, Protocol, Record, RecordName, Services, Version};

use crate::mesh_keys::without_transit;
use crate::mesh_model::mistake;
use crate::mesh_net::{Dice, Pair, TestMesh, WIRE, Wire, drain, endpoint, millis, record_name, services};

/// What an agent that dies is noticed after.
const NOTICE: Duration = Duration::from_secs(8);

fn ring(agents: usize) -> Vec<Pair> {
    (0..agents).map(|agent| (agent, (agent + 1) % agents)).collect()
}

/// A tree with random links added until there are so many for each agent, on average.
fn random_links(agents: usize, degree: usize, dice: &mut Dice) -> Vec<Pair> {
    let mut links: BTreeSet<Pair> = (1..agents).map(|agent| (dice.below(agent), agent)).collect();
    while links.len() < agents * degree / 2 {
        let (one, other) = (dice.below(agents), dice.below(agents));
        if one != other {
            links.insert((one.min(other), one.max(other)));
        }
    }
    links.into_iter().collect()
}

#[test]
fn small_meshes_agree() {
    let line = (1..17).map(|agent| (agent - 1, agent)).collect();
    let star = (1..20).map(|agent| (0, agent)).collect();
    let diamond = vec![(0, 1), (0, 2), (1, 3), (2, 3)];
    for links in [line, star, diamond, ring(12), vec![(0, 1)]] {
        let agents = links.iter().map(|(one, other)| one.max(other) + 1).max().unwrap();
        let mut mesh = TestMesh::of(agents, &links);
        assert_eq!(mistake(&mut mesh), None);
    }
}

#[test]
fn a_hundred_agents_started_within_five_seconds_agree_after_ten() {
    let mut dice = Dice(22);
    let tree: Vec<Pair> = (1..100).map(|agent| ((agent - 1) / 3, agent)).collect();
    let mut shapes = vec![("tree", tree)];
    for (name, degree) in [("degree 3", 3), ("degree 4", 4), ("degree 5", 5)] {
        shapes.push((name, random_links(100, degree, &mut dice)));
    }
    for (name, links) in shapes {
        let mut mesh = TestMesh::new(100);
        for (one, other) in links {
            mesh.link(one, other, Wire { delay: dice.within(1..50), rate: 1_250_000, ..WIRE });
        }
        for agent in 0..100 {
            mesh.start_in(agent, dice.within(0..5_000));
        }
        let begin = mesh.now;
        mesh.run_for(Duration::from_secs(10));
        assert_eq!(mistake(&mut mesh), None, "{name}");
        assert!(mesh.last_news - begin < Duration::from_secs(8), "{name}: {:?}", mesh.last_news - begin);
        assert!(mesh.bytes <= 50_000_000, "{name}: {} bytes", mesh.bytes);
    }
}

#[test]
fn ten_thousand_keys_are_known_everywhere() {
    let mut dice = Dice(10_000);
    let mut mesh = TestMesh::new(50);
    for (one, other) in random_links(50, 3, &mut dice) {
        mesh.link(one, other, WIRE);
    }
    let name = |agent: usize, key: usize| format!("{agent:02}-{key:03}-{}", "k".repeat(93));
    for agent in 0..50 {
        // One has 300, and together there are 10,000.
        let keys: Vec<String> = (0..if agent == 0 { 300 } else { 198 }).map(|key| name(agent, key)).collect();
        mesh.agents[agent].services = services(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        mesh.start(agent);
    }
    mesh.run_for(Duration::from_secs(10));
    assert_eq!(mistake(&mut mesh), None);
    let ids: Vec<_> = mesh.agents.iter().map(|agent| agent.id).collect();
    let known: usize = ids.iter().map(|id| mesh.node(49).services(*id).endpoints.len()).sum();
    assert_eq!(known, 300 + 49 * 198);
    assert_eq!((name(0, 299).len(), mesh.reachable(49, &name(0, 299))), (100, 1));
    // A change of one agent's keys costs that one's record, not everybody's.
    let before = mesh.bytes;
    mesh.serve(0, services(&["one"]));
    mesh.run_for(Duration::from_secs(2));
    assert_eq!((mesh.reachable(49, "one"), mesh.reachable(49, &name(0, 299))), (1, 0));
    assert!(mesh.bytes - before < 50 * 1_000, "{} bytes", mesh.bytes - before);
}

#[test]
fn an_endpoint_that_is_removed_is_gone_within_a_second_over_five_hops() {
    let mut mesh = a_slow_line();
    assert_eq!(mesh.reachable(0, "key of 5"), 1);
    mesh.serve(5, Services::default());
    let gone = mesh.run_until(Duration::from_secs(1), |mesh| mesh.reachable(0, "key of 5") == 0);
    // Not before the news can have come: it takes 50 ms for each link.
    assert!(gone.is_some_and(|after| after >= millis(250)), "{gone:?}");
}

#[test]
fn an_agent_that_leaves_is_gone_within_a_second_over_five_hops() {
    let mut mesh = a_slow_line();
    mesh.leave(5);
    let gone = mesh.run_until(Duration::from_secs(1), |mesh| mesh.way(0, 5).is_none());
    assert!(gone.is_some_and(|after| after >= millis(250)), "{gone:?}");
    assert_eq!(mesh.node(0).endpoints(&"key of 5".parse().unwrap(), Protocol::Tcp), []);
    mesh.kill(5, millis(0));
    mesh.run_for(Duration::from_secs(1));
    mesh.start(5);
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(mesh.reachable(0, "key of 5"), 1, "and when it comes back, so do its endpoints");
}

#[test]
fn an_agent_that_dies_is_gone_as_soon_as_its_neighbour_says_so() {
    let mut mesh = a_slow_line();
    mesh.kill(5, NOTICE);
    mesh.run_for(NOTICE);
    assert!(mesh.way(0, 5).is_some(), "nobody can know yet");
    let gone = mesh.run_until(Duration::from_secs(1), |mesh| mesh.reachable(0, "key of 5") == 0);
    assert!(gone.is_some(), "what it published is still reached");
    assert_eq!((mesh.way(0, 5), mesh.way(0, 4)), (None, Some(vec![0, 1, 2, 3, 4])));
}

/// Six agents in a row, with 50 ms between them.
fn a_slow_line() -> TestMesh {
    let mut mesh = TestMesh::new(6);
    for agent in 1..6 {
        mesh.link(agent - 1, agent, Wire { delay: millis(50), ..WIRE });
    }
    (0..6).for_each(|agent| mesh.start(agent));
    mesh.run_for(Duration::from_secs(3));
    assert_eq!(mistake(&mut mesh), None);
    mesh
}

#[test]
fn who_does_not_read_costs_one_mark_for_each_record() {
    let mut mesh = TestMesh::of(4, &[(0, 1), (0, 2), (0, 3)]);
    mesh.stall(0, 3, true);
    for change in 0..500 {
        mesh.serve(1, services(&[&format!("change {change}")]));
        mesh.run_for(millis(600));
    }
    mesh.unlink(0, 2);
    mesh.run_for(Duration::from_secs(1));
    let reader = mesh.id(3);
    let waiting = drain(mesh.node(0), reader);
    let names: Vec<_> = waiting.iter().filter_map(record_name).collect();
    let name = |kind, agent: usize| RecordName { kind, origin: mesh.id(agent) };
    // Of 2 nothing new can have come: 0 has just lost its link to it.
    assert_eq!(names, [name(Kind::Links, 0), name(Kind::Services, 1)]);
    let newest = |message: &Message| match message {
        Message::Record(record) => match &record.body {
            Body::Services(services) => Some(services.endpoints.clone()),
            _ => None,
        },
        Message::Digest(_) => None,
    };
    let newest: Vec<Endpoint> = waiting.iter().find_map(newest).unwrap();
    assert_eq!(newest, [endpoint("change 499")]);
}

#[test]
fn a_link_that_comes_and_goes_is_told_of_twice_a_second_at_most() {
    let mut mesh = TestMesh::of(6, &ring(6));
    let (far, own) = (mesh.id(3), mesh.id(0));
    let before = mesh.node(3).claims(own).len();
    let (mut told, mut last) = (0, mesh.node(3).revision());
    for _ in 0..400 {
        mesh.unlink(0, 1);
        mesh.run_for(millis(5));
        mesh.link(0, 1, Wire { delay: millis(1), ..WIRE });
        mesh.run_for(millis(20));
        told += mesh.node(3).revision() - last;
        last = mesh.node(3).revision();
    }
    // Ten seconds of it, two ends that tell.
    assert!((20..=44).contains(&told), "{told} changes reached {far}");
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.node(3).claims(own).len(), before);
    assert_eq!(mistake(&mut mesh), None);
}

#[test]
fn two_halves_that_meet_again_tell_each_other_what_has_changed() {
    let mut mesh = TestMesh::line(6);
    mesh.unlink(2, 3);
    mesh.serve(0, services(&["of the left"]));
    mesh.serve(5, services(&["of the right"]));
    mesh.run_for(Duration::from_secs(2));
    assert_eq!((mesh.reachable(0, "of the right"), mesh.reachable(5, "of the left")), (0, 0));
    let before = mesh.frames;
    mesh.link(2, 3, WIRE);
    mesh.run_for(Duration::from_secs(2));
    assert_eq!((mesh.reachable(0, "of the right"), mesh.reachable(5, "of the left")), (1, 1));
    assert_eq!(mistake(&mut mesh), None);
    // Hello, Welcome and digests; then the links of 2 and 3, told twice each, and two services, each over five links at
    // most.
    assert!(mesh.frames - before <= 6 + 6 * 5, "{} frames", mesh.frames - before);
}

#[test]
fn minutes_of_trouble_are_over_when_they_are_over() {
    trouble_is_over_when_it_is_over(28, Duration::from_secs(240));
}

#[test]
fn trouble_among_a_hundred_is_over_when_it_is_over() {
    trouble_is_over_when_it_is_over(100, Duration::from_secs(30));
}

fn trouble_is_over_when_it_is_over(agents: usize, lasts: Duration) {
    let mut dice = Dice(24);
    let mut mesh = TestMesh::new(agents - 4);
    for _ in 0..4 {
        mesh.add(without_transit());
    }
    let links = random_links(agents, 4, &mut dice);
    for (one, other) in &links {
        mesh.link(*one, *other, Wire { delay: dice.within(1..80), rate: 1_250_000, ..WIRE });
    }
    (0..agents).for_each(|agent| mesh.start(agent));
    mesh.run_for(Duration::from_secs(3));
    assert_eq!(mistake(&mut mesh), None);

    let (begin, mut busiest) = (mesh.now, 0);
    while mesh.now - begin < lasts {
        let frames = mesh.frames;
        let second = mesh.now + Duration::from_secs(1);
        while mesh.now < second {
            let pause = dice.within(20..400).min(second - mesh.now);
            let (one, other) = links[dice.below(links.len())];
            trouble(&mut mesh, one, other, &mut dice);
            mesh.run_for(pause);
        }
        busiest = busiest.max(mesh.frames - frames);
    }
    // Each agent tells of its links and of its services twice a second at most, and no news takes a link more than
    // twice. Here a few agents change at a time, so a quarter of that is plenty.
    let most = agents as u64 * 4 * 2 * links.len() as u64 / 4;
    assert!(busiest < most, "{busiest} frames in a second, and not {most}");

    links.iter().for_each(|(one, other)| mesh.link(*one, *other, WIRE));
    for agent in 0..agents {
        if mesh.agents[agent].node.is_none() {
            mesh.start(agent);
        }
    }
    let bytes = mesh.bytes;
    mesh.run_for(NOTICE + Duration::from_secs(2));
    assert_eq!(mistake(&mut mesh), None);
    // Each agent tells of itself, of its services, and of its links as they come, and no news of 300 bytes takes a link
    // more than twice.
    let everything = agents as u64 * (2 + 4) * 2 * links.len() as u64 * 300;
    assert!(mesh.bytes - bytes < everything, "{} bytes to settle", mesh.bytes - bytes);
    let bytes = mesh.bytes;
    mesh.run_for(Duration::from_secs(600));
    assert_eq!(mesh.bytes, bytes, "somebody never comes to rest");
    assert_eq!(mesh.records(0).len(), 3 * agents, "three of each agent, however often they changed");
}

/// Something happens to one of two agents, or between them.
fn trouble(mesh: &mut TestMesh, one: usize, other: usize, dice: &mut Dice) {
    match dice.below(8) {
        0 | 1 if mesh.is_wanted(one, other) => mesh.unlink(one, other),
        0..=2 => mesh.link(one, other, Wire { delay: dice.within(1..80), rate: 1_250_000, ..WIRE }),
        3 | 4 if mesh.agents[one].node.is_some() => mesh.kill(one, dice.within(0..8_000)),
        3..=5 if mesh.agents[one].node.is_none() => {
            if dice.below(3) == 0 {
                mesh.agents[one].kept = Kept::default();
            }
            mesh.start(one);
        }
        _ => mesh.serve(one, services(&["a", "b", "c"][..dice.below(4)])),
    }
}

#[test]
fn news_is_not_told_to_who_brought_it() {
    let mut mesh = TestMesh::line(4);
    let before = mesh.frames;
    mesh.serve(0, services(&["new"]));
    mesh.run_for(Duration::from_secs(2));
    assert_eq!((mesh.reachable(3, "new"), mesh.frames - before), (1, 3), "once over each link");
}

#[test]
fn who_brings_old_news_is_told_the_newer() {
    let mut mesh = TestMesh::line(3);
    let (origin, keys, version) = (mesh.id(2), mesh.agents[2].keys, Version { epoch: 1, sequence: 1 });
    let old = Body::Services(services(&["old"]));
    let old = Record::create(mesh.trusted_root().mesh(), origin, version, old, |message| keys.sign(message));
    let before = mesh.frames;
    assert_eq!(mesh.hand(1, Some(0), &old), Ok(false));
    assert_eq!(mesh.frames - before, 1, "the newer one");
}

#[test]
fn a_link_that_is_replaced_by_a_much_slower_one_is_told_of() {
    let mut mesh = TestMesh::line(3);
    let rtt = |mesh: &mut TestMesh| {
        let (from, to) = (mesh.id(0), mesh.id(1));
        mesh.node(2).claims(from).iter().find(|claim| claim.peer == to).unwrap().rtt_ms
    };
    assert_eq!(rtt(&mut mesh), 20);
    let before = mesh.node(2).revision();
    mesh.link(0, 1, Wire { delay: millis(20), ..WIRE });
    mesh.run_for(Duration::from_secs(1));
    assert_eq!((rtt(&mut mesh), mesh.node(2).revision()), (20, before), "of the same order");
    mesh.link(0, 1, Wire { delay: millis(300), ..WIRE });
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(rtt(&mut mesh), 600);
}

#[test]
fn a_link_whose_pace_goes_up_and_down_is_told_of_now_and_then() {
    let mut mesh = TestMesh::line(3);
    mesh.run_for(Duration::from_secs(10));
    let before = mesh.node(2).revision();
    let told = |mesh: &mut TestMesh, rtt| {
        measure(mesh, 0, 1, rtt);
        mesh.run_for(Duration::from_secs(1));
        heard(mesh, 2, 0)
    };
    assert_eq!(told(&mut mesh, millis(600)), [600], "the first one after a quiet time at once");
    for second in 1..60 {
        told(&mut mesh, if second % 2 == 0 { millis(600) } else { millis(20) });
    }
    let times = mesh.node(2).revision() - before;
    assert!((9..=13).contains(&times), "told {times} times in a minute");
    mesh.run_for(Duration::from_secs(5));
    assert_eq!(told(&mut mesh, millis(600)), [600]);
}

/// How long messages take over the links of one agent, as another agent has heard.
fn heard(mesh: &mut TestMesh, by: usize, of: usize) -> Vec<u16> {
    let of = mesh.id(of);
    mesh.node(by).claims(of).iter().map(|claim| claim.rtt_ms).collect()
}

fn measure(mesh: &mut TestMesh, at: usize, peer: usize, rtt: Duration) {
    let (now, peer) = (mesh.now, mesh.id(peer));
    mesh.node(at).handle_rtt(peer, rtt, now);
    mesh.follow(at);
}

#[test]
fn all_links_that_have_become_slow_are_told_of_together() {
    let mut mesh = TestMesh::of(5, &[(0, 1), (1, 2), (1, 3), (1, 4)]);
    mesh.run_for(Duration::from_secs(10));
    measure(&mut mesh, 1, 0, millis(600));
    mesh.run_for(Duration::from_secs(1));
    let before = mesh.node(2).revision();
    for peer in [2, 3, 4] {
        measure(&mut mesh, 1, peer, millis(600));
        mesh.run_for(Duration::from_secs(1));
    }
    mesh.run_for(Duration::from_secs(3));
    assert_eq!((heard(&mut mesh, 2, 1), mesh.node(2).revision() - before), (vec![600; 4], 1));
}

#[test]
fn a_link_that_goes_does_not_wait_for_those_that_are_slow() {
    let mut mesh = TestMesh::line(3);
    mesh.run_for(Duration::from_secs(10));
    let before = mesh.node(2).revision();
    measure(&mut mesh, 1, 0, millis(600));
    mesh.run_for(Duration::from_secs(1));
    measure(&mut mesh, 1, 2, millis(600));
    mesh.unlink(0, 1);
    mesh.run_for(millis(200));
    assert_eq!((heard(&mut mesh, 2, 1), mesh.node(2).revision() - before), (vec![600], 2), "with its new time");
    mesh.run_for(Duration::from_secs(30));
    assert_eq!(mesh.node(2).revision() - before, 2, "nothing is left to tell");
}

#[test]
fn what_is_told_of_a_link_is_true_when_it_is_told() {
    let mut mesh = TestMesh::line(3);
    mesh.run_for(Duration::from_secs(10));
    measure(&mut mesh, 0, 1, millis(100));
    mesh.run_for(Duration::from_secs(1));
    let before = mesh.node(2).revision();
    measure(&mut mesh, 0, 1, millis(450));
    mesh.run_for(Duration::from_secs(1));
    measure(&mut mesh, 0, 1, millis(120));
    mesh.run_for(Duration::from_secs(10));
    assert_eq!((heard(&mut mesh, 2, 0), mesh.node(2).revision() - before), (vec![100], 0), "a moment is no news");
    measure(&mut mesh, 0, 1, millis(450));
    mesh.run_for(Duration::from_secs(1));
    measure(&mut mesh, 0, 1, millis(15));
    measure(&mut mesh, 0, 1, millis(14));
    mesh.run_for(Duration::from_secs(10));
    assert_eq!((heard(&mut mesh, 2, 0), mesh.node(2).revision() - before), (vec![14], 2));
}

#[test]
fn who_changes_all_the_time_makes_work_for_its_neighbours_alone() {
    let mut mesh = TestMesh::line(4);
    let (origin, keys) = (mesh.id(0), mesh.agents[0].keys);
    let root = mesh.trusted_root().mesh();
    let mut version = Version { epoch: u64::MAX, sequence: 0 };
    let mut say = |mesh: &mut TestMesh, key: &str| {
        version.sequence += 1;
        let record =
            Record::create(root, origin, version, Body::Services(services(&[key])), |message| keys.sign(message));
        assert_eq!(mesh.hand(1, Some(0), &record), Ok(true));
    };
    let before = mesh.bytes;
    for number in 0..5_000 {
        say(&mut mesh, &format!("key {number}"));
        mesh.run_for(millis(2));
    }
    let told = mesh.bytes - before;
    // Ten seconds, four times each, and some ahead; over the two links behind the neighbour.
    assert!(told < 2 * 50 * 300, "{told} bytes");
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.reachable(3, "key 4999"), 1, "the newest came through");
    mesh.run_for(Duration::from_secs(5));
    say(&mut mesh, "calm");
    let told = mesh.run_until(Duration::from_secs(1), |mesh| mesh.reachable(3, "calm") == 1);
    assert!(told.is_some_and(|after| after < millis(100)), "who has calmed down is heard at once: {told:?}");
}
