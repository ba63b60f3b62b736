//! How long nobody is served after something happened to the session: our client beside autossh with OpenSSH's, each at its
//! defaults, at the same sshd. Visitors enter where the client listens (`-L`), which is there before and after.

use std::thread;
use std::time::{Duration, Instant};

use super::{Plan, alternate};
use crate::client::{Client, Forward, Tunnel};
use crate::failure::Failure;
use crate::report::{Bound, Figure, Measured, Row, Unit};
use crate::server::{Server, Subject};
use crate::service::Service;
use crate::visitor::{Door, is_served};

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(10);
/// A visitor waits so long for an answer before another one tries.
const ATTEMPT: Duration = Duration::from_millis(250);
/// Between two visitors.
const PACE: Duration = Duration::from_millis(5);
/// Nobody is waited for longer: three probes at 15 s, and a way back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who keeps a session up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Adit,
    Autossh,
}

impl Measured for Keeper {
    const OURS: Self = Self::Adit;
    const PEERS: &'static [Self] = &[Self::Autossh];

    fn name(self) -> &'static str {
        self.client().name()
    }
}

impl Keeper {
    fn client(self) -> Client {
        match self {
            Self::Adit => Client::Adit,
            Self::Autossh => Client::Autossh,
        }
    }
}

/// The session's end is killed; the server is away; the session's end stands still and says nothing. Each with a session of its own,
/// since both wait longer for one that is lost again soon.
pub(crate) fn run(plan: Plan) -> Result<Vec<Row>, Failure> {
    let service = Service::start()?;
    let figures = [
        // The agent pauses for 1 s before its first retry, for 2, 4 and 8 s before the next ones.
        Figure::new("served again after the session was killed", Unit::Seconds, Bound::AtMost(1.5)),
        Figure::new(
            format!("served again after the server came back from {} s away", AWAY.as_secs()),
            Unit::Seconds,
            Bound::AtMost(8.5),
        ),
        Figure::new("served again after the session froze", Unit::Seconds, Bound::AtMost(46.5)),
    ];
    Ok(alternate(&[Keeper::Adit, Keeper::Autossh], plan.choose(1, 5), figures, |keeper| {
        let mut server = Server::start(Subject::Sshd)?;
        let start = |server: &Server| Tunnel::of(keeper.client(), Forward::Local, server, service.address());
        let tunnel = start(&server)?;
        server.kill_sessions()?;
        let killed = until_served(tunnel.door())?;
        drop(tunnel);
        let tunnel = start(&server)?;
        server = server.away_for(AWAY)?;
        let away = until_served(tunnel.door())?;
        drop(tunnel);
        let tunnel = start(&server)?;
        server.freeze_sessions();
        let frozen = until_served(tunnel.door())?;
        drop(tunnel);
        // What stands still would do so for ever.
        server.kill_sessions()?;
        Ok([killed, away, frozen].map(|time| time.as_secs_f64()))
    }))
}

fn until_served(door: Door) -> Result<Duration, Failure> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if is_served(door, ATTEMPT) {
            return Ok(began.elapsed());
        }
        thread::sleep(PACE);
    }
    Err(Failure::new(format!("nobody was served for {} s", PATIENCE.as_secs())))
}
