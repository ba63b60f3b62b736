//! What the supervisor is asked to do, and why it did not.

use std::convert::Infallible;
use std::sync::Arc;

use adit_core::{AlreadyRunning, BindFailure, ForwardSpec, RecordId, TunnelStatus};
use adit_store::StoreError;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::refresh::Refreshed;
use super::{StrangeHost, Supervisor};
use crate::dial::Hop;
use crate::link::ConnectionNumber;
use crate::records::NoWay;

/// Held by whatever has yet to end; its receiver hears when the last one is dropped.
pub(crate) type Done = mpsc::Sender<Infallible>;

/// Answered once the port is bound, or not; for a remote forward at once. A login takes its own time.
pub(crate) type Started = oneshot::Sender<Result<(), StartError>>;

pub(crate) enum Order {
    Refresh(Refreshed),
    Start {
        tunnel: RecordId,
        how: Begin,
        secrets_locked: bool,
        answer: Started,
    },
    Stop {
        tunnel: RecordId,
        done: Done,
        answer: oneshot::Sender<Result<(), StopError>>,
    },
    StartAll {
        which: Which,
        answer: oneshot::Sender<usize>,
    },
    StopAll {
        done: Done,
    },
    Connect {
        session: RecordId,
        secrets_locked: bool,
        answer: Started,
    },
    Disconnect {
        session: RecordId,
        done: Done,
        answer: oneshot::Sender<Result<(), StopError>>,
    },
    CloseConnection {
        tunnel: RecordId,
        number: ConnectionNumber,
    },
    /// The way a tunnel's connection takes, hop by hop, and what it forwards.
    ShowWay {
        tunnel: RecordId,
        answer: oneshot::Sender<Result<(Vec<Hop>, ForwardSpec), StartError>>,
    },
    /// The machine woke up, or its network changed.
    Disturb,
    /// Somebody beside the supervisor met it.
    NoteStranger {
        stranger: StrangeHost,
        noted: oneshot::Sender<()>,
    },
    /// Somebody has judged its key.
    ForgetStranger {
        stranger: StrangeHost,
        forgotten: oneshot::Sender<()>,
    },
    /// Something that is saved beside the records has changed.
    NoteChange,
    /// Somebody wants to know whether orders are still taken.
    Answer {
        answer: oneshot::Sender<()>,
    },
    /// End everything; the loop ends when all of it has.
    End,
}

/// How a tunnel is to come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    Start,
    /// With a fresh connection, also where it runs.
    Reconnect,
}

/// Which of the tunnels that start with the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All that do not run.
    Idle,
    /// Those that have failed, and were not stopped by anybody.
    Failed,
}

/// A tunnel was not started, or a session not connected.
#[derive(Debug, Clone, Error)]
pub enum StartError {
    /// There is none with this id.
    #[error("there is no {kind} with id {id:?}")]
    NotFound {
        /// What was asked for.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// It runs.
    #[error(transparent)]
    AlreadyRunning(#[from] AlreadyRunning),
    /// The session is connected, or about to be.
    #[error("Session is already connected")]
    AlreadyConnected,
    /// It comes and goes with a session.
    #[error("this tunnel belongs to a session: connect or disconnect that")]
    OfSession,
    /// It is switched off.
    #[error("the tunnel “{name}” is disabled")]
    Disabled {
        /// What people call it.
        name: Arc<str>,
    },
    /// Its records lead nowhere; a sentence.
    #[error("{0}")]
    NoWay(Arc<str>),
    /// Its login needs a secret, and somebody has to unlock those first.
    #[error("the secrets are locked: unlock them first")]
    SecretsLocked,
    /// Its port could not be bound.
    #[error(transparent)]
    NotBound(#[from] BindFailure),
    /// It was stopped before its port was bound.
    #[error("it was stopped again at once")]
    Stopped,
    /// The store could not be read.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}

impl From<NoWay> for StartError {
    fn from(why: NoWay) -> Self {
        match why {
            NoWay::Missing { kind, id } => Self::NotFound { kind, id: id.to_string() },
            NoWay::Disabled { .. } | NoWay::Invalid { .. } => Self::NoWay(why.to_string().into()),
        }
    }
}

/// A tunnel was not stopped, or a session not disconnected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StopError {
    /// There is none with this id.
    #[error("there is no {kind} with id {id:?}")]
    NotFound {
        /// What was asked for.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// It comes and goes with a session.
    #[error("this tunnel belongs to a session: disconnect that")]
    OfSession,
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}

impl Supervisor {
    /// Whoever asked and does not wait any more need not know the answer.
    pub(super) fn handle_order(&mut self, order: Order) {
        if self.is_ending {
            // Its answer is dropped, which is an answer too.
            return;
        }
        match order {
            Order::Refresh(asked_by) => self.refresh(asked_by),
            Order::Start { tunnel, how, secrets_locked, answer } => match self.may_start(&tunnel, secrets_locked) {
                Ok(()) => self.begin(&tunnel, how, Some(answer)),
                Err(refused) => drop(answer.send(Err(refused))),
            },
            Order::Stop { tunnel, done, answer } => {
                let allowed = self.may_stop(&tunnel);
                if allowed.is_ok() {
                    self.stop(&tunnel, Some(&done));
                }
                drop(answer.send(allowed));
            }
            Order::StartAll { which, answer } => drop(answer.send(self.start_all(which))),
            Order::StopAll { done } => self.stop_all(Some(&done)),
            Order::Connect { session, secrets_locked, answer } => {
                drop(answer.send(self.connect(&session, secrets_locked)));
            }
            Order::Disconnect { session, done, answer } => {
                let allowed = self.may_disconnect(&session);
                self.disconnect(&session, Some(&done));
                drop(answer.send(allowed));
            }
            Order::CloseConnection { tunnel, number } => {
                if let Some(lane) = self.tunnels.get(&tunnel).and_then(|tunnel| tunnel.lane.as_ref()) {
                    lane.close_connection(number);
                }
            }
            Order::ShowWay { tunnel, answer } => drop(answer.send(self.show_way(&tunnel))),
            Order::NoteStranger { stranger, noted } => {
                self.note_stranger(stranger);
                // Who does not wait any more need not know.
                let _ = noted.send(());
            }
            Order::Disturb => self.handle_disturbance(),
            Order::ForgetStranger { stranger, forgotten } => {
                self.forget_strangers(|other| (&other.host, &other.key) == (&stranger.host, &stranger.key));
                let _ = forgotten.send(());
            }
            Order::NoteChange => self.board.send_modify(|board| board.records += 1),
            Order::Answer { answer } => {
                // Who does not wait any more need not know.
                let _ = answer.send(());
            }
            Order::End => {
                self.stop_all(None);
                self.is_ending = true;
            }
        }
    }

    fn may_start(&self, id: &RecordId, secrets_locked: bool) -> Result<(), StartError> {
        let not_found = || StartError::NotFound { kind: "tunnel", id: id.to_string() };
        let plan = &self.tunnels.get(id).ok_or_else(not_found)?.plan;
        if plan.session.is_some() {
            return Err(StartError::OfSession);
        }
        if !plan.enabled {
            return Err(StartError::Disabled { name: plan.name.clone() });
        }
        if secrets_locked && self.records.needs_secrets(&plan.key) {
            return Err(StartError::SecretsLocked);
        }
        Ok(())
    }

    fn may_stop(&self, id: &RecordId) -> Result<(), StopError> {
        match self.tunnels.get(id) {
            None => Err(StopError::NotFound { kind: "tunnel", id: id.to_string() }),
            Some(tunnel) if tunnel.plan.session.is_some() => Err(StopError::OfSession),
            Some(_) => Ok(()),
        }
    }

    fn may_disconnect(&self, id: &RecordId) -> Result<(), StopError> {
        if self.sessions.contains_key(id) || self.records.has_session(id) {
            return Ok(());
        }
        Err(StopError::NotFound { kind: "session", id: id.to_string() })
    }

    /// Starts what starts with the agent; how many those were.
    fn start_all(&mut self, which: Which) -> usize {
        let is_meant = |tunnel: &super::Tunnel| match which {
            Which::Idle => !tunnel.is_running(),
            Which::Failed => matches!(tunnel.machine.status(), TunnelStatus::Failed { .. }),
        };
        let wanted = |tunnel: &super::Tunnel| tunnel.plan.auto_start && tunnel.plan.enabled && is_meant(tunnel);
        let ids: Vec<RecordId> =
            self.tunnels.iter().filter(|(_, tunnel)| wanted(tunnel)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.begin(id, Begin::Start, None));
        ids.len()
    }

    fn show_way(&self, id: &RecordId) -> Result<(Vec<Hop>, ForwardSpec), StartError> {
        let not_found = || StartError::NotFound { kind: "tunnel", id: id.to_string() };
        let plan = &self.tunnels.get(id).ok_or_else(not_found)?.plan;
        let mut hops = Vec::new();
        let mut next = Some(plan.key.clone());
        // The store lets no way lead through itself.
        while let Some(key) = next {
            let (hop, jump) = self.records.way(&key, &self.means.places)?;
            hops.push(hop);
            next = jump;
        }
        hops.reverse();
        Ok((hops, plan.forward.clone()))
    }

    /// Stops whatever runs, also sessions: nothing listens for them any more.
    fn stop_all(&mut self, done: Option<&Done>) {
        let sessions: Vec<RecordId> = self.sessions.keys().cloned().collect();
        sessions.iter().for_each(|id| self.disconnect(id, done));
        let tunnels: Vec<RecordId> = self.tunnels.keys().cloned().collect();
        tunnels.iter().for_each(|id| self.stop(id, done));
    }
}
