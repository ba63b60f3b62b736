//! Bulk through one session of OpenSSH's client: rate, and what each GiB costs the server.

use super::{Plan, alternate};
use crate::failure::Failure;
use crate::openssh::{CipherName, OpenSsh};
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::{Direction, carry};

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;
/// Carried before the clock starts: the windows are open then and the code is in memory.
const WARM_UP: u64 = 64 << 20;

/// Bulk of each cipher, direction and number of flows.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let mut rows = Vec::new();
    for direction in Direction::ALL {
        let both = measure(plan, &service, CipherName::Aes128Gcm, &[1, 8], direction);
        let what = format!("bulk {} aes128-gcm, rate of 8 flows against 1", direction.name());
        // DESIGN: eight flows within 10 % of one.
        let against = both[FIGURES].divided_by(&both[0], Figure::new(what, Unit::Factor, Bound::AtLeast(0.9)));
        rows.extend(both.into_iter().chain([against]));
    }
    for direction in Direction::ALL {
        rows.extend(measure(plan, &service, CipherName::Chacha20, &[1], direction));
    }
    Ok(rows)
}

/// Figures per number of flows, the rate first.
const FIGURES: usize = 3;

/// Each number of flows through the same session, one after the other.
fn measure(plan: Plan, service: &Service, cipher: CipherName, flows: &[u64], direction: Direction) -> Vec<Row> {
    let cpu = match (cipher, direction) {
        (CipherName::Aes128Gcm, Direction::Down) => 0.38,
        (CipherName::Aes128Gcm, Direction::Up) => 0.45,
        (CipherName::Chacha20, _) => 1.1,
    };
    let figures = flows.iter().flat_map(|flows| -> [Figure; FIGURES] {
        let many = if *flows == 1 { "1 flow".to_owned() } else { format!("{flows} flows") };
        let what = format!("bulk {} {}, {many}", direction.name(), cipher.name());
        [
            Figure::new(format!("{what}: rate"), Unit::MegabytesPerSecond, Bound::RatioAtLeast(1.1)),
            Figure::new(format!("{what}: server CPU"), Unit::SecondsPerGib, Bound::AtMost(cpu)),
            Figure::new(format!("{what}: peak RSS"), Unit::Mib, Bound::Free),
        ]
    });
    let bytes = plan.choose(1u64 << 30, 4 << 30);
    alternate(&Subject::PAIR, plan.pairs(), figures, |subject| {
        let server = Server::start(subject)?;
        let tunnel = OpenSsh::forward(&server, cipher, service.address())?;
        let processes = server.processes();
        let mut readings = Vec::new();
        for flows in flows {
            carry(tunnel.port(), direction, WARM_UP, *flows)?;
            processes.reset_peak()?;
            let before = processes.cpu();
            let took = carry(tunnel.port(), direction, bytes, *flows)?;
            let cpu = processes.cpu().saturating_sub(before);
            let rate = bytes as f64 / 1e6 / took.as_secs_f64();
            readings.extend([rate, cpu.as_secs_f64() / (bytes as f64 / GIB), processes.peak_memory() as f64 / MIB]);
        }
        Ok(readings)
    })
}
