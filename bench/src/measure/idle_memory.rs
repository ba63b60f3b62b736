//! Memory of what only waits: sessions, forwarded connections, and connections that never log in. PSS of the server at rest, before
//! and after, divided by how many came.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use adit_ssh::ClientConfig;
use adit_ssh::crypto::KexAlgorithm;

use super::{Plan, alternate};
use crate::engine::Session;
use crate::failure::{Doing, Failure};
use crate::far_end::FarEnd;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::visitor::Pinger;

const KIB: f64 = 1024.0;
/// A figure is read with so many first, and then with [`MANY`]: what grows faster than they do, shows.
const SOME: usize = 200;
/// The size DESIGN names.
const MANY: usize = 1_000;
/// Come and go before the first look, so that the code and the pools are in memory.
const FIRST: usize = 16;
/// So many come and go before the first look, and so many again before the second.
const CROWDS: usize = 20;
/// sshd makes two processes for each.
const SILENT_SSHD: usize = 200;

/// Idle sessions with one forward each, and what they leave behind.
pub(crate) fn sessions(plan: Plan) -> Result<Vec<Row>, Failure> {
    let figures = [
        Figure::new(format!("idle session with a forward, of {SOME}"), Unit::Kib, Bound::AtMost(24.0)),
        Figure::new(format!("idle session with a forward, of {MANY}"), Unit::Kib, Bound::AtMost(24.0)),
        // "Given back": what is left is a small part of what a session takes.
        Figure::new(format!("left behind by each of {MANY} sessions that left"), Unit::Kib, Bound::AtMost(2.4))
            .kept_apart(),
    ];
    let mut rows = alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        drop(join(&server, &config, FIRST)?);
        let before = server.processes().memory_at_rest();
        let some = join(&server, &config, SOME)?;
        let with_some = server.processes().memory_at_rest();
        let rest = join(&server, &config, MANY - SOME)?;
        let with_many = server.processes().memory_at_rest();
        drop((some, rest));
        let after = server.processes().memory_at_rest();
        Ok([each(before, with_some, SOME), each(before, with_many, MANY), each(before, after, MANY)])
    });
    rows.extend(crowds(plan));
    Ok(rows)
}

/// What an allocator keeps to use again, and what fills once, stops growing; what is lost grows on.
fn crowds(plan: Plan) -> Vec<Row> {
    let what = format!("lost per session: crowds {CROWDS} to {} of {SOME} sessions that come and go", 2 * CROWDS);
    let figures = [Figure::new(what, Unit::Kib, Bound::AtMost(0.1))];
    alternate(&[Subject::Adit], plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        let come_and_go = || {
            (0..CROWDS).try_for_each(|_| join(&server, &config, SOME).map(drop))?;
            Ok::<_, Failure>(server.processes().memory_at_rest())
        };
        Ok([each(come_and_go()?, come_and_go()?, CROWDS * SOME)])
    })
}

/// Logs in so many times, with one forward each.
fn join(server: &Server, config: &Arc<ClientConfig>, count: usize) -> Result<Vec<Session>, Failure> {
    let one = |_| {
        let mut session = Session::login(server.ssh(), config)?;
        session.forward()?;
        Ok(session)
    };
    (0..count).map(one).collect()
}

/// Idle forwarded connections of one session, each used once.
pub(crate) fn visitors(plan: Plan) -> Result<Vec<Row>, Failure> {
    let figures = [
        Figure::new(format!("idle forwarded connection, of {MANY}"), Unit::Kib, Bound::AtMost(6.0)),
        Figure::new("left behind by each forwarded connection", Unit::Kib, Bound::AtMost(0.6)).kept_apart(),
    ];
    Ok(alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        let tunnel = FarEnd::start(&server, &config)?;
        let join = |count: usize| (0..count).map(|_| Pinger::start(tunnel.port())).collect::<Result<Vec<_>, _>>();
        drop(join(FIRST)?);
        let before = server.processes().memory_at_rest();
        let visitors = join(MANY)?;
        let with_many = server.processes().memory_at_rest();
        drop(visitors);
        let after = server.processes().memory_at_rest();
        Ok([each(before, with_many, MANY), each(before, after, MANY)])
    }))
}

/// Connections that hear the server's version and say nothing.
pub(crate) fn silent(plan: Plan) -> Result<Vec<Row>, Failure> {
    let what = format!("silent connection before login, of {MANY} (sshd: {SILENT_SSHD})");
    let figures = [Figure::new(what, Unit::Kib, Bound::AtMost(8.0))];
    Ok(alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let count = match subject {
            Subject::Adit => MANY,
            Subject::Sshd => SILENT_SSHD,
        };
        drop(connect_silently(&server, FIRST)?);
        let before = server.processes().memory_at_rest();
        let silent = connect_silently(&server, count)?;
        let with_many = server.processes().memory_at_rest();
        drop(silent);
        Ok([each(before, with_many, count)])
    }))
}

/// Connects, and waits until the server has seen it.
pub(crate) fn connect_silently(server: &Server, count: usize) -> Result<Vec<TcpStream>, Failure> {
    let one = |_| {
        let mut stream = TcpStream::connect(server.ssh())?;
        stream.read_exact(&mut [0; 4])?;
        Ok(stream)
    };
    (0..count).map(one).collect::<Result<_, std::io::Error>>().doing("connect silently")
}

fn each(before: u64, after: u64, count: usize) -> f64 {
    (after as f64 - before as f64) / KIB / count as f64
}
