//! Logins of the engine's client, eight at once: connect, exchange keys (curve25519-sha256), authenticate with an Ed25519 key, leave.

use std::time::Duration;

use adit_ssh::crypto::KexAlgorithm;

use super::{MIB, Plan, alternate, each_costs, repeat_for};
use crate::engine::Session;
use crate::failure::Failure;
use crate::process::await_bounded;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};

/// How many log in at once.
const AT_ONCE: usize = 8;

/// With the key exchange that both servers have, and with the one that only new ones have.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let classic = measure(plan, &Subject::PAIR, KexAlgorithm::Curve25519Sha256, "curve25519", (3_000.0, 0.30));
    let hybrid = measure(plan, &[Subject::Adit], KexAlgorithm::Mlkem768X25519Sha256, "mlkem768x25519", (0.0, 0.40));
    Ok(classic.into_iter().chain(hybrid).collect())
}

fn measure(plan: Plan, subjects: &[Subject], kex: KexAlgorithm, name: &str, (rate, cpu): (f64, f64)) -> Vec<Row> {
    let rate = if rate > 0.0 { Bound::AtLeast(rate) } else { Bound::Free };
    let figures = [
        Figure::new(format!("logins, {AT_ONCE} at once, {name}: rate"), Unit::PerSecond, rate),
        Figure::new(
            format!("logins, {AT_ONCE} at once, {name}: server CPU each"),
            Unit::Milliseconds,
            Bound::AtMost(cpu),
        ),
        Figure::new(format!("logins, {AT_ONCE} at once, {name}: server peak RSS"), Unit::Mib, Bound::Free).kept_apart(),
    ];
    alternate(subjects, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(kex)?;
        drop(Session::login(server.ssh(), &config)?);
        await_leave(&server);
        let processes = server.processes();
        processes.reset_peak()?;
        let time = plan.choose(Duration::from_secs(1), Duration::from_secs(3));
        let ((rate, peak), [cpu]) = each_costs([processes], || {
            let (count, rate) = repeat_for(AT_ONCE, time, || Session::login(server.ssh(), &config).map(drop))?;
            let peak = processes.peak_memory() as f64 / MIB;
            // A login's cost is known when its process has ended and been waited for.
            await_leave(&server);
            Ok((count, (rate, peak)))
        })?;
        Ok([rate, cpu / 1e3, peak])
    })
}

/// Waits until the server has no process left but its first, for a while.
fn await_leave(server: &Server) {
    await_bounded(|| server.processes().pids().len() == 1);
}
