//! Follows the records: what was changed is read anew, and what runs by it goes on, is made anew, or ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::RecordId;
use adit_store::StoreError;
use adit_store::agent::Snapshot;
use tokio::sync::oneshot;

use super::orders::Begin;
use super::{Fact, Supervisor, Tunnel};
use crate::records::{Plan, Records};

/// Answered when records that were read after the question are followed.
pub(crate) type Refreshed = oneshot::Sender<Result<(), Arc<StoreError>>>;

/// One reading at a time; whoever asks meanwhile gets the next one, since the one under way may have passed what they changed.
#[derive(Default)]
pub(super) struct Refreshing {
    under_way: bool,
    waiting: Vec<Refreshed>,
}

impl Supervisor {
    pub(super) fn refresh(&mut self, asked_by: Refreshed) {
        self.refreshing.waiting.push(asked_by);
        self.load();
    }

    fn load(&mut self) {
        if self.refreshing.under_way || self.refreshing.waiting.is_empty() {
            return;
        }
        self.refreshing.under_way = true;
        let asked_by = std::mem::take(&mut self.refreshing.waiting);
        let store = self.means.store.clone();
        self.jobs.spawn(async move { Fact::Loaded { outcome: store.snapshot().await, asked_by } });
    }

    pub(super) fn handle_loaded(&mut self, outcome: Result<Snapshot, StoreError>, asked_by: Vec<Refreshed>) {
        self.refreshing.under_way = false;
        if self.is_ending {
            return;
        }
        let outcome = outcome.map(|snapshot| self.follow(Records::new(snapshot))).map_err(Arc::new);
        for asked in asked_by {
            // Who does not wait any more need not know.
            drop(asked.send(outcome.clone()));
        }
        self.load();
    }

    /// From now on these are the records. A profile's new login name or secret is used from the next login on; what leads
    /// elsewhere, or forwards something else, is made anew.
    pub(super) fn follow(&mut self, records: Records) {
        if self.records != records {
            self.board.send_modify(|board| board.records += 1);
        }
        self.records = records;
        let sessions: Vec<RecordId> = self.sessions.keys().cloned().collect();
        for id in sessions {
            self.follow_session(&id);
        }
        let mut wanted: BTreeMap<RecordId, Plan> = self.records.tunnels().into_iter().collect();
        for (id, session) in &self.sessions {
            if session.is_running()
                && let Ok((_, plans)) = self.records.session(id)
            {
                wanted.extend(plans);
            }
        }
        // Those of a session that has failed stay to be seen, until somebody acts.
        let is_over = |(id, tunnel): &(&RecordId, &Tunnel)| {
            let of_failed = tunnel.plan.session.as_ref().and_then(|session| self.sessions.get(session));
            !wanted.contains_key(*id) && of_failed.is_none_or(|session| session.is_running())
        };
        let over: Vec<RecordId> = self.tunnels.iter().filter(is_over).map(|(id, _)| id.clone()).collect();
        for id in over {
            self.remove(&id, None);
        }
        for (id, plan) in wanted {
            self.follow_plan(&id, plan);
        }
    }

    fn follow_session(&mut self, id: &RecordId) {
        match self.records.session(id) {
            Ok((key, _)) if self.sessions.get(id).is_some_and(|session| session.key == key) => {}
            Ok(_) => {
                let was_running = self.sessions.get(id).is_some_and(|session| session.is_running());
                self.disconnect(id, None);
                if was_running && let Err(error) = self.connect(id, false) {
                    tracing::warn!(session = %id, %error, "a session that was changed cannot be connected again");
                }
            }
            Err(_) => self.disconnect(id, None),
        }
    }

    fn follow_plan(&mut self, id: &RecordId, plan: Plan) {
        let Some(tunnel) = self.tunnels.get_mut(id) else {
            let is_of_session = plan.session.is_some();
            self.insert(id, plan);
            if is_of_session {
                self.begin(id, Begin::Start, None);
            }
            return;
        };
        if tunnel.plan == plan {
            return;
        }
        if tunnel.plan.runs_like(&plan) {
            let policy = plan.policy;
            tunnel.plan = plan;
            self.publish(id);
            return self.tell(id, |machine| machine.set_policy(policy));
        }
        let runs_on = tunnel.is_running() && plan.enabled;
        self.stop(id, None);
        self.insert(id, plan);
        if runs_on {
            self.begin(id, Begin::Start, None);
        }
    }
}
