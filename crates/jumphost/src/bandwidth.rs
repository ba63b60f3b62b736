//! The allowances of accounts that have a bandwidth limit: all live sessions of an account share one per direction.
//! How a rate is shared is decided in `core`; the relay of each session keeps to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use adit_core::{AccountId, Allowance, BandwidthRules, ByteRate};
use adit_net::pace::{Limits, Share};

/// The allowances in use.
#[derive(Debug, Default)]
pub(crate) struct Bandwidth {
    to_owner: Allowances,
    to_visitors: Allowances,
}

/// Those of one direction. A session without a limit has no part in it.
#[derive(Debug, Default)]
struct Allowances(Mutex<HashMap<AccountId, Weak<Mutex<Allowance>>>>);

impl Bandwidth {
    /// A session's part in what its account may move under `rules`. They hold from now on for the account's other sessions too.
    pub(crate) fn share(&self, account: AccountId, rules: BandwidthRules, now: Instant) -> Limits {
        Limits {
            from_sockets: rules.to_owner.map(|rate| self.to_owner.share(account, rate, now)),
            to_sockets: rules.to_visitors.map(|rate| self.to_visitors.share(account, rate, now)),
        }
    }
}

impl Allowances {
    fn share(&self, account: AccountId, rate: ByteRate, now: Instant) -> Share {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Memory follows who is here, not who has been.
        accounts.retain(|_, allowance| allowance.strong_count() > 0);
        let allowance = accounts.get(&account).and_then(Weak::upgrade).unwrap_or_else(|| {
            let fresh = Arc::new(Mutex::new(Allowance::new(rate, now)));
            accounts.insert(account, Arc::downgrade(&fresh));
            fresh
        });
        allowance.lock().unwrap_or_else(PoisonError::into_inner).set_rate(rate, now);
        Share::of(&allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accounts_with_a_limit_that_are_here_are_remembered() {
        let (bandwidth, now) = (Bandwidth::default(), Instant::now());
        let remembered = || bandwidth.to_owner.0.lock().unwrap().len();
        let limited = BandwidthRules { to_owner: ByteRate::new(1_000), to_visitors: None };
        let alice = bandwidth.share(AccountId(1), limited, now);
        let again = bandwidth.share(AccountId(1), limited, now);
        assert!(alice.from_sockets.is_some() && alice.to_sockets.is_none());
        assert_eq!(remembered(), 1, "two sessions, one allowance");
        let bob = bandwidth.share(AccountId(2), BandwidthRules::default(), now);
        assert!(bob.from_sockets.is_none());
        drop((alice, again));
        let _carol = bandwidth.share(AccountId(3), limited, now);
        assert_eq!(remembered(), 1, "carol's");
    }
}
