//! What happened to tunnels lately, for whoever was not there to see it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use adit_core::{RecordId, Setback, TunnelStatus};

/// What a tunnel writes in a day when its server is gone and it tries once a minute.
const ENTRIES: usize = 2_000;

/// The newest entries. Cloning is cheap; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    entries: VecDeque<JournalEntry>,
    last_number: u64,
}

/// Something that happened to a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Counts up from 1 since the agent started.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// Whose.
    pub tunnel: RecordId,
    /// What people called it then.
    pub name: Arc<str>,
    /// Its status from then on.
    pub status: &'static str,
    /// What went wrong, if something did. A connection that did not reach its target does not change the status.
    pub error: Option<Arc<str>>,
}

impl Journal {
    /// A tunnel stands in a new way.
    pub(super) fn write_status(&self, tunnel: &RecordId, name: &Arc<str>, status: &TunnelStatus) {
        let error = status.last_error().map(Setback::to_string);
        self.write(tunnel, name, status.name(), error.map(Arc::from));
    }

    /// A connection did not reach its target.
    pub(super) fn write_refusal(&self, tunnel: &RecordId, name: &Arc<str>, status: &TunnelStatus, why: &Arc<str>) {
        self.write(tunnel, name, status.name(), Some(why.clone()));
    }

    fn write(&self, tunnel: &RecordId, name: &Arc<str>, status: &'static str, error: Option<Arc<str>>) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.last_number += 1;
        let (number, at) = (pages.last_number, SystemTime::now());
        if pages.entries.len() == ENTRIES {
            pages.entries.pop_front();
        }
        pages.entries.push_back(JournalEntry { number, at, tunnel: tunnel.clone(), name: name.clone(), status, error });
    }

    /// What has been written after an entry's number, the oldest first.
    pub(crate) fn after(&self, number: u64) -> Vec<JournalEntry> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = pages.entries.partition_point(|entry| entry.number <= number);
        pages.entries.range(from..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_are_kept_in_their_order() {
        let journal = Journal::default();
        let (id, name) = (RecordId::from("tun_1"), Arc::from("web"));
        assert_eq!(journal.after(0), []);
        for _ in 0..=ENTRIES {
            journal.write_status(&id, &name, &TunnelStatus::Connecting);
        }
        journal.write_refusal(&id, &name, &TunnelStatus::Connecting, &"10.0.0.5:80: no".into());
        let kept = journal.after(0);
        let numbers: Vec<u64> = kept.iter().map(|entry| entry.number).collect();
        assert!(numbers.is_sorted() && kept.len() == ENTRIES, "{numbers:?}");
        let newest = journal.after(ENTRIES as u64 + 1);
        assert_eq!(newest.len(), 1);
        assert_eq!((newest[0].status, newest[0].error.as_deref()), ("connecting", Some("10.0.0.5:80: no")));
        assert_eq!(journal.after(u64::MAX), []);
    }
}
