//! Which channels of a connection carry bulk, whether they have it to themselves, and by when their peers must have written something on.

use std::time::{Duration, Instant};

use crate::channel::{Channel, ChannelId};

/// Whoever sent something within this time is somebody to leave the way free for.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The channels of one connection that carry bulk.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    /// Those that do, or did.
    channels: Vec<ChannelId>,
    /// No later than any of them gives its peer up.
    gives_up_at: Option<Instant>,
    /// Those that did, and are to hear so.
    given_up: Vec<ChannelId>,
    /// The last two channels of any kind that sent something or were asked for, and when: whoever carries bulk may not be alone.
    active: [Option<(ChannelId, Instant)>; 2],
}

impl Bulk {
    /// A channel sends something or is asked for.
    pub(crate) fn note_active(&mut self, id: ChannelId, now: Instant) {
        if self.active[0].is_some_and(|(last, _)| last != id) {
            self.active[1] = self.active[0];
        }
        self.active[0] = Some((id, now));
    }

    /// A channel carries bulk from now on.
    pub(crate) fn insert(&mut self, id: ChannelId) {
        self.channels.push(id);
    }

    /// A channel that does is gone.
    pub(crate) fn remove(&mut self, id: ChannelId) {
        self.channels.retain(|bulk| *bulk != id);
    }

    /// Whether others than this channel use the connection too.
    pub(crate) fn is_shared(&self, id: ChannelId, now: Instant) -> bool {
        let others = self.active.iter().flatten().filter(|(active, _)| *active != id);
        others.map(|(_, at)| now.saturating_duration_since(*at)).any(|since| since < SHARED_FOR)
    }

    /// Notes when a channel gives its peer up, if it does.
    pub(crate) fn gives_up_before(&mut self, at: Option<Instant>) {
        self.gives_up_at = self.gives_up_at.into_iter().chain(at).min();
    }

    /// When [`Self::expire`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.gives_up_at
    }

    /// Lets channels use their whole windows, where their peer has long opened them no further; tells one of those that wait for that.
    /// `slots` are all channels by their numbers.
    pub(crate) fn expire(&mut self, slots: &mut [Option<Channel>], now: Instant) -> Option<ChannelId> {
        if self.gives_up_at.is_some_and(|at| at <= now) {
            self.gives_up_at = None;
            for id in &self.channels {
                let Some(channel) = slots.get_mut(id.0 as usize).and_then(Option::as_mut) else { continue };
                if channel.gives_up_at().is_some_and(|at| at <= now) && channel.give_up(now) && !channel.orphaned {
                    self.given_up.push(*id);
                }
                self.gives_up_at = self.gives_up_at.into_iter().chain(channel.gives_up_at()).min();
            }
        }
        self.given_up.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ChannelId = ChannelId(1);
    const OTHER: ChannelId = ChannelId(2);

    #[test]
    fn whoever_sends_alone_shares_with_nobody() {
        let (mut bulk, now) = (Bulk::default(), Instant::now());
        assert!(!bulk.is_shared(ONE, now));
        bulk.note_active(ONE, now);
        bulk.note_active(ONE, now);
        assert!(!bulk.is_shared(ONE, now));
    }

    #[test]
    fn another_is_remembered_for_a_second_however_much_is_sent_since() {
        let (mut bulk, now) = (Bulk::default(), Instant::now());
        bulk.note_active(OTHER, now);
        for passed in 0..100 {
            bulk.note_active(ONE, now + passed * Duration::from_millis(1));
        }
        assert!(bulk.is_shared(ONE, now + SHARED_FOR - Duration::from_millis(1)));
        assert!(!bulk.is_shared(ONE, now + SHARED_FOR));
    }
}
