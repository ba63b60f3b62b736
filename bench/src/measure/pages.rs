//! What the dashboard costs those who do not look at it: tunnels that move bytes while pages watch, against the same tunnels watched by
//! nobody. All tunnels and all pages are of one account, so that each page is told of each tunnel, once a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_ssh::crypto::KexAlgorithm;

use super::{Bulked, KIB, Plan, alternate, carry_watching};
use crate::failure::Failure;
use crate::far_end::FarEnd;
use crate::page::Page;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::visitor::{Direction, Pinger, carry};

/// What an account may hold by default.
const TUNNELS: usize = 20;
/// What the server gives to one account.
const PAGES: usize = 32;
/// Between two messages through each tunnel: ten to each look, so that every row has something new at each.
const PACE: Duration = Duration::from_millis(100);
const WARM_UP: u64 = 64 << 20;

/// What is read without and with the pages, and what is promised of it with them against without: that nobody feels them.
const FIGURES: [(&str, Unit, Bound); 3] = [
    ("bulk rate down", Unit::MegabytesPerSecond, Bound::AtLeast(0.9)),
    ("bulk server CPU down", Unit::SecondsPerGib, Bound::AtMost(1.1)),
    ("server CPU per second of small messages", Unit::Milliseconds, Bound::Free),
];

/// What is read once, and what is promised: a thousandth of a core, and the storage of one HTTP connection with the last view in it.
const PER_PAGE: [(&str, Unit, Bound); 3] = [
    ("server CPU per page and second", Unit::Milliseconds, Bound::AtMost(1.0)),
    ("memory per page", Unit::Kib, Bound::AtMost(128.0)),
    ("events per page and second", Unit::Kib, Bound::Free),
];

/// Without and with the pages, one divided by the other, and what each page takes.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let named = |beside: String, figures: &[(&str, Unit, Bound)], promised: bool| -> Vec<Figure> {
        let bound = |bound: Bound| if promised { bound } else { Bound::Free };
        figures.iter().map(|(what, unit, most)| Figure::new(format!("{beside}: {what}"), *unit, bound(*most))).collect()
    };
    let figures = [
        named(format!("{TUNNELS} tunnels, no pages"), &FIGURES, false),
        named(format!("{TUNNELS} tunnels, {PAGES} pages"), &FIGURES, false),
        named(format!("{TUNNELS} tunnels"), &PER_PAGE, true),
    ];
    let mut rows = alternate(&[Subject::Adit], plan.pairs(), figures.concat(), |subject| measure(plan, subject));
    let (without, with) = rows.split_at(FIGURES.len());
    let factors = with.iter().zip(without).zip(FIGURES).map(|((with, without), (what, _, bound))| {
        with.divided_by(without, Figure::new(format!("{PAGES} pages against none: {what}"), Unit::Factor, bound))
    });
    let factors: Vec<Row> = factors.collect();
    rows.extend(factors);
    Ok(rows)
}

fn measure(plan: Plan, subject: Subject) -> Result<Vec<f64>, Failure> {
    let server = Server::start(subject)?;
    let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
    let tunnels = (0..TUNNELS).map(|_| FarEnd::start(&server, &config)).collect::<Result<Vec<_>, _>>()?;
    let ports: Vec<u16> = tunnels.iter().map(FarEnd::port).collect();
    // The first pages bring their code into memory, and go.
    drop(Page::open(server.dashboard()?, server.account(), &server.password_link()?, 1)?);
    let before = server.processes().memory_at_rest();
    let without = load(plan, &server, &ports, &[])?;
    let pages = Page::open(server.dashboard()?, server.account(), &server.password_link()?, PAGES)?;
    let memory = server.processes().memory_at_rest().saturating_sub(before) as f64 / KIB / PAGES as f64;
    let with = load(plan, &server, &ports, &pages)?;
    if !pages.iter().all(Page::watches) {
        return Err(Failure::new("the server ended the stream of a page that watched"));
    }
    let cpu = (with.cpu_of_messages - without.cpu_of_messages) / PAGES as f64;
    Ok([without.figures().as_slice(), with.figures().as_slice(), &[cpu, memory, with.events]].concat())
}

/// What the server did with or without pages.
struct Load {
    bulk_rate: f64,
    bulk_cpu: f64,
    /// Milliseconds per second.
    cpu_of_messages: f64,
    /// KiB per page and second.
    events: f64,
}

impl Load {
    /// In the order of [`FIGURES`].
    fn figures(&self) -> [f64; FIGURES.len()] {
        [self.bulk_rate, self.bulk_cpu, self.cpu_of_messages]
    }
}

/// Small messages through all tunnels, by themselves and then beside bulk through one of them.
fn load(plan: Plan, server: &Server, ports: &[u16], pages: &[Page]) -> Result<Load, Failure> {
    // The kernel counts in ticks of 10 ms.
    let time = plan.choose(Duration::from_secs(10), Duration::from_secs(20));
    let bytes = plan.choose(1u64 << 30, 4 << 30);
    let (processes, over) = (server.processes(), AtomicBool::new(false));
    let mut pingers = ports.iter().map(|port| Pinger::start(*port)).collect::<Result<Vec<_>, _>>()?;
    thread::scope(|scope| {
        let messages = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                pingers.iter_mut().try_for_each(|pinger| pinger.ping().map(drop))?;
                thread::sleep(PACE);
            }
            Ok(())
        });
        let read = || {
            let (cpu, told, began) = (processes.cpu(), told(pages), Instant::now());
            thread::sleep(time);
            let took = began.elapsed().as_secs_f64();
            let cpu_of_messages = processes.cpu().saturating_sub(cpu).as_secs_f64() * 1e3 / took;
            let events = (self::told(pages) - told) as f64 / KIB / took / pages.len().max(1) as f64;
            carry(ports[0], Direction::Down, WARM_UP, 1)?;
            let Bulked { rate: bulk_rate, cpu: [bulk_cpu], .. } =
                carry_watching([processes], ports[0], Direction::Down, bytes, 1)?;
            Ok(Load { bulk_rate, bulk_cpu, cpu_of_messages, events })
        };
        let read = read();
        over.store(true, Ordering::Relaxed);
        messages.join().unwrap_or_else(|_| Err(Failure::new("a visitor panicked")))?;
        read
    })
}

fn told(pages: &[Page]) -> u64 {
    pages.iter().map(Page::bytes).sum()
}
