//! A page that is only left open does not keep its session alive.

use std::time::{Duration, Instant};

use adit_jumphost::signin::SESSION_IDLE;

use crate::events::begun;
use crate::host::Host;

/// From then to the end of the idle time.
const LEFT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_stream_is_no_use_of_its_session() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    let mut stream = begun(&alice).await;
    let began = Instant::now();
    // As if her last click were almost twelve hours ago.
    host.age_sessions(SESSION_IDLE - LEFT).await;
    stream.ends_signed_out().await;
    assert!(began.elapsed() < LEFT + Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(alice.get("/api/v1/me").await.status, 401);
}
