//! Remembers which ports have just changed hands, and forgets it in time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::Port;

/// The ports that will not move for a while.
#[derive(Debug)]
pub(super) struct TakeoverPauses {
    pause: Duration,
    moved_at: HashMap<Port, Instant>,
    /// The same in the order of time: the front is the next to be forgotten.
    order: VecDeque<(Instant, Port)>,
}

impl TakeoverPauses {
    pub(super) fn new(pause: Duration) -> TakeoverPauses {
        TakeoverPauses { pause, moved_at: HashMap::new(), order: VecDeque::new() }
    }

    /// This port is being taken from its holder.
    pub(super) fn handle_takeover(&mut self, port: Port, now: Instant) {
        self.forget_old(now);
        self.moved_at.insert(port, now);
        self.order.push_back((now, port));
    }

    /// How long this port will not move again; `None` if it may move now.
    pub(super) fn remaining(&self, port: Port, now: Instant) -> Option<Duration> {
        let moved_at = *self.moved_at.get(&port)?;
        self.pause.checked_sub(now.saturating_duration_since(moved_at)).filter(|remaining| !remaining.is_zero())
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(&(moved_at, port)) = self.order.front()
            && now.saturating_duration_since(moved_at) >= self.pause
        {
            self.order.pop_front();
            if self.moved_at.get(&port) == Some(&moved_at) {
                self.moved_at.remove(&port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_and_is_forgotten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let [one, two] = [10_001, 10_002].map(|number| Port::new(number).unwrap());
        let mut pauses = TakeoverPauses::new(Duration::from_secs(10));
        pauses.handle_takeover(one, at(0));
        assert_eq!(pauses.remaining(one, at(3)), Some(Duration::from_secs(7)));
        assert_eq!(pauses.remaining(two, at(3)), None);
        assert_eq!(pauses.remaining(one, at(10)), None);
        pauses.handle_takeover(two, at(10));
        assert_eq!(pauses.order.len(), 1);
        assert_eq!(pauses.moved_at.len(), 1);
    }
}
