//! Random lives of a local agent, played to its tunnels with their pool and to a model of both that is too simple to be wrong: flat
//! records, searched from end to end, that know nothing of ids. Binding, logins and remote forwards take their time, and fail
//! as chance has it; what must never be bound, claimed or logged in twice is watched by [`TestAgent`].

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use adit_core::{ConnectionId, ConnectionKey, ForwardKind, LoginFailure, Obstacle, ReconnectPolicy, TunnelStatus};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::agent::{Id, TestAgent, World, key, no_route};

/// Three kinds of policy at each of two servers, and remote forwards beside local ones.
const TUNNELS: [(ForwardKind, bool, u32, &str); 6] = [
    (ForwardKind::Local, true, 2, "a"),
    (ForwardKind::Dynamic, false, 0, "a"),
    (ForwardKind::Remote, true, 2, "a"),
    (ForwardKind::Local, true, 0, "b"),
    (ForwardKind::Remote, false, 0, "b"),
    (ForwardKind::Remote, true, 0, "b"),
];

#[derive(Debug, Clone)]
enum Event {
    Start(usize),
    Stop(usize),
    Reconnect(usize),
    Policy { which: usize, auto: bool, max: u32 },
    Bind { which: Index, works: bool },
    Login { which: Index, result: Login },
    Forward { which: Index, works: bool },
    Hear(Index),
    Lose(Index),
    Disturb,
    Wait { milliseconds: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Login {
    Through,
    Passing,
    Lasting,
}

fn event() -> impl Strategy<Value = Event> {
    let login = prop_oneof![3 => Just(Login::Through), 2 => Just(Login::Passing), 1 => Just(Login::Lasting)];
    prop_oneof![
        5 => (0..TUNNELS.len()).prop_map(Event::Start),
        2 => (0..TUNNELS.len()).prop_map(Event::Stop),
        2 => (0..TUNNELS.len()).prop_map(Event::Reconnect),
        1 => (0..TUNNELS.len(), any::<bool>(), 0_u32..5).prop_map(|(which, auto, max)| Event::Policy { which, auto, max }),
        4 => (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(which, works)| Event::Bind { which, works }),
        5 => (any::<Index>(), login).prop_map(|(which, result)| Event::Login { which, result }),
        4 => (any::<Index>(), any::<bool>()).prop_map(|(which, works)| Event::Forward { which, works }),
        2 => any::<Index>().prop_map(Event::Hear),
        2 => any::<Index>().prop_map(Event::Lose),
        1 => Just(Event::Disturb),
        4 => prop_oneof![0_u64..3_000, 0_u64..70_000].prop_map(|milliseconds| Event::Wait { milliseconds }),
    ]
}

/// What a tunnel is at.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Stopped,
    Failed,
    Binding,
    Login,
    Forward,
    Up(Instant),
    /// Paused for a login, or with the connection in hand for a remote forward.
    Pause {
        until: Instant,
        has_connection: bool,
    },
}

#[derive(Debug, Clone)]
struct Modelled {
    kind: ForwardKind,
    auto: bool,
    max: u32,
    server: &'static str,
    at: At,
    /// Something went wrong since it was started or was asked to reconnect.
    again: bool,
    logins: u32,
    forwards: u32,
    /// The last trouble was the remote forward.
    forward_trouble: bool,
}

/// The one connection of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    None,
    LoggingIn,
    /// Asked for a sign of life until then, or to be asked then.
    Live {
        asked: bool,
        alarm: Instant,
    },
}

struct Model {
    tunnels: Vec<Modelled>,
    links: [(&'static str, Link); 2],
}

impl Modelled {
    fn here(&self) -> bool {
        self.kind != ForwardKind::Remote
    }

    fn claims(&self) -> bool {
        matches!(self.at, At::Login | At::Forward | At::Up(_) | At::Pause { has_connection: true, .. })
    }

    fn clear(&mut self) {
        (self.again, self.logins, self.forwards, self.forward_trouble) = (false, 0, 0, false);
    }

    fn trouble_with_login(&mut self, now: Instant) {
        if !self.auto || (self.max != 0 && self.logins >= self.max) {
            self.at = At::Failed;
            return;
        }
        self.logins += 1;
        (self.again, self.forward_trouble) = (true, false);
        self.at = At::Pause { until: now + pause(self.logins), has_connection: false };
    }
}

fn pause(retry: u32) -> Duration {
    Duration::from_secs([1, 2, 4, 8, 16, 32].get(retry as usize - 1).copied().unwrap_or(60))
}

impl Model {
    fn link(&mut self, server: &str) -> &mut Link {
        &mut self.links.iter_mut().find(|(name, _)| *name == server).unwrap().1
    }

    fn of(&mut self, server: &'static str) -> impl Iterator<Item = &mut Modelled> {
        self.tunnels.iter_mut().filter(move |tunnel| tunnel.server == server && tunnel.claims())
    }

    /// The tunnel has its connection.
    fn up(tunnel: &mut Modelled, now: Instant) {
        tunnel.at = if tunnel.here() { At::Up(now) } else { At::Forward };
    }

    fn claim(&mut self, which: usize, now: Instant) {
        self.tunnels[which].at = At::Login;
        let link = self.link(self.tunnels[which].server);
        match *link {
            Link::None => *link = Link::LoggingIn,
            Link::LoggingIn => {}
            Link::Live { asked, .. } => {
                if !asked {
                    *link = Link::Live { asked: true, alarm: now + Duration::from_secs(10) };
                }
                Model::up(&mut self.tunnels[which], now);
            }
        }
    }

    /// A server that nobody claims has no connection.
    fn tidy(&mut self) {
        for (server, link) in &mut self.links {
            if !self.tunnels.iter().any(|tunnel| tunnel.server == *server && tunnel.claims()) {
                *link = Link::None;
            }
        }
    }

    fn start(&mut self, which: usize, now: Instant) {
        self.tunnels[which].clear();
        if self.tunnels[which].here() {
            self.tunnels[which].at = At::Binding;
        } else {
            self.claim(which, now);
        }
    }

    fn reconnect(&mut self, which: usize, now: Instant) {
        match self.tunnels[which].at {
            At::Stopped | At::Failed => self.start(which, now),
            At::Binding | At::Login | At::Forward => {}
            At::Up(_) => {
                self.tunnels[which].clear();
                self.leave(which);
                self.claim(which, now);
            }
            At::Pause { .. } => {
                self.leave(which);
                self.count_anew(which);
                self.claim(which, now);
            }
        }
    }

    fn policy(&mut self, which: usize, auto: bool, max: u32) {
        let tunnel = &mut self.tunnels[which];
        (tunnel.auto, tunnel.max) = (auto, max);
        let too_many = !tunnel.forward_trouble && max != 0 && tunnel.logins > max;
        if matches!(tunnel.at, At::Pause { .. }) && (!auto || too_many) {
            tunnel.at = At::Failed;
            self.tidy();
        }
    }

    fn leave(&mut self, which: usize) {
        self.tunnels[which].at = At::Stopped;
        self.tidy();
    }

    fn count_anew(&mut self, which: usize) {
        let tunnel = &mut self.tunnels[which];
        (tunnel.logins, tunnel.forwards) = if tunnel.forward_trouble { (0, 1) } else { (1, 0) };
    }

    fn login(&mut self, server: &'static str, result: Login, now: Instant) {
        *self.link(server) = match result {
            Login::Through => Link::Live { asked: false, alarm: now + Duration::from_secs(30) },
            Login::Passing | Login::Lasting => Link::None,
        };
        for tunnel in self.of(server) {
            match result {
                Login::Through => Model::up(tunnel, now),
                Login::Passing => tunnel.trouble_with_login(now),
                Login::Lasting => tunnel.at = At::Failed,
            }
        }
    }

    fn lose(&mut self, server: &'static str, now: Instant) {
        *self.link(server) = Link::None;
        for tunnel in self.of(server) {
            if let At::Up(since) = tunnel.at
                && now - since >= Duration::from_secs(60)
            {
                (tunnel.logins, tunnel.forwards) = (0, 0);
            }
            tunnel.trouble_with_login(now);
        }
    }

    fn forward(&mut self, which: usize, works: bool, now: Instant) {
        let tunnel = &mut self.tunnels[which];
        if works {
            tunnel.at = At::Up(now);
        } else if tunnel.auto {
            tunnel.forwards += 1;
            (tunnel.again, tunnel.forward_trouble) = (true, true);
            tunnel.at = At::Pause { until: now + pause(tunnel.forwards), has_connection: true };
        } else {
            tunnel.at = At::Failed;
        }
    }

    fn disturb(&mut self, now: Instant) {
        for (_, link) in &mut self.links {
            if let Link::Live { asked: asked @ false, alarm } = link {
                (*asked, *alarm) = (true, now + Duration::from_secs(10));
            }
        }
        for which in 0..self.tunnels.len() {
            if let At::Pause { has_connection, .. } = self.tunnels[which].at {
                self.count_anew(which);
                self.go_on(which, has_connection, now);
            }
        }
    }

    fn go_on(&mut self, which: usize, has_connection: bool, now: Instant) {
        if has_connection {
            self.tunnels[which].at = At::Forward;
        } else {
            self.claim(which, now);
        }
    }

    /// All that is due now: servers first.
    fn ring(&mut self, now: Instant) {
        for at in 0..self.links.len() {
            let (server, link) = self.links[at];
            match link {
                Link::Live { asked: false, alarm } if alarm <= now => {
                    self.links[at].1 = Link::Live { asked: true, alarm: alarm + Duration::from_secs(10) };
                }
                Link::Live { asked: true, alarm } if alarm <= now => self.lose(server, now),
                _ => {}
            }
        }
        for which in 0..self.tunnels.len() {
            if let At::Pause { until, has_connection } = self.tunnels[which].at
                && until <= now
            {
                self.go_on(which, has_connection, now);
            }
        }
    }

    fn next_alarm(&self) -> Option<Instant> {
        let pauses = self.tunnels.iter().filter_map(|tunnel| match tunnel.at {
            At::Pause { until, .. } => Some(until),
            _ => None,
        });
        let links = self.links.iter().filter_map(|(_, link)| match link {
            Link::Live { alarm, .. } => Some(*alarm),
            _ => None,
        });
        pauses.chain(links).min()
    }
}

/// The agent and its model, side by side.
struct Play {
    agent: TestAgent,
    model: Model,
}

impl Play {
    fn new() -> Play {
        let mut agent = TestAgent::new();
        (agent.ports, agent.logins, agent.forwards, agent.probes) =
            (World::Later, World::Later, World::Later, World::Later);
        let tunnels = TUNNELS.map(|(kind, auto, max, server)| {
            agent.add(kind, ReconnectPolicy::new(auto, max), key(server));
            let at = At::Stopped;
            Modelled { kind, auto, max, server, at, again: false, logins: 0, forwards: 0, forward_trouble: false }
        });
        let links = [("a", Link::None), ("b", Link::None)];
        Play { agent, model: Model { tunnels: tunnels.to_vec(), links } }
    }

    fn play(&mut self, event: &Event) {
        let now = self.agent.now;
        match event {
            Event::Start(which) => {
                let runs = !matches!(self.model.tunnels[*which].at, At::Stopped | At::Failed);
                let refused = self.agent.tell(id(*which), |tunnel, _| tunnel.handle_start()).is_err();
                assert_eq!(refused, runs);
                if !runs {
                    self.model.start(*which, now);
                }
            }
            Event::Stop(which) => {
                self.agent.stop(id(*which));
                self.model.leave(*which);
            }
            Event::Reconnect(which) => {
                self.agent.reconnect(id(*which));
                self.model.reconnect(*which, now);
            }
            Event::Policy { which, auto, max } => {
                self.agent.set_policy(id(*which), ReconnectPolicy::new(*auto, *max));
                self.model.policy(*which, *auto, *max);
            }
            Event::Bind { which, works } => {
                let Some(which) = pick(which, self.agent.binding.keys()).copied() else { return };
                self.agent.finish_bind(which, *works);
                match works {
                    true => self.model.claim(which.0 as usize, now),
                    false => self.model.tunnels[which.0 as usize].at = At::Failed,
                }
            }
            Event::Login { which, result } => {
                let Some((connection, server)) = pick(which, self.agent.logging_in.iter()).map(named) else { return };
                let answer = match result {
                    Login::Through => Ok(()),
                    Login::Passing => Err(no_route()),
                    Login::Lasting => Err(LoginFailure::Lasting(Obstacle::HostKey, "the host key has changed".into())),
                };
                self.agent.finish_login(connection, answer);
                self.model.login(server, *result, now);
            }
            Event::Forward { which, works } => {
                let Some(which) = pick(which, self.agent.asked_forwards.keys()).copied() else { return };
                self.agent.finish_forward(which, *works);
                self.model.forward(which.0 as usize, *works, now);
                self.model.tidy();
            }
            Event::Hear(which) => {
                let Some((connection, server)) = pick(which, self.agent.live.iter()).map(named) else { return };
                self.agent.hear(connection);
                let link = self.model.link(server);
                if let Link::Live { asked: true, .. } = *link {
                    *link = Link::Live { asked: false, alarm: now + Duration::from_secs(30) };
                }
            }
            Event::Lose(which) => {
                let Some((connection, server)) = pick(which, self.agent.live.iter()).map(named) else { return };
                self.agent.lose(connection);
                self.model.lose(server, now);
            }
            Event::Disturb => {
                self.agent.disturb();
                self.model.disturb(now);
            }
            Event::Wait { milliseconds } => return self.wait(Duration::from_millis(*milliseconds)),
        }
        self.compare();
    }

    fn wait(&mut self, by: Duration) {
        let until = self.agent.now + by;
        while let Some(alarm) = self.agent.next_alarm().filter(|alarm| *alarm <= until) {
            self.agent.advance(alarm - self.agent.now);
            self.model.ring(alarm);
            self.compare();
        }
        self.agent.advance(until - self.agent.now);
    }

    fn compare(&self) {
        for (which, tunnel) in self.model.tunnels.iter().enumerate() {
            let status = self.agent.status(id(which));
            let expected = match tunnel.at {
                At::Stopped => "disconnected",
                At::Failed => "failed",
                At::Up(_) => "connected",
                _ if tunnel.again => "reconnecting",
                _ => "connecting",
            };
            assert_eq!(status.name(), expected, "tunnel {which}: {tunnel:?}");
            match (status, tunnel.at) {
                (TunnelStatus::Connected { since, .. }, at) => assert_eq!(at, At::Up(since)),
                (TunnelStatus::Reconnecting { retry_count, next_try, .. }, at) => {
                    let count = if tunnel.forward_trouble { tunnel.forwards } else { tunnel.logins };
                    assert_eq!(retry_count, count, "tunnel {which}: {tunnel:?}");
                    let until = if let At::Pause { until, .. } = at { Some(until) } else { None };
                    assert_eq!(next_try, until);
                }
                _ => {}
            }
        }
        let servers = |wanted: fn(&Link) -> bool| -> BTreeSet<&str> {
            self.model.links.iter().filter(|(_, link)| wanted(link)).map(|(server, _)| *server).collect()
        };
        let hosts = |keys: Vec<&'_ ConnectionKey>| -> BTreeSet<String> {
            keys.into_iter().map(|key| key.host().to_owned()).collect()
        };
        let logging_in = servers(|link| *link == Link::LoggingIn);
        assert_eq!(
            hosts(self.agent.logging_in.values().collect()),
            logging_in.into_iter().map(str::to_owned).collect()
        );
        let live = servers(|link| matches!(link, Link::Live { .. }));
        assert_eq!(hosts(self.agent.live.values().collect()), live.into_iter().map(str::to_owned).collect());
        assert_eq!(self.agent.next_alarm(), self.model.next_alarm());
    }

    fn stop_all(&mut self) {
        for which in 0..TUNNELS.len() {
            self.play(&Event::Stop(which));
        }
        assert!(self.agent.claims.is_empty() && self.agent.live.is_empty() && self.agent.logging_in.is_empty());
        assert!(self.agent.pool.is_empty());
        assert_eq!(self.agent.next_alarm(), None);
    }
}

fn id(which: usize) -> Id {
    Id(which as u32)
}

/// One of several, if there are any.
fn pick<T>(which: &Index, mut among: impl ExactSizeIterator<Item = T>) -> Option<T> {
    match among.len() {
        0 => None,
        size => among.nth(which.index(size)),
    }
}

/// A connection, and the server the model knows it by.
fn named((connection, key): (&ConnectionId, &ConnectionKey)) -> (ConnectionId, &'static str) {
    let server = TUNNELS.iter().map(|(.., server)| *server).find(|server| *server == key.host()).unwrap();
    (*connection, server)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_agent_does_what_the_model_does(events in prop::collection::vec(event(), 1..150)) {
        let mut play = Play::new();
        events.iter().for_each(|event| play.play(event));
        play.stop_all();
    }
}
