//! How often somebody may fail to sign in. Decides only: attempts and the time go in, "not now" comes out.
//!
//! Failures are counted per account, so that many machines cannot share the work of guessing one password, and per source, so that
//! one machine cannot try a few passwords on every account. An attempt counts as a failure from its beginning, or a burst of
//! attempts at once would all be let in before the first has failed. A success clears the account; from its source it only takes
//! itself back, because otherwise whoever has an account could sign in between guesses at others.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use adit_core::{AccountName, Source};

/// How many failures there may be, and for how long they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptRules {
    /// Failures within [`window`](Self::window), of one account and of one source alike.
    pub failures: usize,
    /// From a failure to the moment when it no longer counts.
    pub window: Duration,
    /// How many accounts and how many sources are remembered. Above it the one with the fewest failures is forgotten, of these the
    /// one that failed longest ago: an account that is locked stays locked while others are tried.
    pub remembered: usize,
}

impl Default for AttemptRules {
    /// 10 in 15 minutes. 10,000 entries take some 3 MB.
    fn default() -> Self {
        Self { failures: 10, window: Duration::from_secs(15 * 60), remembered: 10_000 }
    }
}

/// Too many failures; the next attempt is heard after `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyAttempts {
    /// How long that is, at least a moment.
    pub wait: Duration,
}

/// An attempt under way. Dropped, it was a failure.
#[derive(Debug)]
#[must_use = "a dropped attempt counts as a failure"]
pub struct Attempt {
    account: Option<AccountName>,
    source: Source,
    at: Instant,
}

/// The failures that still count.
#[derive(Debug)]
pub struct Attempts {
    rules: AttemptRules,
    accounts: Counters<AccountName>,
    sources: Counters<Source>,
}

impl Attempts {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new(rules: AttemptRules) -> Self {
        Self { rules, accounts: Counters::default(), sources: Counters::default() }
    }

    /// Somebody begins an attempt. `account` is `None` where the name typed cannot be one.
    ///
    /// # Errors
    /// [`TooManyAttempts`]; the attempt must not be made, and is not counted.
    pub fn handle_attempt(
        &mut self,
        account: Option<AccountName>,
        source: Source,
        now: Instant,
    ) -> Result<Attempt, TooManyAttempts> {
        let of_account = account.as_ref().and_then(|account| self.accounts.wait(account, &self.rules, now));
        let of_source = self.sources.wait(&source, &self.rules, now);
        if let Some(wait) = of_account.max(of_source) {
            return Err(TooManyAttempts { wait });
        }
        if let Some(account) = &account {
            self.accounts.count(account.clone(), &self.rules, now);
        }
        self.sources.count(source, &self.rules, now);
        Ok(Attempt { account, source, at: now })
    }

    /// The attempt succeeded.
    pub fn handle_success(&mut self, attempt: &Attempt) {
        if let Some(account) = &attempt.account {
            self.handle_cleared(account);
        }
        self.sources.take_back(&attempt.source, attempt.at);
    }

    /// The attempt was neither right nor wrong: nobody looked.
    pub fn handle_unjudged(&mut self, attempt: &Attempt) {
        if let Some(account) = &attempt.account {
            self.accounts.take_back(account, attempt.at);
        }
        self.sources.take_back(&attempt.source, attempt.at);
    }

    /// The account has a new password: what was tried before says nothing any more.
    pub fn handle_cleared(&mut self, account: &AccountName) {
        self.accounts.0.remove(account);
    }
}

/// The times of the failures of each, the oldest first; never an empty list, never more than the rules allow.
#[derive(Debug)]
struct Counters<K>(HashMap<K, VecDeque<Instant>>);

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Counters<K> {
    /// How long this one must wait, if so.
    fn wait(&mut self, key: &K, rules: &AttemptRules, now: Instant) -> Option<Duration> {
        let failures = self.0.get_mut(key)?;
        while failures.front().is_some_and(|at| now.saturating_duration_since(*at) >= rules.window) {
            failures.pop_front();
        }
        let oldest = *failures.front()?;
        (failures.len() >= rules.failures).then(|| rules.window - now.saturating_duration_since(oldest))
    }

    fn count(&mut self, key: K, rules: &AttemptRules, now: Instant) {
        if self.0.len() >= rules.remembered && !self.0.contains_key(&key) {
            self.make_room(rules, now);
        }
        self.0.entry(key).or_default().push_back(now);
    }

    fn make_room(&mut self, rules: &AttemptRules, now: Instant) {
        let counts = |failures: &VecDeque<Instant>| {
            failures.back().is_some_and(|at| now.saturating_duration_since(*at) < rules.window)
        };
        self.0.retain(|_, failures| counts(failures));
        if self.0.len() >= rules.remembered {
            let least = self.0.iter().min_by_key(|(_, failures)| (failures.len(), failures.back().copied()));
            let least = least.map(|(key, _)| key.clone());
            least.and_then(|key| self.0.remove(&key));
        }
    }

    fn take_back(&mut self, key: &K, at: Instant) {
        let Some(failures) = self.0.get_mut(key) else { return };
        if let Some(index) = failures.iter().rposition(|failure| *failure == at) {
            failures.remove(index);
        }
        if failures.is_empty() {
            self.0.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
