//! Bulk and ping of a session that holds 1,000 idle channels, against the same session without them. The far end is the engine's
//! client, so that what grows with the channels is the server's own.

use std::time::Duration;

use adit_ssh::crypto::KexAlgorithm;

use super::{Bulked, Plan, alternate, carry_watching};
use crate::failure::Failure;
use crate::far_end::FarEnd;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::visitor::{Direction, Pinger, carry};

/// The size DESIGN names.
const IDLE: usize = 1_000;
const WARM_UP: u64 = 16 << 20;

/// What one session does, in the order of [`FIGURES`].
type Readings = [f64; FIGURES.len()];

/// Each figure, and what is promised of it beside idle channels against none: that they cost nothing, as far as a shared machine can
/// tell.
const FIGURES: [(&str, Unit, Bound); 6] = [
    ("rate down", Unit::MegabytesPerSecond, Bound::AtLeast(0.9)),
    ("server CPU down", Unit::SecondsPerGib, Bound::AtMost(1.1)),
    ("rate up", Unit::MegabytesPerSecond, Bound::AtLeast(0.9)),
    ("server CPU up", Unit::SecondsPerGib, Bound::AtMost(1.1)),
    ("ping p50", Unit::Microseconds, Bound::AtMost(1.1)),
    ("ping p99", Unit::Microseconds, Bound::Free),
];

/// Without and with the idle channels on the same session, and one divided by the other.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let none =
        FIGURES.map(|(what, unit, _)| Figure::new(format!("beside no idle channels: {what}"), unit, Bound::Free));
    let many =
        FIGURES.map(|(what, unit, _)| Figure::new(format!("beside {IDLE} idle channels: {what}"), unit, Bound::Free));
    let mut rows = alternate(&Subject::PAIR, plan.pairs(), [none, many].concat(), |subject| {
        let server = Server::start(subject)?;
        let tunnel = FarEnd::start(&server, &server.client_config(KexAlgorithm::Curve25519Sha256)?)?;
        let without = measure(plan, subject, &server, tunnel.port())?;
        let _idle = (0..IDLE).map(|_| Pinger::start(tunnel.port())).collect::<Result<Vec<_>, _>>()?;
        Ok([without, measure(plan, subject, &server, tunnel.port())?].concat())
    });
    let (without, with) = rows.split_at(FIGURES.len());
    let factors = with.iter().zip(without).zip(FIGURES).map(|((with, without), (what, _, bound))| {
        with.divided_by(without, Figure::new(format!("{IDLE} idle channels against none: {what}"), Unit::Factor, bound))
    });
    let factors: Vec<Row> = factors.collect();
    rows.extend(factors);
    Ok(rows)
}

fn measure(plan: Plan, subject: Subject, server: &Server, port: u16) -> Result<Readings, Failure> {
    // With idle channels sshd carries a tenth of what it does without.
    let bytes = match subject {
        Subject::Adit => plan.choose(512u64 << 20, 2 << 30),
        Subject::Sshd => plan.choose(128u64 << 20, 512 << 20),
    };
    let bulk = |direction| {
        carry(port, direction, WARM_UP, 1)?;
        let Bulked { rate, cpu: [cpu], .. } = carry_watching([server.processes()], port, direction, bytes, 1)?;
        Ok::<_, Failure>((rate, cpu))
    };
    let ((down, cpu_down), (up, cpu_up)) = (bulk(Direction::Down)?, bulk(Direction::Up)?);
    let latencies = Pinger::start(port)?.ping_for(plan.choose(Duration::from_secs(1), Duration::from_secs(3)))?;
    Ok([down, cpu_down, up, cpu_up, latencies.quantile(0.5), latencies.quantile(0.99)])
}
