//! What every agent of a mesh should know, found the slow way from the links as they are; and random lives of a mesh,
//! after which its agents must know just that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use adit_core::mesh::{AgentId, Graph, MAX_HOPS};
use proptest::prelude::*;

use crate::mesh_keys::without_transit;
use crate::mesh_net::{TestMesh, WIRE, Wire, millis, services};

/// The mesh as it is: who is there, and what each link costs.
pub(crate) struct Truth {
    agents: Vec<bool>,
    may_transit: Vec<bool>,
    links: BTreeMap<(usize, usize), u32>,
}

impl Truth {
    pub(crate) fn of(mesh: &TestMesh) -> Truth {
        let both = |((one, other), cost): ((usize, usize), u16)| [((one, other), cost), ((other, one), cost)];
        let links = mesh.true_links().into_iter().flat_map(both).map(|(pair, cost)| (pair, u32::from(cost)));
        Truth {
            agents: mesh.agents.iter().map(|agent| agent.node.is_some() && !agent.is_leaving).collect(),
            may_transit: mesh.agents.iter().map(|a| a.certificate.invitation.invitation.rights.transit).collect(),
            links: links.collect(),
        }
    }

    /// What the cheapest way from one agent to each other costs: round by round, one more link each (Bellman and Ford).
    fn costs(&self, from: usize) -> Vec<Option<u32>> {
        let mut costs = vec![None; self.agents.len()];
        costs[from] = Some(0);
        let mut reached = costs.clone();
        for _ in 0..MAX_HOPS {
            let mut next = vec![None; self.agents.len()];
            for ((one, other), price) in &self.links {
                if let Some(cost) = reached[*one].filter(|_| *one == from || self.may_transit[*one]) {
                    next[*other] = Some(next[*other].map_or(cost + price, |least: u32| least.min(cost + price)));
                }
            }
            for (least, cost) in costs.iter_mut().zip(&next) {
                *least = [*least, *cost].into_iter().flatten().min();
            }
            reached = next;
        }
        costs
    }

    /// Is this a way that connections may take, at this cost?
    fn is_way(&self, from: usize, to: usize, cost: Option<u32>, path: &[usize]) -> bool {
        let links = path.windows(2).map(|pair| self.links.get(&(pair[0], pair[1])).copied());
        links.sum::<Option<u32>>() == cost
            && (path.first(), path.last()) == (Some(&from), Some(&to))
            && path.len() <= MAX_HOPS + 1
            && path.iter().skip(1).rev().skip(1).all(|between| self.may_transit[*between])
    }

    /// With whom an agent shares what it knows: everybody who hangs together with it, for news passes where connections
    /// may not.
    fn company(&self, of: usize) -> BTreeSet<usize> {
        let mut company = BTreeSet::from([of]);
        let mut open = vec![of];
        while let Some(agent) = open.pop() {
            let near = self.links.keys().filter(|(one, _)| *one == agent).map(|(_, other)| *other);
            open.extend(near.filter(|peer| company.insert(*peer)));
        }
        company
    }
}

/// Where an agent is mistaken, if one is.
pub(crate) fn mistake(mesh: &mut TestMesh) -> Option<String> {
    let truth = Truth::of(mesh);
    (0..mesh.agents.len()).filter(|agent| truth.agents[*agent]).find_map(|agent| {
        let (routes, costs) = (mesh.node(agent).routes(), truth.costs(agent));
        for (to, cost) in costs.iter().enumerate() {
            let id = mesh.id(to);
            if routes.cost(id) != *cost {
                return Some(format!("{agent} to {to}: {:?} and not {cost:?}", routes.cost(id)));
            }
            let path = routes.to(id).map(|route| route.path).unwrap_or_default();
            let path: Vec<usize> = path.iter().map(|id| mesh.number(*id)).collect();
            if cost.is_some() && !truth.is_way(agent, to, *cost, &path) {
                return Some(format!("{agent} to {to}: {path:?} is no such way"));
            }
        }
        let mistaken = |other: &usize| {
            let id = mesh.id(*other);
            mesh.node(agent).services(id) != mesh.agents[*other].services
        };
        let other = truth.company(agent).into_iter().find(mistaken)?;
        Some(format!("{agent} is mistaken about the services of {other}"))
    })
}

#[derive(Debug, Clone)]
enum Happening {
    Link { one: usize, other: usize, cost: u16, delay: u64 },
    Unlink { one: usize, other: usize },
    Kill { agent: usize, noticed_after: u64 },
    Leave { agent: usize },
    Start { agent: usize, disk: Disk },
    Serve { agent: usize, keys: usize },
    Stall { one: usize, other: usize, is_stalled: bool },
    Wait { milliseconds: u64 },
}

/// What a new run finds.
#[derive(Debug, Clone, Copy)]
enum Disk {
    Whole,
    Lost,
    /// Lost, on a machine whose clock runs an hour late from now on.
    LostAndClockBehind,
}

const AGENTS: usize = 7;
/// The longest that a dead neighbour goes unnoticed.
const NOTICE: u64 = 8_000;

fn happening() -> impl Strategy<Value = Happening> {
    let agent = || 0..AGENTS;
    let disk = prop_oneof![2 => Just(Disk::Whole), 1 => Just(Disk::Lost), 1 => Just(Disk::LostAndClockBehind)];
    let pair = || (agent(), agent()).prop_filter("no link to oneself", |(one, other)| one != other);
    prop_oneof![
        8 => (pair(), prop::sample::select(vec![1_u16, 10, 10, 50]), 1_u64..80)
            .prop_map(|((one, other), cost, delay)| Happening::Link { one, other, cost, delay }),
        3 => pair().prop_map(|(one, other)| Happening::Unlink { one, other }),
        2 => (agent(), 0..NOTICE).prop_map(|(agent, noticed_after)| Happening::Kill { agent, noticed_after }),
        1 => agent().prop_map(|agent| Happening::Leave { agent }),
        6 => (agent(), disk).prop_map(|(agent, disk)| Happening::Start { agent, disk }),
        3 => (agent(), 0_usize..4).prop_map(|(agent, keys)| Happening::Serve { agent, keys }),
        1 => (pair(), any::<bool>()).prop_map(|((one, other), is_stalled)| Happening::Stall { one, other, is_stalled }),
        6 => prop_oneof![0_u64..100, 0_u64..3_000].prop_map(|milliseconds| Happening::Wait { milliseconds }),
    ]
}

fn play(mesh: &mut TestMesh, happening: &Happening) {
    let runs = |mesh: &TestMesh, agent: usize| mesh.agents[agent].node.is_some() && !mesh.agents[agent].is_leaving;
    match *happening {
        Happening::Link { one, other, cost, delay } => {
            // Of two runs' claims the cost must be one, so a link keeps what it began with.
            if !mesh.is_wanted(one, other) {
                mesh.link(one, other, Wire { cost, delay: millis(delay), ..WIRE });
            } else {
                mesh.dial(one, other);
            }
        }
        Happening::Unlink { one, other } if mesh.is_wanted(one, other) => mesh.unlink(one, other),
        Happening::Kill { agent, noticed_after } if mesh.agents[agent].node.is_some() => {
            mesh.kill(agent, millis(noticed_after));
        }
        Happening::Leave { agent } if runs(mesh, agent) => mesh.leave(agent),
        Happening::Start { agent, disk } if mesh.agents[agent].node.is_none() => {
            match disk {
                Disk::Whole => {}
                Disk::Lost => {
                    mesh.agents[agent].kept = Default::default();
                    // The clock stands in for the disk, to the second.
                    mesh.run_for(Duration::from_secs(1));
                }
                Disk::LostAndClockBehind => {
                    mesh.agents[agent].kept = Default::default();
                    mesh.agents[agent].clock_behind += 3600;
                }
            }
            mesh.start(agent);
        }
        Happening::Serve { agent, keys } => mesh.serve(agent, services(&["a", "b", "c", "d"][..keys])),
        Happening::Stall { one, other, is_stalled } if mesh.is_linked(one, other) => mesh.stall(one, other, is_stalled),
        Happening::Wait { milliseconds } => mesh.run_for(millis(milliseconds)),
        _ => {}
    }
}

fn an_unsettled_mesh() -> TestMesh {
    let mut mesh = TestMesh::new(AGENTS - 2);
    for _ in 0..2 {
        mesh.add(without_transit());
    }
    for agent in 0..AGENTS {
        mesh.link(agent, (agent + 1) % AGENTS, WIRE);
        mesh.start(agent);
    }
    mesh
}

/// Claims of agents about their links, and who may be passed through.
fn claims() -> impl Strategy<Value = (Vec<bool>, BTreeMap<(usize, usize), u16>)> {
    (18_usize..24).prop_flat_map(|agents| {
        let cost = || prop::sample::select(vec![1_u16, 1, 10, 25, 200]);
        // Long lines are what makes the bound on links matter, and chance hardly makes one.
        let line = prop::collection::vec((cost(), prop::bool::weighted(0.97)), agents - 1);
        let others = prop::collection::btree_map((0..agents, 0..agents), cost(), 0..12);
        let may_transit = prop::collection::vec(prop::bool::weighted(0.95), agents);
        (may_transit, line, others).prop_map(|(may_transit, line, others)| {
            let mut claims = others;
            for (at, (cost, is_mutual)) in line.into_iter().enumerate() {
                claims.insert((at, at + 1), cost);
                if is_mutual {
                    claims.insert((at + 1, at), cost);
                }
            }
            (may_transit, claims)
        })
    })
}

fn id(agent: usize) -> AgentId {
    AgentId([agent as u8; 16])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_shortest_ways_are_the_models((may_transit, claims) in claims()) {
        let of = |agent: usize| claims.iter().filter(move |((from, _), _)| *from == agent);
        let agents = (0..may_transit.len())
            .map(|agent| (id(agent), may_transit[agent], of(agent).map(|((_, to), cost)| (id(*to), *cost))));
        let graph = Graph::new(agents);
        let both = claims.iter().filter(|((from, to), _)| from != to && claims.contains_key(&(*to, *from)));
        let truth = Truth {
            agents: vec![true; may_transit.len()],
            may_transit: may_transit.clone(),
            links: both.map(|(pair, cost)| (*pair, u32::from(*cost))).collect(),
        };
        for from in 0..may_transit.len() {
            let routes = graph.routes(id(from), |_, _| false);
            for (to, cost) in truth.costs(from).into_iter().enumerate() {
                prop_assert_eq!(routes.cost(id(to)), cost, "from {} to {}", from, to);
                let path = routes.to(id(to)).map(|route| route.path).unwrap_or_default();
                let path: Vec<_> = path.iter().map(|agent| usize::from(agent.0[0])).collect();
                let is_way = cost.is_none() || truth.is_way(from, to, cost, &path);
                prop_assert!(is_way, "from {} to {}: {:?}", from, to, path);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_all_agree_when_it_is_over(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut mesh = an_unsettled_mesh();
        happenings.iter().for_each(|happening| play(&mut mesh, happening));
        mesh.read_again();
        // The last death is noticed, what was paced is told, and what was overtaken is told once more.
        mesh.run_for(millis(NOTICE) + Duration::from_secs(3));
        prop_assert_eq!(mistake(&mut mesh), None);
        let frames = mesh.frames;
        mesh.run_for(Duration::from_secs(600));
        prop_assert_eq!(mesh.frames, frames, "somebody never comes to rest");
    }
}
