//! Bandwidth of an account, by its tier ("Limits").

use std::thread;
use std::time::{Duration, Instant};

use adit_e2e::{JumpHost, OpenSsh, PatternService, ServiceAddress, exchange};

#[test]
fn a_tier_of_one_megabyte_a_second_holds_both_ways_and_loses_nothing() {
    let host = JumpHost::start();
    let alice = host.member("alice");
    host.admin(["tier", "set", "slow", "--bandwidth-to-owner", "1000000", "--bandwidth-to-visitors", "1MB"]);
    let changed = host.json(&["account", "change", "alice", "--tier", "slow"]);
    assert_eq!(changed["tier"], "slow");
    let service = PatternService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, service.port()).spawn();
    host.await_port(10080);
    let began = Instant::now();
    exchange(host.forwarded(10080), 1, 3_000_000);
    service.assert_no_failure();
    // An eighth of a second is the burst; the rest of three seconds is arithmetic.
    assert!(began.elapsed() >= Duration::from_millis(2_870), "{:?}", began.elapsed());
    assert!(began.elapsed() <= Duration::from_secs(8), "{:?}", began.elapsed());
}

/// A limit that is lifted is lifted for the transfer that runs.
#[test]
fn a_changed_tier_acts_on_a_transfer_that_runs() {
    let host = JumpHost::builder().limit("bandwidth_to_owner", 10_000).limit("bandwidth_to_visitors", 10_000).start();
    let alice = host.member("alice");
    let service = PatternService::start();
    let _tunnel = OpenSsh::new(&host, &alice).no_session().forward(10080, service.port()).spawn();
    host.await_port(10080);
    let address = host.forwarded(10080);
    let began = Instant::now();
    thread::scope(|scope| {
        // Five minutes, as it begins.
        scope.spawn(move || exchange(address, 1, 3_000_000));
        host.admin(["tier", "set", "community", "--bandwidth-to-owner", "0", "--bandwidth-to-visitors", "0"]);
    });
    service.assert_no_failure();
    assert!(began.elapsed() <= Duration::from_secs(20), "{:?}", began.elapsed());
}
