//! What a session costs beside a crowd of others that do nothing: a login, a ping and bulk, with none, a few, many and a crowd of idle
//! tunnels held by the same server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_ssh::ClientConfig;
use adit_ssh::crypto::KexAlgorithm;

use super::idle_memory::join;
use super::{Bulked, Plan, alternate, carry_watching, each_costs};
use crate::client::Tunnel;
use crate::engine::Session;
use crate::failure::Failure;
use crate::far_end::FarEnd;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::stats::Latencies;
use crate::visitor::{Direction, Pinger, carry};

/// Carried before the clock starts.
const WARM_UP: u64 = 16 << 20;
/// Idle tunnels, five to a session.
const CROWDS: [usize; 4] = [0, 100, 1_000, 10_000];
const FORWARDS: usize = 5;
/// Figures of each crowd.
const FIGURES: usize = 6;
/// What sshd is asked for: it makes a process or two for each session.
const MOST_OF_SSHD: usize = 1_000;

/// Each of the crowds on the same server, one after the other.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let figures = CROWDS.map(|crowd| {
        let figure = |what: &str, unit, bound| {
            Figure::new(format!("beside {crowd} idle tunnels: {what}"), unit, bound).along("idle tunnels", crowd)
        };
        [
            figure("login p50", Unit::Milliseconds, Bound::Free),
            figure("slowest login", Unit::Milliseconds, Bound::AtMost(100.0)),
            figure("login and forward of ssh", Unit::Milliseconds, Bound::AtMost(100.0)),
            figure("login, server CPU", Unit::Milliseconds, Bound::Free),
            figure("ping p50", Unit::Microseconds, Bound::Free),
            figure("bulk down, server CPU", Unit::SecondsPerGib, Bound::Free),
        ]
    });
    let mut rows = alternate(&Subject::PAIR, plan.choose(1, 3), figures.concat(), |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        let (mut idle, mut readings) = (Vec::new(), Vec::new());
        for crowd in CROWDS {
            if subject == Subject::Sshd && crowd > MOST_OF_SSHD {
                break;
            }
            idle.extend(join(&server, &config, crowd / FORWARDS - idle.len(), FORWARDS)?);
            // What came with them is done.
            server.processes().memory_at_rest();
            readings.extend(measure(plan, &server, &config, &service)?);
        }
        Ok(readings)
    });
    // What a crowd costs those beside it: nothing, as far as a shared machine can tell.
    let (none, crowd) = (&rows[..FIGURES], &rows[rows.len() - FIGURES..]);
    let against = ["login p50", "login, server CPU", "ping p50"].map(|what| {
        let is_it = |row: &&Row| row.what().ends_with(&format!(": {what}"));
        let figure =
            Figure::new(format!("10,000 idle tunnels against none: {what}"), Unit::Factor, Bound::AtMost(1.25));
        Some(crowd.iter().find(is_it)?.divided_by(none.iter().find(is_it)?, figure))
    });
    rows.extend(against.into_iter().flatten());
    Ok(rows)
}

fn measure(
    plan: Plan,
    server: &Server,
    config: &Arc<ClientConfig>,
    service: &Service,
) -> Result<[f64; FIGURES], Failure> {
    let (logins, [cpu]) = each_costs([server.processes()], || {
        let (mut logins, began) = (Latencies::default(), Instant::now());
        while began.elapsed() < plan.choose(Duration::from_secs(1), Duration::from_secs(3)) {
            let before = Instant::now();
            drop(Session::login(server.ssh(), config)?);
            logins.push(before.elapsed());
        }
        Ok((logins.count(), logins))
    })?;
    let before = Instant::now();
    let ssh = Tunnel::of_ssh(server, service.address())?;
    let by_ssh = before.elapsed();
    drop(ssh);
    let tunnel = FarEnd::start(server, config)?;
    let pings = Pinger::start(tunnel.port())?.ping_for(plan.choose(Duration::from_secs(1), Duration::from_secs(2)))?;
    let bytes = plan.choose(256u64 << 20, 1 << 30);
    carry(tunnel.port(), Direction::Down, WARM_UP, 1)?;
    let Bulked { cpu: [bulk], .. } = carry_watching([server.processes()], tunnel.port(), Direction::Down, bytes, 1)?;
    Ok([
        logins.quantile(0.5) / 1e3,
        logins.quantile(1.0) / 1e3,
        by_ssh.as_secs_f64() * 1e3,
        cpu / 1e3,
        pings.quantile(0.5),
        bulk,
    ])
}
