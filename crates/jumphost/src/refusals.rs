//! The last refused forwards of each account, with a sentence for its members: an SSH client shows none of it.
//! In memory only; the audit log has what must last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use adit_core::{AccountId, RefuseReason, SessionId};
use adit_ssh::crypto::Fingerprint;

use crate::metrics::RefusedForward;

/// Of one account. A client that asks again every few seconds leaves its last minutes.
const PER_ACCOUNT: usize = 20;

/// Accounts remembered; at some 250 bytes a refusal, 20 MB at most. Above it the account that was refused longest ago is forgotten.
const ACCOUNTS: usize = 4_096;

/// One refused forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) at: SystemTime,
    /// The port asked for; 0 is any.
    pub(crate) port: u32,
    pub(crate) reason: RefusedForward,
    /// What happened and what to do, in sentences.
    pub(crate) message: String,
    pub(crate) session: SessionId,
    pub(crate) fingerprint: Fingerprint,
    /// What the owner calls the key, raw.
    pub(crate) label: String,
}

/// The refusals that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<AccountId, VecDeque<Refusal>>>);

impl Refusals {
    pub(crate) fn note(&self, account: AccountId, refusal: Refusal) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= ACCOUNTS && !accounts.contains_key(&account) {
            let last = |refusals: &VecDeque<Refusal>| refusals.back().map(|refusal| refusal.at);
            let oldest = accounts.iter().min_by_key(|(_, refusals)| last(refusals)).map(|(account, _)| *account);
            oldest.and_then(|account| accounts.remove(&account));
        }
        let refusals = accounts.entry(account).or_default();
        if refusals.len() >= PER_ACCOUNT {
            refusals.pop_front();
        }
        refusals.push_back(refusal);
    }

    /// Those of an account, the newest first.
    pub(crate) fn of(&self, account: AccountId) -> Vec<Refusal> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(&account).map(|refusals| refusals.iter().rev().cloned().collect()).unwrap_or_default()
    }
}

/// What the port table's refusal means to the member, and what to do about it.
pub(crate) fn advice(port: u16, reason: RefuseReason, now: Instant) -> String {
    match reason {
        RefuseReason::OutOfRange { range } => {
            format!(
                "Port {port} is not one of this jump host's. Ask for one from {} to {}.",
                range.first(),
                range.last()
            )
        }
        RefuseReason::OutsideKeyRange { range } => {
            format!(
                "This key may only use ports {} to {}. Ask for one of these, or use another key.",
                range.first(),
                range.last()
            )
        }
        RefuseReason::HeldByOtherAccount => {
            format!("Another account holds port {port}. Ask for another port, or for port 0 to get one that is free.")
        }
        RefuseReason::HeldByYourSession { session, since } => {
            let held = elapsed(now, since);
            format!(
                "Your other session {session} has held port {port} for {held}. Close that session, or ask for another port."
            )
        }
        RefuseReason::AlreadyYours => {
            format!("This session has asked for port {port} before. Name each port once in the command.")
        }
        RefuseReason::TooManyForwards { limit } => {
            format!("Your account has its {limit} forwards in use. Close one of them first.")
        }
        RefuseReason::RangeFull => "No port is free. Try again when somebody has closed one.".to_owned(),
        RefuseReason::InUseBySystem => {
            format!("Another program on the jump host uses port {port}. Ask for another port.")
        }
        RefuseReason::TakeoverPause { remaining } => {
            let seconds = remaining.as_millis().div_ceil(1_000);
            format!(
                "Port {port} has just moved to another of your sessions. Two clients ask for it: stop one, then wait {seconds} s."
            )
        }
    }
}

fn elapsed(now: Instant, since: Instant) -> String {
    match now.saturating_duration_since(since).as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    use adit_ssh::crypto::HostKey;

    fn refusal(second: u64) -> Refusal {
        Refusal {
            at: UNIX_EPOCH + Duration::from_secs(second),
            port: 22,
            reason: RefusedForward::OutOfRange,
            message: String::new(),
            session: SessionId(1),
            fingerprint: HostKey::generate_ed25519().unwrap().public_key().fingerprint(),
            label: String::new(),
        }
    }

    fn at(refusals: &[Refusal]) -> Vec<u64> {
        refusals.iter().map(|refusal| refusal.at.duration_since(UNIX_EPOCH).unwrap().as_secs()).collect()
    }

    #[test]
    fn the_last_twenty_of_an_account_are_kept() {
        let refusals = Refusals::default();
        for second in 0..25 {
            refusals.note(AccountId(1), refusal(second));
        }
        refusals.note(AccountId(2), refusal(7));
        assert_eq!(at(&refusals.of(AccountId(1))), (5..25).rev().collect::<Vec<_>>());
        assert_eq!(at(&refusals.of(AccountId(2))), [7]);
        assert!(refusals.of(AccountId(3)).is_empty());
    }

    #[test]
    fn the_account_refused_longest_ago_is_forgotten_first() {
        let refusals = Refusals::default();
        let one = refusal(1_000);
        for account in 0..ACCOUNTS as i64 {
            let at = one.at + Duration::from_secs(account as u64);
            refusals.note(AccountId(account), Refusal { at, ..one.clone() });
        }
        refusals.note(AccountId(0), refusal(1_000_000));
        refusals.note(AccountId(-1), refusal(1_000_001));
        assert!(refusals.of(AccountId(1)).is_empty());
        assert_eq!(refusals.of(AccountId(0)).len(), 2);
    }

    #[test]
    fn the_session_in_the_way_is_named_with_its_time() {
        let now = Instant::now() + Duration::from_secs(10_000);
        let since = now - Duration::from_secs(200);
        let told = advice(10_080, RefuseReason::HeldByYourSession { session: SessionId(7), since }, now);
        assert_eq!(
            told,
            "Your other session 7 has held port 10080 for 3 min. Close that session, or ask for another port."
        );
        assert_eq!(elapsed(now, now - Duration::from_secs(59)), "59 s");
        assert_eq!(elapsed(now, now - Duration::from_secs(8_000)), "2 h");
    }
}
