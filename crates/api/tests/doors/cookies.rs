//! Cookies that somebody else has put into the browser: whoever serves something at another port of this host can.

use serde_json::json;

use crate::browser::Browser;
use crate::host::{Host, PASSWORD};

const SESSION: &str = "/api/v1/session";

/// The same browser, with cookies of our name before its own and behind it, and one of another name.
fn beset(browser: &Browser, before: usize, behind: usize) -> Browser {
    let planted = |number: usize| format!("__Host-adit=planted-{number}");
    let own = browser.cookie.clone().unwrap();
    let before = (0..before).map(planted);
    let behind = (before.len()..before.len() + behind).map(planted);
    let all: Vec<_> = ["theme=dark".to_owned()].into_iter().chain(before).chain([own]).chain(behind).collect();
    Browser { cookie: Some(all.join("; ")), ..browser.clone() }
}

#[tokio::test]
async fn planted_cookies_sign_nobody_out() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    for (port, before, behind) in [(10_001, 1, 0), (10_002, 0, 1), (10_003, 3, 3), (10_004, 100, 10), (10_005, 100, 31)]
    {
        let beset = beset(&alice, before, behind);
        assert_eq!(beset.get(SESSION).await.status, 200, "{before} before, {behind} behind");
        assert_eq!(beset.post("/api/v1/me/ports", json!({"port": port})).await.status, 201);
    }
    assert_eq!(beset(&alice, 2, 2).delete(SESSION).await.status, 204);
    assert_eq!(alice.get(SESSION).await.status, 401, "it is her session that ended");
}

#[tokio::test]
async fn a_planted_session_of_somebody_else_is_not_hers() {
    let host = Host::start().await;
    let (alice, mallory) = (host.member("alice").await, host.member("mallory").await);
    let both = [mallory.cookie.clone().unwrap(), alice.cookie.clone().unwrap()].join("; ");
    let beset = Browser { cookie: Some(both), ..alice.clone() };
    assert_eq!(beset.get(SESSION).await.json()["account"], "alice");
    let keyless = Browser { csrf: None, ..beset.clone() };
    assert_eq!(keyless.get(SESSION).await.status, 401);
    assert_eq!(keyless.delete(SESSION).await.error(), (403, "csrf".to_owned()));

    let mut again = beset;
    assert_eq!(again.sign_in("alice", PASSWORD).await.status, 200);
    assert_eq!((alice.get(SESSION).await.status, mallory.get(SESSION).await.status), (401, 200), "hers is replaced");
}

#[tokio::test]
async fn a_jar_full_of_cookies_is_borne() {
    let host = Host::start().await;
    let alice = host.member("alice").await;
    // A browser keeps 4,096 bytes of one.
    let planted = (0..14).map(|number| format!("n{number}={}", "x".repeat(4_000)));
    let jar: Vec<_> = planted.chain(alice.cookie.clone()).collect();
    let beset = Browser { cookie: Some(jar.join("; ")), ..alice };
    assert_eq!(beset.get(SESSION).await.status, 200);
}
