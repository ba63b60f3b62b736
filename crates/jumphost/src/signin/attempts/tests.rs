//! Stories about guessing, and the limiter beside a model that remembers everything.

use super::*;
use proptest::prelude::*;

struct Door {
    attempts: Attempts,
    now: Instant,
}

impl Door {
    fn new() -> Self {
        Self::with(AttemptRules::default())
    }

    fn with(rules: AttemptRules) -> Self {
        Self { attempts: Attempts::new(rules), now: Instant::now() }
    }

    fn attempt(&mut self, account: &str, from: &str) -> Result<Attempt, TooManyAttempts> {
        self.attempts.handle_attempt(account.parse().ok(), source(from), self.now)
    }

    fn fail(&mut self, account: &str, from: &str) -> Result<(), TooManyAttempts> {
        self.attempt(account, from).map(drop)
    }

    fn succeed(&mut self, account: &str, from: &str) -> Result<(), TooManyAttempts> {
        let attempt = self.attempt(account, from)?;
        self.attempts.handle_success(&attempt);
        Ok(())
    }

    fn advance(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn source(address: &str) -> Source {
    Source::from(address.parse::<std::net::IpAddr>().unwrap())
}

fn wait(seconds: u64) -> Result<(), TooManyAttempts> {
    Err(TooManyAttempts { wait: Duration::from_secs(seconds) })
}

#[test]
fn the_eleventh_failure_waits_until_the_first_is_fifteen_minutes_old() {
    let mut door = Door::new();
    for _ in 0..10 {
        door.fail("alice", "192.0.2.1").unwrap();
        door.advance(10);
    }
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(800));
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(800), "what is not heard is not counted");
    door.advance(800);
    door.fail("alice", "192.0.2.1").unwrap();
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(10), "the second failure is the oldest now");
}

#[test]
fn many_machines_share_the_failures_of_one_account() {
    let mut door = Door::new();
    for host in 1..=10 {
        door.fail("alice", &format!("192.0.2.{host}")).unwrap();
    }
    assert_eq!(door.fail("alice", "192.0.2.99"), wait(900));
    door.fail("bob", "192.0.2.99").unwrap();
}

#[test]
fn one_machine_shares_its_failures_over_all_accounts() {
    let mut door = Door::new();
    for name in 0..10 {
        door.fail(&format!("member{name}"), "2001:db8:0:1::1").unwrap();
    }
    assert_eq!(door.fail("other", "2001:db8:0:1:ffff::2"), wait(900), "a /64 is one machine");
    door.fail("other", "2001:db8:0:2::1").unwrap();
    assert_eq!(door.fail("No Name!", "2001:db8:0:1::1"), wait(900));
}

#[test]
fn a_success_clears_the_account_and_takes_only_itself_back_from_the_source() {
    let mut door = Door::new();
    for _ in 0..9 {
        door.fail("alice", "192.0.2.1").unwrap();
    }
    door.succeed("alice", "192.0.2.1").unwrap();
    door.fail("alice", "192.0.2.1").unwrap();
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(900), "guesses between good sign-ins add up");
    for _ in 0..9 {
        door.fail("alice", "192.0.2.2").unwrap();
    }
    assert_eq!(door.fail("alice", "192.0.2.3"), wait(900));
    door.attempts.handle_cleared(&"alice".parse().unwrap());
    door.succeed("alice", "192.0.2.3").unwrap();
}

#[test]
fn attempts_at_once_are_not_let_in_before_the_first_has_failed() {
    let mut door = Door::new();
    let under_way: Vec<_> = (0..20).filter_map(|_| door.attempt("alice", "192.0.2.1").ok()).collect();
    assert_eq!(under_way.len(), 10);
    for attempt in &under_way {
        door.attempts.handle_unjudged(attempt);
    }
    door.fail("alice", "192.0.2.1").unwrap();
    assert_eq!(door.attempts.sources.0.len(), 1);
}

#[test]
fn a_flood_of_names_does_not_free_an_account_that_is_locked() {
    let mut door = Door::with(AttemptRules { remembered: 50, ..AttemptRules::default() });
    for host in 1..=10 {
        door.fail("alice", &format!("192.0.2.{host}")).unwrap();
    }
    for name in 0..500_u32 {
        door.fail(&format!("x{name}"), &std::net::Ipv4Addr::from(name + (10 << 24)).to_string()).unwrap();
    }
    assert!(door.attempts.accounts.0.len() <= 50 && door.attempts.sources.0.len() <= 50);
    assert_eq!(door.fail("alice", "198.51.100.1"), wait(900));
}

proptest! {
    /// The model keeps every failure; with room for all, the limiter says the same.
    #[test]
    fn it_judges_as_a_model_that_remembers_everything(
        steps in prop::collection::vec((0_u8..3, 0_u8..3, 0_u64..400, any::<bool>()), 1..200)
    ) {
        let rules = AttemptRules { failures: 4, ..AttemptRules::default() };
        let mut door = Door::with(rules);
        // Of each: when, which account, which source; an account's failures are struck out by its success.
        let mut of_accounts: Vec<(Instant, u8)> = Vec::new();
        let mut of_sources: Vec<(Instant, u8)> = Vec::new();
        for (account, host, pause, right) in steps {
            door.advance(pause);
            let now = door.now;
            let counted = |all: &[(Instant, u8)], one: u8| {
                let mut recent: Vec<_> =
                    all.iter().filter(|(at, key)| *key == one && now - *at < rules.window).map(|(at, _)| *at).collect();
                recent.sort();
                (recent.len() >= rules.failures).then(|| rules.window - (now - recent[0]))
            };
            let expected = counted(&of_accounts, account).max(counted(&of_sources, host));
            let (name, from) = (format!("member{account}"), format!("192.0.2.{host}"));
            let heard = if right { door.succeed(&name, &from) } else { door.fail(&name, &from) };
            prop_assert_eq!(heard.err().map(|refused| refused.wait), expected);
            match (expected, right) {
                (Some(_), _) => {}
                (None, true) => of_accounts.retain(|(_, key)| *key != account),
                (None, false) => {
                    of_accounts.push((now, account));
                    of_sources.push((now, host));
                }
            }
        }
    }

    #[test]
    fn it_never_remembers_more_than_it_may(steps in prop::collection::vec((0_u32..1_000, 0_u64..60), 1..300)) {
        let mut door = Door::with(AttemptRules { remembered: 7, ..AttemptRules::default() });
        for (key, pause) in steps {
            door.advance(pause);
            let _ = door.fail(&format!("m{key}"), &std::net::Ipv4Addr::from(key).to_string());
            prop_assert!(door.attempts.accounts.0.len() <= 7 && door.attempts.sources.0.len() <= 7);
            prop_assert!(door.attempts.accounts.0.values().all(|failures| (1..=10).contains(&failures.len())));
        }
    }
}
