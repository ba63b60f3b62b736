//! A visitor asks for bytes without end and reads none of them; another one, on the same session, works on.

use std::time::Duration;

use super::{MIB, Plan, alternate};
use crate::client::{Client, Forward, Tunnel};
use crate::failure::Failure;
use crate::forwarding::{Forwarder, Hops, Running};
use crate::process_tree::ProcessTree;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::{Request, Service};
use crate::visitor::{Door, Pinger, ask_once, visit};

/// The jump host beside sshd, with OpenSSH's client and with ours.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let with = |client: Client, what: &str| {
        let figures = figures(what, "server", Bound::AtMost(2.0));
        alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
            let server = Server::start(subject)?;
            let tunnel = Tunnel::of(client, Forward::Remote, &server, service.address())?;
            look(plan, tunnel.door(), &[server.processes()])
        })
    };
    let mut rows = with(Client::OpenSsh, "beside a stalled visitor");
    rows.extend(with(Client::Adit, "with our client, beside a stalled visitor"));
    Ok(rows)
}

/// Our client beside OpenSSH's, at the same sshd.
pub(crate) fn agent(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let figures = figures("agent -L, beside a stalled visitor", "client", Bound::AtMost(2.0));
    Ok(alternate(&Client::PAIR, plan.pairs(), figures, |client| {
        let server = Server::start(Subject::Sshd)?;
        let tunnel = Tunnel::of(client, Forward::Local, &server, service.address())?;
        look(plan, tunnel.door(), &[tunnel.processes()])
    }))
}

/// The mesh over one hop beside its peers; what grows at both ends.
pub(crate) fn mesh(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    // An agent holds up to 4 MiB for a connection that nobody reads.
    let figures = figures("mesh, 1 hop, beside a stalled visitor", "both ends'", Bound::AtMost(8.0));
    Ok(alternate(&Forwarder::ALL, plan.pairs(), figures, |forwarder| {
        let running = Running::start(forwarder, service.address())?;
        let way = running.way(Hops::One)?;
        let processes: Vec<ProcessTree> = Hops::One.places().iter().filter_map(|place| way.process(*place)).collect();
        look(plan, way.port, &processes)
    }))
}

fn figures(what: &str, whose: &str, memory: Bound) -> [Figure; 3] {
    [
        Figure::new(format!("{what}: ping p50"), Unit::Milliseconds, Bound::AtMost(5.0)),
        Figure::new(format!("{what}: slowest ping"), Unit::Milliseconds, Bound::Free),
        Figure::new(format!("{what}: {whose} memory grown"), Unit::Mib, memory),
    ]
}

/// Latency of the working one, and what the stalled one costs those who carry it.
fn look(plan: Plan, door: impl Into<Door>, processes: &[ProcessTree]) -> Result<[f64; 3], Failure> {
    let door = door.into();
    let mut pinger = Pinger::start(door)?;
    pinger.ping_for(Duration::from_millis(100))?;
    let before: u64 = processes.iter().map(|process| process.memory_at_rest()).sum();
    let _stalled = visit(door, Request::Download(u64::MAX))?;
    // Who buffers for the stalled one shows it in the first seconds; who gives up on the session, in ten.
    let time = plan.choose(Duration::from_secs(5), Duration::from_secs(20));
    let latencies = pinger.ping_for(time)?;
    let grown = processes.iter().map(|process| process.memory()).sum::<u64>().saturating_sub(before);
    // A visitor who comes later is served as well.
    ask_once(door)?;
    Ok([latencies.quantile(0.5) / 1e3, latencies.quantile(1.0) / 1e3, grown as f64 / MIB])
}
