//! Decides what one tunnel does next: the life of a forward from Start to Stop, through every loss between them.
//!
//! The listener comes first, so that a busy port is told before anything else is tried and never reads `connected`. It stays
//! while the connection is made anew, so that nobody takes the port meanwhile. A remote forward has its listener at the far
//! end; there the far end's consent takes the place of the bound socket.
//!
//! Sockets and the SSH connection belong to the shell and the [`Pool`](crate::Pool); this machine never sees them.

mod setback;
mod status;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::{Backoff, ConnectionId, ForwardKind, LoginFailure, LossReason, Port, ReconnectPolicy};
pub use setback::{BindFailure, PortHolder, Setback};
pub use status::{AlreadyRunning, TunnelStatus};

/// A connection that lasted as long as the longest pause is a success, and what comes after it begins anew. One that breaks
/// sooner counts on: a server that drops us again and again must not be asked every second.
const STABLE: Duration = Duration::from_secs(60);

/// Names one try of something that is answered later, so that the answer to a try that was given up is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// What a tunnel wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunnelWish {
    /// Bind the local listener, and accept from it; answer with [`handle_bound`](Tunnel::handle_bound) or
    /// [`handle_bind_failed`](Tunnel::handle_bind_failed). While the tunnel is not connected, close what is accepted at once.
    Bind(Attempt),
    /// Close the local listener, or give up binding it.
    Unbind,
    /// Claim the connection from the pool.
    Acquire,
    /// Give the claim back.
    Release,
    /// Ask for the remote forward; answer with [`handle_forward_granted`](Tunnel::handle_forward_granted) or
    /// [`handle_forward_refused`](Tunnel::handle_forward_refused).
    OpenRemoteForward {
        /// To be named in the answer.
        attempt: Attempt,
        /// On which connection.
        connection: ConnectionId,
    },
    /// Cancel the remote forward, granted or asked for: others may share its connection, which stays.
    CancelRemoteForward {
        /// On which connection.
        connection: ConnectionId,
    },
    /// The status is another one now. To be told to whoever watches.
    StatusChanged(TunnelStatus),
}

/// One tunnel.
///
/// Hand in what happened with the `handle_` methods, then take wishes from [`poll_output`](Self::poll_output) until there are
/// none, before anything else is handed to a tunnel or to their pool: what the pool says may undo what a tunnel has yet to wish.
/// Wake up at [`poll_timeout`](Self::poll_timeout) for [`handle_timeout`](Self::handle_timeout). Facts that come too late,
/// about what was given up meanwhile, change nothing.
#[derive(Debug)]
pub struct Tunnel {
    kind: ForwardKind,
    policy: ReconnectPolicy,
    state: State,
    last_attempt: u64,
    wishes: VecDeque<TunnelWish>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Disconnected,
    /// The local port is being bound; nothing else was asked for yet.
    Binding(Attempt),
    /// The first time since Start. A local listener stands from here on, up to the end.
    Connecting(Step),
    Connected {
        connection: ConnectionId,
        since: Instant,
        remote_port: Option<Port>,
        retries: Retries,
    },
    Reconnecting {
        next: Next,
        retries: Retries,
        after: Setback,
    },
    Failed(Setback),
}

/// What is awaited on the way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    LoggingIn,
    OpeningForward { attempt: Attempt, connection: ConnectionId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The connection is there when it is only the remote forward that was refused.
    Pause {
        until: Instant,
        connection: Option<ConnectionId>,
    },
    Trying(Step),
}

/// Two counts, because they end differently: logins when the policy says so, a refused port when it is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Retries {
    login: Backoff,
    forward: Backoff,
}

impl Tunnel {
    /// A tunnel that is not running.
    pub fn new(kind: ForwardKind, policy: ReconnectPolicy) -> Tunnel {
        Tunnel { kind, policy, state: State::Disconnected, last_attempt: 0, wishes: VecDeque::new() }
    }

    /// Somebody wants it to run.
    ///
    /// # Errors
    ///
    /// [`AlreadyRunning`] unless it is disconnected or failed; nothing changed then.
    pub fn handle_start(&mut self) -> Result<(), AlreadyRunning> {
        if !matches!(self.state, State::Disconnected | State::Failed(_)) {
            return Err(AlreadyRunning);
        }
        self.come_up();
        Ok(())
    }

    /// Somebody wants it to stop. Final: nothing is tried again until the next start.
    pub fn handle_stop(&mut self) {
        self.let_go_of_connection();
        self.let_go_of_listener();
        self.enter(State::Disconnected);
    }

    /// Somebody wants a fresh connection now. One that is being made is fresh enough; others that share the present one keep it.
    pub fn handle_reconnect(&mut self) {
        match self.state {
            State::Disconnected | State::Failed(_) => self.come_up(),
            State::Binding(_) | State::Connecting(_) | State::Reconnecting { next: Next::Trying(_), .. } => {}
            State::Connected { .. } => {
                self.let_go_of_connection();
                self.wishes.push_back(TunnelWish::Acquire);
                self.enter(State::Connecting(Step::LoggingIn));
            }
            State::Reconnecting { next: Next::Pause { .. }, .. } => {
                self.let_go_of_connection();
                self.retry_anew(None);
            }
        }
    }

    /// Whether and how often it reconnects is decided anew. What is up or being tried goes on, and is judged so when it ends; a pause
    /// that this policy would not have begun ends as it would have.
    pub fn set_policy(&mut self, policy: ReconnectPolicy) {
        self.policy = policy;
        let State::Reconnecting { next: Next::Pause { connection, .. }, retries, after } = &self.state else { return };
        // The retry that the pause is for was counted when it began.
        let made = retries.login.retries().saturating_sub(1);
        let end = match (policy, after) {
            (ReconnectPolicy::Never, Setback::ConnectionLost(_)) => Setback::ReconnectDisabled,
            (ReconnectPolicy::Never, why) => why.clone(),
            // A port is asked for until it is free.
            (_, Setback::ForwardRefused(_)) => return,
            (ReconnectPolicy::UpTo(most), why) if most.get() <= made => {
                Setback::GaveUp { retries: made, last: Box::new(why.clone()) }
            }
            _ => return,
        };
        self.wishes.extend(connection.map(|_| TunnelWish::Release));
        self.fail(end);
    }

    /// The listener accepts.
    pub fn handle_bound(&mut self, attempt: Attempt) {
        if self.state == State::Binding(attempt) {
            self.wishes.push_back(TunnelWish::Acquire);
            self.enter(State::Connecting(Step::LoggingIn));
        }
    }

    /// The listener could not be bound. That ends it: another program has the port until somebody decides otherwise.
    pub fn handle_bind_failed(&mut self, attempt: Attempt, why: BindFailure) {
        if self.state == State::Binding(attempt) {
            self.enter(State::Failed(Setback::NotBound(why)));
        }
    }

    /// The claimed connection is there.
    pub fn handle_connection_up(&mut self, connection: ConnectionId, now: Instant) {
        if self.step() != Some(Step::LoggingIn) {
            return;
        }
        if self.kind.listens_here() { self.connected(connection, None, now) } else { self.open_forward(connection) }
    }

    /// There is no connection, and the claim is over.
    pub fn handle_login_failed(&mut self, why: LoginFailure, now: Instant) {
        if self.step() != Some(Step::LoggingIn) {
            return;
        }
        let lasting = matches!(why, LoginFailure::Lasting(..));
        let setback = Setback::LoginFailed(why);
        if lasting || self.policy == ReconnectPolicy::Never {
            self.fail(setback)
        } else {
            self.pause_for_login(setback, now)
        }
    }

    /// The connection is gone, and the claim is over.
    pub fn handle_connection_lost(&mut self, connection: ConnectionId, why: LossReason, now: Instant) {
        if self.connection() != Some(connection) {
            return;
        }
        if self.policy == ReconnectPolicy::Never {
            return self.fail(Setback::ReconnectDisabled);
        }
        if let State::Connected { since, retries, .. } = &mut self.state
            && now.saturating_duration_since(*since) >= STABLE
        {
            *retries = Retries::default();
        }
        self.pause_for_login(Setback::ConnectionLost(why), now);
    }

    /// The far end listens, on this port.
    pub fn handle_forward_granted(&mut self, attempt: Attempt, port: Port, now: Instant) {
        if let Some(Step::OpeningForward { attempt: asked, connection }) = self.step()
            && asked == attempt
        {
            self.connected(connection, Some(port), now);
        }
    }

    /// The far end does not listen; a sentence says what is known of it. Asked again until it does, however often: most often the
    /// port is held by what is left of a session of our own, and the server will notice. Only a tunnel that is not to reconnect
    /// gives up at once.
    pub fn handle_forward_refused(&mut self, attempt: Attempt, why: &str, now: Instant) {
        let Some(Step::OpeningForward { attempt: asked, connection }) = self.step() else { return };
        if asked != attempt {
            return;
        }
        let setback = Setback::ForwardRefused(why.into());
        if self.policy == ReconnectPolicy::Never {
            self.wishes.push_back(TunnelWish::Release);
            return self.fail(setback);
        }
        let mut retries = self.retries();
        let until = now + retries.forward.next_pause();
        let next = Next::Pause { until, connection: Some(connection) };
        self.enter(State::Reconnecting { next, retries, after: setback });
    }

    /// The machine woke up, or its network changed: what was tried in vain may work now, so a pause ends here, and what comes
    /// next is counted anew.
    pub fn handle_disturbance(&mut self) {
        if let State::Reconnecting { next: Next::Pause { connection, .. }, .. } = self.state {
            self.retry_anew(connection);
        }
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let State::Reconnecting { next: Next::Pause { until, connection }, .. } = self.state
            && until <= now
        {
            self.retry(connection);
        }
    }

    /// The next thing to do; `None` until something else happens.
    pub fn poll_output(&mut self) -> Option<TunnelWish> {
        self.wishes.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Reconnecting { next: Next::Pause { until, .. }, .. } => Some(until),
            _ => None,
        }
    }

    /// What is told of it.
    pub fn status(&self) -> TunnelStatus {
        match &self.state {
            State::Disconnected => TunnelStatus::Disconnected,
            State::Binding(_) | State::Connecting(_) => TunnelStatus::Connecting,
            State::Connected { since, remote_port, .. } => {
                TunnelStatus::Connected { since: *since, remote_port: *remote_port }
            }
            State::Reconnecting { next, retries, after } => TunnelStatus::Reconnecting {
                retry_count: match after {
                    Setback::ForwardRefused(_) => retries.forward.retries(),
                    _ => retries.login.retries(),
                },
                last_error: after.clone(),
                next_try: match next {
                    Next::Pause { until, .. } => Some(*until),
                    Next::Trying(_) => None,
                },
            },
            State::Failed(setback) => TunnelStatus::Failed { last_error: setback.clone() },
        }
    }

    fn come_up(&mut self) {
        if self.kind.listens_here() {
            let attempt = self.next_attempt();
            self.wishes.push_back(TunnelWish::Bind(attempt));
            self.enter(State::Binding(attempt));
        } else {
            self.wishes.push_back(TunnelWish::Acquire);
            self.enter(State::Connecting(Step::LoggingIn));
        }
    }

    fn connected(&mut self, connection: ConnectionId, remote_port: Option<Port>, now: Instant) {
        let retries = self.retries();
        self.enter(State::Connected { connection, since: now, remote_port, retries });
    }

    /// Waits for the next login, if there may be one.
    fn pause_for_login(&mut self, setback: Setback, now: Instant) {
        let mut retries = self.retries();
        if !self.policy.allows_after(retries.login) {
            let retries = retries.login.retries();
            return self.fail(Setback::GaveUp { retries, last: Box::new(setback) });
        }
        let until = now + retries.login.next_pause();
        self.enter(State::Reconnecting { next: Next::Pause { until, connection: None }, retries, after: setback });
    }

    /// Ends a pause. What failed last stays told until something better is known.
    fn retry(&mut self, connection: Option<ConnectionId>) {
        match connection {
            Some(connection) => self.open_forward(connection),
            None => {
                self.wishes.push_back(TunnelWish::Acquire);
                self.enter_step(Step::LoggingIn);
            }
        }
    }

    /// As [`retry`](Self::retry), as the first of a new series.
    fn retry_anew(&mut self, connection: Option<ConnectionId>) {
        if let State::Reconnecting { retries, after, .. } = &mut self.state {
            *retries = Retries::default();
            match after {
                Setback::ForwardRefused(_) => retries.forward.next_pause(),
                _ => retries.login.next_pause(),
            };
        }
        self.retry(connection);
    }

    fn open_forward(&mut self, connection: ConnectionId) {
        let attempt = self.next_attempt();
        self.wishes.push_back(TunnelWish::OpenRemoteForward { attempt, connection });
        self.enter_step(Step::OpeningForward { attempt, connection });
    }

    /// Goes a step on the way up, without forgetting what went before.
    fn enter_step(&mut self, step: Step) {
        let state = match &self.state {
            State::Reconnecting { retries, after, .. } => {
                State::Reconnecting { next: Next::Trying(step), retries: *retries, after: after.clone() }
            }
            _ => State::Connecting(step),
        };
        self.enter(state);
    }

    /// The claim is over already.
    fn fail(&mut self, setback: Setback) {
        self.let_go_of_listener();
        self.enter(State::Failed(setback));
    }

    fn let_go_of_listener(&mut self) {
        let idle = matches!(self.state, State::Disconnected | State::Failed(_));
        if self.kind.listens_here() && !idle {
            self.wishes.push_back(TunnelWish::Unbind);
        }
    }

    fn let_go_of_connection(&mut self) {
        let forward = match &self.state {
            State::Connected { connection, remote_port: Some(_), .. } => Some(*connection),
            _ => match self.step() {
                Some(Step::OpeningForward { connection, .. }) => Some(connection),
                _ => None,
            },
        };
        self.wishes.extend(forward.map(|connection| TunnelWish::CancelRemoteForward { connection }));
        if self.connection().is_some() || self.step() == Some(Step::LoggingIn) {
            self.wishes.push_back(TunnelWish::Release);
        }
    }

    /// What is awaited, if something is.
    fn step(&self) -> Option<Step> {
        match self.state {
            State::Connecting(step) | State::Reconnecting { next: Next::Trying(step), .. } => Some(step),
            _ => None,
        }
    }

    /// The connection it stands on.
    fn connection(&self) -> Option<ConnectionId> {
        match self.state {
            State::Connected { connection, .. } => Some(connection),
            State::Reconnecting { next: Next::Pause { connection, .. }, .. } => connection,
            _ => match self.step() {
                Some(Step::OpeningForward { connection, .. }) => Some(connection),
                _ => None,
            },
        }
    }

    fn retries(&self) -> Retries {
        match self.state {
            State::Connected { retries, .. } | State::Reconnecting { retries, .. } => retries,
            _ => Retries::default(),
        }
    }

    fn next_attempt(&mut self) -> Attempt {
        self.last_attempt += 1;
        Attempt(self.last_attempt)
    }

    fn enter(&mut self, state: State) {
        let before = self.status();
        self.state = state;
        let status = self.status();
        if status != before {
            self.wishes.push_back(TunnelWish::StatusChanged(status));
        }
    }
}
