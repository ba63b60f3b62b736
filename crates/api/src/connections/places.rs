//! Who has a connection to the web address while they are scarce.
//!
//! A connection on which nothing is being answered has not said yet that it is worth anything: when there is no room, the one that
//! has been so for longest goes, of the source that holds the most. So silent connections, however many, keep nobody out, and who
//! opens them in numbers loses their own first. A reverse proxy of the operator's stands for many people: it has no share, and what
//! it holds is not taken, because it would send the next person there. Only while a proxy sends on a request whose body is still to
//! come, its place is that of whoever holds the body back.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_core::Source;
use adit_jumphost::config::Networks;
use axum::http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::gate::client;

/// How many connections there may be at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    per_source: usize,
    total: usize,
}

/// Where people come from everywhere.
pub(super) const FOR_PEOPLE: Room = Room {
    // A browser opens six connections to a host, and several people may sit behind one address.
    per_source: 64,
    // Some hundred people with a page open. Their event streams and these connections together stay a small part of the descriptors.
    total: 1_024,
};

/// Where only programs of this machine come. They are one source, so there are no shares: what goes on for long among them is bounded
/// by what answers it.
pub(super) const FOR_PROGRAMS: Room = Room { per_source: OF_PROGRAMS, total: OF_PROGRAMS };

/// A script that runs a hundred commands at once has two connections of each. The usual limit of descriptors is 1,024, and tunnels
/// are to have most of them.
const OF_PROGRAMS: usize = 256;

/// The places there are. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    room: Room,
    table: Arc<Mutex<Table>>,
    proxies: Arc<Networks>,
}

/// A connection's place; dropped, it is free.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    id: u64,
    taken: CancellationToken,
}

/// Something is being answered on a connection until this is dropped.
#[derive(Debug)]
pub(super) struct AtWork {
    places: Places,
    id: u64,
}

/// Who has which place. A few thousand rows at most are searched from end to end, in some microseconds.
#[derive(Debug, Default)]
struct Table {
    held: HashMap<u64, Held>,
    /// Counts what happens; a smaller number was earlier.
    events: u64,
}

#[derive(Debug)]
struct Held {
    holder: Holder,
    state: State,
    taken: CancellationToken,
}

/// Whose a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    /// Theirs who connected.
    Client(Source),
    /// A proxy's of the operator's.
    Proxy,
    /// A proxy's, which waits for the body of somebody behind it.
    Behind(Source),
}

impl Holder {
    /// Whose share it counts to.
    const fn source(self) -> Option<Source> {
        match self {
            Self::Client(source) | Self::Behind(source) => Some(source),
            Self::Proxy => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Since then nothing has been asked.
    Silent(u64),
    Working,
}

impl Places {
    pub(super) fn new(room: Room, proxies: Networks) -> Self {
        Self { room, table: Arc::default(), proxies: Arc::new(proxies) }
    }

    /// A place for a peer of this address; `None` where all that could be taken from somebody is at work.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Place> {
        let taken = CancellationToken::new();
        let holder = if self.proxies.contain(peer) { Holder::Proxy } else { Holder::Client(Source::from(peer)) };
        let id = self.lock().take(self.room, holder, taken.clone())?;
        Some(Place { places: self.clone(), id, taken })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The head of a request is there, and its body is awaited. Of a proxy's place it is then known for whom.
    pub(super) fn await_body(&self, peer: SocketAddr, head: &HeaderMap) {
        let client = client::client(peer, head, &self.places.proxies).ip();
        // Whom a proxy does not tell apart is the proxy.
        if self.places.proxies.contain(peer.ip()) && !self.places.proxies.contain(client) {
            self.places.lock().lend(self.places.room, self.id, Source::from(client));
        }
    }

    /// Something is being answered from now on.
    pub(super) fn at_work(&self) -> AtWork {
        self.places.lock().set(self.id, State::Working);
        AtWork { places: self.places.clone(), id: self.id }
    }

    /// Waits until somebody else has the place.
    pub(super) async fn taken(&self) {
        self.taken.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().held.remove(&self.id);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        let now = table.next();
        table.set(self.id, State::Silent(now));
    }
}

impl Table {
    fn take(&mut self, room: Room, holder: Holder, taken: CancellationToken) -> Option<u64> {
        if let Some(source) = holder.source()
            && self.of(source) >= room.per_source
        {
            self.evict(|held| held.holder.source() == Some(source))?;
        } else if self.held.len() >= room.total {
            self.evict(|held| held.holder.source().is_some())?;
        }
        let id = self.next();
        self.held.insert(id, Held { holder, state: State::Silent(id), taken });
        Some(id)
    }

    /// A proxy's place is this source's until something is answered there. Whoever has too many by that loses one.
    fn lend(&mut self, room: Room, id: u64, source: Source) {
        if self.of(source) >= room.per_source {
            // Where all of them are at work this one is too many for a moment only: it is the first to be taken.
            self.evict(|held| held.holder.source() == Some(source));
        }
        let now = self.next();
        if let Some(held) = self.held.get_mut(&id) {
            (held.holder, held.state) = (Holder::Behind(source), State::Silent(now));
        }
    }

    /// Takes the place of the one of these that has been silent for longest, of the source that holds the most; of those that hold as
    /// many, what is held back behind a proxy goes before what is only idle.
    fn evict(&mut self, may_go: impl Fn(&Held) -> bool) -> Option<()> {
        let mut counts: HashMap<Option<Source>, usize> = HashMap::new();
        self.held.values().for_each(|held| *counts.entry(held.holder.source()).or_default() += 1);
        let silent = self.held.iter().filter(|(_, held)| may_go(held)).filter_map(|(id, held)| match held.state {
            State::Silent(since) => {
                let is_held_back = matches!(held.holder, Holder::Behind(_));
                Some((counts.get(&held.holder.source()), is_held_back, Reverse(since), *id))
            }
            State::Working => None,
        });
        let (.., id) = silent.max()?;
        self.held.remove(&id)?.taken.cancel();
        Some(())
    }

    /// Nothing if the place is somebody else's by now.
    fn set(&mut self, id: u64, state: State) {
        if let Some(held) = self.held.get_mut(&id) {
            held.state = state;
            if matches!(held.holder, Holder::Behind(_)) {
                held.holder = Holder::Proxy;
            }
        }
    }

    fn of(&self, source: Source) -> usize {
        self.held.values().filter(|held| held.holder.source() == Some(source)).count()
    }

    fn next(&mut self) -> u64 {
        self.events += 1;
        self.events
    }
}

#[cfg(test)]
mod tests {
    use adit_jumphost::RawConfig;

    use super::*;

    const PER_SOURCE: usize = FOR_PEOPLE.per_source;
    const TOTAL: usize = FOR_PEOPLE.total;

    fn peer(number: usize) -> IpAddr {
        format!("10.{}.{}.1", number / 256, number % 256).parse().unwrap()
    }

    fn places() -> Places {
        Places::new(FOR_PEOPLE, Networks::default())
    }

    fn fill(places: &Places, count: usize, source: impl Fn(usize) -> usize) -> Vec<Place> {
        (0..count).map(|number| places.take(peer(source(number))).unwrap()).collect()
    }

    fn lost(held: &[Place]) -> Vec<usize> {
        (0..held.len()).filter(|at| held[*at].taken.is_cancelled()).collect()
    }

    #[test]
    fn a_source_that_has_its_share_loses_what_was_silent_longest() {
        let places = places();
        let held = fill(&places, PER_SOURCE, |_| 1);
        let first = held[0].at_work();
        let more = places.take(peer(1)).unwrap();
        assert_eq!(lost(&held), [1], "the first one is at work");
        drop(first);
        let others = (places.take(peer(1)).unwrap(), places.take(peer(1)).unwrap());
        assert_eq!(lost(&held), [1, 2, 3], "and was heard of last");
        assert_eq!(places.lock().of(Source::from(peer(1))), PER_SOURCE);
        drop((held, more, others));
        assert!(places.lock().held.is_empty(), "nobody is remembered who is gone");
    }

    #[test]
    fn where_all_are_at_work_a_newcomer_is_refused() {
        let places = places();
        let held = fill(&places, PER_SOURCE, |_| 1);
        let work: Vec<_> = held.iter().map(Place::at_work).collect();
        assert!(places.take(peer(1)).is_none());
        assert!(places.take(peer(2)).is_some());
        drop(work);
        assert!(places.take(peer(1)).is_some());
    }

    #[test]
    fn programs_of_one_machine_have_all_of_the_room() {
        let places = Places::new(FOR_PROGRAMS, Networks::default());
        let held = fill(&places, OF_PROGRAMS, |_| 1);
        let work: Vec<_> = held[1..].iter().map(Place::at_work).collect();
        let newcomer = places.take(peer(1)).unwrap();
        assert_eq!(lost(&held), [0], "the one that asked nothing");
        drop((work, newcomer));
    }

    #[test]
    fn when_there_is_no_room_whoever_holds_the_most_makes_some() {
        let places = places();
        let one = places.take(peer(9_000)).unwrap();
        let held = fill(&places, TOTAL - 1, |number| number / 60);
        let newcomer = places.take(peer(9_001)).unwrap();
        assert_eq!(lost(&held), [0], "the first of the first of those with 60");
        assert!(!one.taken.is_cancelled() && !newcomer.taken.is_cancelled());
        assert_eq!(places.lock().held.len(), TOTAL);
    }

    #[test]
    fn a_proxy_of_ours_has_no_share_and_keeps_what_it_holds() {
        let typed = serde_json::json!({"web_trusted_proxies": "10.0.7.1"});
        let config = serde_json::from_value::<RawConfig>(typed).unwrap().check().unwrap();
        let places = Places::new(FOR_PEOPLE, config.web_trusted_proxies);
        let through = fill(&places, 900, |_| 7);
        let held = fill(&places, TOTAL - 900, |number| number);
        let newcomer = places.take(peer(7)).unwrap();
        assert_eq!((lost(&through).len(), lost(&held)), (0, vec![0]));
        drop(newcomer);
    }

    /// A head that a proxy sends on for somebody.
    fn head(client: usize) -> HeaderMap {
        HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), peer(client).to_string().parse().unwrap())])
    }

    #[test]
    fn a_body_that_is_awaited_behind_a_proxy_is_its_senders() {
        let typed = serde_json::json!({"web_trusted_proxies": "10.0.7.1"});
        let config = serde_json::from_value::<RawConfig>(typed).unwrap().check().unwrap();
        let places = Places::new(FOR_PEOPLE, config.web_trusted_proxies);
        let proxy = SocketAddr::new(peer(7), 4_000);
        let direct = places.take(peer(2)).unwrap();
        let held = fill(&places, TOTAL - 1, |_| 7);
        held[0].await_body(proxy, &head(1));
        for awaiting in &held[1..=PER_SOURCE] {
            awaiting.await_body(proxy, &head(1));
        }
        assert_eq!(lost(&held), [0], "one more than their share");
        let answered = held[1].at_work();
        let (newcomer, next) = (places.take(peer(3)).unwrap(), places.take(peer(7)).unwrap());
        assert_eq!(lost(&held), [0, 2], "there was one place, then the oldest that is held back goes");
        assert!(!direct.taken.is_cancelled());
        drop(answered);
        held[PER_SOURCE + 1].await_body(proxy, &HeaderMap::new());
        for awaiting in &held[3..=PER_SOURCE] {
            drop(awaiting.at_work());
        }
        assert_eq!(places.lock().of(Source::from(peer(1))), 0, "answered, they are the proxy's again");
        let last = places.take(peer(7)).unwrap();
        assert_eq!(
            (lost(&held), direct.taken.is_cancelled()),
            (vec![0, 2], true),
            "of a proxy itself nothing is taken"
        );
        drop((newcomer, next, last));
    }

    #[test]
    fn what_ends_after_its_place_was_taken_changes_nothing() {
        let places = places();
        let held = fill(&places, PER_SOURCE, |_| 1);
        let next = places.take(peer(1)).unwrap();
        assert_eq!(lost(&held), [0]);
        drop(held[0].at_work());
        drop(held);
        assert_eq!(places.lock().held.len(), 1);
        drop(next);
    }
}
