//! Where a connection goes: the best endpoint on the shortest way, and another when that failed.

use std::time::Duration;

use adit_core::mesh::{
    Endpoint, Experience, Failed, MAX_TRIES, NoRoute, Plan, Protocol, Rights, Services, TRY_TIME, Tries,
};

use crate::mesh_keys::all_rights;
use crate::mesh_net::{Dice, Pair, TestMesh, WIRE, Wire, endpoint, millis, routing_key, services};

/// Agent 0 with a listener, in a mesh where the story says who publishes `web`.
struct Client {
    mesh: TestMesh,
    experience: Experience,
    dice: Dice,
}

impl Client {
    fn new(agents: usize, links: &[Pair], web: &[usize]) -> Client {
        let mut mesh = TestMesh::of(agents, links);
        web.iter().for_each(|agent| mesh.serve(*agent, services(&["web"])));
        mesh.run_for(Duration::from_secs(2));
        Client { mesh, experience: Experience::default(), dice: Dice(1) }
    }

    /// An agent publishes `web` like this from now on.
    fn publish(&mut self, agent: usize, priority: u8, is_up: bool) {
        let endpoints = vec![Endpoint { priority, is_up, ..endpoint("web") }];
        self.mesh.serve(agent, Services { endpoints, listeners: vec![] });
        self.mesh.run_for(Duration::from_secs(2));
    }

    fn tries(&self) -> Tries {
        Tries::new(self.mesh.now)
    }

    fn plan(&mut self, tries: &mut Tries) -> Result<Plan, NoRoute> {
        let (now, random) = (self.mesh.now, self.dice.roll());
        self.experience.next_try(self.mesh.node(0), (&routing_key("web"), Protocol::Tcp), tries, random, now)
    }

    /// The way of the next try.
    fn next(&mut self, tries: &mut Tries) -> Result<Vec<usize>, NoRoute> {
        let plan = self.plan(tries)?;
        let path: Vec<usize> = plan.path.iter().map(|id| self.mesh.number(*id)).collect();
        assert_eq!(path.last(), Some(&self.mesh.number(plan.exit)));
        // People are shown the way that is taken.
        let now = self.mesh.now;
        let shown = self.experience.routes(self.mesh.node(0), now).to(plan.exit).unwrap();
        assert_eq!(shown.path, plan.path);
        assert!(shown.cost <= u32::from(u16::MAX) * 16, "a way costs what its links do: {}", shown.cost);
        assert_eq!(plan.session_key, self.mesh.agents[path[path.len() - 1]].certificate.session_key);
        Ok(path)
    }

    /// The way that a new connection tries first.
    fn first(&mut self) -> Result<Vec<usize>, NoRoute> {
        let mut tries = self.tries();
        self.next(&mut tries)
    }

    fn failed(&mut self, tries: &mut Tries, failed: Failed) {
        self.experience.handle_failed(tries, failed, self.mesh.now);
    }

    fn answered(&mut self, path: &[usize]) {
        let path: Vec<_> = path.iter().map(|agent| self.mesh.id(*agent)).collect();
        self.experience.handle_answered(&path);
    }
}

const DIAMOND: [Pair; 4] = [(0, 1), (0, 2), (1, 3), (2, 3)];

#[test]
fn the_lower_priority_number_is_taken_however_far() {
    let mut client = Client::new(4, &[(0, 1), (1, 2), (2, 3)], &[]);
    client.publish(1, 10, true);
    client.publish(3, 5, true);
    assert_eq!(client.first(), Ok(vec![0, 1, 2, 3]));
}

#[test]
fn a_target_that_is_down_comes_last() {
    let mut client = Client::new(4, &[(0, 1), (1, 2), (2, 3)], &[]);
    client.publish(1, 0, false);
    client.publish(3, 5, true);
    assert_eq!(client.first(), Ok(vec![0, 1, 2, 3]));
    client.publish(3, 5, false);
    assert_eq!(client.first(), Ok(vec![0, 1]), "and is taken when there is no other");
}

#[test]
fn the_cheapest_way_is_taken() {
    let mut client = Client::new(3, &[(0, 1)], &[1, 2]);
    client.mesh.link(0, 2, Wire { cost: 9, ..WIRE });
    client.mesh.run_for(Duration::from_secs(1));
    assert_eq!(client.first(), Ok(vec![0, 2]));
}

#[test]
fn an_endpoint_of_ones_own_is_nearest() {
    let mut client = Client::new(2, &[(0, 1)], &[0, 1]);
    assert_eq!(client.first(), Ok(vec![0]));
}

#[test]
fn equals_share_the_load() {
    let exits = [1, 2, 3, 4];
    let mut client = Client::new(5, &exits.map(|exit| (0, exit)), &exits);
    let mut loads = [0_usize; 5];
    let mut open = Vec::new();
    for _ in 0..4_000 {
        let exit = client.first().unwrap()[1];
        client.experience.handle_opened(client.mesh.id(exit));
        loads[exit] += 1;
        open.push(exit);
        // About 200 are open at once, and end in any order.
        if open.len() > 200 {
            let gone = open.swap_remove(client.dice.below(open.len()));
            client.experience.handle_closed(client.mesh.id(gone));
            loads[gone] -= 1;
        }
    }
    // One draw alone would leave 50 give or take 6 at each, and so a spread of more than 20 at some time.
    let (least, most) = (loads[1..].iter().min().unwrap(), loads[1..].iter().max().unwrap());
    assert!(most - least <= 8, "{loads:?}");
    // Whoever has ended all it had is taken for what comes next.
    open.retain(|exit| *exit != 1);
    (0..loads[1]).for_each(|_| client.experience.handle_closed(client.mesh.id(1)));
    let next: Vec<usize> = (0..20).map(|_| client.first().unwrap()[1]).collect();
    assert!(next.iter().filter(|exit| **exit == 1).count() >= 5, "{next:?}");
}

#[test]
fn an_agent_with_two_targets_counts_once() {
    let mut client = Client::new(3, &[(0, 1), (0, 2)], &[2]);
    let targets = ["a:80", "b:80"].map(|target| Endpoint { target: target.to_owned(), ..endpoint("web") });
    client.mesh.serve(1, Services { endpoints: targets.to_vec(), listeners: vec![] });
    client.mesh.run_for(Duration::from_secs(2));
    assert_eq!(client.mesh.reachable(0, "web"), 3);
    let taken = (0..600).filter(|_| client.first() == Ok(vec![0, 1])).count();
    // A half, and not two thirds.
    assert!((250..350).contains(&taken), "{taken} of 600");
}

#[test]
fn there_are_three_tries_and_each_goes_elsewhere() {
    let exits = [1, 2, 3, 4, 5];
    let mut client = Client::new(6, &exits.map(|exit| (0, exit)), &exits);
    let mut tries = client.tries();
    let mut ways = Vec::new();
    for _ in 0..MAX_TRIES {
        ways.push(client.next(&mut tries).unwrap());
        client.failed(&mut tries, Failed::Target);
    }
    assert_eq!((client.next(&mut tries), tries.count()), (Err(NoRoute::Exhausted), 3));
    ways.sort();
    ways.dedup();
    assert_eq!(ways.len(), 3);
}

#[test]
fn after_five_seconds_nothing_is_tried_any_more() {
    let mut client = Client::new(3, &[(0, 1), (0, 2)], &[1, 2]);
    let mut tries = client.tries();
    client.mesh.run_for(TRY_TIME - millis(300));
    let plan = client.plan(&mut tries).unwrap();
    assert_eq!(plan.patience, millis(300), "what is left");
    client.failed(&mut tries, Failed::Silent);
    client.mesh.run_for(millis(300));
    assert_eq!(client.next(&mut tries), Err(NoRoute::Exhausted));
}

#[test]
fn patience_grows_with_the_way() {
    let mut client = Client::new(4, &[(0, 3)], &[2]);
    client.mesh.link(0, 1, Wire { delay: millis(5), ..WIRE });
    client.mesh.link(1, 2, Wire { delay: millis(150), ..WIRE });
    client.mesh.run_for(Duration::from_secs(3));
    let mut tries = client.tries();
    assert_eq!(client.plan(&mut tries).unwrap().patience, millis(900 + 2 * (10 + 300)));
}

#[test]
fn who_has_one_way_alone_waits_for_it() {
    let mut client = Client::new(3, &[(0, 1), (1, 2)], &[2]);
    let mut tries = client.tries();
    assert_eq!(client.plan(&mut tries).unwrap().patience, Duration::from_secs(4));
}

#[test]
fn a_target_that_fails_sends_the_connection_to_another_agent() {
    let mut client = Client::new(4, &DIAMOND, &[1, 3]);
    let mut tries = client.tries();
    assert_eq!(client.next(&mut tries), Ok(vec![0, 1]));
    client.failed(&mut tries, Failed::Target);
    // The way to 1 is not to blame, so the one to 3 may be either.
    assert_eq!(client.next(&mut tries).map(|path| path.len()), Ok(3));
    client.failed(&mut tries, Failed::Target);
    assert_eq!(client.next(&mut tries), Err(NoRoute::Exhausted));
    assert_eq!(client.first(), Ok(vec![0, 1]), "others judge for themselves");
}

#[test]
fn a_target_that_failed_is_not_asked_again_on_another_way() {
    let mut client = Client::new(4, &DIAMOND, &[3]);
    let (mut tries, mut others) = (client.tries(), client.tries());
    let way = client.next(&mut tries).unwrap();
    assert_eq!(client.next(&mut others), Ok(way.clone()));
    client.failed(&mut tries, Failed::Target);
    client.failed(&mut others, Failed::Silent);
    assert_ne!(client.next(&mut others).unwrap(), way, "the other way is there");
    assert_eq!(client.next(&mut tries), Err(NoRoute::Exhausted));
}

#[test]
fn a_silent_way_is_left_for_another_to_the_same_agent() {
    let mut client = Client::new(4, &DIAMOND, &[3]);
    let mut tries = client.tries();
    let first = client.next(&mut tries).unwrap();
    client.failed(&mut tries, Failed::Silent);
    let second = client.next(&mut tries).unwrap();
    assert!(first != second && second.len() == 3, "{first:?}, {second:?}");
    client.failed(&mut tries, Failed::Silent);
    assert_eq!(client.next(&mut tries), Err(NoRoute::Exhausted), "both were tried");
}

#[test]
fn a_silent_endpoint_is_left_for_another() {
    let mut client = Client::new(3, &[(0, 1), (0, 2)], &[1, 2]);
    let mut tries = client.tries();
    let first = client.next(&mut tries).unwrap();
    client.failed(&mut tries, Failed::Silent);
    let second = client.next(&mut tries).unwrap();
    assert_ne!(first, second);
    // Whoever comes next need not find out again.
    for _ in 0..10 {
        assert_eq!(client.first(), Ok(second.clone()));
    }
}

#[test]
fn a_suspect_is_avoided_by_all_for_a_while() {
    let mut client = Client::new(4, &DIAMOND, &[3]);
    let mut tries = client.tries();
    let way = client.next(&mut tries).unwrap();
    client.failed(&mut tries, Failed::Silent);
    assert_ne!(client.first().unwrap(), way);
    client.mesh.run_for(Duration::from_secs(11));
    assert_ne!(client.first().unwrap(), way);
    client.mesh.run_for(Duration::from_secs(1));
    assert_eq!(client.first(), Ok(way), "twelve seconds are over");
}

#[test]
fn a_suspect_that_answers_is_none() {
    let mut client = Client::new(4, &DIAMOND, &[3]);
    let mut tries = client.tries();
    let way = client.next(&mut tries).unwrap();
    client.failed(&mut tries, Failed::Silent);
    assert_ne!(client.first().unwrap(), way);
    client.answered(&way);
    assert_eq!(client.first(), Ok(way));
}

#[test]
fn a_suspect_is_taken_by_who_has_no_other_way() {
    let mut client = Client::new(3, &[(0, 1), (1, 2)], &[2]);
    let mut tries = client.tries();
    assert_eq!(client.next(&mut tries), Ok(vec![0, 1, 2]));
    client.failed(&mut tries, Failed::Silent);
    assert_eq!(client.next(&mut tries), Err(NoRoute::Exhausted), "not by who has just tried it");
    assert_eq!(client.first(), Ok(vec![0, 1, 2]));
}

#[test]
fn who_says_that_it_cannot_go_on_leaves_the_links_before_it_unsuspected() {
    let mut client = Client::new(4, &DIAMOND, &[3]);
    let mut tries = client.tries();
    let way = client.next(&mut tries).unwrap();
    let (between, other) = (way[1], 3 - way[1]);
    client.failed(&mut tries, Failed::NoWayBehind(client.mesh.id(between)));
    assert_eq!(client.next(&mut tries), Ok(vec![0, other, 3]));
    client.publish(3, 1, true);
    client.publish(between, 0, true);
    assert_eq!(client.first(), Ok(vec![0, between]), "its own link is good");
}

#[test]
fn who_speaks_in_a_strangers_name_blames_the_whole_way() {
    let mut client = Client::new(4, &DIAMOND, &[3]);
    for stranger in [client.mesh.id(3), adit_core::mesh::AgentId([9; 16])] {
        let mut tries = client.tries();
        let first = client.next(&mut tries).unwrap();
        client.failed(&mut tries, Failed::NoWayBehind(stranger));
        let second = client.next(&mut tries).unwrap();
        assert_ne!(first, second, "the other way is there");
        client.answered(&second);
        assert_eq!(client.first(), Ok(second), "and is everybody's first");
        client.mesh.run_for(Duration::from_secs(13));
    }
}

#[test]
fn a_refusal_in_the_endpoints_name_is_believed_once_two_ways_bring_it() {
    let mut client = Client::new(5, &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 4)], &[3]);
    let mut tries = client.tries();
    let first = client.next(&mut tries).unwrap();
    client.failed(&mut tries, Failed::ExitRefused);
    let second = client.next(&mut tries).unwrap();
    assert!(first != second && second.len() == 3, "one between may have said it: {first:?}, {second:?}");
    client.failed(&mut tries, Failed::ExitRefused);
    assert_eq!(client.next(&mut tries), Err(NoRoute::Exhausted));
    // Over a link of one's own nobody else can have said it.
    client.mesh.run_for(Duration::from_secs(13));
    client.publish(4, 0, true);
    client.publish(3, 1, true);
    let mut tries = client.tries();
    assert_eq!(client.next(&mut tries), Ok(vec![0, 4]));
    client.failed(&mut tries, Failed::ExitRefused);
    assert_eq!(client.next(&mut tries).unwrap().last(), Some(&3));
    assert_eq!(client.first(), Ok(vec![0, 4]), "the link is not to blame");
}

#[test]
fn who_claims_to_be_slow_leaves_time_for_another_way() {
    let mut client = Client::new(4, &[(0, 1), (0, 2), (1, 3)], &[3]);
    client.mesh.link(2, 3, Wire { delay: Duration::from_secs(30), cost: 1, ..WIRE });
    client.mesh.link(0, 2, Wire { cost: 1, ..WIRE });
    client.mesh.run_for(Duration::from_secs(70));
    let mut tries = client.tries();
    let plan = client.plan(&mut tries).unwrap();
    assert!(plan.patience <= TRY_TIME / 2, "{plan:?}");
}

#[test]
fn there_is_a_reason_when_there_is_no_way() {
    let mut client = Client::new(4, &[(0, 1), (1, 2), (2, 3)], &[]);
    assert_eq!(client.first(), Err(NoRoute::NoEndpoint));
    client.publish(3, 0, true);
    client.mesh.unlink(1, 2);
    client.mesh.run_for(Duration::from_secs(1));
    assert_eq!(client.first(), Err(NoRoute::Unreachable));
    client.mesh.link(1, 2, WIRE);
    client.mesh.run_for(Duration::from_secs(1));
    assert_eq!(client.first(), Ok(vec![0, 1, 2, 3]));

    let mut mesh = TestMesh::new(0);
    let modest = mesh.add(Rights { listen: vec!["mail".parse().unwrap()], ..all_rights() });
    mesh.agents[modest].services = services(&["web"]);
    mesh.start(modest);
    let mut client = Client { mesh, experience: Experience::default(), dice: Dice(1) };
    assert_eq!(client.first(), Err(NoRoute::NoRight), "however near the endpoint is");
}
