//! Bandwidth limits. That nothing is too fast is arithmetic and holds on any machine; that it is fast enough leaves a busy one time.

use std::time::{Duration, Instant};

use adit_core::{BandwidthRules, ByteRate};
use adit_jumphost::admin::{AccountChange, LimitChange, TierSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::host::{Member, PATIENCE, TestHost, eventually};

/// Fast enough for a short test, slow enough that a debug build is never what holds it up.
const RATE: u64 = 400_000;
/// A second of it.
const BULK: usize = 400_000;
/// So slow that a transfer of [`BULK`] outlives any test.
const CRAWL: u64 = 2_000;

/// What a visitor sends comes back; how long that took.
async fn echoed(port: u16, len: usize) -> Duration {
    let sent: Vec<u8> = (0..len).map(|at| ((at / 251) ^ at) as u8).collect();
    let began = Instant::now();
    let (mut from, mut to) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
    let mut back = vec![0; len];
    let (wrote, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut back));
    wrote.unwrap();
    read.unwrap();
    assert!(back == sent, "other bytes came back");
    began.elapsed()
}

/// Begins a transfer that nobody waits for.
fn bulk(port: u16) -> JoinHandle<Duration> {
    tokio::spawn(echoed(port, BULK))
}

/// `bytes` passed at `rate`: no faster than that allows, one burst aside, and not much slower.
fn assert_paced(elapsed: Duration, bytes: usize, rate: u64) {
    let burst = ByteRate::new(rate).unwrap().burst();
    let least = Duration::from_secs_f64((bytes as u64 - burst) as f64 / rate as f64);
    let most = Duration::from_secs_f64(1.2 * bytes as f64 / rate as f64) + Duration::from_secs(1);
    assert!(elapsed >= least, "{bytes} bytes at {rate}/s took {elapsed:?}, not {least:?} at least");
    assert!(elapsed <= most, "{bytes} bytes at {rate}/s took {elapsed:?}, not {most:?} at most");
}

/// A session that serves one port with an echo.
async fn serving(member: &Member) -> u16 {
    let mut client = member.connect().await;
    let port = client.forward(0).await.unwrap().unwrap();
    client.echo();
    port
}

/// Puts an account on a tier of its own.
async fn tier(host: &TestHost, account: &str, to_owner: u64, to_visitors: u64) {
    let set = TierSet {
        name: format!("of-{account}"),
        bandwidth_to_owner: Some(LimitChange::Limit(to_owner)),
        bandwidth_to_visitors: Some(LimitChange::Limit(to_visitors)),
        ..TierSet::default()
    };
    let tier = Some(host.admin.call(set).await.unwrap().name);
    host.admin.call(AccountChange { name: account.into(), tier, admin: None, disabled: None }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_visitors_send_keeps_to_its_rate() {
    let host = TestHost::start().await;
    let alice = host.account("alice").await;
    tier(&host, "alice", RATE, 0).await;
    let port = serving(&alice).await;
    assert_paced(echoed(port, BULK).await, BULK, RATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_services_send_keeps_to_its_rate() {
    let host = TestHost::start().await;
    let alice = host.account("alice").await;
    tier(&host, "alice", 0, RATE).await;
    let port = serving(&alice).await;
    assert_paced(echoed(port, BULK).await, BULK, RATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_says_nothing_has_the_default() {
    let rules = BandwidthRules { to_owner: ByteRate::new(RATE), to_visitors: ByteRate::new(RATE) };
    let host = TestHost::with(|config| config.bandwidth = rules).await;
    let alice = host.account("alice").await;
    let port = serving(&alice).await;
    assert_paced(echoed(port, BULK).await, BULK, RATE);
    // And one that says "none" has none.
    tier(&host, "alice", 0, 0).await;
    timeout(PATIENCE, echoed(port, 20 * BULK)).await.expect("no limit holds any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_visitors_of_an_account_share_its_rate_and_all_progress() {
    let host = TestHost::start().await;
    let alice = host.account("alice").await;
    tier(&host, "alice", RATE, RATE).await;
    let (one, other) = (serving(&alice).await, serving(&host.key_for("alice").await).await);
    let began = Instant::now();
    let mut visitors = JoinSet::new();
    for port in [one, one, other, other] {
        visitors.spawn(echoed(port, BULK / 2));
    }
    let each = timeout(PATIENCE, visitors.join_all()).await.unwrap();
    assert_paced(began.elapsed(), 2 * BULK, RATE);
    // Who had the whole rate would be through in a quarter of the time.
    for elapsed in each {
        assert!(elapsed >= began.elapsed() / 2, "{elapsed:?} of {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_is_untouched() {
    let host = TestHost::start().await;
    let (alice, bob) = (host.account("alice").await, host.account("bob").await);
    tier(&host, "alice", CRAWL, CRAWL).await;
    let crawling = bulk(serving(&alice).await);
    let port = serving(&bob).await;
    timeout(PATIENCE, echoed(port, 10 * BULK)).await.expect("bob has no limit");
    assert!(!crawling.is_finished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_question_gets_its_turn_beside_bulk_of_the_same_session() {
    let host = TestHost::start().await;
    let alice = host.account("alice").await;
    tier(&host, "alice", RATE, RATE).await;
    let port = serving(&alice).await;
    let bulk: Vec<_> = (0..4).map(|_| tokio::spawn(echoed(port, 10 * BULK))).collect();
    for _ in 0..5 {
        // In each direction, one turn of each of the others: 31 ms times four.
        let elapsed = timeout(PATIENCE, echoed(port, 64)).await.unwrap();
        assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    }
    assert!(bulk.iter().all(|transfer| !transfer.is_finished()));
}

/// While its visitors' bytes are held, a session answers: forwards come and go, and it ends when it is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_at_its_limit_answers_as_ever() {
    let host = TestHost::with(|config| config.keepalive_interval = Duration::from_millis(100)).await;
    let alice = host.account("alice").await;
    tier(&host, "alice", 0, CRAWL).await;
    let port = serving(&alice).await;
    // In this time come ten keepalives; three would have ended a session that does not answer.
    assert!(timeout(Duration::from_secs(1), bulk(port)).await.is_err(), "the transfer is held");
    assert_eq!(host.session_count().await, 1);
    host.admin.call(adit_jumphost::admin::AccountRemove { name: "alice".into() }).await.unwrap();
    eventually("the port is free", || async { host.ports().await.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_tier_acts_on_live_sessions() {
    let host = TestHost::start().await;
    let alice = host.account("alice").await;
    let port = serving(&alice).await;
    tier(&host, "alice", CRAWL, CRAWL).await;
    let transfer = bulk(port);
    assert!(timeout(Duration::from_secs(1), echoed(port, BULK)).await.is_err(), "the limit acts");
    assert!(!transfer.is_finished());
    tier(&host, "alice", 100 * RATE, 100 * RATE).await;
    timeout(PATIENCE, transfer).await.expect("a higher rate acts").unwrap();
    tier(&host, "alice", RATE, 0).await;
    // The burst of the rate before was cut to that of the rate now.
    assert_paced(echoed(port, BULK).await, BULK, RATE);
}
