//! The flood before login at full size: 5,000 connect and say nothing; who comes to log in meanwhile is let in at once, and the silent
//! ones are closed at the login grace time.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use adit_ssh::crypto::KexAlgorithm;

use super::idle_memory::connect_silently;
use super::{MIB, Plan, alternate};
use crate::client::Tunnel;
use crate::engine::Session;
use crate::failure::{Doing, Failure};
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;

/// The size that is promised (spec, line 30).
const SILENT: usize = 5_000;
const MB: f64 = 1e6;
/// The default login grace time of both; none is closed much earlier.
const GRACE: Duration = Duration::from_secs(30);
/// How long after the grace time a connection may still be open before this gives up on it.
const LATE: Duration = Duration::from_secs(15);
/// Between two logins during the flood.
const LOGIN_PACE: Duration = Duration::from_millis(250);

/// Once, whatever the plan: it takes the login grace time.
pub(crate) fn run(_plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let what = |figure: &str| format!("{SILENT} silent connections: {figure}");
    let figures = [
        Figure::new(what("slowest login of the engine's client"), Unit::Milliseconds, Bound::AtMost(1_000.0)),
        Figure::new(what("login and forward of ssh"), Unit::Milliseconds, Bound::AtMost(1_000.0)),
        Figure::new(what("server memory grown"), Unit::Mib, Bound::AtMost(200.0 * MB / MIB)),
        Figure::new(what("server memory left behind"), Unit::Mib, Bound::Free),
        Figure::new(what("first closed after"), Unit::Seconds, Bound::AtLeast(GRACE.as_secs_f64() - 1.0)),
        Figure::new(what("last closed after"), Unit::Seconds, Bound::AtMost(GRACE.as_secs_f64() + 2.0)),
    ];
    Ok(alternate(&[Subject::Adit], 1, figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        drop(Session::login(server.ssh(), &config)?);
        let before = server.processes().memory_at_rest();
        let came = Instant::now();
        let mut silent = connect_silently(&server, SILENT)?;
        let all_in = Instant::now();
        let grown = server.processes().memory().saturating_sub(before);
        let ssh = Instant::now();
        let tunnel = Tunnel::of_ssh(&server, service.address())?;
        let ssh = ssh.elapsed();
        drop(tunnel);
        let slowest = log_in_until(&server, &config, came + GRACE - Duration::from_secs(1))?;
        let first =
            read_to_its_end(silent.first_mut(), all_in)?.map_or(f64::INFINITY, |end| (end - came).as_secs_f64());
        let mut last = all_in;
        for stream in &mut silent[1..] {
            last =
                read_to_its_end(Some(stream), all_in)?.ok_or_else(|| Failure::new("a silent connection stays open"))?;
        }
        drop(silent);
        let left = server.processes().memory_at_rest().saturating_sub(before);
        Ok([
            slowest.as_secs_f64() * 1e3,
            ssh.as_secs_f64() * 1e3,
            grown as f64 / MIB,
            left as f64 / MIB,
            first,
            // The last of them came at `all_in` at the latest.
            (last - all_in).as_secs_f64(),
        ])
    }))
}

/// Logs in again and again; returns the slowest login.
fn log_in_until(
    server: &Server,
    config: &std::sync::Arc<adit_ssh::ClientConfig>,
    until: Instant,
) -> Result<Duration, Failure> {
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let began = Instant::now();
        drop(Session::login(server.ssh(), config)?);
        slowest = slowest.max(began.elapsed());
        thread::sleep(LOGIN_PACE);
    }
    Ok(slowest)
}

/// When a connection ended; `None` if it did not, in time.
fn read_to_its_end(stream: Option<&mut TcpStream>, all_in: Instant) -> Result<Option<Instant>, Failure> {
    let Some(stream) = stream else { return Ok(None) };
    let mut chunk = [0; 4096];
    loop {
        let left = (all_in + GRACE + LATE).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left)).doing("wait for a connection's end")?;
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            // The end, told or not.
            Ok(_) | Err(_) => return Ok(Some(Instant::now())),
        }
    }
}
