//! Short connections through one session of OpenSSH's client, and of ours: connect, ask 64 bytes, be answered 64 bytes, be closed by the
//! service.

use std::time::Duration;

use super::{Plan, alternate};
use crate::client::{Client, Forward, Tunnel};
use crate::failure::Failure;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::{ask_for, ask_once};

/// One visitor after the other, and 32 at a time.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let mut rows = measure(plan, &service, Client::OpenSsh, 1, 1.2);
    rows.extend(measure(plan, &service, Client::OpenSsh, 32, 1.13));
    rows.extend(measure(plan, &service, Client::Adit, 1, 1.0));
    rows.extend(measure(plan, &service, Client::Adit, 32, 1.0));
    Ok(rows)
}

fn measure(plan: Plan, service: &Service, client: Client, at_a_time: usize, promised: f64) -> Vec<Row> {
    let with = if client == Client::Adit { " with our client" } else { "" };
    let what = format!("connections{with}, {at_a_time} at a time");
    let figures = [
        Figure::new(format!("{what}: rate"), Unit::PerSecond, Bound::RatioAtLeast(promised)),
        Figure::new(format!("{what}: server CPU each"), Unit::Microseconds, Bound::Free),
    ];
    alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = Tunnel::of(client, Forward::Remote, &server, service.address())?;
        ask_once(tunnel.door())?;
        let processes = server.processes();
        let cpu = processes.cpu();
        // Bounded by time, because one of these servers may be a hundred times slower than the other.
        let time = plan.choose(Duration::from_secs(1), Duration::from_secs(3));
        let (count, took) = ask_for(tunnel.door(), at_a_time, time)?;
        let cpu = processes.cpu().saturating_sub(cpu).as_secs_f64();
        Ok([count / took.as_secs_f64(), cpu * 1e6 / count])
    })
}
