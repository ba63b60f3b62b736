//! Logins of the engine's client, eight at once: connect, exchange keys (curve25519-sha256), authenticate with an Ed25519 key, leave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_ssh::crypto::KexAlgorithm;

use super::{Plan, alternate};
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
    ];
    alternate(subjects, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(kex)?;
        drop(Session::login(server.ssh(), &config)?);
        let (processes, count) = (server.processes(), AtomicU64::new(0));
        await_leave(&server);
        let (before, began) = (processes.cpu(), Instant::now());
        let over = began + plan.choose(Duration::from_secs(1), Duration::from_secs(3));
        thread::scope(|scope| {
            let clients: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    scope.spawn(|| {
                        while Instant::now() < over {
                            Session::login(server.ssh(), &config)?;
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    })
                })
                .collect();
            let ended = |client: thread::ScopedJoinHandle<'_, _>| {
                client.join().unwrap_or_else(|_| Err(Failure::new("panicked")))
            };
            clients.into_iter().try_for_each(ended)
        })?;
        let (count, took) = (count.into_inner() as f64, began.elapsed().as_secs_f64());
        // A login's cost is known when its process has ended and been waited for.
        await_leave(&server);
        let cpu = processes.cpu().saturating_sub(before);
        Ok([count / took, cpu.as_secs_f64() * 1e3 / count])
    })
}

/// Waits until the server has no process left but its first, for a while.
fn await_leave(server: &Server) {
    await_bounded(|| server.processes().pids().len() == 1);
}
