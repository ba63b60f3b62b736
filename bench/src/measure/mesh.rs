//! The mesh over one, two and three hops, beside rathole, bore and a plain relay. These have one way alone, and are
//! measured on it once for each number of hops, so that every reading of ours has theirs of the same turn.

use std::time::{Duration, Instant};

use super::{GIB, KIB, MIB, Plan, alternate, repeat_for};
use crate::failure::Failure;
use crate::forwarding::{Forwarder, Hops, Place, Running, Way};
use crate::process_tree::ProcessTree;
use crate::report::{Bound, Figure, Row, Unit};
use crate::service::Service;
use crate::stats::Latencies;
use crate::visitor::{Bulk, Direction, Pinger, ask_once, carry};

/// Carried before the clock starts: the windows are open then and the largest datagram is found.
const WARM_UP: u64 = 64 << 20;
/// Connections at once.
const FLOWS: u64 = 8;
/// Short connections at once.
const AT_A_TIME: usize = 32;

/// Rate and CPU of bulk: one connection over each number of hops, and several over one.
pub(crate) fn bulk(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    Ok(Direction::ALL.into_iter().flat_map(|direction| bulk_in(plan, &service, direction)).collect())
}

fn bulk_in(plan: Plan, service: &Service, direction: Direction) -> Vec<Row> {
    let passes = [
        (Hops::One, 1, Bound::AtLeast(1.5)),
        (Hops::Two, 1, Bound::AtLeast(0.9)),
        (Hops::Three, 1, Bound::Free),
        (Hops::One, FLOWS, Bound::Free),
    ];
    let figures = passes.map(|(hops, flows, rate)| {
        let many = if flows == 1 { "1 flow".to_owned() } else { format!("{flows} flows") };
        let what = format!("mesh bulk {}, {}, {many}", direction.name(), hops.name());
        let rate = Figure::new(format!("{what}: rate"), Unit::GigabitsPerSecond, rate);
        let costs = hops.places().iter().flat_map(|place| {
            let what = format!("{what}: {}", place.name());
            [
                Figure::new(format!("{what} CPU"), Unit::SecondsPerGib, Bound::Free),
                Figure::new(format!("{what} peak RSS"), Unit::Mib, Bound::Free),
            ]
        });
        [rate].into_iter().chain(costs).collect::<Vec<_>>()
    });
    let many_at = figures[..passes.len() - 1].iter().map(Vec::len).sum::<usize>();
    let bytes = plan.choose(256u64 << 20, 1 << 30);
    let mut rows = alternate(&Forwarder::ALL, plan.pairs(), figures.concat(), |forwarder| {
        let running = Running::start(forwarder, service.address())?;
        let mut readings = Vec::new();
        for (hops, flows, _) in passes {
            let way = running.way(hops)?;
            carry(way.port, direction, WARM_UP, flows)?;
            let processes: Vec<_> = hops.places().iter().map(|place| way.process(*place)).collect();
            processes.iter().flatten().try_for_each(|process| process.reset_peak())?;
            let before: Vec<_> = processes.iter().map(|process| process.map(ProcessTree::cpu)).collect();
            let took = carry(way.port, direction, bytes, flows)?.as_secs_f64();
            readings.push(Some(bytes as f64 * 8.0 / 1e9 / took));
            for (process, before) in processes.into_iter().zip(before) {
                let spent = process.zip(before).map(|(process, before)| process.cpu().saturating_sub(before));
                readings.push(spent.map(|spent| spent.as_secs_f64() / (bytes as f64 / GIB)));
                readings.push(process.map(|process| process.peak_memory() as f64 / MIB));
            }
        }
        Ok(readings)
    });
    let what = format!("mesh bulk {}, 1 hop, rate of {FLOWS} flows against 1", direction.name());
    let against = rows[many_at].divided_by(&rows[0], Figure::new(what, Unit::Factor, Bound::AtLeast(0.85)));
    rows.push(against);
    rows
}

/// Small messages to and fro, with nothing else on the way, and beside bulk.
pub(crate) fn ping(plan: Plan) -> Result<Vec<Row>, Failure> {
    let bounds = |_: Hops| (Bound::Free, Bound::AtMost(1_000.0));
    // Some ten thousand pings.
    let time = plan.choose(Duration::from_secs(1), Duration::from_secs(4));
    let alone = |way: Way| Ok((Pinger::start(way.port)?.ping_for(time)?, None));
    let mut rows = latencies(plan, "mesh ping, idle", bounds, None, alone)?;
    for direction in Direction::ALL {
        let what = format!("mesh ping beside bulk {}", direction.name());
        let beside_bulk = |way: Way| {
            let mut pinger = Pinger::start(way.port)?;
            let bulk = Bulk::start(way.port, direction)?;
            pinger.ping_beside(&bulk, time).map(|(latencies, rate)| (latencies, Some(rate)))
        };
        // A way could answer fast by carrying no bulk.
        let rate = Some("rate of the bulk");
        rows.extend(latencies(plan, &what, |_| (Bound::Free, Bound::Free), rate, beside_bulk)?);
    }
    Ok(rows)
}

/// Connections one after the other, and 32 at a time: connect, ask 64 bytes, be answered 64 bytes, and be closed by the service.
pub(crate) fn connections(plan: Plan) -> Result<Vec<Row>, Failure> {
    let bounds = |hops: Hops| match hops {
        Hops::Two => (Bound::AtMost(2_000.0), Bound::AtMost(6_000.0)),
        Hops::One | Hops::Three => (Bound::Free, Bound::Free),
    };
    let time = plan.choose(Duration::from_secs(1), Duration::from_secs(4));
    let mut rows = latencies(plan, "mesh connect and echo", bounds, None, |way| {
        let over = Instant::now() + time;
        let mut latencies = Latencies::default();
        while Instant::now() < over {
            let began = Instant::now();
            ask_once(way.port)?;
            latencies.push(began.elapsed());
        }
        Ok((latencies, None))
    })?;
    rows.extend(crowded(plan, time)?);
    Ok(rows)
}

fn crowded(plan: Plan, time: Duration) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let figures = Hops::ALL.map(|hops| {
        let what = format!("mesh connections, {}, {AT_A_TIME} at a time: rate", hops.name());
        Figure::new(what, Unit::PerSecond, Bound::Free)
    });
    Ok(alternate(&Forwarder::ALL, plan.pairs(), figures, |forwarder| {
        let running = Running::start(forwarder, service.address())?;
        let rate = |hops: Hops| {
            let way = running.way(hops)?;
            ask_once(way.port)?;
            repeat_for(AT_A_TIME, time, || ask_once(way.port)).map(|(_, rate)| rate)
        };
        Hops::ALL.into_iter().map(rate).collect::<Result<Vec<_>, _>>()
    }))
}

/// The median and the 99th percentile over each number of hops, in microseconds, and what else is told: a rate in 10^6 bytes per second.
fn latencies(
    plan: Plan,
    what: &str,
    bounds: impl Fn(Hops) -> (Bound, Bound),
    rate: Option<&str>,
    measure: impl Fn(Way) -> Result<(Latencies, Option<f64>), Failure>,
) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let figures = Hops::ALL.map(|hops| {
        let (p50, p99) = bounds(hops);
        let figure = |name: &str, unit, bound| Figure::new(format!("{what}, {}: {name}", hops.name()), unit, bound);
        let rate = rate.map(|rate| figure(rate, Unit::MegabytesPerSecond, Bound::Free));
        let latencies = [figure("p50", Unit::Microseconds, p50), figure("p99", Unit::Microseconds, p99)];
        latencies.into_iter().chain(rate).collect::<Vec<_>>()
    });
    Ok(alternate(&Forwarder::ALL, plan.pairs(), figures.concat(), |forwarder| {
        let running = Running::start(forwarder, service.address())?;
        let mut readings = Vec::new();
        for hops in Hops::ALL {
            let way = running.way(hops)?;
            // The first connection finds everything cold.
            ask_once(way.port)?;
            let (latencies, rate) = measure(way)?;
            readings.extend([latencies.quantile(0.5), latencies.quantile(0.99)].into_iter().chain(rate));
        }
        Ok(readings)
    }))
}

/// So many idle connections at first, and so many in the end: what grows faster than they do, shows.
const IDLE: [usize; 2] = [1_000, 5_000];
/// Come and go before the first look, so that the code and the pools are in memory.
const FIRST: usize = 16;

/// Memory of idle connections over two hops, each used once, at each process on their way.
pub(crate) fn idle(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let places = Hops::Two.places();
    let figures = IDLE.iter().flat_map(|count| {
        places.iter().map(move |place| {
            let bound = match place {
                Place::Listener => 32e3 / KIB,
                Place::Transit | Place::Endpoint => 16e3 / KIB,
            };
            let what = format!("mesh, idle connection over 2 hops, of {count}: at the {}", place.name());
            Figure::new(what, Unit::Kib, Bound::AtMost(bound))
        })
    });
    Ok(alternate(&Forwarder::ALL, plan.choose(1, 3), figures, |forwarder| {
        let running = Running::start(forwarder, service.address())?;
        let way = running.way(Hops::Two)?;
        let join = |count: usize| (0..count).map(|_| Pinger::start(way.port)).collect::<Result<Vec<_>, _>>();
        let look = || places.iter().map(|place| Some(way.process(*place)?.memory_at_rest() as f64 / KIB));
        drop(join(FIRST)?);
        let before: Vec<Option<f64>> = look().collect();
        let (mut idle, mut readings) = (Vec::new(), Vec::new());
        for count in IDLE {
            idle.extend(join(count - idle.len())?);
            readings.extend(look().zip(&before).map(|(now, before)| Some((now? - (*before)?) / count as f64)));
        }
        Ok(readings)
    }))
}
