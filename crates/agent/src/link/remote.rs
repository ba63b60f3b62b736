//! The remote forwards of a link: those asked for, in the order in which the server answers, and those granted.

use std::collections::VecDeque;
use std::sync::Arc;

use adit_core::{Port, RemoteListen, Target};
use adit_ssh::{Connection, Disconnect, ForwardDenied};
use tokio::sync::oneshot;

use super::{ForwardError, LaneId, LaneState};

/// Who waits for an answer; gone where nobody does any more.
pub(super) type Answer<T> = oneshot::Sender<Result<T, ForwardError>>;

/// A remote forward as a tunnel asks for it.
pub(super) struct Wanted {
    pub(super) lane: Arc<LaneState>,
    pub(super) listen: RemoteListen,
    pub(super) target: Target,
    pub(super) answer: Answer<Port>,
}

/// A remote forward that the server serves.
pub(super) struct Granted {
    pub(super) lane: Arc<LaneState>,
    /// Where its visitors go, on this side.
    pub(super) target: Target,
    address: Box<str>,
    port: Port,
}

/// All of one link.
#[derive(Default)]
pub(super) struct RemoteForwards {
    asked: VecDeque<Wanted>,
    granted: Vec<Granted>,
    /// What was taken back and is not answered yet, in order.
    taken_back: VecDeque<Option<Answer<()>>>,
}

impl RemoteForwards {
    /// The one that serves a port.
    pub(super) fn find(&self, address: &str, port: u16) -> Option<&Granted> {
        self.granted.iter().find(|forward| forward.port.get() == port && &*forward.address == address)
    }

    pub(super) fn request(&mut self, wanted: Wanted, connection: &mut Connection) -> Result<(), Disconnect> {
        let port = wanted.listen.port.map_or(0, Port::get);
        connection.request_forward(&wanted.listen.address, port)?;
        self.asked.push_back(wanted);
        Ok(())
    }

    /// The server has answered the oldest request. A grant that nobody waits for any more is taken back.
    pub(super) fn handle_answer(
        &mut self,
        answer: Result<Option<u32>, ForwardDenied>,
        connection: &mut Connection,
    ) -> Result<(), Disconnect> {
        let Some(Wanted { lane, listen, target, answer: asker }) = self.asked.pop_front() else {
            return Ok(());
        };
        let allocated = match answer {
            Ok(allocated) => allocated,
            Err(ForwardDenied) => {
                // Who does not wait any more need not know.
                let _ = asker.send(Err(ForwardError::Refused));
                return Ok(());
            }
        };
        let allocated = allocated.and_then(|port| Port::new(u16::try_from(port).ok()?));
        let Some(port) = listen.port.or(allocated) else { return Ok(()) };
        let forward = Granted { lane, target, address: listen.address, port };
        if asker.send(Ok(port)).is_err() {
            return self.take_back(&forward, None, connection);
        }
        self.granted.push(forward);
        Ok(())
    }

    /// Takes all forwards of a tunnel back, granted or asked for.
    pub(super) fn cancel(
        &mut self,
        lane: LaneId,
        answer: Option<Answer<()>>,
        connection: &mut Connection,
    ) -> Result<(), Disconnect> {
        for wanted in self.asked.iter_mut().filter(|wanted| wanted.lane.id == lane) {
            // Nobody waits now, so that a grant is taken back when it comes.
            let (gone, _) = oneshot::channel();
            let _ = std::mem::replace(&mut wanted.answer, gone).send(Err(ForwardError::LinkOver));
        }
        let (mine, others) = std::mem::take(&mut self.granted).into_iter().partition(|forward| forward.lane.id == lane);
        self.granted = others;
        let mine: Vec<Granted> = mine;
        let Some((last, rest)) = mine.split_last() else {
            if let Some(answer) = answer {
                let _ = answer.send(Ok(()));
            }
            return Ok(());
        };
        for forward in rest {
            self.take_back(forward, None, connection)?;
        }
        self.take_back(last, answer, connection)
    }

    /// The server has answered the oldest cancellation.
    pub(super) fn handle_cancelled(&mut self, outcome: Result<(), ForwardDenied>) {
        if let Some(Some(answer)) = self.taken_back.pop_front() {
            let _ = answer.send(outcome.map_err(|ForwardDenied| ForwardError::Refused));
        }
    }

    fn take_back(
        &mut self,
        forward: &Granted,
        answer: Option<Answer<()>>,
        connection: &mut Connection,
    ) -> Result<(), Disconnect> {
        self.taken_back.push_back(answer);
        connection.cancel_forward(&forward.address, forward.port.get())
    }
}
