//! What is measured, one file per kind; this file runs a measurement on all who are compared, in turn.

mod agent;
mod bulk;
mod connections;
mod flood;
mod floors;
mod growth;
mod idle_channels;
mod idle_memory;
mod logins;
mod mesh;
mod pages;
mod ping;
mod recovery;
mod stalled;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::failure::Failure;
use crate::process_tree::ProcessTree;
use crate::report::{Figure, Measured, Row};
use crate::visitor::{Direction, Door, carry};

/// In bytes, for figures.
const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
const KIB: f64 = 1024.0;

/// How thoroughly to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// A smaller run, to see whether all works and roughly where the figures lie.
    pub(crate) quick: bool,
}

impl Plan {
    /// Pairs per row. A median of two is a mean; five bear two outliers.
    fn pairs(self) -> usize {
        self.choose(2, 5)
    }

    /// One of two sizes.
    fn choose<T>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Files that one process may open.
fn open_files() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// What bulk was like.
struct Bulked<const N: usize> {
    /// 10^6 bytes per second.
    rate: f64,
    /// What each of those who carried it spent, in processor seconds per GiB.
    cpu: [f64; N],
    /// How often each of them waited, for each MiB.
    waits: [f64; N],
}

/// Carries bulk and looks at what it costs those who carry it.
fn carry_watching<const N: usize>(
    processes: [ProcessTree; N],
    door: impl Into<Door>,
    direction: Direction,
    bytes: u64,
    flows: u64,
) -> Result<Bulked<N>, Failure> {
    let look = || processes.map(|process| (process.cpu(), process.waits()));
    let before = look();
    let took = carry(door, direction, bytes, flows)?;
    let after = look();
    let cpu = |at: usize| after[at].0.saturating_sub(before[at].0).as_secs_f64() / (bytes as f64 / GIB);
    let waits = |at: usize| after[at].1.saturating_sub(before[at].1) as f64 / (bytes as f64 / MIB);
    let rate = bytes as f64 / 1e6 / took.as_secs_f64();
    Ok(Bulked { rate, cpu: std::array::from_fn(cpu), waits: std::array::from_fn(waits) })
}

/// Does so many things, and looks at what each of them costs those who carry it: processor time in microseconds.
fn each_costs<T, const N: usize>(
    processes: [ProcessTree; N],
    things: impl FnOnce() -> Result<(f64, T), Failure>,
) -> Result<(T, [f64; N]), Failure> {
    let before = processes.map(ProcessTree::cpu);
    let (count, done) = things()?;
    let cost = |at: usize| processes[at].cpu().saturating_sub(before[at]).as_secs_f64() * 1e6 / count;
    Ok((done, std::array::from_fn(cost)))
}

/// Does the same again and again, `at_a_time` of them, until the time is over. Returns how often, and how often in a second.
fn repeat_for(
    at_a_time: usize,
    time: Duration,
    once: impl Fn() -> Result<(), Failure> + Sync,
) -> Result<(f64, f64), Failure> {
    let (count, began) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        let repeat = || {
            while began.elapsed() < time {
                once()?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let repeating: Vec<_> = (0..at_a_time).map(|_| scope.spawn(repeat)).collect();
        repeating.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(Failure::new("a thread panicked"))))
    })?;
    let count = count.into_inner() as f64;
    Ok((count, count / began.elapsed().as_secs_f64()))
}

/// What kinds belong to, which can be asked for together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// What the kernel and the ciphers take by themselves.
    Floors,
    /// The jump host beside sshd.
    JumpHost,
    /// Our client beside OpenSSH's.
    Agent,
    /// The mesh beside rathole, bore and a plain relay.
    Mesh,
}

impl Group {
    /// All, in the table's order.
    pub(crate) const ALL: [Self; 4] = [Self::Floors, Self::JumpHost, Self::Agent, Self::Mesh];

    /// What to type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floors => "floors",
            Self::JumpHost => "jumphost",
            Self::Agent => "agent",
            Self::Mesh => "mesh",
        }
    }

    /// What it compares.
    pub(crate) fn tells(self) -> &'static str {
        match self {
            Self::Floors => "what forwarding and ciphers cost at least",
            Self::JumpHost => "the jump host beside sshd",
            Self::Agent => "our client beside OpenSSH's, and beside autossh",
            Self::Mesh => "the mesh beside rathole, bore and a plain TCP relay",
        }
    }

    /// Whether a kind is one of its own.
    pub(crate) fn has(self, kind: &Kind) -> bool {
        self.kinds().iter().any(|own| own.name == kind.name)
    }

    /// Its kinds, in the table's order.
    pub(crate) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Floors => &FLOORS,
            Self::JumpHost => &JUMP_HOST,
            Self::Agent => &AGENT,
            Self::Mesh => &MESH,
        }
    }
}

/// A kind of measurement by the name it is asked for.
pub(crate) struct Kind {
    /// What to type.
    pub(crate) name: &'static str,
    /// What it tells.
    pub(crate) tells: &'static str,
    /// Makes its rows.
    pub(crate) run: fn(Plan) -> Result<Vec<Row>, Failure>,
}

const FLOORS: [Kind; 2] = [
    Kind { name: "relays", tells: "bulk through one process that does nothing but relay", run: floors::relays },
    Kind { name: "ciphers", tells: "the ciphers alone, and our engine between two buffers", run: floors::ciphers },
];

const JUMP_HOST: [Kind; 13] = [
    Kind { name: "bulk", tells: "rate, CPU and peak memory of bulk, by cipher, flows and direction", run: bulk::run },
    Kind { name: "connections", tells: "connections per second through one tunnel", run: connections::run },
    Kind { name: "ping", tells: "64-byte ping-pong, idle and beside bulk of the same session", run: ping::run },
    Kind { name: "slow-line", tells: "the same over a line of 20 Mbit/s and 40 ms", run: ping::over_a_slow_line },
    Kind { name: "stalled", tells: "a working visitor beside one that stops reading", run: stalled::run },
    Kind { name: "logins", tells: "logins per second and their server CPU", run: logins::run },
    Kind { name: "sessions", tells: "memory of idle sessions and tunnels", run: idle_memory::sessions },
    Kind { name: "visitors", tells: "memory of idle forwarded connections", run: idle_memory::visitors },
    Kind { name: "silent", tells: "memory of silent connections before login", run: idle_memory::silent },
    Kind { name: "growth", tells: "login, ping and bulk beside up to 10,000 idle tunnels", run: growth::run },
    Kind { name: "idle-channels", tells: "bulk and ping beside 1,000 idle channels", run: idle_channels::run },
    Kind {
        name: "pages",
        tells: "tunnels at work while pages of the dashboard watch them, against none that do (adit only)",
        run: pages::run,
    },
    Kind {
        name: "flood",
        tells: "5,000 silent connections before login, and who logs in meanwhile (adit only)",
        run: flood::run,
    },
];

const AGENT: [Kind; 6] = [
    Kind { name: "agent-bulk", tells: "rate, CPU and peak memory of bulk through -L, -D and -R", run: agent::bulk },
    Kind { name: "agent-connections", tells: "connections per second through -L, -D and -R", run: agent::connections },
    Kind { name: "agent-ping", tells: "64-byte ping-pong through them, idle and beside bulk", run: agent::ping },
    Kind {
        name: "agent-stalled",
        tells: "a working visitor beside one that stops reading, through -L",
        run: stalled::agent,
    },
    Kind { name: "agent-idle", tells: "memory of a client and of idle connections through it", run: agent::idle },
    Kind { name: "recovery", tells: "how long nobody is served when a session is lost", run: recovery::run },
];

const MESH: [Kind; 5] = [
    Kind { name: "mesh-bulk", tells: "rate and CPU of bulk over 1 to 3 hops, and of 8 flows at once", run: mesh::bulk },
    Kind { name: "mesh-ping", tells: "64-byte ping-pong over 1 to 3 hops, idle and beside bulk", run: mesh::ping },
    Kind {
        name: "mesh-connections",
        tells: "connect and echo over 1 to 3 hops, and 32 at a time",
        run: mesh::connections,
    },
    Kind { name: "mesh-stalled", tells: "a working visitor beside one that stops reading", run: stalled::mesh },
    Kind { name: "mesh-idle", tells: "memory of idle connections at each process on their way", run: mesh::idle },
];

/// Measures `figures` on the subjects in turn, A B A B, so that whatever else this machine does falls on all. A subject
/// that fails is not tried again, and its reason stands in the row.
/// `measure` gives one reading per figure, in their order; `None` where the figure is nothing that this subject has.
fn alternate<S: Measured, Readings: IntoIterator<Item: Into<Option<f64>>>>(
    subjects: &[S],
    turns: usize,
    figures: impl IntoIterator<Item = Figure>,
    mut measure: impl FnMut(S) -> Result<Readings, Failure>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = figures.into_iter().map(Row::new::<S>).collect();
    for _ in 0..turns {
        for subject in subjects {
            if rows.iter().any(|row| row.has_failed(*subject)) {
                continue;
            }
            match measure(*subject) {
                Ok(readings) => {
                    for (row, reading) in rows.iter_mut().zip(readings) {
                        let Some(reading) = reading.into() else { continue };
                        eprintln!("  {:5} {} {}", subject.name(), row.describe_reading(reading), row.what());
                        row.push(*subject, reading);
                    }
                }
                Err(failure) => {
                    eprintln!("  {:5} failed: {failure}", subject.name());
                    rows.iter_mut().for_each(|row| row.fail(*subject, &failure));
                }
            }
        }
    }
    rows
}
