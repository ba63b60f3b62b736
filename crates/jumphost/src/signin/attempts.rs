//! How often somebody may fail to sign in. Decides only: attempts and the time go in, "not now" comes out.
//!
//! A failure is counted three times, and each count has its own bound within a quarter of an hour:
//!
//! | Failures of | Bound | So that |
//! |---|---|---|
//! | one account from one source | 10 | one machine cannot guess at one account |
//! | one source, at all accounts | 50 | one machine cannot try a few passwords on every account |
//! | one account, from all sources that it does not know | 100 | many machines cannot share the work of guessing one password |
//!
//! Whoever fails on purpose must not keep the owner out. So the last bound does not hold for a source from which the account has
//! signed in before, and what fails there is not counted against the strangers either: a person at their own desk is kept out by
//! nobody else's failures but those of their desk. What is left to somebody with very many addresses is 100 guesses in a quarter of
//! an hour, 9,600 in a day, at a password of twelve characters that is none of the common ones; and that the owner, while it goes
//! on, does not get in from a place that is new.
//!
//! A source is an address, or an IPv6 network of 64 bits. People behind one address are one source: the desk of each is known to
//! their own account only, and they share the bound of 50.
//!
//! An attempt counts as a failure from its beginning, or a burst of attempts at once would all be let in before the first has
//! failed. A success clears its account at its source; from the other two counts it only takes itself back, because otherwise
//! whoever has an account could sign in between guesses at others, and each sign-in of an owner would be the strangers' new start.
//!
//! Comparing a password costs the machine as much when it is the right one. So an account signs in 60 times in the window at most,
//! and a script that needs more uses an API token.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use adit_core::{AccountName, Source};

/// How many failures there may be, and for how long they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptRules {
    /// Failures of one account from one source.
    pub per_account_and_source: usize,
    /// Failures of one source, whatever the account.
    pub per_source: usize,
    /// Failures of one account from all the sources that it does not know.
    pub per_account: usize,
    /// Sign-ins of one account.
    pub sign_ins: usize,
    /// From a failure or sign-in to the moment when it no longer counts.
    pub window: Duration,
    /// How many of each kind are remembered: pairs, sources, accounts, and accounts with sources that they know. Above it, the one
    /// with the fewest failures is forgotten, of these the one that failed longest ago: what is locked stays locked while others
    /// are tried. Of the accounts with known sources, the one that signed in longest ago is forgotten.
    pub remembered: usize,
    /// How many sources of an account are known; the one that was used longest ago is forgotten.
    pub known_sources: usize,
}

impl Default for AttemptRules {
    /// The bounds above. 16 sources are a person's home, office and telephone with some changes of address. With 16 bytes for a
    /// failure and 20 for a source, all that is remembered takes some 30 MB at the very most, when 10,000 of each kind are full.
    fn default() -> Self {
        Self {
            per_account_and_source: 10,
            per_source: 50,
            per_account: 100,
            sign_ins: 60,
            window: Duration::from_secs(15 * 60),
            remembered: 10_000,
            known_sources: 16,
        }
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
    /// `None` where the name typed cannot be an account's.
    account: Option<AccountName>,
    source: Source,
    /// Whether the account knew the source, so that the attempt does not count among the strangers'.
    is_known: bool,
    at: Instant,
}

/// The failures that still count, and the sources that are known.
#[derive(Debug)]
pub struct Attempts {
    rules: AttemptRules,
    pairs: Counters<(AccountName, Source)>,
    sources: Counters<Source>,
    accounts: Counters<AccountName>,
    sign_ins: Counters<AccountName>,
    known: KnownSources,
}

impl Attempts {
    /// Nobody has failed yet, and no source is known.
    #[must_use]
    pub fn new(rules: AttemptRules) -> Self {
        Self {
            rules,
            pairs: Counters::new(rules.per_account_and_source, &rules),
            sources: Counters::new(rules.per_source, &rules),
            accounts: Counters::new(rules.per_account, &rules),
            sign_ins: Counters::new(rules.sign_ins, &rules),
            known: KnownSources::default(),
        }
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
        let is_known = account.as_ref().is_some_and(|account| self.known.contain(account, source));
        let attempt = Attempt { account, source, is_known, at: now };
        let of_pair = attempt.pair().and_then(|pair| self.pairs.wait(&pair, now));
        let of_account = attempt.stranger_at().and_then(|account| self.accounts.wait(account, now));
        let of_source = self.sources.wait(&source, now);
        let of_sign_ins = attempt.account.as_ref().and_then(|account| self.sign_ins.wait(account, now));
        if let Some(wait) = of_pair.max(of_account).max(of_source).max(of_sign_ins) {
            return Err(TooManyAttempts { wait });
        }
        if let Some(pair) = attempt.pair() {
            self.pairs.count(pair, now);
        }
        if let Some(account) = attempt.stranger_at() {
            self.accounts.count(account.clone(), now);
        }
        self.sources.count(source, now);
        Ok(attempt)
    }

    /// The attempt succeeded.
    pub fn handle_success(&mut self, attempt: &Attempt) {
        self.handle_unjudged(attempt);
        if let Some(pair) = attempt.pair() {
            self.sign_ins.count(pair.0.clone(), attempt.at);
            self.pairs.failures.remove(&pair);
        }
    }

    /// The attempt was neither right nor wrong: nobody looked.
    pub fn handle_unjudged(&mut self, attempt: &Attempt) {
        if let Some(pair) = attempt.pair() {
            self.pairs.take_back(&pair, attempt.at);
        }
        if let Some(account) = attempt.stranger_at() {
            self.accounts.take_back(account, attempt.at);
        }
        self.sources.take_back(&attempt.source, attempt.at);
    }

    /// The account has signed in from this source, in whichever way.
    pub fn handle_signed_in(&mut self, account: &AccountName, source: Source, now: Instant) {
        self.known.note(account, source, &self.rules, now);
    }

    /// The account has a new password: what was tried before says nothing any more.
    pub fn handle_cleared(&mut self, account: &AccountName) {
        self.accounts.failures.remove(account);
        self.pairs.failures.retain(|(of, _), _| of != account);
    }
}

impl Attempt {
    fn pair(&self) -> Option<(AccountName, Source)> {
        self.account.clone().map(|account| (account, self.source))
    }

    /// The account at which a stranger knocks.
    fn stranger_at(&self) -> Option<&AccountName> {
        self.account.as_ref().filter(|_| !self.is_known)
    }
}

/// The times of the failures of each, the oldest first; never an empty list, never more than `bound`, never more lists than
/// `remembered`.
#[derive(Debug)]
struct Counters<K> {
    failures: HashMap<K, VecDeque<Instant>>,
    bound: usize,
    window: Duration,
    remembered: usize,
}

impl<K: Hash + Eq + Clone> Counters<K> {
    fn new(bound: usize, rules: &AttemptRules) -> Self {
        Self { failures: HashMap::new(), bound, window: rules.window, remembered: rules.remembered }
    }

    /// How long this one must wait, if so.
    fn wait(&mut self, key: &K, now: Instant) -> Option<Duration> {
        let failures = self.failures.get_mut(key)?;
        while failures.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.window) {
            failures.pop_front();
        }
        let Some(oldest) = failures.front().copied() else {
            self.failures.remove(key);
            return None;
        };
        (failures.len() >= self.bound).then(|| self.window - now.saturating_duration_since(oldest))
    }

    fn count(&mut self, key: K, now: Instant) {
        if self.failures.len() >= self.remembered && !self.failures.contains_key(&key) {
            self.make_room(now);
        }
        self.failures.entry(key).or_default().push_back(now);
    }

    fn make_room(&mut self, now: Instant) {
        let window = self.window;
        self.failures
            .retain(|_, failures| failures.back().is_some_and(|at| now.saturating_duration_since(*at) < window));
        if self.failures.len() >= self.remembered {
            let least = self.failures.iter().min_by_key(|(_, failures)| (failures.len(), failures.back().copied()));
            let least = least.map(|(key, _)| key.clone());
            least.and_then(|key| self.failures.remove(&key));
        }
    }

    fn take_back(&mut self, key: &K, at: Instant) {
        let Some(failures) = self.failures.get_mut(key) else { return };
        if let Some(index) = failures.iter().rposition(|failure| *failure == at) {
            failures.remove(index);
        }
        if failures.is_empty() {
            self.failures.remove(key);
        }
    }
}

/// From where the accounts have signed in. It is in memory; after a restart [`handle_signed_in`](Attempts::handle_signed_in) is told
/// again what the audit log remembers.
#[derive(Debug, Default)]
struct KnownSources(HashMap<AccountName, Desks>);

/// The sources of one account.
#[derive(Debug)]
struct Desks {
    /// The one that was used longest ago is the first.
    sources: VecDeque<Source>,
    used_at: Instant,
}

impl KnownSources {
    fn contain(&self, account: &AccountName, source: Source) -> bool {
        self.0.get(account).is_some_and(|desks| desks.sources.contains(&source))
    }

    fn note(&mut self, account: &AccountName, source: Source, rules: &AttemptRules, now: Instant) {
        if self.0.len() >= rules.remembered && !self.0.contains_key(account) {
            let oldest = self.0.iter().min_by_key(|(_, desks)| desks.used_at).map(|(account, _)| account.clone());
            oldest.and_then(|account| self.0.remove(&account));
        }
        let new = || Desks { sources: VecDeque::new(), used_at: now };
        let desks = self.0.entry(account.clone()).or_insert_with(new);
        desks.used_at = now;
        desks.sources.retain(|known| *known != source);
        desks.sources.push_back(source);
        if desks.sources.len() > rules.known_sources {
            desks.sources.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
