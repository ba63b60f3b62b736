//! A [`LoginGate`] at work: counts a connection in until it has logged in or is gone, and tells it when its place is needed. Who is
//! admitted is decided in `core`.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use adit_core::{Admission, AdmissionId, LoginGate, LoginRules, Outcome, Source, Turned};
use tokio::sync::oneshot;

/// A login gate. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Mutex<Standing>>);

#[derive(Debug)]
struct Standing {
    decides: LoginGate,
    /// Dropped to tell a connection that its place is needed.
    places: HashMap<AdmissionId, oneshot::Sender<()>>,
}

/// A connection that has not logged in, counted as one until it is dropped.
#[derive(Debug)]
pub struct AtTheGate {
    gate: Gate,
    admission: Option<Admission>,
    place: oneshot::Receiver<()>,
    /// How the login ends if nothing else is said.
    pub outcome: Outcome,
}

impl Gate {
    /// One nobody stands at.
    pub fn new(rules: LoginRules) -> Gate {
        Gate(Arc::new(Mutex::new(Standing { decides: LoginGate::new(rules), places: HashMap::new() })))
    }

    /// Connections that have not logged in.
    pub fn waiting(&self) -> usize {
        self.lock().places.len()
    }

    /// A connection came in; it gives up if nothing else is said of it. See [`LoginGate::handle_connection`].
    ///
    /// # Errors
    /// It shall be dropped without a byte, and why.
    pub fn enter(&self, source: Source, exempt: bool) -> Result<AtTheGate, Turned> {
        let mut standing = self.lock();
        let admission = standing.decides.handle_connection(source, exempt, Instant::now())?;
        while let Some(pushed_out) = standing.decides.poll_pushed_out() {
            standing.places.remove(&pushed_out);
        }
        let (sender, place) = oneshot::channel();
        standing.places.insert(admission.id(), sender);
        Ok(AtTheGate { gate: self.clone(), admission: Some(admission), place, outcome: Outcome::GaveUp })
    }

    /// Whoever panicked held whole values.
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtTheGate {
    /// Ready when the place is needed for somebody else; not to be asked again then.
    pub fn poll_pushed_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.place).poll(cx).map(drop)
    }
}

impl Drop for AtTheGate {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            let mut standing = self.gate.lock();
            standing.places.remove(&admission.id());
            standing.decides.handle_done(admission, self.outcome, Instant::now());
        }
    }
}
