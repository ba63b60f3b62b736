//! New keys under way (line 18): every megabyte, under sixteen flows in both directions, and no byte is lost.

use std::thread;

use adit_e2e::{JumpHost, OpenSsh, PatternService, ServiceAddress, exchange};

const FLOWS: u64 = 16;
/// What the promise moves in all, each way.
const TOTAL: u64 = 1_000_000_000;

/// Moves the flows and returns how often the client saw a key exchange finish.
fn sixteen_flows(host: &JumpHost, client_limit: Option<&str>) -> usize {
    let alice = host.member("alice");
    let service = PatternService::start();
    let mut ssh = OpenSsh::new(host, &alice).no_session().args(["-v"]).forward(10080, service.port());
    if let Some(limit) = client_limit {
        ssh = ssh.option(&format!("RekeyLimit={limit}"));
    }
    let mut tunnel = ssh.spawn();
    host.await_port(10080);
    let address = host.forwarded(10080);
    let each = TOTAL / FLOWS;
    thread::scope(|scope| {
        for seed in 0..FLOWS {
            scope.spawn(move || exchange(address, seed, each));
        }
    });
    service.assert_no_failure();
    assert!(tunnel.is_running());
    tunnel.stderr().matches("SSH2_MSG_NEWKEYS received").count()
}

/// A key exchange is asked for at each megabyte, but what is under way by then still arrives: several megabytes where
/// sixteen flows are in flight. One exchange per ten megabytes is the least that shows the setting at work.
fn assert_often(rekeys: usize) {
    let megabytes = TOTAL / 1_000_000;
    eprintln!("{rekeys} key exchanges over {megabytes} MB each way");
    assert!(rekeys as u64 > megabytes / 10, "only {rekeys} key exchanges over {megabytes} MB each way");
}

#[test]
fn the_client_rekeys_every_megabyte() {
    let host = JumpHost::start();
    assert_often(sixteen_flows(&host, Some("1M")));
}

#[test]
fn the_server_rekeys_every_megabyte() {
    let host = JumpHost::builder().setting("rekey_bytes", "1MB").start();
    assert_often(sixteen_flows(&host, None));
}

#[test]
fn both_rekey_at_once() {
    let host = JumpHost::builder().setting("rekey_bytes", "1MB").start();
    assert_often(sixteen_flows(&host, Some("1M")));
}
