//! What is measured, one file per kind; this file runs a measurement on both servers in turn.

mod bulk;
mod connections;
mod flood;
mod idle_channels;
mod idle_memory;
mod logins;
mod pages;
mod ping;
mod stalled;

use crate::failure::Failure;
use crate::report::{Figure, Row};
use crate::server::Subject;

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

/// A kind of measurement by the name it is asked for.
pub(crate) struct Kind {
    /// What to type.
    pub(crate) name: &'static str,
    /// What it tells.
    pub(crate) tells: &'static str,
    /// Makes its rows.
    pub(crate) run: fn(Plan) -> Result<Vec<Row>, Failure>,
}

/// All kinds, in the table's order.
pub(crate) const KINDS: [Kind; 11] = [
    Kind {
        name: "bulk",
        tells: "rate, server CPU and peak memory of bulk, by cipher, flows and direction",
        run: bulk::run,
    },
    Kind { name: "connections", tells: "connections per second through one tunnel", run: connections::run },
    Kind { name: "ping", tells: "64-byte ping-pong, idle and beside bulk of the same session", run: ping::run },
    Kind { name: "stalled", tells: "a working visitor beside one that stops reading", run: stalled::run },
    Kind { name: "logins", tells: "logins per second and their server CPU", run: logins::run },
    Kind { name: "sessions", tells: "memory of idle sessions with one forward", run: idle_memory::sessions },
    Kind { name: "visitors", tells: "memory of idle forwarded connections", run: idle_memory::visitors },
    Kind { name: "silent", tells: "memory of silent connections before login", run: idle_memory::silent },
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

/// Measures `figures` on the subjects in turn, A B A B, so that whatever else this machine does falls on both. A subject that
/// fails is not tried again, and its reason stands in the row.
/// `measure` gives one reading per figure, in their order.
fn alternate<Readings: IntoIterator<Item = f64>>(
    subjects: &[Subject],
    pairs: usize,
    figures: impl IntoIterator<Item = Figure>,
    mut measure: impl FnMut(Subject) -> Result<Readings, Failure>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = figures.into_iter().map(Row::new).collect();
    for _ in 0..pairs {
        for subject in subjects {
            if rows.iter().any(|row| row.has_failed(*subject)) {
                continue;
            }
            match measure(*subject) {
                Ok(readings) => {
                    for (row, reading) in rows.iter_mut().zip(readings) {
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
