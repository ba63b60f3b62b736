//! Small messages to and fro through one session of OpenSSH's client, and of ours: alone, and beside bulk of the same session.

use std::time::Duration;

use super::{Plan, alternate, each_costs};
use crate::client::{Client, Forward, Tunnel};
use crate::failure::Failure;
use crate::line::{self, Line};
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::{Bulk, Direction, Pinger};

/// Idle, beside a download, beside an upload.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let mut rows = idle(plan, &service, Client::OpenSsh, 0.9);
    rows.extend(idle(plan, &service, Client::Adit, 1.0));
    for (client, promised) in [(Client::OpenSsh, [0.94, 0.7]), (Client::Adit, [1.0, 1.0])] {
        for direction in Direction::ALL {
            rows.extend(beside_bulk(plan, &service, client, direction, promised));
        }
    }
    Ok(rows)
}

fn idle(plan: Plan, service: &Service, client: Client, promised: f64) -> Vec<Row> {
    let what = |figure: &str| format!("ping{}, idle: {figure}", client.beside_a_server());
    let figures = [
        Figure::new(what("p50"), Unit::Microseconds, Bound::RatioAtMost(promised)),
        Figure::new(what("p99"), Unit::Microseconds, Bound::RatioAtMost(promised)),
        Figure::new(what("server CPU each"), Unit::Microseconds, Bound::Free),
        Figure::new(what("client CPU each"), Unit::Microseconds, Bound::Free),
    ];
    alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = Tunnel::of(client, Forward::Remote, &server, service.address())?;
        let mut pinger = Pinger::start(tunnel.door())?;
        let (latencies, [server_cpu, client_cpu]) = each_costs([server.processes(), tunnel.processes()], || {
            pinger.ping_for(time(plan)).map(|latencies| (latencies.count(), latencies))
        })?;
        Ok([latencies.quantile(0.5), latencies.quantile(0.99), server_cpu, client_cpu])
    })
}

fn beside_bulk(
    plan: Plan,
    service: &Service,
    client: Client,
    direction: Direction,
    [median, slowest]: [f64; 2],
) -> Vec<Row> {
    let what = |figure: &str| format!("ping{} beside bulk {}: {figure}", client.beside_a_server(), direction.name());
    let figures = [
        Figure::new(what("p50"), Unit::Microseconds, Bound::RatioAtMost(median)),
        Figure::new(what("p99"), Unit::Microseconds, Bound::RatioAtMost(slowest)),
        // A tunnel could answer fast by carrying no bulk.
        Figure::new(what("rate of the bulk"), Unit::MegabytesPerSecond, Bound::Free),
    ];
    alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = Tunnel::of(client, Forward::Remote, &server, service.address())?;
        let mut pinger = Pinger::start(tunnel.door())?;
        let bulk = Bulk::start(tunnel.door(), direction)?;
        let (latencies, rate) = pinger.ping_beside(&bulk, time(plan))?;
        Ok([latencies.quantile(0.5), latencies.quantile(0.99), rate])
    })
}

/// A home's line, with a router that holds half a second of what comes.
const LINE: line::Kind = line::Kind { rate: 2_500_000, delay: Duration::from_millis(20), queue: 1_250_000 };

/// A service behind a line of 20 Mbit/s each way and 40 ms there and back: what a person who types feels while something is sent to it.
pub(crate) fn over_a_slow_line(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let what = |figure: &str| format!("ping beside bulk up, line of 20 Mbit/s and 40 ms: {figure}");
    let figures = [
        Figure::new(what("p50"), Unit::Milliseconds, Bound::RatioAtMost(0.5)),
        Figure::new(what("p99"), Unit::Milliseconds, Bound::RatioAtMost(0.5)),
        Figure::new(what("rate of the bulk"), Unit::MegabytesPerSecond, Bound::RatioAtLeast(0.95)),
    ];
    Ok(alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let line = Line::start(LINE, server.ssh())?;
        let tunnel = Tunnel::of_ssh_over(&line, &server, service.address())?;
        let mut pinger = Pinger::start(tunnel.door())?;
        let bulk = Bulk::start(tunnel.door(), Direction::Up)?;
        // What came first stood in empty buffers.
        pinger.ping_for(plan.choose(Duration::from_secs(5), Duration::from_secs(15)))?;
        let time = plan.choose(Duration::from_secs(10), Duration::from_secs(30));
        let (latencies, rate) = pinger.ping_beside(&bulk, time)?;
        Ok([latencies.quantile(0.5) / 1e3, latencies.quantile(0.99) / 1e3, rate])
    }))
}

/// Some ten thousand pings.
fn time(plan: Plan) -> Duration {
    plan.choose(Duration::from_secs(1), Duration::from_secs(4))
}
