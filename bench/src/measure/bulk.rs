//! Bulk through one session: rate, what each GiB costs the server and the client, and what memory both take for it at most.
//! With OpenSSH's client and each cipher, and with ours and the cipher that it prefers. Beside both stands what relaying and the cipher
//! take by themselves, so that a cost is told by what machine it is measured on.

use std::net::Ipv4Addr;

use super::floors::sealing;
use super::{Bulked, MIB, Plan, alternate, carry_watching};
use crate::client::{CipherName, Client, Forward, Tunnel};
use crate::failure::Failure;
use crate::process_tree::ProcessTree;
use crate::relay::{Copying, Relay};
use crate::report::{Bound, Figure, Measured, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::{Direction, carry};

/// Carried before the clock starts: the windows are open then and the code is in memory.
const WARM_UP: u64 = 64 << 20;
/// Connections through the session, one pass after the other.
const FLOWS: [u64; 2] = [1, 8];
/// Figures of each pass, the rate first.
const FIGURES: usize = 6;

/// What the bytes go through at the far end of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    /// OpenSSH's client, with this cipher.
    OpenSsh(CipherName),
    /// Ours.
    Adit,
}

impl Through {
    fn name(self) -> String {
        match self {
            Self::OpenSsh(cipher) => cipher.name().to_owned(),
            Self::Adit => "our client".to_owned(),
        }
    }

    fn cipher(self) -> CipherName {
        match self {
            Self::OpenSsh(cipher) => cipher,
            Self::Adit => CipherName::Aes128Gcm,
        }
    }

    /// Of the server's processor time for each GiB, of one flow or of several: DESIGN's seconds divided by what a relay of 256 KiB and the
    /// cipher took on its machine, 0.27 + 0.08 s/GiB with AES-GCM and 0.27 + 0.69 with ChaCha20.
    fn promised(self, direction: Direction) -> Bound {
        match (self.cipher(), direction) {
            (CipherName::Aes128Gcm | CipherName::Aes256Gcm, Direction::Down) => Bound::ReferenceAtMost(1.1),
            (CipherName::Aes128Gcm | CipherName::Aes256Gcm, Direction::Up) => Bound::ReferenceAtMost(1.3),
            (CipherName::Chacha20, _) => Bound::ReferenceAtMost(1.15),
            (CipherName::Aes128Ctr, _) => Bound::RatioAtMost(1.0),
        }
    }
}

/// Who carries them between the visitor and that.
#[derive(Debug, Clone, Copy)]
enum Carrier {
    Server(Subject),
    /// Two plain relays in the places of the server and its client, which read and write 256 KiB at a time with a thread for each direction,
    /// and the cipher over memory: what the machine takes for such work while as many processes share it.
    Reference,
}

impl Carrier {
    /// In the order of a turn.
    const ALL: [Self; 3] = [Self::Server(Subject::Adit), Self::Server(Subject::Sshd), Self::Reference];
}

impl Measured for Carrier {
    const OURS: Self = Self::Server(Subject::Adit);
    const PEERS: &'static [Self] = &[Self::Server(Subject::Sshd), Self::Reference];

    fn name(self) -> &'static str {
        match self {
            Self::Server(subject) => subject.name(),
            Self::Reference => "relay and cipher",
        }
    }
}

/// Bulk of each cipher and client, in both directions.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let mut rows = Vec::new();
    for through in CipherName::ALL.map(Through::OpenSsh).into_iter().chain([Through::Adit]) {
        for direction in Direction::ALL {
            rows.extend(measure(plan, &service, through, direction));
        }
    }
    Ok(rows)
}

/// Each number of flows through the same session, and what several do against one.
fn measure(plan: Plan, service: &Service, through: Through, direction: Direction) -> Vec<Row> {
    let bulk = format!("bulk {} {}", direction.name(), through.name());
    let figures = FLOWS.map(|flows| -> [Figure; FIGURES] {
        let what = if flows == 1 { format!("{bulk}, 1 flow") } else { format!("{bulk}, {flows} flows") };
        [
            Figure::new(format!("{what}: rate"), Unit::MegabytesPerSecond, Bound::RatioAtLeast(1.1)),
            Figure::new(format!("{what}: server CPU"), Unit::SecondsPerGib, through.promised(direction)),
            Figure::new(format!("{what}: client CPU"), Unit::SecondsPerGib, Bound::Free),
            Figure::new(format!("{what}: server waits"), Unit::PerMib, Bound::Free),
            // What sshd's processes share counts in each, so that a ratio would flatter us.
            Figure::new(format!("{what}: server peak RSS"), Unit::Mib, Bound::Free).kept_apart(),
            Figure::new(format!("{what}: client peak RSS"), Unit::Mib, Bound::Free).kept_apart(),
        ]
    });
    let bytes = plan.choose(512u64 << 20, 2 << 30);
    let mut rows = alternate(&Carrier::ALL, plan.pairs(), figures.concat(), |carrier| match carrier {
        Carrier::Server(subject) => through_a_server(subject, through, service, direction, bytes),
        // Nobody says what it takes where the cipher is more than one primitive.
        Carrier::Reference if through.cipher() == CipherName::Aes128Ctr => Ok(Vec::new()),
        Carrier::Reference => through_relays(through.cipher(), service, direction, bytes),
    });
    let figure = Figure::new(format!("{bulk}, rate of 8 flows against 1"), Unit::Factor, Bound::AtLeast(0.9));
    let against = rows[FIGURES].divided_by(&rows[0], figure);
    rows.push(against);
    rows
}

type Readings = Result<Vec<Option<f64>>, Failure>;

fn through_a_server(
    subject: Subject,
    through: Through,
    service: &Service,
    direction: Direction,
    bytes: u64,
) -> Readings {
    let server = Server::start(subject)?;
    let tunnel = match through {
        Through::OpenSsh(cipher) => Tunnel::of_ssh_with(cipher, &server, service.address())?,
        Through::Adit => Tunnel::of(Client::Adit, Forward::Remote, &server, service.address())?,
    };
    let processes = [server.processes(), tunnel.processes()];
    let mut readings = Vec::new();
    for flows in FLOWS {
        carry(tunnel.door(), direction, WARM_UP, flows)?;
        processes.into_iter().try_for_each(ProcessTree::reset_peak)?;
        let Bulked { rate, cpu: [server_cpu, client_cpu], waits: [waits, _] } =
            carry_watching(processes, tunnel.door(), direction, bytes, flows)?;
        let peaks = processes.map(|process| process.peak_memory() as f64 / MIB);
        readings.extend([rate, server_cpu, client_cpu, waits].into_iter().chain(peaks).map(Some));
    }
    Ok(readings)
}

/// Their rate is not told: nobody waits for the cipher.
fn through_relays(cipher: CipherName, service: &Service, direction: Direction, bytes: u64) -> Readings {
    let client = Relay::start(Copying::Large, service.address())?;
    let server = Relay::start(Copying::Large, (Ipv4Addr::LOCALHOST, client.way().port).into())?;
    let places = [server.way().listener, client.way().listener];
    let mut readings = Vec::new();
    for flows in FLOWS {
        carry(server.way().port, direction, WARM_UP, flows)?;
        let Bulked { cpu, waits: [waits, _], .. } = carry_watching(places, server.way().port, direction, bytes, flows)?;
        let sealing = sealing(cipher)?;
        let [server_cpu, client_cpu] = cpu.map(|cpu| Some(cpu + sealing?));
        readings.extend([None, server_cpu, client_cpu, Some(waits), None, None]);
    }
    Ok(readings)
}
