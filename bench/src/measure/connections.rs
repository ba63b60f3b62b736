//! Short connections through one session of OpenSSH's client: connect, ask 64 bytes, be answered 64 bytes, be closed by the service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Plan, alternate};
use crate::failure::Failure;
use crate::openssh::{CipherName, OpenSsh};
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::ask_once;

/// One visitor after the other, and 32 at a time.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let mut rows = measure(plan, &service, 1, 4_500.0);
    rows.extend(measure(plan, &service, 32, 14_000.0));
    Ok(rows)
}

fn measure(plan: Plan, service: &Service, at_a_time: usize, promised: f64) -> Vec<Row> {
    let what = format!("connections, {at_a_time} at a time");
    let figures = [
        Figure::new(format!("{what}: rate"), Unit::PerSecond, Bound::AtLeast(promised)),
        Figure::new(format!("{what}: server CPU each"), Unit::Microseconds, Bound::Free),
    ];
    alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = OpenSsh::forward(&server, CipherName::Aes128Gcm, service.address())?;
        ask_once(tunnel.port())?;
        let (processes, count) = (server.processes(), AtomicU64::new(0));
        let (cpu, began) = (processes.cpu(), Instant::now());
        // Bounded by time, because one of these servers may be a hundred times slower than the other.
        let over = began + plan.choose(Duration::from_secs(1), Duration::from_secs(3));
        thread::scope(|scope| {
            let visitors: Vec<_> = (0..at_a_time)
                .map(|_| {
                    scope.spawn(|| {
                        while Instant::now() < over {
                            ask_once(tunnel.port())?;
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(())
                    })
                })
                .collect();
            let ended = |visitor: thread::ScopedJoinHandle<'_, _>| {
                visitor.join().unwrap_or_else(|_| Err(Failure::new("panicked")))
            };
            visitors.into_iter().try_for_each(ended)
        })?;
        let (count, took) = (count.into_inner() as f64, began.elapsed().as_secs_f64());
        let cpu = processes.cpu().saturating_sub(cpu).as_secs_f64();
        Ok([count / took, cpu * 1e6 / count])
    })
}
