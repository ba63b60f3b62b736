//! Connections: does what the pool wishes. A connection through a jump claims the jump's from the same pool, so that all who go
//! through it share one login there.

use std::sync::Arc;
use std::time::Instant;

use adit_core::{ConnectionId, ConnectionKey, LoginFailure, LossReason, Obstacle, PoolWish, Setback};
use tokio::task::{self, AbortHandle};

use super::{Fact, Member, StrangeHost, Supervisor};
use crate::dial::{self, DialError, DialFailure, Hop, Way};
use crate::known_hosts::{HostKeyError, HostName};
use crate::link::{Link, LinkEvent, LinkEvents};

/// A connection, from the wish for a login to its end.
pub(super) struct Connection {
    hop: Hop,
    stage: Stage,
}

enum Stage {
    /// The connection it is to go through is not there yet.
    AwaitingJump,
    LoggingIn(AbortHandle),
    Up(Link),
}

impl Supervisor {
    pub(super) fn perform_for_pool(&mut self, wish: PoolWish<Member>) {
        match wish {
            PoolWish::LogIn { connection, key } => self.log_in(connection, &key),
            PoolWish::Close { connection } => {
                self.close(connection);
                self.pool.handle_release(&Member::Carried(connection));
            }
            PoolWish::Probe { connection } => {
                if let Some(link) = self.link(connection) {
                    link.probe();
                }
            }
            PoolWish::Up { member, connection } => {
                let Some(link) = self.link(connection) else { return };
                match member {
                    Member::Tunnel(id) => self.handle_tunnel_up(&id, connection, &link),
                    Member::Session(id) => self.handle_session_up(&id),
                    Member::Carried(carried) => self.dial(carried, Way::Through(link)),
                }
            }
            PoolWish::LoginFailed { member, why } => match member {
                Member::Tunnel(id) => self.handle_tunnel_refused(&id, why),
                Member::Session(id) => self.handle_session_failed(&id, Setback::LoginFailed(why)),
                Member::Carried(carried) => {
                    self.close(carried);
                    self.pool.handle_login_failed(carried, &why);
                }
            },
            PoolWish::Lost { member, connection, why } => match member {
                Member::Tunnel(id) => self.handle_tunnel_lost(&id, connection, why),
                Member::Session(id) => self.handle_session_failed(&id, Setback::ConnectionLost(why)),
                Member::Carried(carried) => {
                    self.close(carried);
                    let why = format!("the connection it went through is over: {why}");
                    self.pool.handle_lost(carried, &LossReason::Ended(why.into()));
                }
            },
        }
    }

    fn link(&self, connection: ConnectionId) -> Option<Link> {
        match &self.connections.get(&connection)?.stage {
            Stage::Up(link) => Some(link.clone()),
            Stage::AwaitingJump | Stage::LoggingIn(_) => None,
        }
    }

    fn log_in(&mut self, connection: ConnectionId, key: &ConnectionKey) {
        match self.records.way(key, &self.means.places) {
            Err(why) => {
                self.pool
                    .handle_login_failed(connection, &LoginFailure::Lasting(Obstacle::Records, why.to_string().into()));
            }
            Ok((hop, jump)) => {
                self.connections.insert(connection, Connection { hop, stage: Stage::AwaitingJump });
                match jump {
                    None => self.dial(connection, Way::Direct),
                    Some(jump) => {
                        self.pool.handle_acquire(Member::Carried(connection), jump, Instant::now());
                    }
                }
            }
        }
    }

    fn dial(&mut self, connection: ConnectionId, way: Way) {
        let Some(wanted) = self.connections.get_mut(&connection) else { return };
        let (hop, desk) = (wanted.hop.clone(), self.means.desk.clone());
        let job = self.jobs.spawn(async move {
            let outcome = Box::pin(dial::open(&hop, way, &desk, &mut |_| {})).await;
            Fact::LoggedIn { connection, outcome: Box::new(outcome) }
        });
        wanted.stage = Stage::LoggingIn(job);
    }

    /// Ends a connection, or gives its login up.
    fn close(&mut self, connection: ConnectionId) {
        match self.connections.remove(&connection).map(|connection| connection.stage) {
            Some(Stage::LoggingIn(job)) => job.abort(),
            Some(Stage::Up(link)) => link.stop(),
            Some(Stage::AwaitingJump) | None => {}
        }
    }

    pub(super) fn handle_logged_in(
        &mut self,
        connection: ConnectionId,
        outcome: Result<(Link, LinkEvents), DialError>,
    ) {
        let Some(wanted) = self.connections.get_mut(&connection) else {
            // Given up while its outcome was on the way here.
            if let Ok((link, events)) = outcome {
                link.stop();
                self.listen(connection, events);
            }
            return;
        };
        let host = HostName::new(&wanted.hop.host, wanted.hop.port);
        match outcome {
            Ok((link, events)) => {
                wanted.stage = Stage::Up(link);
                self.forget_strangers(|stranger| stranger.host == host);
                self.listen(connection, events);
                self.pool.handle_logged_in(connection, Instant::now());
                self.settle();
            }
            Err(error) => {
                match (StrangeHost::of(&error, &self.means.places.known_hosts), &*error.why) {
                    (Some(stranger), _) => self.note_stranger(stranger),
                    // Its key is known meanwhile, and as stolen: there is nothing to be judged.
                    (None, DialFailure::HostKey(HostKeyError::Revoked { .. })) => {
                        self.forget_strangers(|stranger| stranger.host == host);
                    }
                    (None, _) => {}
                }
                self.give_up(connection, &LoginFailure::from(&error));
            }
        }
    }

    fn give_up(&mut self, connection: ConnectionId, why: &LoginFailure) {
        self.connections.remove(&connection);
        self.pool.handle_login_failed(connection, why);
        self.settle();
        self.pool.handle_release(&Member::Carried(connection));
        self.settle();
    }

    /// A job panicked. Nothing is known of it but its number; whoever waits for a login hears that there will be none.
    pub(super) fn handle_fault(&mut self, job: task::Id) {
        let is_its =
            |connection: &Connection| matches!(&connection.stage, Stage::LoggingIn(login) if login.id() == job);
        let login = self.connections.iter().find(|(_, connection)| is_its(connection)).map(|(id, _)| *id);
        if let Some(connection) = login {
            self.give_up(connection, &LoginFailure::Passing("a fault of adit's own; its log says more".into()));
        }
    }

    /// Waits for the next event of a link. Its task ends with `events`, so they are heard to the end.
    fn listen(&mut self, connection: ConnectionId, mut events: LinkEvents) {
        self.jobs.spawn(async move {
            let event = events.next().await;
            Fact::Link { connection, event, events }
        });
    }

    pub(super) fn handle_link_event(&mut self, connection: ConnectionId, event: Option<LinkEvent>, events: LinkEvents) {
        match event {
            Some(LinkEvent::Ended(end)) => {
                // One that was closed here is forgotten already, by the pool too.
                self.connections.remove(&connection);
                self.pool.handle_lost(connection, &LossReason::from(&end));
                self.settle();
                self.pool.handle_release(&Member::Carried(connection));
                self.settle();
            }
            Some(LinkEvent::Heard) => {
                self.pool.handle_heard(connection, Instant::now());
                self.settle();
                self.listen(connection, events);
            }
            Some(LinkEvent::Refused { lane, target, why }) => {
                let text: Arc<str> = format!("{target}: {why}").into();
                self.handle_refusal(connection, lane, text);
                self.listen(connection, events);
            }
            None => {}
        }
    }

    pub(super) fn forget_strangers(&self, is_meant: impl Fn(&StrangeHost) -> bool) {
        self.board.send_if_modified(|board| {
            let before = board.strange_hosts.len();
            board.strange_hosts.retain(|stranger| !is_meant(stranger));
            board.strange_hosts.len() != before
        });
    }

    /// Somebody can say whether the key is right, once it is to be seen.
    pub(super) fn note_stranger(&self, stranger: StrangeHost) {
        self.board.send_modify(|board| {
            board.strange_hosts.retain(|other| other.host != stranger.host);
            board.strange_hosts.push(stranger);
        });
    }
}
