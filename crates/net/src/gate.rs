//! A [`LoginGate`] at work: keeps a way to tell those at the gate that their place is needed. Who is admitted is decided in `core`.

use std::collections::HashMap;
use std::time::Instant;

use adit_core::{Admission, AdmissionId, LoginGate, LoginRules, Outcome, Source, Turned};
use tokio::sync::oneshot;

/// A login gate, with a way to tell those who must leave it.
#[derive(Debug)]
pub struct Gate {
    decides: LoginGate,
    /// Dropped to tell a connection that its place is needed.
    places: HashMap<AdmissionId, oneshot::Sender<()>>,
}

/// Ready when a place at the gate is needed for somebody else; not to be asked again then.
pub type Needed = oneshot::Receiver<()>;

impl Gate {
    /// One nobody stands at.
    pub fn new(rules: LoginRules) -> Gate {
        Gate { decides: LoginGate::new(rules), places: HashMap::new() }
    }

    /// Connections that have not logged in.
    pub fn waiting(&self) -> usize {
        self.places.len()
    }

    /// A connection came in; it is counted until [`leave`](Self::leave). See [`LoginGate::handle_connection`].
    ///
    /// # Errors
    /// It shall be dropped without a byte, and why.
    pub fn enter(&mut self, source: Source, exempt: bool, now: Instant) -> Result<(Admission, Needed), Turned> {
        let admission = self.decides.handle_connection(source, exempt, now)?;
        while let Some(pushed_out) = self.decides.poll_pushed_out() {
            self.places.remove(&pushed_out);
        }
        let (sender, needed) = oneshot::channel();
        self.places.insert(admission.id(), sender);
        Ok((admission, needed))
    }

    /// A connection has logged in, or is gone.
    pub fn leave(&mut self, admission: Admission, outcome: Outcome, now: Instant) {
        self.places.remove(&admission.id());
        self.decides.handle_done(admission, outcome, now);
    }
}
