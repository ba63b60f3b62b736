//! One port that is taken: who holds it, and who wants it.

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use super::ForwardRequest;
use crate::{AccountId, Port, SessionId};

/// Who holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The port.
    pub port: Port,
    /// The session that has it.
    pub session: SessionId,
    /// The account of that session.
    pub account: AccountId,
    /// When the session got it.
    pub since: Instant,
    /// Grows with every lease of the table: of two leases for one port, the greater is the later.
    pub fence: u64,
}

/// The right to listen on one port. Only a [`PortTable`](crate::PortTable) makes one, and it cannot be copied: whoever
/// has it was allowed to, and while it is out nobody else has one for that port. It goes back to the table when the
/// listener is closed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not given back blocks its port for ever"]
pub struct PortLease {
    port: Port,
    session: SessionId,
    account: AccountId,
    fence: u64,
}

impl PortLease {
    pub(super) fn of(holding: &Holding) -> PortLease {
        let &Holding { port, session, account, fence, .. } = holding;
        PortLease { port, session, account, fence }
    }

    /// The port to listen on.
    pub fn port(&self) -> Port {
        self.port
    }

    /// The session it was given to.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The account of that session.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Grows with every lease of the table.
    pub fn fence(&self) -> u64 {
        self.fence
    }
}

/// A taken port.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) holding: Holding,
    /// The holder's request, until its listener is bound.
    pub(super) opening: Option<Opening>,
    pub(super) tenure: Tenure,
}

/// A request that was granted a port, and still has to hear whether the listener could be bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) request: ForwardRequest,
    /// How many ports were tried for it, this one included.
    pub(super) tries: u32,
}

/// How firmly the holder has its port. Those who wait are other sessions of the same account, the first come first.
#[derive(Debug)]
pub(super) enum Tenure {
    /// Nobody else wants it.
    Settled,
    /// Somebody wants it (`waiting` is never empty), and the holder has until then to show that it lives.
    Contested { until: Instant, waiting: VecDeque<ForwardRequest> },
    /// The holder has ended or was evicted; its lease is on the way back.
    Leaving { waiting: VecDeque<ForwardRequest> },
}

impl Slot {
    /// Does this session hold the port, or wait for it?
    pub(super) fn concerns(&self, session: SessionId) -> bool {
        self.holding.session == session || self.tenure.waiting().any(|request| request.session == session)
    }

    /// The holder proved that it lives. If the port was contested: until when it had time, and who wanted it.
    pub(super) fn settle(&mut self) -> Option<(Instant, VecDeque<ForwardRequest>)> {
        let until = self.tenure.deadline()?;
        Some((until, mem::replace(&mut self.tenure, Tenure::Settled).into_waiting()))
    }

    /// The holder has to go, or has gone. Answers until when it was probed, if it was: that probe is over.
    pub(super) fn leave(&mut self) -> Option<Instant> {
        let probed_until = self.tenure.deadline();
        let waiting = mem::replace(&mut self.tenure, Tenure::Settled).into_waiting();
        self.tenure = Tenure::Leaving { waiting };
        probed_until
    }

    /// This session does not want the port any more. If it was the last who did, a probe is over: answers until when it
    /// would have gone on.
    pub(super) fn stop_waiting(&mut self, session: SessionId) -> Option<Instant> {
        match &mut self.tenure {
            Tenure::Settled => None,
            Tenure::Leaving { waiting } => {
                waiting.retain(|request| request.session != session);
                None
            }
            Tenure::Contested { until, waiting } => {
                waiting.retain(|request| request.session != session);
                let until = waiting.is_empty().then_some(*until)?;
                self.tenure = Tenure::Settled;
                Some(until)
            }
        }
    }
}

impl Tenure {
    pub(super) fn waiting(&self) -> impl Iterator<Item = &ForwardRequest> {
        let waiting = match self {
            Tenure::Settled => None,
            Tenure::Contested { waiting, .. } | Tenure::Leaving { waiting } => Some(waiting),
        };
        waiting.into_iter().flatten()
    }

    pub(super) fn into_waiting(self) -> VecDeque<ForwardRequest> {
        match self {
            Tenure::Settled => VecDeque::new(),
            Tenure::Contested { waiting, .. } | Tenure::Leaving { waiting } => waiting,
        }
    }

    /// When the holder's time to answer ends, if it was asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Tenure::Contested { until, .. } => Some(*until),
            Tenure::Settled | Tenure::Leaving { .. } => None,
        }
    }
}
