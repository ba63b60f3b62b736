//! Sessions: a claim on a connection of their own, and tunnels that come and go with it.

use std::time::Instant;

use adit_core::{ConnectionKey, RecordId, Setback};

use super::orders::{Begin, StartError};
use super::{Done, Member, SessionStatus, Supervisor};

/// A session that somebody connected.
pub(super) struct Session {
    pub(super) key: ConnectionKey,
    pub(super) status: SessionStatus,
}

impl Session {
    pub(super) fn is_running(&self) -> bool {
        !matches!(self.status, SessionStatus::Failed { .. })
    }
}

impl Supervisor {
    /// Connects a session, and starts its tunnels.
    pub(super) fn connect(&mut self, id: &RecordId, secrets_locked: bool) -> Result<(), StartError> {
        let (key, plans) = self.records.session(id)?;
        if self.sessions.get(id).is_some_and(Session::is_running) {
            return Err(StartError::AlreadyConnected);
        }
        if secrets_locked && self.records.needs_secrets(&key) {
            return Err(StartError::SecretsLocked);
        }
        // What is left to be seen of the last time.
        self.disconnect(id, None);
        self.sessions.insert(id.clone(), Session { key: key.clone(), status: SessionStatus::Connecting });
        self.publish_session(id);
        self.pool.handle_acquire(Member::Session(id.clone()), key, Instant::now());
        self.settle();
        for (tunnel, plan) in plans {
            self.insert(&tunnel, plan);
            self.begin(&tunnel, Begin::Start, None);
        }
        Ok(())
    }

    /// Ends a session, and its tunnels with it; nothing is to be seen of it any more.
    pub(super) fn disconnect(&mut self, id: &RecordId, done: Option<&Done>) {
        let is_mine = |tunnel: &super::Tunnel| tunnel.plan.session.as_ref() == Some(id);
        let mine: Vec<RecordId> =
            self.tunnels.iter().filter(|(_, tunnel)| is_mine(tunnel)).map(|(id, _)| id.clone()).collect();
        mine.iter().for_each(|tunnel| self.remove(tunnel, done));
        if self.sessions.remove(id).is_some() {
            self.pool.handle_release(&Member::Session(id.clone()));
            self.settle();
            self.publish_session(id);
        }
    }

    /// Its claim is over. It stays to be seen, with its tunnels, which hear the same.
    pub(super) fn handle_session_failed(&mut self, id: &RecordId, last_error: Setback) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.status = SessionStatus::Failed { last_error };
            self.publish_session(id);
        }
    }

    pub(super) fn handle_session_up(&mut self, id: &RecordId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.status = SessionStatus::Connected { since: Instant::now() };
            self.publish_session(id);
        }
    }

    fn publish_session(&self, id: &RecordId) {
        let status = self.sessions.get(id).map(|session| session.status.clone());
        self.board.send_if_modified(|board| {
            let before = board.sessions.get(id).cloned();
            match &status {
                Some(status) => board.sessions.insert(id.clone(), status.clone()),
                None => board.sessions.remove(id),
            };
            before != status
        });
    }
}
