//! Memory of what only waits: sessions, tunnels, forwarded connections, and connections that never log in. PSS of the server at
//! rest, before and after, divided by how many came. Each is read with a few, with many, and with a crowd: what grows faster than
//! they do, shows.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use adit_ssh::ClientConfig;
use adit_ssh::crypto::KexAlgorithm;

use super::{KIB, Plan, alternate, open_files};
use crate::engine::Session;
use crate::failure::{Doing, Failure};
use crate::far_end::FarEnd;
use crate::report::{Bound, Figure, Row, Unit};
use crate::server::{Server, Subject};
use crate::visitor::Pinger;

/// How many there are at each look. sshd, which makes a process or two for each, has no crowd.
type Counts = [usize; 3];
const COUNTS: Counts = [100, 1_000, 10_000];
/// What sshd is asked for.
const MOST_OF_SSHD: usize = 1_000;
/// Come and go before the first look, so that the code and the pools are in memory.
const FIRST: usize = 16;
/// So many sessions come and go at once.
const SOME: usize = 200;
/// So many crowds come and go three times: until the allocator has given back what it will, before the first look, and before the second.
const CROWDS: usize = 20;
/// Forwards of a session that has several: a crowd of tunnels so needs fewer open files than two for each.
const FORWARDS: usize = 10;
/// Sessions that carry idle connections; a channel's number is limited in each.
const FAR_ENDS: usize = 8;

/// Idle sessions, with one forward and with several, and what they leave behind.
pub(crate) fn sessions(plan: Plan) -> Result<Vec<Row>, Failure> {
    // DESIGN: an idle session with one forward, and given back: what is left is a small part of what a session takes.
    let left = Figure::new("left behind by each session that left", Unit::Kib, Bound::AtMost(2.4)).kept_apart();
    // Two files each at the server: its connection and its listener.
    let counts = COUNTS.map(|count| count.min(open_files() / 2 - 128));
    let figures = each_count(counts, "idle sessions", "idle session with a forward", Bound::AtMost(24.0)).chain([left]);
    let mut rows = alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        let (mut readings, left) = look(counts, &server, subject, |count| join(&server, &config, count, 1))?;
        readings.push(Some(left));
        Ok(readings)
    });
    let figures = each_count(COUNTS, "idle tunnels", "idle tunnel, ten to a session", Bound::AtMost(24.0));
    rows.extend(alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        let join = |count: usize| join(&server, &config, count.div_ceil(FORWARDS), FORWARDS);
        look(COUNTS, &server, subject, join).map(|(readings, _)| readings)
    }));
    rows.extend(crowds(plan));
    Ok(rows)
}

/// A figure for each of `counts`. Of a hundred, what the first of a kind make the server load counts too much to promise anything.
fn each_count(counts: Counts, crowd: &'static str, what: &str, bound: Bound) -> impl Iterator<Item = Figure> {
    counts
        .into_iter()
        .map(move |count| (count, if count > COUNTS[0] { bound } else { Bound::Free }))
        .map(move |(count, bound)| Figure::new(format!("of {count}: {what}"), Unit::Kib, bound).along(crowd, count))
}

/// Lets them come, as many as each of `counts`, and reads after each what one takes; and when all have gone, what one left.
fn look<T>(
    counts: Counts,
    server: &Server,
    subject: Subject,
    join: impl Fn(usize) -> Result<Vec<T>, Failure>,
) -> Result<(Vec<Option<f64>>, f64), Failure> {
    drop(join(FIRST)?);
    let before = server.processes().memory_given_back();
    let (mut all, mut readings, mut present) = (Vec::new(), Vec::new(), 0);
    for count in counts {
        if subject == Subject::Sshd && count > MOST_OF_SSHD {
            readings.push(None);
            continue;
        }
        all.extend(join(count - present)?);
        present = count;
        readings.push(Some(each(before, server.processes().memory_at_rest(), present)));
    }
    drop(all);
    Ok((readings, each(before, server.processes().memory_given_back(), present)))
}

/// What an allocator keeps to use again, and what fills once, stops growing; what is lost grows on.
fn crowds(plan: Plan) -> Vec<Row> {
    let what = format!("lost per session: crowds {} to {} of {SOME} sessions that come and go", 2 * CROWDS, 3 * CROWDS);
    let figures = [Figure::new(what, Unit::Kib, Bound::AtMost(0.1))];
    alternate(&[Subject::Adit], plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        let come_and_go = || {
            (0..CROWDS).try_for_each(|_| join(&server, &config, SOME, 1).map(drop))?;
            Ok::<_, Failure>(server.processes().memory_given_back())
        };
        come_and_go()?;
        Ok([each(come_and_go()?, come_and_go()?, CROWDS * SOME)])
    })
}

/// Logs in so many times, with so many forwards each.
pub(crate) fn join(
    server: &Server,
    config: &Arc<ClientConfig>,
    count: usize,
    forwards: usize,
) -> Result<Vec<Session>, Failure> {
    let one = |_| {
        let mut session = Session::login(server.ssh(), config)?;
        (0..forwards).try_for_each(|_| session.forward().map(drop))?;
        Ok(session)
    };
    (0..count).map(one).collect()
}

/// Idle forwarded connections of a few sessions, each used once.
pub(crate) fn visitors(plan: Plan) -> Result<Vec<Row>, Failure> {
    let left = Figure::new("left behind by each forwarded connection", Unit::Kib, Bound::AtMost(0.6)).kept_apart();
    let figures =
        each_count(COUNTS, "idle forwarded connections", "idle forwarded connection", Bound::AtMost(6.0)).chain([left]);
    Ok(alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        let config = server.client_config(KexAlgorithm::Curve25519Sha256)?;
        let tunnels = (0..FAR_ENDS).map(|_| FarEnd::start(&server, &config)).collect::<Result<Vec<_>, _>>()?;
        let ports = || tunnels.iter().map(FarEnd::port).cycle();
        let join = |count: usize| ports().take(count).map(Pinger::start).collect::<Result<Vec<_>, _>>();
        let (mut readings, left) = look(COUNTS, &server, subject, join)?;
        readings.push(Some(left));
        Ok(readings)
    }))
}

/// Connections that hear the server's version and say nothing.
pub(crate) fn silent(plan: Plan) -> Result<Vec<Row>, Failure> {
    let figures = each_count(COUNTS, "silent connections", "silent connection before login", Bound::AtMost(8.0));
    Ok(alternate(&Subject::PAIR, plan.choose(1, 3), figures, |subject| {
        let server = Server::start(subject)?;
        look(COUNTS, &server, subject, |count| connect_silently(&server, count)).map(|(readings, _)| readings)
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
