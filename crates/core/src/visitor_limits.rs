//! How many visitors may be connected at once: to one port, and to all ports of one account.
//!
//! Each visitor costs two windows of memory and a descriptor, and the one who sends them is nobody we know; so the
//! bound stands per port (one popular service cannot take its neighbours' share) and per account.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::hash::Hash;

use crate::{AccountId, Port};

/// The bounds; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisitorRules {
    /// Visitors at one port.
    pub per_port: u32,
    /// Visitors at all ports of one account.
    pub per_account: u32,
}

impl Default for VisitorRules {
    fn default() -> VisitorRules {
        VisitorRules { per_port: 500, per_account: 2_000 }
    }
}

/// A visitor who was let in, until it is given back with [`VisitorLimits::handle_left`]. Only [`VisitorLimits`] makes
/// one, and it cannot be copied: no visitor is counted twice, nor leaves twice.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a visit that is not given back is counted for ever"]
pub struct Visit {
    port: Port,
    account: AccountId,
}

/// Counts visitors and turns away those above the bounds.
#[derive(Debug, Default)]
pub struct VisitorLimits {
    ports: HashMap<Port, u32>,
    accounts: HashMap<AccountId, u32>,
}

impl VisitorLimits {
    /// No visitors yet.
    pub fn new() -> VisitorLimits {
        VisitorLimits::default()
    }

    /// A visitor connected to this port of this account: lets it in, or says why not. The rules are those of the account's
    /// tier; the counts go on when they change.
    pub fn handle_visitor(
        &mut self,
        port: Port,
        account: AccountId,
        rules: VisitorRules,
    ) -> Result<Visit, VisitorRefused> {
        let VisitorRules { per_port, per_account } = rules;
        if is_full(self.at_port(port), per_port) {
            return Err(VisitorRefused::PortFull { limit: per_port });
        }
        if is_full(self.of_account(account), per_account) {
            return Err(VisitorRefused::AccountFull { limit: per_account });
        }
        *self.ports.entry(port).or_default() += 1;
        *self.accounts.entry(account).or_default() += 1;
        Ok(Visit { port, account })
    }

    /// The visitor's connection is over.
    pub fn handle_left(&mut self, visit: Visit) {
        count_down(&mut self.ports, visit.port);
        count_down(&mut self.accounts, visit.account);
    }

    /// How many visitors this port has now.
    pub fn at_port(&self, port: Port) -> u32 {
        self.ports.get(&port).copied().unwrap_or(0)
    }

    /// How many visitors this account has now.
    pub fn of_account(&self, account: AccountId) -> u32 {
        self.accounts.get(&account).copied().unwrap_or(0)
    }
}

fn is_full(count: u32, limit: u32) -> bool {
    limit != 0 && count >= limit
}

/// A key whose count reaches 0 is forgotten: memory follows who is here, not who has been.
fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// Why a visitor was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitorRefused {
    /// The port has all the visitors it may have.
    PortFull {
        /// The bound that was met.
        limit: u32,
    },
    /// The account has all the visitors it may have.
    AccountFull {
        /// The bound that was met.
        limit: u32,
    },
}

impl fmt::Display for VisitorRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VisitorRefused::PortFull { limit } => write!(f, "the port already has its {limit} visitors"),
            VisitorRefused::AccountFull { limit } => write!(f, "the account already has its {limit} visitors"),
        }
    }
}

impl Error for VisitorRefused {}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    /// The counts, under one set of rules.
    struct Bounded(VisitorRules, VisitorLimits);

    fn limits(per_port: u32, per_account: u32) -> Bounded {
        Bounded(VisitorRules { per_port, per_account }, VisitorLimits::new())
    }

    impl Bounded {
        fn handle_visitor(&mut self, port: Port, account: AccountId) -> Result<Visit, VisitorRefused> {
            self.1.handle_visitor(port, account, self.0)
        }

        fn handle_left(&mut self, visit: Visit) {
            self.1.handle_left(visit);
        }
    }

    #[test]
    fn each_tier_has_its_own_rules() {
        let mut limits = VisitorLimits::new();
        let (small, large) =
            (VisitorRules { per_port: 1, per_account: 0 }, VisitorRules { per_port: 2, per_account: 0 });
        let _first = limits.handle_visitor(port(10_080), ALICE, small).unwrap();
        assert_eq!(limits.handle_visitor(port(10_080), ALICE, small), Err(VisitorRefused::PortFull { limit: 1 }));
        assert!(limits.handle_visitor(port(10_080), ALICE, large).is_ok());
    }

    #[test]
    fn a_port_has_its_own_bound() {
        let mut limits = limits(2, 0);
        let first = limits.handle_visitor(port(10_080), ALICE).unwrap();
        let _second = limits.handle_visitor(port(10_080), ALICE).unwrap();
        assert_eq!(limits.handle_visitor(port(10_080), ALICE), Err(VisitorRefused::PortFull { limit: 2 }));
        assert!(limits.handle_visitor(port(10_081), ALICE).is_ok());
        limits.handle_left(first);
        assert!(limits.handle_visitor(port(10_080), ALICE).is_ok());
    }

    #[test]
    fn an_account_has_a_bound_over_all_its_ports() {
        let mut limits = limits(500, 2);
        let first = limits.handle_visitor(port(10_080), ALICE).unwrap();
        let _second = limits.handle_visitor(port(10_081), ALICE).unwrap();
        assert_eq!(limits.handle_visitor(port(10_082), ALICE), Err(VisitorRefused::AccountFull { limit: 2 }));
        assert_eq!(limits.1.at_port(port(10_082)), 0, "a visitor turned away is not counted");
        assert!(limits.handle_visitor(port(20_000), BOB).is_ok());
        limits.handle_left(first);
        assert!(limits.handle_visitor(port(10_082), ALICE).is_ok());
    }

    #[test]
    fn zero_means_no_bound() {
        let mut limits = limits(0, 0);
        let visits: Vec<Visit> = (0..10_000).map(|_| limits.handle_visitor(port(10_080), ALICE).unwrap()).collect();
        assert_eq!((limits.1.at_port(port(10_080)), limits.1.of_account(ALICE)), (10_000, 10_000));
        visits.into_iter().for_each(|visit| limits.handle_left(visit));
        assert!(limits.1.ports.is_empty() && limits.1.accounts.is_empty(), "nobody is remembered after they left");
    }

    #[test]
    fn the_defaults_are_the_promised_ones() {
        assert_eq!(VisitorRules::default(), VisitorRules { per_port: 500, per_account: 2_000 });
    }
}
