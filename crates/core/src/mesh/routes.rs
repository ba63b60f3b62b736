//! The shortest ways through the mesh as one agent sees it.
//!
//! A link counts when both its ends say that it is there, so that neither an agent that has gone nor one that lies can draw
//! connections to itself alone. Connections go through agents that have the right of transit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::id::AgentId;

/// The most links on a way.
pub const MAX_HOPS: usize = 16;

/// What a link costs more while a connection that took it was left without an answer.
/// More than any way costs without it.
pub(super) const SUSPICION: u32 = 16_000_000;

/// The mesh as the records say.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Links that both ends claim, with their cost from here to there.
    links: BTreeMap<AgentId, BTreeMap<AgentId, u32>>,
    transits: BTreeMap<AgentId, bool>,
}

/// A way to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The sum of its links' costs.
    pub cost: u32,
    /// The agents on it, from the first to the last, both included.
    pub path: Vec<AgentId>,
}

impl Route {
    /// How many links it has.
    pub fn hops(&self) -> usize {
        self.path.len().saturating_sub(1)
    }

    /// Its links.
    pub fn links(&self) -> impl Iterator<Item = (AgentId, AgentId)> {
        self.path.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)))
    }
}

impl Graph {
    /// Makes a graph of what the agents claim: `(agent, may transit, (peer, cost)…)`.
    pub fn new<'a, L>(agents: impl IntoIterator<Item = (AgentId, bool, L)>) -> Graph
    where
        L: IntoIterator<Item = (AgentId, u16)> + 'a,
    {
        let mut claims: BTreeMap<AgentId, BTreeMap<AgentId, u32>> = BTreeMap::new();
        let mut transits = BTreeMap::new();
        for (agent, may_transit, links) in agents {
            transits.insert(agent, may_transit);
            claims.insert(agent, links.into_iter().map(|(peer, cost)| (peer, u32::from(cost))).collect());
        }
        let is_claimed = |from: &AgentId, to: &AgentId| claims.get(from).is_some_and(|links| links.contains_key(to));
        let links = claims.iter().map(|(agent, links)| {
            let both = links.iter().filter(|(peer, _)| *peer != agent && is_claimed(peer, agent));
            (*agent, both.map(|(peer, cost)| (*peer, *cost)).collect())
        });
        Graph { links: links.collect(), transits }
    }

    /// Every link, once in each direction, with its cost.
    pub fn links(&self) -> impl Iterator<Item = (AgentId, AgentId, u32)> {
        self.links.iter().flat_map(|(from, links)| links.iter().map(|(to, cost)| (*from, *to, *cost)))
    }

    /// The shortest way from `from` to every agent that can be reached; a link that `is_suspect` is taken where there is no other.
    pub fn routes(&self, from: AgentId, is_suspect: impl Fn(AgentId, AgentId) -> bool) -> Routes {
        // To each agent the cheapest way, and dearer ones with fewer links, which go on where that one is too long to.
        let mut reached: BTreeMap<(AgentId, usize), Reached> = BTreeMap::new();
        // The cheapest first; among equals the one with fewer links, then by id, so that all agents choose alike.
        let mut open = BinaryHeap::from([Reverse((0_u32, 0_usize, from, from))]);
        while let Some(Reverse((cost, hops, agent, before))) = open.pop() {
            if reached.range((agent, 0)..=(agent, hops)).next().is_some() {
                continue;
            }
            reached.insert((agent, hops), Reached { cost, before });
            let passes = agent == from || self.transits.get(&agent).is_some_and(|may| *may);
            if !passes || hops == MAX_HOPS {
                continue;
            }
            for (peer, price) in self.links.get(&agent).into_iter().flatten() {
                if reached.range((*peer, 0)..=(*peer, hops + 1)).next().is_none() {
                    let price = if is_suspect(agent, *peer) { price.saturating_add(SUSPICION) } else { *price };
                    open.push(Reverse((cost.saturating_add(price), hops + 1, *peer, agent)));
                }
            }
        }
        Routes { from, reached }
    }
}

/// The shortest ways from one agent.
#[derive(Debug, Clone)]
pub struct Routes {
    from: AgentId,
    /// By agent, and by how many links it was reached; the more of these, the cheaper.
    reached: BTreeMap<(AgentId, usize), Reached>,
}

#[derive(Debug, Clone, Copy)]
struct Reached {
    cost: u32,
    /// The agent before this one, reached by one link less.
    before: AgentId,
}

impl Routes {
    /// The way to this agent, if there is one.
    pub fn to(&self, agent: AgentId) -> Option<Route> {
        let (mut at, Reached { cost, .. }) = self.cheapest(agent)?;
        let mut path = vec![agent];
        while at != (self.from, 0) {
            at = (self.reached.get(&at)?.before, at.1.checked_sub(1)?);
            path.push(at.0);
        }
        path.reverse();
        Some(Route { cost: cost % SUSPICION, path })
    }

    /// What the way to this agent costs, with what its suspects cost more.
    pub fn cost(&self, agent: AgentId) -> Option<u32> {
        self.cheapest(agent).map(|(_, reached)| reached.cost)
    }

    fn cheapest(&self, agent: AgentId) -> Option<((AgentId, usize), Reached)> {
        self.reached.range((agent, 0)..=(agent, MAX_HOPS)).next_back().map(|(at, reached)| (*at, *reached))
    }

    /// Every agent that can be reached.
    pub fn agents(&self) -> impl Iterator<Item = AgentId> {
        let mut last = None;
        self.reached.keys().map(|(agent, _)| *agent).filter(move |agent| last.replace(*agent) != Some(*agent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> AgentId {
        AgentId([number; 16])
    }

    /// Agents that all may transit, with links that both ends claim.
    fn graph(links: &[(u8, u8, u16)]) -> Graph {
        claims(&links.iter().flat_map(|(a, b, cost)| [(*a, *b, *cost), (*b, *a, *cost)]).collect::<Vec<_>>(), &[])
    }

    fn claims(claims: &[(u8, u8, u16)], without_transit: &[u8]) -> Graph {
        let mut agents: BTreeMap<u8, Vec<(AgentId, u16)>> = BTreeMap::new();
        for (from, to, cost) in claims {
            agents.entry(*to).or_default();
            agents.entry(*from).or_default().push((id(*to), *cost));
        }
        Graph::new(agents.into_iter().map(|(agent, links)| (id(agent), !without_transit.contains(&agent), links)))
    }

    fn way(graph: &Graph, from: u8, to: u8) -> Option<Vec<u8>> {
        let route = graph.routes(id(from), |_, _| false).to(id(to))?;
        Some(route.path.iter().map(|agent| agent.0[0]).collect())
    }

    #[test]
    fn the_cheapest_way_is_taken_and_then_the_shortest() {
        let diamond = graph(&[(1, 2, 10), (2, 4, 10), (1, 3, 5), (3, 4, 5), (1, 4, 30)]);
        assert_eq!(way(&diamond, 1, 4), Some(vec![1, 3, 4]));
        assert_eq!(way(&diamond, 1, 1), Some(vec![1]));
        let equal = graph(&[(1, 2, 10), (2, 3, 10), (1, 3, 20)]);
        assert_eq!(way(&equal, 1, 3), Some(vec![1, 3]));
    }

    #[test]
    fn a_link_that_one_end_alone_claims_is_none() {
        let lie = claims(&[(1, 2, 10), (2, 1, 10), (2, 3, 1)], &[]);
        assert_eq!(way(&lie, 1, 3), None);
    }

    #[test]
    fn nobody_is_a_way_who_may_not_be_one() {
        let line = claims(&[(1, 2, 1), (2, 1, 1), (2, 3, 1), (3, 2, 1)], &[2]);
        assert_eq!((way(&line, 1, 2), way(&line, 1, 3)), (Some(vec![1, 2]), None));
        assert_eq!(way(&line, 2, 3), Some(vec![2, 3]), "its own connections it may send");
    }

    #[test]
    fn a_way_has_sixteen_links_at_most() {
        let line: Vec<_> = (0..20).map(|agent| (agent, agent + 1, 1)).collect();
        let line = graph(&line);
        assert_eq!(way(&line, 0, 16).map(|path| path.len()), Some(17));
        assert_eq!(way(&line, 0, 17), None);
    }

    #[test]
    fn a_dearer_way_goes_on_where_the_cheapest_has_become_too_long() {
        let mut links: Vec<_> = (0..17).map(|agent| (agent, agent + 1, 1)).collect();
        links.push((0, 15, 100));
        let line = graph(&links);
        assert_eq!(way(&line, 0, 16).map(|path| path.len()), Some(17), "the cheapest, as long as it reaches");
        assert_eq!(way(&line, 0, 17), Some(vec![0, 15, 16, 17]));
        assert_eq!(line.routes(id(0), |_, _| false).agents().count(), 18, "each once");
    }

    #[test]
    fn a_suspect_is_taken_where_there_is_no_other_way() {
        let diamond = graph(&[(1, 2, 10), (2, 4, 10), (1, 3, 10), (3, 4, 20)]);
        let suspect = |from: AgentId, to: AgentId| (from, to) == (id(2), id(4));
        assert_eq!(diamond.routes(id(1), suspect).to(id(4)).unwrap().path, [id(1), id(3), id(4)]);
        let line = graph(&[(1, 2, 10), (2, 4, 10)]);
        assert_eq!(line.routes(id(1), suspect).to(id(4)).unwrap().path.len(), 3);
    }
}
