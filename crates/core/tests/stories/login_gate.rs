//! Stories about connections that have not logged in.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_core::{Admission, LoginGate, LoginRules, Outcome, Penalties, Source, Turned};

use crate::host::seconds;

/// A gate with a clock of its own.
struct TestGate {
    gate: LoginGate,
    now: Instant,
}

impl TestGate {
    fn new() -> TestGate {
        TestGate::with_rules(LoginRules::default())
    }

    fn with_rules(rules: LoginRules) -> TestGate {
        TestGate { gate: LoginGate::new(rules), now: Instant::now() }
    }

    fn connect(&mut self, from: &str) -> Result<Admission, Turned> {
        self.gate.handle_connection(source(from), false, self.now)
    }

    fn done(&mut self, admission: Admission, outcome: Outcome) {
        self.gate.handle_done(admission, outcome, self.now);
    }

    fn connect_and(&mut self, outcome: Outcome, from: &str) {
        let admission = self.connect(from).unwrap();
        self.done(admission, outcome);
    }

    fn penalty(&self, from: &str) -> Duration {
        self.gate.penalty(source(from), self.now)
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
    }
}

fn source(text: &str) -> Source {
    Source::from(text.parse::<IpAddr>().unwrap())
}

#[test]
fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
    assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
    assert_eq!(source("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
    assert_eq!(source("192.0.2.1").to_string(), "192.0.2.1");
}

#[test]
fn twenty_connections_per_source_may_try_at_a_time() {
    let mut gate = TestGate::new();
    let mut held: Vec<Admission> = (0..20).map(|_| gate.connect("192.0.2.1").unwrap()).collect();
    assert_eq!(gate.connect("192.0.2.1").unwrap_err(), Turned::SourceFull { limit: 20 });
    assert!(gate.connect("192.0.2.2").is_ok(), "its neighbour is not to blame");
    gate.done(held.pop().unwrap(), Outcome::LoggedIn);
    assert!(gate.connect("192.0.2.1").is_ok(), "a session that has logged in does not count");
}

/// One for each of two thousand sources: none has more than a newcomer would, once it is in.
#[test]
fn two_thousand_may_try_in_all() {
    let mut gate = TestGate::new();
    let mut held: Vec<Admission> =
        (0..2_000).map(|n| gate.connect(&format!("10.0.{}.{}", n / 250, n % 250)).unwrap()).collect();
    assert_eq!(gate.connect("10.0.0.1").unwrap_err(), Turned::Full { limit: 2_000 });
    let exempt = gate.gate.handle_connection(source("10.0.0.1"), true, gate.now);
    assert_eq!(exempt.unwrap_err(), Turned::Full { limit: 2_000 }, "our memory knows no exemption");
    held.push(gate.connect("192.0.2.1").unwrap());
    let pushed_out = gate.gate.poll_pushed_out().unwrap();
    assert!(held[..2_000].iter().any(|admission| admission.id() == pushed_out));
    assert_eq!((gate.gate.poll_pushed_out(), gate.gate.admitted()), (None, 2_000));
    for admission in held {
        gate.done(admission, Outcome::LoggedIn);
    }
    assert_eq!(gate.gate.admitted(), 0);
}

#[test]
fn a_member_who_logs_in_all_day_is_never_penalised() {
    let mut gate = TestGate::new();
    for _ in 0..1_000 {
        gate.connect_and(Outcome::LoggedIn, "192.0.2.1");
    }
    assert_eq!(gate.gate.penalised_sources(), 0);
    assert_eq!(gate.gate.admitted(), 0);
}

#[test]
fn failures_add_up_and_melt() {
    let mut gate = TestGate::new();
    for _ in 0..4 {
        gate.connect_and(Outcome::FailedLogin, "192.0.2.1");
    }
    assert_eq!(gate.connect("192.0.2.1").unwrap_err(), Turned::Penalised { penalty: seconds(20) });
    assert!(gate.connect("192.0.2.2").is_ok());
    gate.advance(seconds(4));
    assert!(gate.connect("192.0.2.1").is_err());
    gate.advance(seconds(1));
    assert!(gate.connect("192.0.2.1").is_ok(), "at the threshold the door is open");
    gate.connect_and(Outcome::FailedLogin, "192.0.2.1");
    assert!(gate.connect("192.0.2.1").is_err(), "one more failure closes it again");
    gate.advance(seconds(20));
    assert_eq!(gate.penalty("192.0.2.1"), Duration::ZERO);
}

#[test]
fn each_bad_end_has_its_price() {
    let prices = [
        (Outcome::LoggedIn, 0),
        (Outcome::GaveUp, 1),
        (Outcome::FailedLogin, 5),
        (Outcome::GraceExceeded, 10),
        (Outcome::Violation, 10),
    ];
    for (outcome, price) in prices {
        let mut gate = TestGate::new();
        gate.connect_and(outcome, "192.0.2.1");
        assert_eq!(gate.penalty("192.0.2.1"), seconds(price), "{outcome:?}");
    }
}

#[test]
fn connections_that_wait_their_turn_in_the_grace_time_are_counted_once_they_end() {
    let mut gate = TestGate::new();
    let silent: Vec<Admission> = (0..20).map(|_| gate.connect("192.0.2.1").unwrap()).collect();
    gate.advance(seconds(30));
    silent.into_iter().for_each(|admission| gate.done(admission, Outcome::GraceExceeded));
    assert_eq!(gate.penalty("192.0.2.1"), seconds(200));
    assert_eq!(gate.gate.admitted(), 0);
}

#[test]
fn no_penalty_grows_beyond_ten_minutes() {
    let mut gate = TestGate::with_rules(LoginRules { per_source: 0, ..LoginRules::default() });
    let held: Vec<Admission> = (0..1_000).map(|_| gate.connect("192.0.2.1").unwrap()).collect();
    held.into_iter().for_each(|admission| gate.done(admission, Outcome::Violation));
    assert_eq!(gate.penalty("192.0.2.1"), seconds(600));
    gate.advance(seconds(600));
    assert!(gate.connect("192.0.2.1").is_ok());
    assert_eq!(gate.gate.penalised_sources(), 0);
}

#[test]
fn changing_the_low_bits_of_an_ipv6_address_helps_nobody() {
    let mut gate = TestGate::new();
    for host in 1..=4 {
        gate.connect_and(Outcome::FailedLogin, &format!("2001:db8::{host}"));
    }
    assert!(matches!(gate.connect("2001:db8::5"), Err(Turned::Penalised { .. })));
}

#[test]
fn exempt_networks_have_no_bound_per_source_and_no_penalty() {
    let mut gate = TestGate::new();
    let from = source("127.0.0.1");
    let held: Vec<Admission> = (0..100).map(|_| gate.gate.handle_connection(from, true, gate.now).unwrap()).collect();
    assert_eq!(gate.gate.admitted(), 100);
    held.into_iter().for_each(|admission| gate.done(admission, Outcome::Violation));
    assert_eq!(gate.penalty("127.0.0.1"), Duration::ZERO);
    assert_eq!(gate.gate.admitted(), 0);
}

#[test]
fn a_flood_of_sources_takes_bounded_memory_and_the_worst_are_remembered() {
    let rules = LoginRules { remembered_sources: 100, ..LoginRules::default() };
    let mut gate = TestGate::with_rules(rules);
    gate.connect_and(Outcome::Violation, "192.0.2.1");
    for n in 0..10_000 {
        gate.connect_and(Outcome::GaveUp, &format!("10.{}.{}.1", n / 250, n % 250));
    }
    assert_eq!(gate.gate.penalised_sources(), 100);
    assert_eq!(gate.penalty("192.0.2.1"), seconds(10), "the mild ones are forgotten first");
}

#[test]
fn nothing_is_remembered_when_all_is_forgiven() {
    let mut gate = TestGate::new();
    for n in 0..1_000 {
        gate.connect_and(Outcome::Violation, &format!("10.0.{}.{}", n / 250, n % 250));
    }
    assert_eq!(gate.gate.penalised_sources(), 1_000);
    gate.advance(seconds(10));
    gate.connect_and(Outcome::LoggedIn, "192.0.2.1");
    assert_eq!(gate.gate.penalised_sources(), 0);
}

#[test]
fn a_penalty_no_clock_can_reach_does_no_harm() {
    let penalties = Penalties { violation: Duration::MAX, max: Duration::MAX, ..Penalties::default() };
    let mut gate = TestGate::with_rules(LoginRules { penalties, ..LoginRules::default() });
    gate.connect_and(Outcome::Violation, "192.0.2.1");
    assert!(gate.connect("192.0.2.1").is_ok());
}
