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
        self.attempts.handle_signed_in(&account.parse().unwrap(), source(from), self.now);
        Ok(())
    }

    /// Each from an address of its own.
    fn strangers_fail(&mut self, account: &str, times: u32) {
        for host in 0..times {
            self.fail(account, &stranger(host)).unwrap();
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn remembers(&self) -> [usize; 5] {
        let Attempts { pairs, sources, accounts, sign_ins, known, .. } = &self.attempts;
        [pairs.failures.len(), sources.failures.len(), accounts.failures.len(), sign_ins.failures.len(), known.0.len()]
    }
}

fn source(address: &str) -> Source {
    Source::from(address.parse::<std::net::IpAddr>().unwrap())
}

fn stranger(number: u32) -> String {
    std::net::Ipv4Addr::from(number + (10 << 24)).to_string()
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
    door.succeed("alice", "192.0.2.2").unwrap();
    door.succeed("bob", "192.0.2.1").unwrap();
    door.advance(800);
    door.fail("alice", "192.0.2.1").unwrap();
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(10), "the second failure is the oldest now");
}

#[test]
fn many_machines_share_the_failures_of_one_account() {
    let mut door = Door::new();
    door.strangers_fail("alice", 100);
    assert_eq!(door.fail("alice", "192.0.2.99"), wait(900));
    door.fail("bob", "192.0.2.99").unwrap();
}

#[test]
fn whoever_fails_on_purpose_does_not_keep_the_owner_from_her_own_desk() {
    let mut door = Door::new();
    door.succeed("alice", "192.0.2.1").unwrap();
    door.succeed("bob", "192.0.2.2").unwrap();
    door.strangers_fail("alice", 100);
    for elsewhere in ["192.0.2.2", "192.0.2.3"] {
        assert_eq!(door.fail("alice", elsewhere), wait(900), "a desk is known to its own account only");
    }
    door.succeed("alice", "192.0.2.1").unwrap();
    assert_eq!(door.fail("alice", "192.0.2.3"), wait(900), "her sign-in is not a new start for strangers");
    for _ in 0..10 {
        door.fail("alice", "192.0.2.1").unwrap();
    }
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(900), "and her desk has its own bound");
}

#[test]
fn what_fails_at_her_desk_leaves_the_strangers_bound_alone() {
    let mut door = Door::new();
    door.succeed("alice", "192.0.2.1").unwrap();
    for _ in 0..10 {
        door.fail("alice", "192.0.2.1").unwrap();
    }
    door.strangers_fail("alice", 100);
    assert_eq!(door.fail("alice", "192.0.2.3"), wait(900));
}

#[test]
fn the_newest_sixteen_desks_of_an_account_are_known() {
    let mut door = Door::new();
    door.succeed("alice", "192.0.2.1").unwrap();
    for desk in 2..=16 {
        door.succeed("alice", &format!("192.0.2.{desk}")).unwrap();
    }
    door.succeed("alice", "192.0.2.1").unwrap();
    door.succeed("alice", "192.0.2.17").unwrap();
    door.strangers_fail("alice", 100);
    for (desk, heard) in [(1, Ok(())), (2, wait(900)), (3, Ok(())), (17, Ok(()))] {
        assert_eq!(door.fail("alice", &format!("192.0.2.{desk}")), heard, "{desk}");
    }
}

#[test]
fn one_machine_shares_its_failures_over_all_accounts() {
    let mut door = Door::new();
    for name in 0..50 {
        door.fail(&format!("member{name}"), "2001:db8:0:1::1").unwrap();
    }
    assert_eq!(door.fail("other", "2001:db8:0:1:ffff::2"), wait(900), "a /64 is one machine");
    door.fail("other", "2001:db8:0:2::1").unwrap();
    assert_eq!(door.fail("No Name!", "2001:db8:0:1::1"), wait(900));
}

#[test]
fn a_success_clears_the_account_at_its_source_and_takes_only_itself_back_elsewhere() {
    let mut door = Door::new();
    for _ in 0..5 {
        for _ in 0..9 {
            door.fail("alice", "192.0.2.1").unwrap();
        }
        door.succeed("alice", "192.0.2.1").unwrap();
    }
    for _ in 0..5 {
        door.fail("alice", "192.0.2.1").unwrap();
    }
    assert_eq!(door.fail("bob", "192.0.2.1"), wait(900), "guesses between good sign-ins add up");
}

#[test]
fn an_account_signs_in_sixty_times_and_then_waits() {
    let mut door = Door::new();
    for second in 0..60 {
        door.succeed("alice", &stranger(second)).unwrap();
        door.advance(1);
    }
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(840));
    door.succeed("bob", "192.0.2.1").unwrap();
    door.advance(840);
    door.succeed("alice", "192.0.2.1").unwrap();
}

#[test]
fn a_new_password_clears_its_account_everywhere() {
    let mut door = Door::new();
    for _ in 0..10 {
        door.fail("alice", "192.0.2.1").unwrap();
        door.fail("bob", "192.0.2.1").unwrap();
    }
    door.strangers_fail("alice", 90);
    assert_eq!((door.fail("alice", "192.0.2.1"), door.fail("alice", "192.0.2.2")), (wait(900), wait(900)));
    door.attempts.handle_cleared(&"alice".parse().unwrap());
    door.fail("alice", "192.0.2.1").unwrap();
    door.fail("alice", "192.0.2.2").unwrap();
    assert_eq!(door.fail("bob", "192.0.2.1"), wait(900));
}

#[test]
fn attempts_at_once_are_not_let_in_before_the_first_has_failed() {
    let mut door = Door::new();
    let under_way: Vec<_> = (0..20).filter_map(|_| door.attempt("alice", "192.0.2.1").ok()).collect();
    assert_eq!(under_way.len(), 10);
    for attempt in &under_way {
        door.attempts.handle_unjudged(attempt);
    }
    assert_eq!(door.remembers(), [0; 5], "nobody looked, so nothing is known");
    door.fail("alice", "192.0.2.1").unwrap();
}

#[test]
fn a_flood_of_names_does_not_free_an_account_that_is_locked() {
    let mut door = Door::with(AttemptRules { remembered: 50, ..AttemptRules::default() });
    for _ in 0..10 {
        door.fail("alice", "192.0.2.1").unwrap();
    }
    door.strangers_fail("alice", 90);
    for name in 0..500 {
        door.fail(&format!("x{name}"), &stranger(1_000 + name)).unwrap();
    }
    assert!(door.remembers().iter().all(|count| *count <= 50));
    assert_eq!(door.fail("alice", "198.51.100.1"), wait(900));
    assert_eq!(door.fail("alice", "192.0.2.1"), wait(900));
}

/// Every failure that ever was, and every sign-in; with room for all, the limiter says the same.
#[derive(Default)]
struct Model {
    failures: Vec<Failure>,
    signed_in: Vec<(u8, u8)>,
}

struct Failure {
    at: Instant,
    account: u8,
    source: u8,
    was_known: bool,
    /// Struck from the count of its pair by a later success.
    forgiven: bool,
}

impl Model {
    fn wait(&self, account: u8, source: u8, rules: &AttemptRules, now: Instant) -> Option<Duration> {
        let over = |bound: usize, counts: &dyn Fn(&Failure) -> bool| {
            let counting = |failure: &&Failure| counts(failure) && now - failure.at < rules.window;
            let times: Vec<_> = self.failures.iter().filter(counting).map(|failure| failure.at).collect();
            (times.len() >= bound).then(|| rules.window - (now - times[0]))
        };
        let of_pair =
            over(rules.per_account_and_source, &|one| (one.account, one.source) == (account, source) && !one.forgiven);
        let of_source = over(rules.per_source, &|one| one.source == source);
        let of_account = over(rules.per_account, &|one| one.account == account && !one.was_known);
        of_pair.max(of_source).max(of_account.filter(|_| !self.knows(account, source)))
    }

    fn knows(&self, account: u8, source: u8) -> bool {
        self.signed_in.contains(&(account, source))
    }

    fn note(&mut self, account: u8, source: u8, right: bool, at: Instant) {
        if right {
            let of_pair = |failure: &&mut Failure| (failure.account, failure.source) == (account, source);
            self.failures.iter_mut().filter(of_pair).for_each(|failure| failure.forgiven = true);
            self.signed_in.push((account, source));
        } else {
            let was_known = self.knows(account, source);
            self.failures.push(Failure { at, account, source, was_known, forgiven: false });
        }
    }
}

proptest! {
    #[test]
    fn it_judges_as_a_model_that_remembers_everything(
        steps in prop::collection::vec((0_u8..3, 0_u8..4, 0_u64..200, prop::bool::weighted(0.2)), 1..200)
    ) {
        let rules =
            AttemptRules { per_account_and_source: 3, per_source: 6, per_account: 5, ..AttemptRules::default() };
        // Counted alone in a story of its own.
        let rules = AttemptRules { sign_ins: usize::MAX, ..rules };
        let (mut door, mut model) = (Door::with(rules), Model::default());
        for (account, host, pause, right) in steps {
            door.advance(pause);
            let expected = model.wait(account, host, &rules, door.now);
            let (name, from) = (format!("member{account}"), format!("192.0.2.{host}"));
            let heard = if right { door.succeed(&name, &from) } else { door.fail(&name, &from) };
            prop_assert_eq!(heard.err().map(|refused| refused.wait), expected);
            if expected.is_none() {
                model.note(account, host, right, door.now);
            }
        }
    }

    #[test]
    fn it_never_remembers_more_than_it_may(
        steps in prop::collection::vec((0_u32..40, 0_u32..1_000, 0_u64..60, any::<bool>()), 1..300)
    ) {
        let rules = AttemptRules { remembered: 7, known_sources: 3, ..AttemptRules::default() };
        let mut door = Door::with(rules);
        for (name, host, pause, right) in steps {
            door.advance(pause);
            let (name, from) = (format!("m{name}"), stranger(host));
            let _ = if right { door.succeed(&name, &from) } else { door.fail(&name, &from) };
            prop_assert!(door.remembers().iter().all(|count| *count <= 7), "{:?}", door.remembers());
            let Attempts { pairs, sources, accounts, known, .. } = &door.attempts;
            prop_assert!(pairs.failures.values().all(|failures| (1..=10).contains(&failures.len())));
            prop_assert!(sources.failures.values().all(|failures| (1..=50).contains(&failures.len())));
            prop_assert!(accounts.failures.values().all(|failures| (1..=100).contains(&failures.len())));
            prop_assert!(known.0.values().all(|desks| (1..=3).contains(&desks.sources.len())));
        }
    }
}
