//! Our client beside OpenSSH's, at the same sshd: what each kind of forward carries, and what that costs the client.

use std::time::Duration;

use super::{Bulked, KIB, MIB, Plan, alternate, carry_watching, each_costs, repeat_for};
use crate::client::{Client, Forward, Tunnel};
use crate::failure::Failure;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::{Bulk, Direction, Pinger, ask_once, carry};

/// Carried before the clock starts.
const WARM_UP: u64 = 64 << 20;
/// Connections at once.
const FLOWS: u64 = 8;

/// Rate, CPU and peak memory of bulk through each kind of forward, over one connection and over several.
pub(crate) fn bulk(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let mut rows = Vec::new();
    for forward in Forward::ALL {
        for direction in Direction::ALL {
            rows.extend(bulk_through(plan, &service, forward, direction));
        }
    }
    Ok(rows)
}

fn bulk_through(plan: Plan, service: &Service, forward: Forward, direction: Direction) -> Vec<Row> {
    let passes = [1, FLOWS];
    let figures = passes.map(|flows| {
        let many = if flows == 1 { "1 flow".to_owned() } else { format!("{flows} flows") };
        let what = format!("agent {}, bulk {}, {many}", forward.name(), direction.name());
        [
            Figure::new(format!("{what}: rate"), Unit::MegabytesPerSecond, Bound::RatioAtLeast(1.0)),
            Figure::new(format!("{what}: client CPU"), Unit::SecondsPerGib, Bound::RatioAtMost(1.0)),
            Figure::new(format!("{what}: server CPU"), Unit::SecondsPerGib, Bound::Free),
            Figure::new(format!("{what}: peak RSS"), Unit::Mib, Bound::Free),
        ]
    });
    let bytes = plan.choose(512u64 << 20, 2 << 30);
    alternate(&Client::PAIR, plan.pairs(), figures.concat(), |client| {
        let server = Server::start(Subject::Sshd)?;
        let tunnel = Tunnel::of(client, forward, &server, service.address())?;
        let (door, processes) = (tunnel.door(), tunnel.processes());
        let mut readings = Vec::new();
        for flows in passes {
            carry(door, direction, WARM_UP, flows)?;
            processes.reset_peak()?;
            let Bulked { rate, cpu: [cpu, server_cpu], .. } =
                carry_watching([processes, server.processes()], door, direction, bytes, flows)?;
            readings.extend([rate, cpu, server_cpu, processes.peak_memory() as f64 / MIB]);
        }
        Ok(readings)
    })
}

/// Short connections through each kind of forward, one after the other and 32 at a time.
pub(crate) fn connections(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let passes = [1, 32];
    let figures = |forward: Forward| {
        passes.map(|at_a_time| {
            let what = format!("agent {}, connections, {at_a_time} at a time", forward.name());
            [
                Figure::new(format!("{what}: rate"), Unit::PerSecond, Bound::RatioAtLeast(1.0)),
                Figure::new(format!("{what}: client CPU each"), Unit::Microseconds, Bound::Free),
            ]
        })
    };
    let measure = |forward: Forward| {
        alternate(&Client::PAIR, plan.pairs(), figures(forward).concat(), |client| {
            let server = Server::start(Subject::Sshd)?;
            let tunnel = Tunnel::of(client, forward, &server, service.address())?;
            let time = plan.choose(Duration::from_secs(1), Duration::from_secs(3));
            let mut readings = Vec::new();
            for at_a_time in passes {
                let (rate, [cpu]) =
                    each_costs([tunnel.processes()], || repeat_for(at_a_time, time, || ask_once(tunnel.door())))?;
                readings.extend([rate, cpu]);
            }
            Ok(readings)
        })
    };
    Ok(Forward::ALL.into_iter().flat_map(measure).collect())
}

/// Small messages through each kind of forward, with nothing else and beside bulk of the same session.
pub(crate) fn ping(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let time = plan.choose(Duration::from_secs(1), Duration::from_secs(4));
    let besides = [None, Some(Direction::Down), Some(Direction::Up)];
    let figures = |forward: Forward| {
        besides.map(|beside| {
            let named = beside.map_or("idle".to_owned(), |direction| format!("beside bulk {}", direction.name()));
            let what = |figure: &str| format!("agent {}, ping {named}: {figure}", forward.name());
            let quantiles =
                ["p50", "p99"].map(|quantile| Figure::new(what(quantile), Unit::Microseconds, Bound::RatioAtMost(1.0)));
            // A client could answer fast by carrying no bulk.
            let rate = Figure::new(what("rate of the bulk"), Unit::MegabytesPerSecond, Bound::Free);
            let rate = beside.map(|_| rate);
            quantiles.into_iter().chain(rate).collect::<Vec<_>>()
        })
    };
    let measure = |forward: Forward| {
        alternate(&Client::PAIR, plan.pairs(), figures(forward).concat(), |client| {
            let server = Server::start(Subject::Sshd)?;
            let tunnel = Tunnel::of(client, forward, &server, service.address())?;
            let mut pinger = Pinger::start(tunnel.door())?;
            let mut readings = Vec::new();
            for beside in besides {
                let bulk = beside.map(|direction| Bulk::start(tunnel.door(), direction)).transpose()?;
                let (latencies, rate) = match &bulk {
                    None => (pinger.ping_for(time)?, None),
                    Some(bulk) => pinger.ping_beside(bulk, time).map(|(latencies, rate)| (latencies, Some(rate)))?,
                };
                readings.extend([latencies.quantile(0.5), latencies.quantile(0.99)].into_iter().chain(rate));
            }
            Ok(readings)
        })
    };
    Ok(Forward::ALL.into_iter().flat_map(measure).collect())
}

/// So many idle connections at first, and so many in the end.
const IDLE: [usize; 2] = [100, 1_000];
/// Come and go before the first look.
const FIRST: usize = 16;

/// Memory of the client with one local forward, and of each idle connection through it.
pub(crate) fn idle(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let first = Figure::new("agent -L, client with one forward", Unit::Mib, Bound::Free);
    let each = IDLE
        .map(|count| Figure::new(format!("agent -L, idle connection, of {count}"), Unit::Kib, Bound::RatioAtMost(1.0)));
    Ok(alternate(&Client::PAIR, plan.choose(1, 3), [first].into_iter().chain(each), |client| {
        let server = Server::start(Subject::Sshd)?;
        let tunnel = Tunnel::of(client, Forward::Local, &server, service.address())?;
        let (door, processes) = (tunnel.door(), tunnel.processes());
        let join = |count: usize| (0..count).map(|_| Pinger::start(door)).collect::<Result<Vec<_>, _>>();
        ask_once(door)?;
        let alone = processes.memory_at_rest() as f64;
        drop(join(FIRST)?);
        let before = processes.memory_at_rest() as f64;
        let (mut idle, mut readings) = (Vec::new(), vec![alone / MIB]);
        for count in IDLE {
            idle.extend(join(count - idle.len())?);
            readings.push((processes.memory_at_rest() as f64 - before) / KIB / count as f64);
        }
        Ok(readings)
    }))
}
