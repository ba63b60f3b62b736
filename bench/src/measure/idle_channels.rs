//! Bulk and ping of a session that holds 1,000 idle channels, against the same session without them. The far end is the engine's
//! client, so that what grows with the channels is the server's own.

use std::time::Duration;

use adit_ssh::crypto::KexAlgorithm;

use super::{Plan, alternate};
use crate::failure::Failure;
use crate::far_end::FarEnd;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::visitor::{Direction, Pinger, carry};

/// The size DESIGN names.
const IDLE: usize = 1_000;
const GIB: f64 = (1u64 << 30) as f64;
const WARM_UP: u64 = 16 << 20;

/// Without and with the idle channels, and one divided by the other.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let (without, with) = (measure(plan, 0), measure(plan, IDLE));
    // "Independent of idle channels", as far as a shared machine can tell.
    let bounds = [
        Bound::AtLeast(0.9),
        Bound::AtMost(1.1),
        Bound::AtLeast(0.9),
        Bound::AtMost(1.1),
        Bound::AtMost(1.1),
        Bound::Free,
    ];
    let whats = ["rate down", "server CPU down", "rate up", "server CPU up", "ping p50", "ping p99"];
    let factors = with.iter().zip(&without).zip(whats.iter().zip(bounds)).map(|((with, without), (what, bound))| {
        with.divided_by(without, Figure::new(format!("{IDLE} idle channels against none: {what}"), Unit::Factor, bound))
    });
    let factors: Vec<Row> = factors.collect();
    Ok(without.into_iter().chain(with).chain(factors).collect())
}

fn measure(plan: Plan, idle: usize) -> Vec<Row> {
    let what = |figure: &str| format!("beside {idle} idle channels: {figure}");
    let figures = [
        Figure::new(what("rate down"), Unit::MegabytesPerSecond, Bound::Free),
        Figure::new(what("server CPU down"), Unit::SecondsPerGib, Bound::Free),
        Figure::new(what("rate up"), Unit::MegabytesPerSecond, Bound::Free),
        Figure::new(what("server CPU up"), Unit::SecondsPerGib, Bound::Free),
        Figure::new(what("ping p50"), Unit::Microseconds, Bound::Free),
        Figure::new(what("ping p99"), Unit::Microseconds, Bound::Free),
    ];
    alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = FarEnd::start(&server, &server.client_config(KexAlgorithm::Curve25519Sha256)?)?;
        let port = tunnel.port();
        let _idle = (0..idle).map(|_| Pinger::start(port)).collect::<Result<Vec<_>, _>>()?;
        // sshd carries a tenth of what it does without idle channels.
        let bytes = match subject {
            Subject::Adit => plan.choose(512u64 << 20, 2 << 30),
            Subject::Sshd => plan.choose(128u64 << 20, 512 << 20),
        };
        let bulk = |direction| {
            carry(port, direction, WARM_UP, 1)?;
            let before = server.processes().cpu();
            let took = carry(port, direction, bytes, 1)?;
            let cpu = server.processes().cpu().saturating_sub(before);
            Ok::<_, Failure>((bytes as f64 / 1e6 / took.as_secs_f64(), cpu.as_secs_f64() / (bytes as f64 / GIB)))
        };
        let ((down, cpu_down), (up, cpu_up)) = (bulk(Direction::Down)?, bulk(Direction::Up)?);
        let latencies = Pinger::start(port)?.ping_for(plan.choose(Duration::from_secs(1), Duration::from_secs(3)))?;
        Ok([down, cpu_down, up, cpu_up, latencies.quantile(0.5), latencies.quantile(0.99)])
    })
}
