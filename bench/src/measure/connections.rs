//! Short connections through one session of OpenSSH's client, and of ours: connect, ask 64 bytes, be answered 64 bytes, be closed by the
//! service.

use std::time::Duration;

use super::{MIB, Plan, alternate, each_costs, repeat_for};
use crate::client::{Client, Forward, Tunnel};
use crate::failure::Failure;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::ask_once;

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
    let what = format!("connections{}, {at_a_time} at a time", client.beside_a_server());
    let figures = [
        Figure::new(format!("{what}: rate"), Unit::PerSecond, Bound::RatioAtLeast(promised)),
        Figure::new(format!("{what}: server CPU each"), Unit::Microseconds, Bound::Free),
        Figure::new(format!("{what}: client CPU each"), Unit::Microseconds, Bound::Free),
        Figure::new(format!("{what}: server peak RSS"), Unit::Mib, Bound::Free).kept_apart(),
    ];
    alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = Tunnel::of(client, Forward::Remote, &server, service.address())?;
        ask_once(tunnel.door())?;
        let served = server.processes();
        served.reset_peak()?;
        // Bounded by time, because one of these servers may be a hundred times slower than the other.
        let time = plan.choose(Duration::from_secs(1), Duration::from_secs(3));
        let (rate, [server_cpu, client_cpu]) =
            each_costs([served, tunnel.processes()], || repeat_for(at_a_time, time, || ask_once(tunnel.door())))?;
        Ok([rate, server_cpu, client_cpu, served.peak_memory() as f64 / MIB])
    })
}
