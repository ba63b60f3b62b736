//! A visitor asks for bytes without end and reads none of them; another one, on the same session, works on.

use std::time::Duration;

use super::{MIB, Plan, alternate};
use crate::client::Tunnel;
use crate::failure::Failure;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::{Request, Service};
use crate::visitor::{Pinger, ask_once, visit};

/// Latency of the working one, and what the stalled one costs the server.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let figures = [
        Figure::new("beside a stalled visitor: ping p50", Unit::Milliseconds, Bound::AtMost(5.0)),
        Figure::new("beside a stalled visitor: slowest ping", Unit::Milliseconds, Bound::Free),
        Figure::new("beside a stalled visitor: server memory grown", Unit::Mib, Bound::AtMost(2.0)),
    ];
    Ok(alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = Tunnel::of_ssh(&server, service.address())?;
        let mut pinger = Pinger::start(tunnel.door())?;
        pinger.ping_for(Duration::from_millis(100))?;
        let before = server.processes().memory_at_rest();
        let _stalled = visit(tunnel.door(), Request::Download(u64::MAX))?;
        // A server that buffers for the stalled one shows it in the first seconds; one that gives up on the session, in ten.
        let time = plan.choose(Duration::from_secs(5), Duration::from_secs(20));
        let latencies = pinger.ping_for(time)?;
        let grown = server.processes().memory().saturating_sub(before);
        // A visitor who comes later is served as well.
        ask_once(tunnel.door())?;
        Ok([latencies.quantile(0.5) / 1e3, latencies.quantile(1.0) / 1e3, grown as f64 / MIB])
    }))
}
